//! A WebSocket connection, whatever is spoken on it: what waits in each direction, and how it ends.
//!
//! Who speaks on it ([`Speaker`]) takes frames from it and queues others; its driver moves them to and from
//! the socket.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

use super::close::CloseReason;
use super::frames::{FrameQueue, Frames};
use crate::fault::{Fault, FaultKind};
use crate::limits::WireLimits;

/// What is spoken on a connection. It is polled when something came or when it woke itself, should handle one
/// frame at a time and wake itself for the next, so that answers to a few leave before the next are handled.
/// Ready when the session is over by itself, with the reason; may be polled once more then.
pub trait Speaker: Future<Output = CloseReason> + Unpin + 'static {
    /// The last frame to the peer of a connection that ends, if there is somebody left who does not know yet
    /// why.
    fn last_words(&self, reason: &CloseReason) -> Option<Bytes>;

    /// The connection is over, and this was polled since that is known. It is dropped next: whatever that
    /// would not let go, such as objects that hold each other, is let go here.
    fn end(&mut self, cx: &mut Context<'_>);
}

impl Speaker for Box<dyn Speaker> {
    fn last_words(&self, reason: &CloseReason) -> Option<Bytes> {
        (**self).last_words(reason)
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        (**self).end(cx);
    }
}

/// A connection, as those on it see it. Worker-local.
#[derive(Debug)]
pub struct Line {
    peer: Option<SocketAddr>,
    limits: WireLimits,
    /// Whether reading waits for a peer that does not read. Only one end may, or both could wait for
    /// each other: the one that accepted the connection.
    pauses: bool,
    outgoing: RefCell<FrameQueue>,
    /// Bytes that the socket took from the queue and has not written.
    unwritten: Cell<usize>,
    incoming: RefCell<FrameQueue>,
    /// Bytes of received messages that objects still hold.
    held: Cell<usize>,
    authenticated: Cell<bool>,
    /// How much is under way for the peer.
    work: Cell<usize>,
    ending: RefCell<Option<CloseReason>>,
    ended: RefCell<Option<CloseReason>>,
    driver: Wakeup,
    speaker: Wakeup,
    changed: Notify,
}

impl Line {
    pub(super) fn new(peer: Option<SocketAddr>, limits: WireLimits, pauses: bool) -> Rc<Self> {
        Rc::new(Self {
            peer,
            limits,
            pauses,
            outgoing: RefCell::default(),
            unwritten: Cell::new(0),
            incoming: RefCell::default(),
            held: Cell::new(0),
            authenticated: Cell::new(false),
            work: Cell::new(0),
            ending: RefCell::default(),
            ended: RefCell::default(),
            driver: Wakeup::default(),
            speaker: Wakeup::default(),
            changed: Notify::new(),
        })
    }

    /// The peer's address, where there is a socket of the machine's own.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The bounds of this connection.
    pub fn limits(&self) -> &WireLimits {
        &self.limits
    }

    /// Whether what waits to be written is within the send budget.
    pub fn may_queue(&self) -> bool {
        self.queued_bytes() <= self.limits.send_budget_bytes
    }

    /// Waits until `ready` says so, which is asked whenever something has changed. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// Why the connection is over, or about to be.
    pub async fn wait_until(&self, ready: impl Fn() -> bool) -> Result<(), CloseReason> {
        loop {
            let changed = self.changed.notified();
            if let Some(reason) = self.ending() {
                return Err(reason);
            }
            if ready() {
                return Ok(());
            }
            changed.await;
        }
    }

    /// Lets those who [wait](Self::wait_until) look again.
    pub fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// Says that the peer has shown who it is: the authenticate timeout no longer applies.
    pub fn authenticated(&self) {
        self.authenticated.set(true);
    }

