//! The files of `tests/vectors`, held against this crate and against the npm reference.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::node::{self, Program};
use crate::normal;
use crate::support;
use crate::support::Host;
use crate::vector_files::{self, End, Vector, Words, frames};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn vectors() -> Vec<Vector> {
    vector_files::vectors(&directory())
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
        let said = host.settle().frames;
        let wrong = vector_files::difference(vector, i, said.iter().map(|frame| parsed(frame)));
        if wrong.is_some() {
            return wrong;
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
    arguments.extend(vector_files::paths(&directory()).iter().map(|path| path.display().to_string()));
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

/// A frame of a file as text: as it is, if it is text.
fn text(frame: &Value) -> String {
    frame.as_str().map_or_else(|| frame.to_string(), str::to_owned)
}

fn parsed(frame: &str) -> Value {
    serde_json::from_str(frame).unwrap_or_else(|error| panic!("we said {frame:?}: {error}"))
}
