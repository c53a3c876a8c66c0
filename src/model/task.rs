//! Tasks, their states, and the events by which they change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fields::{self, ProtoEnum, is_blank, is_false, optional, or_default, required};
use super::{Artifact, Id, Message, Struct, Timestamp};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Unknown or indeterminate, which other servers may say: neither terminal nor interrupted. This server has no
    /// such task: no step leads here.
    Unspecified = 0,
    /// Accepted, not begun.
    Submitted = 1,
    /// The agent is at it.
    Working = 2,
    /// Terminal: done.
    Completed = 3,
    /// Terminal: could not be done.
    Failed = 4,
    /// Terminal: called off.
    Canceled = 5,
    /// Interrupted: the agent waits for a message.
    InputRequired = 6,
    /// Terminal: the agent would not do it.
    Rejected = 7,
    /// Interrupted: the agent waits for credentials, which come by another way.
    AuthRequired = 8,
}

/// The legal steps of a task, the only copy. Row: from; column: to; both in the order of
/// [`TaskState::ALL`].
#[rustfmt::skip]
const LEGAL: [[bool; 8]; 8] = {
    const YES: bool = true;
    const NO_: bool = false;
    [
        //                   subm work comp fail canc inpt rejd auth
        /* submitted      */ [NO_, YES, YES, YES, YES, YES, YES, YES],
        /* working        */ [NO_, YES, YES, YES, YES, YES, YES, YES],
        /* completed      */ [NO_, NO_, NO_, NO_, NO_, NO_, NO_, NO_],
        /* failed         */ [NO_, NO_, NO_, NO_, NO_, NO_, NO_, NO_],
        /* canceled       */ [NO_, NO_, NO_, NO_, NO_, NO_, NO_, NO_],
        /* input-required */ [NO_, YES, YES, YES, YES, NO_, YES, NO_],
        /* rejected       */ [NO_, NO_, NO_, NO_, NO_, NO_, NO_, NO_],
        /* auth-required  */ [NO_, YES, YES, YES, YES, NO_, YES, NO_],
    ]
};

impl TaskState {
    /// Every state that a task can take, in the order of the protocol's schema: all but
    /// [`Unspecified`](Self::Unspecified).
    pub const ALL: [Self; 8] = [
        Self::Submitted,
        Self::Working,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
        Self::InputRequired,
        Self::Rejected,
        Self::AuthRequired,
    ];

    /// Whether a task in this state may take the next one.
    pub const fn can_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Unspecified, _) | (_, Self::Unspecified) => false,
            (from, to) => LEGAL[from as usize - 1][to as usize - 1],
        }
    }

    /// Whether the task is finished for good.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// Whether the task waits for its client.
    pub const fn is_interrupted(self) -> bool {
        matches!(self, Self::InputRequired | Self::AuthRequired)
    }

    /// The name in JSON: `TASK_STATE_WORKING`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "TASK_STATE_UNSPECIFIED",
            Self::Submitted => "TASK_STATE_SUBMITTED",
            Self::Working => "TASK_STATE_WORKING",
            Self::Completed => "TASK_STATE_COMPLETED",
            Self::Failed => "TASK_STATE_FAILED",
            Self::Canceled => "TASK_STATE_CANCELED",
            Self::InputRequired => "TASK_STATE_INPUT_REQUIRED",
            Self::Rejected => "TASK_STATE_REJECTED",
            Self::AuthRequired => "TASK_STATE_AUTH_REQUIRED",
        }
    }

    /// The name for humans: `input-required`.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Submitted => "submitted",
            Self::Working => "working",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::InputRequired => "input-required",
            Self::Rejected => "rejected",
            Self::AuthRequired => "auth-required",
        }
    }

    /// The number in the protocol's schema.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The state of [`ALL`](Self::ALL) with this number in the protocol's schema.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.short_name())
    }
}

/// Reads either name of a state of [`TaskState::ALL`].
impl FromStr for TaskState {
    type Err = UnknownTaskState;

