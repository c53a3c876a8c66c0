//! Readers beside a writer and a flusher.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Dice, NOW, Place, all, appended, page, point, row};
use crate::model::{Id, TaskState};
use crate::store::ListFilter;

const TASKS: u64 = 400;
const STATES: [TaskState; 3] = [TaskState::Working, TaskState::InputRequired, TaskState::AuthRequired];

/// Whatever is written down meanwhile, every list shows each task once and counts it once.
#[test]
fn lists_are_of_one_moment_while_tasks_change_and_layers_are_written_down() {
    let place = Place::new();
    let (catalog, _) = place.open();
    let id = |n: u64| format!("task {n}");
    let first = (0..TASKS).map(|n| appended(row(&id(n), STATES[0], 0, 1), 1, 0)).collect();
    catalog.apply(first, point(1)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut dice, mut seqs) = (Dice::seeded(), vec![1; TASKS as usize]);
            for frame in 2..6_000 {
                let n = dice.below(TASKS);
                let seq = &mut seqs[n as usize];
                *seq += 1;
                let state = *dice.pick(&STATES);
                let change = appended(row(&id(n), state, frame as i64, *seq), *seq, 0);
                catalog.apply(vec![change], point(frame)).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                catalog.flush(NOW).unwrap();
                catalog.compact().unwrap();
            }
        });
        for reader in 0..2 {
            let (catalog, done) = (&catalog, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    let since = (reader == 1).then_some(NOW);
                    let filter = ListFilter { status_since: since, ..all() };
                    let listed = catalog.list(&filter, &page(TASKS as usize)).unwrap();
                    assert_eq!(listed.total, TASKS);
                    let mut ids: Vec<_> = listed.rows.iter().map(|row| row.id.clone()).collect();
                    assert!(listed.rows.is_sorted_by(|one, other| {
                        (one.status_timestamp, &one.id) > (other.status_timestamp, &other.id)
                    }));
                    ids.sort_unstable();
                    ids.dedup();
                    assert_eq!(ids.len() as u64, TASKS);
                    let open = catalog.unfinished(None, usize::MAX).unwrap();
                    assert_eq!(open.len() as u64, TASKS);
                    let task: Id = ids[reader].clone();
                    let last = catalog.last_seq(&task).unwrap();
                    let chunks = catalog.chunks(&task, 0, usize::MAX).unwrap();
                    assert!(chunks.len() as u64 >= last);
                    assert!(chunks.iter().enumerate().all(|(at, chunk)| chunk.first == at as u64 + 1));
                }
            });
        }
    });
}
