//! A store on disk: one log that is the truth, and a catalog that finds things in it.
//!
//! Every commit is one checksummed, chained frame in the log, made durable by one `fdatasync` for all frames
//! that wait. Only then does the [`Change`] that it stands for go into the catalog: a layer in memory over sorted
//! tables on disk. The catalog is derived: what it has not written down is read again from the log at start, and
//! if it is damaged it is made anew.

mod catalog;

use super::{PushChange, Remembered, TaskRow};
use crate::model::Id;

/// Where an entry stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The segment's number; later ones are greater.
    pub(crate) segment: u32,
    /// The entry's first byte in its segment.
    pub(crate) offset: u32,
    /// Its length.
    pub(crate) bytes: u32,
}

/// A point between two frames of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogPoint {
    /// The segment that the next frame is in; 0 before the first.
    pub(crate) segment: u32,
    /// Where in that segment.
    pub(crate) offset: u32,
    /// The number of the next frame, from 1 over all segments.
    pub(crate) frame: u64,
    /// The checksum that the next frame is chained to.
    pub(crate) chain: u32,
}

/// A run of a task's events that stand in one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The number of the first event in it; it goes on to the one before the next chunk's first.
    pub(crate) first: u64,
    /// Where the entry is.
    pub(crate) at: Position,
}

/// What a durable entry of the log means for the catalog. Given in the order of the log.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The events from `first` to the row's last are in this entry. The entry may be an old one that was
    /// copied to make room: then it replaces the chunk with this first number, and of two rows of one task
    /// the one with the greater last number holds.
    Appended { row: TaskRow, first: u64, at: Position },
    /// A checkpoint of a task is in this entry. Of two, the later one with no lower `seq` holds.
    Checkpointed { task: Id, seq: u64, at: Position },
    /// An answer is kept.
    Remembered(Remembered),
    /// A webhook comes, changes or goes.
    Pushed(PushChange),
    /// A task's events before `oldest` are gone.
    Cut { task: Id, oldest: u64 },
    /// A task is gone, with everything that belongs to it.
    Deleted(Id),
}
