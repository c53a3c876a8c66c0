//! Where tasks are kept: `trait Store`, its record types, and its implementations.
//!
//! A store keeps, per task, a log of numbered events, one [`TaskRow`] that lists are made from, and at
//! times a checkpoint: the fold of the log up to a number, so that a load does not begin at 1. It knows
//! nothing of legal transitions and makes no numbers: the engine's writer does, and is the only caller of
//! [`Store::commit`]. What retention may take is found by the store and taken by the writer, so that
//! everything that changes a task goes through one log.

pub mod embedded;
mod index;
pub mod memory;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::limits::Retention;
use crate::model::{Event, Id, Message, Task, TaskPushNotificationConfig, TaskState, Timestamp};

pub use memory::MemoryStore;

/// Durable, or at least shared, memory of tasks.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What this store promises, in a few words for the operator: `memory: nothing survives a restart`.
    fn describe(&self) -> String;

    /// Whether what was committed survives the end of the process and a power loss.
    fn is_durable(&self) -> bool;

    /// Whether what [`commit`](Self::commit) returns is ready at once, as is [`read`](Self::read). The engine
    /// then commits on the thread that has something to write, without a hop.
    fn commits_inline(&self) -> bool {
        false
    }

    /// Whether there is room for more work. If not, sends are refused while everything else goes on.
    fn has_room(&self) -> bool {
        true
    }

    /// Begins to write all of a group or nothing. What is returned resolves when the group is as durable as
    /// this store makes it, and visible to every other method; until then nobody sees any of it. The group is
    /// read before this returns.
    ///
    /// The next group may be given before an earlier one is done: groups take effect, and become durable, in the
    /// order of the calls, whether or not anybody polls what was returned. Dropping that takes nothing back.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a task's last number is not the one expected, counting the groups on their
    /// way; then nothing was written. [`StoreError::Failed`] if the medium failed: then every later
    /// group fails too.
    fn commit(&self, group: &Group) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Takes the fold of tasks up to their numbers, so that a load is short. A hint: it need not be durable,
    /// a store may have no use for it, and an older checkpoint of the same task may be forgotten. If it cannot
    /// be written, the next commit says so.
    fn checkpoint(&self, checkpoints: &[Checkpoint]);

    /// The events after a number, in order; fewer than there are if the limit says so, but at least one
    /// if there is one; empty at the end of the log.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Gap`] if retention has cut the event after that number.
    async fn read(&self, task: &Id, after: u64, limit: ReadLimit) -> Result<Vec<Arc<Event>>, StoreError>;

    /// A task's row and its latest checkpoint.
    async fn load(&self, task: &Id) -> Result<Option<Stored>, StoreError>;

    /// One page of an owner's tasks, newest status first, then by id, newest first. The cost of a page does
    /// not grow with the number of tasks, nor does that of its total; with `status_since` the total
    /// costs what it counts.
    async fn list(&self, filter: &ListFilter, page: &PageRequest) -> Result<Page, StoreError>;

    /// What was answered under a key, if that has not expired at `now`.
    async fn remembered(&self, key: &SendKey, now: Timestamp) -> Result<Option<Remembered>, StoreError>;

    /// How many tasks there are in each state; states without any may be missing. It costs the same however many
    /// there are.
    async fn counts(&self) -> Result<BTreeMap<TaskState, u64>, StoreError>;

    /// Tasks in a state that is not terminal, in the order of their ids, from after one; at most `most`.
    async fn unfinished(&self, after: Option<&Id>, most: usize) -> Result<Vec<TaskRow>, StoreError>;

    /// What retention says is to go at `now`, the oldest first; at most about `most` tasks. Empty when
    /// nothing is left to take. The caller commits it as [`Group::deletions`] and [`Group::cuts`].
    async fn expired(
        &self,
        retention: &Retention,
        now: Timestamp,
        most: usize,
    ) -> Result<Expired, StoreError>;

    /// A task's webhooks, in the order of their ids; empty for a missing task.
    async fn push_configs(&self, task: &Id) -> Result<Vec<Arc<TaskPushNotificationConfig>>, StoreError>;

    /// Writes down what is still in memory and lets go of the medium, so that another process may take it.
    /// Nothing may be committed afterwards; what was committed stays readable in this process if it can.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the medium failed. What was committed is safe all the same.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What one commit writes.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Events, with the rows that they lead to.
    pub appends: Vec<Append>,
    /// Answers to keep for repeated sends.
    pub remembered: Vec<Remembered>,
    /// Webhooks of tasks that come, change or go.
    pub push: Vec<PushChange>,
    /// Tasks whose oldest events go. Taken after the appends; a missing task is passed over.
    pub cuts: Vec<Cut>,
    /// Tasks that go: row, events, checkpoint, webhooks. Taken last; a missing task is passed over.
    pub deletions: Vec<Id>,
}

impl Group {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
            && self.remembered.is_empty()
            && self.push.is_empty()
            && self.cuts.is_empty()
            && self.deletions.is_empty()
    }

    /// Empties the group and keeps its memory.
    pub fn clear(&mut self) {
        self.appends.clear();
        self.remembered.clear();
        self.push.clear();
        self.cuts.clear();
        self.deletions.clear();
    }
}

