//! Lets somebody see every frame of a connection, for diagnosis.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::close::CloseReason;
use super::frames::{FrameQueue, Frames};

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the peer.
    Sent,
    /// From the peer.
    Received,
}

/// A WebSocket whose frames somebody sees: those that are sent when they are about to be written, in their order.
pub struct Tap<F, S> {
    frames: F,
    seen: S,
    /// What was seen and the socket has not taken.
    queue: FrameQueue,
}

impl<F: Frames, S: FnMut(Direction, &[u8]) + 'static> Tap<F, S> {
    /// Tells `seen` of every frame.
    pub fn new(frames: F, seen: S) -> Self {
        Self { frames, seen, queue: FrameQueue::default() }
    }

    fn take(&mut self, queue: &mut FrameQueue) {
        while let Some(frame) = queue.pop() {
            (self.seen)(Direction::Sent, &frame);
            self.queue.push(frame);
        }
    }
}

impl<F: Frames, S: FnMut(Direction, &[u8]) + 'static> Frames for Tap<F, S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, CloseReason>> {
        let frame = self.frames.poll_receive(cx);
        if let Poll::Ready(Ok(frame)) = &frame {
            (self.seen)(Direction::Received, frame);
        }
        frame
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut FrameQueue) -> Poll<Result<(), CloseReason>> {
        self.take(queue);
        self.frames.poll_send(cx, &mut self.queue)
    }

    fn unwritten(&self) -> usize {
        self.frames.unwritten() + self.queue.bytes()
    }

    fn poll_liveness(&mut self, cx: &mut Context<'_>, blocked: bool) -> Poll<CloseReason> {
        self.frames.poll_liveness(cx, blocked)
    }

    fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut FrameQueue,
        close: Option<(u16, &str)>,
    ) -> Poll<()> {
        self.take(queue);
        self.frames.poll_close(cx, &mut self.queue, close)
    }
}
