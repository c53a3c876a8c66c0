//! A running turn from the engine's side: where its agent's updates are collected on their way to the log.
//!
//! While the agent's own future is being polled, updates are collected and handed to the writer when the poll
//! ends, or when [`HANDED_OVER`] of them wait. So an agent that says much at once costs one commit and one
//! wake, and one that waits between two updates is not delayed. Updates that other tasks make for it go at once.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::send::Pending;
use super::task::Live;
use super::writer::{Ending, Work, Writer};
use super::{counters, validate};
use crate::agent::{Output, Room, Turn, UpdateError, UpdateSink};
use crate::fault::{Fault, FaultKind};
use crate::model::Message;
use crate::trace::Span;

/// Updates that are collected at most before they are handed to the writer.
const HANDED_OVER: usize = 64;
/// How long the first of them waits at most while the agent makes more.
const LONGEST_WAIT: Duration = Duration::from_millis(2);

thread_local! {
    /// The number of the turn whose agent this thread polls; 0 for none.
    static POLLED: Cell<u64> = const { Cell::new(0) };
}

/// What the agent's [`Updates`](crate::agent::Updates), the runner and the writer share of a turn.
#[derive(Debug)]
pub(super) struct RunningTurn {
    /// Unique in this engine, from 1.
    pub(super) number: u64,
    pub(super) cancellation: CancellationToken,
    writer: Arc<Writer>,
    updates_ahead: usize,
    collected: Mutex<Collected>,
    /// Handed to the writer and not yet in the log.
    uncommitted: AtomicUsize,
    over: AtomicBool,
    progress: Notify,
}

#[derive(Debug)]
struct Collected {
    outputs: Vec<Output>,
    /// When the first of them came.
    since: Instant,
    task: TurnTask,
    refused: Option<String>,
    /// Until the turn is finished.
    span: Span,
}

/// What a turn works on.
#[derive(Debug)]
pub(super) enum TurnTask {
    /// A task that is open.
    Open(Live),
    /// The agent may still answer with a message; its first update opens the task.
    Pending(Box<Pending>),
    /// Nothing more.
    Closed,
}

impl RunningTurn {
    pub(super) fn new(number: u64, writer: Arc<Writer>) -> Self {
        let updates_ahead = writer.limits().updates_ahead.max(1);
        let collected = Collected {
            outputs: Vec::new(),
            since: Instant::now(),
            task: TurnTask::Closed,
            refused: None,
            span: Span::default(),
        };
        Self {
            number,
            cancellation: CancellationToken::new(),
            writer,
            updates_ahead,
            collected: Mutex::new(collected),
            uncommitted: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            progress: Notify::new(),
        }
    }

    /// Gives a turn what it works on before it begins.
    pub(super) fn expect_task(&self, task: TurnTask) {
        self.lock().task = task;
    }

    /// Gives a turn the task that was opened for it.
    pub(super) fn begin(&self, task: Live) {
        self.lock().task = TurnTask::Open(task);
    }

    /// Begins the turn's span. What the agent calls in the turn is then behind it in the trace.
    pub(super) fn trace(&self, agent: &str, view: &mut Turn) {
        let span = self.writer.tracer().turn(&view.parameters);
        span.agent(agent);
        span.task(&view.task_id);
        span.conversation(&view.context_id);
        if let Cow::Owned(parameters) = span.carried_by(&view.parameters) {
            view.parameters = Arc::new(parameters);
        }
        self.lock().span = span;
    }

    /// The writer is done with this many updates.
    pub(super) fn committed(&self, count: usize) {
        self.uncommitted.fetch_sub(count, Ordering::AcqRel);
        self.progress.notify_waiters();
    }

    /// Nothing more that the agent says in this turn counts.
    pub(super) fn close(&self) {
        self.over.store(true, Ordering::Release);
        self.progress.notify_waiters();
    }

    /// An update was no legal step; the agent's next call fails with this.
    pub(super) fn refuse(&self, why: String) {
        self.lock().refused.get_or_insert(why);
    }

    /// Hands what is collected to the writer.
    pub(super) fn hand_over(self: &Arc<Self>) {
        // Enqueued under the lock, so that batches keep their order; driven without it.
        let enqueued = self.enqueue(&mut self.lock());
        if enqueued {
            self.writer.drive();
        }
    }

    /// Queues what is collected. Returns whether that was anything: then the writer must be driven.
    fn enqueue(self: &Arc<Self>, collected: &mut Collected) -> bool {
        let outputs = std::mem::take(&mut collected.outputs);
        let count = outputs.len();
        if count == 0 {
            return false;
        }
        let outputs = match std::mem::replace(&mut collected.task, TurnTask::Closed) {
            TurnTask::Pending(pending) => match replied(outputs) {
                Ok(message) => {
                    self.over.store(true, Ordering::Release);
                    counters::add(&self.writer.counters().dropped_updates, count - 1);
                    self.writer.enqueue(pending.reply(message));
                    self.committed(count);
                    return true;
                }
                Err(outputs) => {
                    collected.task = TurnTask::Open(self.open(*pending));
                    outputs
                }
            },
            task => {
                collected.task = task;
                outputs
            }
        };
        if let TurnTask::Open(task) = &collected.task {
            let task = task.clone();
            self.writer.enqueue(Work::Updates { task, turn: Arc::clone(self), outputs });
        } else {
            counters::add(&self.writer.counters().dropped_updates, count);
            self.committed(count);
        }
        true
    }

