//! Tasks and the events by which they change.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::message::{Artifact, Message, required};
use super::{ToV03, kind};
use crate::fault::{Fault, Result};
use crate::model::{self, Id, Struct, TaskState, Timestamp};
use crate::wire::Within as _;

kind!(TaskKind, "task");
kind!(StatusKind, "status-update");
kind!(ArtifactKind, "artifact-update");

/// A piece of work that an agent does for a client.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task<'a> {
    #[serde(default)]
    kind: TaskKind,
    id: Id,
    /// Required in the old protocol; of a task without one the id stands here.
    context_id: Id,
    status: TaskStatus<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifacts: Option<Vec<Artifact<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Message<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Cow<'a, Struct>>,
}

/// A task's state, and what the agent says about it.
#[derive(Debug, Serialize, Deserialize)]
pub struct TaskStatus<'a> {
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
}

/// The task has taken a state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatusUpdateEvent<'a> {
    #[serde(default)]
    kind: StatusKind,
    task_id: Id,
    context_id: Id,
    status: TaskStatus<'a>,
    /// Whether it is the last of its stream.
    #[serde(rename = "final")]
    is_final: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Cow<'a, Struct>>,
}

/// The task has a result, or a piece of one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskArtifactUpdateEvent<'a> {
    #[serde(default)]
    kind: ArtifactKind,
    task_id: Id,
    context_id: Id,
    artifact: Artifact<'a>,
    #[serde(default)]
    append: bool,
    #[serde(default)]
    last_chunk: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Cow<'a, Struct>>,
}

/// The answer to a send: the object itself, whose `kind` says which it is.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum SendMessageResult<'a> {
    /// The task that was opened or continued.
    Task(Task<'a>),
    /// The whole answer, without a task.
    Message(Message<'a>),
}

/// A page of tasks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListTasksResult<'a> {
    tasks: Vec<Task<'a>>,
    next_page_token: &'a str,
    page_size: u32,
    total_size: u32,
}

/// Where a task stands, by the old protocol's name.
#[derive(Clone, Copy, Debug)]
struct State(TaskState);

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0 == TaskState::Unspecified { UNKNOWN } else { self.0.short_name() })
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == UNKNOWN {
            return Ok(Self(TaskState::Unspecified));
        }
        state_from_name(&name).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What the old protocol calls the unspecified state.
const UNKNOWN: &str = "unknown";

/// No state is called so.
#[derive(Debug)]
pub struct UnknownState;

impl fmt::Display for UnknownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = TaskState::ALL.map(TaskState::short_name).join(", ");
        write!(f, "not a task state of A2A 0.3; the states are {names}")
    }
}

/// The state of [`TaskState::ALL`] that the old protocol calls so: its `unknown` is none that anybody can ask for.
///
/// # Errors
/// If no state has this name.
pub fn state_from_name(name: &str) -> Result<TaskState, UnknownState> {
    TaskState::ALL.into_iter().find(|state| state.short_name() == name).ok_or(UnknownState)
}

impl<'a> From<&'a model::Task> for Task<'a> {
    fn from(task: &'a model::Task) -> Self {
        let (artifacts, history) = (&task.artifacts, &task.history);
        Self {
            kind: TaskKind::It,
            id: Id::clone(&task.id),
            context_id: task.context_id.clone().unwrap_or_else(|| Id::clone(&task.id)),
            status: TaskStatus::from(&task.status),
            artifacts: (!artifacts.is_empty()).then(|| artifacts.iter().map(Artifact::from).collect()),
            history: (!history.is_empty()).then(|| history.iter().map(Message::from).collect()),
            metadata: task.metadata.as_ref().map(Cow::Borrowed),
        }
    }
}

impl TryFrom<Task<'_>> for model::Task {
    type Error = Fault;

    fn try_from(old: Task<'_>) -> Result<Self> {
        let artifacts =
            old.artifacts.unwrap_or_default().into_iter().enumerate().map(|(index, artifact)| {
                model::Artifact::try_from(artifact).within_element("artifacts", index)
            });
        let history = old
            .history
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .map(|(index, message)| model::Message::try_from(message).within_element("history", index));
        Ok(Self {
            id: required("id", old.id)?,
            context_id: Some(required("contextId", old.context_id)?),
            status: model::TaskStatus::try_from(old.status).within("status")?,
            artifacts: artifacts.collect::<Result<_>>()?,
            history: history.collect::<Result<_>>()?,
            metadata: old.metadata.map(Cow::into_owned),
        })
    }
}

