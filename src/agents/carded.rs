//! An agent whose card a file completes.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::process::{ProcessError, card};
use crate::agent::{Agent, AgentError, Turn, Updates};
use crate::model::{AgentCard, Struct};

/// Another agent, described otherwise.
pub(super) struct Carded {
    agent: Arc<dyn Agent>,
    card: AgentCard,
}

impl Carded {
    /// The agent as it is, but for what the file says of it.
    pub(super) fn new(agent: Arc<dyn Agent>, file: &Path) -> Result<Self, ProcessError> {
        let own = serde_json::to_value(agent.card()).expect("a card is texts, lists and maps of texts");
        let own = own.as_object().cloned().unwrap_or_default();
        let card = completed(own, file)?;
        Ok(Self { agent, card })
    }
}

/// What is known of an agent, completed by a file.
pub(super) fn completed(mut known: Struct, file: &Path) -> Result<AgentCard, ProcessError> {
    card::overlay(&mut known, card::from_file(file)?);
    card::whole(known).map_err(|reason| ProcessError::CardFile { path: file.to_owned(), reason })
}

#[async_trait]
impl Agent for Carded {
    fn card(&self) -> AgentCard {
        self.card.clone()
    }

    fn may_reply_with_message(&self) -> bool {
        self.agent.may_reply_with_message()
    }

    fn reads_inbox(&self) -> bool {
        self.agent.reads_inbox()
    }

    fn can_resume(&self) -> bool {
        self.agent.can_resume()
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        self.agent.execute(turn, updates).await
    }

    async fn stop(&self) {
        self.agent.stop().await;
    }
}
