//! The files of `tests/vectors`, held against this crate and against the npm reference.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::node::{self, Program};
use crate::normal;
use crate::support::{self, Host};

/// Vectors that were written when this test was; a file that is not found must not pass for one that is right.
const AT_LEAST: usize = 330;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    transport: Option<String>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    source: String,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    end: Option<End>,
    #[serde(default)]
    wording: Option<String>,
    #[serde(default)]
    deviation: Option<Deviation>,
    /// An HTTP request and its answer, in `http.json`.
    #[serde(default)]
    request: Option<Value>,
    #[serde(default)]
    answer: Option<Value>,
    #[serde(default, rename = "patience_ms")]
    _patience_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    r#in: Vec<Value>,
    out: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct End {
    code: u16,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    reason: String,
    #[serde(default)]
    out: Vec<Vec<Value>>,
    #[serde(default)]
    end: Option<End>,
    #[serde(default)]
    answer: Option<Value>,
}

fn paths() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let entries = fs::read_dir(directory).expect("the vectors are there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths
}

fn vectors() -> Vec<Vector> {
    let mut all = Vec::new();
    for path in paths() {
        let text = fs::read_to_string(&path).expect("readable");
        let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert!(matches!(file.transport.as_deref(), None | Some("http")), "{path:?}");
        all.extend(file.vectors);
    }
    assert!(all.len() >= AT_LEAST, "{} vectors", all.len());
    all
}

#[test]
fn every_vector_has_a_name_of_its_own_a_source_and_a_reason_for_each_deviation() {
    let vectors = vectors();
    let mut names: Vec<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
    for vector in &vectors {
        assert!(vector.source.starts_with('§'), "{}", vector.name);
        assert_eq!(vector.request.is_some(), vector.steps.is_empty(), "{}", vector.name);
        if let Some(deviation) = &vector.deviation {
            assert!(!deviation.reason.is_empty(), "{}", vector.name);
            let differs = !deviation.out.iter().eq(vector.steps.iter().map(|step| &step.out))
                || deviation.end.as_ref().map(|end| end.code) != vector.end.as_ref().map(|end| end.code)
                || deviation.answer != vector.answer;
            assert!(differs, "{} deviates in nothing", vector.name);
        }
    }
}

#[test]
fn this_crate_answers_every_vector_as_the_file_says() {
    let mut wrong = Vec::new();
    for vector in vectors().iter().filter(|vector| vector.request.is_none()) {
        if let Some(difference) = ours(vector) {
            wrong.push(difference);
        }
    }
    assert!(wrong.is_empty(), "{} vectors:\n{}", wrong.len(), wrong.join("\n"));
}

/// What this crate does otherwise than a vector says.
fn ours(vector: &Vector) -> Option<String> {
    let mut host = Host::new();
    for (i, step) in vector.steps.iter().enumerate() {
        // Bytes are the transport's to refuse.
        if step.r#in.iter().any(Value::is_object) {
            return None;
        }
        for frame in &step.r#in {
            host.receive(&text(frame));
        }
        let said = frames(host.settle().frames.iter().map(|frame| parsed(frame)), Words::Ours(vector));
        let out = vector.deviation.as_ref().map_or(&step.out, |deviation| &deviation.out[i]);
        let expected = frames(out.iter().cloned(), Words::Ours(vector));
        if said != expected {
            return Some(format!(
                "{} (step {i})\n  expected {}\n  said     {}",
                vector.name,
                Value::from(expected),
                Value::from(said)
            ));
        }
    }
    let end = vector.deviation.as_ref().map_or(&vector.end, |deviation| &deviation.end);
    let ended = host.ended();
    (ended.is_some() != end.is_some()).then(|| format!("{}\n  ended {ended:?}", vector.name))
}

#[test]
fn this_crate_answers_every_batch_as_the_file_says() {
    for vector in vectors() {
        // Other methods are the transport's to refuse.
        let Some(body) = vector.request.as_ref().and_then(|request| request["body"].as_str()) else {
            continue;
        };
        let (answer, done) = support::batch(body);
        assert!(done, "{} waits for something", vector.name);
        let expected =
            vector.deviation.and_then(|deviation| deviation.answer).or(vector.answer).expect("an answer");
        let status = if answer.closed.is_none() { 200 } else { 400 };
        assert_eq!(expected["status"], status, "{}", vector.name);
        if status == 200 {
            let said = answer.body.lines().map(parsed);
            let said: Vec<Value> = said.map(|frame| normal::frame(&frame)).collect();
            let frames = expected["frames"].as_array().expect("frames").iter();
            assert_eq!(said, frames.map(normal::frame).collect::<Vec<_>>(), "{}", vector.name);
        }
    }
}

