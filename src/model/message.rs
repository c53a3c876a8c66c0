//! What client and agent say to each other: messages, artifacts, and the parts both are made of.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::fields::{self, ProtoEnum, exactly_one, is_blank, optional, or_default, required, required_list};
use super::{Id, Struct, fresh_id};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The client.
    User = 1,
    /// The agent.
    Agent = 2,
}

impl Role {
    /// Both roles.
    pub const ALL: [Self; 2] = [Self::User, Self::Agent];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "ROLE_USER",
            Self::Agent => "ROLE_AGENT",
        }
    }

    /// The number in the protocol's schema.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The role with this number in the protocol's schema.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }
}

impl ProtoEnum for Role {
    const ALL: &'static [Self] = &Role::ALL;

    fn name(self) -> &'static str {
        Role::name(self)
    }

    fn number(self) -> i32 {
        Role::number(self)
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields::proto_enum(deserializer)
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Made by the sender, unique among its messages; a repeated send is known by it.
    #[serde(alias = "message_id", deserialize_with = "required")]
    pub message_id: Id,
    /// The conversation; the server makes one if neither it nor the task is given.
    #[serde(default, alias = "context_id", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub context_id: Option<Id>,
    /// The task that this message belongs to; absent in the message that opens one.
    #[serde(default, alias = "task_id", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub task_id: Option<Id>,
    /// Who speaks.
    pub role: Role,
    /// What is said: at least one part.
    #[serde(deserialize_with = "required_list")]
    pub parts: Vec<Part>,
    /// Anything else, by extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
    /// URIs of the extensions that are present in this message.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
    /// Other tasks that the message refers to.
    #[serde(
        default,
        alias = "reference_task_ids",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub reference_task_ids: Vec<Id>,
}

impl Message {
    /// A message with a fresh id, outside of any context and task.
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self {
            message_id: fresh_id(),
            context_id: None,
            task_id: None,
            role,
            parts,
            metadata: None,
            extensions: Vec::new(),
            reference_task_ids: Vec::new(),
        }
    }

    /// A text of the client, with a fresh id.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, vec![Part::text(text)])
    }

    /// A text of the agent, with a fresh id.
    pub fn agent(text: impl Into<String>) -> Self {
        Self::new(Role::Agent, vec![Part::text(text)])
    }

    /// Says which task the message belongs to.
    #[must_use]
    pub fn in_task(mut self, task_id: impl Into<Id>) -> Self {
        self.task_id = Some(task_id.into());
        self
    }

    /// Says which conversation the message belongs to.
    #[must_use]
    pub fn in_context(mut self, context_id: impl Into<Id>) -> Self {
        self.context_id = Some(context_id.into());
        self
    }

    /// The text parts, a line break between them; empty if there are none.
    pub fn text(&self) -> Cow<'_, str> {
        joined_text(&self.parts, "\n")
    }
}

/// A result of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Unique in its task.
    #[serde(alias = "artifact_id", deserialize_with = "required")]
    pub artifact_id: Id,
    /// For humans.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub name: Option<String>,
    /// For humans.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub description: Option<String>,
    /// The content: at least one part.
    #[serde(deserialize_with = "required_list")]
    pub parts: Vec<Part>,
    /// Anything else, by extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
    /// URIs of the extensions that are present in this artifact.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
}

impl Artifact {
    /// An artifact with nothing but its id and content.
    pub fn new(artifact_id: impl Into<Id>, parts: Vec<Part>) -> Self {
        Self {
            artifact_id: artifact_id.into(),
            name: None,
            description: None,
            parts,
            metadata: None,
            extensions: Vec::new(),
        }
    }

    /// An artifact of one text.
    pub fn text(artifact_id: impl Into<Id>, text: impl Into<String>) -> Self {
        Self::new(artifact_id, vec![Part::text(text)])
    }

