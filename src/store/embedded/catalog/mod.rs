//! The catalog: what finds things in the log.
//!
//! It is told of everything that is durable ([`Catalog::apply_all`]) and knows where each task's row, chunks of events
//! and checkpoint are, the order of lists, counts, answers and webhooks. What it was told lies in a layer in
//! memory over sorted tables on disk ([`tables`], [`keys`]); [`Catalog::flush`] writes the layer down, together
//! with the point in the log up to which the tables are then complete, as one. There is no journal: what a crash
//! takes from memory is read from the log again, and a catalog that is damaged is thrown away and made anew.
//!
//! Reads, [`apply_all`](Catalog::apply_all), and [`flush`](Catalog::flush) with [`compact`](Catalog::compact) may each go on
//! on a thread of their own. A read looks into the active layer, then into the frozen one, if one is being written
//! down, then at the tables; no lock is held while tables are read.

mod apply;
mod find;
mod flush;
mod keys;
mod layer;
mod list;
mod records;
mod retain;
mod tables;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::apply::Source;
use self::layer::Layers;
use self::records::Head;
use self::tables::Tables;
use super::record::BadRecord;
use super::{Change, LogPoint, Position};
use crate::limits::StoreLimits;
use crate::store::{StoreError, TaskRow};

/// Finds tasks, their events and lists of them in the log.
pub(crate) struct Catalog {
    tables: Tables,
    layers: RwLock<Layers>,
    /// Held while changes are applied, so that what was looked up for them stays true.
    applying: Mutex<()>,
    /// Held while tables are written.
    writing: Mutex<()>,
    /// Held during a flush, and by who reads for so long that flushes would always come between.
    flushing: Mutex<()>,
    /// About how many bytes the active layer takes.
    bytes: AtomicUsize,
    most_bytes: usize,
}

/// Where a task is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// Its present row.
    pub(crate) row: TaskRow,
    /// The oldest number that is kept.
    pub(crate) oldest: u64,
    /// Its latest checkpoint: up to which number, and where.
    pub(crate) checkpoint: Option<(u64, Position)>,
}

/// Why the catalog could not do it.
#[derive(Debug)]
pub(crate) enum CatalogError {
    /// Its tables are not what was written. It has to be made anew from the log.
    Damaged(String),
    /// The system refused.
    Io(io::Error),
}

impl Catalog {
    /// Opens the catalog in a directory, or makes it. Also returns up to where it is complete: the default if it
    /// knows nothing yet. What follows in the log is to be [replayed](Self::replay).
    ///
    /// # Errors
    /// [`CatalogError::Damaged`], also if it is of another version: delete the directory and open it again.
    pub(crate) fn open(dir: &Path, limits: &StoreLimits) -> Result<(Self, LogPoint), CatalogError> {
        let tables = Tables::open(dir, limits.catalog_cache_bytes)?;
        let head = match tables.get(&[keys::HEAD])? {
            Some(value) => Head::read(&value)?,
            None if tables.is_empty() => Head::default(),
            None => return Err(CatalogError::Damaged("it does not say how far it goes".to_owned())),
        };
        let mut layers = Layers { written: head.upto, flushes: head.flush, ..Layers::default() };
        layers.live.bytes = head.live;
        layers.active.upto = head.upto;
        if let Some(entry) = tables.prefix(&[keys::TASK])?.next_back() {
            let (key, _) = entry?;
            let task = key.get(1..).and_then(|task| std::str::from_utf8(task).ok()).ok_or(bad_key())?;
            layers.floor = Some(task.into());
        }
        let catalog = Self {
            tables,
            layers: RwLock::new(layers),
            applying: Mutex::new(()),
            writing: Mutex::new(()),
            flushing: Mutex::new(()),
            bytes: AtomicUsize::new(0),
            most_bytes: limits.catalog_memory_bytes,
        };
        Ok((catalog, head.upto))
    }

    /// Reads every table once and compares it with its checksum.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] if one has changed since it was written.
    pub(crate) fn verify(&self) -> Result<(), CatalogError> {
        self.tables.verify()
    }

