//! The one task of a connection: reads, lets who speaks on it work until it is quiet, writes, flushes once.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use super::close::CloseReason;
use super::frames::Frames;
use super::line::{Line, Speaker};
use super::quiet::Quiet;
use super::rpc::Rpc;

/// Drives a connection to its end. Nothing happens on the connection unless this is polled; dropping
/// it ends the connection without a word.
#[must_use = "a connection does nothing unless its driver is polled"]
pub struct Driver<F: Frames, S: Speaker = Rpc> {
    line: Rc<Line>,
    frames: F,
    /// `None` once the connection ends.
    speaker: Option<S>,
    quiet: Quiet,
    /// Why nothing more can be read; what was read before is still handled.
    end_of_frames: Option<CloseReason>,
    /// What is queued has waited once for the worker's other tasks.
    gave_way: bool,
    /// A defect showed when everything was let go. The peer has its reason already; whoever counts defects
    /// gets this one.
    panicked: bool,
}

impl<F: Frames, S: Speaker> Driver<F, S> {
    pub(super) fn new(line: Rc<Line>, frames: F, speaker: S) -> Self {
        Self {
            line,
            frames,
            speaker: Some(speaker),
            quiet: Quiet::new(),
            end_of_frames: None,
            gave_way: false,
            panicked: false,
        }
    }

    /// Works until there is nothing to do or the connection ends. Ready when it ends.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let read_all = self.read(cx);
            let came = self.line.has_incoming();
            self.run(cx);
            if self.gives_way(came) {
                break;
            }
            if !self.line.is_ending() {
                self.write(cx);
            }
            if self.line.is_ending() {
                return Poll::Ready(());
            }
            let may_read = !read_all && self.wants_frames();
            if !may_read && !self.quiet.is_woken() {
                let blocked = self.line.has_outgoing();
                if let Poll::Ready(reason) = self.frames.poll_liveness(cx, blocked) {
                    self.line.end(reason);
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
                Poll::Ready(Ok(frame)) => self.line.receive(frame),
                Poll::Ready(Err(reason @ CloseReason::Refused { .. })) => self.line.end(reason),
                Poll::Ready(Err(reason)) => self.end_of_frames = Some(reason),
                Poll::Pending => return true,
            }
        }
        false
    }

    fn wants_frames(&self) -> bool {
        let line = &self.line;
        self.end_of_frames.is_none() && line.wants_frames() && !line.is_paused() && !line.is_ending()
    }

    /// Lets the speaker handle what came. A panic in it, or in a method, ends this connection only.
    fn run(&mut self, cx: &mut Context<'_>) {
        let Some(speaker) = &mut self.speaker else { return };
        let (mut polls, queued) = (0..POLLS, self.line.queued_frames());
        let goes_on = || polls.next().is_some() && self.line.queued_frames() < queued + ANSWERS;
        match catch_unwind(AssertUnwindSafe(|| self.quiet.poll(cx, Pin::new(speaker), goes_on))) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(reason)) => self.line.end(reason),
            Err(panic) => {
                log_panic(&self.line, &*panic);
                self.line.end(CloseReason::Panicked);
            }
        }
        let handled = !self.line.has_incoming() && !self.quiet.is_woken();
        if (handled || self.line.is_paused())
            && let Some(reason) = self.end_of_frames.take()
        {
            self.line.end(reason);
        }
    }

    /// Whether the few frames that were queued over what `came` wait for one turn of the worker's other tasks: those of
    /// the streams that it is about, which it has woken, so that what they say next shares the write. Where nothing is
    /// under way for the peer, nobody has more to say.
    fn gives_way(&mut self, came: bool) -> bool {
        let few = (1..ANSWERS).contains(&self.line.queued_frames());
        let waits = came && few && !self.line.is_idle() && !self.line.is_ending();
        self.gave_way = waits && !self.gave_way;
        self.gave_way
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        if !self.line.has_outgoing() {
            return;
        }
        if let Poll::Ready(Err(reason)) = self.line.poll_send(cx, &mut self.frames) {
            self.line.end(reason);
        }
    }

    /// Tells the speaker that it is over: calls fail with the reason and objects are let go. Then drops it,
    /// running methods included, and queues the last words to the peer.
    fn disconnect(&mut self, cx: &mut Context<'_>) {
        let Some(mut speaker) = self.speaker.take() else { return };
        let last = self.line.ending().and_then(|reason| speaker.last_words(&reason));
        let ended = catch_unwind(AssertUnwindSafe(|| {
            // It learns the reason by itself, unless a panic was the end of it; what waits on a call or a
            // stream learns it from there.
            let mut polls = 0..LAST_POLLS;
            let _ = self.quiet.poll(cx, Pin::new(&mut speaker), || polls.next().is_some());
            speaker.end(cx);
            drop(speaker);
        }));
        if let Err(panic) = ended {
            log_panic(&self.line, &*panic);
            self.panicked = true;
        }
        if let Some(frame) = last {
            self.line.queue_last(frame);
        }
    }
}

impl<F: Frames, S: Speaker> Unpin for Driver<F, S> {}

impl<F: Frames, S: Speaker> Future for Driver<F, S> {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let this = &mut *self;
        this.line.unregister_driver();
        if this.speaker.is_some() {
            if this.poll_open(cx).is_pending() {
                this.line.register_driver(cx);
                return Poll::Pending;
            }
            this.disconnect(cx);
        }
        ready!(this.line.poll_close(cx, &mut this.frames));
        this.line.set_ended();
        let reason = this.line.ending().filter(|_| !this.panicked);
        Poll::Ready(reason.unwrap_or(CloseReason::Panicked))
    }
}

impl<F: Frames, S: Speaker> Drop for Driver<F, S> {
    fn drop(&mut self) {
        // Dropped before its end: objects must still be let go, and those who wait be told.
        if self.speaker.is_some() {
            self.line.end(CloseReason::Lost("this side dropped it".to_owned()));
            self.disconnect(&mut Context::from_waker(Waker::noop()));
        }
        self.line.set_ended();
    }
}

fn log_panic(line: &Line, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
    tracing::error!(peer = ?line.peer(), panic = text, "a defect ended a connection");
}

/// Rounds of read, work, write before other connections have their turn.
const ROUNDS: usize = 16;
/// Frames that one round queues. What a round has answered is written before the next begins, so that both ends
/// work at once: with a whole window in one round they take turns, and each is idle half of the time.
const ANSWERS: usize = 16;
/// Polls of the speaker in one round; a message takes one. Most messages about a stream are answered with
/// nothing, and a write for every few of them costs more than they do.
const POLLS: usize = 64;
/// Polls in which everything in flight must have learned that it is over.
const LAST_POLLS: usize = 1 << 16;
