//! Where tasks are kept: `trait Store`, its record types, and its implementations.
//!
//! A store keeps, per task, a log of numbered events, one [`TaskRow`] that lists are made from, and at
//! times a checkpoint: the fold of the log up to a number, so that a load does not begin at 1. It knows
//! nothing of legal transitions and makes no numbers: the engine's writer does, and is the only caller of
//! [`Store::commit`].

mod index;
pub mod memory;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{Event, Id, Message, Task, TaskState, Timestamp};

pub use memory::MemoryStore;

/// Durable, or at least shared, memory of tasks.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What this store promises, in a few words for the operator: `memory: nothing survives a restart`.
    fn describe(&self) -> String;

    /// Whether what was committed survives the end of the process and a power loss.
    fn is_durable(&self) -> bool;

    /// Whether [`commit`](Self::commit), [`checkpoint`](Self::checkpoint) and [`read`](Self::read) are ready
    /// at the first poll. The engine then commits on the thread that has something to write, without a hop.
    fn commits_inline(&self) -> bool {
        false
    }

    /// Whether there is room for more work. If not, sends are refused while everything else goes on.
    fn has_room(&self) -> bool {
        true
    }

    /// Writes all of a group or nothing, and returns when it is as durable as this store makes it. Appends
    /// of one task stand in order and may be several.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a task's last number is not the one expected; then nothing was written.
    async fn commit(&self, group: &Group) -> Result<(), StoreError>;

    /// Takes the fold of tasks up to their numbers, so that a load is short. A hint: it need not be durable
    /// before this returns, and an older checkpoint of the same task may be forgotten.
    async fn checkpoint(&self, checkpoints: &[Checkpoint]) -> Result<(), StoreError>;

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

    /// Forgets a task: its row, events and checkpoint. Returns whether there was one.
    async fn delete(&self, task: &Id) -> Result<bool, StoreError>;
}

/// What one commit writes.
#[derive(Debug, Default)]
pub struct Group {
    /// Events, with the rows that they lead to.
    pub appends: Vec<Append>,
    /// Answers to keep for repeated sends.
    pub remembered: Vec<Remembered>,
}

/// Events of one task, in order, and what its row is after them.
#[derive(Debug)]
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
#[derive(Clone, Debug)]
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
#[derive(Debug)]
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
    Failed(Box<dyn Error + Send + Sync>),
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

#[cfg(test)]
pub(crate) mod conformance;
