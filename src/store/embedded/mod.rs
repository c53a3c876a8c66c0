//! A store on disk: one log that is the truth, and a catalog that finds things in it.
//!
//! Every commit is one checksummed, chained frame in the [`log`], made durable by one `fdatasync` for all frames
//! that wait. Only then does the [`Change`] that it stands for go into the [`catalog`]: a layer in memory over
//! sorted tables on disk. The catalog is derived: what it has not written down is read again from the log at
//! start, and if it is damaged it is made anew.
//!
//! Of the log, the oldest segments are collected: what is still needed of them is copied to the end as it
//! stands, in frames like any other, and then they are removed. So a deletion's record is gone only when
//! nothing older is left that it speaks of.

mod backup;
mod bytes;
mod catalog;
mod collect;
mod frame;
mod home;
mod inspect;
mod log;
mod open;
mod readers;
mod record;
mod scan;
mod upkeep;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{self, BoxFuture, FutureExt as _};
use tokio::sync::oneshot;

use self::catalog::{Catalog, Located};
use self::home::Home;
use self::log::{Durable, Log, frame_entries};
use self::readers::Readers;
use self::record::{Entries, first_entry};
use self::upkeep::Upkeep;
use super::{
    Append, Checkpoint, Expired, Group, ListFilter, Page, PageRequest, PushChange, ReadLimit, Remembered,
    SendKey, Store, StoreError, Stored, TaskRow,
};
use crate::clock::Clock;
use crate::limits::{Retention, StoreLimits};
use crate::model::{Event, Id, TaskPushNotificationConfig, TaskState, Timestamp};

pub use self::backup::{BackupReport, backup, restore};
pub use self::home::OpenError;
pub use self::inspect::{FsyncCost, Inspection, inspect, measure_fsync};

/// Tasks on disk: what was committed survives the end of the process and a power loss.
///
/// One process uses a directory at a time. Dropping the store loses nothing; [`close`](Store::close) makes the
/// next start quicker.
pub struct EmbeddedStore {
    inner: Arc<Inner>,
    readers: Readers,
    upkeep: Upkeep,
    home: Mutex<Option<Home>>,
    recovery: Recovery,
}

/// What was found at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Frames in the log: groups that were committed together.
    pub frames: u64,
    /// Bytes of the log.
    pub bytes: u64,
    /// Bytes at its end that a crash has left half written, and that were never answered.
    pub truncated_bytes: u64,
    /// Whether the catalog was missing or damaged, and was made anew from the log.
    pub catalog_rebuilt: bool,
    /// How long it took.
    pub took: Duration,
}

/// What was written to the log since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// How often the log was made durable.
    pub syncs: u64,
    /// Frames: groups that were committed together.
    pub frames: u64,
    /// Bytes of these frames.
    pub bytes: u64,
}

/// What all parts share.
struct Inner {
    log: Log,
    catalog: Catalog,
    clock: Clock,
    limits: StoreLimits,
    staging: Mutex<Staging>,
    /// Frames that are durable and not yet in the catalog, in order.
    durable: Arc<Mutex<VecDeque<Durable>>>,
    /// Held by whoever takes from `durable`, so that the order stays.
    applying: Mutex<()>,
    /// Held by whoever makes room in the log.
    collecting: Mutex<()>,
    /// Bytes of the log after which room may be made again: what was copied is paid for with fresh bytes.
    rest_until: AtomicU64,
    /// Whether there are enough free bytes on the disk.
    has_space: AtomicBool,
    /// Frames that the upkeep has seen written.
    frames_seen: AtomicU64,
}

/// The last numbers of tasks in groups that are on their way.
#[derive(Default)]
struct Staging {
    last: HashMap<Id, Staged>,
    /// Answers on their way, with the last group that has them.
    answers: HashMap<SendKey, u64>,
    /// What each group has touched, in the order of the groups.
    groups: VecDeque<(u64, Touched)>,
    next_ticket: u64,
    /// After the last group that changed a webhook: a copy of an older one must not come to stand behind it.
    disturbed: u64,
    /// While entries are being copied: tasks that were deleted meanwhile, of which no copy may stand behind the
    /// deletion.
    gone: Option<HashSet<Id>>,
}

/// What a group touches.
#[derive(Default)]
struct Touched {
    /// With the last number that each task then has; 0 if it is deleted.
    tasks: HashMap<Id, u64>,
    answers: Vec<SendKey>,
}

#[derive(Clone, Copy)]
struct Staged {
    /// 0 if the task is deleted.
    last_seq: u64,
    ticket: u64,
}

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

/// Where a segment is kept.
fn segment_path(log: &Path, number: u32) -> PathBuf {
    log.join(format!("{number:010}.log"))
}

type Answered = oneshot::Receiver<Result<(), StoreError>>;

