//! Random histories with flushes, failures, merges, restarts and collection at random points.

use std::collections::VecDeque;
use std::sync::Arc;

use super::model::{AGENTS, CONTEXTS, Model, OWNERS};
use super::{Dice, Place, answer, at, setting};
use crate::model::{Id, TaskPushNotificationConfig, TaskState, Timestamp};
use crate::store::embedded::catalog::{Catalog, CatalogError};
use crate::store::embedded::{Change, LogPoint, Position};
use crate::store::{PushChange, TaskRow};

struct History {
    dice: Dice,
    model: Model,
    ids: Vec<Id>,
    place: Place,
    catalog: Catalog,
    /// The log: what is still in it, with the point after each frame.
    frames: VecDeque<(Vec<Change>, LogPoint)>,
    next: LogPoint,
    time: i64,
}

impl History {
    fn new(dice: Dice, tasks: u64) -> Self {
        let place = Place::new();
        let (catalog, _) = place.open();
        let ids = (0..tasks).map(|n| Id::from(format!("task {n}"))).collect();
        let next = LogPoint { segment: 1, offset: 0, frame: 1, chain: 0 };
        let (model, frames) = (Model::default(), VecDeque::new());
        Self { dice, model, ids, place, catalog, frames, next, time: 0 }
    }

    fn step(&mut self) {
        match self.dice.below(30) {
            0..=2 => {
                self.flush();
            }
            3 => {
                let in_the_way = self.catalog.tables.block_next();
                match self.catalog.flush(self.now()) {
                    Err(CatalogError::Io(_)) => assert!(!in_the_way.exists()),
                    // There was nothing to write.
                    other => {
                        assert_eq!(other.unwrap(), self.catalog.written());
                        std::fs::remove_file(in_the_way).unwrap();
                    }
                }
            }
            4 => self.catalog.compact().unwrap(),
            5..=6 => self.reopen(),
            7..=8 => self.collect(),
            9 => self.rebuild(),
            _ => {
                let changes = self.changes();
                self.write(changes);
            }
        }
    }

    fn now(&self) -> Timestamp {
        at(self.time)
    }

    fn flush(&mut self) {
        assert_eq!(self.catalog.flush(self.now()).unwrap(), self.end());
        let now = self.now();
        self.model.answers.retain(|_, answer| answer.expires > now);
    }

    /// What the catalog was told last.
    fn end(&self) -> LogPoint {
        self.frames.back().map_or(LogPoint::default(), |(_, point)| *point)
    }

    /// Appends a frame and tells the catalog.
    fn write(&mut self, changes: Vec<Change>) {
        self.next.frame += 1;
        self.next.offset += 1_000;
        self.next.chain = self.dice.next() as u32;
        self.catalog.apply(changes.clone(), self.next).unwrap();
        self.frames.push_back((changes, self.next));
        if self.dice.chance(15) {
            self.next.segment += 1;
            self.next.offset = 0;
        }
    }

    fn position(&mut self) -> Position {
        let bytes = self.dice.between(1, 1_000) as u32;
        Position { segment: self.next.segment, offset: self.dice.next() as u32 >> 1, bytes }
    }