    /// Takes what has become durable, in the order of the log, up to a point. Everybody sees all of it when this
    /// returns, and nobody a part of it before. What is said of a task that does not exist is passed over.
    ///
    /// # Errors
    /// As for reads of the tables: nothing was taken then.
    /// They stay in `changes` if they could not be taken.
    pub(crate) fn apply_all(&self, changes: &mut Vec<Change>, upto: LogPoint) -> Result<(), CatalogError> {
        self.take(changes, upto, Source::Live)
    }

    /// [`apply_all`](Self::apply_all) without the way back.
    #[cfg(test)]
    pub(crate) fn apply(&self, mut changes: Vec<Change>, upto: LogPoint) -> Result<(), CatalogError> {
        self.apply_all(&mut changes, upto)
    }

    /// Takes what is read from the log again at start. A copied entry stands behind newer ones of its task there:
    /// so what is said of a task that is not known yet is kept until the task's row comes.
    ///
    /// # Errors
    /// As for [`apply_all`](Self::apply_all).
    pub(crate) fn replay(&self, mut changes: Vec<Change>, upto: LogPoint) -> Result<(), CatalogError> {
        self.take(&mut changes, upto, Source::Replay)
    }

    /// Bytes of chunks and checkpoints that are pointed at, per segment of the log that has any.
    pub(crate) fn live_bytes(&self) -> BTreeMap<u32, u64> {
        self.layers().live.bytes.clone()
    }

    /// A segment of the log is gone.
    pub(crate) fn forget_segment(&self, segment: u32) {
        self.layers_mut().live.bytes.remove(&segment);
    }

    /// Up to where the tables on disk are complete.
    pub(crate) fn written(&self) -> LogPoint {
        self.layers().written
    }

    /// Whether so much waits in memory that a [`flush`](Self::flush) is due.
    pub(crate) fn needs_flush(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.most_bytes
    }

    /// Whether twice as much waits in memory as is written down at once.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) / 2 >= self.most_bytes
    }

    /// Whether far more waits in memory than should: it cannot be written down.
    pub(crate) fn is_overfull(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.most_bytes.saturating_mul(OVERFULL)
    }

    /// How often was flushed since tables were last merged. Many such make reads slow.
    pub(crate) fn unmerged(&self) -> usize {
        self.tables.unmerged()
    }

    /// Merges tables, so that reads stay quick and what was removed is gone, until there is nothing worth doing
    /// or it is time for the next flush. On the thread that flushes.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush); nothing is lost.
    pub(crate) fn compact(&self) -> Result<(), CatalogError> {
        let _alone = self.writing();
        self.tables.compact(|| self.needs_flush())
    }

    /// Tries to read tables and layers of one moment, which gives none if a flush came between.
    fn steadily<T>(&self, read: impl Fn() -> Result<Option<T>, CatalogError>) -> Result<T, CatalogError> {
        for _ in 0..HURRIED {
            if let Some(found) = read()? {
                return Ok(found);
            }
        }
        let _no_flush = self.flushing();
        loop {
            if let Some(found) = read()? {
                return Ok(found);
            }
        }
    }

    fn note_bytes(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    // A panic while one of the locks was held can only have come from a failed allocation or from reading tables,
    // which is guarded; what they protect is whole.

    fn layers(&self) -> RwLockReadGuard<'_, Layers> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn layers_mut(&self) -> RwLockWriteGuard<'_, Layers> {
        self.layers.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn applying(&self) -> MutexGuard<'_, ()> {
        self.applying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flushing(&self) -> MutexGuard<'_, ()> {
        self.flushing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads that a flush may spoil before the next one has to wait.
const HURRIED: usize = 3;

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("written", &self.written()).finish_non_exhaustive()
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(reason) => write!(f, "the catalog is damaged: {reason}"),
            Self::Io(error) => write!(f, "the catalog cannot be read or written: {error}"),
        }
    }
}

impl std::error::Error for CatalogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Damaged(_) => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl From<BadRecord> for CatalogError {
    fn from(error: BadRecord) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<CatalogError> for StoreError {
    fn from(error: CatalogError) -> Self {
        Self::failed(error)
    }
}

/// How often the layer's bound may be in memory before it is given up.
const OVERFULL: usize = 16;

fn bad_key() -> CatalogError {
    CatalogError::Damaged("a key is not one".to_owned())
}

#[cfg(test)]
mod tests;