    /// The text parts with nothing between them, since a streamed text comes in arbitrary pieces; empty
    /// if there are none.
    pub fn text_content(&self) -> Cow<'_, str> {
        joined_text(&self.parts, "")
    }
}

fn joined_text<'a>(parts: &'a [Part], separator: &str) -> Cow<'a, str> {
    let mut texts = parts.iter().filter_map(Part::as_text);
    let first = texts.next().unwrap_or_default();
    let Some(second) = texts.next() else { return Cow::Borrowed(first) };
    let mut joined = first.to_owned();
    for text in std::iter::once(second).chain(texts) {
        joined.push_str(separator);
        joined.push_str(text);
    }
    Cow::Owned(joined)
}

/// A piece of content.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "PartMembers")]
pub struct Part {
    /// The content itself.
    pub content: PartContent,
    /// Anything else, by extensions.
    pub metadata: Option<Struct>,
    /// A name for the content if it is kept as a file.
    pub filename: Option<String>,
    /// The media type of the content: `image/png`.
    pub media_type: Option<String>,
}

/// What a part holds. In JSON a member of the part: `text`, `raw`, `url` or `data`.
#[derive(Clone, Debug, PartialEq)]
pub enum PartContent {
    /// Text.
    Text(String),
    /// Bytes; base64 in JSON.
    Raw(Bytes),
    /// The address of content that is elsewhere.
    Url(String),
    /// Any JSON value, `null` included.
    Data(Value),
}

impl Part {
    /// A part with nothing but its content.
    pub fn new(content: PartContent) -> Self {
        Self { content, metadata: None, filename: None, media_type: None }
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(PartContent::Text(text.into()))
    }

    /// A JSON value.
    pub fn data(value: impl Into<Value>) -> Self {
        Self::new(PartContent::Data(value.into()))
    }

    /// Bytes, with their media type.
    pub fn raw(bytes: impl Into<Bytes>, media_type: impl Into<String>) -> Self {
        Self { media_type: Some(media_type.into()), ..Self::new(PartContent::Raw(bytes.into())) }
    }

    /// The address of content, with the media type of what is there.
    pub fn url(url: impl Into<String>, media_type: impl Into<String>) -> Self {
        Self { media_type: Some(media_type.into()), ..Self::new(PartContent::Url(url.into())) }
    }

    /// The text, if that is what the part holds.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            PartContent::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The JSON value, if that is what the part holds.
    pub fn as_data(&self) -> Option<&Value> {
        match &self.content {
            PartContent::Data(value) => Some(value),
            _ => None,
        }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.content {
            PartContent::Text(text) => map.serialize_entry("text", text)?,
            PartContent::Raw(bytes) => map.serialize_entry("raw", &STANDARD.encode(bytes))?,
            PartContent::Url(url) => map.serialize_entry("url", url)?,
            PartContent::Data(value) => map.serialize_entry("data", value)?,
        }
        if let Some(metadata) = &self.metadata {
            map.serialize_entry("metadata", metadata)?;
        }
        if !is_blank(&self.filename) {
            map.serialize_entry("filename", &self.filename)?;
        }
        if !is_blank(&self.media_type) {
            map.serialize_entry("mediaType", &self.media_type)?;
        }
        map.end()
    }
}

/// A part as it stands in JSON, before it is known that it has exactly one content.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartMembers {
    text: Option<String>,
    raw: Option<Base64>,
    url: Option<String>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Value>,
    metadata: Option<Struct>,
    #[serde(default, deserialize_with = "optional")]
    filename: Option<String>,
    #[serde(default, alias = "media_type", deserialize_with = "optional")]
    media_type: Option<String>,
}

