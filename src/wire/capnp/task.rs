//! Tasks, their states, and the events by which they change.

use super::a2a_capnp::{
    self, send_message_response, task, task_artifact_update_event, task_status, task_status_update_event,
};
use super::codec::{
    Decode, Encode, Within, decode_object, encode_list, json_text, known, list, optional, optional_struct,
    readable, required, required_struct,
};
use crate::fault::{Fault, Result};
use crate::model::{
    Message, SendMessageResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus,
    TaskStatusUpdateEvent, Timestamp,
};

impl From<TaskState> for a2a_capnp::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Unspecified => Self::Unspecified,
            TaskState::Submitted => Self::Submitted,
            TaskState::Working => Self::Working,
            TaskState::Completed => Self::Completed,
            TaskState::Failed => Self::Failed,
            TaskState::Canceled => Self::Canceled,
            TaskState::InputRequired => Self::InputRequired,
            TaskState::Rejected => Self::Rejected,
            TaskState::AuthRequired => Self::AuthRequired,
        }
    }
}

/// A state, as it was said.
pub(super) fn state(
    field: &str,
    state: std::result::Result<a2a_capnp::TaskState, capnp::NotInSchema>,
) -> Result<TaskState> {
    use a2a_capnp::TaskState as Wire;
    Ok(match known(field, state)? {
        Wire::Unspecified => TaskState::Unspecified,
        Wire::Submitted => TaskState::Submitted,
        Wire::Working => TaskState::Working,
        Wire::Completed => TaskState::Completed,
        Wire::Failed => TaskState::Failed,
        Wire::Canceled => TaskState::Canceled,
        Wire::InputRequired => TaskState::InputRequired,
        Wire::Rejected => TaskState::Rejected,
        Wire::AuthRequired => TaskState::AuthRequired,
    })
}

/// A time; none where it is 0.
pub(super) fn optional_time(nanos: i64) -> Option<Timestamp> {
    (nanos != 0).then(|| Timestamp::from_unix_nanos(nanos))
}

/// A time for the wire, where 1970-01-01T00:00:00Z cannot be told from none.
pub(super) fn nanos(time: Option<Timestamp>) -> i64 {
    time.map_or(0, Timestamp::unix_nanos)
}

impl Encode for TaskStatus {
    type Owned = task_status::Owned;

    fn encode(&self, mut builder: task_status::Builder<'_>) {
        builder.set_state(self.state.into());
        builder.set_timestamp(nanos(self.timestamp));
        if let Some(message) = &self.message {
            message.encode(builder.init_message());
        }
    }
}

impl Decode for TaskStatus {
    type Owned = task_status::Owned;

    fn decode(reader: task_status::Reader<'_>) -> Result<Self> {
        Ok(Self {
            state: state("state", reader.get_state())?,
            message: optional_struct("message", reader.has_message().then(|| reader.get_message()))?,
            timestamp: optional_time(reader.get_timestamp()),
        })
    }
}

impl Encode for Task {
    type Owned = task::Owned;

    fn encode(&self, mut builder: task::Builder<'_>) {
        builder.set_id(&self.id);
        if let Some(context_id) = &self.context_id {
            builder.set_context_id(context_id);
        }
        self.status.encode(builder.reborrow().init_status());
        encode_list(&self.artifacts, |n| builder.reborrow().init_artifacts(n));
        encode_list(&self.history, |n| builder.reborrow().init_history(n));
        if let Some(metadata) = &self.metadata {
            builder.set_metadata(json_text(metadata));
        }
    }
}

impl Decode for Task {
    type Owned = task::Owned;

    fn decode(reader: task::Reader<'_>) -> Result<Self> {
        Ok(Self {
            id: required("id", reader.get_id())?,
            context_id: optional("contextId", reader.get_context_id())?,
            status: required_struct("status", reader.has_status().then(|| reader.get_status()))?,
            artifacts: list("artifacts", reader.get_artifacts())?,
            history: list("history", reader.get_history())?,
            metadata: decode_object("metadata", reader.has_metadata().then(|| reader.get_metadata()))?,
        })
    }
}

impl Encode for TaskStatusUpdateEvent {
    type Owned = task_status_update_event::Owned;

    fn encode(&self, mut builder: task_status_update_event::Builder<'_>) {
        builder.set_task_id(&self.task_id);
        builder.set_context_id(&self.context_id);
        self.status.encode(builder.reborrow().init_status());
        if let Some(metadata) = &self.metadata {
            builder.set_metadata(json_text(metadata));
        }
    }
}

impl Decode for TaskStatusUpdateEvent {
    type Owned = task_status_update_event::Owned;

    fn decode(reader: task_status_update_event::Reader<'_>) -> Result<Self> {
        Ok(Self {
            task_id: required("taskId", reader.get_task_id())?,
            context_id: required("contextId", reader.get_context_id())?,
            status: required_struct("status", reader.has_status().then(|| reader.get_status()))?,
            metadata: decode_object("metadata", reader.has_metadata().then(|| reader.get_metadata()))?,
        })
    }
}

impl Encode for TaskArtifactUpdateEvent {
    type Owned = task_artifact_update_event::Owned;

    fn encode(&self, mut builder: task_artifact_update_event::Builder<'_>) {
        builder.set_task_id(&self.task_id);
        builder.set_context_id(&self.context_id);
        self.artifact.encode(builder.reborrow().init_artifact());
        builder.set_append(self.append);
        builder.set_last_chunk(self.last_chunk);
        if let Some(metadata) = &self.metadata {
            builder.set_metadata(json_text(metadata));
        }
    }
}

impl Decode for TaskArtifactUpdateEvent {
    type Owned = task_artifact_update_event::Owned;

    fn decode(reader: task_artifact_update_event::Reader<'_>) -> Result<Self> {
        Ok(Self {
            task_id: required("taskId", reader.get_task_id())?,
            context_id: required("contextId", reader.get_context_id())?,
            artifact: required_struct("artifact", reader.has_artifact().then(|| reader.get_artifact()))?,
            append: reader.get_append(),
            last_chunk: reader.get_last_chunk(),
            metadata: decode_object("metadata", reader.has_metadata().then(|| reader.get_metadata()))?,
        })
    }
}

impl Encode for SendMessageResponse {
    type Owned = send_message_response::Owned;

    fn encode(&self, builder: send_message_response::Builder<'_>) {
        match self {
            Self::Task(task) => task.encode(builder.init_task()),
            Self::Message(message) => message.encode(builder.init_message()),
        }
    }
}

impl Decode for SendMessageResponse {
    type Owned = send_message_response::Owned;

    fn decode(reader: send_message_response::Reader<'_>) -> Result<Self> {
        use send_message_response::Which;
        match known("response", reader.which())? {
            Which::Unset(()) => {
                Err(Fault::invalid("response", "needs exactly one of task, message; none is given"))
            }
            Which::Task(task) => Task::decode(readable("task", task)?).within("task").map(Self::Task),
            Which::Message(message) => {
                Message::decode(readable("message", message)?).within("message").map(Self::Message)
            }
        }
    }
}
