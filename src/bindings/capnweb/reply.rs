//! Answers: values in A2A's JSON, and errors with what a program should know of them.

use ::capnweb::{Data, Encoded, Error};
use serde::Serialize;
use serde_json::json;

use super::object::Object;
use crate::fault::{Fault, Result};

/// What travels.
pub(super) type Value = ::capnweb::Value<Object>;

/// An object with named members.
pub(super) fn record<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut object = ::capnweb::Object::new();
    for (name, value) in members {
        object.insert(name, value);
    }
    Value::Object(object)
}

/// A value of the model in its canonical JSON.
pub(super) fn value(shown: &impl Serialize) -> Result<Value> {
    Encoded::serialize(shown).map(Value::Encoded).map_err(Fault::internal)
}

/// A fault as the client sees it. Defects are logged with their cause; the client learns only that there is one.
pub(super) fn error(fault: &Fault) -> Error {
    if let Some(cause) = fault.cause() {
        tracing::error!(%fault, %cause, "a call failed by a defect");
    }
    let row = fault.kind().row();
    let mut info = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": row.reason,
        "domain": row.domain,
    });
    if !fault.metadata().is_empty() {
        info["metadata"] = json!(fault.metadata());
    }
    let mut details = vec![info];
    if !fault.violations().is_empty() {
        let violations: Vec<_> = fault
            .violations()
            .iter()
            .map(|violation| json!({ "field": violation.field, "description": violation.description }))
            .collect();
        let request = "type.googleapis.com/google.rpc.BadRequest";
        details.push(json!({ "@type": request, "fieldViolations": violations }));
    }
    Error::plain(fault.message())
        .with("code", Data::Number(row.code.into()))
        .with("reason", Data::String(row.reason.to_owned()))
        .with("details", Data::from_json(json!(details)))
}
