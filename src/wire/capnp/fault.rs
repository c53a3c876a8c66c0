//! Faults: the struct `A2aError` in results, and the exceptions of broken capabilities.

use capnp::{Error, ErrorKind};

use super::capability_capnp::{a2a_error, parameter};
use super::codec::{Encode, encode_list};
use crate::fault::{ExceptionType, Fault, FaultKind, FieldViolation};

impl Encode for Fault {
    type Owned = a2a_error::Owned;

    fn encode(&self, mut builder: a2a_error::Builder<'_>) {
        let row = self.kind().row();
        builder.set_code(row.code);
        builder.set_reason(row.reason);
        builder.set_message(self.message());
        builder.set_domain(row.domain);
        if !self.metadata().is_empty() {
            let count = u32::try_from(self.metadata().len()).expect("a fault has a handful of pairs");
            let mut list = builder.reborrow().init_metadata(count);
            for (index, (name, value)) in (0..).zip(self.metadata()) {
                let mut pair = list.reborrow().get(index);
                pair.set_name(name);
                pair.set_value(value);
            }
        }
        encode_list(self.violations(), |n| builder.reborrow().init_violations(n));
    }
}

impl Encode for FieldViolation {
    type Owned = a2a_error::violation::Owned;

    fn encode(&self, mut builder: a2a_error::violation::Builder<'_>) {
        builder.set_field(&self.field);
        builder.set_description(&self.description);
    }
}

/// Reads the error that a peer put into a result. Whatever the peer wrote, this gives a fault: one with an
/// unknown code is [`FaultKind::Internal`] and keeps code and reason in its message. At most
/// [`MAX_DETAILS`] pairs and violations are kept.
pub fn decode_fault(reader: a2a_error::Reader<'_>) -> Fault {
    let message = lossy(reader.get_message());
    let fault = match FaultKind::from_code(reader.get_code()) {
        Some(kind) if message.is_empty() => Fault::from(kind),
        Some(kind) => Fault::new(kind, message),
        None => {
            let reason = lossy(reader.get_reason());
            let message = format!("the peer reports {reason} ({}): {message}", reader.get_code());
            Fault::new(FaultKind::Internal, message)
        }
    };
    let pairs = reader.get_metadata().into_iter().flatten().take(MAX_DETAILS);
    let fault = pairs.fold(fault, |fault, pair: parameter::Reader<'_>| {
        fault.with(&lossy(pair.get_name()), lossy(pair.get_value()))
    });
    let violations = reader.get_violations().into_iter().flatten().take(MAX_DETAILS);
    violations.fold(fault, |fault, violation| {
        let field = lossy(violation.get_field());
        let description = lossy(violation.get_description());
        fault.with_violation(FieldViolation { field, description })
    })
}

/// The exception for a fault. Its reason contains `A2A <code> <REASON>: `, by which any client knows it.
pub fn to_exception(fault: &Fault) -> Error {
    let row = fault.kind().row();
    let reason = format!("A2A {} {}: {}", row.code, row.reason, fault.message());
    match row.exception {
        ExceptionType::Failed => Error::failed(reason),
        ExceptionType::Overloaded => Error::overloaded(reason),
        ExceptionType::Disconnected => Error::disconnected(reason),
        ExceptionType::Unimplemented => Error::unimplemented(reason),
    }
}

/// The fault in an exception: the one that its reason names, else what the exception's type tells. At most
/// [`MAX_MESSAGE_BYTES`] of the text are kept, for some peers put a stack trace there.
pub fn from_exception(error: &Error) -> Fault {
    if let Some((code, message)) = marked(&error.extra)
        && let Some(kind) = FaultKind::from_code(code)
    {
        return Fault::new(kind, shortened(message));
    }
    let kind = match error.kind {
        ErrorKind::Overloaded => FaultKind::Overloaded,
        ErrorKind::Disconnected => FaultKind::Disconnected,
        ErrorKind::Unimplemented => FaultKind::MethodNotFound,
        _ => FaultKind::Internal,
    };
    let mut text = error.extra.as_str();
    while let Some(rest) = text.strip_prefix(HOP) {
        text = rest;
    }
    if text.is_empty() { Fault::new(kind, error.to_string()) } else { Fault::new(kind, shortened(text)) }
}

/// Finds `A2A <code> <REASON>: ` anywhere in a text: the code, and what follows.
fn marked(text: &str) -> Option<(i32, &str)> {
    text.match_indices(MARK).find_map(|(at, _)| {
        let rest = &text[at + MARK.len()..];
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '-')?;
        let (code, rest) = rest.split_at(digits);
        let rest = rest.strip_prefix(' ')?;
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let (reason, rest) = rest.split_at(word);
        let message = rest.strip_prefix(": ").or_else(|| rest.strip_prefix(':'))?;
        if reason.is_empty() { None } else { Some((code.parse().ok()?, message)) }
    })
}

fn lossy(text: capnp::Result<capnp::text::Reader<'_>>) -> String {
    let bytes = text.map_or(&[][..], |text| text.as_bytes());
    shortened(&String::from_utf8_lossy(bytes))
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_MESSAGE_BYTES);
    let mark = if end < text.len() { "…" } else { "" };
    format!("{}{mark}", &text[..end])
}

const MARK: &str = "A2A ";

/// What each hop puts before a reason.
const HOP: &str = "remote exception: ";

/// The bytes of a peer's text that a fault keeps.
const MAX_MESSAGE_BYTES: usize = 2_048;

/// The pairs, and the violations, of a peer's error that a fault keeps.
const MAX_DETAILS: usize = 64;
