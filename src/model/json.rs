//! Reading A2A JSON that somebody else wrote.
//!
//! The caller bounds the bytes; nesting is bounded here, well below the 128 levels at which `serde_json`
//! stops, so that what was accepted can still be read when it is wrapped in a task or a reply. Bounded is
//! also what an error repeats of its input.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use serde_path_to_error::{Path, Track};

use crate::fault::{Fault, FaultKind};

/// The most bytes of input that an error repeats, in its path and in its description.
const MAX_QUOTED: usize = 512;

/// Levels of one free-form value: metadata, or the data of a part.
pub const MAX_VALUE_DEPTH: usize = 64;

/// Levels of a whole document, free-form values included.
pub const MAX_DOCUMENT_DEPTH: usize = 80;

/// Reads one JSON document, with nothing after it.
///
/// # Errors
/// [`FaultKind::ParseError`] if the bytes are not JSON, else [`FaultKind::InvalidParams`] with a
/// violation that names the field by its path in JSON names, such as `message.parts[0]`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    if depth(bytes) > MAX_DOCUMENT_DEPTH {
        let message = format!("not read: nested more than {MAX_DOCUMENT_DEPTH} levels deep");
        return Err(Fault::new(FaultKind::ParseError, message));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let value = T::deserialize(tracked).map_err(|error| fault(&track.path(), &error))?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Reads what this program has written itself, as to a log: what was let in once comes out again, even where a
/// peer would be told that something is missing.
///
/// # Errors
/// If the bytes are not such JSON.
#[cfg(feature = "server")]
pub(crate) fn reread<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    super::fields::reread(|| serde_json::from_slice(bytes))
}

/// Reads a JSON value that is already in memory.
///
/// # Errors
/// [`FaultKind::InvalidParams`], as in [`from_slice`].
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    T::deserialize(tracked).map_err(|error| fault(&track.path(), &error))
}

/// Whether a value is nested within the bound of free-form values.
pub fn is_shallow(value: &Value) -> bool {
    within(value, MAX_VALUE_DEPTH)
}

fn within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(elements) => levels > 0 && elements.iter().all(|element| within(element, levels - 1)),
        Value::Object(members) => levels > 0 && members.values().all(|member| within(member, levels - 1)),
        _ => true,
    }
}

