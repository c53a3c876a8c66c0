//! A task's numbered events: what its log consists of and what every subscriber sees.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Id, Message, ServiceParameters, StreamResponse, Struct, TaskArtifactUpdateEvent, TaskState,
    TaskStatusUpdateEvent,
};

/// One event of one task. Shared behind an `Arc` by the log, the feeds and the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// 1, 2, 3, … for each task, without gap or repeat.
    pub seq: u64,
    /// What changed.
    pub update: Update,
    /// What a client said that caused this event; it is logged with it. It has no number of its own and
    /// is not shown to subscribers; its message stands in the task's history.
    pub cause: Option<Arc<Cause>>,
}

/// A client's message with all that its turn was told, so that a turn cut short can be given to its agent
/// again. The serde form is what the log keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// What the client said.
    pub message: Arc<Message>,
    /// The principal that spoke; empty for an anonymous one.
    #[serde(default)]
    pub subject: Arc<str>,
    /// The service parameters of the call.
    #[serde(default)]
    pub parameters: Arc<ServiceParameters>,
    /// The metadata of the request, beside the message's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
    /// The media types that the client can take; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_output_modes: Vec<String>,
    /// How long the caller lets the turn run, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_timeout_ms: Option<u64>,
}

impl Cause {
    /// A message and nothing else.
    pub fn of(message: Message) -> Self {
        Self {
            message: Arc::new(message),
            subject: Arc::from(""),
            parameters: Arc::default(),
            metadata: None,
            accepted_output_modes: Vec::new(),
            turn_timeout_ms: None,
        }
    }
}

/// The change that an event carries, as A2A spells it.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The task's status is now this.
    Status(TaskStatusUpdateEvent),
    /// An artifact is new, or has grown.
    Artifact(TaskArtifactUpdateEvent),
}

impl Event {
    /// The state that the task is in after this event, if the event says so.
    pub fn state(&self) -> Option<TaskState> {
        self.update.state()
    }

    /// About how many bytes it holds, for bounds. Walks the content.
    pub fn approximate_size(&self) -> usize {
        self.update.approximate_size()
            + self.cause.as_ref().map_or(0, |cause| cause.message.approximate_size())
    }
}

impl Update {
    /// The task that this is about.
    pub fn task_id(&self) -> &Id {
        match self {
            Self::Status(update) => &update.task_id,
            Self::Artifact(update) => &update.task_id,
        }
    }

    /// The context of the task that this is about.
    pub fn context_id(&self) -> &Id {
        match self {
            Self::Status(update) => &update.context_id,
            Self::Artifact(update) => &update.context_id,
        }
    }

    /// The state that the task is in afterwards, if this changes it.
    pub fn state(&self) -> Option<TaskState> {
        match self {
            Self::Status(update) => Some(update.status.state),
            Self::Artifact(_) => None,
        }
    }
}

impl From<Update> for StreamResponse {
    fn from(update: Update) -> Self {
        match update {
            Update::Status(update) => Self::StatusUpdate(update),
            Update::Artifact(update) => Self::ArtifactUpdate(update),
        }
    }
}
