//! HTTP batch: the frames of one request's body in, the frames of its answer out.

use crate::error::Error;
use crate::limits::Limits;
use crate::session::{Action, CallId, Closed, Session};
use crate::value::Value;

/// A session that lives as long as one HTTP request, whose body is frames, one a line.
///
/// Nobody can be called through it: a call of one of the peer's own objects is rejected at once, and
/// [`Session::call`] and its like refuse. Answer the request when [`is_done`](Self::is_done); a deadline is the host's
/// to keep.
pub struct Batch<T> {
    session: Session<T>,
    body: String,
    closed: Option<Closed>,
}

/// What the request is answered with.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchAnswer {
    /// The frames, one a line, without a newline at the end.
    pub body: String,
    /// What was wrong with the request, if anything was: HTTP has 400 for it. The last frame says it too.
    pub closed: Option<Closed>,
}

impl<T> Batch<T> {
    /// Takes the whole body of a request. Empty lines are skipped.
    pub fn new(main: T, limits: Limits, body: &str) -> Self {
        let mut session = Session::batch(main, limits);
        for line in body.split('\n').filter(|line| !line.trim().is_empty()) {
            session.receive(line);
        }
        session.end_of_input();
        Self { session, body: String::new(), closed: None }
    }

    /// The next thing to do, or nothing until something is answered. There is nothing to send and nothing to close.
    pub fn poll(&mut self) -> Option<Action<T>> {
        loop {
            match self.session.poll()? {
                Action::Send(frame) => {
                    if !self.body.is_empty() {
                        self.body.push('\n');
                    }
                    self.body.push_str(&frame);
                }
                Action::Closed(closed) => self.closed = Some(closed),
                action => return Some(action),
            }
        }
    }

    /// As [`Session::answer`].
    pub fn answer(&mut self, call: CallId, result: Result<Value<T>, Error>) {
        self.session.answer(call, result);
    }

    /// The session, to make objects and promises with.
    pub fn session(&mut self) -> &mut Session<T> {
        &mut self.session
    }

    /// Whether everything that was asked for is known, or the request was wrong. True only after
    /// [`poll`](Self::poll) has given nothing.
    pub fn is_done(&self) -> bool {
        self.session.is_ended() || !self.session.owes_answers()
    }

    /// What has come by now. What is not known is left out: end the session with [`Session::abort`] before, to say why.
    pub fn finish(mut self) -> BatchAnswer {
        while self.poll().is_some() {}
        BatchAnswer { body: self.body, closed: self.closed }
    }
}
