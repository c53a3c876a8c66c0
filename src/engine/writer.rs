//! The one logical writer: what is queued becomes events, one group at a time.
//!
//! It drains what is there, checks each step with the task's machine, gives numbers, commits once, and only
//! then makes the events visible, wakes their readers and answers. It never waits for more to come: while one
//! group is being committed, the next one gathers.
//!
//! With a store that commits inline there is no thread for this: whoever has something to write drains
//! the queue, unless somebody else is at it, who then does this too. With any other store a thread drains.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::{io, thread};

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::counters::{self, Counters};
use super::prepare::{Effect, Prepared};
use super::send::{Delivery, FollowUp};
use super::task::{Live, Registry};
use super::turn::RunningTurn;
use super::{runner, turn};
use crate::agent::Output;
use crate::clock::Clock;
use crate::fault::Fault;
use crate::limits::EngineLimits;
use crate::model::{Id, Message, Task};
use crate::store::{Checkpoint, Group, Store, StoreError};

/// Something to be written.
#[derive(Debug)]
pub(super) enum Work {
    /// Opens a task with its first event.
    Open { task: Live, delivery: Box<Delivery> },
    /// A client's message to a task.
    FollowUp(Box<FollowUp>),
    /// What an agent says.
    Updates { task: Live, turn: Arc<RunningTurn>, outputs: Vec<Output> },
    /// An agent has ended its turn.
    Finish { task: Live, turn: Arc<RunningTurn>, ending: Ending },
    /// A client calls a task off.
    Cancel { task: Live, answer: oneshot::Sender<Result<Arc<Task>, Fault>> },
    /// An agent answers without a task.
    Reply { delivery: Box<Delivery>, message: Message, context: Id },
}

/// How a turn has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The agent returned.
    Returned,
    /// The agent failed, or its time was over; with what the client is told.
    Failed(String),
    /// Nothing is to be said about it: the task has gone on without, or the server stops.
    Abandoned,
}

#[derive(Debug)]
struct Queue {
    works: VecDeque<Work>,
    closed: bool,
}

/// What a drain uses again and again.
#[derive(Default)]
pub(super) struct Scratch {
    works: VecDeque<Work>,
    group: Group,
    prepared: Vec<Prepared>,
    checkpoints: Vec<Checkpoint>,
    woken: Vec<Waker>,
}

pub(super) struct Writer {
    store: Arc<dyn Store>,
    clock: Clock,
    limits: EngineLimits,
    runtime: Handle,
    registry: Arc<Registry>,
    counters: Arc<Counters>,
    inline: bool,
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Held by whoever drains.
    draining: Mutex<Scratch>,
    failed: AtomicBool,
    /// The thread that drains, if there is one, has ended.
    ended: AtomicBool,
}

