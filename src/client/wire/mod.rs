//! What goes over the wire, as text for people who look for a fault. Credentials are not in it.

mod capnp;
mod capnweb;

use std::sync::Arc;

use super::endpoint::Binding;
pub use crate::transport::Direction;

/// A message on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireMessage {
    /// Which way it goes.
    pub direction: Direction,
    /// The bytes of its frame.
    pub bytes: usize,
    /// What it says: over Cap'n Web the frame itself, over Cap'n Proto the message in the notation of the schema
    /// language, with the names of methods and fields. Where a credential, the secret of a shared task or the value of
    /// a service parameter that may be one stands in the message, there is `…` here. At most
    /// [`MAX_TEXT_BYTES`](Self::MAX_TEXT_BYTES), then cut.
    pub text: String,
}

impl WireMessage {
    /// Bytes of one message's text.
    pub const MAX_TEXT_BYTES: usize = 64 << 10;
}

/// Who is shown the messages. Called on the client's thread: it must return soon.
#[derive(Clone, Default)]
pub(super) struct Onlooker(Option<Arc<dyn Fn(WireMessage) + Send + Sync>>);

impl Onlooker {
    pub(super) fn new(onlooker: impl Fn(WireMessage) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(onlooker)))
    }

    /// What tells of the frames of one connection; none if nobody wants to know.
    pub(super) fn watch(&self, binding: Binding) -> Option<impl FnMut(Direction, &[u8]) + use<>> {
        let onlooker = self.0.clone()?;
        let mut calls = capnp::Calls::default();
        Some(move |direction, frame: &[u8]| {
            let mut text = match binding {
                Binding::CapnProto => calls.text(direction, frame),
                Binding::CapnWeb => capnweb::text(frame),
            };
            if text.len() > WireMessage::MAX_TEXT_BYTES {
                text.truncate(text.floor_char_boundary(WireMessage::MAX_TEXT_BYTES - CUT.len()));
                text.push_str(CUT);
            }
            onlooker(WireMessage { direction, bytes: frame.len(), text });
        })
    }
}

/// Whether the value of a field or member of this name opens something.
fn is_secret(name: &str) -> bool {
    matches!(name, "apiKey" | "bearer" | "credentials" | "secret" | "token")
}

/// Whether the value of a service parameter of this name can be no credential.
fn is_harmless(parameter: &str) -> bool {
    let harmless = ["a2a-version", "a2a-extensions", "traceparent", "tracestate"];
    harmless.iter().any(|name| name.eq_ignore_ascii_case(parameter))
}

/// In the place of what is not shown.
const HIDDEN: &str = "…";
/// At the end of what is cut.
const CUT: &str = "…";