/// `null` is a value of `data`, not its absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl TryFrom<PartMembers> for Part {
    type Error = serde::de::value::Error;

    fn try_from(members: PartMembers) -> Result<Self, Self::Error> {
        let PartMembers { text, raw, url, data, metadata, filename, media_type } = members;
        exactly_one(&[
            (text.is_some(), "text"),
            (raw.is_some(), "raw"),
            (url.is_some(), "url"),
            (data.is_some(), "data"),
        ])?;
        let content = match (text, raw, url) {
            (Some(text), _, _) => PartContent::Text(text),
            (_, Some(raw), _) => PartContent::Raw(raw.0),
            (_, _, Some(url)) => PartContent::Url(url),
            (None, None, None) => PartContent::Data(data.unwrap_or_default()),
        };
        Ok(Self { content, metadata, filename, media_type })
    }
}

struct Base64(Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let url_safe = text.contains(['-', '_']);
        let bytes = if url_safe { URL_SAFE.decode(text) } else { STANDARD.decode(text) };
        let bytes = bytes.map_err(|error| serde::de::Error::custom(format!("not base64: {error}")))?;
        Ok(Self(bytes.into()))
    }
}

// Both alphabets are read, with padding or without; the standard one with padding is written.
const BASE64: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::json;

    fn part(json: &str) -> Part {
        json::from_slice(json.as_bytes()).unwrap()
    }

    fn refusal(json: &str) -> String {
        json::from_slice::<Part>(json.as_bytes()).unwrap_err().message().to_owned()
    }

    #[test]
    fn null_is_a_value_of_data_but_not_of_the_other_contents() {
        assert_eq!(part(r#"{"data":null}"#), Part::data(Value::Null));
        assert_eq!(serde_json::to_string(&Part::data(Value::Null)).unwrap(), r#"{"data":null}"#);
        assert_eq!(part(r#"{"text":null,"raw":null,"url":"u"}"#).content, PartContent::Url("u".into()));
    }

    #[test]
    fn a_part_without_content_is_refused_and_told_the_choices() {
        let wanted = "needs exactly one of text, raw, url, data; none is given";
        assert!(refusal(r#"{"mediaType":"text/plain"}"#).contains(wanted));
        assert!(refusal(r#"{"text":null}"#).contains(wanted));
    }

    #[test]
    fn a_part_with_two_contents_is_refused_and_told_which() {
        let wanted = "needs exactly one of text, raw, url, data; given are text, data";
        assert!(refusal(r#"{"text":"a","data":null}"#).contains(wanted));
    }

    #[test]
    fn bytes_are_read_in_both_alphabets_padded_or_not_and_written_in_the_standard_one() {
        let bytes = Bytes::from_static(&[0xfb, 0xff, 0xfe, 0x01]);
        for text in ["+//+AQ==", "+//+AQ", "-__-AQ==", "-__-AQ"] {
            assert_eq!(
                part(&format!(r#"{{"raw":"{text}"}}"#)).content,
                PartContent::Raw(bytes.clone()),
                "{text}"
            );
        }
        let written = serde_json::to_value(Part::raw(bytes, "a/b")).unwrap();
        assert_eq!(written, json!({"raw": "+//+AQ==", "mediaType": "a/b"}));
    }

    #[test]
    fn what_is_not_base64_is_refused_at_its_path() {
        for text in ["%", "A", "+_==", "AB=", "AB"] {
            let fault = json::from_slice::<Part>(format!(r#"{{"raw":"{text}"}}"#).as_bytes()).unwrap_err();
            assert_eq!(fault.violations()[0].field, "raw", "{text}");
        }
    }

    #[test]
    fn the_texts_of_a_message_stand_on_lines_and_those_of_an_artifact_join_up() {
        let parts = vec![Part::text("a"), Part::data(1), Part::text("b")];
        assert_eq!(Message::new(Role::User, parts.clone()).text(), "a\nb");
        assert_eq!(Artifact::new("x", parts).text_content(), "ab");
        assert_eq!(Message::new(Role::User, vec![Part::data(1)]).text(), "");
    }

    #[test]
    fn fresh_messages_have_ids_of_their_own_that_sort_by_time() {
        let ids = [(); 100].map(|()| Message::user("hi").message_id);
        assert!(ids.is_sorted_by(|earlier, later| earlier < later));
    }
}