/// How deep a JSON text is nested. Of a text that is not JSON, at least as deep as a parser gets.
pub fn depth(text: &[u8]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            b'"' => {
                // To the end of the string; an escape takes the next byte with it.
                while let Some(inside) = bytes.next().filter(|inside| **inside != b'"') {
                    if *inside == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    most
}

fn fault(path: &Path, error: &serde_json::Error) -> Fault {
    if error.classify() != Category::Data {
        return malformed(error);
    }
    let parent = (path.iter().len() > 0).then(|| path.to_string());
    let text = error.to_string();
    // The path says where; a line and column of one encoding would only differ between bindings.
    let position = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&position).unwrap_or(&text);
    let (field, description) = match absent_or_twice(text) {
        // The path of such an error ends at the object; the field itself is only in the text.
        Some((field, description)) => {
            let dot = parent.map(|parent| parent + ".").unwrap_or_default();
            (dot + field, description)
        }
        None => (parent.unwrap_or_else(|| "body".to_owned()), text),
    };
    Fault::invalid(shortened(&field), shortened(description))
}

/// The field that serde says is missing or given twice.
fn absent_or_twice(text: &str) -> Option<(&str, &'static str)> {
    let (field, description) = if let Some(rest) = text.strip_prefix("missing field `") {
        (rest, "is required")
    } else {
        (text.strip_prefix("duplicate field `")?, "is given more than once")
    };
    Some((field.split('`').next()?, description))
}

fn malformed(error: &serde_json::Error) -> Fault {
    Fault::new(FaultKind::ParseError, shortened(&format!("not valid JSON: {error}")))
}

/// Keeps both ends, since serde puts what was expected behind what was given.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_QUOTED {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(MAX_QUOTED / 2);
    let tail = text.ceil_char_boundary(text.len() - MAX_QUOTED / 2);
    format!("{}…{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{AgentCard, ListTasksRequest, SendMessageRequest, StreamResponse, Task, TaskState};

    fn refusal<T: DeserializeOwned>(text: &str) -> Fault {
        from_slice::<T>(text.as_bytes()).err().unwrap()
    }

    fn field<T: DeserializeOwned>(text: &str) -> String {
        let fault = refusal::<T>(text);
        assert_eq!(fault.kind(), FaultKind::InvalidParams, "{fault}");
        fault.violations()[0].field.clone()
    }

    #[test]
    fn what_is_not_json_is_a_parse_error() {
        for text in ["", "{", "{]", r#"{"message":"#, "nul", "{} {}", "\"\\ud800\"", "\u{0}"] {
            assert_eq!(
                refusal::<crate::model::ListTasksRequest>(text).kind(),
                FaultKind::ParseError,
                "{text}"
            );
        }
        assert_eq!(from_slice::<Value>(b"\"\xff\"").unwrap_err().kind(), FaultKind::ParseError);
    }

    #[test]
    fn nesting_ends_in_a_parse_error_and_not_in_the_stack() {
        let deep = |depth: usize| format!(r#"{{"data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(from_slice::<crate::model::Part>(deep(MAX_DOCUMENT_DEPTH - 1).as_bytes()).is_ok());
        for depth in [MAX_DOCUMENT_DEPTH, 128, 100_000] {
            assert_eq!(refusal::<crate::model::Part>(&deep(depth)).kind(), FaultKind::ParseError);
        }
    }

    #[test]
    fn brackets_in_strings_are_not_levels() {
        assert_eq!(depth(br#"{"a":"[[[\"[[","b":[{}]}"#), 3);
        assert_eq!(depth(br#"  "unfinished ["#), 0);
        assert_eq!(depth(b"[[[]"), 3);
    }

    #[test]
    fn a_fault_names_the_field_by_its_path() {
        let message =
            |parts: &str| format!(r#"{{"message":{{"messageId":"m","role":"ROLE_USER","parts":{parts}}}}}"#);
        assert_eq!(field::<SendMessageRequest>(&message("[{}]")), "message.parts[0]");
        assert_eq!(field::<SendMessageRequest>(&message("[]")), "message.parts");
        assert_eq!(
            field::<SendMessageRequest>(&message(r#"[{"text":"a"},{"text":5}]"#)),
            "message.parts[1].text"
        );
        assert_eq!(field::<SendMessageRequest>("{}"), "message");
        assert_eq!(field::<SendMessageRequest>(r#"{"message":{}}"#), "message.messageId");
        assert_eq!(field::<SendMessageRequest>("7"), "body");
        let event = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{}}}"#;
        assert_eq!(field::<StreamResponse>(event), "statusUpdate.status.state");
        let scheme = r#"{"securitySchemes":{"key":{"apiKeySecurityScheme":{"location":"body"}}}}"#;
        assert_eq!(field::<AgentCard>(scheme), "securitySchemes.key.apiKeySecurityScheme.location");
        assert_eq!(
            field::<Task>(r#"{"id":"t","status":{"state":"TASK_STATE_WORKING","timestamp":"now"}}"#),
            "status.timestamp"
        );
    }

    #[test]
    fn a_value_in_memory_is_judged_like_bytes() {
        let fault = from_value::<SendMessageRequest>(json!({"message": {"messageId": ""}})).unwrap_err();
        assert_eq!(fault.message(), "message.messageId: must not be empty");
        assert_eq!(fault, refusal::<SendMessageRequest>(r#"{"message":{"messageId":""}}"#));
    }

    #[test]
    fn an_unknown_state_is_refused_with_the_list_of_states() {
        for state in [r#""TASK_STATE_NEW""#, r#""working""#, "9", "-1", "null", "2.0"] {
            let fault = refusal::<Task>(&format!(r#"{{"id":"t","status":{{"state":{state}}}}}"#));
            assert_eq!(fault.violations()[0].field, "status.state", "{state}");
            for name in TaskState::ALL.map(TaskState::name) {
                assert!(fault.message().contains(name), "{fault} lacks {name}");
            }
        }
        assert_eq!(from_slice::<TaskState>(b"6"), Ok(TaskState::InputRequired));
    }

    #[test]
    fn an_unspecified_state_is_read_as_said_and_as_a_filter_lets_everything_pass() {
        for state in ["0", r#""TASK_STATE_UNSPECIFIED""#] {
            let task = from_slice::<Task>(format!(r#"{{"id":"t","status":{{"state":{state}}}}}"#).as_bytes());
            let task = task.unwrap();
            assert_eq!(task.state(), TaskState::Unspecified);
            assert_eq!(serde_json::to_value(&task).unwrap()["status"]["state"], "TASK_STATE_UNSPECIFIED");
            let list = format!(r#"{{"status":{state}}}"#);
            assert_eq!(from_slice::<ListTasksRequest>(list.as_bytes()).unwrap().status, None);
        }
    }

    #[test]
    fn an_error_repeats_little_of_a_long_input() {
        let long = "é".repeat(100_000);
        let fault = refusal::<Task>(&format!(r#"{{"id":"t","status":{{"state":"{long}"}}}}"#));
        assert!(fault.message().len() < 3 * MAX_QUOTED, "{}", fault.message().len());
        assert!(fault.message().contains("TASK_STATE_AUTH_REQUIRED"));
        let card = format!(r#"{{"securitySchemes":{{"{long}":{{}}}}}}"#);
        assert!(refusal::<AgentCard>(&card).message().len() < 3 * MAX_QUOTED);
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        let fault =
            refusal::<crate::model::GetTaskRequest>(r#"{"id":"a","historyLength":1,"history_length":2}"#);
        assert_eq!(fault.message(), "historyLength: is given more than once");
        assert_eq!(field::<StreamResponse>(r#"{"task":null,"seq":1}"#), "body");
    }
}
