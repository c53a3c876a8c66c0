//! Our `VatNetwork`: one frame is one message. Every message passes the ledger, in both directions.

use std::rc::Rc;

use bytes::Bytes;
use capnp::any_pointer;
use capnp::capability::Promise;
use capnp::message::{Builder, HeapAllocator, Reader};
use capnp_rpc::rpc_capnp::{exception, message as rpc_message};
use capnp_rpc::rpc_twoparty_capnp::Side;
use futures::future::poll_fn;

use super::bounds::Received;
use super::close::{CloseReason, code};
use super::flow;
use super::handle::ConnectionHandle;
use super::line::Held;
use super::message::{self, Frame};

/// A network of two: this side and the peer.
pub(super) struct Vat {
    side: Side,
    handle: Rc<ConnectionHandle>,
    accepted: bool,
}

impl Vat {
    pub(super) fn new(side: Side, handle: Rc<ConnectionHandle>) -> Self {
        Self { side, handle, accepted: false }
    }

    fn connection(&self) -> Box<dyn capnp_rpc::Connection<Side>> {
        Box::new(Connection { side: self.side, handle: self.handle.clone() })
    }
}

impl capnp_rpc::VatNetwork<Side> for Vat {
    fn connect(&mut self, host: Side) -> Option<Box<dyn capnp_rpc::Connection<Side>>> {
        (host != self.side).then(|| self.connection())
    }

    fn accept(&mut self) -> Promise<Box<dyn capnp_rpc::Connection<Side>>, capnp::Error> {
        if std::mem::replace(&mut self.accepted, true) {
            return Promise::from_future(std::future::pending());
        }
        Promise::ok(self.connection())
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), capnp::Error> {
        // The driver knows better when it is over, and drops the RPC system then.
        Promise::from_future(std::future::pending())
    }
}

struct Connection {
    side: Side,
    handle: Rc<ConnectionHandle>,
}

impl capnp_rpc::Connection<Side> for Connection {
    fn get_peer_vat_id(&self) -> Side {
        match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    fn new_outgoing_message(&mut self, words: u32) -> Box<dyn capnp_rpc::OutgoingMessage> {
        let allocator = HeapAllocator::new().first_segment_words(words.clamp(1, FIRST_SEGMENT_WORDS));
        Box::new(Outgoing { message: Builder::new(allocator), handle: self.handle.clone() })
    }

    fn receive_incoming_message(
        &mut self,
    ) -> Promise<Option<Box<dyn capnp_rpc::IncomingMessage>>, capnp::Error> {
        let handle = self.handle.clone();
        Promise::from_future(async move {
            let frame = poll_fn(|cx| handle.poll_frame(cx)).await.map_err(|reason| reason.exception())?;
            let incoming = admit(&handle, &frame);
            incoming.map(Some).map_err(|reason| {
                let error = reason.exception();
                handle.end(reason);
                error
            })
        })
    }

    fn new_stream(&mut self) -> (Box<dyn capnp_rpc::FlowController>, Promise<(), capnp::Error>) {
        flow::controller(self.handle.limits().stream_window_bytes)
    }

    fn shutdown(&mut self, result: capnp::Result<()>) -> Promise<(), capnp::Error> {
        self.handle.end(match result {
            Ok(()) => CloseReason::Closed { code: code::NORMAL, reason: "".into() },
            Err(error) => CloseReason::violation(error.extra),
        });
        Promise::ok(())
    }
}

/// Reads a frame and enters its message into the ledger.
fn admit(
    handle: &Rc<ConnectionHandle>,
    frame: &[u8],
) -> Result<Box<dyn capnp_rpc::IncomingMessage>, CloseReason> {
    let message = Frame::read(frame, handle.limits())?;
    let received = handle.enter(&message)?;
    let held = handle.hold(message.get_segments().held(), received == Received::Call)?;
    match received {
        Received::Releasing(exports) => handle.receive_next(exports.into_iter().map(release)),
        // The message still goes on: calls in flight fail with the peer's own words.
        Received::Abort(text) => handle.end(CloseReason::PeerAborted(text)),
        Received::Call | Received::Other => {}
    }
    Ok(Box::new(Incoming { message, _held: held }))
}

/// The last words to the peer, as a frame.
pub(super) fn abort(error: &capnp::Error) -> Bytes {
    let mut message = Builder::new(HeapAllocator::new().first_segment_words(FIRST_SEGMENT_WORDS));
    let mut exception = message.init_root::<rpc_message::Builder<'_>>().init_abort();
    exception.set_reason(&error.extra);
    exception.set_type(match error.kind {
        capnp::ErrorKind::Overloaded => exception::Type::Overloaded,
        capnp::ErrorKind::Disconnected => exception::Type::Disconnected,
        capnp::ErrorKind::Unimplemented => exception::Type::Unimplemented,
        _ => exception::Type::Failed,
    });
    message::write(&message)
}

/// A release of one reference to an export, as the peer would have sent it.
fn release(export: u32) -> Bytes {
    let mut message = Builder::new(HeapAllocator::new().first_segment_words(RELEASE_WORDS));
    let mut release = message.init_root::<rpc_message::Builder<'_>>().init_release();
    release.set_id(export);
    release.set_reference_count(1);
    message::write(&message)
}

struct Incoming {
    message: Reader<Frame>,
    _held: Option<Held>,
}

impl capnp_rpc::IncomingMessage for Incoming {
    fn get_body(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.message.get_root()
    }
}

struct Outgoing {
    message: Builder<HeapAllocator>,
    handle: Rc<ConnectionHandle>,
}

impl capnp_rpc::OutgoingMessage for Outgoing {
    fn get_body(&mut self) -> capnp::Result<any_pointer::Builder<'_>> {
        self.message.get_root()
    }

    fn get_body_as_reader(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.message.get_root_as_reader()
    }

    fn send(self: Box<Self>) -> (Promise<(), capnp::Error>, Rc<Builder<HeapAllocator>>) {
        self.handle.enqueue(&self.message);
        (Promise::ok(()), Rc::new(self.message))
    }

    fn take(self: Box<Self>) -> Builder<HeapAllocator> {
        self.message
    }

    fn size_in_words(&self) -> usize {
        self.message.size_in_words()
    }
}

/// The RPC system asks for 8 KiB, zeroed, for each call; most calls need a few hundred bytes.
const FIRST_SEGMENT_WORDS: u32 = 128;
/// A `Release` message.
const RELEASE_WORDS: u32 = 8;
