//! The lines: what the server writes and what a program may write, version 1 of the protocol.
//!
//! Every line is one JSON object with one member that says what it is. Members that are not known are ignored, so
//! that later versions can add some.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::made::Made;
use crate::agent::{Chunk, Output, Turn};
use crate::fault::Fault;
use crate::model::{
    Id, Message, Struct, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent, fresh_id, json,
};

/// The version of the protocol that this server speaks.
pub(super) const PROTOCOL: u64 = 1;

/// How a program introduces itself: its first line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Introduction {
    /// What it says for the agent's card.
    pub(super) card: Struct,
    /// Whether turns that its end has cut short may be given to it again.
    pub(super) resumes: bool,
    /// Whether it takes messages that come while a turn runs.
    pub(super) inbox: bool,
    /// Whether it may answer with a message instead of a task.
    pub(super) may_reply: bool,
}

/// A line of a program that is about one of its turns.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) task: Id,
    pub(super) what: What,
}

#[derive(Debug, PartialEq)]
pub(super) enum What {
    /// An update of the task. A terminal or interrupted state, and a message, end the turn.
    Update { output: Output, ends: bool },
    /// The turn is over; with a reason if it has failed.
    End { error: Option<String> },
}

/// A line that cannot be understood.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed {
    /// The task that it is about, as far as that can be seen.
    pub(super) task: Option<Id>,
    /// Why.
    pub(super) why: String,
}

/// The server's first line.
pub(super) fn hello(line_bytes: usize) -> Bytes {
    let server = json!({
        "protocol": PROTOCOL,
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "maxLineBytes": line_bytes,
    });
    line("server", &server)
}

/// A turn begins.
pub(super) fn turn(turn: &Turn, resumed: Option<&Made>) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Line<'a> {
        task_id: &'a str,
        context_id: &'a str,
        message: &'a Message,
        #[serde(skip_serializing_if = "Option::is_none")]
        task: Option<Task>,
        #[serde(skip_serializing_if = "str::is_empty")]
        subject: &'a str,
        #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
        parameters: Struct,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<&'a Struct>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        accepted_output_modes: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed: Option<Value>,
    }
    let parameters = turn.parameters.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into()));
    let turn = Line {
        task_id: &turn.task_id,
        context_id: &turn.context_id,
        message: &turn.message,
        task: turn.task.as_ref().map(shown),
        subject: &turn.subject,
        parameters: parameters.collect(),
        metadata: turn.metadata.as_ref(),
        accepted_output_modes: &turn.accepted_output_modes,
        resumed: resumed.map(Made::shown),
    };
    line("turn", &turn)
}

/// About how many bytes the line of a turn has.
pub(super) fn turn_bytes(turn: &Turn) -> usize {
    let task = turn.task.as_ref().map_or(0, |task| task.approximate_size().min(2 * TASK_BYTES));
    turn.message.approximate_size() + task + 4_096
}

/// A message for a turn that runs.
pub(super) fn message(task: &Id, message: &Message) -> Bytes {
    let mut message = message.clone();
    message.task_id = Some(Arc::clone(task));
    line("message", &message)
}

/// A turn is to end.
pub(super) fn cancel(task: &Id) -> Bytes {
    line("cancel", &json!({ "taskId": task }))
}

/// The task as a program is told of it, without what is too much: first the artifacts go, then the oldest messages.
fn shown(task: &Arc<Task>) -> Task {
    let mut shown = Task { artifacts: Vec::new(), history: Vec::new(), ..Task::clone(task) };
    let mut left = TASK_BYTES;
    for message in task.history.iter().rev() {
        let Some(rest) = left.checked_sub(message.approximate_size()) else { break };
        left = rest;
        shown.history.push(message.clone());
    }
    shown.history.reverse();
    let artifacts: usize = task.artifacts.iter().map(|artifact| artifact.approximate_size()).sum();
    if artifacts <= left {
        shown.artifacts.clone_from(&task.artifacts);
    }
    shown
}

/// An object with one member that says what it is.
fn line(kind: &str, body: &impl Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(&BTreeMap::from([(kind, body)]))
        .expect("texts, lists and maps of texts can be written as JSON");
    bytes.push(b'\n');
    bytes.into()
}

/// Reads a program's first line.
///
/// # Errors
/// What it is instead, for the operator.
pub(super) fn introduction(line: &[u8]) -> Result<Introduction, String> {
    let mut members: Struct = json::from_slice(line).map_err(|fault| reason(&fault))?;
    let Some(Value::Object(card)) = members.remove("card") else {
        return Err("it has no member `card` with an object".to_owned());
    };
    match members.get("protocol") {
        None => {}
        Some(version) if *version == PROTOCOL => {}
        Some(version) => {
            return Err(format!("it wants version {version} of the protocol; this server speaks {PROTOCOL}"));
        }
    }
    let mut flag = |name: &str| match members.remove(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(format!("its member `{name}` is neither true nor false")),
    };
    Ok(Introduction { resumes: flag("resumes")?, inbox: flag("inbox")?, may_reply: flag("mayReply")?, card })
}

