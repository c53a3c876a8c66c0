//! The agent card. Maps are lists of named entries here, and no name may come twice.

use std::collections::BTreeMap;

use capnp::struct_list;

use super::a2a_capnp::{
    agent_capabilities, agent_card, agent_card_signature, agent_extension, agent_interface, agent_provider,
    agent_skill, named_security_scheme, security_requirement,
};
use super::codec::{
    Decode, Encode, Within, decode_object, encode_list, encode_texts, flag, json_text, list, map_length,
    nullable, optional, optional_flag, optional_struct, readable, required, required_list, required_struct,
    required_texts, short_list, text, texts, unique,
};
use crate::fault::Result;
use crate::model::{
    AgentCapabilities, AgentCard, AgentCardSignature, AgentExtension, AgentInterface, AgentProvider,
    AgentSkill, SecurityRequirement, SecurityScheme, StringList,
};

impl Encode for AgentCard {
    type Owned = agent_card::Owned;

    fn encode(&self, mut builder: agent_card::Builder<'_>) {
        builder.set_name(&self.name);
        builder.set_description(&self.description);
        encode_list(&self.supported_interfaces, |n| builder.reborrow().init_supported_interfaces(n));
        if let Some(provider) = &self.provider {
            provider.encode(builder.reborrow().init_provider());
        }
        builder.set_version(&self.version);
        if let Some(documentation_url) = &self.documentation_url {
            builder.set_documentation_url(documentation_url);
        }
        self.capabilities.encode(builder.reborrow().init_capabilities());
        if !self.security_schemes.is_empty() {
            let count = map_length(&self.security_schemes);
            let mut list = builder.reborrow().init_security_schemes(count);
            for (index, (name, scheme)) in (0..).zip(&self.security_schemes) {
                let mut named = list.reborrow().get(index);
                named.set_name(name);
                scheme.encode(named.init_scheme());
            }
        }
        encode_list(&self.security_requirements, |n| builder.reborrow().init_security_requirements(n));
        encode_texts(&self.default_input_modes, |n| builder.reborrow().init_default_input_modes(n));
        encode_texts(&self.default_output_modes, |n| builder.reborrow().init_default_output_modes(n));
        encode_list(&self.skills, |n| builder.reborrow().init_skills(n));
        encode_list(&self.signatures, |n| builder.reborrow().init_signatures(n));
        if let Some(icon_url) = &self.icon_url {
            builder.set_icon_url(icon_url);
        }
    }
}

impl Decode for AgentCard {
    type Owned = agent_card::Owned;

    fn decode(reader: agent_card::Reader<'_>) -> Result<Self> {
        let provider = reader.has_provider().then(|| reader.get_provider());
        let documentation_url = reader.has_documentation_url().then(|| reader.get_documentation_url());
        let capabilities = reader.has_capabilities().then(|| reader.get_capabilities());
        let security_requirements = reader.get_security_requirements();
        let icon_url = reader.has_icon_url().then(|| reader.get_icon_url());
        Ok(Self {
            name: required("name", reader.get_name())?,
            description: required("description", reader.get_description())?,
            supported_interfaces: required_list("supportedInterfaces", reader.get_supported_interfaces())?,
            provider: optional_struct("provider", provider)?,
            version: required("version", reader.get_version())?,
            documentation_url: nullable("documentationUrl", documentation_url)?,
            capabilities: required_struct("capabilities", capabilities)?,
            security_schemes: security_schemes(reader.get_security_schemes())?,
            security_requirements: short_list("securityRequirements", security_requirements)?,
            default_input_modes: required_texts("defaultInputModes", reader.get_default_input_modes())?,
            default_output_modes: required_texts("defaultOutputModes", reader.get_default_output_modes())?,
            skills: required_list("skills", reader.get_skills())?,
            signatures: list("signatures", reader.get_signatures())?,
            icon_url: nullable("iconUrl", icon_url)?,
        })
    }
}

fn security_schemes(
    list: capnp::Result<struct_list::Reader<'_, named_security_scheme::Owned>>,
) -> Result<BTreeMap<String, SecurityScheme>> {
    let field = "securitySchemes";
    let mut schemes = BTreeMap::new();
    for (index, named) in readable(field, list)?.iter().enumerate() {
        let mut entry = || {
            let name = text("name", named.get_name())?;
            let scheme = required_struct("scheme", named.has_scheme().then(|| named.get_scheme()))?;
            unique("name", &mut schemes, name, scheme)
        };
        entry().within_element(field, index)?;
    }
    Ok(schemes)
}

impl Encode for AgentInterface {
    type Owned = agent_interface::Owned;

    fn encode(&self, mut builder: agent_interface::Builder<'_>) {
        builder.set_url(&self.url);
        builder.set_protocol_binding(&self.protocol_binding);
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        builder.set_protocol_version(&self.protocol_version);
    }
}

impl Decode for AgentInterface {
    type Owned = agent_interface::Owned;

    fn decode(reader: agent_interface::Reader<'_>) -> Result<Self> {
        Ok(Self {
            url: required("url", reader.get_url())?,
            protocol_binding: required("protocolBinding", reader.get_protocol_binding())?,
            tenant: optional("tenant", reader.get_tenant())?,
            protocol_version: required("protocolVersion", reader.get_protocol_version())?,
        })
    }
}

impl Encode for AgentProvider {
    type Owned = agent_provider::Owned;

    fn encode(&self, mut builder: agent_provider::Builder<'_>) {
        builder.set_url(&self.url);
        builder.set_organization(&self.organization);
    }
}