    fn from_str(text: &str) -> Result<Self, UnknownTaskState> {
        let found = Self::ALL.into_iter().find(|state| text == state.short_name() || text == state.name());
        found.ok_or(UnknownTaskState)
    }
}

/// The text names no task state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTaskState;

impl fmt::Display for UnknownTaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = TaskState::ALL.map(TaskState::short_name).join(", ");
        write!(f, "not a task state; the states are {names}")
    }
}

impl std::error::Error for UnknownTaskState {}

impl ProtoEnum for TaskState {
    const ALL: &'static [Self] = &TaskState::ALL;
    const UNSPECIFIED: Option<Self> = Some(Self::Unspecified);

    fn name(self) -> &'static str {
        TaskState::name(self)
    }

    fn number(self) -> i32 {
        TaskState::number(self)
    }
}

impl Serialize for TaskState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for TaskState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields::proto_enum(deserializer)
    }
}

/// A task's state, and what the agent says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// Where the task stands.
    pub state: TaskState,
    /// What the agent says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

impl TaskStatus {
    /// A state since a time, without a message.
    pub fn new(state: TaskState, since: Timestamp) -> Self {
        Self { state, message: None, timestamp: Some(since) }
    }

    /// Adds what the agent says about it.
    #[must_use]
    pub fn with_message(mut self, message: Message) -> Self {
        self.message = Some(message);
        self
    }
}

/// A piece of work that an agent does for a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Made by the server.
    #[serde(deserialize_with = "required")]
    pub id: Id,
    /// The conversation. Our server always has one; others may leave it out.
    #[serde(default, alias = "context_id", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub context_id: Option<Id>,
    /// Where the task stands.
    pub status: TaskStatus,
    /// The results so far.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// The messages so far, oldest first.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Message>,
    /// Anything else, by extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

impl Task {
    /// A task without results and history.
    pub fn new(id: impl Into<Id>, context_id: impl Into<Id>, status: TaskStatus) -> Self {
        Self {
            id: id.into(),
            context_id: Some(context_id.into()),
            status,
            artifacts: Vec::new(),
            history: Vec::new(),
            metadata: None,
        }
    }

    /// Where the task stands.
    pub fn state(&self) -> TaskState {
        self.status.state
    }

    /// Whether the task is finished for good.
    pub fn is_finished(&self) -> bool {
        self.state().is_terminal()
    }

    /// The artifact with this id.
    pub fn artifact(&self, artifact_id: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| &*artifact.artifact_id == artifact_id)
    }
}

/// The task has taken a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatusUpdateEvent {
    /// The task.
    #[serde(alias = "task_id", deserialize_with = "required")]
    pub task_id: Id,
    /// Its conversation.
    #[serde(alias = "context_id", deserialize_with = "required")]
    pub context_id: Id,
    /// Where it stands now.
    pub status: TaskStatus,
    /// Anything else, by extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

/// The task has a result, or a piece of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskArtifactUpdateEvent {
    /// The task.
    #[serde(alias = "task_id", deserialize_with = "required")]
    pub task_id: Id,
    /// Its conversation.
    #[serde(alias = "context_id", deserialize_with = "required")]
    pub context_id: Id,
    /// The result, or the piece.
    pub artifact: Artifact,
    /// Whether the parts are added to an artifact with the same id; else they replace it.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub append: bool,
    /// Whether this was the last piece.
    #[serde(
        default,
        alias = "last_chunk",
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub last_chunk: bool,
    /// Anything else, by extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

fields::union! {
    /// One element of a stream. In JSON an object with one member that says which.
    pub enum StreamResponse {
        /// A snapshot: what was before, in one piece.
        Task(Task) = "task" | "task";
        /// The whole answer, without a task.
        Message(Message) = "message" | "message";
        /// The task has taken a state.
        StatusUpdate(TaskStatusUpdateEvent) = "statusUpdate" | "status_update";
        /// The task has a result, or a piece of one.
        ArtifactUpdate(TaskArtifactUpdateEvent) = "artifactUpdate" | "artifact_update";
    }
}

