//! Polling a future until it is quiet: as often as it wakes itself, within a budget.
//!
//! The RPC system handles one message per poll and wakes itself for the next. Polled through here it
//! handles all that there is before anything is flushed, so that answers share one write.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Remembers whether a future asked to be polled again.
#[derive(Debug)]
pub(super) struct Quiet {
    signal: Arc<Signal>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Signal {
    state: AtomicU8,
    outer: AtomicWaker,
}

impl Quiet {
    pub(super) fn new() -> Self {
        let signal = Arc::new(Signal { state: AtomicU8::new(WOKEN), outer: AtomicWaker::new() });
        Self { waker: Waker::from(signal.clone()), signal }
    }

    /// Polls `future` until it neither is ready nor asks for more, as long as `goes_on`, which is asked before each
    /// poll; after that the task is woken to go on later. Does nothing if nothing woke the future.
    pub(super) fn poll<F>(
        &self,
        cx: &mut Context<'_>,
        mut future: Pin<&mut F>,
        mut goes_on: impl FnMut() -> bool,
    ) -> Poll<F::Output>
    where
        F: Future + ?Sized,
    {
        self.signal.outer.register(cx.waker());
        while goes_on() {
            if self.signal.state.swap(POLLING, Ordering::AcqRel) & WOKEN == 0 {
                break;
            }
            let polled = future.as_mut().poll(&mut Context::from_waker(&self.waker));
            if polled.is_ready() {
                return polled;
            }
        }
        if self.signal.state.fetch_and(!POLLING, Ordering::AcqRel) & WOKEN != 0 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the future asked to be polled again.
    pub(super) fn is_woken(&self) -> bool {
        self.signal.state.load(Ordering::Acquire) & WOKEN != 0
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Within the poll the loop sees the flag; only from outside is the task woken, and once.
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            self.outer.wake();
        }
    }
}

const WOKEN: u8 = 1;
const POLLING: u8 = 2;
