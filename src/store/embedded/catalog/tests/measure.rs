//! Figures, on demand and optimised: the test of this file by its name, with `--ignored --nocapture`.
//! `A2A_WEBCAP_CATALOG_TASKS` says how many tasks there are in the end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Dice, Place, at, setting};
use crate::model::{Id, TaskState, Timestamp, fresh_id};
use crate::store::embedded::catalog::Catalog;
use crate::store::embedded::{Change, LogPoint, Position};
use crate::store::{Answer, Cursor, ListFilter, PageRequest, Remembered, SendDigest, SendKey, TaskRow};

/// Tasks that are open at once, and changes of each.
const OPEN: u64 = 256;
const CHANGES: u64 = 8;

struct Load {
    rows: Vec<TaskRow>,
    ids: Vec<Id>,
    frame: u64,
    time: i64,
    agent: Id,
    owner: Id,
}

impl Load {
    /// One change of each open task, and what remembers the send of a new one.
    fn batch(&mut self, step: u64) -> Vec<Change> {
        let mut changes = Vec::with_capacity(2 * OPEN as usize);
        if step == 0 {
            self.rows.clear();
            for _ in 0..OPEN {
                let id = fresh_id();
                self.ids.push(id.clone());
                self.rows.push(TaskRow {
                    id,
                    context: fresh_id(),
                    agent: self.agent.clone(),
                    owner: self.owner.clone(),
                    state: TaskState::Submitted,
                    status_timestamp: at(0),
                    last_seq: 0,
                    generation: 0,
                    created: at(self.time),
                });
            }
        }
        self.frame += 1;
        for row in &mut self.rows {
            self.time += 1_000_000;
            row.last_seq += 1;
            match step {
                0 => row.status_timestamp = at(self.time),
                1 => (row.state, row.status_timestamp) = (TaskState::Working, at(self.time)),
                7 => (row.state, row.status_timestamp) = (TaskState::Completed, at(self.time)),
                _ => {}
            }
            row.generation += 1;
            let segment = (self.frame / 256) as u32 + 1;
            let place = Position { segment, offset: self.frame as u32, bytes: 250 };
            changes.push(Change::Appended { row: row.clone(), first: row.last_seq, at: place });
            if step == 0 {
                let key = SendKey(self.time.to_be_bytes().repeat(2).try_into().unwrap());
                let (task_id, context_id) = (row.id.clone(), row.context.clone());
                let answer = Answer::Task { task_id, context_id, after: 0 };
                let expires = at(self.time + 1_000_000_000_000);
                changes.push(Change::Remembered(Remembered {
                    key,
                    digest: SendDigest([7; 16]),
                    answer,
                    expires,
                }));
            }
        }
        changes
    }

    fn point(&self) -> LogPoint {
        LogPoint {
            segment: (self.frame / 256) as u32 + 1,
            offset: self.frame as u32,
            frame: self.frame,
            chain: 0,
        }
    }
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4 / 1024
}

/// The median, in microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn timed(rounds: usize, mut job: impl FnMut()) -> f64 {
    let times = (0..rounds).map(|_| {
        let start = Instant::now();
        job();
        start.elapsed()
    });
    median(times.collect())
}

