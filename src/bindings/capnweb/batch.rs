//! A Cap'n Web session in one HTTP request.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use ::capnweb::Cause;
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::calls::Calls;
use super::connection::Connection;
use crate::capability::{Context, PublicService};
use crate::fault::{Fault, FaultKind};
use crate::limits::WireLimits;
use crate::transport::{WebHost as _, abort};
use crate::wire::capnweb::to_error;

/// What a batch comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The answers, one frame a line.
    Frames(Bytes),
    /// The request was no batch: the last frame says why.
    Malformed(Bytes),
}

/// Answers a batch by the deadline: then with what there is and an abort that says so. Nobody can be called back.
/// Dropping the future gives the calls up.
pub async fn batch(context: Rc<Context>, limits: WireLimits, body: Bytes, deadline: Instant) -> Answered {
    let Ok(text) = std::str::from_utf8(&body) else {
        return Answered::Malformed(abort(&Fault::new(FaultKind::InvalidRequest, "a batch must be UTF-8")));
    };
    let main = super::main(PublicService::new(context));
    let connection = Connection::in_batch(main, limits, text);
    drop(body);
    let mut calls = Calls::new(&connection);
    let work = poll_fn(|cx| {
        connection.register(cx);
        // A batch keeps its frames, and its end, to itself.
        let _ = calls.work(cx, &mut drop);
        if connection.is_done() { Poll::Ready(()) } else { Poll::Pending }
    });
    if timeout_at(deadline, work).await.is_err() {
        let late = Fault::new(
            FaultKind::DeadlineExceeded,
            "these calls were not answered in time; what they began goes on",
        );
        connection.session(|session| session.abort(to_error(&late)));
    }
    drop(calls);
    let answer = Rc::into_inner(connection).and_then(Connection::into_answer);
    let Some(answer) = answer else {
        return Answered::Frames(abort(&Fault::internal("a batch is still used when it is over")));
    };
    let body = Bytes::from(answer.body);
    match answer.closed.map(|closed| closed.cause) {
        Some(Cause::Violation(_)) => Answered::Malformed(body),
        _ => Answered::Frames(body),
    }
}
