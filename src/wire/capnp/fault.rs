//! Faults: the struct `A2aError` in results, and the exceptions of broken capabilities.

use capnp::{Error, ErrorKind};

use super::super::{MAX_DETAILS, shortened};
use super::capability_capnp::{a2a_error, parameter};
use super::codec::{Encode, encode_list, map_length};
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
            let mut list = builder.reborrow().init_metadata(map_length(self.metadata()));
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
/// unknown code is [`FaultKind::Internal`] and keeps code and reason in its message. At most 64
/// pairs, 64 violations, and 2,048 bytes of each text are kept.
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
/// 2,048 bytes of the text are kept, for some peers put a stack trace there.
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

const MARK: &str = "A2A ";

/// What each hop puts before a reason.
const HOP: &str = "remote exception: ";

#[cfg(test)]
mod tests {
    use super::super::super::MAX_MESSAGE_BYTES;
    use super::*;

    #[test]
    fn every_kind_survives_an_exception_and_the_words_of_each_hop() {
        for kind in FaultKind::ALL {
            let fault = Fault::new(kind, "task 7: say what to do");
            let mut error = to_exception(&fault);
            assert_eq!(from_exception(&error), fault);
            error.extra = format!("remote exception: remote exception: {}", error.extra);
            assert_eq!(from_exception(&error), fault);
        }
    }

    #[test]
    fn an_exception_says_what_every_client_looks_for() {
        let error = to_exception(&Fault::task_not_found());
        assert_eq!(error.kind, ErrorKind::Failed);
        assert!(error.extra.starts_with("A2A -32001 TASK_NOT_FOUND: "), "{}", error.extra);
        assert_eq!(to_exception(&FaultKind::Overloaded.into()).kind, ErrorKind::Overloaded);
        assert_eq!(to_exception(&FaultKind::Disconnected.into()).kind, ErrorKind::Disconnected);
        assert_eq!(to_exception(&FaultKind::MethodNotFound.into()).kind, ErrorKind::Unimplemented);
    }

    #[test]
    fn an_exception_without_the_mark_is_known_by_its_type() {
        let rows = [
            (Error::failed("remote exception: oops".into()), FaultKind::Internal, "oops"),
            (Error::overloaded("busy".into()), FaultKind::Overloaded, "busy"),
            (Error::disconnected("Peer disconnected.".into()), FaultKind::Disconnected, "Peer disconnected."),
            (Error::unimplemented("no method 9".into()), FaultKind::MethodNotFound, "no method 9"),
            (Error::failed("A2A -1 OTHER: x".into()), FaultKind::Internal, "A2A -1 OTHER: x"),
            (Error::failed("A2A -32001".into()), FaultKind::Internal, "A2A -32001"),
            (Error::failed("A2A A2A -32001 : x".into()), FaultKind::Internal, "A2A A2A -32001 : x"),
            (Error::failed("A2A: A2A -32001 X: y".into()), FaultKind::TaskNotFound, "y"),
        ];
        for (error, kind, message) in rows {
            assert_eq!(from_exception(&error), Fault::new(kind, message));
        }
    }

    #[test]
    fn a_long_text_of_a_peer_is_cut() {
        let fault = from_exception(&Error::failed("ä".repeat(100_000)));
        assert_eq!(fault.message().chars().count(), MAX_MESSAGE_BYTES / 2 + 1);
    }

    #[test]
    fn an_unknown_code_keeps_its_words() {
        let mut message = capnp::message::Builder::new_default();
        let mut error = message.init_root::<a2a_error::Builder<'_>>();
        error.set_code(-31_999);
        error.set_reason("OF_TOMORROW");
        error.set_message("try it differently");
        let fault = decode_fault(error.into_reader());
        let expected = "the peer reports OF_TOMORROW (-31999): try it differently";
        assert_eq!(fault, Fault::new(FaultKind::Internal, expected));
    }

    #[test]
    fn what_a_peer_piles_up_in_an_error_is_bounded() {
        let mut message = capnp::message::Builder::new_default();
        let mut error = message.init_root::<a2a_error::Builder<'_>>();
        error.set_code(FaultKind::InvalidParams.code());
        error.reborrow().init_violations(1_000);
        let fault = decode_fault(error.into_reader());
        assert_eq!((fault.kind(), fault.violations().len()), (FaultKind::InvalidParams, MAX_DETAILS));
    }
}
