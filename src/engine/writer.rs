//! The one logical writer: what is queued becomes events, one group at a time.
//!
//! It drains what is there, checks each step with the task's machine, gives numbers, commits once, and only
//! then makes the events visible, wakes their readers and answers. It never waits for more to come: while one
//! group is being committed, the next one gathers.
//!
//! With a store that commits inline there is no thread for this: whoever has something to write drains
//! the queue, unless somebody else is at it, who then does this too. With any other store a thread drains, and
//! keeps several groups on their way: see [`pipeline`](super::pipeline).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::{io, thread};

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::counters::{self, Counters};
use super::pipeline::Pipeline;
use super::prepare::{Effect, Prepared};
use super::recover::{Recovery, RecoveryAnswer};
use super::send::{Delivery, FollowUp};
use super::task::{Core, Live, Registry};
use super::turn::RunningTurn;
use super::{runner, turn};
use crate::agent::Output;
use crate::clock::Clock;
use crate::fault::Fault;
use crate::limits::EngineLimits;
use crate::model::{Id, Message, Task};
use crate::store::{Checkpoint, Cut, Group, Store, StoreError};
use crate::trace::{Span, Tracer};

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
    Finish { task: Live, turn: Arc<RunningTurn>, ending: Ending, span: Span },
    /// A client calls a task off.
    Cancel { task: Live, answer: oneshot::Sender<Result<Arc<Task>, Fault>> },
    /// A task has lost its runner with the process before.
    Recover { task: Live, recovery: Recovery, answer: RecoveryAnswer },
    /// The engine stops: nothing more that the agent says counts, and the task stays as it is.
    CutShort { task: Arc<Core> },
    /// An owner deletes a task, which is given if it is in use.
    Delete { id: Id, task: Option<Live>, answer: oneshot::Sender<Result<(), Fault>> },
    /// Retention takes finished tasks, or their events.
    Retire { deletions: Vec<Id>, cuts: Vec<Cut>, answer: oneshot::Sender<Result<(), Fault>> },
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

/// A group, and what happens once it is in the store.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) group: Group,
    prepared: Vec<Prepared>,
}

/// What an inline drain uses again and again.
#[derive(Default)]
struct Scratch {
    works: VecDeque<Work>,
    batch: Batch,
    publishing: Publishing,
}

