//! A task's numbered events: what its log consists of and what every subscriber sees.

use std::sync::Arc;

use super::{Id, Message, StreamResponse, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent};

/// One event of one task. Shared behind an `Arc` by the log, the feeds and the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// 1, 2, 3, … for each task, without gap or repeat.
    pub seq: u64,
    /// What changed.
    pub update: Update,
    /// The client's message that caused this event and is logged with it. It has no number of its own and
    /// is not shown to subscribers; it stands in the task's history.
    pub cause: Option<Arc<Message>>,
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
        self.update.approximate_size() + self.cause.as_deref().map_or(0, Message::approximate_size)
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