fn measure_reads(catalog: &Catalog, load: &Load) {
    let filter = ListFilter {
        agent: load.agent.clone(),
        owner: load.owner.clone(),
        context: None,
        state: None,
        status_since: None,
    };
    let first = timed(300, || {
        catalog.list(&filter, &PageRequest { after: None, size: 50 }).unwrap();
    });
    let mut dice = Dice(1);
    let mut deep = || Cursor { status_timestamp: at(dice.below(load.time as u64) as i64), id: "z".into() };
    let deep = timed(300, || {
        catalog.list(&filter, &PageRequest { after: Some(deep()), size: 50 }).unwrap();
    });
    let completed = ListFilter { state: Some(TaskState::Completed), ..filter.clone() };
    let state = timed(300, || {
        catalog.list(&completed, &PageRequest { after: None, size: 50 }).unwrap();
    });
    let mut dice = Dice(2);
    let located = timed(2_000, || {
        catalog.located(dice.pick(&load.ids)).unwrap().unwrap();
    });
    let chunks = timed(2_000, || {
        assert_eq!(catalog.chunks(dice.pick(&load.ids), 0, 16).unwrap().len(), 8);
    });
    println!(
        "{} tasks: first page {first:.0} us, deep {deep:.0} us, completed {state:.0} us, \
         located {located:.1} us, chunks {chunks:.1} us, {} MB resident, {} MB on disk",
        load.ids.len(),
        resident(),
        catalog.tables.bytes() >> 20,
    );
}

#[test]
#[ignore = "takes minutes, and says something only when it is optimised"]
fn how_fast_and_how_big() {
    let tasks = setting("A2A_WEBCAP_CATALOG_TASKS").unwrap_or(1_000_000);
    let place = Place::new();
    let (catalog, _) = place.open();
    let (agent, owner) = ("agent".into(), "ann".into());
    let mut load = Load { rows: Vec::new(), ids: Vec::new(), frame: 0, time: 0, agent, owner };
    let (done, now) = (AtomicBool::new(false), AtomicU64::new(0));
    println!("{} MB resident at first", resident());
    thread::scope(|scope| {
        let upkeep = scope.spawn(|| {
            let (mut flushes, mut flushing, mut compacting) = (0, Duration::ZERO, Duration::ZERO);
            while !done.load(Ordering::Acquire) {
                if catalog.needs_flush() {
                    let start = Instant::now();
                    catalog.flush(Timestamp::from_unix_nanos(now.load(Ordering::Relaxed) as i64)).unwrap();
                    flushing += start.elapsed();
                    let start = Instant::now();
                    catalog.compact().unwrap();
                    compacting += start.elapsed();
                    flushes += 1;
                }
                thread::sleep(Duration::from_millis(5));
            }
            println!("{flushes} flushes in {flushing:?}, compacted in {compacting:?}");
        });
        let (mut applying, mut changes) = (Duration::ZERO, 0);
        let mut most = 0;
        let began = Instant::now();
        for target in [10_000, tasks] {
            while (load.ids.len() as u64) < target {
                for step in 0..CHANGES {
                    let batch = load.batch(step);
                    changes += batch.len() as u64;
                    let start = Instant::now();
                    catalog.apply(batch, load.point()).unwrap();
                    applying += start.elapsed();
                }
                now.store(load.time as u64, Ordering::Relaxed);
                most = most.max(resident());
                // What cannot be written down as fast is held back, as the disk would.
                while catalog.bytes.load(Ordering::Relaxed) > 2 * catalog.most_bytes {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            let each = applying.as_secs_f64() * 1e9 / changes as f64;
            println!("{changes} changes, {each:.0} ns each, {:?} in all, {most} MB at most", began.elapsed());
            measure_reads(&catalog, &load);
            if target == 10_000 {
                catalog.flush(at(0)).unwrap();
                catalog.compact().unwrap();
                measure_reads(&catalog, &load);
            }
        }
        done.store(true, Ordering::Release);
        upkeep.join().unwrap();
    });
    catalog.flush(at(0)).unwrap();
    catalog.compact().unwrap();
    measure_reads(&catalog, &load);
    drop(catalog);
    let start = Instant::now();
    let (catalog, _) = place.open();
    let opened = start.elapsed();
    let start = Instant::now();
    catalog.verify().unwrap();
    println!("opened in {opened:?}, verified in {:?}", start.elapsed());
    measure_reads(&catalog, &load);
    // Answering what a start asks first.
    let start = Instant::now();
    assert!(catalog.unfinished(None, 100).unwrap().is_empty());
    println!("nothing unfinished: {:?}", start.elapsed());
}
