//! The bootstrap object: nothing but what is public.

use std::rc::Rc;

use super::Context;
use super::session::Session;
use super::task::TaskHandle;
use crate::auth::Credentials;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{AgentCard, Id, ServiceParameters};

/// Held by everybody who connects.
#[derive(Debug)]
pub struct PublicService {
    context: Rc<Context>,
    anonymous: Option<Rc<Session>>,
}

impl PublicService {
    /// The bootstrap object of a new connection.
    pub fn new(context: Rc<Context>) -> Self {
        let anonymous = context.service.anonymous_grant().map(|grant| Rc::new(Session::new(&context, grant)));
        Self { context, anonymous }
    }

    /// The session under which the A2A operations work on this object: that of the anonymous principal,
    /// where one is configured.
    pub fn anonymous(&self) -> Result<&Rc<Session>> {
        self.anonymous.as_ref().ok_or_else(|| {
            let message = "this server has no anonymous access: call authenticate, and this on its session";
            Fault::new(FaultKind::Unauthenticated, message)
        })
    }

    /// The card of a tenant's agent; of the default agent without one.
    pub fn agent_card(&self, tenant: Option<&str>) -> Result<AgentCard> {
        self.context.service.card(tenant)
    }

    /// A session of whose credentials these are.
    pub async fn authenticate(
        &self,
        credentials: &Credentials,
        tenant: Option<&str>,
        parameters: &ServiceParameters,
    ) -> Result<Session> {
        let grant = self.context.serving().authenticate_in(credentials, tenant, parameters).await?;
        Ok(Session::new(&self.context, grant))
    }

    /// What somebody shared.
    pub fn claim(&self, secret: &str) -> Result<ClaimedTask> {
        let claimed = self.context.service.authority().claim(secret, self.context.clock().now())?;
        let Some(id) = claimed.grant.scope().task().cloned() else {
            return Err(Fault::internal("a shared grant names no task"));
        };
        Ok(ClaimedTask { task: TaskHandle::new(&self.context, &claimed.grant, Id::clone(&id)) })
    }
}

/// What a claimed secret was for.
#[derive(Debug)]
pub struct ClaimedTask {
    /// The handle on the shared task.
    pub task: TaskHandle,
}
