//! Which trace a call belongs to (W3C trace context), and spans of what is done for it (OpenTelemetry).
//!
//! A span is made for each call, at both ends, and for each agent's turn. The trace context of a call travels in its
//! [`ServiceParameters`]; where a span is made, it takes the caller's as its parent and goes on in its place, so that
//! each hop's span is the child of the one before.
//!
//! Without the feature `otel`, or where the program has set no provider with
//! `opentelemetry::global::set_tracer_provider`, there are no spans, a caller's context is passed on as it came, and
//! nothing is paid. Which it is, a server and a connection see once, at their first call: set the provider before.
//!
//! No span holds what a message says, or credentials. Texts are cut at [`TEXT_CHARS`] characters; of a message's metadata
//! only numbers, texts and booleans are taken, at most [`METADATA`] of them, and none whose name says that it is secret.

#[cfg(not(feature = "otel"))]
mod absent;
#[cfg(feature = "otel")]
mod live;

#[cfg(not(feature = "otel"))]
pub use absent::{Scope, Span, Tracer};
#[cfg(feature = "otel")]
pub use live::{Scope, Span, Tracer};

use serde_json::Value;

use crate::fault::{FaultKind, Result};
use crate::model::{Message, PartContent, Role, ServiceParameters, TaskState};

/// Characters of one text in a span.
pub const TEXT_CHARS: usize = 256;
/// Entries of a message's metadata in a span.
pub const METADATA: usize = 16;
/// Entries that are looked at for those.
const LOOKED_AT: usize = 256;
/// Bytes of the name of one of them; a longer one is left out.
const NAME_BYTES: usize = 64;

/// Which end of a call a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Who calls.
    Client,
    /// Who is called.
    Server,
}

impl Span {
    /// Says which agent it is about, by the name that the server has it under.
    pub fn agent(&self, name: &str) {
        if self.is_recording() {
            self.set("agent.name", &Value::from(shortened(name)));
        }
    }

    /// Says which task it is about.
    pub fn task(&self, id: &str) {
        if self.is_recording() {
            self.set("a2a.task.id", &Value::from(shortened(id)));
        }
    }

    /// Says which conversation it is about.
    pub fn conversation(&self, id: &str) {
        if self.is_recording() {
            self.set("a2a.context.id", &Value::from(shortened(id)));
        }
    }

    /// Says what kind of message it is about, and not what that says.
    pub fn message(&self, message: &Message) {
        if !self.is_recording() {
            return;
        }
        let role = match message.role {
            Role::User => "user",
            Role::Agent => "agent",
        };
        self.set("message.role", &Value::from(role));
        let texts = message.parts.iter().filter_map(|part| match &part.content {
            PartContent::Text(text) => Some(text.chars().count()),
            PartContent::Raw(_) | PartContent::Url(_) | PartContent::Data(_) => None,
        });
        self.set("message.content_length", &Value::from(texts.sum::<usize>()));
        let metadata = message.metadata.iter().flatten().take(LOOKED_AT);
        let shown = metadata.filter(|(name, _)| name.len() <= NAME_BYTES && !is_secret(name));
        for (name, value) in shown.filter(|(_, value)| is_scalar(value)).take(METADATA) {
            let value = value.as_str().map_or_else(|| value.clone(), |text| Value::from(shortened(text)));
            self.set(format!("message.metadata.{name}"), &value);
        }
    }

    /// Ends the span of a call with what came of it. Without effect after the first time.
    pub fn end<T>(&self, answer: &Result<T>) {
        if !self.is_recording() {
            return;
        }
        match answer {
            Ok(_) => self.set("a2a.outcome", &Value::from("ok")),
            Err(fault) => {
                self.set("a2a.outcome", &Value::from(outcome(fault.kind())));
                self.fail(fault.kind().reason(), shortened(fault.message()));
            }
        }
        self.close();
    }

    /// Ends the span of a turn with the state that its task is in then; none where the agent has answered without a
    /// task, or the task has gone on without this turn.
    pub fn end_turn(&self, state: Option<TaskState>) {
        if !self.is_recording() {
            return;
        }
        if let Some(state) = state {
            self.set("a2a.task.state", &Value::from(state.to_string()));
        }
        if state == Some(TaskState::Failed) {
            // The reason is the agent's own words, or its program's: they stand in the task, for its owner.
            self.fail("TASK_FAILED", "the agent failed; the task's status says why");
        }
        self.close();
    }
}

/// What is not ended was given up.
impl Drop for Span {
    fn drop(&mut self) {
        if self.is_recording() {
            self.set("a2a.outcome", &Value::from("abandoned"));
            self.close();
        }
    }
}

/// What metrics and spans call a failure.
pub fn outcome(kind: FaultKind) -> String {
    kind.reason().to_ascii_lowercase()
}

/// The id of the trace that a call belongs to. None without a valid `traceparent`.
pub fn trace_id(parameters: &ServiceParameters) -> Option<&str> {
    parent(parameters).map(|parent| parent.trace)
}

/// What a `traceparent` says, in lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent<'a> {
    trace: &'a str,
    span: &'a str,
    flags: &'a str,
}

/// Reads `traceparent`: `version-traceid-parentid-flags`.
fn parent(parameters: &ServiceParameters) -> Option<Parent<'_>> {
    let mut fields = parameters.get(TRACEPARENT)?.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_some = |text: &str| text.bytes().any(|byte| byte != b'0');
    // A later version may have more fields behind these.
    let known = version != "ff" && (version != "00" || fields.next().is_none());
    let formed = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    (known && formed && is_some(trace) && is_some(span)).then_some(Parent { trace, span, flags })
}

fn is_scalar(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
}

/// Whether the name of a value says that it is no business of a collector's.
fn is_secret(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
    let name: String = letters.collect();
    SECRETS.iter().any(|word| name.contains(word))
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(TEXT_CHARS).map_or(text, |(end, _)| &text[..end])
}

const TRACEPARENT: &str = "traceparent";
#[cfg(feature = "otel")]
const TRACESTATE: &str = "tracestate";

/// Words that stand in the names of secrets.
const SECRETS: [&str; 9] = [
    "secret",
    "token",
    "password",
    "passwd",
    "credential",
    "authorization",
    "apikey",
    "privatekey",
    "cookie",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_traceparent_has_a_trace_id() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let read = |value: &str| {
            let parameters = ServiceParameters::from_pairs([("Traceparent", value)]).unwrap();
            trace_id(&parameters).map(str::to_owned)
        };
        assert_eq!(read(&format!("00-{trace}-{span}-01")).as_deref(), Some(trace));
        assert_eq!(read(&format!("01-{trace}-{span}-01-more")).as_deref(), Some(trace));
        for wrong in [
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}"),
            String::new(),
        ] {
            assert_eq!(read(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_of_secrets_are_known_however_they_are_spelled() {
        for name in ["password", "X-Api-Key", "api_key", "accessToken", "CLIENT_SECRET", "Set-Cookie"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["priority", "keyboard", "author", "trace"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
