//! The echo agent: says what it hears.

use async_trait::async_trait;

use crate::agent::{Agent, AgentError, Chunk, Output, Turn, Updates};
use crate::model::{AgentCapabilities, AgentCard, AgentSkill, Artifact, Part, PartContent};

/// Answers `Echo: <text>` in an artifact, with all other parts and the message's metadata as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

#[async_trait]
impl Agent for Echo {
    fn card(&self) -> AgentCard {
        let mut skill = AgentSkill::new("echo", "Echo", "Says what it hears: text, files and data.");
        skill.examples = vec!["hello".to_owned()];
        let mut card = AgentCard::new("Echo", "An agent that says what it hears.", env!("CARGO_PKG_VERSION"));
        card.skills.push(skill);
        card.default_input_modes.push("*/*".to_owned());
        card.default_output_modes.push("*/*".to_owned());
        card.capabilities = AgentCapabilities { streaming: Some(true), ..AgentCapabilities::default() };
        card
    }

    /// Saying it again changes nothing: the artifact is replaced.
    fn can_resume(&self) -> bool {
        true
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        updates.working().await?;
        let message = &turn.message;
        let mut parts = message.parts.clone();
        let first_text = parts.iter_mut().find_map(|part| match &mut part.content {
            PartContent::Text(text) => Some(text),
            _ => None,
        });
        match first_text {
            Some(text) => text.insert_str(0, "Echo: "),
            None => parts.insert(0, Part::text("Echo: ")),
        }
        let mut artifact = Artifact::new("echo", parts);
        artifact.name = Some("echo".to_owned());
        artifact.metadata = message.metadata.clone();
        artifact.extensions = message.extensions.clone();
        updates.emit(Output::Artifact(Chunk { artifact, append: false, last: true, metadata: None })).await?;
        updates.complete().await?;
        Ok(())
    }
}
