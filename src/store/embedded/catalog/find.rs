//! Finding one task, its chunks and webhooks, and answers.

use std::collections::BTreeMap;
use std::ops::Bound::Included;
use std::sync::Arc;

use super::layer::Dirty;
use super::records::{self, Kept};
use super::{Catalog, CatalogError, Located, bad_key, keys};
use crate::model::{Id, TaskPushNotificationConfig, Timestamp, json};
use crate::store::embedded::{Chunk, Position};
use crate::store::{Remembered, SendKey, TaskRow};

/// A task's webhooks.
pub(super) type Hooks = BTreeMap<Id, Arc<TaskPushNotificationConfig>>;

/// What the layers say of a task's chunks.
#[derive(Default)]
struct Overlay {
    generation: u64,
    /// The last chunk that begins at the wanted number or before it.
    head: Option<Chunk>,
    /// Those that begin after it.
    rest: BTreeMap<u64, Position>,
    /// The task's last number on disk; none if nothing on disk counts.
    last_on_disk: Option<u64>,
}

impl Catalog {
    /// A task's row.
    pub(crate) fn row(&self, task: &Id) -> Result<Option<TaskRow>, CatalogError> {
        Ok(self.kept(task, |kept| kept.row.clone())?.flatten())
    }

    /// The number of a task's last event; 0 if there is no such task.
    pub(crate) fn last_seq(&self, task: &Id) -> Result<u64, CatalogError> {
        Ok(self.kept(task, Kept::last_seq)?.unwrap_or(0))
    }

    /// A task's row, the oldest number that is kept, and where its checkpoint is.
    pub(crate) fn located(&self, task: &Id) -> Result<Option<Located>, CatalogError> {
        let located = self.kept(task, |kept| {
            let row = kept.row.clone()?;
            Some(Located { row, oldest: kept.oldest(), checkpoint: kept.checkpoint })
        });
        Ok(located?.flatten())
    }

    /// Where a task's events after a number are, in order: the first chunk has the next event in it, if there is
    /// one that is kept, else the oldest that is. At most `most`; empty at the end of the log and for a missing
    /// task.
    pub(crate) fn chunks(&self, task: &Id, after: u64, most: usize) -> Result<Vec<Chunk>, CatalogError> {
        self.steadily(|| self.chunks_once(task, after, most.max(1)))
    }

    /// None if a flush or a cut came between.
    fn chunks_once(&self, task: &Id, after: u64, most: usize) -> Result<Option<Vec<Chunk>>, CatalogError> {
        let bounds =
            self.kept(task, |kept| kept.row.as_ref().map(|row| (kept.oldest(), row.last_seq, kept.lowest)))?;
        let Some((oldest, last, lowest)) = bounds.flatten() else { return Ok(Some(Vec::new())) };
        let wanted = after.saturating_add(1).max(oldest);
        if wanted > last {
            return Ok(Some(Vec::new()));
        }
        let Some(mut overlay) = self.overlay(task, (wanted, lowest), most) else { return Ok(None) };
        if overlay.needs_disk() {
            self.add_from_disk(task, (wanted, lowest), most, &mut overlay)?;
            if self.layers().generation != overlay.generation {
                return Ok(None);
            }
        }
        let rest = overlay.rest.into_iter().map(|(first, at)| Chunk { first, at });
        Ok(Some(overlay.head.into_iter().chain(rest).take(most).collect()))
    }

    /// None if the lowest chunk is another one by now.
    fn overlay(&self, task: &Id, (wanted, lowest): (u64, u64), most: usize) -> Option<Overlay> {
        let layers = self.layers();
        let mut overlay = Overlay { generation: layers.generation, ..Overlay::default() };
        let active = layers.active.tasks.get(task);
        if let Some(dirty) = active.or_else(|| layers.frozen_task(task))
            && dirty.now.as_ref().map(|now| now.lowest) != Some(lowest)
        {
            return None;
        }
        let frozen = layers.frozen_task(task).filter(|_| active.is_none_or(Dirty::shows_below));
        overlay.last_on_disk = match frozen.or(active) {
            Some(dirty) if dirty.shows_below() => dirty.below.as_ref().map(|below| below.last_seq()),
            Some(_) => None,
            None => Some(u64::MAX),
        };
        frozen.into_iter().chain(active).for_each(|dirty| overlay.add(dirty, (wanted, lowest), most));
        Some(overlay)
    }

