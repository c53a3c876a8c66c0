//! What the objects, the calls and the streams of one connection share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Context;

use ::capnweb::{Action, Batch, BatchAnswer, Error, Local, QuestionId, Refused, Remote, Session};

use super::delivery::Ack;
use super::object::Object;
use super::reply::Value;
use crate::fault::{Fault, FaultKind};
use crate::limits::WireLimits;
use crate::transport::{Line, Wakeup, session_limits};

/// One connection, or one batch.
pub(super) struct Connection {
    /// None in a batch, whose caller cannot be called.
    line: Option<Rc<Line>>,
    limits: WireLimits,
    session: RefCell<Kind>,
    /// Who waits for what the client says to our calls.
    acks: RefCell<HashMap<QuestionId, Ack>>,
    /// Streams that wait for room, which any acknowledgement may make.
    blocked: Cell<usize>,
    /// Wakes the speech, which does what the session asks for.
    wakeup: Rc<Wakeup>,
}

enum Kind {
    Session(Session<Object>),
    Batch(Batch<Object>),
}

impl Kind {
    fn session(&mut self) -> &mut Session<Object> {
        match self {
            Self::Session(session) => session,
            Self::Batch(batch) => batch.session(),
        }
    }
}

impl Connection {
    /// The session of a line.
    pub(super) fn on_line(main: Object, line: &Rc<Line>) -> Rc<Self> {
        let limits = line.limits().clone();
        let session = Session::new(main, session_limits(&limits));
        Self::new(Some(Rc::clone(line)), limits, Kind::Session(session))
    }

    /// The session of a batch, with all of its frames.
    pub(super) fn in_batch(main: Object, limits: WireLimits, body: &str) -> Rc<Self> {
        let batch = Batch::new(main, session_limits(&limits), body);
        Self::new(None, limits, Kind::Batch(batch))
    }

    fn new(line: Option<Rc<Line>>, limits: WireLimits, mut kind: Kind) -> Rc<Self> {
        let wakeup = Rc::<Wakeup>::default();
        let woken = Rc::clone(&wakeup);
        kind.session().set_wake(move || woken.wake());
        Rc::new(Self {
            line,
            limits,
            session: RefCell::new(kind),
            acks: RefCell::default(),
            blocked: Cell::new(0),
            wakeup,
        })
    }

    /// The line, where there is one on which the client can be called.
    pub(super) fn line(&self) -> Option<&Rc<Line>> {
        self.line.as_ref()
    }

    /// The bounds of this connection.
    pub(super) fn limits(&self) -> &WireLimits {
        &self.limits
    }

    /// Says that the client has shown who it is.
    pub(super) fn authenticated(&self) {
        if let Some(line) = &self.line {
            line.authenticated();
        }
    }

    /// The session, for one step: nothing of the host's may run meanwhile.
    pub(super) fn session<R>(&self, step: impl FnOnce(&mut Session<Object>) -> R) -> R {
        step(self.session.borrow_mut().session())
    }

    /// The next thing that the session asks for.
    pub(super) fn poll(&self) -> Option<Action<Object>> {
        match &mut *self.session.borrow_mut() {
            Kind::Session(session) => session.poll(),
            Kind::Batch(batch) => batch.poll(),
        }
    }

    /// Whether a batch has all its answers; a session on a line never has.
    pub(super) fn is_done(&self) -> bool {
        match &*self.session.borrow() {
            Kind::Session(_) => false,
            Kind::Batch(batch) => batch.is_done(),
        }
    }

    /// What a batch is answered with.
    pub(super) fn into_answer(self) -> Option<BatchAnswer> {
        match self.session.into_inner() {
            Kind::Session(_) => None,
            Kind::Batch(batch) => Some(batch.finish()),
        }
    }

    /// Has the speech of this connection woken from now on.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.wakeup.register(cx);
    }

    /// An object that can be sent to the client.
    pub(super) fn object(&self, object: Object) -> Value {
        Value::Local(self.local(object))
    }

    pub(super) fn local(&self, object: Object) -> Local<Object> {
        self.session(|session| session.local(object))
    }

    /// Begins a stream that the client reads: what it is given, and the end that is written to.
    pub(super) fn pipe(&self) -> Result<(Value, Remote), Fault> {
        let (source, writer) = self.session(Session::pipe).map_err(refused)?;
        self.wakeup.wake();
        Ok((Value::Source(source), writer))
    }

    /// Calls an object of the client, which acknowledges it.
    pub(super) fn stream(
        &self,
        target: &Remote,
        path: &[&str],
        arguments: &[Value],
        ack: Ack,
    ) -> Result<(), Fault> {
        let sent = self.session(|session| session.stream(target, path, arguments));
        let question = sent.map_err(refused)?;
        self.acks.borrow_mut().insert(question, ack);
        self.wakeup.wake();
        Ok(())
    }

    /// Tells who waits for it what the client said to a call.
    pub(super) fn answered(&self, question: QuestionId, result: Result<Value, Error>) {
        let ack = self.acks.borrow_mut().remove(&question);
        if let Some(ack) = ack {
            // What an observer returns means nothing.
            ack.tell(result.map(drop));
            if self.blocked.get() > 0
                && let Some(line) = &self.line
            {
                line.changed();
            }
        }
    }

    /// Waits until there is room, which is looked at whenever something has changed, or the connection is over.
    pub(super) async fn wait_for_room(&self, has_room: impl Fn() -> bool) {
        let Some(line) = &self.line else { return };
        let _blocked = Blocked::of(&self.blocked);
        let _ = line.wait_until(has_room).await;
    }

    /// Whether another stream call may follow, and so much of each target's window is free. A few calls must remain
    /// for last ones.
    pub(super) fn has_room(&self, targets: &[&Remote], room: Room) -> bool {
        let most = self.limits.calls / 2;
        let window = self.limits.stream_window_bytes;
        let taken = window - room.bound(window);
        let free = |session: &mut Session<Object>| {
            session.stats().questions < most && targets.iter().all(|target| session.window(target) > taken)
        };
        self.line.as_ref().is_none_or(|line| line.may_queue()) && self.session(free)
    }
}

/// How much of a window has to be free.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room {
    /// Anything.
    Any,
    /// Half of it.
    Half,
}

impl Room {
    /// How much of the window may be in use.
    pub(super) fn bound(self, window: usize) -> usize {
        match self {
            Self::Any => window,
            Self::Half => window / 2,
        }
    }
}

/// Counts a stream that waits, for as long as it does.
struct Blocked<'a>(&'a Cell<usize>);

impl<'a> Blocked<'a> {
    fn of(count: &'a Cell<usize>) -> Self {
        count.update(|count| count + 1);
        Self(count)
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.update(|count| count - 1);
    }
}

fn refused(refused: Refused) -> Fault {
    match refused {
        Refused::Ended => Fault::new(FaultKind::Disconnected, "the connection is over"),
        Refused::Unsendable(why) => Fault::new(FaultKind::Quota, why).with("limit", "message-bytes"),
        other => Fault::new(FaultKind::Overloaded, other.to_string()),
    }
}
