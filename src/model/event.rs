//! A task's numbered events: what its log consists of and what every subscriber sees.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Artifact, Id, Message, Part, PartContent, StreamResponse, Struct, TaskArtifactUpdateEvent, TaskState,
    TaskStatusUpdateEvent,
};

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

    /// About how many bytes it holds, for bounds. Walks the content.
    pub fn approximate_size(&self) -> usize {
        let (content, metadata) = match self {
            Self::Status(update) => {
                (update.status.message.as_ref().map_or(0, Message::approximate_size), &update.metadata)
            }
            Self::Artifact(update) => (artifact_size(&update.artifact), &update.metadata),
        };
        FIXED + self.task_id().len() + self.context_id().len() + content + struct_size(metadata)
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

impl Message {
    /// About how many bytes it holds, for bounds. Walks the content.
    pub fn approximate_size(&self) -> usize {
        let ids = self.message_id.len() + self.reference_task_ids.iter().map(|id| id.len()).sum::<usize>();
        let extensions: usize = self.extensions.iter().map(String::len).sum();
        FIXED + ids + extensions + parts_size(&self.parts) + struct_size(&self.metadata)
    }
}

fn artifact_size(artifact: &Artifact) -> usize {
    let named = text_size(&artifact.name) + text_size(&artifact.description);
    let extensions: usize = artifact.extensions.iter().map(String::len).sum();
    artifact.artifact_id.len()
        + named
        + extensions
        + parts_size(&artifact.parts)
        + struct_size(&artifact.metadata)
}

fn parts_size(parts: &[Part]) -> usize {
    parts.iter().map(part_size).sum()
}

fn part_size(part: &Part) -> usize {
    let content = match &part.content {
        PartContent::Text(text) | PartContent::Url(text) => text.len(),
        PartContent::Raw(bytes) => bytes.len(),
        PartContent::Data(value) => value_size(value),
    };
    FIXED + content + struct_size(&part.metadata) + text_size(&part.filename) + text_size(&part.media_type)
}

fn text_size(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

fn struct_size(members: &Option<Struct>) -> usize {
    members.as_ref().map_or(0, members_size)
}

fn members_size(members: &Struct) -> usize {
    members.iter().map(|(name, value)| FIXED + name.len() + value_size(value)).sum()
}

/// Recursion is bounded where the value came in: 128 levels of JSON.
fn value_size(value: &Value) -> usize {
    FIXED
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(value_size).sum(),
            Value::Object(members) => members_size(members),
        }
}

/// What an element costs beside its content.
const FIXED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskStatus;

    #[test]
    fn the_size_follows_the_content() {
        let chunk = |text: &str| {
            let artifact = Artifact::text("a", text);
            let event = TaskArtifactUpdateEvent {
                task_id: "t".into(),
                context_id: "c".into(),
                artifact,
                append: true,
                last_chunk: false,
                metadata: None,
            };
            Event { seq: 1, update: Update::Artifact(event), cause: None }
        };
        assert_eq!(chunk(&"x".repeat(1_000)).approximate_size() - chunk("").approximate_size(), 1_000);
        assert_eq!(chunk("").state(), None);
    }

    #[test]
    fn the_cause_counts_too() {
        let status = TaskStatusUpdateEvent {
            task_id: "t".into(),
            context_id: "c".into(),
            status: TaskStatus { state: TaskState::Working, message: None, timestamp: None },
            metadata: None,
        };
        let bare = Event { seq: 1, update: Update::Status(status), cause: None };
        let caused = Event { cause: Some(Arc::new(Message::user("x".repeat(500)))), ..bare.clone() };
        assert!(caused.approximate_size() >= bare.approximate_size() + 500);
        assert_eq!(bare.state(), Some(TaskState::Working));
    }
}