impl EmbeddedStore {
    /// What was found at start.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// What was written since the start.
    pub fn written(&self) -> Written {
        self.inner.log.written()
    }

    /// Reads on a thread where it may take its time.
    async fn reading<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        self.readers.run(move || job(&inner)).await
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn describe(&self) -> String {
        let dir = self.inner.log.dir().parent().map(|dir| dir.display().to_string()).unwrap_or_default();
        format!("{dir}: every answered send and every seen event is on disk")
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        self.inner.has_space.load(Ordering::Acquire) && !self.inner.log.is_full()
    }

    fn commit(&self, group: &Group) -> BoxFuture<'static, Result<(), StoreError>> {
        if group.is_empty() {
            return future::ready(Ok(())).boxed();
        }
        match self.inner.stage(group) {
            Ok(answered) => Arc::clone(&self.inner).applied(answered).boxed(),
            Err(error) => future::ready(Err(self.inner.given_up(error))).boxed(),
        }
    }

    fn checkpoint(&self, checkpoints: &[Checkpoint]) {
        if let Err(error) = self.inner.stage_checkpoints(checkpoints) {
            tracing::debug!(%error, "checkpoints were not written");
        }
    }

    async fn read(&self, task: &Id, after: u64, limit: ReadLimit) -> Result<Vec<Arc<Event>>, StoreError> {
        let task = task.clone();
        self.reading(move |inner| inner.read(&task, after, limit)).await
    }

    async fn load(&self, task: &Id) -> Result<Option<Stored>, StoreError> {
        let task = task.clone();
        self.reading(move |inner| inner.load(&task)).await
    }

    async fn list(&self, filter: &ListFilter, page: &PageRequest) -> Result<Page, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.reading(move |inner| {
            inner.absorb()?;
            Ok(inner.catalog.list(&filter, &page)?)
        })
        .await
    }

    async fn remembered(&self, key: &SendKey, now: Timestamp) -> Result<Option<Remembered>, StoreError> {
        self.inner.absorb()?;
        Ok(self.inner.catalog.remembered(key, now)?)
    }

    async fn counts(&self) -> Result<BTreeMap<TaskState, u64>, StoreError> {
        self.reading(|inner| {
            inner.absorb()?;
            Ok(inner.catalog.counts()?)
        })
        .await
    }

    async fn unfinished(&self, after: Option<&Id>, most: usize) -> Result<Vec<TaskRow>, StoreError> {
        let after = after.cloned();
        self.reading(move |inner| {
            inner.absorb()?;
            Ok(inner.catalog.unfinished(after.as_ref(), most)?)
        })
        .await
    }

    async fn expired(
        &self,
        retention: &Retention,
        now: Timestamp,
        most: usize,
    ) -> Result<Expired, StoreError> {
        let retention = retention.clone();
        self.reading(move |inner| {
            inner.absorb()?;
            Ok(inner.catalog.expired(&retention, now, most)?)
        })
        .await
    }

    async fn push_configs(&self, task: &Id) -> Result<Vec<Arc<TaskPushNotificationConfig>>, StoreError> {
        self.inner.absorb()?;
        Ok(self.inner.catalog.push_configs(task)?)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.upkeep.tell_to_stop();
        // First, since the upkeep may wait for the log, and the log for room on the disk.
        let closed = self.reading(|inner| inner.log.close()).await;
        self.upkeep.stop();
        closed?;
        self.reading(|inner| {
            inner.absorb()?;
            inner.catalog.flush(inner.clock.now())?;
            Ok(())
        })
        .await?;
        self.home.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.upkeep.tell_to_stop();
        // Whoever waits for a group has been told.
        let _ = self.inner.log.close();
        self.upkeep.stop();
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("log", &self.inner.log.dir()).finish_non_exhaustive()
    }
}

impl Inner {
    /// Checks a group against what is on its way and what is there, and queues it.
    fn stage(&self, group: &Group) -> Result<Answered, StoreError> {
        let only_adds = group.push.is_empty() && group.cuts.is_empty() && group.deletions.is_empty();
        let encode = |group: &Group| -> Result<Entries, StoreError> {
            let mut entries = frame_entries();
            entries.push_group(group).map_err(StoreError::failed)?;
            Ok(entries)
        };
        // Not under the lock, where that can be.
        let encoded = if only_adds { Some(encode(group)?) } else { None };
        let mut staging = self.staging();
        let mut touched = self.check(&staging, group)?;
        let entries = match encoded {
            Some(entries) => entries,
            None => encode(&self.without_strays(&staging, &touched, group)?)?,
        };
        touched.extend(group.deletions.iter().map(|task| (task.clone(), 0)));
        let answers = group.remembered.iter().map(|answer| answer.key).collect();
        let answered = self.enqueue(&mut staging, entries, Touched { tasks: touched, answers })?;
        if !group.push.is_empty() {
            staging.disturbed = staging.next_ticket;
        }
        if let Some(gone) = &mut staging.gone {
            gone.extend(group.deletions.iter().cloned());
        }
        Ok(answered)
    }

