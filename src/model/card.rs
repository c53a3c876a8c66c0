//! The agent card: what an agent is, what it can do, and where it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fields::{is_blank, is_false, optional, or_default, required, required_list};
use super::{SecurityRequirement, SecurityScheme, Struct};

/// An agent's description of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentCard {
    /// For humans.
    #[serde(deserialize_with = "required")]
    pub name: String,
    /// For humans and for agents that look for help.
    #[serde(deserialize_with = "required")]
    pub description: String,
    /// Where the agent is and what it speaks there: at least one, the preferred one first.
    #[serde(alias = "supported_interfaces", deserialize_with = "required_list")]
    pub supported_interfaces: Vec<AgentInterface>,
    /// Who runs the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<AgentProvider>,
    /// The agent's own version.
    #[serde(deserialize_with = "required")]
    pub version: String,
    /// Where to read more.
    #[serde(default, alias = "documentation_url", skip_serializing_if = "Option::is_none")]
    pub documentation_url: Option<String>,
    /// Which optional parts of the protocol the agent has.
    pub capabilities: AgentCapabilities,
    /// The ways to authenticate, by names of the card's own.
    #[serde(
        default,
        alias = "security_schemes",
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub security_schemes: BTreeMap<String, SecurityScheme>,
    /// What is asked of a caller: any one of these.
    #[serde(
        default,
        alias = "security_requirements",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub security_requirements: Vec<SecurityRequirement>,
    /// The media types that every skill takes, unless it says otherwise: at least one.
    #[serde(alias = "default_input_modes", deserialize_with = "required_list")]
    pub default_input_modes: Vec<String>,
    /// The media types that every skill gives, unless it says otherwise: at least one.
    #[serde(alias = "default_output_modes", deserialize_with = "required_list")]
    pub default_output_modes: Vec<String>,
    /// What the agent can do: at least one skill.
    #[serde(deserialize_with = "required_list")]
    pub skills: Vec<AgentSkill>,
    /// Signatures over the card without them (A2A 1.0.1, 8.4).
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<AgentCardSignature>,
    /// A picture of the agent.
    #[serde(default, alias = "icon_url", skip_serializing_if = "Option::is_none")]
    pub icon_url: Option<String>,
}

impl AgentCard {
    /// A card of an agent that takes and gives plain text. It has no interface yet, which the server adds
    /// since it knows where it listens, and no skill; without both it is not a valid card.
    pub fn new(name: impl Into<String>, description: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            supported_interfaces: Vec::new(),
            provider: None,
            version: version.into(),
            documentation_url: None,
            capabilities: AgentCapabilities::default(),
            security_schemes: BTreeMap::new(),
            security_requirements: Vec::new(),
            default_input_modes: vec!["text/plain".to_owned()],
            default_output_modes: vec!["text/plain".to_owned()],
            skills: Vec::new(),
            signatures: Vec::new(),
            icon_url: None,
        }
    }

    /// Adds a skill.
    #[must_use]
    pub fn with_skill(mut self, skill: AgentSkill) -> Self {
        self.skills.push(skill);
        self
    }

    /// Adds an interface, less preferred than those before it.
    #[must_use]
    pub fn with_interface(mut self, interface: AgentInterface) -> Self {
        self.supported_interfaces.push(interface);
        self
    }
}

/// One place where the agent is, and what it speaks there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentInterface {
    /// The address.
    #[serde(deserialize_with = "required")]
    pub url: String,
    /// `JSONRPC`, `GRPC`, `HTTP+JSON`, or the URI of another binding.
    #[serde(alias = "protocol_binding", deserialize_with = "required")]
    pub protocol_binding: String,
    /// What the client must put in the tenant field of every request.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// The version of A2A: `1.0`.
    #[serde(alias = "protocol_version", deserialize_with = "required")]
    pub protocol_version: String,
}

/// Who runs an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentProvider {
    /// The provider's site.
    #[serde(deserialize_with = "required")]
    pub url: String,
    /// The provider's name.
    #[serde(deserialize_with = "required")]
    pub organization: String,
}

/// Which optional parts of the protocol an agent has; absent is no.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentCapabilities {
    /// Whether answers can be streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming: Option<bool>,
    /// Whether webhooks are called.
    #[serde(default, alias = "push_notifications", skip_serializing_if = "Option::is_none")]
    pub push_notifications: Option<bool>,
    /// The extensions that the agent knows.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<AgentExtension>,
    /// Whether an authenticated caller sees a longer card.
    #[serde(default, alias = "extended_agent_card", skip_serializing_if = "Option::is_none")]
    pub extended_agent_card: Option<bool>,
}

/// An extension of the protocol that an agent knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentExtension {
    /// Which extension.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub uri: Option<String>,
    /// How the agent uses it.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub description: Option<String>,
    /// Whether a client must ask for it.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub required: bool,
    /// Settings, as the extension defines them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Struct>,
}

/// Something that an agent can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentSkill {
    /// Unique in the card.
    #[serde(deserialize_with = "required")]
    pub id: String,
    /// For humans.
    #[serde(deserialize_with = "required")]
    pub name: String,
    /// For humans and for agents that look for help.
    #[serde(deserialize_with = "required")]
    pub description: String,
    /// Keywords: at least one.
    #[serde(deserialize_with = "required_list")]
    pub tags: Vec<String>,
    /// Things to ask.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
    /// The media types that it takes, if not the card's.
    #[serde(
        default,
        alias = "input_modes",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub input_modes: Vec<String>,
    /// The media types that it gives, if not the card's.
    #[serde(
        default,
        alias = "output_modes",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub output_modes: Vec<String>,
    /// What is asked of a caller for this skill: any one of these.
    #[serde(
        default,
        alias = "security_requirements",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub security_requirements: Vec<SecurityRequirement>,
}

impl AgentSkill {
    /// A skill with what every skill needs. The first tag is its id; add more to `tags`.
    pub fn new(id: impl Into<String>, name: impl Into<String>, description: impl Into<String>) -> Self {
        let id = id.into();
        Self {
            tags: vec![id.clone()],
            id,
            name: name.into(),
            description: description.into(),
            examples: Vec::new(),
            input_modes: Vec::new(),
            output_modes: Vec::new(),
            security_requirements: Vec::new(),
        }
    }
}

/// A JSON Web Signature over a card, detached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentCardSignature {
    /// The protected header: JSON in base64url.
    #[serde(deserialize_with = "required")]
    pub protected: String,
    /// The signature in base64url.
    #[serde(deserialize_with = "required")]
    pub signature: String,
    /// The header that is not protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Struct>,
}