/// Reads any later line.
///
/// # Errors
/// [`Malformed`], with the task if that can be seen.
pub(super) fn said(line: &[u8]) -> Result<Said, Malformed> {
    let unknown = |why: String| Malformed { task: None, why };
    let members: Struct = json::from_slice(line).map_err(|fault| unknown(reason(&fault)))?;
    let known = members.into_iter().find(|(name, _)| KINDS.contains(&&**name));
    let Some((kind, body)) = known else {
        return Err(unknown(format!("it has no member that says what it is: {}", KINDS.join(", "))));
    };
    let Value::Object(mut body) = body else {
        return Err(unknown(format!("its member `{kind}` is no object")));
    };
    let Some(task) = body.get("taskId").and_then(Value::as_str).filter(|id| !id.is_empty()).map(Id::from)
    else {
        return Err(unknown(format!("its member `{kind}` has no taskId")));
    };
    let what = match &*kind {
        "statusUpdate" => status(body),
        "artifactUpdate" => artifact(body),
        "message" => {
            complete(&mut body);
            read::<Message>(body).map(|message| What::Update { output: Output::Reply(message), ends: true })
        }
        _ => match body.remove("error") {
            None | Some(Value::Null) => Ok(What::End { error: None }),
            Some(Value::String(error)) => Ok(What::End { error: Some(error) }),
            Some(_) => Err("error: must be a text".to_owned()),
        },
    };
    match what {
        Ok(what) => Ok(Said { task, what }),
        Err(why) => Err(Malformed { task: Some(task), why: format!("{kind}.{why}") }),
    }
}

/// The task of a line of which only the beginning is known.
pub(super) fn task_in(beginning: &[u8]) -> Option<Id> {
    let text = String::from_utf8_lossy(beginning);
    let (_, after) = text.split_once("\"taskId\"")?;
    let (id, _) = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"')?;
    Some(Id::from(id))
}

fn status(mut body: Struct) -> Result<What, String> {
    if let Some(Value::Object(message)) = body.get_mut("status").and_then(|status| status.get_mut("message"))
    {
        complete(message);
    }
    in_context(&mut body);
    let event: TaskStatusUpdateEvent = read(body)?;
    let state = event.status.state;
    let output = Output::Status { status: event.status, metadata: event.metadata };
    Ok(What::Update { output, ends: state.is_terminal() || state.is_interrupted() })
}

fn artifact(mut body: Struct) -> Result<What, String> {
    in_context(&mut body);
    let event: TaskArtifactUpdateEvent = read(body)?;
    let TaskArtifactUpdateEvent { artifact, append, last_chunk, metadata, .. } = event;
    let output = Output::Artifact(Chunk { artifact, append, last: last_chunk, metadata });
    Ok(What::Update { output, ends: false })
}

/// The server knows the context of a task, so that a program need not say it.
fn in_context(body: &mut Struct) {
    body.entry("contextId").or_insert_with(|| "-".into());
}

/// A message of the agent needs no id of the program's own, and its role is known.
fn complete(message: &mut Struct) {
    message.entry("messageId").or_insert_with(|| (*fresh_id()).into());
    message.entry("role").or_insert_with(|| "ROLE_AGENT".into());
}

fn read<T: serde::de::DeserializeOwned>(body: Struct) -> Result<T, String> {
    json::from_value(Value::Object(body)).map_err(|fault| reason(&fault))
}

fn reason(fault: &Fault) -> String {
    match fault.violations().first() {
        Some(violation) => format!("{}: {}", violation.field, violation.description),
        None => fault.message().to_owned(),
    }
}

/// What a program's line can be, after the first.
const KINDS: [&str; 4] = ["statusUpdate", "artifactUpdate", "message", "turnEnd"];

