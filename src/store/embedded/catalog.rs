//! What finds things in the log. All in memory so far: a start reads the whole log.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Change, Chunk, LogPoint, Position};
use crate::limits::{Retention, StoreLimits};
use crate::model::{Id, TaskPushNotificationConfig, Timestamp};
use crate::store::{
    Cursor, Expired, ListFilter, Page, PageRequest, Remembered, SendKey, StoreError, TaskRow,
};

/// See the module.
pub(crate) struct Catalog(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    tasks: HashMap<Id, Kept>,
    remembered: HashMap<SendKey, Remembered>,
}

struct Kept {
    row: TaskRow,
    oldest: u64,
    chunks: BTreeMap<u64, Position>,
    checkpoint: Option<(u64, Position)>,
    push: BTreeMap<Id, Arc<TaskPushNotificationConfig>>,
}

/// A task, and where its checkpoint is.
pub(crate) struct Located {
    pub(crate) row: TaskRow,
    pub(crate) oldest: u64,
    pub(crate) checkpoint: Option<(u64, Position)>,
}

/// Why the catalog cannot be used.
#[derive(Debug)]
pub(crate) enum CatalogError {
    /// What is on disk makes no sense.
    Damaged(String),
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(why) => write!(f, "the catalog is damaged: {why}"),
        }
    }
}

impl std::error::Error for CatalogError {}

impl From<CatalogError> for StoreError {
    fn from(error: CatalogError) -> Self {
        Self::failed(error)
    }
}

type Found<T> = Result<T, CatalogError>;

impl Catalog {
    pub(crate) fn open(_: &Path, _: &StoreLimits) -> Found<(Self, LogPoint)> {
        Ok((Self(Mutex::default()), LogPoint::default()))
    }

    pub(crate) fn verify(&self) -> Found<()> {
        Ok(())
    }

    pub(crate) fn apply(&self, changes: Vec<Change>, _: LogPoint) -> Found<()> {
        let mut inner = self.lock();
        changes.into_iter().for_each(|change| inner.apply(change));
        Ok(())
    }

    pub(crate) fn row(&self, task: &Id) -> Found<Option<TaskRow>> {
        Ok(self.lock().tasks.get(task).map(|kept| kept.row.clone()))
    }

    pub(crate) fn last_seq(&self, task: &Id) -> Found<u64> {
        Ok(self.lock().tasks.get(task).map_or(0, |kept| kept.row.last_seq))
    }

    pub(crate) fn located(&self, task: &Id) -> Found<Option<Located>> {
        let inner = self.lock();
        Ok(inner.tasks.get(task).map(|kept| Located {
            row: kept.row.clone(),
            oldest: kept.oldest,
            checkpoint: kept.checkpoint,
        }))
    }

    pub(crate) fn chunks(&self, task: &Id, after: u64, most: usize) -> Found<Vec<Chunk>> {
        let inner = self.lock();
        let Some(kept) = inner.tasks.get(task) else { return Ok(Vec::new()) };
        let from = kept.chunks.range(..=after + 1).next_back().map_or(after + 1, |(first, _)| *first);
        let chunks = kept.chunks.range(from..).take(most);
        Ok(chunks.map(|(first, at)| Chunk { first: *first, at: *at }).collect())
    }

    pub(crate) fn list(&self, filter: &ListFilter, page: &PageRequest) -> Found<Page> {
        let inner = self.lock();
        let matches = inner.tasks.values().map(|kept| &kept.row).filter(|row| {
            (&row.agent, &row.owner) == (&filter.agent, &filter.owner)
                && filter.context.as_ref().is_none_or(|context| row.context == *context)
                && filter.state.is_none_or(|state| row.state == state)
                && filter.status_since.is_none_or(|since| row.status_timestamp >= since)
        });
        let mut rows: Vec<_> = matches.cloned().collect();
        rows.sort_unstable_by(|a, b| (b.status_timestamp, &b.id).cmp(&(a.status_timestamp, &a.id)));
        let total = rows.len() as u64;
        if let Some(after) = &page.after {
            rows.retain(|row| (row.status_timestamp, &row.id) < (after.status_timestamp, &after.id));
        }
        let wanted = page.size.max(1);
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        let next = rows.last().filter(|_| more);
        let next = next.map(|row| Cursor { status_timestamp: row.status_timestamp, id: row.id.clone() });
        Ok(Page { rows, next, total })
    }

    pub(crate) fn remembered(&self, key: &SendKey, now: Timestamp) -> Found<Option<Remembered>> {
        Ok(self.lock().remembered.get(key).filter(|answer| answer.expires > now).cloned())
    }

