//! Credentials → a session's grant.

use std::sync::Arc;

use super::{AgentService, Method};
use crate::auth::Credentials;
use crate::authority::{Grant, Scope};
use crate::fault::Result;
use crate::model::ServiceParameters;
use crate::trace::End;

impl AgentService {
    /// The authority of whose credentials these are, over the tenant's agent.
    pub async fn authenticate(&self, credentials: &Credentials, tenant: Option<&str>) -> Result<Arc<Grant>> {
        self.authenticate_in(credentials, tenant, &ServiceParameters::new()).await
    }

    /// The same, in the trace that the parameters name.
    pub async fn authenticate_in(
        &self,
        credentials: &Credentials,
        tenant: Option<&str>,
        parameters: &ServiceParameters,
    ) -> Result<Arc<Grant>> {
        let method = Method::Authenticate;
        let span = self.engine.tracer().call(End::Server, method.name(), parameters);
        let grant = async {
            let identity = self.authenticator.authenticate(credentials).await?;
            let tenant = self.agents.opened_by(&identity, tenant)?;
            span.agent(tenant);
            Ok(self.authority.root(&identity, Scope::agent(Arc::clone(tenant))))
        };
        self.meters.measure(method, &span, grant).await
    }

    /// The authority of the anonymous principal, where one is configured.
    pub fn anonymous_grant(&self) -> Option<Arc<Grant>> {
        let identity = self.authenticator.anonymous()?;
        let (tenant, _) = self.agents.find(None).ok()?;
        Some(self.authority.root(identity, Scope::agent(Arc::clone(tenant))))
    }
}
