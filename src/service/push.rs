//! Push notifications: no agent's card declares them yet, so that every operation on them says so
//! (A2A 1.0.1, 3.3.4).

use super::AgentService;
use crate::authority::Permission;
use crate::fault::{Fault, FaultKind};
use crate::operations::Caller;

impl AgentService {
    pub(super) fn no_push(&self, caller: &Caller) -> Fault {
        match self.check(caller, Permission::Push) {
            Ok(_pass) => no_push(),
            Err(fault) => fault,
        }
    }
}

/// What a request that asks for push notifications is answered with.
pub(super) fn no_push() -> Fault {
    let message = "this agent sends no push notifications: subscribe to the task instead";
    Fault::new(FaultKind::PushNotificationNotSupported, message)
}
