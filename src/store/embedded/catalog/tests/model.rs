//! What the catalog should say, worked out the plain way.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Dice, at};
use crate::limits::{Keep, Retention};
use crate::model::{Id, TaskPushNotificationConfig, TaskState, Timestamp};
use crate::store::embedded::catalog::{Catalog, Located};
use crate::store::embedded::{Change, Chunk, Position};
use crate::store::{Cursor, Expired, ListFilter, PageRequest, Remembered, SendKey, TaskRow};

#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) tasks: BTreeMap<Id, Known>,
    pub(super) answers: BTreeMap<[u8; 16], Remembered>,
}

#[derive(Clone)]
pub(super) struct Known {
    pub(super) row: TaskRow,
    pub(super) cut: u64,
    /// With the last number of each.
    pub(super) chunks: BTreeMap<u64, (Position, u64)>,
    pub(super) checkpoint: Option<(u64, Position)>,
    pub(super) hooks: BTreeMap<Id, Arc<TaskPushNotificationConfig>>,
}

impl Known {
    pub(super) fn oldest(&self) -> u64 {
        let lowest = self.chunks.keys().next().copied().unwrap_or(1);
        self.cut.max(lowest).min(self.row.last_seq)
    }

    fn located(&self) -> Located {
        Located { row: self.row.clone(), oldest: self.oldest(), checkpoint: self.checkpoint }
    }

    fn chunks_after(&self, after: u64, most: usize) -> Vec<Chunk> {
        let wanted = (after + 1).max(self.oldest());
        let chunks = self.chunks.iter().filter(|(_, (_, last))| *last >= wanted);
        chunks.map(|(first, (at, _))| Chunk { first: *first, at: *at }).take(most).collect()
    }
}

