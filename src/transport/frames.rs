//! What the transport asks of a WebSocket: binary frames in, binary frames out, and a close.
//!
//! Natively that is [`WebSocket`](super::websocket::WebSocket); in a browser it is the page's own.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::close::CloseReason;

/// One end of a WebSocket. Each method registers the task to be woken when it may do more; one task
/// calls them all.
pub trait Frames: 'static {
    /// The next binary message. Pings are answered and pongs counted here. An error is the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, CloseReason>>;

    /// Takes frames from the front of `queue` as long as the socket does, then flushes once. Ready
    /// when nothing is left to write.
    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut FrameQueue) -> Poll<Result<(), CloseReason>>;

    /// Bytes that were taken from a queue and are not written yet.
    fn unwritten(&self) -> usize;

    /// Pings a silent peer; ready when it has been silent for too long. `blocked` says that bytes wait
    /// for the peer to take others first: what it takes then counts as a sign of life.
    fn poll_liveness(&mut self, cx: &mut Context<'_>, blocked: bool) -> Poll<CloseReason>;

    /// Sends what is left in `queue` and a close frame, then waits a bounded while for the peer's.
    fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut FrameQueue,
        close: Option<(u16, &str)>,
    ) -> Poll<()>;
}

/// Frames that wait, oldest first.
#[derive(Debug, Default)]
pub struct FrameQueue {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl FrameQueue {
    /// Adds a frame at the end.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Adds a frame before all others.
    pub(super) fn push_first(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_front(frame);
    }

    /// Takes the oldest frame.
    pub fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        if self.frames.is_empty() && self.frames.capacity() > FRAMES_KEPT {
            self.frames = VecDeque::new();
        }
        Some(frame)
    }

    /// Forgets every frame, and the room for them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes of all frames.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many frames wait.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// Frames for which an empty queue keeps room: a burst's room goes back.
const FRAMES_KEPT: usize = 256;
