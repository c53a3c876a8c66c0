//! The files of `tests/vectors`, and how frames are compared with what stands in them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::normal;

/// Vectors that were written when this test was; a file that is not found must not pass for one that is right.
const AT_LEAST: usize = 330;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) transport: Option<String>,
    pub(crate) vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    #[serde(default)]
    pub(crate) end: Option<End>,
    #[serde(default)]
    pub(crate) wording: Option<String>,
    #[serde(default)]
    pub(crate) deviation: Option<Deviation>,
    /// An HTTP request and its answer, in `http.json`.
    #[serde(default)]
    pub(crate) request: Option<Value>,
    #[serde(default)]
    pub(crate) answer: Option<Value>,
    #[serde(default, rename = "patience_ms")]
    _patience_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) r#in: Vec<Value>,
    pub(crate) out: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deviation {
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) out: Vec<Vec<Value>>,
    #[serde(default)]
    pub(crate) end: Option<End>,
    #[serde(default)]
    pub(crate) answer: Option<Value>,
}

/// The files, in their order.
pub(crate) fn paths(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the vectors are there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths
}

/// Everything that stands in the files.
pub(crate) fn vectors(directory: &Path) -> Vec<Vector> {
    let mut all = Vec::new();
    for path in paths(directory) {
        let text = fs::read_to_string(&path).expect("readable");
        let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert!(matches!(file.transport.as_deref(), None | Some("http")), "{path:?}");
        all.extend(file.vectors);
    }
    assert!(all.len() >= AT_LEAST, "{} vectors", all.len());
    all
}

/// Whose words are compared, and so, which words.
#[derive(Clone, Copy)]
pub(crate) enum Words<'a> {
    Reference,
    Ours(&'a Vector),
}

/// Frames in normal form.
pub(crate) fn frames(frames: impl Iterator<Item = Value>, words: Words<'_>) -> Vec<Value> {
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

/// What one of our ends said at a step, where it is otherwise than the vector says.
pub(crate) fn difference(vector: &Vector, step: usize, said: impl Iterator<Item = Value>) -> Option<String> {
    let said = frames(said, Words::Ours(vector));
    let out = vector.deviation.as_ref().map_or(&vector.steps[step].out, |deviation| &deviation.out[step]);
    let expected = frames(out.iter().cloned(), Words::Ours(vector));
    (said != expected).then(|| {
        let (expected, said) = (Value::from(expected), Value::from(said));
        format!("{} (step {step})\n  expected {expected}\n  said     {said}", vector.name)
    })
}

/// A frame without the words that are not compared.
pub(crate) fn worded(mut frame: Value, words: Words<'_>) -> Value {
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