    /// Whether [`authenticated`](Self::authenticated) was called.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated.get()
    }

    /// Says that something is under way for the peer, until the guard is dropped.
    pub fn work(self: &Rc<Self>) -> Work {
        self.work.update(|work| work + 1);
        Work(Rc::clone(self))
    }

    /// Whether nothing is under way for the peer, so that it loses nothing when the line is closed.
    pub fn is_idle(&self) -> bool {
        self.work.get() == 0
    }

    /// Closes: what is queued is still written, then the peer is told `code` and `reason` (cut at 123
    /// bytes). Without effect on a connection that already ends.
    pub fn close(&self, code: u16, reason: impl Into<Cow<'static, str>>) {
        self.end(CloseReason::Closed { code, reason: reason.into() });
    }

    /// Ends the connection because of what the peer did: nothing queued is written but an abort of the
    /// session and a close frame (1008) that say which rule.
    pub fn refuse(&self, fault: Fault) {
        self.end(CloseReason::Refused { code: super::close::code::POLICY, fault });
    }

    /// Why the connection ends, as soon as that is decided.
    pub fn ending(&self) -> Option<CloseReason> {
        self.ending.borrow().clone()
    }

    /// Waits for the end of the connection: nothing is sent or received after it.
    pub async fn closed(&self) -> CloseReason {
        loop {
            let changed = self.changed.notified();
            if let Some(reason) = self.ended.borrow().clone() {
                return reason;
            }
            changed.await;
        }
    }
}

/// For who speaks on it.
impl Line {
    /// The next frame; an error is the end of the connection. To be asked by one task only.
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, CloseReason>> {
        if let Some(reason) = self.ending() {
            return Poll::Ready(Err(reason));
        }
        if !self.is_paused()
            && let Some(frame) = self.incoming.borrow_mut().pop()
        {
            return Poll::Ready(Ok(frame));
        }
        self.speaker.register(cx);
        Poll::Pending
    }

    /// Queues a frame. What goes beyond the bound of what may wait ends the connection.
    pub fn queue(&self, frame: Bytes) {
        if self.is_ending() {
            return;
        }
        self.outgoing.borrow_mut().push(frame);
        let limit = self.limits.queued_messages.saturating_mul(self.limits.message_bytes);
        if self.queued_bytes() > limit {
            let message = format!("{limit} bytes wait to be written: read what is sent, or ask for less");
            self.end(CloseReason::over(FaultKind::Overloaded, message));
        }
        self.driver.wake();
    }

    /// Counts the bytes of a received message for as long as it is in use.
    ///
    /// # Errors
    /// The peer's messages in use hold too much; the connection should end with this reason.
    pub fn hold(self: &Rc<Self>, bytes: usize) -> Result<Held, CloseReason> {
        let held = Held::new(self, bytes);
        let limit = self.limits.message_bytes.saturating_mul(HELD_MESSAGES);
        if self.held.get() > limit {
            let message = format!("messages of {limit} bytes in all are in use: wait for answers first");
            return Err(CloseReason::over(FaultKind::Overloaded, message));
        }
        Ok(held)
    }

    /// Frames that the socket has not taken.
    pub(super) fn queued_frames(&self) -> usize {
        self.outgoing.borrow().len()
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self) -> usize {
        self.outgoing.borrow().bytes() + self.unwritten.get()
    }

    /// Bytes of received messages that are in use.
    pub fn held_bytes(&self) -> usize {
        self.held.get()
    }
}

/// For the parts of the transport.
impl Line {
    /// Ends the connection. The first reason wins.
    pub(super) fn end(&self, reason: CloseReason) {
        let mut ending = self.ending.borrow_mut();
        if ending.is_some() {
            return;
        }
        if matches!(reason, CloseReason::Refused { .. } | CloseReason::Lost(_)) {
            // The peer reads nothing, or has lost the right to: only the reason goes out.
            self.outgoing.borrow_mut().clear();
        }
        *ending = Some(reason);
        self.speaker.wake();
        self.driver.wake();
        self.changed.notify_waiters();
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.borrow().is_some()
    }

    /// The last word: wakes everybody who waits for the end.
    pub(super) fn set_ended(&self) {
        let reason = self.ending().unwrap_or(CloseReason::Panicked);
        *self.ended.borrow_mut() = Some(reason);
        self.incoming.borrow_mut().clear();
        self.outgoing.borrow_mut().clear();
        self.changed.notify_waiters();
    }

