//! How many turns may run: in all and for each principal. One too many is refused, not queued.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counters::Counters;
use crate::fault::{Fault, FaultKind};
use crate::limits::EngineLimits;
use crate::model::Id;

#[derive(Debug)]
pub(super) struct Admission {
    turns: usize,
    turns_per_principal: usize,
    counters: Arc<Counters>,
    running: Mutex<HashMap<Id, usize>>,
}

/// The right to run one turn; held while it runs.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    owner: Id,
}

impl Admission {
    pub(super) fn new(limits: &EngineLimits, counters: Arc<Counters>) -> Self {
        let (turns, turns_per_principal) = (limits.turns, limits.turns_per_principal);
        Self { turns, turns_per_principal, counters, running: Mutex::default() }
    }

    /// A permit for one more turn of this principal.
    ///
    /// # Errors
    /// [`FaultKind::Overloaded`], with the bound that was reached.
    pub(super) fn admit(self: &Arc<Self>, owner: &Id) -> Result<Permit, Fault> {
        let mut running = self.lock();
        if self.counters.turns.load(Ordering::Acquire) >= self.turns as u64 {
            return Err(self.refuse("the server runs as many turns as it may", self.turns));
        }
        match running.get_mut(owner) {
            Some(count) if *count >= self.turns_per_principal => {
                return Err(self.refuse("as many turns of yours run as may", self.turns_per_principal));
            }
            Some(count) => *count += 1,
            None if self.turns_per_principal == 0 => {
                return Err(self.refuse("no turns of yours may run", 0));
            }
            None => {
                running.insert(owner.clone(), 1);
            }
        }
        self.counters.turns.fetch_add(1, Ordering::AcqRel);
        Ok(Permit { admission: Arc::clone(self), owner: owner.clone() })
    }

    /// A permit for a turn that was admitted before the process began: it counts, and is never refused.
    pub(super) fn readmit(self: &Arc<Self>, owner: &Id) -> Permit {
        *self.lock().entry(owner.clone()).or_default() += 1;
        self.counters.turns.fetch_add(1, Ordering::AcqRel);
        Permit { admission: Arc::clone(self), owner: owner.clone() }
    }

    fn refuse(&self, what: &str, bound: usize) -> Fault {
        self.counters.refused_turns.fetch_add(1, Ordering::AcqRel);
        let message = format!("{what}; try again when one of them has ended");
        Fault::new(FaultKind::Overloaded, message).with("limit", bound)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = self.admission.lock();
        if let Some(count) = running.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.owner);
            }
        }
        self.admission.counters.turns.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(turns: usize, turns_per_principal: usize) -> Arc<Admission> {
        let limits = EngineLimits { turns, turns_per_principal, ..EngineLimits::default() };
        Arc::new(Admission::new(&limits, Arc::default()))
    }

    #[test]
    fn one_too_many_of_a_principal_is_refused_while_others_go_on() {
        let admission = admission(10, 2);
        let (ann, bob) = (Id::from("ann"), Id::from("bob"));
        let held = [admission.admit(&ann).unwrap(), admission.admit(&ann).unwrap()];
        assert_eq!(admission.admit(&ann).unwrap_err().kind(), FaultKind::Overloaded);
        assert!(admission.admit(&bob).is_ok());
        drop(held);
        assert!(admission.admit(&ann).is_ok());
        assert!(admission.lock().is_empty());
    }

    #[test]
    fn one_too_many_in_all_is_refused() {
        let admission = admission(2, 10);
        let _held = [admission.admit(&"ann".into()).unwrap(), admission.admit(&"bob".into()).unwrap()];
        let refused = admission.admit(&"eve".into()).unwrap_err();
        assert_eq!((refused.kind(), refused.metadata()["limit"].as_str()), (FaultKind::Overloaded, "2"));
    }
}