    fn open(&self, pending: Pending) -> Live {
        let (task, delivery) = pending.open();
        self.writer.enqueue(Work::Open { task: task.clone(), delivery });
        task
    }

    /// The turn has ended. Afterwards nothing it says counts. Its last updates and its end are handed over
    /// together: one wake, and one group.
    pub(super) fn finish(self: &Arc<Self>, ending: Ending) {
        let (enqueued, task, span) = {
            let mut collected = self.lock();
            let enqueued = self.enqueue(&mut collected);
            let task = std::mem::replace(&mut collected.task, TurnTask::Closed);
            (enqueued, task, std::mem::take(&mut collected.span))
        };
        match task {
            TurnTask::Open(task) => {
                self.writer.submit(Work::Finish { task, turn: Arc::clone(self), ending, span });
            }
            // The agent said nothing at all: a task that is completed, or has failed, without a result.
            TurnTask::Pending(pending) if ending != Ending::Abandoned => {
                let task = self.open(*pending);
                self.writer.submit(Work::Finish { task, turn: Arc::clone(self), ending, span });
            }
            TurnTask::Pending(mut pending) => pending.delivery.replier.answer(Err(stopped())),
            // The agent has answered with a message, or this was done before.
            TurnTask::Closed => {
                span.end_turn(None);
                if enqueued {
                    self.writer.drive();
                }
            }
        }
        self.close();
    }

    fn is_polled_here(&self) -> bool {
        POLLED.get() == self.number
    }

    fn check(&self, collected: &mut Collected) -> Result<(), UpdateError> {
        if let Some(why) = collected.refused.take() {
            return Err(UpdateError::Refused(why));
        }
        if self.writer.has_failed() {
            return Err(UpdateError::Stopped);
        }
        if self.over.load(Ordering::Acquire) { Err(UpdateError::Over) } else { Ok(()) }
    }

    async fn wait_until(&self, uncommitted: usize) -> Result<(), UpdateError> {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.uncommitted.load(Ordering::Acquire) <= uncommitted || self.writer.has_failed() {
                return self.check(&mut self.lock());
            }
            progress.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sink of a turn's updates.
#[derive(Debug)]
pub(super) struct TurnSink(pub(super) Arc<RunningTurn>);

#[async_trait]
impl UpdateSink for TurnSink {
    fn push(&self, output: Output) -> Result<Room, UpdateError> {
        let turn = &self.0;
        let mut collected = turn.lock();
        if let Err(error) = turn.check(&mut collected) {
            if error == UpdateError::Over {
                counters::add(&turn.writer.counters().dropped_updates, 1);
            }
            return Err(error);
        }
        if let Err(why) = validate::output(&output, turn.writer.limits()) {
            counters::add(&turn.writer.counters().refused_updates, 1);
            return Err(UpdateError::Refused(why.into_owned()));
        }
        let now = Instant::now();
        if collected.outputs.is_empty() {
            collected.since = now;
        }
        collected.outputs.push(output);
        let waits_long = now.duration_since(collected.since) >= LONGEST_WAIT;
        let ahead = turn.uncommitted.fetch_add(1, Ordering::AcqRel) + 1;
        let waits = collected.outputs.len();
        drop(collected);
        if waits >= HANDED_OVER || waits_long || ahead > turn.updates_ahead || !turn.is_polled_here() {
            turn.hand_over();
        }
        let is_full = turn.uncommitted.load(Ordering::Acquire) > turn.updates_ahead;
        Ok(if is_full { Room::Full } else { Room::Free })
    }

    async fn room(&self) -> Result<(), UpdateError> {
        self.0.hand_over();
        self.0.wait_until(self.0.updates_ahead / 2).await
    }

    async fn flush(&self) -> Result<(), UpdateError> {
        self.0.hand_over();
        self.0.wait_until(0).await
    }
}

/// The message, if the first thing that the agent says is one.
fn replied(outputs: Vec<Output>) -> Result<Message, Vec<Output>> {
    if !matches!(outputs.first(), Some(Output::Reply(_))) {
        return Err(outputs);
    }
    match outputs.into_iter().next() {
        Some(Output::Reply(message)) => Ok(message),
        other => Err(other.into_iter().collect()),
    }
}

/// Polls an agent, and hands over what it said when it waits; after its end, the turn has to be finished. A panic is
/// an output like others.
pub(super) struct Polled<F> {
    pub(super) turn: Arc<RunningTurn>,
    pub(super) agent: Pin<Box<F>>,
}

impl<F: Future> Future for Polled<F> {
    type Output = thread::Result<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outer = POLLED.replace(self.turn.number);
        // The agent is not polled again after a panic, so nobody sees what it left half done.
        let polled = catch_unwind(AssertUnwindSafe(|| self.agent.as_mut().poll(context)));
        POLLED.set(outer);
        match polled {
            Ok(Poll::Pending) => {
                self.turn.hand_over();
                Poll::Pending
            }
            // What is left is handed over with the end of the turn.
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

pub(super) fn stopped() -> Fault {
    let message = "the server is stopping; send again to another or later";
    Fault::new(FaultKind::Overloaded, message)
}
