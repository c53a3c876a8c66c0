//! The agent card. It is only written: this program's clients read the new one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::security::SecurityScheme;
use super::{ToV03, VERSION, some_list, some_text};
use crate::model::{self, AgentCardSignature, AgentExtension, AgentProvider, SecurityRequirement};

/// An agent's description of itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentCard<'a> {
    protocol_version: &'static str,
    name: &'a str,
    description: &'a str,
    url: &'a str,
    preferred_transport: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    additional_interfaces: Vec<AgentInterface<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a AgentProvider>,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_url: Option<Cow<'a, str>>,
    capabilities: AgentCapabilities<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    security_schemes: BTreeMap<&'a str, SecurityScheme<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<Vec<Security<'a>>>,
    default_input_modes: &'a [String],
    default_output_modes: &'a [String],
    skills: Vec<AgentSkill<'a>>,
    supports_authenticated_extended_card: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<Cow<'a, [AgentCardSignature]>>,
}

/// Ways to authenticate that are needed together, each with its scopes.
type Security<'a> = BTreeMap<&'a str, &'a [String]>;

/// One place where the agent is, and what it speaks there.
#[derive(Debug, Serialize)]
struct AgentInterface<'a> {
    url: &'a str,
    transport: &'a str,
}

/// Which optional parts of the protocol an agent has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentCapabilities<'a> {
    streaming: bool,
    push_notifications: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Cow<'a, [AgentExtension]>>,
}

/// Something that an agent can do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentSkill<'a> {
    id: &'a str,
    name: &'a str,
    description: &'a str,
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    examples: Option<Cow<'a, [String]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_modes: Option<Cow<'a, [String]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_modes: Option<Cow<'a, [String]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<Vec<Security<'a>>>,
}

impl<'a> From<&'a model::AgentCard> for AgentCard<'a> {
    fn from(card: &'a model::AgentCard) -> Self {
        let interfaces = &card.supported_interfaces;
        let preferred = interfaces.iter().find(|one| one.protocol_version.starts_with(VERSION));
        let preferred = preferred.or(interfaces.first());
        let (url, transport) =
            preferred.map_or(("", ""), |one| (one.url.as_str(), one.protocol_binding.as_str()));
        Self {
            protocol_version: "0.3.0",
            name: &card.name,
            description: &card.description,
            url,
            preferred_transport: transport,
            additional_interfaces: interfaces
                .iter()
                .map(|one| AgentInterface { url: &one.url, transport: &one.protocol_binding })
                .collect(),
            provider: card.provider.as_ref(),
            version: &card.version,
            documentation_url: some_text(&card.documentation_url),
            icon_url: some_text(&card.icon_url),
            capabilities: AgentCapabilities {
                streaming: card.capabilities.streaming == Some(true),
                push_notifications: card.capabilities.push_notifications == Some(true),
                extensions: some_list(&card.capabilities.extensions),
            },
            security_schemes: card
                .security_schemes
                .iter()
                .map(|(name, scheme)| (name.as_str(), SecurityScheme::from(scheme)))
                .collect(),
            security: security(&card.security_requirements),
            default_input_modes: &card.default_input_modes,
            default_output_modes: &card.default_output_modes,
            skills: card.skills.iter().map(AgentSkill::from).collect(),
            supports_authenticated_extended_card: card.capabilities.extended_agent_card == Some(true),
            signatures: some_list(&card.signatures),
        }
    }
}

impl<'a> From<&'a model::AgentSkill> for AgentSkill<'a> {
    fn from(skill: &'a model::AgentSkill) -> Self {
        Self {
            id: &skill.id,
            name: &skill.name,
            description: &skill.description,
            tags: &skill.tags,
            examples: some_list(&skill.examples),
            input_modes: some_list(&skill.input_modes),
            output_modes: some_list(&skill.output_modes),
            security: security(&skill.security_requirements),
        }
    }
}

fn security(requirements: &[SecurityRequirement]) -> Option<Vec<Security<'_>>> {
    let all = requirements.iter().map(|requirement| {
        requirement.schemes.iter().map(|(name, scopes)| (name.as_str(), &scopes.list[..])).collect()
    });
    (!requirements.is_empty()).then(|| all.collect())
}

impl ToV03 for model::AgentCard {
    fn v0_3(&self) -> impl Serialize + '_ {
        AgentCard::from(self)
    }
}
