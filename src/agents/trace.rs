//! What an agent that is a program says belongs to the trace of the call.

use serde_json::Value;

use crate::model::{ServiceParameters, Struct};
use crate::trace::trace_id;

/// The id of the trace that a call belongs to, as metadata of what is said in answer: `traceId`. None without a
/// valid `traceparent`.
pub(super) fn metadata(parameters: &ServiceParameters) -> Option<Struct> {
    let id = trace_id(parameters)?;
    Some(Struct::from_iter([("traceId".to_owned(), Value::from(id))]))
}
