//! Values in A2A's JSON, and errors as faults.

use a2a_webcap::client::{ContextScope, Cursor, GrantPolicy, SendCall, SessionPolicy, TaskRole};
use a2a_webcap::fault::{Fault, FaultKind, FieldViolation, Result};
use capnweb::{Data, Encoded, Error};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, json};

use super::ear::Ear;

/// What travels.
pub(super) type Value = capnweb::Value<Ear>;

/// Anything of the model.
pub(super) fn value(shown: &impl Serialize) -> Value {
    Value::Encoded(Encoded::serialize(shown).expect("what the model has can be written down"))
}

/// Anything of the model that may be absent.
pub(super) fn optional(shown: Option<&impl Serialize>) -> Value {
    shown.map_or(Value::Undefined, value)
}

/// An object with named members.
pub(super) fn record(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut object = capnweb::Object::new();
    for (name, member) in members {
        object.insert(name, member);
    }
    Value::Object(object)
}

/// A value as something of the model.
pub(super) fn json<T: DeserializeOwned>(value: Value) -> Result<T> {
    let unreadable = |why: String| {
        Fault::new(FaultKind::InvalidAgentResponse, format!("the server's answer cannot be read: {why}"))
    };
    let json = value.into_json().map_err(|error| unreadable(error.message))?;
    serde_json::from_value(json).map_err(|error| unreadable(error.to_string()))
}

/// The message and the configuration of a send.
pub(super) fn send(call: &SendCall) -> [Value; 2] {
    let request = &call.request;
    let mut config = match &request.configuration {
        Some(configuration) => serde_json::to_value(configuration).expect("it can be written down"),
        None => json!({}),
    };
    if let Some(metadata) = &request.metadata {
        config["metadata"] = json!(metadata);
    }
    if call.cancel_on_drop {
        config["cancelOnDrop"] = json!(true);
    }
    if let Some(timeout) = call.turn_timeout {
        config["turnTimeoutMs"] = json!(timeout.as_nanos().div_ceil(1_000_000).max(1) as u64);
    }
    [value(&request.message), value(&config)]
}

pub(super) fn cursor(cursor: Cursor) -> Value {
    match cursor {
        Cursor::Snapshot => Value::Undefined,
        Cursor::After(seq) => value(&seq),
    }
}

pub(super) fn role(role: TaskRole) -> Value {
    let word = match role {
        TaskRole::Observe => "observe",
        TaskRole::Answer => "answer",
        TaskRole::Control => "control",
        TaskRole::Owner => "owner",
    };
    Value::String(word.to_owned())
}

fn bounds(policy: &GrantPolicy) -> Map<String, serde_json::Value> {
    let mut members = Map::new();
    if let Some(expires) = policy.expires {
        members.insert("expires".to_owned(), json!(expires));
    }
    if !policy.label.is_empty() {
        members.insert("label".to_owned(), json!(policy.label));
    }
    members.insert("keepOnDrop".to_owned(), json!(policy.keep_on_drop));
    members
}

pub(super) fn grant_policy(policy: &GrantPolicy) -> Value {
    value(&bounds(policy))
}

pub(super) fn session_policy(policy: &SessionPolicy) -> Value {
    let mut members = bounds(&policy.grant);
    members.insert("readOnly".to_owned(), json!(policy.read_only));
    match &policy.context {
        ContextScope::Every => None,
        ContextScope::Fresh => members.insert("context".to_owned(), json!("fresh")),
        ContextScope::Only(id) => members.insert("context".to_owned(), json!({ "only": id })),
    };
    value(&members)
}

/// The fault in an error, by its own properties `code`, `reason` and `details`.
pub(super) fn fault_of(error: Error) -> Fault {
    let kind = match error.prop("code") {
        #[expect(clippy::cast_possible_truncation, reason = "a code is a small whole number")]
        Some(Data::Number(code)) => FaultKind::from_code(*code as i32),
        _ if error.name == "TypeError" && error.message.ends_with("is not a function.") => {
            Some(FaultKind::MethodNotFound)
        }
        _ => None,
    };
    let Some(kind) = kind else {
        return Fault::new(FaultKind::Internal, format!("an error without a code: {error}"));
    };
    let reason = error.prop("reason").and_then(Data::as_str).unwrap_or_default();
    assert!(
        kind == FaultKind::MethodNotFound || reason == kind.reason(),
        "the reason {reason:?} goes with the code of {kind:?}"
    );
    let details = error.prop("details").cloned().map(Data::into_json).transpose();
    let details = details.ok().flatten().unwrap_or_default();
    let fault = Fault::new(kind, error.message);
    details.as_array().into_iter().flatten().fold(fault, detailed)
}

fn detailed(fault: Fault, detail: &serde_json::Value) -> Fault {
    let pairs = detail["metadata"].as_object().into_iter().flatten();
    let fault =
        pairs.fold(fault, |fault, (name, value)| fault.with(name, value.as_str().unwrap_or_default()));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let violations = detail["fieldViolations"].as_array().into_iter().flatten();
    violations.fold(fault, |fault, violation| {
        let (field, description) = (text(&violation["field"]), text(&violation["description"]));
        fault.with_violation(FieldViolation { field, description })
    })
}
