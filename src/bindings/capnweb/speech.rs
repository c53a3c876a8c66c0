//! A Cap'n Web session on a line.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ::capnweb::{Action, Cause, Closed, Violation};
use bytes::Bytes;

use super::calls::Calls;
use super::connection::Connection;
use super::reply;
use crate::fault::{Fault, FaultKind};
use crate::transport::{CloseReason, Line, Speaker, code};

/// What speaks on a Cap'n Web connection.
pub(super) struct Speech {
    connection: Rc<Connection>,
    line: Rc<Line>,
    calls: Calls,
    /// The abort that the session made, which is the last frame.
    last: Option<Bytes>,
}

impl Speech {
    pub(super) fn new(connection: Rc<Connection>, line: &Rc<Line>) -> Self {
        let calls = Calls::new(&connection);
        Self { connection, line: Rc::clone(line), calls, last: None }
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        let Self { connection, line, calls, last } = self;
        let worked = calls.work(cx, &mut |frame| {
            let frame = Bytes::from(frame);
            connection.session(|session| session.flushed(frame.len()));
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
        self.connection.session(|session| session.receive(text));
        self.work(cx)?;
        Ok(true)
    }
}

impl Future for Speech {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.connection.register(cx);
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

impl Speaker for Speech {
    fn last_words(&self, reason: &CloseReason) -> Option<Bytes> {
        if self.last.is_some() {
            return self.last.clone();
        }
        match reason {
            CloseReason::Closed { code: code::NORMAL, .. } => None,
            CloseReason::Closed { .. }
            | CloseReason::Refused { .. }
            | CloseReason::Silent
            | CloseReason::Panicked => Some(reply::abort(&reason.fault())),
            CloseReason::PeerClosed { .. } | CloseReason::PeerAborted(_) | CloseReason::Lost(_) => None,
        }
    }

    fn end(&mut self, _: &mut Context<'_>) {
        self.connection.session(|session| session.closed());
        self.calls.clear();
        // Whoever waits for the client learns that it is gone, and objects are let go.
        while let Some(action) = self.connection.poll() {
            match action {
                Action::Answered { question, result } => self.connection.answered(question, result),
                other => drop(other),
            }
        }
    }
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

/// Bytes of a client's last words that are kept.
const LONGEST_TEXT: usize = 1 << 10;
