//! What the layers above see of a connection, and what its parts share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use capnp::message::{Builder, HeapAllocator, Reader};
use tokio::sync::Notify;

use super::bounds::{Ledger, Received, Sent};
use super::close::CloseReason;
use super::frames::{FrameQueue, Frames};
use super::message::Frame;
use super::{message, vat};
use crate::fault::{Fault, FaultKind};
use crate::limits::WireLimits;

/// A connection, as the objects on it see it. Worker-local.
#[derive(Debug)]
pub struct ConnectionHandle {
    peer: Option<SocketAddr>,
    limits: WireLimits,
    /// Whether reading waits for a peer that does not read. Only one end may, or both could wait for
    /// each other: the one that accepted the connection.
    pauses: bool,
    ledger: RefCell<Ledger>,
    outgoing: RefCell<FrameQueue>,
    /// Bytes that the socket took from the queue and has not written.
    unwritten: Cell<usize>,
    incoming: RefCell<FrameQueue>,
    /// Bytes of received messages that objects still hold.
    held: Cell<usize>,
    authenticated: Cell<bool>,
    ending: RefCell<Option<CloseReason>>,
    ended: RefCell<Option<CloseReason>>,
    driver: Wakeup,
    receiver: Wakeup,
    changed: Notify,
}

/// What a connection holds at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Calls of the peer that are unanswered.
    pub questions: usize,
    /// Calls of the peer that were answered and whose answer it still holds.
    pub answers: usize,
    /// Calls that the peer gave up before they were answered.
    pub abandoned: usize,
    /// Our own calls that the peer has not answered.
    pub calls: usize,
    /// Objects of ours that the peer holds.
    pub exports: usize,
    /// Objects of the peer that we hold.
    pub imports: usize,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
    /// Bytes of received messages that are still in use.
    pub held_bytes: usize,
}

