//! The agents of a server, by tenant.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::agent::Agent;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{AgentCard, AgentInterface};

/// The tenant that a caller gets who names none.
pub const DEFAULT_TENANT: &str = "default";

/// The agents of a server. A tenant selects one.
#[derive(Default)]
pub struct Agents(BTreeMap<Arc<str>, Entry>);

struct Entry {
    agent: Arc<dyn Agent>,
    own: AgentCard,
    published: OnceLock<Arc<AgentCard>>,
}

impl Agents {
    /// No agents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an agent, or replaces the tenant's.
    pub fn insert(&mut self, tenant: &str, agent: Arc<dyn Agent>) {
        let entry = Entry { own: agent.card(), agent, published: OnceLock::new() };
        self.0.insert(Arc::from(tenant), entry);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Completes the cards with what only the server knows: under which interfaces it can be reached, and
    /// what it takes to authenticate. Without effect after the first time.
    pub fn publish(&self, complete: impl Fn(&str, AgentCard) -> AgentCard) {
        for (tenant, entry) in &self.0 {
            entry.published.get_or_init(|| Arc::new(complete(tenant, entry.own.clone())));
        }
    }

    /// The tenant's name and agent; the default one's without a tenant.
    pub fn find(&self, tenant: Option<&str>) -> Result<(&Arc<str>, &Arc<dyn Agent>)> {
        self.entry(tenant.unwrap_or(DEFAULT_TENANT)).map(|(name, entry)| (name, &entry.agent))
    }

    /// The agents by tenant.
    pub fn iter(&self) -> impl Iterator<Item = (Arc<str>, Arc<dyn Agent>)> {
        self.0.iter().map(|(tenant, entry)| (Arc::clone(tenant), Arc::clone(&entry.agent)))
    }

    /// The card for callers who name no tenant: the default agent's, else the first one's.
    pub fn default_card(&self) -> Option<Arc<AgentCard>> {
        let entry = self.0.get(DEFAULT_TENANT).or_else(|| self.0.values().next())?;
        entry.published.get().cloned()
    }

    /// The card of the tenant's agent.
    pub fn card(&self, tenant: &str) -> Result<Arc<AgentCard>> {
        let (_, entry) = self.entry(tenant)?;
        Ok(entry.published.get().cloned().unwrap_or_else(|| Arc::new(entry.own.clone())))
    }

    /// Whether a call without service parameters has to be looked at.
    pub fn any_requires_extensions(&self) -> bool {
        let required = |entry: &Entry| entry.own.capabilities.extensions.iter().any(|one| one.required);
        self.0.values().any(required)
    }

    fn entry(&self, tenant: &str) -> Result<(&Arc<str>, &Entry)> {
        self.0.get_key_value(tenant).ok_or_else(|| {
            let message =
                format!("no agent is called {:?} here", tenant.chars().take(64).collect::<String>());
            Fault::new(FaultKind::InvalidParams, message)
        })
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One interface of a card.
pub fn interface(url: String, binding: &str, tenant: &str) -> AgentInterface {
    AgentInterface {
        url,
        protocol_binding: binding.to_owned(),
        tenant: (tenant != DEFAULT_TENANT).then(|| tenant.to_owned()),
        protocol_version: super::VERSIONS[0].to_owned(),
    }
}