impl<'a> From<&'a model::TaskStatus> for TaskStatus<'a> {
    fn from(status: &'a model::TaskStatus) -> Self {
        let message = status.message.as_ref().map(Message::from);
        Self { state: State(status.state), message, timestamp: status.timestamp }
    }
}

impl TryFrom<TaskStatus<'_>> for model::TaskStatus {
    type Error = Fault;

    fn try_from(old: TaskStatus<'_>) -> Result<Self> {
        let message = old.message.map(model::Message::try_from).transpose();
        Ok(Self { state: old.state.0, message: message.within("message")?, timestamp: old.timestamp })
    }
}

impl<'a> TaskStatusUpdateEvent<'a> {
    /// The event; it is the last of its stream if `is_final`.
    pub fn new(update: &'a model::TaskStatusUpdateEvent, is_final: bool) -> Self {
        Self {
            kind: StatusKind::It,
            task_id: Id::clone(&update.task_id),
            context_id: Id::clone(&update.context_id),
            status: TaskStatus::from(&update.status),
            is_final,
            metadata: update.metadata.as_ref().map(Cow::Borrowed),
        }
    }

    /// Whether it is the last of its stream.
    pub fn is_final(&self) -> bool {
        self.is_final
    }
}

impl TryFrom<TaskStatusUpdateEvent<'_>> for model::TaskStatusUpdateEvent {
    type Error = Fault;

    fn try_from(old: TaskStatusUpdateEvent<'_>) -> Result<Self> {
        Ok(Self {
            task_id: required("taskId", old.task_id)?,
            context_id: required("contextId", old.context_id)?,
            status: model::TaskStatus::try_from(old.status).within("status")?,
            metadata: old.metadata.map(Cow::into_owned),
        })
    }
}

impl<'a> From<&'a model::TaskArtifactUpdateEvent> for TaskArtifactUpdateEvent<'a> {
    fn from(update: &'a model::TaskArtifactUpdateEvent) -> Self {
        Self {
            kind: ArtifactKind::It,
            task_id: Id::clone(&update.task_id),
            context_id: Id::clone(&update.context_id),
            artifact: Artifact::from(&update.artifact),
            append: update.append,
            last_chunk: update.last_chunk,
            metadata: update.metadata.as_ref().map(Cow::Borrowed),
        }
    }
}

impl TryFrom<TaskArtifactUpdateEvent<'_>> for model::TaskArtifactUpdateEvent {
    type Error = Fault;

    fn try_from(old: TaskArtifactUpdateEvent<'_>) -> Result<Self> {
        Ok(Self {
            task_id: required("taskId", old.task_id)?,
            context_id: required("contextId", old.context_id)?,
            artifact: model::Artifact::try_from(old.artifact).within("artifact")?,
            append: old.append,
            last_chunk: old.last_chunk,
            metadata: old.metadata.map(Cow::into_owned),
        })
    }
}

impl ToV03 for model::Task {
    fn v0_3(&self) -> impl Serialize + '_ {
        Task::from(self)
    }
}

impl ToV03 for model::TaskArtifactUpdateEvent {
    fn v0_3(&self) -> impl Serialize + '_ {
        TaskArtifactUpdateEvent::from(self)
    }
}

impl ToV03 for model::SendMessageResponse {
    fn v0_3(&self) -> impl Serialize + '_ {
        match self {
            Self::Task(task) => SendMessageResult::Task(task.into()),
            Self::Message(message) => SendMessageResult::Message(message.into()),
        }
    }
}

impl ToV03 for model::ListTasksResponse {
    fn v0_3(&self) -> impl Serialize + '_ {
        ListTasksResult {
            tasks: self.tasks.iter().map(Task::from).collect(),
            next_page_token: &self.next_page_token,
            page_size: self.page_size,
            total_size: self.total_size,
        }
    }
}
