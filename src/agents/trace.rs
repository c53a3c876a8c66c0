//! W3C trace context: which trace a call belongs to.

use serde_json::Value;

use crate::model::{ServiceParameters, Struct};

/// The id of the trace that a call belongs to, as metadata of what is said in answer: `traceId`. None without a
/// valid `traceparent`.
pub(super) fn metadata(parameters: &ServiceParameters) -> Option<Struct> {
    let id = trace_id(parameters.get("traceparent")?)?;
    Some(Struct::from_iter([("traceId".to_owned(), Value::from(id))]))
}

/// The trace id of a `traceparent`: `version-traceid-parentid-flags`, in lower-case hexadecimal digits.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-');
    let (version, trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_some = |text: &str| text.bytes().any(|byte| byte != b'0');
    // A later version may have more fields behind these.
    let known = version != "ff" && (version != "00" || fields.next().is_none());
    let formed = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    (known && formed && is_some(trace) && is_some(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_traceparent_has_a_trace_id() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        assert_eq!(trace_id(&format!("00-{trace}-{parent}-01")), Some(trace));
        assert_eq!(trace_id(&format!("01-{trace}-{parent}-01-more")), Some(trace));
        for wrong in [
            format!("ff-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}-01-more"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{trace}-{parent}"),
            String::new(),
        ] {
            assert_eq!(trace_id(&wrong), None, "{wrong}");
        }
    }
}