    /// New changes, which the model has taken.
    fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..self.dice.between(1, 8) {
            self.time += self.dice.below(2) as i64;
            let change = self.change();
            if let Some(change) = change {
                self.model.apply(&change);
                changes.push(change);
            }
        }
        changes
    }

    fn change(&mut self) -> Option<Change> {
        let id = self.dice.pick(&self.ids).clone();
        let at = self.position();
        if self.dice.chance(8) {
            let answer = answer(self.dice.below(20) as u8, self.time + self.dice.below(30) as i64);
            return Some(Change::Remembered(answer));
        }
        let Some(known) = self.model.tasks.get(&id) else { return Some(self.append(&id, None, at)) };
        let (row, oldest) = (known.row.clone(), known.oldest());
        let hooks: Vec<_> = known.hooks.keys().cloned().collect();
        Some(match self.dice.below(20) {
            0 => Change::Deleted(id),
            1..=2 if row.last_seq > oldest => {
                let oldest = self.dice.between(oldest + 1, row.last_seq);
                Change::Cut { task: id, oldest }
            }
            3 => Change::Checkpointed { task: id, seq: self.dice.between(1, row.last_seq), at },
            4 => {
                let hook: Id = format!("hook {}", self.dice.below(3)).into();
                let mut config = TaskPushNotificationConfig::new(format!("http://{}", self.dice.next()));
                config.token = None;
                Change::Pushed(PushChange { task: id, id: hook, config: Some(Arc::new(config)) })
            }
            5 if !hooks.is_empty() => {
                let hook = self.dice.pick(&hooks).clone();
                Change::Pushed(PushChange { task: id, id: hook, config: None })
            }
            _ if row.state.is_terminal() => return None,
            _ => self.append(&id, Some(row), at),
        })
    }

    fn append(&mut self, id: &Id, before: Option<TaskRow>, at: Position) -> Change {
        let mut row = before.unwrap_or_else(|| TaskRow {
            id: id.clone(),
            context: (*self.dice.pick(&CONTEXTS)).into(),
            agent: (*self.dice.pick(&AGENTS)).into(),
            owner: (*self.dice.pick(&OWNERS)).into(),
            state: TaskState::Submitted,
            status_timestamp: self.now(),
            last_seq: 0,
            generation: 0,
            created: self.now(),
        });
        let first = row.last_seq + 1;
        row.last_seq += self.dice.between(1, 3);
        row.generation += 1;
        if self.dice.chance(50) {
            row.state = *self.dice.pick(&TaskState::ALL);
            // Not always later than the last one.
            row.status_timestamp = super::at(self.time - self.dice.below(3) as i64);
        }
        Change::Appended { row, first, at }
    }

    /// Drops what is in memory, and reads the log again from where the catalog is, or from before.
    fn reopen(&mut self) {
        let (catalog, from) = {
            let gone = Place(self.place.0.clone());
            drop(std::mem::replace(&mut self.catalog, Place::new().open().0));
            let opened = gone.open();
            std::mem::forget(gone);
            opened
        };
        catalog.verify().unwrap();
        let known = self.frames.partition_point(|(_, point)| point.frame <= from.frame);
        let earlier = if self.dice.chance(50) { 0 } else { self.dice.below(4) as usize };
        for (changes, point) in self.frames.iter().skip(known.saturating_sub(earlier)) {
            catalog.replay(changes.clone(), *point).unwrap();
            if self.dice.chance(5) {
                catalog.flush(at(i64::MIN)).unwrap();
            }
        }
        self.catalog = catalog;
    }

    /// Copies what is needed of the oldest segment to the end and removes the segment, as the log does it.
    fn collect(&mut self) {
        let Some(oldest) = self.frames.front().map(|(_, point)| point.segment) else { return };
        if self.catalog.written().segment <= oldest {
            return;
        }
        let mut copies = Vec::new();
        let in_it = self.frames.iter().filter(|(_, point)| point.segment == oldest);
        let changes: Vec<_> = in_it.flat_map(|(changes, _)| changes.clone()).collect();
        for change in changes {
            if self.is_needed(&change) {
                let at = self.position();
                let copy = match change {
                    Change::Appended { row, first, at: from } => {
                        Change::Appended { row, first, at: Position { bytes: from.bytes, ..at } }
                    }
                    Change::Checkpointed { task, seq, at: from } => {
                        Change::Checkpointed { task, seq, at: Position { bytes: from.bytes, ..at } }
                    }
                    other => other,
                };
                self.model.apply(&copy);
                copies.push(copy);
            }
        }
        self.write(copies);
        self.frames.retain(|(_, point)| point.segment != oldest);
        self.catalog.forget_segment(oldest);
    }

    fn is_needed(&self, change: &Change) -> bool {
        let catalog = &self.catalog;
        match change {
            Change::Appended { row, first, at } => catalog.is_chunk_at(&row.id, *first, *at).unwrap(),
            Change::Checkpointed { task, at, .. } => catalog.is_checkpoint_at(task, *at).unwrap(),
            Change::Remembered(answer) => {
                let present = catalog.remembered(&answer.key, self.now()).unwrap();
                present.is_some_and(|present| present.expires == answer.expires)
            }
            Change::Pushed(PushChange { task, config, .. }) => {
                let present = catalog.push_configs(task).unwrap();
                config.as_ref().is_some_and(|config| present.contains(config))
            }
            Change::Cut { task, oldest } => {
                catalog.located(task).unwrap().is_some_and(|located| located.oldest == *oldest)
            }
            Change::Deleted(_) => false,
        }
    }

    /// Makes the catalog anew from what is left of the log.
    fn rebuild(&mut self) {
        let place = Place::new();
        let (catalog, _) = place.open();
        for (changes, point) in &self.frames {
            catalog.replay(changes.clone(), *point).unwrap();
            if self.dice.chance(10) {
                catalog.flush(at(i64::MIN)).unwrap();
            }
        }
        let mut model = self.model.clone();
        let now = self.now();
        model.answers.retain(|_, answer| answer.expires > now);
        model.answers.values_mut().for_each(|answer| answer.expires = answer.expires.max(now));
        model.compare(&catalog, &self.ids, &mut self.dice);
    }
}

fn play(tasks: u64, steps: u64) {
    let mut history = History::new(Dice::seeded(), tasks);
    for step in 0..setting("A2A_WEBCAP_CATALOG_STEPS").unwrap_or(steps) {
        println!("step {step}");
        history.step();
        history.model.compare(&history.catalog, &history.ids, &mut history.dice);
    }
}

#[test]
fn a_random_history_of_few_tasks_is_as_in_the_model() {
    play(6, 150);
}

#[test]
fn a_random_history_of_many_tasks_is_as_in_the_model() {
    play(200, 60);
}