/// What publishing uses again and again.
#[derive(Default)]
pub(super) struct Publishing {
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
    tracer: Tracer,
    inline: bool,
    queue: Mutex<Queue>,
    /// For the thread that drains; one waits at most.
    arrived: Notify,
    /// Held by whoever drains inline.
    draining: Mutex<Scratch>,
    failed: AtomicBool,
    /// For those who wait for a failure.
    failure: CancellationToken,
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
            tracer: Tracer::default(),
            queue: Mutex::new(Queue { works: VecDeque::new(), closed: false }),
            arrived: Notify::new(),
            draining: Mutex::default(),
            failed: AtomicBool::new(false),
            failure: CancellationToken::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// Starts the thread that drains, where the store needs one. It ends after [`close`](Self::close).
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        if self.inline {
            return Ok(());
        }
        let ending = EndOnDrop(Arc::clone(self));
        let drain = move || ending.0.runtime.block_on(Pipeline::new(&ending.0).run());
        thread::Builder::new().name("a2a-log".to_owned()).spawn(drain).map(drop)
    }

    /// Queues work; [`drive`](Self::drive) must follow.
    pub(super) fn enqueue(&self, work: Work) {
        let mut queue = self.queue();
        if queue.closed {
            drop(queue);
            let fault = if self.has_failed() { store_failed() } else { turn::stopped() };
            return Effect::of_unstarted(work).fail(&fault);
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
                Err(TryLockError::Poisoned(_)) => {
                    tracing::error!("a drain panicked; the engine stops");
                    return self.fail();
                }
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
        self.arrived.notify_one();
    }

    /// Whether everything that was queued before [`close`](Self::close) is written.
    pub(super) fn has_ended(&self) -> bool {
        if !self.inline {
            return self.ended.load(Ordering::Acquire);
        }
        // Our look at the lock may have kept somebody from draining.
        self.drive();
        self.queue().works.is_empty() && !matches!(self.draining.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Whether the store has failed. Nothing can be written any more.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Resolves when the store has failed.
    pub(super) fn failure(&self) -> impl Future<Output = ()> + Send + use<> {
        self.failure.clone().cancelled_owned()
    }

    pub(super) fn limits(&self) -> &EngineLimits {
        &self.limits
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(super) fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Waits until something was queued, or the queue was closed, since the last wait.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// How much work is queued.
    pub(super) fn queued(&self) -> usize {
        self.queue().works.len()
    }

    /// Whether nothing is queued and nothing more will be.
    pub(super) fn is_over(&self) -> bool {
        let queue = self.queue();
        queue.closed && queue.works.is_empty()
    }

    /// Writes one group inline. Returns false if nothing was there.
    fn drain(&self, scratch: &mut Scratch) -> bool {
        let Scratch { works, batch, publishing } = scratch;
        if !self.gather(works, batch) {
            return false;
        }
        let committed = match batch.group.is_empty() {
            true => Ok(()),
            false => self.store.commit(&batch.group).now_or_never().unwrap_or_else(|| {
                Err(StoreError::failed("a store that says it commits inline was not ready"))
            }),
        };
        match committed {
            Ok(()) => self.publish(batch, publishing),
            Err(error) => {
                self.poison(&error);
                batch.fail(&Fault::internal(error));
                self.fail();
            }
        }
        true
    }

    /// Takes what is queued, up to one group, and makes events of it. Returns false if nothing was there.
    /// What was taken and did not fit stays in `works`.
    pub(super) fn gather(&self, works: &mut VecDeque<Work>, batch: &mut Batch) -> bool {
        if works.is_empty() {
            let mut queue = self.queue();
            let count = queue.works.len().min(self.limits.group_items.max(1));
            works.extend(queue.works.drain(..count));
        }
        if works.is_empty() {
            return false;
        }
        let now = self.clock.now();
        let (mut items, mut bytes) = (0, 0);
        while items < self.limits.group_items.max(1) && bytes < self.limits.group_bytes.max(1) {
            let Some(work) = works.pop_front() else { break };
            let appends = batch.group.appends.len();
            let prepared = Prepared::new(work, now, &mut batch.group, &self.counters);
            let new = batch.group.appends[appends..].iter().flat_map(|append| &append.events);
            bytes += new.clone().map(|event| event.approximate_size()).sum::<usize>();
            items += new.count().max(1);
            batch.prepared.push(prepared);
        }
        true
    }

    /// Makes a committed group visible and does what follows from it. Leaves the batch empty.
    pub(super) fn publish(&self, batch: &mut Batch, publishing: &mut Publishing) {
        let Batch { group, prepared } = batch;
        let Publishing { checkpoints, woken } = publishing;
        if !group.is_empty() {
            let events = group.appends.iter().map(|append| append.events.len()).sum();
            counters::add(&self.counters.commits, 1);
            counters::add(&self.counters.events, events);
        }
        for prepared in prepared.iter_mut() {
            let (Some(task), Some(at)) = (&prepared.task, prepared.append) else { continue };
            let mut log = task.lock();
            // Groups are published in order, so this is what the task was before these events, however many
            // groups were on their way when they were prepared.
            prepared.before = prepared.wants_before.then(|| log.visible().cloned()).flatten();
            let settled = log.publish(&group.appends[at].events, &self.limits, woken);
            if settled && let Some(task) = log.visible() {
                checkpoints.push(Checkpoint { seq: log.committed(), task: Arc::clone(task) });
            }
        }
        for live in group.deletions.iter().filter_map(|id| self.registry.find(id)) {
            live.lock().remove(woken);
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

    /// From now on everybody who looks sees that the store has failed.
    pub(super) fn poison(&self, error: &StoreError) {
        tracing::error!(%error, "the store failed; the engine stops");
        self.failed.store(true, Ordering::Release);
    }

    /// Nothing is written any more. Whoever waits for something learns it.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        let left = {
            let mut queue = self.queue();
            queue.closed = true;
            std::mem::take(&mut queue.works)
        };
        let fault = store_failed();
        left.into_iter().for_each(|work| Effect::of_unstarted(work).fail(&fault));
        let mut woken = Vec::new();
        for task in self.registry.all() {
            task.lock().wakers.take(true, &mut woken);
        }
        woken.into_iter().for_each(Waker::wake);
        self.failure.cancel();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said to those who come after the failure.
pub(super) fn store_failed() -> Fault {
    Fault::internal("the store has failed")
}

impl Batch {
    /// The events did not get into the store; whoever waits for them learns it.
    pub(super) fn fail(&mut self, fault: &Fault) {
        self.prepared.drain(..).for_each(|prepared| prepared.effect.fail(fault));
        self.group.clear();
    }
}

/// The thread that drains has ended. Nobody may wait for it any more, even if it panicked.
struct EndOnDrop(Arc<Writer>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if !self.0.is_over() {
            tracing::error!("the writer's thread panicked; the engine stops");
            self.0.fail();
        }
        self.0.ended.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("store", &self.store.describe()).finish_non_exhaustive()
    }
}