    pub(crate) fn unfinished(&self, after: Option<&Id>, most: usize) -> Found<Vec<TaskRow>> {
        let inner = self.lock();
        let rows = inner.tasks.values().map(|kept| &kept.row).filter(|row| !row.state.is_terminal());
        let mut rows: Vec<_> =
            rows.filter(|row| after.is_none_or(|after| row.id > *after)).cloned().collect();
        rows.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        rows.truncate(most);
        Ok(rows)
    }

    pub(crate) fn expired(&self, retention: &Retention, now: Timestamp, most: usize) -> Found<Expired> {
        let inner = self.lock();
        let mut finished: Vec<_> = inner.tasks.values().filter(|kept| kept.row.state.is_terminal()).collect();
        finished.sort_unstable_by_key(|kept| (kept.row.status_timestamp, kept.row.id.clone()));
        let mut counts: HashMap<_, u64> = HashMap::new();
        finished.iter().for_each(|kept| *counts.entry(kept.row.state).or_default() += 1);
        let mut expired = Expired::default();
        for kept in finished {
            let (row, Some(keep)) = (&kept.row, retention.of(kept.row.state)) else { continue };
            if expired.deletions.len() + expired.cuts.len() >= most {
                break;
            }
            let count = counts.entry(row.state).or_default();
            if keep.is_over(row.status_timestamp, now) || keep.count.is_some_and(|most| *count > most) {
                *count -= 1;
                expired.deletions.push(row.id.clone());
            } else if keep.events_are_over(row.status_timestamp, now) && kept.oldest < row.last_seq {
                expired.cuts.push(row.id.clone());
            }
        }
        Ok(expired)
    }

    pub(crate) fn push_configs(&self, task: &Id) -> Found<Vec<Arc<TaskPushNotificationConfig>>> {
        let inner = self.lock();
        Ok(inner.tasks.get(task).map_or_else(Vec::new, |kept| kept.push.values().cloned().collect()))
    }

    pub(crate) fn is_chunk_at(&self, task: &Id, first: u64, at: Position) -> Found<bool> {
        Ok(self.lock().tasks.get(task).is_some_and(|kept| kept.chunks.get(&first) == Some(&at)))
    }

    pub(crate) fn is_checkpoint_at(&self, task: &Id, at: Position) -> Found<bool> {
        let inner = self.lock();
        Ok(inner.tasks.get(task).and_then(|kept| kept.checkpoint).is_some_and(|(_, place)| place == at))
    }

    pub(crate) fn live_bytes(&self) -> BTreeMap<u32, u64> {
        BTreeMap::new()
    }

    pub(crate) fn forget_segment(&self, _: u32) {}

    pub(crate) fn needs_flush(&self) -> bool {
        false
    }

    pub(crate) fn flush(&self, _: Timestamp) -> Found<LogPoint> {
        Ok(LogPoint::default())
    }

    pub(crate) fn compact(&self) -> Found<()> {
        Ok(())
    }

    /// The point up to which it is on disk.
    pub(crate) fn written(&self) -> LogPoint {
        LogPoint::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Appended { row, first, at } => {
                let kept = self.tasks.entry(row.id.clone()).or_insert_with(|| Kept {
                    row: row.clone(),
                    oldest: 1,
                    chunks: BTreeMap::new(),
                    checkpoint: None,
                    push: BTreeMap::new(),
                });
                if row.last_seq > kept.row.last_seq {
                    kept.row = row;
                }
                kept.chunks.insert(first, at);
            }
            Change::Checkpointed { task, seq, at } => {
                if let Some(kept) = self.tasks.get_mut(&task)
                    && kept.checkpoint.is_none_or(|(before, _)| before <= seq)
                {
                    kept.checkpoint = Some((seq, at));
                }
            }
            Change::Remembered(answer) => {
                self.remembered.insert(answer.key, answer);
            }
            Change::Pushed(change) => {
                let Some(kept) = self.tasks.get_mut(&change.task) else { return };
                match change.config {
                    Some(config) => kept.push.insert(change.id, config),
                    None => kept.push.remove(&change.id),
                };
            }
            Change::Cut { task, oldest } => {
                if let Some(kept) = self.tasks.get_mut(&task) {
                    kept.oldest = kept.oldest.max(oldest.min(kept.row.last_seq));
                    let first = kept.chunks.range(..=kept.oldest).next_back().map_or(0, |(first, _)| *first);
                    kept.chunks = kept.chunks.split_off(&first);
                }
            }
            Change::Deleted(task) => {
                self.tasks.remove(&task);
            }
        }
    }
}
