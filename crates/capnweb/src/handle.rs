//! The handles: counted references to what stands in a session's tables. Dropping the last one is how a host lets go.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::rc::{Rc, Weak};

use crate::error::Error;
use crate::value::Value;

/// An object of this side, made by [`Session::local`](crate::Session::local). When its last handle is gone, here and
/// in the session's tables, the object comes back as [`Action::Dropped`](crate::Action::Dropped).
pub struct Local<T>(Rc<LocalInner<T>>);

struct LocalInner<T> {
    /// Taken only by `drop`.
    object: Option<T>,
    returned: Weak<Returned<T>>,
}

/// An object of the peer, or the promise of one. When the last handle is dropped, a release goes out with the next
/// [`Session::poll`](crate::Session::poll).
#[derive(Clone)]
pub struct Remote(pub(crate) Rc<RemoteInner>);

pub(crate) struct RemoteInner {
    pub(crate) id: i64,
    /// Whether it stands for a result, which a receiver waits for, and not for an object.
    pub(crate) promise: bool,
    /// Bytes of stream calls to it that are not acknowledged.
    pub(crate) in_flight: Cell<usize>,
    pub(crate) drops: Rc<Drops>,
}

/// A call to the peer that was asked to be answered. Dropping it before gives the call up: the peer is told, and no
/// answer comes. After the answer it keeps the result alive at the peer, for calls that are pipelined on it.
#[derive(Debug)]
#[must_use = "dropping a question cancels the call"]
pub struct Question(pub(crate) Remote);

/// Names a call to the peer in [`Action::Answered`](crate::Action::Answered).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(pub(crate) i64);

/// A result that is not known yet. Made by [`Session::promise`](crate::Session::promise) for a host that has something
/// to hand out before it exists.
pub struct Promise<T>(pub(crate) Rc<PromiseCell<T>>);

/// The reading end of a stream that the peer writes. Dropping the last handle tells the writer that nobody reads.
#[derive(Clone)]
pub struct Readable(Rc<ReadableInner>);

struct ReadableInner {
    id: PipeId,
    drops: Rc<Drops>,
}

/// Names a stream that the peer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipeId(pub(crate) i64);

/// The reading end of a stream that this side writes, on its way to the peer.
#[derive(Clone)]
pub struct Source(pub(crate) Rc<SourceInner>);

pub(crate) struct SourceInner {
    pub(crate) id: i64,
    pub(crate) sent: Cell<bool>,
    pub(crate) drops: Rc<Drops>,
}

/// What handles leave behind for their session when they go, and how it is woken for it.
#[derive(Default)]
pub(crate) struct Drops {
    pub(crate) list: RefCell<Vec<Gone>>,
    pub(crate) wake: RefCell<Option<Rc<dyn Fn()>>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Gone {
    Remote(i64),
    Readable(PipeId),
}

/// Objects of the host that nobody holds any more.
pub(crate) struct Returned<T> {
    pub(crate) objects: RefCell<Vec<T>>,
    drops: Rc<Drops>,
}

/// A place for a result.
pub(crate) struct PromiseCell<T> {
    pub(crate) state: RefCell<State<T>>,
    /// The peer's promise that it waits for: let go with the cell.
    #[expect(dead_code, reason = "is let go with the cell")]
    pub(crate) origin: Option<Remote>,
    /// The call that will settle it, once the host has been asked.
    pub(crate) call: Cell<Option<crate::session::Place>>,
    /// Whether nobody wants the result of a call that has not begun.
    pub(crate) cancelled: Cell<bool>,
    /// How many of the waiters have gone since they were last looked through.
    gone: Cell<usize>,
}

pub(crate) enum State<T> {
    Pending(Vec<Waiter>),
    Fulfilled(Value<T>, #[expect(dead_code, reason = "counts for as long as the value is kept")] Weight),
    Rejected(
        Rc<Error>,
        #[expect(dead_code, reason = "counts for as long as the error is kept")] Option<Weight>,
    ),
}

/// Who waits for a result. Indices only: what waits is owned by the session's tables, so that no circle of waiting
/// can keep itself alive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// The peer has asked for this export.
    Pull(i64),
    /// Work that goes on then.
    Work(crate::session::Place),
}

/// Bytes that count as kept until this is dropped.
pub(crate) struct Weight {
    bytes: usize,
    total: Rc<Cell<usize>>,
}

impl<T> Local<T> {
    pub(crate) fn new(object: T, returned: &Rc<Returned<T>>) -> Self {
        Self(Rc::new(LocalInner { object: Some(object), returned: Rc::downgrade(returned) }))
    }

    /// Whether both are handles of what was handed out in one go.
    pub fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Local<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.object.as_ref().expect("the object is taken only when the last handle is gone")
    }
}