impl Model {
    pub(super) fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Appended { row, first, at } => {
                let known = self.tasks.entry(row.id.clone()).or_insert_with(|| Known {
                    row: row.clone(),
                    cut: 1,
                    chunks: BTreeMap::new(),
                    checkpoint: None,
                    hooks: BTreeMap::new(),
                });
                known.chunks.insert(first, (at, row.last_seq));
                if row.last_seq > known.row.last_seq {
                    known.row = row;
                }
            }
            Change::Checkpointed { task, seq, at } => {
                if let Some(known) = self.tasks.get_mut(&task)
                    && known.checkpoint.is_none_or(|(before, _)| before <= seq)
                {
                    known.checkpoint = Some((seq, at));
                }
            }
            Change::Remembered(answer) => {
                self.answers.insert(answer.key.0, answer);
            }
            Change::Pushed(change) => {
                let Some(known) = self.tasks.get_mut(&change.task) else { return };
                match change.config {
                    Some(config) => known.hooks.insert(change.id, config),
                    None => known.hooks.remove(&change.id),
                };
            }
            Change::Cut { task, oldest } => {
                if let Some(known) = self.tasks.get_mut(&task) {
                    known.cut = known.cut.max(oldest);
                    let cut = known.cut;
                    known.chunks.retain(|_, (_, last)| *last >= cut);
                }
            }
            Change::Deleted(task) => {
                self.tasks.remove(&task);
            }
        }
    }

    pub(super) fn live_bytes(&self) -> BTreeMap<u32, u64> {
        let mut live = BTreeMap::new();
        for known in self.tasks.values() {
            let checkpoint = known.checkpoint.iter().map(|(_, at)| at);
            for at in known.chunks.values().map(|(at, _)| at).chain(checkpoint) {
                *live.entry(at.segment).or_default() += u64::from(at.bytes);
            }
        }
        live
    }

    /// Compares everything that can be asked, with random parameters.
    pub(super) fn compare(&self, catalog: &Catalog, ids: &[Id], dice: &mut Dice) {
        for id in ids {
            self.compare_task(catalog, id, dice);
        }
        assert_eq!(catalog.live_bytes(), self.live_bytes());
        let now = at(dice.below(60) as i64);
        for (key, answer) in &self.answers {
            let found = catalog.remembered(&SendKey(*key), now).unwrap();
            let known = Some(answer).filter(|answer| answer.expires > now);
            assert_eq!(found.map(|found| found.expires), known.map(|known| known.expires), "{key:?}");
        }
        for _ in 0..4 {
            self.compare_list(catalog, dice);
        }
        let after = dice.chance(50).then(|| dice.pick(ids).clone());
        let most = dice.between(1, 12) as usize;
        let open = self.rows().filter(|row| !row.state.is_terminal());
        let open = open.filter(|row| after.as_ref().is_none_or(|after| row.id > *after)).take(most);
        let found = catalog.unfinished(after.as_ref(), most).unwrap();
        assert_eq!(found, open.cloned().collect::<Vec<_>>());
        let (retention, most) = (retention(dice), dice.between(1, 20) as usize);
        let found = catalog.expired(&retention, now, most).unwrap();
        assert_eq!(found, self.expired(&retention, now, most), "{retention:?} at {now}, {most}");
    }

    fn rows(&self) -> impl Iterator<Item = &TaskRow> {
        self.tasks.values().map(|known| &known.row)
    }

    fn compare_task(&self, catalog: &Catalog, id: &Id, dice: &mut Dice) {
        let known = self.tasks.get(id);
        assert_eq!(catalog.row(id).unwrap(), known.map(|known| known.row.clone()), "{id}");
        assert_eq!(catalog.last_seq(id).unwrap(), known.map_or(0, |known| known.row.last_seq));
        assert_eq!(catalog.located(id).unwrap(), known.map(Known::located), "{id}");
        let (after, most) = (dice.below(14), dice.between(1, 6) as usize);
        let chunks = catalog.chunks(id, after, most).unwrap();
        let expected = known.map_or_else(Vec::new, |known| known.chunks_after(after, most));
        assert_eq!(chunks, expected, "{id} after {after}, {most}");
        let hooks = catalog.push_configs(id).unwrap();
        let expected = known.map_or_else(Vec::new, |known| known.hooks.values().cloned().collect());
        assert_eq!(hooks, expected, "{id}");
        for (first, (at, _)) in known.iter().flat_map(|known| &known.chunks) {
            assert!(catalog.is_chunk_at(id, *first, *at).unwrap(), "{id} {first}");
            assert!(!catalog.is_chunk_at(id, *first, Position { offset: at.offset + 1, ..*at }).unwrap());
        }
        if let Some((_, at)) = known.and_then(|known| known.checkpoint) {
            assert!(catalog.is_checkpoint_at(id, at).unwrap());
        }
    }

    fn compare_list(&self, catalog: &Catalog, dice: &mut Dice) {
        let filter = ListFilter {
            agent: (*dice.pick(&AGENTS)).into(),
            owner: (*dice.pick(&OWNERS)).into(),
            context: dice.chance(30).then(|| (*dice.pick(&CONTEXTS)).into()),
            state: dice.chance(40).then(|| *dice.pick(&TaskState::ALL)),
            status_since: dice.chance(40).then(|| at(dice.below(30) as i64)),
        };
        let matching = self.rows().filter(|row| {
            (&row.agent, &row.owner) == (&filter.agent, &filter.owner)
                && filter.context.as_ref().is_none_or(|context| row.context == *context)
                && filter.state.is_none_or(|state| row.state == state)
                && filter.status_since.is_none_or(|since| row.status_timestamp >= since)
        });
        let mut rows: Vec<_> = matching.cloned().collect();
        rows.sort_by_key(|row| Reverse((row.status_timestamp, row.id.clone())));
        let total = rows.len() as u64;
        let size = dice.between(1, 7) as usize;
        let mut after = dice.chance(20).then(|| Cursor {
            status_timestamp: at(dice.below(30) as i64),
            id: format!("task {}", dice.below(30)).into(),
        });
        if let Some(cursor) = &after {
            rows.retain(|row| (row.status_timestamp, &row.id) < (cursor.status_timestamp, &cursor.id));
        }
        let mut rows = rows.into_iter();
        loop {
            let page = catalog.list(&filter, &PageRequest { after: after.clone(), size }).unwrap();
            assert_eq!(page.total, total, "{filter:?}");
            assert_eq!(page.rows, rows.by_ref().take(size).collect::<Vec<_>>(), "{filter:?} {after:?}");
            assert_eq!(page.next.is_some(), rows.len() > 0, "{filter:?}");
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }

    fn expired(&self, retention: &Retention, now: Timestamp, most: usize) -> Expired {
        let mut finished: Vec<_> =
            self.tasks.values().filter(|known| known.row.state.is_terminal()).collect();
        finished.sort_by_key(|known| (known.row.status_timestamp, known.row.id.clone()));
        let mut counts: BTreeMap<u8, u64> = BTreeMap::new();
        finished.iter().for_each(|known| *counts.entry(known.row.state as u8).or_default() += 1);
        let mut expired = Expired::default();
        for known in finished {
            let (row, Some(keep)) = (&known.row, retention.of(known.row.state)) else { continue };
            if expired.deletions.len() + expired.cuts.len() >= most {
                break;
            }
            let count = counts.entry(row.state as u8).or_default();
            if keep.is_over(row.status_timestamp, now) || keep.count.is_some_and(|most| *count > most) {
                *count -= 1;
                expired.deletions.push(row.id.clone());
            } else if keep.events_are_over(row.status_timestamp, now) && known.oldest() < row.last_seq {
                expired.cuts.push(row.id.clone());
            }
        }
        expired
    }
}

fn retention(dice: &mut Dice) -> Retention {
    let mut keep = || Keep {
        age: dice.chance(40).then(|| Duration::from_nanos(dice.below(60))),
        count: dice.chance(40).then(|| dice.below(12)),
        events_age: dice.chance(50).then(|| Duration::from_nanos(dice.below(40))),
    };
    Retention { completed: keep(), failed: keep(), canceled: keep(), rejected: keep() }
}

pub(super) const AGENTS: [&str; 2] = ["agent", "age"];
pub(super) const OWNERS: [&str; 2] = ["ann", "nt ann"];
pub(super) const CONTEXTS: [&str; 3] = ["x", "y", ""];