impl ConnectionHandle {
    pub(super) fn new(peer: Option<SocketAddr>, limits: WireLimits, pauses: bool) -> Rc<Self> {
        Rc::new(Self {
            peer,
            ledger: RefCell::new(Ledger::new(&limits, pauses)),
            limits,
            pauses,
            outgoing: RefCell::default(),
            unwritten: Cell::new(0),
            incoming: RefCell::default(),
            held: Cell::new(0),
            authenticated: Cell::new(false),
            ending: RefCell::default(),
            ended: RefCell::default(),
            driver: Wakeup::default(),
            receiver: Wakeup::default(),
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

    /// What the connection holds at this moment.
    pub fn counters(&self) -> Counters {
        Counters {
            queued_bytes: self.queued_bytes(),
            held_bytes: self.held.get(),
            ..self.ledger.borrow().counters()
        }
    }

    /// Whether a stream may send: what waits to be written is within the send budget, and the peer has
    /// answered enough of our calls.
    pub fn has_room(&self) -> bool {
        self.may_queue() && self.ledger.borrow().may_call()
    }

    /// Waits until [`has_room`](Self::has_room). Dropping the future loses nothing.
    ///
    /// # Errors
    /// Why the connection is over, or about to be.
    pub async fn writable(&self) -> Result<(), CloseReason> {
        loop {
            let changed = self.changed.notified();
            if let Some(reason) = self.ending() {
                return Err(reason);
            }
            if self.has_room() {
                return Ok(());
            }
            changed.await;
        }
    }

    /// Says that the peer has shown who it is: the authenticate timeout no longer applies.
    pub fn authenticated(&self) {
        self.authenticated.set(true);
    }

    /// Whether [`authenticated`](Self::authenticated) was called.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated.get()
    }

    /// Closes: what is queued is still written, then the peer is told `code` and `reason` (cut at 123
    /// bytes). Without effect on a connection that already ends.
    pub fn close(&self, code: u16, reason: impl Into<std::borrow::Cow<'static, str>>) {
        self.end(CloseReason::Closed { code, reason: reason.into() });
    }

    /// Ends the connection because of what the peer did: nothing queued is written but an RPC `Abort` and
    /// a close frame (1008) that say which rule.
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

    fn may_queue(&self) -> bool {
        self.queued_bytes() <= self.limits.send_budget_bytes
    }

    fn queued_bytes(&self) -> usize {
        self.outgoing.borrow().bytes() + self.unwritten.get()
    }
}

/// For the parts of the transport.
impl ConnectionHandle {
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
        self.receiver.wake();
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

    /// Enters a received message into the ledger.
    pub(super) fn enter(&self, message: &Reader<Frame>) -> Result<Received, CloseReason> {
        let might_call = self.ledger.borrow().may_call();
        let received = self.ledger.borrow_mut().received(message);
        if !might_call && self.ledger.borrow().may_call() {
            self.changed.notify_waiters();
        }
        received
    }

    /// Enters an outgoing message into the ledger and the queue.
    pub(super) fn enqueue(&self, message: &Builder<HeapAllocator>) {
        let sent = self.ledger.borrow_mut().sent(message);
        match sent {
            // The last words are the driver's, with the reason that counts.
            Ok(Sent::Abort) => return,
            Ok(Sent::Other) if self.is_ending() => return,
            Ok(Sent::Other) => {}
            Err(reason) => return self.end(reason),
        }
        self.outgoing.borrow_mut().push(message::write(message));
        let limit = self.limits.queued_messages.saturating_mul(self.limits.message_bytes);
        if self.queued_bytes() > limit {
            let message = format!("{limit} bytes wait to be written: read what is sent, or ask for less");
            self.end(CloseReason::over(FaultKind::Overloaded, message));
        }
        self.driver.wake();
    }

    /// Queues the last words, if there is somebody left to hear them who does not know already.
    pub(super) fn say_why(&self) {
        let last = match &*self.ending.borrow() {
            Some(CloseReason::Closed { code: super::close::code::NORMAL, .. }) => None,
            Some(
                reason @ (CloseReason::Closed { .. }
                | CloseReason::Refused { .. }
                | CloseReason::Silent
                | CloseReason::Panicked),
            ) => Some(vat::abort(&reason.exception())),
            _ => None,
        };
        if let Some(frame) = last {
            self.outgoing.borrow_mut().push(frame);
        }
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
            self.receiver.wake();
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
        self.queued_bytes() > 0
    }

    /// Whether nothing is read because the peer takes nothing.
    pub(super) fn is_paused(&self) -> bool {
        self.pauses && !self.may_queue()
    }

    pub(super) fn wants_frames(&self) -> bool {
        let incoming = self.incoming.borrow();
        incoming.len() < FRAMES_AHEAD && incoming.bytes() < BYTES_AHEAD
    }

    pub(super) fn receive(&self, frame: Bytes) {
        self.incoming.borrow_mut().push(frame);
        self.receiver.wake();
    }

    /// Frames that come before those which wait.
    pub(super) fn receive_next(&self, frames: impl DoubleEndedIterator<Item = Bytes>) {
        let mut incoming = self.incoming.borrow_mut();
        for frame in frames.rev() {
            incoming.push_first(frame);
        }
    }

    /// The next message for the RPC system; `None` after the end.
    pub(super) fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, CloseReason>> {
        if let Some(reason) = self.ending() {
            return Poll::Ready(Err(reason));
        }
        if !self.is_paused()
            && let Some(frame) = self.incoming.borrow_mut().pop()
        {
            return Poll::Ready(Ok(frame));
        }
        self.receiver.register(cx);
        Poll::Pending
    }

    #[cfg(test)]
    pub(super) fn ledger(&self) -> &RefCell<Ledger> {
        &self.ledger
    }

    /// Counts the bytes of a message for as long as it is in use. The end that accepted the connection
    /// counts all of them, for its memory must not be at the mercy of the peer; the other trusts the
    /// server it chose and counts calls only, so that a program may keep what it asked for.
    pub(super) fn hold(self: &Rc<Self>, bytes: usize, is_call: bool) -> Result<Option<Held>, CloseReason> {
        if !is_call && !self.pauses {
            return Ok(None);
        }
        let held = Held::new(self, bytes);
        let limit = self.limits.message_bytes.saturating_mul(HELD_MESSAGES);
        if self.held.get() > limit {
            let message = format!("messages of {limit} bytes in all are in use: wait for answers first");
            return Err(CloseReason::over(FaultKind::Overloaded, message));
        }
        Ok(Some(held))
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

/// The bytes of a message, for as long as it is in use.
#[derive(Debug)]
pub(super) struct Held {
    handle: Rc<ConnectionHandle>,
    bytes: usize,
}

impl Held {
    fn new(handle: &Rc<ConnectionHandle>, bytes: usize) -> Self {
        handle.held.update(|held| held + bytes);
        Self { handle: handle.clone(), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.handle.held.update(|held| held - self.bytes);
    }
}

/// One task to be woken.
#[derive(Default)]
struct Wakeup(Cell<Option<Waker>>);

impl fmt::Debug for Wakeup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wakeup")
    }
}

impl Wakeup {
    fn register(&self, cx: &mut Context<'_>) {
        let waker = match self.0.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.0.set(Some(waker));
    }

    fn wake(&self) {
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
