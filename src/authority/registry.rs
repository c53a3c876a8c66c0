//! Which grants are alive, by owner: for the bound on their number, for lists, for counters.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};

use super::grant::{Grant, GrantId};
use super::lock;
use crate::fault::{Fault, FaultKind};

/// Locked when a grant comes into being or goes, never when one is checked.
#[derive(Default)]
pub(super) struct Registry(Mutex<HashMap<Arc<str>, Holding>>);

/// The grants of one owner.
#[derive(Default)]
struct Holding {
    derived: usize,
    grants: BTreeMap<GrantId, Weak<Grant>>,
}

impl Registry {
    /// Takes a grant in. Roots are as many as there are sessions and bounded with them; of derived
    /// grants each owner may have `bound` at once, ended ones included until their last holder is gone.
    pub(super) fn enroll(&self, grant: &Arc<Grant>, bound: usize) -> Result<(), Fault> {
        let mut owners = lock(&self.0);
        let holding = owners.entry(grant.owner_key()).or_default();
        if grant.parent().is_some() {
            if holding.derived >= bound {
                let message = format!("{bound} derived capabilities are alive: drop or revoke some first");
                return Err(Fault::new(FaultKind::Quota, message).with("limit", bound));
            }
            holding.derived += 1;
        }
        holding.grants.insert(grant.id(), Arc::downgrade(grant));
        Ok(())
    }

    /// Lets a grant go; one that was never taken in changes nothing.
    pub(super) fn withdraw(&self, grant: &Grant) {
        let mut owners = lock(&self.0);
        let owner_key = grant.owner_key();
        let Some(holding) = owners.get_mut(&owner_key) else { return };
        if holding.grants.remove(&grant.id()).is_some() && grant.parent().is_some() {
            holding.derived -= 1;
        }
        if holding.grants.is_empty() {
            owners.remove(&owner_key);
        }
    }

    /// The grants of one owner, oldest first.
    pub(super) fn of(&self, owner_key: &str) -> Vec<Arc<Grant>> {
        // The references leave the lock: the last one of a grant takes it again, in `withdraw`.
        let owners = lock(&self.0);
        owners.get(owner_key).map(Holding::alive).unwrap_or_default()
    }

    /// All grants.
    pub(super) fn all(&self) -> Vec<Arc<Grant>> {
        let owners = lock(&self.0);
        owners.values().flat_map(Holding::alive).collect()
    }
}

impl Holding {
    fn alive(&self) -> Vec<Arc<Grant>> {
        self.grants.values().filter_map(Weak::upgrade).collect()
    }
}
