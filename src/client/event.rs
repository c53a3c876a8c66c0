//! What a stream of a task carries to the client.

use crate::model::{
    Message, StreamResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent,
};

/// One element of a task's stream.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEvent {
    /// The event's number: 1, 2, 3, … for each task, without gap or repeat. For a snapshot the last event
    /// that it contains (0: none yet). 0 for a message outside of any task.
    pub seq: u64,
    /// Whether the stream ends with this. Exactly one event of a stream is final, and it is the last.
    pub is_final: bool,
    /// What the agent says, as A2A spells it.
    pub content: StreamResponse,
}

impl TaskEvent {
    /// The state that the task has by this, if it says one.
    pub fn state(&self) -> Option<TaskState> {
        self.content.state()
    }

    /// The task that this is about, unless it is a message outside of any.
    pub fn task_id(&self) -> Option<&str> {
        self.content.task_id().map(|id| &**id)
    }

    /// The text of the artifact piece, if this is one.
    pub fn artifact_text(&self) -> Option<std::borrow::Cow<'_, str>> {
        match &self.content {
            StreamResponse::ArtifactUpdate(update) => Some(update.artifact.text_content()),
            _ => None,
        }
    }

    pub(super) fn status(update: TaskStatusUpdateEvent, at: At) -> Self {
        Self { seq: at.seq, is_final: at.is_final, content: StreamResponse::StatusUpdate(update) }
    }

    pub(super) fn artifact(update: TaskArtifactUpdateEvent, at: At) -> Self {
        Self { seq: at.seq, is_final: at.is_final, content: StreamResponse::ArtifactUpdate(update) }
    }

    pub(super) fn task(task: Task, at: At) -> Self {
        Self { seq: at.seq, is_final: at.is_final, content: StreamResponse::Task(task) }
    }

    pub(super) fn message(message: Message) -> Self {
        Self { seq: 0, is_final: true, content: StreamResponse::Message(message) }
    }
}

/// Where an event stands in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The event's number; of a snapshot, the last event that it contains.
    pub seq: u64,
    /// Whether the stream ends with it.
    pub is_final: bool,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// With a snapshot of the task, then whatever follows it.
    #[default]
    Snapshot,
    /// With the event after this one; 0 replays from the beginning.
    After(u64),
}

impl Cursor {
    /// With the event after `seq`, if there is one, else with a snapshot.
    pub fn from_after(seq: Option<u64>) -> Self {
        seq.map_or(Self::Snapshot, Self::After)
    }
}