/// The most bytes of a task that a turn's line shows, about.
const TASK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Artifact, Part, Role, TaskState, TaskStatus, Timestamp};

    fn what(line: Value) -> What {
        said(line.to_string().as_bytes()).unwrap().what
    }

    fn refusal(line: &str) -> Malformed {
        said(line.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_program_may_leave_out_what_the_server_knows() {
        let update = what(json!({"statusUpdate": {"taskId": "t", "status": {
            "state": "TASK_STATE_WORKING", "message": {"parts": [{"text": "hm"}]}}}}));
        let What::Update { output: Output::Status { status, .. }, ends: false } = update else {
            panic!("{update:?}")
        };
        let message = status.message.unwrap();
        assert_eq!((message.text().as_ref(), message.role), ("hm", Role::Agent));
        assert!(!message.message_id.is_empty());

        let update = what(json!({"artifactUpdate": {"taskId": "t", "append": true, "lastChunk": true,
            "artifact": {"artifactId": "a", "parts": [{"text": "x"}]}}}));
        let artifact = Artifact::new("a", vec![Part::text("x")]);
        let chunk = Chunk { artifact, append: true, last: true, metadata: None };
        assert_eq!(update, What::Update { output: Output::Artifact(chunk), ends: false });
        assert_eq!(what(json!({"turnEnd": {"taskId": "t"}})), What::End { error: None });
    }

    #[test]
    fn terminal_and_interrupted_states_and_messages_end_a_turn() {
        for state in TaskState::ALL {
            let line = json!({"statusUpdate": {"taskId": "t", "status": {"state": state}}});
            let What::Update { ends, .. } = what(line) else { panic!("{state}") };
            assert_eq!(ends, state.is_terminal() || state.is_interrupted(), "{state}");
        }
        let What::Update { ends, .. } = what(json!({"message": {"taskId": "t", "parts": [{"text": "hi"}]}}))
        else {
            panic!("a message");
        };
        assert!(ends);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_its_task() {
        for (line, task, why) in [
            ("hello", None, "not valid JSON"),
            ("[1]", None, ""),
            ("{}", None, "no member that says what it is"),
            (r#"{"turnEnd": 1}"#, None, "no object"),
            (r#"{"turnEnd": {"taskId": 7}}"#, None, "no taskId"),
            (r#"{"turnEnd": {"taskId": "t", "error": 7}}"#, Some("t"), "turnEnd.error"),
            (r#"{"statusUpdate": {"taskId": "t"}}"#, Some("t"), "statusUpdate.status: is required"),
            (
                r#"{"artifactUpdate": {"taskId": "t", "artifact": {"artifactId": "a", "parts": []}}}"#,
                Some("t"),
                "parts",
            ),
        ] {
            let malformed = refusal(line);
            assert_eq!(malformed.task.as_deref(), task, "{line}");
            assert!(malformed.why.contains(why), "{line}: {}", malformed.why);
        }
        let deep = format!(r#"{{"turnEnd": {}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        assert!(refusal(&deep).why.contains("nested"));
    }

    #[test]
    fn members_of_later_versions_are_ignored() {
        let line = json!({"later": 1, "turnEnd": {"taskId": "t", "more": {}}});
        assert_eq!(what(line), What::End { error: None });
        let line = json!({"card": {"name": "x"}, "protocol": 1, "resumes": true, "later": []}).to_string();
        let introduction = introduction(line.as_bytes()).unwrap();
        assert!(introduction.resumes && !introduction.inbox && introduction.card.contains_key("name"));
    }

    #[test]
    fn an_introduction_of_another_version_or_kind_is_refused() {
        for (line, why) in [
            ("Loading model…", "not valid JSON"),
            (r#"{"hello": 1}"#, "`card`"),
            (r#"{"card": {}, "protocol": 2}"#, "version 2"),
            (r#"{"card": {}, "resumes": "yes"}"#, "`resumes`"),
        ] {
            assert!(introduction(line.as_bytes()).unwrap_err().contains(why), "{line}");
        }
    }

    #[test]
    fn the_task_of_a_cut_line_is_seen_in_its_beginning() {
        assert_eq!(task_in(br#"{"artifactUpdate": {"taskId" : "t-1", "arti"#).as_deref(), Some("t-1"));
        assert_eq!(task_in(br#"{"artifactUpdate": {"artifact": "xxxx"#), None);
    }

    #[test]
    fn a_turn_shows_the_newest_of_its_task_within_the_bound() {
        let message = Arc::new(Message::user("new"));
        let mut turn_of = Turn::new("t".into(), "c".into(), message);
        let mut task = Task::new("t", "c", TaskStatus::new(TaskState::Working, Timestamp::default()));
        task.history = (0..5).map(|n| Message::user(n.to_string().repeat(TASK_BYTES / 4))).collect();
        task.artifacts = vec![Artifact::text("a", "x".repeat(TASK_BYTES))];
        turn_of.task = Some(Arc::new(task));
        let bytes = turn(&turn_of, None);
        assert!(bytes.len() < 2 * TASK_BYTES && bytes.ends_with(b"\n"));
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        let history = read["turn"]["task"]["history"].as_array().unwrap();
        assert_eq!(history.len(), 3);
        assert!(history[2]["parts"][0]["text"].as_str().unwrap().starts_with('4'));
        assert_eq!(read["turn"]["task"].get("artifacts"), None);
    }
}
