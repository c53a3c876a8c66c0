//! Push notifications: no agent's card declares them yet, so that every operation on them says so
//! (A2A 1.0.1, 3.3.4).

use super::{AgentService, Method};
use crate::authority::Permission;
use crate::fault::{Fault, FaultKind, Result};
use crate::operations::Caller;

impl AgentService {
    pub(super) async fn no_push<T>(&self, caller: &Caller, operation: &'static str) -> Result<T> {
        let refused = async {
            let _pass = self.check(caller, Permission::Push)?;
            Err(no_push())
        };
        let span = self.span(operation, caller);
        self.meters.measure(Method::PushNotificationConfig, &span, refused).await
    }
}

/// What a request that asks for push notifications is answered with.
pub(super) fn no_push() -> Fault {
    let message = "this agent sends no push notifications: subscribe to the task instead";
    Fault::new(FaultKind::PushNotificationNotSupported, message)
}