impl<T> Clone for Local<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Drop for LocalInner<T> {
    fn drop(&mut self) {
        if let (Some(object), Some(returned)) = (self.object.take(), self.returned.upgrade()) {
            returned.objects.borrow_mut().push(object);
            returned.drops.wake();
        }
    }
}

impl<T> Returned<T> {
    pub(crate) fn new(drops: &Rc<Drops>) -> Rc<Self> {
        Rc::new(Self { objects: RefCell::default(), drops: Rc::clone(drops) })
    }
}

impl Remote {
    pub(crate) fn new(id: i64, promise: bool, drops: &Rc<Drops>) -> Self {
        Self(Rc::new(RemoteInner { id, promise, in_flight: Cell::new(0), drops: Rc::clone(drops) }))
    }

    /// The number by which both sides know it: below zero for an object that the peer has handed out, zero for its
    /// main object, above zero for the result of a call.
    pub fn id(&self) -> i64 {
        self.0.id
    }

    pub(crate) fn belongs_to(&self, drops: &Rc<Drops>) -> bool {
        Rc::ptr_eq(&self.0.drops, drops)
    }
}

impl PartialEq for Remote {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id && self.belongs_to(&other.0.drops)
    }
}

impl Eq for Remote {}

impl Drop for RemoteInner {
    fn drop(&mut self) {
        self.drops.push(Gone::Remote(self.id));
    }
}

impl Question {
    /// What [`Action::Answered`](crate::Action::Answered) will name.
    pub fn id(&self) -> QuestionId {
        QuestionId(self.0.id())
    }

    /// The result that is to come, to call methods on before it is there.
    pub fn result(&self) -> &Remote {
        &self.0
    }
}

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Promise<T> {
    pub(crate) fn pending() -> Self {
        Self::new(State::Pending(Vec::new()), None)
    }

    /// What waits for a promise of the peer.
    pub(crate) fn imported(origin: Remote) -> Self {
        Self::new(State::Pending(Vec::new()), Some(origin))
    }

    /// For an error of few words, which need not be counted.
    pub(crate) fn rejected(error: Error) -> Self {
        Self::new(State::Rejected(Rc::new(error), None), None)
    }

    fn new(state: State<T>, origin: Option<Remote>) -> Self {
        let (call, cancelled, gone) = (Cell::new(None), Cell::new(false), Cell::new(0));
        Self(Rc::new(PromiseCell { state: RefCell::new(state), origin, call, cancelled, gone }))
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(*self.0.state.borrow(), State::Pending(_))
    }

    /// Has `waiter` told when the result is there; false if it is there already.
    pub(crate) fn wait(&self, waiter: Waiter) -> bool {
        match &mut *self.0.state.borrow_mut() {
            State::Pending(waiters) => {
                waiters.push(waiter);
                true
            }
            _ => false,
        }
    }

    /// One of the waiters has gone. They are looked through when half of them may have, so that each costs little.
    pub(crate) fn waiter_gone(&self, is_there: impl Fn(Waiter) -> bool) {
        let State::Pending(waiters) = &mut *self.0.state.borrow_mut() else { return };
        self.0.gone.set(self.0.gone.get() + 1);
        if self.0.gone.get() * 2 >= waiters.len() {
            waiters.retain(|waiter| is_there(*waiter));
            self.0.gone.set(0);
        }
    }
}

impl Readable {
    pub(crate) fn new(id: PipeId, drops: &Rc<Drops>) -> Self {
        Self(Rc::new(ReadableInner { id, drops: Rc::clone(drops) }))
    }

    /// What [`Action::Write`](crate::Action::Write) names.
    pub fn id(&self) -> PipeId {
        self.0.id
    }
}

impl Drop for ReadableInner {
    fn drop(&mut self) {
        self.drops.push(Gone::Readable(self.id));
    }
}

impl Source {
    pub(crate) fn new(id: i64, drops: &Rc<Drops>) -> Self {
        Self(Rc::new(SourceInner { id, sent: Cell::new(false), drops: Rc::clone(drops) }))
    }
}

impl Drops {
    fn push(&self, gone: Gone) {
        self.list.borrow_mut().push(gone);
        self.wake();
    }

    fn wake(&self) {
        // Cloned first, so that the hook may be replaced while it runs.
        let wake = self.wake.borrow().clone();
        if let Some(wake) = wake {
            wake();
        }
    }
}

impl Weight {
    pub(crate) fn new(bytes: usize, total: &Rc<Cell<usize>>) -> Self {
        total.set(total.get().saturating_add(bytes));
        Self { bytes, total: Rc::clone(total) }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.total.set(self.total.get().saturating_sub(self.bytes));
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Local")
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.0.id)
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Readable({})", self.0.id.0)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.0.id)
    }
}
