//! Messages, artifacts, and the parts both are made of.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ToV03, kind, list, some_list, some_text, text};
use crate::fault::{Fault, Result};
use crate::model::{self, Id, PartContent, Struct};
use crate::wire::Within as _;

kind!(MessageKind, "message");

/// One turn of a conversation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    #[serde(default)]
    kind: MessageKind,
    message_id: Id,
    role: Role,
    parts: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_task_ids: Option<Cow<'a, [Id]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Cow<'a, [String]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Cow<'a, Struct>>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Agent,
}

/// A result of a task.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact<'a> {
    artifact_id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    parts: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Cow<'a, Struct>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Cow<'a, [String]>>,
}

/// A piece of content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Part<'a> {
    /// Text.
    Text {
        /// The text.
        text: Cow<'a, str>,
        /// Anything else, by extensions.
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<Cow<'a, Struct>>,
    },
    /// Bytes, or the address of some.
    File {
        /// Which.
        file: File<'a>,
        /// Anything else, by extensions.
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<Cow<'a, Struct>>,
    },
    /// A JSON object.
    Data {
        /// The object.
        data: Cow<'a, Struct>,
        /// Anything else, by extensions.
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<Cow<'a, Struct>>,
    },
}

/// What a file part holds: either `bytes` or `uri`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<Cow<'a, str>>,
}

/// Says that an object stands for the value of its one member.
const WRAPPED: &str = "data_part_compat";
/// That member.
const VALUE: &str = "value";

impl<'a> From<&'a model::Message> for Message<'a> {
    fn from(message: &'a model::Message) -> Self {
        Self {
            kind: MessageKind::It,
            message_id: Id::clone(&message.message_id),
            role: match message.role {
                model::Role::User => Role::User,
                model::Role::Agent => Role::Agent,
            },
            parts: message.parts.iter().map(Part::from).collect(),
            context_id: message.context_id.clone(),
            task_id: message.task_id.clone(),
            reference_task_ids: some_list(&message.reference_task_ids),
            extensions: some_list(&message.extensions),
            metadata: message.metadata.as_ref().map(Cow::Borrowed),
        }
    }
}

impl TryFrom<Message<'_>> for model::Message {
    type Error = Fault;

    fn try_from(old: Message<'_>) -> Result<Self> {
        Ok(Self {
            message_id: required("messageId", old.message_id)?,
            context_id: old.context_id.filter(|id| !id.is_empty()),
            task_id: old.task_id.filter(|id| !id.is_empty()),
            role: match old.role {
                Role::User => model::Role::User,
                Role::Agent => model::Role::Agent,
            },
            parts: parts(old.parts)?,
            metadata: old.metadata.map(Cow::into_owned),
            extensions: list(old.extensions),
            reference_task_ids: list(old.reference_task_ids),
        })
    }
}

impl<'a> From<&'a model::Artifact> for Artifact<'a> {
    fn from(artifact: &'a model::Artifact) -> Self {
        Self {
            artifact_id: Id::clone(&artifact.artifact_id),
            name: some_text(&artifact.name),
            description: some_text(&artifact.description),
            parts: artifact.parts.iter().map(Part::from).collect(),
            metadata: artifact.metadata.as_ref().map(Cow::Borrowed),
            extensions: some_list(&artifact.extensions),
        }
    }
}

impl TryFrom<Artifact<'_>> for model::Artifact {
    type Error = Fault;

    fn try_from(old: Artifact<'_>) -> Result<Self> {
        Ok(Self {
            artifact_id: required("artifactId", old.artifact_id)?,
            name: text(old.name),
            description: text(old.description),
            parts: parts(old.parts)?,
            metadata: old.metadata.map(Cow::into_owned),
            extensions: list(old.extensions),
        })
    }
}

impl<'a> From<&'a model::Part> for Part<'a> {
    fn from(part: &'a model::Part) -> Self {
        let metadata = part.metadata.as_ref().map(Cow::Borrowed);
        let file = |bytes, uri| {
            let (name, mime_type) = (some_text(&part.filename), some_text(&part.media_type));
            File { name, mime_type, bytes, uri }
        };
        match &part.content {
            PartContent::Text(text) => Self::Text { text: Cow::Borrowed(text), metadata },
            PartContent::Raw(bytes) => {
                Self::File { file: file(Some(STANDARD.encode(bytes)), None), metadata }
            }
            PartContent::Url(url) => Self::File { file: file(None, Some(Cow::Borrowed(url))), metadata },
            PartContent::Data(Value::Object(data)) => Self::Data { data: Cow::Borrowed(data), metadata },
            PartContent::Data(other) => {
                let mut metadata = metadata.unwrap_or_default().into_owned();
                metadata.insert(WRAPPED.to_owned(), Value::Bool(true));
                let data = Struct::from_iter([(VALUE.to_owned(), other.clone())]);
                Self::Data { data: Cow::Owned(data), metadata: Some(Cow::Owned(metadata)) }
            }
        }
    }
}

impl TryFrom<Part<'_>> for model::Part {
    type Error = Fault;

    fn try_from(old: Part<'_>) -> Result<Self> {
        Ok(match old {
            Part::Text { text, metadata } => {
                Self { metadata: metadata.map(Cow::into_owned), ..Self::text(text) }
            }
            Part::File { file, metadata } => {
                let content = match (file.bytes, file.uri) {
                    (Some(bytes), None) => PartContent::Raw(decoded(&bytes)?.into()),
                    (None, Some(uri)) => PartContent::Url(uri.into_owned()),
                    _ => return Err(Fault::invalid("file", "needs exactly one of bytes, uri")),
                };
                Self {
                    content,
                    metadata: metadata.map(Cow::into_owned),
                    filename: text(file.name),
                    media_type: text(file.mime_type),
                }
            }
            Part::Data { data, metadata } => data_part(data.into_owned(), metadata.map(Cow::into_owned)),
        })
    }
}

fn data_part(mut data: Struct, mut metadata: Option<Struct>) -> model::Part {
    let marked = metadata.as_ref().is_some_and(|metadata| metadata.get(WRAPPED) == Some(&Value::Bool(true)));
    let content = match data.remove(VALUE) {
        Some(value) if marked && data.is_empty() => {
            metadata = metadata.map(|mut metadata| {
                metadata.remove(WRAPPED);
                metadata
            });
            metadata = metadata.filter(|metadata| !metadata.is_empty());
            value
        }
        value => {
            data.extend(value.map(|value| (VALUE.to_owned(), value)));
            Value::Object(data)
        }
    };
    model::Part { metadata, ..model::Part::data(content) }
}

fn parts(old: Vec<Part<'_>>) -> Result<Vec<model::Part>> {
    if old.is_empty() {
        return Err(Fault::invalid("parts", "must have at least one element"));
    }
    let read = old
        .into_iter()
        .enumerate()
        .map(|(index, part)| model::Part::try_from(part).within_element("parts", index));
    read.collect()
}

pub(super) fn required(field: &str, id: Id) -> Result<Id> {
    if id.is_empty() { Err(Fault::invalid(field, "must not be empty")) } else { Ok(id) }
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    EITHER_PADDING.decode(text).map_err(|error| Fault::invalid("file.bytes", format!("not base64: {error}")))
}

const EITHER_PADDING: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl ToV03 for model::Message {
    fn v0_3(&self) -> impl Serialize + '_ {
        Message::from(self)
    }
}
