//! Who waits for a task to go on.
//!
//! Each feed has a slot for as long as it lives. A published batch wakes each waiting slot once, however many
//! events it has; a feed that is busy reading costs nothing.

use std::task::Waker;

#[derive(Debug, Default)]
pub(super) struct Wakers {
    slots: Vec<Slot>,
    parked: usize,
}

#[derive(Debug)]
enum Slot {
    Free,
    Idle,
    Parked(Waker, Until),
}

/// What a waiting slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Any event.
    Changed,
    /// A terminal or interrupted state.
    Settled,
}

impl Wakers {
    /// A slot; give it back with [`leave`](Self::leave).
    pub(super) fn join(&mut self) -> usize {
        if let Some(at) = self.slots.iter().position(|slot| matches!(slot, Slot::Free)) {
            self.slots[at] = Slot::Idle;
            return at;
        }
        self.slots.push(Slot::Idle);
        self.slots.len() - 1
    }

    pub(super) fn leave(&mut self, at: usize) {
        if matches!(std::mem::replace(&mut self.slots[at], Slot::Free), Slot::Parked(..)) {
            self.parked -= 1;
        }
        while matches!(self.slots.last(), Some(Slot::Free)) {
            self.slots.pop();
        }
    }

    pub(super) fn park(&mut self, at: usize, waker: &Waker, until: Until) {
        match &mut self.slots[at] {
            Slot::Parked(parked, _) if parked.will_wake(waker) => {}
            Slot::Parked(parked, _) => parked.clone_from(waker),
            slot => {
                *slot = Slot::Parked(waker.clone(), until);
                self.parked += 1;
            }
        }
    }

    /// Moves those who waited for this into `woken`, to be woken when no lock is held.
    pub(super) fn take(&mut self, settled: bool, woken: &mut Vec<Waker>) {
        if self.parked == 0 {
            return;
        }
        for slot in &mut self.slots {
            if let Slot::Parked(_, until) = slot
                && (settled || *until == Until::Changed)
                && let Slot::Parked(waker, _) = std::mem::replace(slot, Slot::Idle)
            {
                self.parked -= 1;
                woken.push(waker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_woken_once_and_only_for_what_it_waits_for() {
        let mut wakers = Wakers::default();
        let (any, settled) = (wakers.join(), wakers.join());
        wakers.park(any, Waker::noop(), Until::Changed);
        wakers.park(any, Waker::noop(), Until::Changed);
        wakers.park(settled, Waker::noop(), Until::Settled);
        let mut woken = Vec::new();
        wakers.take(false, &mut woken);
        assert_eq!(woken.len(), 1);
        wakers.take(true, &mut woken);
        assert_eq!((woken.len(), wakers.parked), (2, 0));
    }

    #[test]
    fn slots_are_used_again() {
        let mut wakers = Wakers::default();
        for _ in 0..1_000 {
            let (one, two) = (wakers.join(), wakers.join());
            wakers.park(one, Waker::noop(), Until::Changed);
            wakers.leave(one);
            wakers.leave(two);
        }
        assert_eq!((wakers.slots.len(), wakers.parked), (0, 0));
    }
}
