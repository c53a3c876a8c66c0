//! A store as simple as can be: what a real one is compared with.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits::Retention;
use crate::model::{Event, Id, TaskPushNotificationConfig, TaskState, Timestamp};
use crate::store::{Checkpoint, Expired, Group, ListFilter, Remembered, Stored, TaskRow};

/// Everything that was committed.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) tasks: BTreeMap<Id, Known>,
    pub(super) remembered: BTreeMap<[u8; 16], Remembered>,
}

#[derive(Clone)]
pub(super) struct Known {
    pub(super) row: TaskRow,
    pub(super) oldest: u64,
    /// All of them, those that were cut too.
    pub(super) events: Vec<Arc<Event>>,
    /// The checkpoint that must be there, because events have gone.
    pub(super) cut: Option<Checkpoint>,
    /// Hints that were given.
    pub(super) hints: Vec<Checkpoint>,
    pub(super) push: BTreeMap<Id, Arc<TaskPushNotificationConfig>>,
}

impl Model {
    /// Takes a group, or says which number is the last one where another was expected.
    pub(super) fn commit(&mut self, group: &Group) -> Result<(), (Id, u64)> {
        let mut after = self.clone();
        for append in &group.appends {
            let found = after.last(&append.row.id);
            if found != append.expected {
                return Err((append.row.id.clone(), found));
            }
            let known = after.tasks.entry(append.row.id.clone()).or_insert_with(|| Known::new(&append.row));
            known.row = append.row.clone();
            known.events.extend(append.events.iter().cloned());
        }
        for answer in &group.remembered {
            after.remembered.insert(answer.key.0, answer.clone());
        }
        for change in &group.push {
            let Some(known) = after.tasks.get_mut(&change.task) else { continue };
            match &change.config {
                Some(config) => known.push.insert(change.id.clone(), Arc::clone(config)),
                None => known.push.remove(&change.id),
            };
        }
        for cut in &group.cuts {
            let Some(known) = after.tasks.get_mut(&cut.checkpoint.task.id) else { continue };
            known.oldest = known.oldest.max(cut.oldest);
            if known.cut.as_ref().is_none_or(|present| present.seq < cut.checkpoint.seq) {
                known.cut = Some(cut.checkpoint.clone());
            }
        }
        for task in &group.deletions {
            after.tasks.remove(task);
        }
        *self = after;
        Ok(())
    }

    pub(super) fn hint(&mut self, checkpoint: &Checkpoint) {
        if let Some(known) = self.tasks.get_mut(&checkpoint.task.id) {
            known.hints.push(checkpoint.clone());
        }
    }

    /// A task's last number; 0 if it is missing.
    pub(super) fn last(&self, task: &Id) -> u64 {
        self.tasks.get(task).map_or(0, |known| known.row.last_seq)
    }

    /// All rows of a list.
    pub(super) fn list(&self, filter: &ListFilter) -> Vec<TaskRow> {
        let rows = self.tasks.values().map(|known| &known.row);
        let mut rows: Vec<_> = rows.filter(|row| matches(filter, row)).cloned().collect();
        rows.sort_by_key(|row| Reverse((row.status_timestamp, row.id.clone())));
        rows
    }

    pub(super) fn unfinished(&self) -> Vec<TaskRow> {
        let rows = self.tasks.values().map(|known| &known.row);
        rows.filter(|row| !row.state.is_terminal()).cloned().collect()
    }

    /// Whether this is what retention finds. Of tasks that finished in the same instant any may go first.
    pub(super) fn check_expired(&self, found: &Expired, retention: &Retention, now: Timestamp) {
        let known = |id: &Id| self.tasks.get(id).unwrap_or_else(|| panic!("{id} expires, and is missing"));
        for state in TaskState::ALL {
            let all: Vec<_> = self.tasks.values().filter(|known| known.row.state == state).collect();
            let gone: Vec<_> = found.deletions.iter().filter(|id| known(id).row.state == state).collect();
            let keep = retention.of(state).copied().unwrap_or_default();
            let too_old = all.iter().filter(|known| keep.is_over(known.row.status_timestamp, now)).count();
            let too_many = keep.count.map_or(0, |count| all.len().saturating_sub(count as usize));
            assert_eq!(gone.len(), too_old.max(too_many), "{state}, {keep:?}: {gone:?}");
            let times: Vec<_> = gone.iter().map(|id| known(id).row.status_timestamp).collect();
            assert!(times.is_sorted(), "not the oldest first: {times:?}");
            let kept: Vec<_> = all.iter().filter(|known| !gone.contains(&&known.row.id)).collect();
            let newest_gone = times.last();
            assert!(
                kept.iter().all(|kept| newest_gone.is_none_or(|gone| *gone <= kept.row.status_timestamp))
            );
            for kept in kept {
                let is_over = keep.events_are_over(kept.row.status_timestamp, now);
                let expected = is_over && kept.oldest < kept.row.last_seq;
                assert_eq!(found.cuts.contains(&kept.row.id), expected, "{:?}", kept.row);
            }
        }
        assert!(found.cuts.iter().all(|id| !found.deletions.contains(id)));
    }
}

impl Known {
    fn new(row: &TaskRow) -> Self {
        let (cut, hints, push) = (None, Vec::new(), BTreeMap::new());
        Self { row: row.clone(), oldest: 1, events: Vec::new(), cut, hints, push }
    }

    /// The events that a read gives that begins within what is kept.
    pub(super) fn after(&self, after: u64) -> &[Arc<Event>] {
        &self.events[usize::try_from(after).unwrap().min(self.events.len())..]
    }

    /// Whether this is what a load gives. A hint may have been forgotten.
    pub(super) fn check_load(&self, found: &Stored) {
        assert_eq!(found.row, self.row);
        let Some(point) = &found.checkpoint else {
            assert!(self.cut.is_none(), "{} was cut, and has no checkpoint", self.row.id);
            return;
        };
        assert!(point.seq + 1 >= self.oldest, "checkpoint {} and events from {}", point.seq, self.oldest);
        let least = self.cut.as_ref().map_or(0, |cut| cut.seq);
        assert!(point.seq >= least, "an older checkpoint has replaced a newer: {} < {least}", point.seq);
        let given = self.hints.iter().chain(&self.cut).any(|given| given == point);
        assert!(given, "nobody gave the checkpoint {} of {}", point.seq, self.row.id);
    }
}

/// Whether a list has this row.
pub(super) fn matches(filter: &ListFilter, row: &TaskRow) -> bool {
    filter.agent == row.agent
        && filter.owner == row.owner
        && filter.context.as_ref().is_none_or(|context| *context == row.context)
        && filter.state.is_none_or(|state| state == row.state)
        && filter.status_since.is_none_or(|since| since <= row.status_timestamp)
}