    /// Queues the last frame of a connection that ends.
    pub(super) fn queue_last(&self, frame: Bytes) {
        self.outgoing.borrow_mut().push(frame);
    }

    /// Writes what is queued.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        frames: &mut dyn Frames,
    ) -> Poll<Result<(), CloseReason>> {
        let might_queue = self.may_queue();
        let sent = frames.poll_send(cx, &mut self.outgoing.borrow_mut());
        self.unwritten.set(frames.unwritten());
        if !might_queue && self.may_queue() {
            self.speaker.wake();
            self.changed.notify_waiters();
        }
        sent
    }

    /// Writes what is queued and the close frame.
    pub(super) fn poll_close(&self, cx: &mut Context<'_>, frames: &mut dyn Frames) -> Poll<()> {
        let ending = self.ending.borrow();
        let frame = ending.as_ref().and_then(CloseReason::frame);
        let frame = frame.as_ref().map(|(code, reason)| (*code, &**reason));
        frames.poll_close(cx, &mut self.outgoing.borrow_mut(), frame)
    }

    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.borrow().is_empty() || self.unwritten.get() > 0
    }

    /// Whether nothing is read because the peer takes nothing.
    pub(super) fn is_paused(&self) -> bool {
        self.pauses && !self.may_queue()
    }

    /// Whether this end is the one that accepted the connection.
    pub(super) fn pauses(&self) -> bool {
        self.pauses
    }

    pub(super) fn wants_frames(&self) -> bool {
        let incoming = self.incoming.borrow();
        incoming.len() < FRAMES_AHEAD && incoming.bytes() < BYTES_AHEAD
    }

    pub(super) fn receive(&self, frame: Bytes) {
        self.incoming.borrow_mut().push(frame);
        self.speaker.wake();
    }

    /// Frames that come before those which wait.
    pub(super) fn receive_next(&self, frames: impl DoubleEndedIterator<Item = Bytes>) {
        let mut incoming = self.incoming.borrow_mut();
        for frame in frames.rev() {
            incoming.push_first(frame);
        }
    }

    pub(super) fn has_incoming(&self) -> bool {
        !self.incoming.borrow().is_empty()
    }

    /// Lets whatever happens from now on wake the driver.
    pub(super) fn register_driver(&self, cx: &mut Context<'_>) {
        self.driver.register(cx);
    }

    /// While the driver runs it needs no waking: it looks for itself before it waits.
    pub(super) fn unregister_driver(&self) {
        self.driver.0.set(None);
    }
}

/// Something that is under way for the peer of a line.
#[derive(Debug)]
pub struct Work(Rc<Line>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.work.update(|work| work - 1);
        if self.0.is_idle() {
            self.0.changed();
        }
    }
}

/// The bytes of a message, for as long as it is in use.
#[derive(Debug)]
pub struct Held {
    line: Rc<Line>,
    bytes: usize,
}

impl Held {
    fn new(line: &Rc<Line>, bytes: usize) -> Self {
        line.held.update(|held| held + bytes);
        Self { line: line.clone(), bytes }
    }

    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.line.held.update(|held| held - self.bytes);
    }
}

/// One task to be woken.
#[derive(Default)]
pub struct Wakeup(Cell<Option<Waker>>);

impl fmt::Debug for Wakeup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wakeup")
    }
}

impl Wakeup {
    /// Has the task woken that this is called from.
    pub fn register(&self, cx: &Context<'_>) {
        let waker = match self.0.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.0.set(Some(waker));
    }

    /// Wakes it, once.
    pub fn wake(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

/// Frames that are taken from the socket before the RPC system asks for them.
const FRAMES_AHEAD: usize = 64;
/// Bytes of such frames above which no more are taken.
const BYTES_AHEAD: usize = 64 << 10;
/// Bytes that the peer's messages in use may hold, as a multiple of the longest message.
const HELD_MESSAGES: usize = 4;