    fn add_from_disk(
        &self,
        task: &Id,
        (wanted, lowest): (u64, u64),
        most: usize,
        overlay: &mut Overlay,
    ) -> Result<(), CatalogError> {
        let read = |(key, value): super::tables::Entry| {
            let first = keys::chunk_first(&key).ok_or(bad_key())?;
            Ok::<_, CatalogError>(Chunk { first, at: records::position(&value)? })
        };
        let after = overlay.head.map_or(0, |head| head.first + 1);
        // Who reads from the beginning needs to look in one place only.
        let is_lowest = wanted <= lowest;
        if after <= wanted && !is_lowest {
            let before = (Included(keys::chunk(task, after)), Included(keys::chunk(task, wanted)));
            if let Some(entry) = self.tables.range(before.0, before.1)?.next_back() {
                overlay.head = Some(read(entry?)?);
            }
        }
        if wanted == u64::MAX || most == 1 && !is_lowest {
            return Ok(());
        }
        let next = if is_lowest { wanted } else { wanted + 1 };
        let rest = (Included(keys::chunk(task, next)), Included(keys::chunk(task, u64::MAX)));
        for entry in self.tables.range(rest.0, rest.1)?.take(most) {
            let chunk = read(entry?)?;
            if chunk.first > wanted {
                overlay.rest.entry(chunk.first).or_insert(chunk.at);
            } else {
                overlay.head.get_or_insert(chunk);
            }
        }
        Ok(())
    }

    /// Whether a task's chunk with this first number is the one there, and not a copy or nothing.
    pub(crate) fn is_chunk_at(&self, task: &Id, first: u64, at: Position) -> Result<bool, CatalogError> {
        {
            let layers = self.layers();
            let active = layers.active.tasks.get(task);
            if let Some(dirty) = active {
                match dirty.chunk(first) {
                    Some(found) => return Ok(found == Some(at)),
                    None if dirty.below.is_none() => return Ok(false),
                    None => {}
                }
            }
            if let Some(dirty) = layers.frozen_task(task) {
                match dirty.chunk(first) {
                    Some(found) => return Ok(found == Some(at)),
                    None if dirty.below.is_none() => return Ok(false),
                    None => {}
                }
            } else if active.is_none() && !layers.may_lie_below(task) {
                return Ok(false);
            }
        }
        Ok(self.chunk_on_disk(task, first)? == Some(at))
    }

    /// Whether a task's checkpoint is the one there.
    pub(crate) fn is_checkpoint_at(&self, task: &Id, at: Position) -> Result<bool, CatalogError> {
        Ok(self.kept(task, |kept| kept.checkpoint.is_some_and(|(_, found)| found == at))?.unwrap_or(false))
    }

    /// A task's webhooks, in the order of their ids.
    pub(crate) fn push_configs(
        &self,
        task: &Id,
    ) -> Result<Vec<Arc<TaskPushNotificationConfig>>, CatalogError> {
        if !self.kept(task, |kept| kept.hooked && kept.row.is_some())?.unwrap_or(false) {
            return Ok(Vec::new());
        }
        let (frozen, changed) = {
            let layers = self.layers();
            let active = layers.active.tasks.get(task);
            if let Some(dirty) = active.filter(|dirty| dirty.below.is_none()) {
                return Ok(dirty.hooks.values().flatten().cloned().collect());
            }
            (layers.frozen.clone(), active.map(|dirty| dirty.hooks.clone()))
        };
        let mut hooks = self.hooks_below(frozen.as_deref(), task)?;
        for (id, config) in changed.into_iter().flatten() {
            match config {
                Some(config) => hooks.insert(id, config),
                None => hooks.remove(&id),
            };
        }
        Ok(hooks.into_values().collect())
    }

