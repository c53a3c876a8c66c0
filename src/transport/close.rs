//! Why a connection ended, and how that is told to the peer.

use std::borrow::Cow;
use std::fmt;

use crate::fault::{ExceptionType, Fault, FaultKind};

/// WebSocket close codes that this crate sends (RFC 6455, 7.4.1).
pub mod code {
    /// The purpose is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server stops, or the page is left.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the WebSocket or the RPC protocol.
    pub const PROTOCOL: u16 = 1002;
    /// A text frame where only binary ones belong, or the other way round.
    pub const UNSUPPORTED: u16 = 1003;
    /// No close frame, or one without a code; never on the wire.
    pub const NONE: u16 = 1005;
    /// A text frame that is not UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// The peer reached a bound, or did not authenticate in time.
    pub const POLICY: u16 = 1008;
    /// A message is longer than the limit.
    pub const TOO_BIG: u16 = 1009;
    /// A defect of this side.
    pub const INTERNAL: u16 = 1011;
    /// A Cap'n Web session was aborted, or its client is done with it.
    pub const SESSION_OVER: u16 = 3000;
}

/// Why a connection ended. The first cause wins.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer sent a close frame.
    PeerClosed {
        /// Its code; [`code::NONE`] if it had none.
        code: u16,
        /// Its text, at most 123 bytes, written by the peer.
        reason: String,
    },
    /// The peer ended the RPC session; the text is its own, cut at 1 KiB.
    PeerAborted(String),
    /// The socket ended or failed without a close frame.
    Lost(String),
    /// Not one byte came from the peer within the idle timeout.
    Silent,
    /// The peer reached a bound or broke the protocol.
    Refused {
        /// WebSocket close code.
        code: u16,
        /// What the peer is told.
        fault: Fault,
    },
    /// This side closed on purpose.
    Closed {
        /// WebSocket close code.
        code: u16,
        /// What the peer is told.
        reason: Cow<'static, str>,
    },
    /// A defect of this side, which ended this connection only; the log has it.
    Panicked,
}

impl CloseReason {
    /// A bound that the peer reached.
    pub(crate) fn over(kind: FaultKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { code: code::POLICY, fault: Fault::new(kind, message) }
    }

    /// A rule of the protocol that the peer broke.
    pub(crate) fn violation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { code: code::PROTOCOL, fault: Fault::new(FaultKind::InvalidRequest, message) }
    }

    /// The same, with this close code. In a browser the page's own socket sees to that.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn with_code(self, code: u16) -> Self {
        match self {
            Self::Refused { fault, .. } => Self::Refused { code, fault },
            other => other,
        }
    }

    /// A message longer than `bytes`.
    pub(crate) fn too_big(bytes: usize) -> Self {
        let message = format!("a message may have {bytes} bytes: send smaller parts");
        Self::Refused { code: code::TOO_BIG, fault: Fault::new(FaultKind::InvalidRequest, message) }
    }

    /// A short name, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::PeerClosed { .. } => "peer_closed",
            Self::PeerAborted(_) => "peer_aborted",
            Self::Lost(_) => "lost",
            Self::Silent => "silent",
            Self::Refused { code: code::TOO_BIG, .. } => "too_big",
            Self::Refused { fault, .. } => match fault.kind() {
                FaultKind::Quota => "quota",
                FaultKind::Overloaded => "overloaded",
                FaultKind::Unauthenticated => "unauthenticated",
                _ => "protocol",
            },
            Self::Closed { .. } => "closed",
            Self::Panicked => "panicked",
        }
    }

    /// What calls in flight fail with, here and (where it can still be told) at the peer.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused { fault, .. } => fault.clone(),
            Self::Panicked => Fault::new(FaultKind::Internal, "internal error; it is in the server's log"),
            other => Fault::new(FaultKind::Disconnected, format!("{other}; connect again")),
        }
    }

    /// The close frame that tells the peer; `None` where there is nobody left to tell.
    pub(crate) fn frame(&self) -> Option<(u16, Cow<'_, str>)> {
        match self {
            Self::PeerClosed { .. } | Self::Lost(_) => None,
            Self::PeerAborted(_) => Some((code::NORMAL, "".into())),
            Self::Silent => Some((code::POLICY, "nothing came within the idle timeout".into())),
            // Whoever reads this code has the fault's number from the abort before it.
            Self::Refused { code: code @ code::SESSION_OVER, fault } => {
                Some((*code, short(fault.message().to_owned()).into()))
            }
            Self::Refused { code, fault } => Some((*code, short(exception_text(fault)).into())),
            Self::Closed { code, reason } => Some((*code, short(reason.to_string()).into())),
            Self::Panicked => Some((code::INTERNAL, "internal error".into())),
        }
    }

    /// The Cap'n Proto form of [`fault`](Self::fault).
    pub(crate) fn exception(&self) -> capnp::Error {
        let fault = self.fault();
        let kind = match fault.kind().row().exception {
            ExceptionType::Failed => capnp::ErrorKind::Failed,
            ExceptionType::Overloaded => capnp::ErrorKind::Overloaded,
            ExceptionType::Disconnected => capnp::ErrorKind::Disconnected,
            ExceptionType::Unimplemented => capnp::ErrorKind::Unimplemented,
        };
        capnp::Error { kind, extra: exception_text(&fault) }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed { code, reason } if reason.is_empty() => write!(f, "the peer closed ({code})"),
            Self::PeerClosed { code, reason } => write!(f, "the peer closed ({code}: {reason})"),
            Self::PeerAborted(text) => write!(f, "the peer aborted: {text}"),
            Self::Lost(text) => write!(f, "the line was lost: {text}"),
            Self::Silent => f.write_str("the peer was silent for too long"),
            Self::Refused { code, fault } => write!(f, "refused ({code}): {fault}"),
            Self::Closed { code, reason } => write!(f, "closed ({code}: {reason})"),
            Self::Panicked => f.write_str("a defect ended the connection"),
        }
    }
}

/// A fault as the reason of a Cap'n Proto exception: `A2A <code> <REASON>: <message>`.
fn exception_text(fault: &Fault) -> String {
    let row = fault.kind().row();
    format!("A2A {} {}: {}", row.code, row.reason, fault.message())
}

/// The longest start of `text` that fits into a close frame.
fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(CLOSE_REASON_BYTES));
    text
}

/// What a close frame has room for beside its code (RFC 6455, 5.5).
const CLOSE_REASON_BYTES: usize = 123;