#[test]
fn the_npm_reference_answers_every_vector_as_the_file_says() {
    if !node::is_here("the vectors against the reference") {
        return;
    }
    let mut server = Program::start("vector-server.mjs");
    let mut arguments = vec![format!("ws://127.0.0.1:{}/", server.hear().trim())];
    arguments.extend(paths().iter().map(|path| path.display().to_string()));
    let played: Vec<Value> =
        serde_json::from_str(&node::output("run-vectors.mjs", &arguments)).expect("JSON, as promised");
    let vectors = vectors();
    assert_eq!(played.len(), vectors.len());
    let wrong: Vec<String> =
        vectors.iter().zip(&played).filter_map(|(vector, played)| theirs(vector, played)).collect();
    assert!(wrong.is_empty(), "{} vectors:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the reference does otherwise than a vector says.
fn theirs(vector: &Vector, played: &Value) -> Option<String> {
    assert_eq!(played["name"], vector.name);
    if let Some(answer) = &vector.answer {
        let mut said = json!({});
        for key in ["hangs", "status", "frames"] {
            if let Some(value) = played.get(key) {
                said[key] = value.clone();
            }
        }
        return (said != *answer).then(|| format!("{}\n  expected {answer}\n  said     {said}", vector.name));
    }
    for (i, step) in vector.steps.iter().enumerate() {
        let said = played["steps"][i].as_array().expect("as many steps as were asked for");
        let said = frames(said.iter().cloned(), Words::Reference);
        let expected = frames(step.out.iter().cloned(), Words::Reference);
        if said != expected {
            return Some(format!(
                "{} (step {i})\n  expected {}\n  said     {}",
                vector.name,
                Value::from(expected),
                Value::from(said)
            ));
        }
    }
    let end: Option<End> = serde_json::from_value(played["end"].clone()).expect("an end");
    let alike = match (&end, &vector.end) {
        (Some(end), Some(expected)) => {
            end.code == expected.code
                && expected.reason.as_ref().is_none_or(|_| end.reason == expected.reason)
        }
        (end, expected) => end.is_some() == expected.is_some(),
    };
    (!alike).then(|| format!("{}\n  ended {end:?}", vector.name))
}

/// Whose words are compared, and so, which words.
#[derive(Clone, Copy)]
enum Words<'a> {
    Reference,
    Ours(&'a Vector),
}

/// Frames in normal form.
fn frames(frames: impl Iterator<Item = Value>, words: Words<'_>) -> Vec<Value> {
    let frames = frames.map(|frame| worded(normal::frame(&frame), words)).collect();
    match words {
        Words::Reference => frames,
        Words::Ours(_) => {
            // Whether a promise is sent that has come true already is each side's own choice, and so is the order of
            // answers and releases. Calls stay in their order.
            let mut frames = normal::without_promises(frames);
            let is_call = |frame: &Value| frame[0] == "push" || frame[0] == "stream";
            frames.sort_by_key(|frame| if is_call(frame) { String::new() } else { frame.to_string() });
            frames
        }
    }
}

/// A frame without the words that are not compared.
fn worded(mut frame: Value, words: Words<'_>) -> Value {
    match (frame[0].as_str(), words) {
        // What the JavaScript engine says of bad JSON depends on its version.
        (Some("abort"), Words::Reference) if frame[1][1] == "SyntaxError" => {
            json!(["abort", ["error", "SyntaxError"]])
        }
        (Some("abort"), Words::Ours(_)) => json!(["abort"]),
        (Some("reject"), Words::Ours(vector)) if vector.wording.as_deref() == Some("free") => {
            frame[2] = json!(["error"]);
            frame
        }
        _ => frame,
    }
}

/// A frame of a file as text: as it is, if it is text.
fn text(frame: &Value) -> String {
    frame.as_str().map_or_else(|| frame.to_string(), str::to_owned)
}

fn parsed(frame: &str) -> Value {
    serde_json::from_str(frame).unwrap_or_else(|error| panic!("we said {frame:?}: {error}"))
}
