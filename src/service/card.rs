//! Agent cards.

use super::AgentService;
use crate::authority::Permission;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::AgentCard;
use crate::operations::{Caller, unsupported};

impl AgentService {
    /// The public card of the tenant's agent.
    pub fn card(&self, tenant: Option<&str>) -> Result<AgentCard> {
        let (tenant, _) = self.agents.find(tenant)?;
        self.agents.card(tenant).map(|card| (*card).clone())
    }

    pub(super) fn extended_card(&self, caller: &Caller) -> Result<AgentCard> {
        let _pass = self.check(caller, Permission::ExtendedCard)?;
        let card = self.agents.card(caller.grant.scope().tenant())?;
        if card.capabilities.extended_agent_card != Some(true) {
            return Err(unsupported("an extended agent card"));
        }
        let message = "the card declares an extended card, but none is configured";
        Err(Fault::new(FaultKind::ExtendedAgentCardNotConfigured, message))
    }
}
