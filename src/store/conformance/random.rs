//! Random histories, compared with a simple model after each step.
//!
//! `A2A_WEBCAP_STORE_SEED` plays the history of one seed again, `A2A_WEBCAP_STORE_STEPS` says how long it is.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::World;
use super::model::Model;
use super::samples::{answer, arbitrary, at, checkpoint, event, hook, unhook};
use crate::limits::{Keep, Retention};
use crate::model::arbitrary::{task_artifact_update_event, task_status_update_event};
use crate::model::{Event, Id, TaskState, Update};
use crate::store::{
    Append, Checkpoint, Cut, Expired, Group, ListFilter, PageRequest, ReadLimit, StoreError, TaskRow,
};

pub(crate) async fn a_random_history_of_few_tasks_is_as_in_the_model(world: &mut World) {
    play(world, 9, 150).await;
}

pub(crate) async fn a_random_history_of_many_tasks_is_as_in_the_model(world: &mut World) {
    play(world, 400, 150).await;
}

async fn play(world: &mut World, tasks: u64, steps: u64) {
    let seed = setting("A2A_WEBCAP_STORE_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    println!("A2A_WEBCAP_STORE_SEED={seed}");
    let mut history = History::new(seed, tasks);
    for step in 0..setting("A2A_WEBCAP_STORE_STEPS").unwrap_or(steps) {
        println!("step {step}");
        history.step(world).await;
        history.compare(world).await;
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

struct History {
    dice: Dice,
    model: Model,
    tasks: u64,
    /// How many tasks were made; each row and each checkpoint says of which of them it is.
    made: u64,
    /// Updates of all sorts.
    updates: Vec<Update>,
}

impl History {
    fn new(seed: u64, tasks: u64) -> Self {
        let status = task_status_update_event().prop_map(Update::Status);
        let artifact = task_artifact_update_event().prop_map(Update::Artifact);
        let updates = arbitrary(&prop_oneof![status, artifact], 100);
        Self { dice: Dice(seed), model: Model::default(), tasks, made: 0, updates }
    }

    async fn step(&mut self, world: &mut World) {
        match self.dice.below(20) {
            0 => world.bench().settle().await,
            1 => {
                world.bench().reopen().await;
            }
            2 => self.retain(world).await,
            3 => self.hint(world),
            4..=7 => self.several(world).await,
            _ => {
                let group = self.group();
                let expected = self.model.commit(&group);
                check(&world.try_commit(group).await, &expected);
            }
        }
    }

    /// Several groups on their way at once. Some are never polled.
    async fn several(&mut self, world: &mut World) {
        let mut waiting = Vec::new();
        for _ in 0..self.dice.between(2, 12) {
            let group = self.group();
            let expected = self.model.commit(&group);
            let done = world.store().commit(&group);
            if self.dice.chance(70) {
                waiting.push((done, expected));
            }
        }
        if self.dice.chance(50) {
            waiting.reverse();
        }
        for (done, expected) in waiting {
            check(&done.await, &expected);
        }
        self.barrier(world).await;
    }

    /// Waits for everything that was given.
    async fn barrier(&mut self, world: &World) {
        let group = super::samples::remembering([answer(200, 0)]);
        self.model.commit(&group).unwrap();
        world.commit(group).await;
    }

    fn hint(&mut self, world: &World) {
        let mut checkpoints = Vec::new();
        for _ in 0..self.dice.between(1, 4) {
            let id = self.id();
            let Some(known) = self.model.tasks.get(&id) else {
                checkpoints.push(checkpoint(&id, 1));
                continue;
            };
            let seq = self.dice.between(1, known.row.last_seq);
            checkpoints.push(fold(&known.row, seq));
        }
        checkpoints.iter().for_each(|checkpoint| self.model.hint(checkpoint));
        world.store().checkpoint(&checkpoints);
    }

    /// Finds what has expired and takes some or all of it.
    async fn retain(&mut self, world: &mut World) {
        let (retention, now) = (self.retention(), at(self.time() + 10));
        for _ in 0..self.dice.between(1, 4) {
            let most = self.dice.between(1, 20) as usize;
            let found = world.store().expired(&retention, now, most).await.unwrap();
            assert!(found.deletions.len() + found.cuts.len() <= most, "more than {most}: {found:?}");
            let everything = world.store().expired(&retention, now, usize::MAX).await.unwrap();
            assert_eq!(found == Expired::default(), everything == Expired::default());
            let mut group = Group { deletions: found.deletions, ..Group::default() };
            for id in found.cuts {
                let row = &self.model.tasks[&id].row;
                group.cuts.push(Cut { checkpoint: fold(row, row.last_seq), oldest: row.last_seq });
            }
            self.model.commit(&group).unwrap();
            world.commit(group).await;
        }
    }

    fn group(&mut self) -> Group {
        let mut group = Group::default();
        let mut after = self.model.clone();
        for _ in 0..self.dice.between(0, 5) {
            let append = self.append(&after);
            let alone = Group { appends: vec![append.clone()], ..Group::default() };
            let is_right = after.commit(&alone).is_ok();
            group.appends.push(append);
            if !is_right {
                break;
            }
        }
        for _ in 0..self.dice.between(0, 3) {
            group.remembered.push(answer(self.dice.below(8) as u8, self.time() * 10));
        }
        for _ in 0..self.dice.between(0, 3) {
            let (task, id) = (self.id(), format!("hook {}", self.dice.below(4)));
            let comes = self.dice.chance(70);
            let url = format!("http://{}", self.dice.below(1_000));
            group.push.push(if comes { hook(&task, &id, &url) } else { unhook(&task, &id) });
        }
        if self.dice.chance(15) {
            let id = self.id();
            if let Some(known) = after.tasks.get(&id).filter(|known| known.row.last_seq > 1) {
                let oldest = self.dice.between(2, known.row.last_seq);
                let seq = self.dice.between(oldest - 1, known.row.last_seq);
                group.cuts.push(Cut { checkpoint: fold(&known.row, seq), oldest });
            }
        }
        if self.dice.chance(15) {
            group.deletions.push(self.id());
        }
        group
    }

    /// Events of a new or an old task; rarely such as are refused.
    fn append(&mut self, model: &Model) -> Append {
        let id = self.id();
        let present = model.tasks.get(&id).map(|known| known.row.clone());
        let mut row = present.unwrap_or_else(|| self.new_row(&id));
        let expected = if self.dice.chance(97) { row.last_seq } else { self.dice.below(5) };
        row.last_seq = expected + self.dice.between(1, 6);
        row.generation += self.dice.below(3);
        if self.dice.chance(80) {
            row.state = TaskState::ALL[self.dice.below(8) as usize];
            row.status_timestamp = at(self.time());
        }
        let events = (expected + 1..=row.last_seq).map(|seq| self.event(&row, seq)).collect();
        Append { expected, events, row }
    }

    fn new_row(&mut self, id: &Id) -> TaskRow {
        self.made += 1;
        TaskRow {
            agent: ["agent", "age"][self.dice.below(2) as usize].into(),
            owner: ["ann", "bob", "nt"][self.dice.below(3) as usize].into(),
            context: ["x", "y", "xy", ""][self.dice.below(4) as usize].into(),
            created: at(self.made as i64),
            ..super::samples::row(id, TaskState::Submitted, 0, 0)
        }
    }

    fn event(&mut self, row: &TaskRow, seq: u64) -> Arc<Event> {
        if self.dice.chance(60) {
            return event(row, seq);
        }
        let mut update = self.updates[self.dice.below(100) as usize].clone();
        match &mut update {
            Update::Status(update) => {
                (update.task_id, update.context_id) = (row.id.clone(), row.context.clone());
            }
            Update::Artifact(update) => {
                (update.task_id, update.context_id) = (row.id.clone(), row.context.clone());
            }
        }
        Arc::new(Event { seq, update, cause: None })
    }

    fn id(&mut self) -> Id {
        // Some are prefixes of others.
        self.dice.below(self.tasks).to_string().into()
    }

    /// Few enough that many are alike.
    fn time(&mut self) -> i64 {
        self.dice.below(40) as i64 - 10
    }

    fn retention(&mut self) -> Retention {
        let mut keep = || {
            let mut some = |most| self.dice.chance(40).then(|| self.dice.below(most));
            let (age, count, events_age) = (some(30), some(8), some(30));
            let (age, events_age) = (age.map(Duration::from_nanos), events_age.map(Duration::from_nanos));
            Keep { age, count, events_age }
        };
        Retention { completed: keep(), failed: keep(), canceled: keep(), rejected: keep() }
    }

    async fn compare(&mut self, world: &World) {
        for _ in 0..self.tasks.min(12) {
            let id = self.id();
            self.compare_task(world, &id).await;
        }
        for _ in 0..8 {
            self.compare_list(world).await;
        }
        for key in 0..8 {
            let now = self.time() * 10;
            let expected = self.model.remembered.get(&[key; 16]).filter(|answer| answer.expires > at(now));
            let found = world.remembered(key, now).await;
            let told = |answer: &crate::store::Remembered| {
                (answer.key, answer.digest, answer.answer.clone(), answer.expires)
            };
            assert_eq!(found.as_ref().map(told), expected.map(told), "answer {key} at {now}");
        }
        let (after, most) = (self.id(), self.dice.below(30) as usize);
        let after = self.dice.chance(50).then_some(&after);
        let rows =
            self.model.unfinished().into_iter().filter(|row| after.is_none_or(|after| row.id > *after));
        assert_eq!(world.store().unfinished(after, most).await.unwrap(), rows.take(most).collect::<Vec<_>>());
        let (retention, now) = (self.retention(), at(self.time() + 10));
        let found = world.store().expired(&retention, now, usize::MAX).await.unwrap();
        self.model.check_expired(&found, &retention, now);
    }

    async fn compare_task(&mut self, world: &World, id: &Id) {
        let (after, events) = (self.dice.below(12), self.dice.between(1, 8) as usize);
        let limit = ReadLimit { events, bytes: 1 << 30 };
        let read = world.store().read(id, after, limit).await;
        let stored = world.load(id).await;
        let urls = world.urls(id).await;
        let Some(known) = self.model.tasks.get(id) else {
            assert!(stored.is_none(), "{id} is there");
            assert!(matches!(read, Err(StoreError::NotFound)), "{read:?}");
            assert_eq!(urls, [""; 0]);
            return;
        };
        known.check_load(&stored.unwrap_or_else(|| panic!("{id} is missing")));
        assert_eq!(urls, known.push.values().map(|config| config.url.clone()).collect::<Vec<_>>());
        if after + 1 < known.oldest {
            assert!(matches!(read, Err(StoreError::Gap { oldest }) if oldest == known.oldest), "{read:?}");
        } else {
            let expected = known.after(after);
            assert_eq!(read.unwrap(), expected[..events.min(expected.len())], "{id} after {after}");
        }
    }

    /// One list, one of its pages, and the sum of all.
    async fn compare_list(&mut self, world: &World) {
        let mut filter = ListFilter {
            agent: ["agent", "age"][self.dice.below(2) as usize].into(),
            owner: ["ann", "bob", "nt", "nobody"][self.dice.below(4) as usize].into(),
            context: None,
            state: None,
            status_since: None,
        };
        if self.dice.chance(40) {
            filter.context = Some(["x", "y", "xy", ""][self.dice.below(4) as usize].into());
        }
        if self.dice.chance(40) {
            filter.state = Some(TaskState::ALL[self.dice.below(8) as usize]);
        }
        if self.dice.chance(40) {
            filter.status_since = Some(at(self.time()));
        }
        let expected = self.model.list(&filter);
        let size = self.dice.between(1, 10) as usize;
        if self.dice.chance(30) {
            assert_eq!(world.pages(&filter, size).await, expected, "{filter:?} in pages of {size}");
        }
        let (time, id) = (at(self.time()), self.id());
        let behind = |row: &&TaskRow| (row.status_timestamp, &row.id) < (time, &id);
        let rest: Vec<_> = expected.iter().filter(behind).cloned().collect();
        let after = Some(crate::store::Cursor { status_timestamp: time, id: id.clone() });
        let page = world.page(&filter, &PageRequest { after, size }).await;
        assert_eq!(page.rows, rest[..size.min(rest.len())], "{filter:?} after {time} {id}");
        assert_eq!(
            (page.total, page.next.is_some()),
            (expected.len() as u64, rest.len() > size),
            "{filter:?}"
        );
    }
}

/// What a commit has answered is what the model says.
fn check(found: &Result<(), StoreError>, expected: &Result<(), (Id, u64)>) {
    match (found, expected) {
        (Ok(()), Ok(())) => {}
        (Err(StoreError::Conflict { task, found, .. }), Err((id, last))) => {
            assert_eq!((task, found), (id, last));
        }
        _ => panic!("found {found:?}, expected {expected:?}"),
    }
}

/// The fold of a task up to a number, different for each task that had the id.
fn fold(row: &TaskRow, seq: u64) -> Checkpoint {
    let mut point = checkpoint(&row.id, seq);
    Arc::make_mut(&mut point.task).context_id = Some(format!("made as number {}", row.created).into());
    point
}

/// Random numbers that are the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
