//! Messages, artifacts, and the parts both are made of.

use bytes::Bytes;

use super::a2a_capnp::{self, artifact, message, part};
use super::codec::{
    Decode, Encode, decode_object, encode_list, encode_texts, json, json_text, known, missing, optional,
    readable, required, required_list, text, texts,
};
use crate::fault::{Fault, Result};
use crate::model::{Artifact, Message, Part, PartContent, Role};

impl From<Role> for a2a_capnp::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Agent => Self::Agent,
        }
    }
}

impl Encode for Message {
    type Owned = message::Owned;

    fn encode(&self, mut builder: message::Builder<'_>) {
        builder.set_message_id(&self.message_id);
        if let Some(context_id) = &self.context_id {
            builder.set_context_id(context_id);
        }
        if let Some(task_id) = &self.task_id {
            builder.set_task_id(task_id);
        }
        builder.set_role(self.role.into());
        encode_list(&self.parts, |n| builder.reborrow().init_parts(n));
        if let Some(metadata) = &self.metadata {
            builder.set_metadata(json_text(metadata));
        }
        encode_texts(&self.extensions, |n| builder.reborrow().init_extensions(n));
        encode_texts(&self.reference_task_ids, |n| builder.reborrow().init_reference_task_ids(n));
    }
}

impl Decode for Message {
    type Owned = message::Owned;

    fn decode(reader: message::Reader<'_>) -> Result<Self> {
        let role = match known("role", reader.get_role())? {
            a2a_capnp::Role::Unspecified => return Err(missing("role")),
            a2a_capnp::Role::User => Role::User,
            a2a_capnp::Role::Agent => Role::Agent,
        };
        Ok(Self {
            message_id: required("messageId", reader.get_message_id())?,
            context_id: optional("contextId", reader.get_context_id())?,
            task_id: optional("taskId", reader.get_task_id())?,
            role,
            parts: required_list("parts", reader.get_parts())?,
            metadata: decode_object("metadata", reader.has_metadata().then(|| reader.get_metadata()))?,
            extensions: texts("extensions", reader.get_extensions())?,
            reference_task_ids: texts("referenceTaskIds", reader.get_reference_task_ids())?,
        })
    }
}

impl Encode for Artifact {
    type Owned = artifact::Owned;

    fn encode(&self, mut builder: artifact::Builder<'_>) {
        builder.set_artifact_id(&self.artifact_id);
        if let Some(name) = &self.name {
            builder.set_name(name);
        }
        if let Some(description) = &self.description {
            builder.set_description(description);
        }
        encode_list(&self.parts, |n| builder.reborrow().init_parts(n));
        if let Some(metadata) = &self.metadata {
            builder.set_metadata(json_text(metadata));
        }
        encode_texts(&self.extensions, |n| builder.reborrow().init_extensions(n));
    }
}

impl Decode for Artifact {
    type Owned = artifact::Owned;

    fn decode(reader: artifact::Reader<'_>) -> Result<Self> {
        Ok(Self {
            artifact_id: required("artifactId", reader.get_artifact_id())?,
            name: optional("name", reader.get_name())?,
            description: optional("description", reader.get_description())?,
            parts: required_list("parts", reader.get_parts())?,
            metadata: decode_object("metadata", reader.has_metadata().then(|| reader.get_metadata()))?,
            extensions: texts("extensions", reader.get_extensions())?,
        })
    }
}

impl Encode for Part {
    type Owned = part::Owned;

    fn encode(&self, mut builder: part::Builder<'_>) {
        let mut content = builder.reborrow().get_content();
        match &self.content {
            PartContent::Text(text) => content.set_text(text),
            PartContent::Raw(bytes) => content.set_raw(bytes),
            PartContent::Url(url) => content.set_url(url),
            PartContent::Data(value) => content.set_data(json_text(value)),
        }
        if let Some(metadata) = &self.metadata {
            builder.set_metadata(json_text(metadata));
        }
        if let Some(filename) = &self.filename {
            builder.set_filename(filename);
        }
        if let Some(media_type) = &self.media_type {
            builder.set_media_type(media_type);
        }
    }
}

impl Decode for Part {
    type Owned = part::Owned;

    fn decode(reader: part::Reader<'_>) -> Result<Self> {
        Ok(Self {
            content: content(reader.get_content())?,
            metadata: decode_object("metadata", reader.has_metadata().then(|| reader.get_metadata()))?,
            filename: optional("filename", reader.get_filename())?,
            media_type: optional("mediaType", reader.get_media_type())?,
        })
    }
}

fn content(reader: part::content::Reader<'_>) -> Result<PartContent> {
    use part::content::Which;
    match known("content", reader.which())? {
        Which::Unset(()) => {
            Err(Fault::invalid("content", "needs exactly one of text, raw, url, data; none is given"))
        }
        Which::Text(value) => Ok(PartContent::Text(text("text", value)?.to_owned())),
        Which::Raw(value) => Ok(PartContent::Raw(Bytes::copy_from_slice(readable("raw", value)?))),
        Which::Url(value) => Ok(PartContent::Url(text("url", value)?.to_owned())),
        Which::Data(value) => Ok(PartContent::Data(json("data", value, "must be a JSON value")?)),
    }
}