/// The oldest events of a task are not kept any more. What they said is in the checkpoint, which stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// The fold of the task up to the last event that goes, or a later one.
    pub checkpoint: Checkpoint,
    /// The oldest number that is kept; at most the task's last, at least 2.
    pub oldest: u64,
}

/// A webhook comes, changes or goes.
#[derive(Clone, Debug, PartialEq)]
pub struct PushChange {
    /// Of which task; if it is missing, nothing happens.
    pub task: Id,
    /// Which of its webhooks.
    pub id: Id,
    /// What it is from now on; none if it goes.
    pub config: Option<Arc<TaskPushNotificationConfig>>,
}

/// What retention says is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Finished tasks that go as a whole.
    pub deletions: Vec<Id>,
    /// Finished tasks that keep only their last event. Those whose events have gone before are not among them.
    pub cuts: Vec<Id>,
}

/// Events of one task, in order, and what its row is after them.
#[derive(Clone, Debug)]
pub struct Append {
    /// The task's last number before these events; 0 makes a new task.
    pub expected: u64,
    /// Numbered `expected + 1`, `expected + 2`, …; at least one.
    pub events: Vec<Arc<Event>>,
    /// The row after the last of them.
    pub row: TaskRow,
}

/// What lists and loads know of a task without reading its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// The task.
    pub id: Id,
    /// Its conversation.
    pub context: Id,
    /// The agent that works on it.
    pub agent: Id,
    /// The key of the principal that it belongs to.
    pub owner: Id,
    /// Where it stands.
    pub state: TaskState,
    /// Since when.
    pub status_timestamp: Timestamp,
    /// The number of its last event.
    pub last_seq: u64,
    /// How often its visible state has changed.
    pub generation: u64,
    /// When it was opened.
    pub created: Timestamp,
}

/// The fold of a task's log up to a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The number of the last event in it.
    pub seq: u64,
    /// The task then.
    pub task: Arc<Task>,
}

/// What a load gives. What follows the checkpoint is read with [`Store::read`].
#[derive(Clone, Debug)]
pub struct Stored {
    /// The present row.
    pub row: TaskRow,
    /// The latest checkpoint, if any.
    pub checkpoint: Option<Checkpoint>,
}

/// How much one read may return.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// The most events.
    pub events: usize,
    /// Bytes after which no further event is taken.
    pub bytes: usize,
}

/// Which tasks to list.
#[derive(Clone, Debug)]
pub struct ListFilter {
    /// Of this agent.
    pub agent: Id,
    /// Of this owner.
    pub owner: Id,
    /// Of this conversation.
    pub context: Option<Id>,
    /// In this state.
    pub state: Option<TaskState>,
    /// With a status of this time or later.
    pub status_since: Option<Timestamp>,
}

/// Which page of a list.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// The place that the page before ended at.
    pub after: Option<Cursor>,
    /// The most rows; at least 1.
    pub size: usize,
}

/// A place in a list. Tasks that change while a client turns pages move to the front, so that none is
/// seen twice behind a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The status time of the last row seen.
    pub status_timestamp: Timestamp,
    /// Its task.
    pub id: Id,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The rows.
    pub rows: Vec<TaskRow>,
    /// Where the next page begins; none after the last.
    pub next: Option<Cursor>,
    /// How many tasks match on all pages.
    pub total: u64,
}

/// Identifies a send: a hash of agent, owner and message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendKey(pub [u8; 16]);

/// A hash of a send's canonical message and configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendDigest(pub [u8; 16]);

/// The answer that a send was given, kept so that the same send gets it again.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Whose send.
    pub key: SendKey,
    /// What was sent.
    pub digest: SendDigest,
    /// What was answered.
    pub answer: Answer,
    /// When it is forgotten.
    pub expires: Timestamp,
}

/// What a send is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The send has opened or continued a task.
    Task {
        /// The task.
        task_id: Id,
        /// Its conversation.
        context_id: Id,
        /// The number before the send's first event.
        after: u64,
    },
    /// The agent has answered with a message, without a task.
    Message(Arc<Message>),
}

/// Why a store did not do it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// No such task.
    NotFound,
    /// Somebody else has written to the task.
    Conflict {
        /// The task.
        task: Id,
        /// The number that was expected to be its last.
        expected: u64,
        /// The number that is its last; 0 if there is no such task.
        found: u64,
    },
    /// Retention has cut events that were asked for.
    Gap {
        /// The oldest number that is kept.
        oldest: u64,
    },
    /// The medium failed, or what is on it is damaged. Nothing can be said about what was written.
    Failed(Arc<dyn Error + Send + Sync>),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("the store has no such task"),
            Self::Conflict { task, expected, found } => {
                write!(f, "task {task}: expected {expected} as the last number, found {found}")
            }
            Self::Gap { oldest } => write!(f, "events before {oldest} are not kept any more"),
            Self::Failed(cause) => write!(f, "the store failed: {cause}"),
        }
    }
}

impl Error for StoreError {}

impl StoreError {
    /// A failure with its reason.
    pub fn failed(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(reason.into()))
    }
}

#[cfg(test)]
pub(crate) mod conformance;
