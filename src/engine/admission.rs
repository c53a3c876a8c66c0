//! How many turns may run: in all, of each agent and for each principal. One too many is refused, not queued.

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
    /// Of the agents that have a bound of their own.
    turns_of: HashMap<Id, usize>,
    counters: Arc<Counters>,
    running: Mutex<Running>,
}

/// How many turns run now. What is not there has none.
#[derive(Debug, Default)]
struct Running {
    of_agent: HashMap<Id, usize>,
    for_owner: HashMap<Id, usize>,
}

/// The right to run one turn; held while it runs.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    agent: Id,
    owner: Id,
}

impl Admission {
    pub(super) fn new(limits: &EngineLimits, turns_of: HashMap<Id, usize>, counters: Arc<Counters>) -> Self {
        let (turns, turns_per_principal) = (limits.turns, limits.turns_per_principal);
        Self { turns, turns_per_principal, turns_of, counters, running: Mutex::default() }
    }

    /// A permit for one more turn of this agent, for this principal.
    ///
    /// # Errors
    /// [`FaultKind::Overloaded`], with the bound that was reached.
    pub(super) fn admit(self: &Arc<Self>, agent: &Id, owner: &Id) -> Result<Permit, Fault> {
        let running = self.lock();
        let count = |of: &HashMap<Id, usize>, who: &Id| of.get(who).copied().unwrap_or_default();
        if self.counters.turns.load(Ordering::Acquire) >= self.turns as u64 {
            return Err(self.refuse("the server runs as many turns as it may", self.turns));
        }
        if let Some(most) = self.turns_of.get(agent)
            && count(&running.of_agent, agent) >= *most
        {
            return Err(self.refuse("the agent runs as many turns as it may", *most));
        }
        if count(&running.for_owner, owner) >= self.turns_per_principal {
            return Err(self.refuse("as many turns of yours run as may", self.turns_per_principal));
        }
        Ok(self.permit(running, agent, owner))
    }

    /// A permit for a turn that was admitted before the process began: it counts, and is never refused.
    pub(super) fn readmit(self: &Arc<Self>, agent: &Id, owner: &Id) -> Permit {
        self.permit(self.lock(), agent, owner)
    }

    fn permit(self: &Arc<Self>, mut running: MutexGuard<'_, Running>, agent: &Id, owner: &Id) -> Permit {
        if self.turns_of.contains_key(agent) {
            *running.of_agent.entry(agent.clone()).or_default() += 1;
        }
        *running.for_owner.entry(owner.clone()).or_default() += 1;
        self.counters.turns.fetch_add(1, Ordering::AcqRel);
        Permit { admission: Arc::clone(self), agent: agent.clone(), owner: owner.clone() }
    }

    fn refuse(&self, what: &str, bound: usize) -> Fault {
        self.counters.refused_turns.fetch_add(1, Ordering::AcqRel);
        let message = format!("{what}; try again when one of them has ended");
        Fault::new(FaultKind::Overloaded, message).with("limit", bound)
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = self.admission.lock();
        one_less(&mut running.of_agent, &self.agent);
        one_less(&mut running.for_owner, &self.owner);
        self.admission.counters.turns.fetch_sub(1, Ordering::AcqRel);
    }
}

fn one_less(running: &mut HashMap<Id, usize>, who: &Id) {
    if let Some(count) = running.get_mut(who) {
        *count -= 1;
        if *count == 0 {
            running.remove(who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(turns: usize, turns_per_principal: usize, of_bot: usize) -> Arc<Admission> {
        let limits = EngineLimits { turns, turns_per_principal, ..EngineLimits::default() };
        let turns_of = [(Id::from("bot"), of_bot)].into_iter().collect();
        Arc::new(Admission::new(&limits, turns_of, Arc::default()))
    }

    fn is_idle(admission: &Admission) -> bool {
        let running = admission.lock();
        running.of_agent.is_empty() && running.for_owner.is_empty()
    }

    #[test]
    fn one_too_many_of_a_principal_is_refused_while_others_go_on() {
        let admission = admission(10, 2, 10);
        let (bot, ann, bob) = (Id::from("bot"), Id::from("ann"), Id::from("bob"));
        let held = [admission.admit(&bot, &ann).unwrap(), admission.admit(&bot, &ann).unwrap()];
        assert_eq!(admission.admit(&bot, &ann).unwrap_err().kind(), FaultKind::Overloaded);
        assert!(admission.admit(&bot, &bob).is_ok());
        drop(held);
        assert!(admission.admit(&bot, &ann).is_ok());
        assert!(is_idle(&admission));
    }

    #[test]
    fn one_too_many_of_an_agent_is_refused_while_other_agents_go_on() {
        let admission = admission(10, 10, 1);
        let (bot, other, ann, bob) = (Id::from("bot"), Id::from("other"), Id::from("ann"), Id::from("bob"));
        let held = admission.admit(&bot, &ann).unwrap();
        let refused = admission.admit(&bot, &bob).unwrap_err();
        assert_eq!((refused.kind(), refused.metadata()["limit"].as_str()), (FaultKind::Overloaded, "1"));
        let others = [&ann, &bob].map(|owner| admission.admit(&other, owner).unwrap());
        let readmitted = admission.readmit(&bot, &bob);
        drop(held);
        assert!(admission.admit(&bot, &ann).is_err(), "a turn that was resumed counts");
        drop(readmitted);
        assert!(admission.admit(&bot, &ann).is_ok());
        drop(others);
        assert!(is_idle(&admission));
    }

    #[test]
    fn one_too_many_in_all_is_refused() {
        let admission = admission(2, 10, 10);
        let bot = Id::from("bot");
        let _held =
            [admission.admit(&bot, &"ann".into()).unwrap(), admission.admit(&bot, &"bob".into()).unwrap()];
        let refused = admission.admit(&bot, &"eve".into()).unwrap_err();
        assert_eq!((refused.kind(), refused.metadata()["limit"].as_str()), (FaultKind::Overloaded, "2"));
    }
}
