//! The catalog against a plain model, and what damage and failures do to it.
//!
//! `A2A_WEBCAP_CATALOG_SEED` plays the history of one seed again, `A2A_WEBCAP_CATALOG_STEPS` says how long it is.

mod damage;
mod history;
mod measure;
mod model;
mod racing;

use std::path::{Path, PathBuf};

use super::{Catalog, CatalogError};
use crate::limits::StoreLimits;
use crate::model::{Id, TaskState, Timestamp, fresh_id};
use crate::store::embedded::{Change, Chunk, LogPoint, Position};
use crate::store::{Answer, ListFilter, PageRequest, Remembered, SendDigest, SendKey, TaskRow};

/// A directory that goes with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("a2a-webcap-catalog-{}", fresh_id())))
    }

    fn open(&self) -> (Catalog, LogPoint) {
        Catalog::open(&self.0, &StoreLimits::default()).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let list = |dir: &Path| -> Vec<_> {
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let mut files = list(&self.0.join("tables"));
        files.extend(list(&self.0));
        files.retain(|path| path.is_file());
        files
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

struct Dice(u64);

impl Dice {
    fn seeded() -> Self {
        let seed = setting("A2A_WEBCAP_CATALOG_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
        println!("A2A_WEBCAP_CATALOG_SEED={seed}");
        Self(seed)
    }

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

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn at(time: i64) -> Timestamp {
    Timestamp::from_unix_nanos(time)
}

fn row(id: &str, state: TaskState, time: i64, last_seq: u64) -> TaskRow {
    TaskRow {
        id: id.into(),
        context: "context".into(),
        agent: "agent".into(),
        owner: "ann".into(),
        state,
        status_timestamp: at(time),
        last_seq,
        generation: last_seq,
        created: at(0),
    }
}

fn position(segment: u32, offset: u32) -> Position {
    Position { segment, offset, bytes: 100 }
}

fn appended(row: TaskRow, first: u64, offset: u32) -> Change {
    Change::Appended { row, first, at: position(1, offset) }
}

fn point(frame: u64) -> LogPoint {
    LogPoint { segment: 1, offset: frame as u32, frame, chain: 7 }
}

fn all() -> ListFilter {
    ListFilter { agent: "agent".into(), owner: "ann".into(), context: None, state: None, status_since: None }
}

fn page(size: usize) -> PageRequest {
    PageRequest { after: None, size }
}

fn answer(n: u8, expires: i64) -> Remembered {
    Remembered {
        key: SendKey([n; 16]),
        digest: SendDigest([n; 16]),
        answer: Answer::Task { task_id: "t".into(), context_id: "c".into(), after: n.into() },
        expires: at(expires),
    }
}

const NOW: Timestamp = Timestamp::from_unix_nanos(0);

#[test]
fn what_was_flushed_is_there_when_it_is_opened_again() {
    let place = Place::new();
    let (catalog, from) = place.open();
    assert_eq!(from, LogPoint::default());
    let working = row("t", TaskState::Working, 1, 3);
    catalog.apply(vec![appended(working.clone(), 1, 0)], point(1)).unwrap();
    assert_eq!(catalog.flush(NOW).unwrap(), point(1));
    let lost = row("t", TaskState::Completed, 2, 4);
    catalog.apply(vec![appended(lost.clone(), 4, 100)], point(2)).unwrap();
    assert_eq!(catalog.row(&"t".into()).unwrap(), Some(lost));
    drop(catalog);
    let (catalog, from) = place.open();
    catalog.verify().unwrap();
    assert_eq!((from, catalog.written()), (point(1), point(1)));
    assert_eq!(catalog.row(&"t".into()).unwrap(), Some(working.clone()));
    let page = catalog.list(&all(), &page(10)).unwrap();
    assert_eq!((page.rows, page.total), (vec![working], 1));
    assert_eq!(catalog.live_bytes(), [(1, 100)].into());
}

#[test]
fn an_empty_flush_moves_the_point() {
    let place = Place::new();
    let (catalog, _) = place.open();
    catalog.apply(Vec::new(), point(9)).unwrap();
    assert_eq!(catalog.flush(NOW).unwrap(), point(9));
    assert_eq!(catalog.flush(NOW).unwrap(), point(9));
    drop(catalog);
    assert_eq!(place.open().1, point(9));
}

#[test]
fn what_is_said_of_a_missing_task_is_passed_over() {
    let place = Place::new();
    let (catalog, _) = place.open();
    let task: Id = "t".into();
    let strays = vec![
        Change::Checkpointed { task: task.clone(), seq: 1, at: position(1, 0) },
        Change::Cut { task: task.clone(), oldest: 2 },
        Change::Deleted(task.clone()),
        appended(row("t", TaskState::Working, 1, 9), 5, 100),
    ];
    catalog.apply(strays, point(1)).unwrap();
    assert!(catalog.located(&task).unwrap().is_none());
    catalog.apply(vec![appended(row("t", TaskState::Working, 1, 3), 1, 200)], point(2)).unwrap();
    let located = catalog.located(&task).unwrap().unwrap();
    assert_eq!((located.oldest, located.checkpoint, located.row.last_seq), (1, None, 3));
    assert_eq!(catalog.live_bytes(), [(1, 100)].into());
}

#[test]
fn a_replay_keeps_what_stands_before_a_task_s_copied_beginning() {
    let task: Id = "t".into();
    for flushes in [false, true] {
        let place = Place::new();
        let (catalog, _) = place.open();
        let flush = || {
            if flushes {
                catalog.flush(NOW).unwrap();
            }
        };
        let early = Change::Checkpointed { task: task.clone(), seq: 6, at: position(1, 0) };
        catalog.replay(vec![early, Change::Cut { task: task.clone(), oldest: 5 }], point(1)).unwrap();
        assert!(catalog.row(&task).unwrap().is_none());
        assert_eq!(catalog.last_seq(&task).unwrap(), 0);
        flush();
        let last = row("t", TaskState::Completed, 9, 9);
        catalog.replay(vec![appended(last.clone(), 7, 100)], point(2)).unwrap();
        flush();
        let copied = vec![
            appended(row("t", TaskState::Working, 1, 3), 1, 200),
            appended(row("t", TaskState::Working, 2, 6), 4, 300),
        ];
        catalog.replay(copied, point(3)).unwrap();
        flush();
        let located = catalog.located(&task).unwrap().unwrap();
        assert_eq!((located.row, located.oldest), (last, 5));
        assert_eq!(located.checkpoint, Some((6, position(1, 0))));
        let firsts: Vec<_> = catalog.chunks(&task, 4, 9).unwrap().iter().map(|chunk| chunk.first).collect();
        assert_eq!(firsts, [4, 7]);
        assert!(!catalog.is_chunk_at(&task, 1, position(1, 200)).unwrap());
        assert_eq!(catalog.live_bytes(), [(1, 300)].into());
    }
}

#[test]
fn an_old_copy_of_a_task_s_beginning_does_not_bring_its_old_row_back() {
    let place = Place::new();
    let (catalog, _) = place.open();
    let task: Id = "t".into();
    let (old, new) = (row("t", TaskState::Working, 1, 3), row("t", TaskState::Completed, 2, 5));
    catalog.apply(vec![appended(old.clone(), 1, 0), appended(new.clone(), 4, 100)], point(1)).unwrap();
    catalog.flush(NOW).unwrap();
    let copied = Change::Appended { row: old, first: 1, at: position(2, 0) };
    catalog.apply(vec![copied], point(2)).unwrap();
    assert_eq!(catalog.row(&task).unwrap(), Some(new));
    assert!(catalog.is_chunk_at(&task, 1, position(2, 0)).unwrap());
    assert!(!catalog.is_chunk_at(&task, 1, position(1, 0)).unwrap());
    assert_eq!(catalog.live_bytes(), [(1, 100), (2, 100)].into());
}

#[test]
fn expired_answers_vanish_with_a_flush() {
    let place = Place::new();
    let (catalog, _) = place.open();
    let remember = |catalog: &Catalog, answers: [Remembered; 2], frame| {
        let changes = answers.into_iter().map(Change::Remembered).collect();
        catalog.apply(changes, point(frame)).unwrap();
    };
    remember(&catalog, [answer(1, 10), answer(2, 20)], 1);
    catalog.flush(at(0)).unwrap();
    let key = SendKey([1; 16]);
    assert!(catalog.remembered(&key, at(9)).unwrap().is_some());
    assert!(catalog.remembered(&key, at(10)).unwrap().is_none());
    // Used anew, it outlives its old expiry.
    remember(&catalog, [answer(2, 40), answer(3, 15)], 2);
    catalog.flush(at(20)).unwrap();
    let there: Vec<_> = (1..4).map(|n| catalog.answer_on_disk(SendKey([n; 16])).unwrap().is_some()).collect();
    assert_eq!(there, [false, true, false]);
    catalog.apply(Vec::new(), point(3)).unwrap();
    catalog.flush(at(30)).unwrap();
    assert!(catalog.remembered(&SendKey([2; 16]), at(30)).unwrap().is_some());
    catalog.apply(Vec::new(), point(4)).unwrap();
    catalog.flush(at(40)).unwrap();
    let left = catalog.tables.range(
        std::ops::Bound::Included(vec![super::keys::ANSWER]),
        std::ops::Bound::Excluded(vec![super::keys::HOOK]),
    );
    assert_eq!(left.unwrap().count(), 0);
}

#[test]
fn a_flush_that_fails_loses_nothing_and_is_tried_again() {
    let place = Place::new();
    let (catalog, _) = place.open();
    let rows = [row("a", TaskState::Working, 1, 1), row("b", TaskState::Working, 2, 1)];
    catalog.apply(vec![appended(rows[0].clone(), 1, 0)], point(1)).unwrap();
    catalog.tables.block_next();
    assert!(matches!(catalog.flush(NOW), Err(CatalogError::Io(_))));
    catalog.apply(vec![appended(rows[1].clone(), 1, 100)], point(2)).unwrap();
    catalog.tables.block_next();
    assert!(matches!(catalog.flush(NOW), Err(CatalogError::Io(_))));
    assert_eq!(catalog.written(), LogPoint::default());
    let listed = catalog.list(&all(), &page(10)).unwrap();
    assert_eq!((listed.rows, listed.total), (vec![rows[1].clone(), rows[0].clone()], 2));
    assert_eq!(catalog.flush(NOW).unwrap(), point(2));
    let listed = catalog.list(&all(), &page(10)).unwrap();
    assert_eq!((listed.rows, listed.total), (vec![rows[1].clone(), rows[0].clone()], 2));
    drop(catalog);
    let (catalog, from) = place.open();
    assert_eq!(from, point(2));
    assert_eq!(catalog.list(&all(), &page(10)).unwrap().total, 2);
}

#[test]
fn what_is_cut_while_a_flush_is_owed_does_not_show_through() {
    let place = Place::new();
    let (catalog, _) = place.open();
    let task: Id = "t".into();
    let [old, new] = [(1, 1), (2, 3)].map(|(time, last)| row("t", TaskState::Completed, time, last));
    catalog.apply(vec![appended(old.clone(), 1, 0), appended(new, 2, 100)], point(1)).unwrap();
    catalog.flush(NOW).unwrap();
    // A copy of the first chunk is in the layer that waits to be written, the cut in the one above.
    catalog.apply(vec![appended(old, 1, 200)], point(2)).unwrap();
    catalog.tables.block_next();
    assert!(matches!(catalog.flush(NOW), Err(CatalogError::Io(_))));
    catalog.apply(vec![Change::Cut { task: task.clone(), oldest: 2 }], point(3)).unwrap();
    let left = [Chunk { first: 2, at: position(1, 100) }];
    assert_eq!(catalog.chunks(&task, 0, 4).unwrap(), left);
    assert_eq!(catalog.flush(NOW).unwrap(), point(3));
    assert_eq!(catalog.chunks(&task, 0, 4).unwrap(), left);
}

#[test]
fn ids_that_no_key_can_hold_are_refused() {
    let place = Place::new();
    let (catalog, _) = place.open();
    let mut ids = Vec::new();
    for length in [1, 1_000, super::keys::ID_BYTES] {
        for byte in ["\0", "x"] {
            ids.push(byte.repeat(length));
        }
    }
    let changes = ids.iter().map(|id| appended(row(id, TaskState::Working, 1, 1), 1, 0)).collect();
    catalog.apply(changes, point(1)).unwrap();
    catalog.flush(NOW).unwrap();
    ids.sort_by(|one, other| other.cmp(one));
    let listed = catalog.list(&all(), &page(10)).unwrap();
    assert!(listed.rows.iter().map(|row| &*row.id).eq(ids.iter()));
    let long = row(&"x".repeat(super::keys::ID_BYTES + 1), TaskState::Working, 1, 1);
    let refused = catalog.apply(vec![appended(long, 1, 0)], point(2));
    assert!(matches!(refused, Err(CatalogError::Damaged(_))));
}
