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
    /// The request's body, and how much of it was read.
    input: String,
    read: usize,
    output: String,
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
    /// Takes the whole body of a request. It is read as [`poll`](Self::poll) asks for more; empty lines are skipped.
    pub fn new(main: T, limits: Limits, body: impl Into<String>) -> Self {
        let session = Session::batch(main, limits);
        Self { session, input: body.into(), read: 0, output: String::new(), closed: None }
    }

    /// The next thing to do, or nothing until something is answered. There is nothing to send and nothing to close.
    pub fn poll(&mut self) -> Option<Action<T>> {
        loop {
            match self.session.poll() {
                Some(Action::Send(frame)) => {
                    if !self.output.is_empty() {
                        self.output.push('\n');
                    }
                    self.output.push_str(&frame);
                }
                Some(Action::Closed(closed)) => self.closed = Some(closed),
                Some(action) => return Some(action),
                None if self.read_on() => {}
                None => return None,
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
        self.session.is_ended() || (self.read > self.input.len() && !self.session.owes_answers())
    }

    /// What has come by now. What is not known is left out: end the session with [`Session::abort`] before, to say why.
    pub fn finish(mut self) -> BatchAnswer {
        self.read = self.input.len() + 1;
        while self.poll().is_some() {}
        BatchAnswer { body: self.output, closed: self.closed }
    }

    /// Reads the next line, and says whether there was one. A request may ask for more calls than may be unanswered
    /// at a time: then it waits for answers.
    fn read_on(&mut self) -> bool {
        if self.session.is_ended() || self.read > self.input.len() || self.session.is_busy() {
            return false;
        }
        let rest = &self.input[self.read..];
        let line = rest.split('\n').next().unwrap_or(rest);
        // Beyond the end when the last line, which no newline ends, was read.
        self.read += line.len() + 1;
        if !line.trim().is_empty() {
            self.session.receive(line);
        }
        if self.read > self.input.len() {
            self.session.end_of_input();
        }
        true
    }
}
