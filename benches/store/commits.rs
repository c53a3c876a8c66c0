//! The store by itself: groups as the engine's writer would give them, several in flight.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_webcap::clock::Clock;
use a2a_webcap::limits::StoreLimits;
use a2a_webcap::model::{Event, Id, TaskState};
use a2a_webcap::store::embedded::EmbeddedStore;
use a2a_webcap::store::{Append, Group, Store};
use futures::stream::{FuturesUnordered, StreamExt as _};

use crate::Outcome;
use crate::engine::{Measured, TASK_EVENTS};
use crate::fill::{chunk, context_id, finished, row, status, task_id};
use crate::plain::cleared;
use crate::process::answer;

/// Groups in flight.
const GROUPS: u64 = 8;
/// Tasks in each group.
const TASKS: u64 = 4;
/// Events of each task in one group.
const EVENTS: u64 = 8;

/// The process. Each line says for how many milliseconds to measure; the answer is one of [`Measured`].
pub(crate) fn run(dir: &str) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dir = Path::new(dir);
    runtime.block_on(answer("ready", async |line| {
        let time = Duration::from_millis(line.parse()?);
        cleared(dir, async {
            let store = EmbeddedStore::open(&dir.join("data"), &StoreLimits::default(), &Clock::system())?;
            let measured = measure(&store, time).await?;
            store.close().await?;
            Ok(measured)
        })
        .await
    }))
}

async fn measure(store: &EmbeddedStore, time: Duration) -> Outcome<String> {
    let mut flight = FuturesUnordered::new();
    let mut next_task = 0;
    for _ in 0..GROUPS {
        let tasks = (0..TASKS).map(|_| Task::new(&mut next_task)).collect();
        flight.push(commit(store, tasks, &mut next_task));
    }
    let (mut measured, mut events) = (None, 0);
    let begun = Instant::now();
    loop {
        let tasks = flight.next().await.ok_or("nothing is in flight")??;
        flight.push(commit(store, tasks, &mut next_task));
        events += TASKS * EVENTS;
        match &measured {
            None if begun.elapsed() >= time / 5 => measured = Some(Measured::begin(store, events)),
            Some(measured) if measured.elapsed() >= time => break,
            _ => {}
        }
    }
    let line = measured.map(|measured| measured.end(store, events)).ok_or("nothing was measured")?;
    while let Some(committed) = flight.next().await {
        committed?;
    }
    Ok(line)
}

/// A task that events are added to.
struct Task {
    id: Id,
    context: Id,
    number: u64,
    last_seq: u64,
}

impl Task {
    fn new(next: &mut u64) -> Self {
        let number = *next;
        *next += 1;
        Self { id: task_id(number), context: context_id(number), number, last_seq: 0 }
    }

    fn append(&mut self) -> Append {
        let ids = (&self.id, &self.context);
        let (expected, at) = (self.last_seq, finished(self.number));
        self.last_seq += EVENTS;
        let events = (expected + 1..=self.last_seq).map(|seq| {
            let update = match seq {
                1 => status(ids, TaskState::Working, at),
                TASK_EVENTS => status(ids, TaskState::Completed, at),
                _ => chunk(ids, seq > 2),
            };
            Arc::new(Event { seq, update, cause: None })
        });
        let events = events.collect();
        let state = if self.last_seq >= TASK_EVENTS { TaskState::Completed } else { TaskState::Working };
        let row = row((self.id.clone(), self.context.clone()), state, at, self.last_seq);
        Append { expected, events, row }
    }
}

/// Gives one group to the store at once; what is returned waits for it and gives its tasks back.
fn commit(
    store: &EmbeddedStore,
    mut tasks: Vec<Task>,
    next: &mut u64,
) -> impl Future<Output = Outcome<Vec<Task>>> + use<> {
    for task in &mut tasks {
        if task.last_seq >= TASK_EVENTS {
            *task = Task::new(next);
        }
    }
    let appends = tasks.iter_mut().map(Task::append).collect();
    let committed = store.commit(&Group { appends, ..Group::default() });
    async move {
        committed.await?;
        Ok(tasks)
    }
}
