//! What the layers above see of a Cap'n Proto connection, and what its parts share.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;

use capnp::message::{Builder, HeapAllocator, Reader};

use super::bounds::{Ledger, Received, Sent};
use super::close::CloseReason;
use super::line::{Held, Line};
use super::message;
use super::message::Frame;
use crate::limits::WireLimits;

/// A Cap'n Proto connection, as the objects on it see it: a [`Line`] and the ledger of what is held. Worker-local.
#[derive(Debug)]
pub struct ConnectionHandle {
    line: Rc<Line>,
    ledger: RefCell<Ledger>,
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
        let ledger = RefCell::new(Ledger::new(&limits, pauses));
        Rc::new(Self { line: Line::new(peer, limits, pauses), ledger })
    }

    /// The connection beneath.
    pub fn line(&self) -> &Rc<Line> {
        &self.line
    }

    /// What the connection holds at this moment.
    pub fn counters(&self) -> Counters {
        Counters {
            queued_bytes: self.queued_bytes(),
            held_bytes: self.held_bytes(),
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
        self.wait_until(|| self.has_room()).await
    }
}

impl Deref for ConnectionHandle {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.line
    }
}

/// For the parts of the transport.
impl ConnectionHandle {
    /// Enters a received message into the ledger.
    pub(super) fn enter(&self, message: &Reader<Frame>) -> Result<Received, CloseReason> {
        let might_call = self.ledger.borrow().may_call();
        let received = self.ledger.borrow_mut().received(message);
        if !might_call && self.ledger.borrow().may_call() {
            self.changed();
        }
        received
    }

    /// Enters an outgoing message into the ledger and the queue.
    pub(super) fn enqueue(&self, message: &Builder<HeapAllocator>) {
        let sent = self.ledger.borrow_mut().sent(message);
        match sent {
            // The last words are the speaker's, with the reason that counts.
            Ok(Sent::Abort) => {}
            Ok(Sent::Other) if self.is_ending() => {}
            Ok(Sent::Other) => self.queue(message::write(message)),
            Err(reason) => self.end(reason),
        }
    }

    /// Counts the bytes of a message for as long as it is in use. The end that accepted the connection
    /// counts all of them, for its memory must not be at the mercy of the peer; the other trusts the
    /// server it chose and counts calls only, so that a program may keep what it asked for.
    pub(super) fn hold(&self, bytes: usize, is_call: bool) -> Result<Option<Held>, CloseReason> {
        if is_call || self.pauses() { self.line.hold(bytes).map(Some) } else { Ok(None) }
    }

    #[cfg(test)]
    pub(super) fn ledger(&self) -> &RefCell<Ledger> {
        &self.ledger
    }
}
