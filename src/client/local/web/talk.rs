//! The session of a connection, at the end that calls.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use capnweb::{Action, CallId, Cause, Closed, Error, Limits, QuestionId, Session};
use tokio::sync::oneshot;

use super::super::call::Errands;
use super::ear::Ear;
use super::values::Value;
use crate::fault::{Fault, FaultKind, Result};
use crate::limits::WireLimits;
use crate::transport::{CloseReason, Counters, Line, Wakeup, WebHost, session_limits};
use crate::wire::capnweb::{from_error, to_error};

/// What every stub of a connection shares.
pub(in super::super) struct Talk {
    session: RefCell<Session<Ear>>,
    /// Who waits for the answers.
    waiting: RefCell<HashMap<QuestionId, oneshot::Sender<Result<Value>>>>,
    line: Rc<Line>,
    errands: Errands,
    wakeup: Rc<Wakeup>,
}

/// The answer to a call that was made. Dropped before it came, nobody waits for it any more.
pub(super) struct Answer {
    talk: Rc<Talk>,
    question: QuestionId,
    answer: oneshot::Receiver<Result<Value>>,
}

/// Does what the session asks for.
pub(in super::super) struct Answers {
    talk: Rc<Talk>,
    /// Bytes of the frame that was received last.
    bytes: usize,
    /// Calls that the end of the session has left without an answer.
    unanswered: Vec<oneshot::Sender<Result<Value>>>,
    /// The server's reason for ending the session, if it gave one that a program can read.
    aborted: Option<Fault>,
}

impl Talk {
    pub(in super::super) fn new(line: &Rc<Line>, errands: Errands) -> (Rc<Self>, Answers) {
        let mut session = Session::new(Ear::nobody(), limits(line.limits()));
        let wakeup = Rc::<Wakeup>::default();
        let woken = Rc::clone(&wakeup);
        session.set_wake(move || woken.wake());
        let talk = Rc::new(Self {
            session: RefCell::new(session),
            waiting: RefCell::default(),
            line: Rc::clone(line),
            errands,
            wakeup,
        });
        let answers = Answers { talk: Rc::clone(&talk), bytes: 0, unanswered: Vec::new(), aborted: None };
        (talk, answers)
    }

    /// What the connection holds at this moment.
    pub(in super::super) fn counters(&self) -> Counters {
        let now = self.session.borrow().stats();
        Counters {
            questions: now.calls + now.waiting,
            calls: self.waiting.borrow().len(),
            exports: now.exports,
            imports: now.imports,
            queued_bytes: self.line.queued_bytes(),
            held_bytes: self.line.held_bytes(),
            ..Counters::default()
        }
    }

    pub(in super::super) fn line(&self) -> &Rc<Line> {
        &self.line
    }

    pub(super) fn errands(&self) -> &Errands {
        &self.errands
    }

    /// One step of the session, which may leave something to do.
    pub(super) fn step<R>(&self, step: impl FnOnce(&mut Session<Ear>) -> R) -> R {
        let result = step(&mut self.session.borrow_mut());
        self.wakeup.wake();
        result
    }

    /// What will be answered to a question, be it the end of the session.
    pub(super) fn answer(self: &Rc<Self>, question: QuestionId) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(question, sender);
        Answer { talk: Rc::clone(self), question, answer }
    }

    /// Why there is nobody to call any more.
    pub(super) fn over(&self) -> Fault {
        let ending = self.line.ending().map(|reason| reason.fault());
        ending.unwrap_or_else(|| Fault::new(FaultKind::Disconnected, "the connection is over; connect again"))
    }
}

impl Future for Answer {
    type Output = Result<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Value>> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(answer.unwrap_or_else(|_| Err(self.talk.over())))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.talk.waiting.borrow_mut().remove(&self.question);
    }
}

impl Answers {
    /// Hands a call of the server on. One that nobody can take is refused at once.
    fn hear(&self, call: capnweb::Call<Ear>) {
        let id = call.id;
        let held = match self.talk.line.hold(self.bytes) {
            Ok(held) => held,
            Err(CloseReason::Refused { fault, .. }) => return self.talk.line.refuse(fault),
            Err(reason) => return self.refuse(id, to_error(&reason.fault())),
        };
        if let Err(error) = Ear::hear(call, held) {
            self.refuse(id, error);
        }
    }

    fn refuse(&self, call: CallId, error: Error) {
        self.talk.session.borrow_mut().answer(call, Err(error));
    }

    fn answered(&mut self, question: QuestionId, result: std::result::Result<Value, Error>) {
        let Some(waiting) = self.talk.waiting.borrow_mut().remove(&question) else { return };
        if self.talk.session.borrow().is_ended() {
            // The end of the session says why.
            self.unanswered.push(waiting);
        } else {
            let _ = waiting.send(result.map_err(from_error));
        }
    }
}

impl WebHost for Answers {
    type Object = Ear;

    fn session<R>(&self, step: impl FnOnce(&mut Session<Ear>) -> R) -> R {
        step(&mut self.talk.session.borrow_mut())
    }

    fn register(&self, cx: &mut Context<'_>) {
        self.talk.wakeup.register(cx);
    }

    fn expect(&mut self, bytes: usize) {
        self.bytes = bytes;
    }

    fn work(
        &mut self,
        _: &mut Context<'_>,
        send: &mut dyn FnMut(String),
    ) -> std::result::Result<(), Box<Closed>> {
        loop {
            let Some(action) = self.talk.session.borrow_mut().poll() else { return Ok(()) };
            match action {
                Action::Send(frame) => {
                    let bytes = frame.len();
                    send(frame);
                    self.talk.session.borrow_mut().flushed(bytes);
                }
                Action::Call(call) => self.hear(call),
                Action::Answered { question, result } => self.answered(question, result),
                Action::Write(write) => self.refuse(write.id, Error::type_error("nobody reads this stream")),
                // A call that the server has given up goes on: what an observer has begun to take, it takes.
                Action::Cancel(_) => {}
                Action::Dropped(ear) => drop(ear),
                Action::Closed(closed) => {
                    if let Cause::Peer(error) = &closed.cause
                        && error.prop("code").is_some()
                    {
                        self.aborted = Some(from_error(error.clone()));
                    }
                    return Err(Box::new(closed));
                }
            }
        }
    }

    fn end(&mut self) {
        loop {
            let Some(action) = self.talk.session.borrow_mut().poll() else { break };
            match action {
                Action::Answered { question, result } => self.answered(question, result),
                other => drop(other),
            }
        }
        let fault = self.aborted.take().unwrap_or_else(|| self.talk.over());
        for waiting in self.unanswered.drain(..) {
            let _ = waiting.send(Err(fault.clone()));
        }
    }
}

fn limits(wire: &WireLimits) -> Limits {
    let mut limits = session_limits(wire);
    // What the server has under way by its own bound.
    limits.unanswered_calls = wire.calls;
    // The server bounds what it is asked; here only what cannot be meant is refused.
    limits.unanswered_questions = wire.imports;
    limits.kept_bytes = wire.message_bytes.saturating_mul(KEPT_MESSAGES);
    limits.queued_bytes = wire.message_bytes.saturating_mul(wire.queued_messages);
    limits
}

/// What the server may have kept for it, in arguments and results, as a multiple of the longest message. The line's own
/// bound of what is in use is lower, and comes first.
const KEPT_MESSAGES: usize = 8;