    /// Without what is said of tasks that are missing: in the log it would come to be about a later task
    /// with the same id.
    fn without_strays(
        &self,
        staging: &Staging,
        appended: &HashMap<Id, u64>,
        group: &Group,
    ) -> Result<Group, StoreError> {
        let exists = |task: &Id| -> Result<bool, StoreError> {
            Ok(appended.contains_key(task) || self.last_seq(staging, task)? > 0)
        };
        let mut kept = group.clone();
        let mut error = None;
        let mut keep = |task: &Id| {
            exists(task).unwrap_or_else(|failure| {
                error = Some(failure);
                false
            })
        };
        kept.push.retain(|change| keep(&change.task));
        kept.cuts.retain(|cut| keep(&cut.checkpoint.task.id));
        kept.deletions.retain(|task| keep(task));
        error.map_or(Ok(kept), Err)
    }

    /// What each task's last number will be, if the group fits to what is there.
    fn check(&self, staging: &Staging, group: &Group) -> Result<HashMap<Id, u64>, StoreError> {
        let mut touched: HashMap<Id, u64> = HashMap::with_capacity(group.appends.len());
        for Append { expected, row, .. } in &group.appends {
            let found = match touched.get(&row.id) {
                Some(last) => *last,
                None => self.last_seq(staging, &row.id)?,
            };
            if found != *expected {
                return Err(StoreError::Conflict { task: row.id.clone(), expected: *expected, found });
            }
            touched.insert(row.id.clone(), row.last_seq);
        }
        Ok(touched)
    }

    fn last_seq(&self, staging: &Staging, task: &Id) -> Result<u64, StoreError> {
        match staging.last.get(task) {
            Some(staged) => Ok(staged.last_seq),
            None => Ok(self.catalog.last_seq(task)?),
        }
    }

    /// Under the lock of `staging`, so that frames stand in the log in the order of their checks.
    fn enqueue(
        &self,
        staging: &mut Staging,
        entries: Entries,
        touched: Touched,
    ) -> Result<Answered, StoreError> {
        let ticket = staging.next_ticket;
        let answered = self.log.append(entries, ticket)?;
        staging.next_ticket += 1;
        for (task, last_seq) in &touched.tasks {
            staging.last.insert(task.clone(), Staged { last_seq: *last_seq, ticket });
        }
        staging.answers.extend(touched.answers.iter().map(|key| (*key, ticket)));
        staging.groups.push_back((ticket, touched));
        Ok(answered)
    }

    fn stage_checkpoints(&self, checkpoints: &[Checkpoint]) -> Result<(), StoreError> {
        let mut entries = frame_entries();
        let mut staging = self.staging();
        for checkpoint in checkpoints {
            if checkpoint.seq > self.last_seq(&staging, &checkpoint.task.id)? {
                continue;
            }
            let before = self.catalog.located(&checkpoint.task.id)?.and_then(|located| located.checkpoint);
            let events = checkpoint.seq.saturating_sub(before.map_or(0, |(seq, _)| seq));
            if events >= self.limits.checkpoint_events {
                entries.push_checkpoint(checkpoint).map_err(StoreError::failed)?;
            }
        }
        if !entries.changes.is_empty() {
            // Nobody waits for it.
            drop(self.enqueue(&mut staging, entries, Touched::default())?);
        }
        Ok(())
    }

    /// Waits until a frame is durable, and sees to it that everybody sees it.
    async fn applied(self: Arc<Self>, answered: Answered) -> Result<(), StoreError> {
        answered.await.unwrap_or_else(|_| Err(StoreError::failed("the log's thread has gone")))?;
        self.absorb().map_err(|error| self.given_up(error))
    }

