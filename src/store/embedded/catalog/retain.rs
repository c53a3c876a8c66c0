//! What is unfinished, and what retention says is to go.

use std::collections::VecDeque;
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use super::keys::{self, FINISHED, UNFINISHED, WHOLE};
use super::layer::{Layer, Layers, slot};
use super::tables::Scan;
use super::{Catalog, CatalogError, bad_key};
use crate::limits::{Keep, Retention};
use crate::model::{Id, TaskState, Timestamp};
use crate::store::{Expired, TaskRow};

/// When a task finished, and which: the order in which they go.
type Finished = (Timestamp, Id);

impl Catalog {
    /// Tasks in a state that is not terminal, in the order of their ids, from after one; at most `most`.
    pub(crate) fn unfinished(&self, after: Option<&Id>, most: usize) -> Result<Vec<TaskRow>, CatalogError> {
        let ids = self.steadily(|| self.unfinished_once(after, most))?;
        let rows = ids.iter().map(|id| self.row(id));
        let rows = rows.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
        Ok(rows.into_iter().filter(|row| !row.state.is_terminal()).collect())
    }

    /// None if a flush came between.
    fn unfinished_once(&self, after: Option<&Id>, most: usize) -> Result<Option<Vec<Id>>, CatalogError> {
        let (generation, frozen) = self.generation();
        let mut from = vec![UNFINISHED];
        from.extend(after.into_iter().flat_map(|after| after.bytes()));
        let scan = self.tables.range(Excluded(from), Excluded(vec![UNFINISHED + 1]))?;
        let mut disk = Unmasked::new(scan, frozen, |key| {
            std::str::from_utf8(key.get(1..)?).ok().map(|id| ((), Id::from(id)))
        });
        loop {
            disk.fill(most)?;
            let layers = self.layers();
            if layers.generation != generation {
                return Ok(None);
            }
            if !disk.unmask(&layers, most) {
                continue;
            }
            let mut ids: Vec<_> = disk.found.drain(..).map(|((), id)| id).collect();
            let open = layers.kept().filter(|kept| {
                kept.row
                    .as_ref()
                    .is_some_and(|row| !row.state.is_terminal() && after.is_none_or(|after| row.id > *after))
            });
            ids.extend(open.filter_map(|kept| kept.row.as_ref()).map(|row| row.id.clone()));
            ids.sort_unstable();
            ids.truncate(most);
            return Ok(Some(ids));
        }
    }

    /// What retention says is to go, the oldest first; at most `most` tasks.
    pub(crate) fn expired(
        &self,
        retention: &Retention,
        now: Timestamp,
        most: usize,
    ) -> Result<Expired, CatalogError> {
        let mut deletions: Vec<Finished> = Vec::new();
        let mut cuts: Vec<Finished> = Vec::new();
        for state in TaskState::ALL {
            let Some(keep) = retention.of(state).filter(|keep| **keep != Keep::default()) else { continue };
            let mut expired = self.steadily(|| self.expired_once(state, keep, now, most))?;
            deletions.append(&mut expired.deletions);
            cuts.append(&mut expired.cuts);
        }
        let deletions = deletions.into_iter().map(|place| (place, true));
        let mut all: Vec<_> = deletions.chain(cuts.into_iter().map(|place| (place, false))).collect();
        all.sort_unstable();
        all.truncate(most);
        let mut expired = Expired::default();
        for ((_, id), is_deletion) in all {
            if is_deletion { expired.deletions.push(id) } else { expired.cuts.push(id) }
        }
        Ok(expired)
    }