impl Writer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        (clock, limits): (Clock, EngineLimits),
        runtime: Handle,
        registry: Arc<Registry>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            inline: store.commits_inline(),
            store,
            clock,
            limits,
            runtime,
            registry,
            counters,
            queue: Mutex::new(Queue { works: VecDeque::new(), closed: false }),
            arrived: Condvar::new(),
            draining: Mutex::default(),
            failed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// Starts the thread that drains, where the store needs one. It ends after [`close`](Self::close).
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        if self.inline {
            return Ok(());
        }
        let writer = Arc::clone(self);
        thread::Builder::new().name("a2a-log".to_owned()).spawn(move || writer.drain_until_closed()).map(drop)
    }

    /// Queues work; [`drive`](Self::drive) must follow.
    pub(super) fn enqueue(&self, work: Work) {
        let mut queue = self.queue();
        if queue.closed {
            drop(queue);
            return Effect::of_unstarted(work).fail(&turn::stopped());
        }
        queue.works.push_back(work);
    }

    /// Sees to it that what is queued is written.
    pub(super) fn drive(&self) {
        if !self.inline {
            self.arrived.notify_one();
            return;
        }
        loop {
            match self.draining.try_lock() {
                Ok(mut scratch) => while self.drain(&mut scratch) {},
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(_)) => return self.fail("a drain panicked before"),
            }
            // What came between the last look at the queue and the unlocking found the lock taken.
            if self.queue().works.is_empty() {
                return;
            }
        }
    }

    pub(super) fn submit(&self, work: Work) {
        self.enqueue(work);
        self.drive();
    }

    /// Takes no more work; what is queued is still written.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.arrived.notify_all();
    }

    /// Whether everything that was queued before [`close`](Self::close) is written.
    pub(super) fn has_ended(&self) -> bool {
        self.inline || self.ended.load(Ordering::Acquire)
    }

    /// Whether the store has failed. Nothing can be written any more.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(super) fn limits(&self) -> &EngineLimits {
        &self.limits
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn drain_until_closed(&self) {
        let mut scratch = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut queue = self.queue();
            while queue.works.is_empty() && !queue.closed {
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let is_over = queue.works.is_empty();
            drop(queue);
            if is_over {
                return self.ended.store(true, Ordering::Release);
            }
            while self.drain(&mut scratch) {}
        }
    }

    /// Writes one group. Returns false if nothing was there.
    fn drain(&self, scratch: &mut Scratch) -> bool {
        if scratch.works.is_empty() {
            let mut queue = self.queue();
            let count = queue.works.len().min(self.limits.group_items.max(1));
            scratch.works.extend(queue.works.drain(..count));
        }
        if scratch.works.is_empty() {
            return false;
        }
        let now = self.clock.now();
        let (mut items, mut bytes) = (0, 0);
        while items < self.limits.group_items.max(1) && bytes < self.limits.group_bytes.max(1) {
            let Some(work) = scratch.works.pop_front() else { break };
            let appends = scratch.group.appends.len();
            let prepared = Prepared::new(work, now, &mut scratch.group, &self.counters);
            let new = scratch.group.appends[appends..].iter().flat_map(|append| &append.events);
            bytes += new.clone().map(|event| event.approximate_size()).sum::<usize>();
            items += new.count().max(1);
            scratch.prepared.push(prepared);
        }
        match self.commit(&scratch.group) {
            Ok(()) => self.publish(scratch),
            Err(error) => {
                tracing::error!(%error, "the store failed; the engine stops");
                let fault = Fault::internal(error.to_string());
                scratch.prepared.drain(..).for_each(|prepared| prepared.effect.fail(&fault));
                scratch.group = Group::default();
                self.fail("the store failed");
            }
        }
        true
    }

    fn commit(&self, group: &Group) -> Result<(), StoreError> {
        if group.is_empty() {
            return Ok(());
        }
        let committed = self.store.commit(group);
        self.wait(committed)?;
        counters::add(&self.counters.commits, 1);
        counters::add(&self.counters.events, group.appends.iter().map(|append| append.events.len()).sum());
        Ok(())
    }

    fn wait(&self, storing: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
        if self.inline {
            let ready = storing.now_or_never();
            return ready.unwrap_or_else(|| {
                Err(StoreError::failed("a store that says it commits inline was not ready"))
            });
        }
        self.runtime.block_on(storing)
    }

    /// Makes a committed group visible and does what follows from it.
    fn publish(&self, scratch: &mut Scratch) {
        let Scratch { group, prepared, checkpoints, woken, .. } = scratch;
        for prepared in prepared.iter_mut() {
            let (Some(task), Some(at)) = (&prepared.task, prepared.append) else { continue };
            let mut log = task.lock();
            prepared.before = prepared.wants_before.then(|| log.visible().cloned()).flatten();
            let settled = log.publish(&group.appends[at].events, &self.limits, woken);
            if settled && let Some(task) = log.visible() {
                checkpoints.push(Checkpoint { seq: log.committed(), task: Arc::clone(task) });
            }
        }
        if !checkpoints.is_empty() {
            self.store.checkpoint(checkpoints);
            checkpoints.clear();
        }
        woken.drain(..).for_each(Waker::wake);
        for prepared in prepared.drain(..) {
            if let Some(launch) = prepared.happen() {
                self.runtime.spawn(runner::run(launch));
            }
        }
        group.clear();
    }

    /// Nothing is written any more. Whoever waits for something learns it.
    fn fail(&self, why: &'static str) {
        self.failed.store(true, Ordering::Release);
        let left = {
            let mut queue = self.queue();
            queue.closed = true;
            std::mem::take(&mut queue.works)
        };
        let fault = Fault::internal(why);
        left.into_iter().for_each(|work| Effect::of_unstarted(work).fail(&fault));
        let mut woken = Vec::new();
        for task in self.registry.all() {
            task.lock().wakers.take(true, &mut woken);
        }
        woken.into_iter().for_each(Waker::wake);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("store", &self.store.describe()).finish_non_exhaustive()
    }
}