    /// After a commit that has failed no later one may succeed.
    fn given_up(&self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::Failed(_)) {
            self.log.give_up(&error);
        }
        error
    }

    /// Takes what is durable into the catalog. Afterwards everything that was durable before is visible.
    fn absorb(&self) -> Result<(), StoreError> {
        let _turn = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(mut durable) = durable else { return Ok(()) };
            if let Err(error) = self.catalog.apply_all(&mut durable.changes, durable.end) {
                // It is durable and must not get lost: whoever comes next tries again.
                self.durable.lock().unwrap_or_else(PoisonError::into_inner).push_front(durable);
                return Err(error.into());
            }
            self.staging().settle(durable.ticket);
        }
    }

    fn read(&self, task: &Id, after: u64, limit: ReadLimit) -> Result<Vec<Arc<Event>>, StoreError> {
        self.absorb()?;
        let located = self.catalog.located(task)?.ok_or(StoreError::NotFound)?;
        if after.saturating_add(1) < located.oldest {
            return Err(StoreError::Gap { oldest: located.oldest });
        }
        let mut taken = Taken { events: Vec::new(), bytes: 0, limit };
        let mut fruitless = 0;
        while !taken.is_full() {
            let after = taken.events.last().map_or(after, |event| event.seq);
            if after >= located.row.last_seq {
                break;
            }
            if self.take_chunks(task, after, &mut taken)? {
                continue;
            }
            // What was found has been collected meanwhile, and is elsewhere now or the task is gone.
            let located = self.catalog.located(task)?.ok_or(StoreError::NotFound)?;
            if after.saturating_add(1) < located.oldest {
                return Err(StoreError::Gap { oldest: located.oldest });
            }
            fruitless += 1;
            if fruitless > MOST_MOVES {
                return Err(StoreError::failed("events that were committed cannot be found"));
            }
        }
        Ok(taken.events)
    }

    /// Takes what the next chunks hold; returns whether that was anything.
    fn take_chunks(&self, task: &Id, after: u64, taken: &mut Taken) -> Result<bool, StoreError> {
        let before = taken.events.len();
        for chunk in self.catalog.chunks(task, after, CHUNKS)? {
            let Some(entry) = self.entry(chunk.at)? else { break };
            let events = first_entry(&entry).and_then(|(entry, _)| entry.events());
            for event in events.map_err(StoreError::failed)? {
                taken.take(event, after);
            }
            if taken.is_full() {
                break;
            }
        }
        Ok(taken.events.len() > before)
    }

    fn load(&self, task: &Id) -> Result<Option<Stored>, StoreError> {
        self.absorb()?;
        let Some(Located { row, checkpoint, .. }) = self.catalog.located(task)? else { return Ok(None) };
        let checkpoint = match checkpoint {
            Some((seq, at)) => self.checkpoint_at(task, seq, at)?,
            None => None,
        };
        Ok(Some(Stored { row, checkpoint }))
    }

    fn checkpoint_at(&self, task: &Id, seq: u64, at: Position) -> Result<Option<Checkpoint>, StoreError> {
        let (mut seq, mut at) = (seq, at);
        loop {
            if let Some(entry) = self.entry(at)? {
                let read = first_entry(&entry).and_then(|(entry, _)| entry.checkpoint());
                return read.map(Some).map_err(StoreError::failed);
            }
            // Collected meanwhile.
            let located = self.catalog.located(task)?;
            match located.and_then(|located| located.checkpoint) {
                Some(now) if now != (seq, at) => (seq, at) = now,
                _ => return Ok(None),
            }
        }
    }

    /// The bytes of an entry; none if its segment is gone.
    fn entry(&self, at: Position) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.log.read(at);
        read.map_err(|error| {
            tracing::error!(%error, segment = at.segment, offset = at.offset, "the log cannot be read");
            StoreError::failed(error)
        })
    }

    fn staging(&self) -> MutexGuard<'_, Staging> {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Staging {
    /// Whether a task was deleted while entries are being copied.
    fn is_gone(&self, task: &Id) -> bool {
        self.gone.as_ref().is_some_and(|gone| gone.contains(task))
    }

    /// A group is in the catalog now.
    fn settle(&mut self, ticket: u64) {
        while let Some((_, touched)) = self.groups.pop_front_if(|(group, _)| *group <= ticket) {
            for task in touched.tasks.keys() {
                if self.last.get(task).is_some_and(|staged| staged.ticket <= ticket) {
                    self.last.remove(task);
                }
            }
            for key in &touched.answers {
                if self.answers.get(key).is_some_and(|group| *group <= ticket) {
                    self.answers.remove(key);
                }
            }
        }
    }
}

/// Events on their way to a reader.
struct Taken {
    events: Vec<Arc<Event>>,
    bytes: usize,
    limit: ReadLimit,
}

impl Taken {
    fn is_full(&self) -> bool {
        let is_over = self.events.len() >= self.limit.events || self.bytes >= self.limit.bytes;
        is_over && !self.events.is_empty()
    }

    /// Takes an event if it is the next one and there is room.
    fn take(&mut self, event: Arc<Event>, after: u64) {
        let next = self.events.last().map_or(after, |event| event.seq) + 1;
        if event.seq == next && !self.is_full() {
            self.bytes += event.approximate_size();
            self.events.push(event);
        }
    }
}

/// Chunks that are looked up at once.
const CHUNKS: usize = 16;
/// How often events may be copied elsewhere while somebody looks for them.
const MOST_MOVES: u32 = 100;

#[cfg(test)]
mod tests;