    /// None if a flush came between.
    fn expired_once(
        &self,
        state: TaskState,
        keep: &Keep,
        now: Timestamp,
        most: usize,
    ) -> Result<Option<Going>, CatalogError> {
        let (generation, frozen) = self.generation();
        let counts = self.counts_on_disk(keys::Scope::ALL)?;
        let scan = |kind: u8| {
            self.tables.range(Included(vec![kind, state as u8]), Excluded(vec![kind, state as u8 + 1]))
        };
        let mut finished = Unmasked::new(scan(FINISHED)?, frozen.clone(), keys::finished_place);
        let mut whole = Unmasked::new(scan(WHOLE)?, frozen, keys::finished_place);
        // Those that are to be cut may stand behind as many that go.
        let (wanted, wanted_whole) = (most, most.saturating_mul(2));
        loop {
            finished.fill(wanted)?;
            if keep.events_age.is_some() {
                whole.fill(wanted_whole)?;
            }
            let layers = self.settled();
            if layers.generation != generation {
                return Ok(None);
            }
            let is_whole_ready = keep.events_age.is_none() || whole.unmask(&layers, wanted_whole);
            if !finished.unmask(&layers, wanted) || !is_whole_ready {
                continue;
            }
            let count = layers.counts(keys::Scope::ALL, counts).states[slot(state)];
            let (mut finished, mut whole) = (Vec::from(finished.found), Vec::from(whole.found));
            for kept in layers.kept() {
                let Some(row) = kept.row.as_ref().filter(|row| row.state == state) else { continue };
                let place = (row.status_timestamp, row.id.clone());
                if kept.is_whole() {
                    whole.push(place.clone());
                }
                finished.push(place);
            }
            finished.sort_unstable();
            finished.truncate(most);
            whole.sort_unstable();
            return Ok(Some(Going::choose(keep, now, count, finished, whole)));
        }
    }
}

/// What is to go of the tasks in one state.
struct Going {
    deletions: Vec<Finished>,
    cuts: Vec<Finished>,
}

impl Going {
    /// Out of the oldest of `count` finished tasks, and of those that have more than their last event.
    fn choose(
        keep: &Keep,
        now: Timestamp,
        count: u64,
        mut finished: Vec<Finished>,
        mut whole: Vec<Finished>,
    ) -> Self {
        let too_many = keep.count.map_or(0, |most| count.saturating_sub(most));
        let too_many = usize::try_from(too_many).unwrap_or(usize::MAX);
        let too_old = finished.partition_point(|(time, _)| keep.is_over(*time, now));
        let last = finished.len();
        finished.truncate(too_many.max(too_old).min(last));
        if let Some(youngest) = finished.last() {
            whole.retain(|place| place > youngest);
        }
        whole.truncate(whole.partition_point(|(time, _)| keep.events_are_over(*time, now)));
        Self { deletions: finished, cuts: whole }
    }
}

/// What is on disk in an order, without what a layer hides.
struct Unmasked<K> {
    scan: Scan,
    is_done: bool,
    frozen: Option<Arc<Layer>>,
    read: fn(&[u8]) -> Option<(K, Id)>,
    found: VecDeque<(K, Id)>,
}

impl<K> Unmasked<K> {
    fn new(scan: Scan, frozen: Option<Arc<Layer>>, read: fn(&[u8]) -> Option<(K, Id)>) -> Self {
        Self { scan, is_done: false, frozen, read, found: VecDeque::new() }
    }

    /// Reads until so many are found, or all.
    fn fill(&mut self, wanted: usize) -> Result<(), CatalogError> {
        while self.found.len() < wanted && !self.is_done {
            let Some(entry) = self.scan.next() else {
                self.is_done = true;
                break;
            };
            let (key, _) = entry?;
            let (place, id) = (self.read)(&key).ok_or(bad_key())?;
            if self.frozen.as_ref().is_none_or(|frozen| !frozen.tasks.contains_key(&id)) {
                self.found.push_back((place, id));
            }
        }
        Ok(())
    }

    /// Leaves out what the active layer hides; returns whether there are still as many as wanted, or all.
    fn unmask(&mut self, layers: &Layers, wanted: usize) -> bool {
        self.found.retain(|(_, id)| !layers.active.tasks.contains_key(id));
        self.is_done || self.found.len() >= wanted
    }
}
