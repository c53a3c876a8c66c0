//! The JSON of A2A 0.3, which some clients still speak: the model's words in the old shapes, and back.
//!
//! Everything that is old stands here; the rest of the program knows A2A 1.0 only. Writing borrows from the model and
//! cannot fail: [`ToV03::v0_3`]. Reading is serde, then `TryFrom` into the model with a
//! [`Fault`](crate::fault::Fault) that names the field.
//!
//! The old protocol has no place for some of what the new one says, and that is left out when it is written: the
//! tenant, the media type and file name of text and data parts, and a push configuration's tenant. What it can say in
//! another way is not lost: data that is no object travels as `{"value": …}` beside the metadata
//! `"data_part_compat": true`, as A2A's own SDKs do it.

mod card;
mod message;
mod push;
mod request;
mod security;
mod task;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::Serialize;

pub use card::AgentCard;
pub use message::{Artifact, Message, Part};
pub use push::{PushNotificationConfig, TaskPushNotificationConfig};
pub use request::{ListTasksRequest, MessageSendConfiguration};
pub use task::{
    SendMessageResult, Task, TaskArtifactUpdateEvent, TaskStatus, TaskStatusUpdateEvent, state_from_name,
};

/// The version, as clients name it.
pub const VERSION: &str = "0.3";

/// What has a form in A2A 0.3.
pub trait ToV03 {
    /// That form, for serde.
    fn v0_3(&self) -> impl Serialize + '_;
}

/// An optional list: an empty one is absent.
fn some_list<T: Clone>(list: &[T]) -> Option<Cow<'_, [T]>> {
    (!list.is_empty()).then_some(Cow::Borrowed(list))
}

/// An optional text: an empty one is absent.
fn some_text(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().filter(|text| !text.is_empty()).map(Cow::Borrowed)
}

/// An optional list, as the model has it.
fn list<T: Clone>(list: Option<Cow<'_, [T]>>) -> Vec<T> {
    list.map(Cow::into_owned).unwrap_or_default()
}

/// An optional text, as the model has it.
fn text(text: Option<Cow<'_, str>>) -> Option<String> {
    text.map(Cow::into_owned).filter(|text| !text.is_empty())
}

/// A member `kind` that says which of the old protocol's types an object is. Who leaves it out is believed.
macro_rules! kind {
    ($name:ident, $text:literal) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub(super) enum $name {
            #[default]
            #[serde(rename = $text)]
            It,
        }
    };
}
use kind;