    /// What was answered under a key, if that has not expired.
    pub(crate) fn remembered(
        &self,
        key: &SendKey,
        now: Timestamp,
    ) -> Result<Option<Remembered>, CatalogError> {
        let in_layers = {
            let layers = self.layers();
            let frozen = || layers.frozen.as_ref().and_then(|frozen| frozen.answers.get(key));
            layers.active.answers.get(key).or_else(frozen).cloned()
        };
        let answer = match in_layers {
            Some(answer) => Some(answer),
            None => self.answer_on_disk(*key)?,
        };
        Ok(answer.filter(|answer| answer.expires > now))
    }

    /// Something of what is kept of a task.
    fn kept<T>(&self, task: &Id, look: impl Fn(&Kept) -> T) -> Result<Option<T>, CatalogError> {
        {
            let layers = self.layers();
            if let Some(dirty) = layers.active.tasks.get(task).or_else(|| layers.frozen_task(task)) {
                return Ok(dirty.now.as_ref().map(look));
            }
            if !layers.may_lie_below(task) {
                return Ok(None);
            }
        }
        // What is flushed meanwhile is on disk then: it is only newer.
        Ok(self.kept_on_disk(task)?.as_ref().map(look))
    }

    pub(super) fn kept_on_disk(&self, task: &Id) -> Result<Option<Kept>, CatalogError> {
        let value = self.tables.get(&keys::task(task))?;
        Ok(value.map(|value| Kept::read(&value)).transpose()?)
    }

    pub(super) fn chunk_on_disk(&self, task: &Id, first: u64) -> Result<Option<Position>, CatalogError> {
        let value = self.tables.get(&keys::chunk(task, first))?;
        Ok(value.map(|value| records::position(&value)).transpose()?)
    }

    pub(super) fn answer_on_disk(&self, send: SendKey) -> Result<Option<Remembered>, CatalogError> {
        let mut key = Vec::with_capacity(17);
        keys::put_answer(&mut key, send);
        let value = self.tables.get(&key)?;
        Ok(value.map(|value| records::remembered(send, &value)).transpose()?)
    }

    pub(super) fn hooks_on_disk(&self, task: &Id) -> Result<Hooks, CatalogError> {
        let prefix = keys::hooks(task);
        let mut hooks = Hooks::new();
        for entry in self.tables.prefix(&prefix)? {
            let (key, value) = entry?;
            let id = key.get(prefix.len()..).and_then(|id| std::str::from_utf8(id).ok()).ok_or(bad_key())?;
            let config = json::reread(&value)
                .map_err(|_| CatalogError::Damaged("a webhook cannot be read".to_owned()))?;
            hooks.insert(id.into(), Arc::new(config));
        }
        Ok(hooks)
    }
}

impl Overlay {
    /// Takes what a layer says over what was taken from below it.
    fn add(&mut self, dirty: &Dirty, (wanted, lowest): (u64, u64), most: usize) {
        // What is cut lies before the lowest chunk, though a layer below may still have it; and what was deleted
        // before the id was used again is not looked for below: so the marks of what has gone can be passed over.
        let split = dirty.chunks.partition_point(|(first, _)| *first <= wanted);
        let (before, after) = dirty.chunks.split_at(split);
        if let Some((first, at)) = before.iter().rev().find_map(|(first, at)| Some((*first, (*at)?)))
            && first >= lowest
            && self.head.is_none_or(|head| head.first <= first)
        {
            self.head = Some(Chunk { first, at });
        }
        let after = after.iter().filter_map(|(first, at)| Some((*first, (*at)?)));
        self.rest.extend(after.take(most));
    }

    /// Whether chunks on disk could be among those that are wanted.
    fn needs_disk(&self) -> bool {
        match (self.last_on_disk, self.head) {
            (None, _) => false,
            (Some(last), Some(head)) => head.first <= last,
            (Some(_), None) => true,
        }
    }
}