impl Decode for AgentProvider {
    type Owned = agent_provider::Owned;

    fn decode(reader: agent_provider::Reader<'_>) -> Result<Self> {
        Ok(Self {
            url: required("url", reader.get_url())?,
            organization: required("organization", reader.get_organization())?,
        })
    }
}

impl Encode for AgentCapabilities {
    type Owned = agent_capabilities::Owned;

    fn encode(&self, mut builder: agent_capabilities::Builder<'_>) {
        builder.set_streaming(flag(self.streaming));
        builder.set_push_notifications(flag(self.push_notifications));
        encode_list(&self.extensions, |n| builder.reborrow().init_extensions(n));
        builder.set_extended_agent_card(flag(self.extended_agent_card));
    }
}

impl Decode for AgentCapabilities {
    type Owned = agent_capabilities::Owned;

    fn decode(reader: agent_capabilities::Reader<'_>) -> Result<Self> {
        Ok(Self {
            streaming: optional_flag("streaming", reader.get_streaming())?,
            push_notifications: optional_flag("pushNotifications", reader.get_push_notifications())?,
            extensions: short_list("extensions", reader.get_extensions())?,
            extended_agent_card: optional_flag("extendedAgentCard", reader.get_extended_agent_card())?,
        })
    }
}

impl Encode for AgentExtension {
    type Owned = agent_extension::Owned;

    fn encode(&self, mut builder: agent_extension::Builder<'_>) {
        if let Some(uri) = &self.uri {
            builder.set_uri(uri);
        }
        if let Some(description) = &self.description {
            builder.set_description(description);
        }
        builder.set_required(self.required);
        if let Some(params) = &self.params {
            builder.set_params(json_text(params));
        }
    }
}

impl Decode for AgentExtension {
    type Owned = agent_extension::Owned;

    fn decode(reader: agent_extension::Reader<'_>) -> Result<Self> {
        Ok(Self {
            uri: optional("uri", reader.get_uri())?,
            description: optional("description", reader.get_description())?,
            required: reader.get_required(),
            params: decode_object("params", reader.has_params().then(|| reader.get_params()))?,
        })
    }
}

impl Encode for AgentSkill {
    type Owned = agent_skill::Owned;

    fn encode(&self, mut builder: agent_skill::Builder<'_>) {
        builder.set_id(&self.id);
        builder.set_name(&self.name);
        builder.set_description(&self.description);
        encode_texts(&self.tags, |n| builder.reborrow().init_tags(n));
        encode_texts(&self.examples, |n| builder.reborrow().init_examples(n));
        encode_texts(&self.input_modes, |n| builder.reborrow().init_input_modes(n));
        encode_texts(&self.output_modes, |n| builder.reborrow().init_output_modes(n));
        encode_list(&self.security_requirements, |n| builder.reborrow().init_security_requirements(n));
    }
}

impl Decode for AgentSkill {
    type Owned = agent_skill::Owned;

    fn decode(reader: agent_skill::Reader<'_>) -> Result<Self> {
        let security_requirements = reader.get_security_requirements();
        Ok(Self {
            id: required("id", reader.get_id())?,
            name: required("name", reader.get_name())?,
            description: required("description", reader.get_description())?,
            tags: required_texts("tags", reader.get_tags())?,
            examples: texts("examples", reader.get_examples())?,
            input_modes: texts("inputModes", reader.get_input_modes())?,
            output_modes: texts("outputModes", reader.get_output_modes())?,
            security_requirements: short_list("securityRequirements", security_requirements)?,
        })
    }
}

impl Encode for AgentCardSignature {
    type Owned = agent_card_signature::Owned;

    fn encode(&self, mut builder: agent_card_signature::Builder<'_>) {
        builder.set_protected(&self.protected);
        builder.set_signature(&self.signature);
        if let Some(header) = &self.header {
            builder.set_header(json_text(header));
        }
    }
}

impl Decode for AgentCardSignature {
    type Owned = agent_card_signature::Owned;

    fn decode(reader: agent_card_signature::Reader<'_>) -> Result<Self> {
        Ok(Self {
            protected: required("protected", reader.get_protected())?,
            signature: required("signature", reader.get_signature())?,
            header: decode_object("header", reader.has_header().then(|| reader.get_header()))?,
        })
    }
}

impl Encode for SecurityRequirement {
    type Owned = security_requirement::Owned;

    fn encode(&self, builder: security_requirement::Builder<'_>) {
        if self.schemes.is_empty() {
            return;
        }
        let mut list = builder.init_schemes(map_length(&self.schemes));
        for (index, (name, scopes)) in (0..).zip(&self.schemes) {
            let mut scheme = list.reborrow().get(index);
            scheme.set_name(name);
            encode_texts(&scopes.list, |n| scheme.init_scopes(n));
        }
    }
}

impl Decode for SecurityRequirement {
    type Owned = security_requirement::Owned;

    fn decode(reader: security_requirement::Reader<'_>) -> Result<Self> {
        let mut schemes = BTreeMap::new();
        for (index, scheme) in readable("schemes", reader.get_schemes())?.iter().enumerate() {
            let mut entry = || {
                let name = text("name", scheme.get_name())?;
                let list = texts("scopes", scheme.get_scopes())?;
                unique("name", &mut schemes, name, StringList { list })
            };
            entry().within_element("schemes", index)?;
        }
        Ok(Self { schemes })
    }
}
