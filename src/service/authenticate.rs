//! Credentials → a session's grant.

use std::sync::Arc;

use super::{AgentService, Method};
use crate::auth::Credentials;
use crate::authority::{Grant, Scope};
use crate::fault::Result;

impl AgentService {
    /// The authority of whose credentials these are, over the tenant's agent.
    pub async fn authenticate(&self, credentials: &Credentials, tenant: Option<&str>) -> Result<Arc<Grant>> {
        let grant = async {
            let identity = self.authenticator.authenticate(credentials).await?;
            let tenant = self.agents.opened_by(&identity, tenant)?;
            Ok(self.authority.root(&identity, Scope::agent(Arc::clone(tenant))))
        };
        self.meters.measure(Method::Authenticate, grant).await
    }

    /// The authority of the anonymous principal, where one is configured.
    pub fn anonymous_grant(&self) -> Option<Arc<Grant>> {
        let identity = self.authenticator.anonymous()?;
        let (tenant, _) = self.agents.find(None).ok()?;
        Some(self.authority.root(identity, Scope::agent(Arc::clone(tenant))))
    }
}
