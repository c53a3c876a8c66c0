//! How big a value is, for bounds.

use serde_json::Value;

use super::{
    Artifact, ListTasksResponse, Message, Part, PartContent, SendMessageResponse, Struct, Task, Update,
};

impl Update {
    /// About how many bytes it holds, for bounds. Walks the content.
    pub fn approximate_size(&self) -> usize {
        let (content, metadata) = match self {
            Self::Status(update) => {
                (update.status.message.as_ref().map_or(0, Message::approximate_size), &update.metadata)
            }
            Self::Artifact(update) => (update.artifact.approximate_size(), &update.metadata),
        };
        FIXED + self.task_id().len() + self.context_id().len() + content + struct_size(metadata)
    }
}

impl Task {
    /// About how many bytes it holds, for bounds. Walks the content.
    pub fn approximate_size(&self) -> usize {
        let status = self.status.message.as_ref().map_or(0, Message::approximate_size);
        let artifacts: usize = self.artifacts.iter().map(Artifact::approximate_size).sum();
        let history: usize = self.history.iter().map(Message::approximate_size).sum();
        FIXED + status + artifacts + history + struct_size(&self.metadata)
    }
}

impl SendMessageResponse {
    /// About how many bytes it holds, for bounds. Walks the content.
    pub fn approximate_size(&self) -> usize {
        match self {
            Self::Task(task) => task.approximate_size(),
            Self::Message(message) => message.approximate_size(),
        }
    }
}

impl ListTasksResponse {
    /// About how many bytes it holds, for bounds. Walks the content.
    pub fn approximate_size(&self) -> usize {
        FIXED + self.tasks.iter().map(Task::approximate_size).sum::<usize>()
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

impl Artifact {
    /// About how many bytes it holds, for bounds. Walks the content.
    pub fn approximate_size(&self) -> usize {
        let named = text_size(&self.name) + text_size(&self.description);
        let extensions: usize = self.extensions.iter().map(String::len).sum();
        let content = parts_size(&self.parts) + struct_size(&self.metadata);
        FIXED + self.artifact_id.len() + named + extensions + content
    }
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

/// What an element costs beside its content, in any encoding.
const FIXED: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Cause, Event, TaskArtifactUpdateEvent, TaskState, TaskStatus, TaskStatusUpdateEvent};

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
        let caused =
            Event { cause: Some(Arc::new(Cause::of(Message::user("x".repeat(500))))), ..bare.clone() };
        assert!(caused.approximate_size() >= bare.approximate_size() + 500);
        assert_eq!(bare.state(), Some(TaskState::Working));
    }
}
