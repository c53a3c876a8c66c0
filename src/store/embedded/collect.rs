//! Makes room: copies what is still needed of the log's oldest segment to its end, and removes the segment.
//!
//! Only ever the oldest, so that a record which takes something away (a cut, a deletion) goes only when nothing
//! is left that it speaks of. It is done when less than half of what is in the finished segments is needed, so
//! that no more is copied than is gained.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::frame::FRAME_HEAD;
use super::home::OpenError;
use super::log::frame_entries;
use super::open::changes;
use super::scan::{damage, frames};
use super::{Change, Inner, Staging, Touched};
use crate::model::Id;
use crate::store::StoreError;

/// An entry of the segment, with what it says.
type Found = (Vec<u8>, Change);

impl Inner {
    /// Collects the oldest segment if that is worth it; returns whether it did.
    pub(super) fn collect_oldest(&self) -> Result<bool, StoreError> {
        let _alone = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sizes = self.log.sizes();
        // The last one grows.
        sizes.pop_last();
        let Some((&oldest, &size)) = sizes.first_key_value() else { return Ok(false) };
        // What a restart would read must stay until the catalog has written down what is in it.
        if self.catalog.written().segment <= oldest {
            return Ok(false);
        }
        let live = self.catalog.live_bytes();
        let needed: u64 = sizes.keys().filter_map(|segment| live.get(segment)).sum();
        let nothing_needed = live.get(&oldest).is_none_or(|bytes| *bytes == 0);
        if !nothing_needed && needed.saturating_mul(2) > sizes.values().sum() {
            return Ok(false);
        }
        // What was copied must be paid for by as much that is new: else answers, which nothing counts as
        // needed, would be copied round and round.
        if self.log.written().bytes < self.rest_until.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let copied = self.copy_needed(oldest, size)?;
        self.rest_until.store(self.log.written().bytes + copied, Ordering::Relaxed);
        self.log.remove(oldest).map_err(StoreError::failed)?;
        self.catalog.forget_segment(oldest);
        Ok(true)
    }

    /// Returns how many bytes were copied.
    fn copy_needed(&self, segment: u32, size: u64) -> Result<u64, StoreError> {
        let mut copied = 0;
        let log = self.log.dir();
        let (mut batch, mut bytes): (Vec<Found>, usize) = (Vec::new(), 0);
        let end = frames(log, segment, |frame, point| {
            let (mut rest, base) = (frame.entries, point.offset + FRAME_HEAD as u32);
            let unreadable =
                |why: super::record::BadRecord| damage(log, segment, u64::from(base), &why.to_string());
            for change in changes(&frame, point).map_err(unreadable)? {
                let (_, length) = super::record::first_entry(rest).map_err(unreadable)?;
                let (entry, after) = rest.split_at(length);
                rest = after;
                bytes += length;
                batch.push((entry.to_vec(), change));
            }
            if bytes >= COPIED_AT_ONCE {
                copied += self.copy(&std::mem::take(&mut batch))?;
                bytes = 0;
            }
            Ok::<_, Stop>(())
        });
        let end = end.map_err(Stop::into_error)?;
        if u64::from(end.offset) != size {
            let damage = damage(log, segment, u64::from(end.offset), "what was durable cannot be read");
            return Err(StoreError::failed(damage));
        }
        copied += self.copy(&batch).map_err(Stop::into_error)?;
        Ok(copied)
    }

    /// Appends what is needed of a batch, and waits until it is durable and in the catalog. Returns its bytes.
    fn copy(&self, batch: &[Found]) -> Result<u64, Stop> {
        let copied = self.try_copy(batch);
        self.staging().gone = None;
        let copied = copied?;
        // Copies fill the catalog's memory as appends do.
        if self.catalog.needs_flush() {
            self.catalog.flush(self.clock.now()).map_err(StoreError::from)?;
        }
        Ok(copied)
    }

