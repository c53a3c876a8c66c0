//! Faults as errors of Cap'n Web, whose values are otherwise the model's own JSON.

use ::capnweb::{Data, Error};
use serde_json::{Value, json};

use super::{MAX_DETAILS, shortened};
use crate::fault::{Fault, FaultKind, FieldViolation};

/// A fault as the peer sees it. Defects are logged with their cause; the peer learns only that there is one.
pub fn to_error(fault: &Fault) -> Error {
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

/// Reads an error of a peer. Whatever the peer wrote, this gives a fault: one without a code that is known is
/// [`FaultKind::Internal`]. As much is kept of it as of one over Cap'n Proto.
pub fn from_error(error: Error) -> Fault {
    let kind = match error.prop("code") {
        #[expect(clippy::cast_possible_truncation, reason = "a code that is none of ours stays none")]
        Some(Data::Number(code)) => FaultKind::from_code(*code as i32),
        _ if error.name == "TypeError" && error.message.ends_with("is not a function.") => {
            Some(FaultKind::MethodNotFound)
        }
        _ => None,
    };
    let message = shortened(&error.message);
    let Some(kind) = kind else {
        return Fault::new(FaultKind::Internal, format!("the peer failed without saying how: {message}"));
    };
    let details = error.prop("details").cloned().map(Data::into_json);
    let details = details.and_then(Result::ok).unwrap_or_default();
    let details = details.as_array().into_iter().flatten().take(MAX_DETAILS);
    details.fold(Fault::new(kind, message), detailed)
}

fn detailed(fault: Fault, detail: &Value) -> Fault {
    let text = |value: &Value| shortened(value.as_str().unwrap_or_default());
    let pairs = detail["metadata"].as_object().into_iter().flatten().take(MAX_DETAILS);
    let fault = pairs.fold(fault, |fault, (name, value)| fault.with(&shortened(name), text(value)));
    let violations = detail["fieldViolations"].as_array().into_iter().flatten().take(MAX_DETAILS);
    violations.fold(fault, |fault, violation| {
        let (field, description) = (text(&violation["field"]), text(&violation["description"]));
        fault.with_violation(FieldViolation { field, description })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_back_as_it_went() {
        let plain = Fault::new(FaultKind::VersionNotSupported, "not spoken").with("supported", "1.0");
        for fault in [plain, Fault::invalid("message.parts", "must have at least one element")] {
            let read = from_error(to_error(&fault));
            assert_eq!((read.kind(), read.message()), (fault.kind(), fault.message()));
            assert_eq!((read.metadata(), read.violations()), (fault.metadata(), fault.violations()));
        }
    }

    #[test]
    fn of_a_peers_error_only_so_much_is_kept() {
        let pairs: serde_json::Map<_, _> =
            (0..500).map(|index| (format!("name-{index}"), json!("x".repeat(10_000)))).collect();
        let violation = json!({ "field": "f".repeat(10_000), "description": "d" });
        let details = json!([{ "metadata": pairs }, { "fieldViolations": vec![violation; 500] }]);
        let error = Error::plain("m".repeat(1 << 20))
            .with("code", Data::Number(FaultKind::InvalidParams.code().into()))
            .with("details", Data::from_json(details));
        let fault = from_error(error);
        assert!(fault.message().len() <= 2_048 + 3, "and a mark");
        assert_eq!((fault.metadata().len(), fault.violations().len()), (MAX_DETAILS, MAX_DETAILS));
        assert!(fault.metadata().values().all(|value| value.len() <= 2_048 + 3));
        assert!(fault.violations().iter().all(|violation| violation.field.len() <= 2_048 + 3));
    }
}
