//! Errors of a session as faults, and the other way round.

use capnweb::{Data, Error};

use crate::fault::{Fault, FaultKind, FieldViolation};

/// The fault in an error, by its own properties `code` and `details`.
pub(super) fn fault_of(error: Error) -> Fault {
    let kind = match error.prop("code") {
        #[expect(clippy::cast_possible_truncation, reason = "a code that is none of ours stays none")]
        Some(Data::Number(code)) => FaultKind::from_code(*code as i32),
        _ if error.name == "TypeError" && error.message.ends_with("is not a function.") => {
            Some(FaultKind::MethodNotFound)
        }
        _ => None,
    };
    let Some(kind) = kind else {
        let message = format!("the server failed without saying how: {}", error.message);
        return Fault::new(FaultKind::Internal, message);
    };
    let details = error.prop("details").cloned().map(Data::into_json);
    let details = details.and_then(Result::ok).unwrap_or_default();
    let fault = Fault::new(kind, error.message);
    details.as_array().into_iter().flatten().fold(fault, detailed)
}

/// What the server is told that called an object of ours.
pub(super) fn error_of(fault: &Fault) -> Error {
    Error::plain(fault.message())
        .with("code", Data::Number(fault.kind().code().into()))
        .with("reason", Data::String(fault.kind().reason().to_owned()))
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