    fn try_copy(&self, batch: &[Found]) -> Result<u64, Stop> {
        let (answered, bytes) = loop {
            self.log.check()?;
            let Some(disturbed) = self.undisturbed()? else {
                thread::sleep(DISTURBED);
                continue;
            };
            let mut needed = Vec::new();
            for found in batch {
                if self.is_needed(&found.1)? {
                    needed.push(found);
                }
            }
            let mut staging = self.staging();
            // Otherwise something was replaced meanwhile that would come back with its copy.
            if staging.disturbed != disturbed || !self.answers_hold(&staging, &needed)? {
                drop(staging);
                thread::sleep(DISTURBED);
                continue;
            }
            let mut copies = frame_entries();
            for (entry, change) in needed {
                if !task_of(change).is_some_and(|task| staging.is_gone(task)) {
                    copies.push_copy(entry, change.clone());
                }
            }
            if copies.changes.is_empty() {
                return Ok(0);
            }
            let bytes = copies.bytes.len() as u64;
            break (self.enqueue(&mut staging, copies, Touched::default())?, bytes);
        };
        answered.blocking_recv().unwrap_or_else(|_| Err(StoreError::failed("the log's thread has gone")))?;
        self.absorb()?;
        Ok(bytes)
    }

    /// Whether no answer among these has been replaced, or is about to be: its copy would stand behind the new one.
    fn answers_hold(&self, staging: &Staging, needed: &[&Found]) -> Result<bool, StoreError> {
        for (_, change) in needed {
            if let Change::Remembered(answer) = change
                && (staging.answers.contains_key(&answer.key) || !self.is_needed(change)?)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Which group was the last to change a webhook, if all those are in the catalog. From here on the tasks
    /// that go are noted.
    fn undisturbed(&self) -> Result<Option<u64>, StoreError> {
        self.absorb()?;
        let mut staging = self.staging();
        let first_open = staging.groups.front().map_or(u64::MAX, |(ticket, _)| *ticket);
        let going = staging.last.iter().filter(|(_, staged)| staged.last_seq == 0);
        let gone = going.map(|(task, _)| task.clone()).collect();
        staging.gone = Some(gone);
        Ok((staging.disturbed <= first_open).then_some(staging.disturbed))
    }

    /// Whether anybody could still ask for what an entry says.
    fn is_needed(&self, change: &Change) -> Result<bool, StoreError> {
        Ok(match change {
            Change::Appended { row, first, at } => self.catalog.is_chunk_at(&row.id, *first, *at)?,
            Change::Checkpointed { task, at, .. } => self.catalog.is_checkpoint_at(task, *at)?,
            Change::Remembered(answer) => {
                let present = self.catalog.remembered(&answer.key, self.clock.now())?;
                present.is_some_and(|present| {
                    (present.expires, present.digest) == (answer.expires, answer.digest)
                })
            }
            Change::Pushed(change) => {
                let present = self.catalog.push_configs(&change.task)?;
                change.config.as_ref().is_some_and(|config| present.contains(config))
            }
            Change::Cut { task, oldest } => {
                self.catalog.located(task)?.is_some_and(|located| located.oldest == *oldest)
            }
            Change::Deleted(_) => false,
        })
    }
}

/// The task that an entry is about, if it goes with it.
fn task_of(change: &Change) -> Option<&Id> {
    match change {
        Change::Appended { row, .. } => Some(&row.id),
        Change::Checkpointed { task, .. } | Change::Cut { task, .. } => Some(task),
        Change::Pushed(change) => Some(&change.task),
        Change::Remembered(_) | Change::Deleted(_) => None,
    }
}

/// Why copying has stopped.
enum Stop {
    Damage(OpenError),
    Store(StoreError),
}

impl Stop {
    fn into_error(self) -> StoreError {
        match self {
            Self::Damage(error) => StoreError::failed(error),
            Self::Store(error) => error,
        }
    }
}

impl From<OpenError> for Stop {
    fn from(error: OpenError) -> Self {
        Self::Damage(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Bytes of entries that are looked at together.
const COPIED_AT_ONCE: usize = 256 << 10;
/// How long to wait while something is being taken away.
const DISTURBED: Duration = Duration::from_millis(1);
