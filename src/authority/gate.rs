//! The gate of one grant: what is inside, whether it is shut, and waiting for either.
//!
//! Promise P6 rests on this file. Everything is one atomic word: the top bit says *shut*, the rest
//! counts what is inside. [`Gate::enter`] adds one only if the bit is not set, and [`Gate::shut`] sets
//! the bit, each as a single atomic step on the same word. Steps on one word have one order, so of an
//! entry and the shutting one is first:
//!
//! * the entry: then `shut` returns a word that counts it, and [`Gate::emptied`] waits for it;
//! * the shutting: then the entry sees the bit and is refused.
//!
//! There is no third case, and no need for a stronger memory order than the word's own. After the bit
//! is set the count only falls (a refused entry never raises it, not even for a moment), so it reaches
//! zero once, and a peer that keeps knocking cannot put off whoever waits for that.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What passes a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrant {
    /// A call on its way to the engine.
    Call,
    /// A stream, as long as it lives.
    Stream,
}

impl Entrant {
    /// What one of these adds to the word.
    const fn unit(self) -> u64 {
        match self {
            Self::Call => 1,
            Self::Stream => 1 << STREAM_SHIFT,
        }
    }
}

/// A gate's word at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    pub(super) const fn is_shut(self) -> bool {
        self.0 & SHUT != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 & !SHUT == 0
    }

    pub(super) const fn calls(self) -> u64 {
        self.0 & CALLS
    }

    pub(super) const fn streams(self) -> u64 {
        (self.0 & !SHUT) >> STREAM_SHIFT
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Gate {
    word: AtomicU64,
    /// Woken when the gate is shut, and again when it has become empty after that.
    changed: Notify,
}

/// Calls in bits 0 to 31, streams in bits 32 to 62. Each entrant holds an `Arc` and stands in some
/// future's state, so memory ends long before 2^31 of them.
const STREAM_SHIFT: u32 = 32;
const CALLS: u64 = (1 << STREAM_SHIFT) - 1;
const SHUT: u64 = 1 << 63;

impl Gate {
    /// Goes in, unless the gate is shut. Who got `true` must [`leave`](Self::leave) once.
    pub(super) fn enter(&self, entrant: Entrant) -> bool {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (!Word(word).is_shut()).then_some(word + entrant.unit())
            })
            .is_ok()
    }

    /// Goes out. The last one out of a shut gate wakes whoever waits for that.
    pub(super) fn leave(&self, entrant: Entrant) {
        let left = Word(self.word.fetch_sub(entrant.unit(), Ordering::AcqRel) - entrant.unit());
        if left.is_shut() && left.is_empty() {
            self.changed.notify_waiters();
        }
    }

    /// Shuts the gate for good and returns the word before: whether it was shut already, and what is
    /// still inside. Whoever shuts it must then [`announce`](Self::announce).
    pub(super) fn shut(&self) -> Word {
        Word(self.word.fetch_or(SHUT, Ordering::AcqRel))
    }

    /// Wakes whoever waits for the shutting.
    pub(super) fn announce(&self) {
        self.changed.notify_waiters();
    }

    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Resolves at the next change after this call, even one before the first poll: so make it first,
    /// look at the word then, and await it last, and no change is missed.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Waits until a shut gate is empty.
    pub(super) async fn emptied(&self) {
        loop {
            let changed = self.changed();
            if self.word().is_empty() {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn a_shut_gate_lets_nobody_in_and_counts_nobody() {
        let gate = Gate::default();
        assert!(gate.enter(Entrant::Call) && gate.enter(Entrant::Stream));
        let before = gate.shut();
        assert_eq!((before.is_shut(), before.calls(), before.streams()), (false, 1, 1));
        assert!(!gate.enter(Entrant::Call) && !gate.enter(Entrant::Stream));
        assert_eq!((gate.word().calls(), gate.word().streams()), (1, 1));
        assert!(gate.shut().is_shut(), "a second shutting says that it was the second");
    }

    #[test]
    fn emptied_waits_for_the_last_one_out() {
        let gate = Gate::default();
        assert!(gate.enter(Entrant::Call) && gate.enter(Entrant::Stream));
        gate.shut();
        let mut emptied = Box::pin(gate.emptied());
        assert_eq!(emptied.as_mut().now_or_never(), None);
        gate.leave(Entrant::Call);
        assert_eq!(emptied.as_mut().now_or_never(), None);
        gate.leave(Entrant::Stream);
        assert_eq!(emptied.as_mut().now_or_never(), Some(()));
    }

    #[test]
    fn a_change_between_looking_and_awaiting_is_not_missed() {
        let gate = Gate::default();
        let changed = gate.changed();
        gate.shut();
        gate.announce();
        assert_eq!(changed.now_or_never(), Some(()));
    }
}
