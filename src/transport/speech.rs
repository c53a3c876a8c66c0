//! A Cap'n Web session on a line, at either end.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use capnweb::{Cause, Closed, Limits, Session, Violation};

use super::close::{CloseReason, code};
use super::line::{Line, Speaker};
use crate::fault::{Fault, FaultKind};
use crate::limits::WireLimits;
use crate::wire::capnweb::to_error;

/// What a session's objects are, and who does what it asks for.
pub trait WebHost: Unpin + 'static {
    /// The objects of this side.
    type Object;

    /// The session, for one step: nothing of the host's may run meanwhile.
    fn session<R>(&self, step: impl FnOnce(&mut Session<Self::Object>) -> R) -> R;

    /// Has the task woken from now on when there is something to do that no frame has brought.
    fn register(&self, cx: &mut Context<'_>);

    /// A frame of so many bytes comes next.
    fn expect(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Does what the session asks for, until it asks for nothing more. Frames are given to `send`, and are flushed
    /// then. An error is the session's end.
    fn work(&mut self, cx: &mut Context<'_>, send: &mut dyn FnMut(String)) -> Result<(), Box<Closed>>;

    /// The connection is over, and the session told so: whoever waits for the peer learns that it is gone, and objects
    /// are let go.
    fn end(&mut self);
}

/// What speaks on a Cap'n Web connection.
pub struct WebSpeech<H> {
    host: H,
    line: Rc<Line>,
    /// The abort that the session made, which is the last frame.
    last: Option<Bytes>,
}

impl<H: WebHost> WebSpeech<H> {
    /// Speaks for a host, on a line.
    pub fn new(host: H, line: &Rc<Line>) -> Self {
        Self { host, line: Rc::clone(line), last: None }
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        let Self { host, line, last } = self;
        let worked = host.work(cx, &mut |frame| {
            let frame = Bytes::from(frame);
            if frame.starts_with(b"[\"abort\",") {
                // What was queued before it may be forgotten; this is not.
                *last = Some(frame);
            } else {
                line.queue(frame);
            }
        });
        worked.map_err(|closed| reason(*closed))
    }

    /// Handles what there is, and one more frame. Whether there was one.
    fn step(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        self.work(cx)?;
        let Poll::Ready(frame) = self.line.poll_frame(cx) else { return Ok(false) };
        let frame = frame?;
        let text = std::str::from_utf8(&frame);
        let text = text.map_err(|_| CloseReason::violation("a text frame must be UTF-8"))?;
        self.host.expect(text.len());
        self.host.session(|session| session.receive(text));
        self.work(cx)?;
        Ok(true)
    }
}

impl<H: WebHost> Future for WebSpeech<H> {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.host.register(cx);
        match self.step(cx) {
            Ok(more) => {
                if more {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Err(reason) => Poll::Ready(reason),
        }
    }
}

impl<H: WebHost> Speaker for WebSpeech<H> {
    fn last_words(&self, reason: &CloseReason) -> Option<Bytes> {
        if self.last.is_some() {
            return self.last.clone();
        }
        match reason {
            CloseReason::Closed { code: code::NORMAL, .. } => None,
            CloseReason::Closed { .. }
            | CloseReason::Refused { .. }
            | CloseReason::Silent
            | CloseReason::Panicked => Some(abort(&reason.fault())),
            CloseReason::PeerClosed { .. } | CloseReason::PeerAborted(_) | CloseReason::Lost(_) => None,
        }
    }

    fn end(&mut self, _: &mut Context<'_>) {
        self.host.session(Session::closed);
        self.host.end();
    }
}

/// The last frame of a session that this side ends.
pub fn abort(fault: &Fault) -> Bytes {
    let error = capnweb::Encoded::new(&capnweb::Data::Error(Box::new(to_error(fault))));
    let error = error.as_ref().map_or("[\"error\",\"Error\",\"internal error\"]", capnweb::Encoded::as_str);
    Bytes::from(format!("[\"abort\",{error}]"))
}

/// How the connection ends with its session.
fn reason(closed: Closed) -> CloseReason {
    let Closed { cause, reason } = closed;
    match cause {
        Cause::Peer(error) => {
            let mut text = error.message;
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
            CloseReason::PeerAborted(text)
        }
        Cause::Violation(violation) => {
            let kind = match violation {
                Violation::Limit(..) => FaultKind::Quota,
                _ => FaultKind::InvalidRequest,
            };
            CloseReason::Refused { code: code::SESSION_OVER, fault: Fault::new(kind, reason) }
        }
        Cause::Host(_) | Cause::Lost => {
            CloseReason::Closed { code: code::SESSION_OVER, reason: reason.into() }
        }
    }
}

/// Bytes of a peer's last words that are kept.
const LONGEST_TEXT: usize = 1 << 10;

/// The bounds of a session, as far as both ends have the same. One end may have bounds of its own for calls, and for what
/// is kept and queued.
pub fn session_limits(wire: &WireLimits) -> Limits {
    let mut limits = Limits::default();
    limits.message_bytes = wire.message_bytes;
    limits.depth = wire.depth;
    limits.calls = wire.message_calls;
    limits.remap_steps = wire.map_steps;
    limits.exports = wire.exports;
    limits.imports = wire.imports;
    limits.unanswered_calls = wire.questions;
    limits.unanswered_questions = wire.calls;
    limits.kept_bytes = wire.message_bytes.saturating_mul(KEPT_MESSAGES);
    // The line bounds what it was given; one message can settle what a thousand answers wait for before that.
    limits.queued_bytes = wire.message_bytes.saturating_mul(2);
    limits.stream_window = wire.stream_window_bytes;
    limits
}

/// What a peer may have kept for it, in arguments and results, as a multiple of the longest message.
const KEPT_MESSAGES: usize = 4;
