//! `a2a-webcap card`.

use std::collections::HashSet;

use clap::{Args, Subcommand};
use serde_json::json;

use super::error::CliError;
use super::output::Output;
use super::reach::{self, Reach};
use super::{Global, text};
use crate::model::AgentCard;

#[derive(Debug, Subcommand)]
pub(super) enum CardCommand {
    /// Show an agent's card
    Get(Get),
    /// Say whether an agent's card is as A2A wants it
    Validate,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The card that only authenticated callers see
    #[arg(long)]
    extended: bool,

    /// Fail if the card is not as A2A wants it
    #[arg(long)]
    validate: bool,
}

impl CardCommand {
    pub(super) async fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Get(Get { extended: true, .. }) => {
                let reach = Reach::connect(global, output).await?;
                let card = reach.answer(reach.client.extended_agent_card()).await;
                reach.close().await;
                let card = card?;
                Ok(output.document(&card, || text::card(&card))?)
            }
            Self::Get(Get { validate, .. }) => {
                let (card, document) = public(global, output).await?;
                if validate {
                    refuse_unless_sound(&card)?;
                }
                Ok(output.document(&document, || text::card(&card))?)
            }
            Self::Validate => {
                let (card, _) = public(global, output).await?;
                refuse_unless_sound(&card)?;
                let text = || format!("Valid: yes\nName: {}\n", text::one_line(&card.name));
                Ok(output.document(&json!({ "valid": true }), text)?)
            }
        }
    }
}

/// The card that everybody sees, and how it is written.
async fn public(global: &Global, output: &mut Output) -> Result<(AgentCard, serde_json::Value), CliError> {
    if let (_, Some(found)) = reach::card(global).await? {
        return Ok((found.card, found.document));
    }
    let reach = Reach::connect(global, output).await?;
    let card = reach.answer(reach.client.agent_card()).await;
    reach.close().await;
    let card = card?;
    let document = serde_json::to_value(&card).map_err(|error| CliError::internal(error.to_string()))?;
    Ok((card, document))
}

fn refuse_unless_sound(card: &AgentCard) -> Result<(), CliError> {
    let problems = problems(card);
    if problems.is_empty() { Ok(()) } else { Err(CliError::card_invalid(problems.join("; "))) }
}

/// What is wrong with a card that could be read: its required fields are there.
fn problems(card: &AgentCard) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, interface) in card.supported_interfaces.iter().enumerate() {
        let place = format!("supportedInterfaces[{index}]");
        if !interface.url.contains("://") {
            problems.push(format!("{place}.url is not absolute: {:?}", interface.url));
        }
        let (major, minor) = interface.protocol_version.split_once('.').unwrap_or_default();
        if [major, minor].iter().any(|part| part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit())) {
            let version = &interface.protocol_version;
            problems.push(format!("{place}.protocolVersion is no MAJOR.MINOR: {version:?}"));
        }
    }
    let mut ids = HashSet::new();
    for (index, skill) in card.skills.iter().enumerate() {
        if !ids.insert(&skill.id) {
            problems.push(format!("skills[{index}].id is there twice: {:?}", skill.id));
        }
    }
    for (index, requirement) in card.security_requirements.iter().enumerate() {
        for name in requirement.schemes.keys().filter(|name| !card.security_schemes.contains_key(*name)) {
            problems
                .push(format!("securityRequirements[{index}] names {name:?}, which is no security scheme"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AgentSkill;
    use crate::service::interface;

    #[test]
    fn a_card_is_told_everything_that_is_wrong_with_it_by_place() {
        let skill = || AgentSkill::new("s", "s", "s");
        let mut card = AgentCard::new("a", "b", "1").with_skill(skill());
        card.supported_interfaces = vec![interface("http://h/capnp".to_owned(), "JSONRPC", "")];
        assert_eq!(problems(&card), [""; 0]);
        card.skills.push(skill());
        card.supported_interfaces[0].url = "h:80".to_owned();
        card.supported_interfaces[0].protocol_version = "one".to_owned();
        let found = problems(&card);
        for (found, place) in found.iter().zip([
            "supportedInterfaces[0].url",
            "supportedInterfaces[0].protocolVersion",
            "skills[1].id",
        ]) {
            assert!(found.starts_with(place), "{found}");
        }
        assert_eq!(found.len(), 3);
    }
}
