//! The one task of a connection: reads, lets the RPC system work until it is quiet, writes, flushes once.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Disconnector, RpcSystem};

use super::close::CloseReason;
use super::frames::Frames;
use super::handle::ConnectionHandle;
use super::quiet::Quiet;

/// Drives a connection to its end. Nothing happens on the connection unless this is polled; dropping
/// it ends the connection without a word.
#[must_use = "a connection does nothing unless its driver is polled"]
pub struct Driver<F: Frames> {
    handle: Rc<ConnectionHandle>,
    frames: F,
    /// `None` once the connection ends.
    rpc: Option<Rpc>,
    quiet: Quiet,
    /// Why nothing more can be read; what was read before is still handled.
    end_of_frames: Option<CloseReason>,
    /// A defect showed when everything was let go. The peer has its reason already; whoever counts defects
    /// gets this one.
    panicked: bool,
}

struct Rpc {
    system: RpcSystem<Side>,
    disconnector: Disconnector<Side>,
}

impl<F: Frames> Driver<F> {
    pub(super) fn new(handle: Rc<ConnectionHandle>, frames: F, system: RpcSystem<Side>) -> Self {
        let disconnector = system.get_disconnector();
        let rpc = Some(Rpc { system, disconnector });
        Self { handle, frames, rpc, quiet: Quiet::new(), end_of_frames: None, panicked: false }
    }

    /// Works until there is nothing to do or the connection ends. Ready when it ends.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let read_all = self.read(cx);
            self.run(cx);
            if !self.handle.is_ending() {
                self.write(cx);
            }
            if self.handle.is_ending() {
                return Poll::Ready(());
            }
            let may_read = !read_all && self.wants_frames();
            if !may_read && !self.quiet.is_woken() {
                let blocked = self.handle.has_outgoing();
                if let Poll::Ready(reason) = self.frames.poll_liveness(cx, blocked) {
                    self.handle.end(reason);
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what the socket has. True if that was all, so that the socket will wake the task.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        while self.wants_frames() {
            match self.frames.poll_receive(cx) {
                Poll::Ready(Ok(frame)) => self.handle.receive(frame),
                Poll::Ready(Err(reason @ CloseReason::Refused { .. })) => self.handle.end(reason),
                Poll::Ready(Err(reason)) => self.end_of_frames = Some(reason),
                Poll::Pending => return true,
            }
        }
        false
    }

    fn wants_frames(&self) -> bool {
        let handle = &self.handle;
        self.end_of_frames.is_none() && handle.wants_frames() && !handle.is_paused() && !handle.is_ending()
    }

    /// Lets the RPC system handle what came. A panic in it, or in a method, ends this connection only.
    fn run(&mut self, cx: &mut Context<'_>) {
        let Some(rpc) = &mut self.rpc else { return };
        let system = Pin::new(&mut rpc.system);
        match catch_unwind(AssertUnwindSafe(|| self.quiet.poll(cx, system, POLLS))) {
            Ok(Poll::Pending) => {}
            // It ends only after its connection was shut down.
            Ok(Poll::Ready(_)) => self.handle.end(CloseReason::Lost("the RPC session is over".to_owned())),
            Err(panic) => {
                log_panic(&self.handle, &*panic);
                self.handle.end(CloseReason::Panicked);
            }
        }
        let handled = !self.handle.has_incoming() && !self.quiet.is_woken();
        if (handled || self.handle.is_paused())
            && let Some(reason) = self.end_of_frames.take()
        {
            self.handle.end(reason);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        if !self.handle.has_outgoing() {
            return;
        }
        if let Poll::Ready(Err(reason)) = self.handle.poll_send(cx, &mut self.frames) {
            self.handle.end(reason);
        }
    }

    /// Tells the RPC system that it is over: calls fail with the reason and objects are let go. Then
    /// drops it, running methods included, and queues the last words to the peer.
    fn disconnect(&mut self, cx: &mut Context<'_>) {
        let Some(mut rpc) = self.rpc.take() else { return };
        let ended = catch_unwind(AssertUnwindSafe(|| {
            // The message loop learns the reason by itself, unless a panic was the end of it; what
            // waits on a call or a stream learns it from there.
            let _ = self.quiet.poll(cx, Pin::new(&mut rpc.system), LAST_POLLS);
            let _ = Pin::new(&mut rpc.disconnector).poll(cx);
            drop(rpc);
        }));
        if let Err(panic) = ended {
            log_panic(&self.handle, &*panic);
            self.panicked = true;
        }
        self.handle.say_why();
    }
}

impl<F: Frames> Unpin for Driver<F> {}

impl<F: Frames> Future for Driver<F> {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let this = &mut *self;
        this.handle.unregister_driver();
        if this.rpc.is_some() {
            if this.poll_open(cx).is_pending() {
                this.handle.register_driver(cx);
                return Poll::Pending;
            }
            this.disconnect(cx);
        }
        ready!(this.handle.poll_close(cx, &mut this.frames));
        this.handle.set_ended();
        let reason = this.handle.ending().filter(|_| !this.panicked);
        Poll::Ready(reason.unwrap_or(CloseReason::Panicked))
    }
}

impl<F: Frames> Drop for Driver<F> {
    fn drop(&mut self) {
        // Dropped before its end: objects must still be let go, and those who wait be told.
        if self.rpc.is_some() {
            self.handle.end(CloseReason::Lost("this side dropped it".to_owned()));
            self.disconnect(&mut Context::from_waker(Waker::noop()));
        }
        self.handle.set_ended();
    }
}

fn log_panic(handle: &ConnectionHandle, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
    tracing::error!(peer = ?handle.peer(), panic = text, "a defect ended a connection");
}

/// Rounds of read, work, write before other connections have their turn.
const ROUNDS: usize = 16;
/// Polls of the RPC system in one round; a message takes one. What a round has answered is written before
/// the next begins, so that both ends work at once: with a whole window in one round they take turns, and
/// each is idle half of the time.
const POLLS: usize = 16;
/// Polls in which everything in flight must have learned that it is over.
const LAST_POLLS: usize = 1 << 16;