impl StreamResponse {
    /// The task that this is about, unless it is a message outside of any.
    pub fn task_id(&self) -> Option<&Id> {
        match self {
            Self::Task(task) => Some(&task.id),
            Self::Message(message) => message.task_id.as_ref(),
            Self::StatusUpdate(event) => Some(&event.task_id),
            Self::ArtifactUpdate(event) => Some(&event.task_id),
        }
    }

    /// The state that the task has by this, if it says one.
    pub fn state(&self) -> Option<TaskState> {
        match self {
            Self::Task(task) => Some(task.state()),
            Self::StatusUpdate(event) => Some(event.status.state),
            Self::Message(_) | Self::ArtifactUpdate(_) => None,
        }
    }
}

fields::union! {
    /// The answer to a send. In JSON an object with one member that says which.
    pub enum SendMessageResponse {
        /// The task that was opened or continued.
        Task(Task) = "task" | "task";
        /// The whole answer, without a task.
        Message(Message) = "message" | "message";
    }
}

impl SendMessageResponse {
    /// The task, if the answer is one.
    pub fn task(&self) -> Option<&Task> {
        match self {
            Self::Task(task) => Some(task),
            Self::Message(_) => None,
        }
    }

    /// The message, if the answer is one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Task(_) => None,
            Self::Message(message) => Some(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TaskState::{self, *};
    use super::*;

    #[test]
    fn each_of_the_64_steps_is_legal_or_not_as_the_design_says() {
        let terminal = [Completed, Failed, Canceled, Rejected];
        let after_wait = [Working, Completed, Failed, Canceled, Rejected];
        let all_but_submitted = [Working, Completed, Failed, Canceled, InputRequired, Rejected, AuthRequired];
        let expected = |from: TaskState| -> &[TaskState] {
            match from {
                Submitted | Working => &all_but_submitted,
                InputRequired | AuthRequired => &after_wait,
                Completed | Failed | Canceled | Rejected | Unspecified => &[],
            }
        };
        let mut legal = 0;
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                assert_eq!(from.can_become(to), expected(from).contains(&to), "{from} -> {to}");
                legal += usize::from(from.can_become(to));
            }
        }
        assert_eq!(legal, 7 + 7 + 5 + 5);
        assert!(terminal.iter().all(|state| TaskState::ALL.iter().all(|next| !state.can_become(*next))));
    }

    #[test]
    fn nothing_leads_to_the_unspecified_state_nor_out_of_it_and_it_is_no_end() {
        for state in TaskState::ALL {
            assert!(!state.can_become(Unspecified) && !Unspecified.can_become(state), "{state}");
        }
        assert!(!Unspecified.is_terminal() && !Unspecified.is_interrupted());
        assert_eq!("unspecified".parse::<TaskState>(), Err(UnknownTaskState), "nobody can ask for it");
    }

    #[test]
    fn every_state_is_terminal_interrupted_or_neither() {
        let names = |is_it: fn(TaskState) -> bool| {
            TaskState::ALL.into_iter().filter(|state| is_it(*state)).collect::<Vec<_>>()
        };
        assert_eq!(names(TaskState::is_terminal), [Completed, Failed, Canceled, Rejected]);
        assert_eq!(names(TaskState::is_interrupted), [InputRequired, AuthRequired]);
    }

    #[test]
    fn a_state_is_found_by_either_name_and_by_its_number() {
        for state in TaskState::ALL {
            assert_eq!(state.name().parse(), Ok(state));
            assert_eq!(state.to_string().parse(), Ok(state));
            assert_eq!(TaskState::from_number(state.number()), Some(state));
        }
        assert_eq!(TaskState::ALL.map(TaskState::number), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(TaskState::from_number(0), None);
        assert_eq!("cancelled".parse::<TaskState>(), Err(UnknownTaskState));
    }
}
