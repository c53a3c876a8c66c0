//! Feeds: how a task's events are read. A feed is a cursor, not a queue: recent events come from memory, older
//! ones from the store, and a reader that stops costs its cursor.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::counters::Held;
use super::task::{Live, is_settled};
use super::wakers::Until;
use super::writer::{Writer, store_failed};
use crate::fault::{Fault, FaultKind};
use crate::model::{Event, Id, Task};
use crate::store::{ReadLimit, Store, StoreError};

/// What a feed takes from memory or the store at once.
const BATCH: ReadLimit = ReadLimit { events: 64, bytes: 64 << 10 };

/// Where a feed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A snapshot of the task, then what follows it.
    Snapshot,
    /// The event after this number.
    After(u64),
    /// What follows from now on.
    Live,
}

/// What a feed is for, which decides where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedKind {
    /// A send's own stream: ends at a terminal or interrupted state.
    Send,
    /// A subscription: ends at a terminal state only.
    Subscription,
}

/// A reader of one task's events: each once, in order. Its last one is final, unless nothing was left.
///
/// [`try_next`](Self::try_next) takes what is there; [`ready`](Self::ready) waits for more. Dropping a feed
/// leaves the task alone.
pub struct Feed {
    task: Id,
    kind: FeedKind,
    /// The last event that was taken from memory or the store.
    cursor: u64,
    /// The last event that the reader was given.
    given: u64,
    source: Source,
    taken: VecDeque<Arc<Event>>,
    reading: Option<Reading>,
    snapshot: Option<(Arc<Task>, u64)>,
    ended: bool,
    store: Arc<dyn Store>,
    writer: Arc<Writer>,
    _held: Held,
}

/// What may still come of a task.
pub struct Outlook(Result<Live, u64>);

impl Outlook {
    /// Whether an agent works on it, or what that has said is on its way.
    pub fn is_worked_on(&self) -> bool {
        self.0.as_ref().is_ok_and(|task| task.lock().is_worked_on())
    }

    /// The number of the last event that there is to see.
    pub fn last_seq(&self) -> u64 {
        self.0.as_ref().map_or_else(|last| *last, |task| task.lock().committed())
    }
}

impl fmt::Debug for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlook").field("last_seq", &self.last_seq()).finish_non_exhaustive()
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Vec<Arc<Event>>, StoreError>> + Send>>;

enum Source {
    /// A task in use, and our place among those who wait for it.
    Live { task: Live, slot: usize },
    /// A finished task, and its last number.
    Finished { last: u64 },
}

/// What a look at the source has found.
enum Found {
    Taken,
    /// Nothing yet; the waker is registered.
    Nothing,
    /// Nothing for ever.
    End,
    /// The store has it.
    Older,
    /// The task was taken away.
    Gone,
}

impl Feed {
    pub(super) fn of_live(
        task: Live,
        start: Start,
        kind: FeedKind,
        writer: &Arc<Writer>,
        store: &Arc<dyn Store>,
    ) -> Result<Self, Fault> {
        let mut log = task.lock();
        let Some(visible) = log.visible().cloned() else { return Err(Fault::task_not_found()) };
        let last = log.committed();
        let cursor = begin(start, last, visible.is_finished())?;
        let slot = log.wakers.join();
        drop(log);
        let id = task.id.clone();
        let snapshot = (start == Start::Snapshot).then_some((visible, last));
        Ok(Self::new(id, kind, cursor, Source::Live { task, slot }, (writer, store)).with(snapshot))
    }

    pub(super) fn of_finished(
        (id, last): (Id, u64),
        start: Start,
        kind: FeedKind,
        writer: &Arc<Writer>,
        store: &Arc<dyn Store>,
    ) -> Result<Self, Fault> {
        let cursor = begin(start, last, true)?;
        Ok(Self::new(id, kind, cursor, Source::Finished { last }, (writer, store)))
    }

    fn new(
        task: Id,
        kind: FeedKind,
        cursor: u64,
        source: Source,
        (writer, store): (&Arc<Writer>, &Arc<dyn Store>),
    ) -> Self {
        Self {
            task,
            kind,
            cursor,
            given: cursor,
            source,
            taken: VecDeque::new(),
            reading: None,
            snapshot: None,
            ended: false,
            store: Arc::clone(store),
            writer: Arc::clone(writer),
            _held: Held::new(writer.counters(), |counters| &counters.feeds),
        }
    }

    /// With a snapshot, which has the events up to a number.
    pub(super) fn with(mut self, snapshot: Option<(Arc<Task>, u64)>) -> Self {
        self.snapshot = snapshot;
        self
    }

    /// The task.
    pub fn task_id(&self) -> &Id {
        &self.task
    }

    /// The number after which the feed goes on: that of the last event that it gave, or where it began.
    pub fn position(&self) -> u64 {
        self.given
    }

    /// What may still come of the task; can be asked for as long as one likes.
    pub fn outlook(&self) -> Outlook {
        Outlook(match &self.source {
            Source::Live { task, .. } => Ok(task.clone()),
            Source::Finished { last } => Err(*last),
        })
    }

    /// The snapshot that the feed begins with and the number of the last event in it; once.
    pub fn take_snapshot(&mut self) -> Option<(Arc<Task>, u64)> {
        self.snapshot.take()
    }

    /// Whether this is the stream's last event.
    pub fn is_final(&self, event: &Event) -> bool {
        event.state().is_some_and(|state| match self.kind {
            FeedKind::Send => is_settled(&state),
            FeedKind::Subscription => state.is_terminal(),
        })
    }

    /// Whether nothing more can come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next event, if it is at hand. Never waits. None says nothing about the end: see
    /// [`ready`](Self::ready).
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        if self.ended {
            return None;
        }
        if self.taken.is_empty() && self.reading.is_none() {
            self.look(None);
        }
        let event = self.taken.pop_front()?;
        self.given = event.seq;
        if self.is_final(&event) {
            self.ended = true;
            self.taken = VecDeque::new();
        }
        Some(event)
    }

    /// Waits until an event is at hand (true), or nothing more can come (false). May be dropped and called
    /// again without loss.
    ///
    /// # Errors
    /// [`FaultKind::Gap`] with `oldest` in its metadata if retention has cut the next event,
    /// [`FaultKind::TaskNotFound`] if it has taken the task, [`FaultKind::Internal`] if the store has failed.
    pub async fn ready(&mut self) -> Result<bool, Fault> {
        poll_fn(|context| self.poll_ready(context)).await
    }

    /// [`ready`](Self::ready), for those who poll by hand.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(false));
            }
            if !self.taken.is_empty() {
                return Poll::Ready(Ok(true));
            }
            if let Some(reading) = &mut self.reading {
                let read = ready!(reading.as_mut().poll(context));
                self.reading = None;
                self.take_read(read)?;
                continue;
            }
            match self.look(Some(context)) {
                Found::Taken => {}
                Found::End => self.ended = true,
                Found::Gone => return Poll::Ready(Err(Fault::task_not_found())),
                Found::Older => self.reading = Some(self.read()),
                Found::Nothing if self.writer.has_failed() => {
                    return Poll::Ready(Err(store_failed()));
                }
                Found::Nothing => return Poll::Pending,
            }
        }
    }

    /// Waits for events and adds at most `most` of them to `batch`. Returns whether the last one is the
    /// stream's last; adds none if the stream has ended before.
    ///
    /// # Errors
    /// As of [`ready`](Self::ready).
    pub async fn next_batch(&mut self, batch: &mut Vec<Arc<Event>>, most: usize) -> Result<bool, Fault> {
        if !self.ready().await? {
            return Ok(false);
        }
        batch.extend(self.try_next());
        // Only what was taken together: so a batch keeps to the bytes of `BATCH`, but for its last event.
        while batch.len() < most && !self.taken.is_empty() {
            batch.extend(self.try_next());
        }
        Ok(self.ended)
    }

    /// The next event; none at the end.
    ///
    /// # Errors
    /// As of [`ready`](Self::ready).
    pub async fn next(&mut self) -> Result<Option<Arc<Event>>, Fault> {
        Ok(if self.ready().await? { self.try_next() } else { None })
    }

    /// Takes what is in memory. With a context, registers to be woken if there is nothing.
    fn look(&mut self, context: Option<&mut Context<'_>>) -> Found {
        match &self.source {
            Source::Finished { last } => {
                if self.cursor >= *last {
                    Found::End
                } else {
                    Found::Older
                }
            }
            Source::Live { task, slot } => {
                let mut log = task.lock();
                if log.is_gone() {
                    return Found::Gone;
                }
                if self.cursor >= log.committed() {
                    if log.is_finished() {
                        return Found::End;
                    }
                    if let Some(context) = context {
                        log.wakers.park(*slot, context.waker(), Until::Changed);
                    }
                    return Found::Nothing;
                }
                self.writer.counters().note_lag(log.committed() - self.cursor);
                if !log.recent_after(self.cursor, BATCH, &mut self.taken) {
                    return Found::Older;
                }
                self.cursor = self.taken.back().map_or(self.cursor, |event| event.seq);
                Found::Taken
            }
        }
    }

    fn read(&self) -> Reading {
        let (store, task, after) = (Arc::clone(&self.store), self.task.clone(), self.cursor);
        Box::pin(async move { store.read(&task, after, BATCH).await })
    }

    fn take_read(&mut self, read: Result<Vec<Arc<Event>>, StoreError>) -> Result<(), Fault> {
        let mut events = read.map_err(store_fault)?;
        if let Source::Live { task, .. } = &self.source {
            // The store has a group a moment before it is published. Nobody sees it until then, or a reader would
            // see a task finish that a `get` still finds at work.
            let committed = task.lock().committed();
            events.truncate(events.partition_point(|event| event.seq <= committed));
        }
        let Some(last) = events.last() else {
            return Err(Fault::internal("the store has fewer events than were committed"));
        };
        self.cursor = last.seq;
        self.taken.extend(events);
        Ok(())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Source::Live { task, slot } = &self.source {
            task.lock().wakers.leave(*slot);
        }
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("task", &self.task).field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// The cursor to begin with. A finished task has its last status event left for those who hold no number.
fn begin(start: Start, last: u64, is_finished: bool) -> Result<u64, Fault> {
    match start {
        Start::After(after) if after > last => {
            let description = format!("is {after}, but the task's last event is {last}");
            Err(Fault::invalid("after", description).with("last", last))
        }
        Start::After(after) => Ok(after),
        Start::Snapshot | Start::Live if is_finished => Ok(last.saturating_sub(1)),
        Start::Snapshot | Start::Live => Ok(last),
    }
}

/// What a store's refusal to read means for the caller.
pub(super) fn store_fault(error: StoreError) -> Fault {
    match error {
        StoreError::NotFound => Fault::task_not_found(),
        StoreError::Gap { oldest } => {
            let message = "events after this number are not kept any more; get the task and go on from there";
            Fault::new(FaultKind::Gap, message).with("oldest", oldest)
        }
        error => Fault::internal(error),
    }
}

/// Waits until a task has settled after a number, and returns it as it stands then.
pub(super) async fn settled(task: Live, after: u64, writer: &Writer) -> Result<Arc<Task>, Fault> {
    let slot = task.lock().wakers.join();
    let waiting = Waiting { slot, task };
    poll_fn(|context| {
        let mut log = waiting.task.lock();
        if let Some(task) = log.settled_after(after) {
            return Poll::Ready(Ok(Arc::clone(task)));
        }
        if log.is_gone() {
            return Poll::Ready(Err(Fault::task_not_found()));
        }
        log.wakers.park(waiting.slot, context.waker(), Until::Settled);
        if writer.has_failed() {
            return Poll::Ready(Err(store_failed()));
        }
        Poll::Pending
    })
    .await
}

struct Waiting {
    slot: usize,
    task: Live,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.task.lock().wakers.leave(self.slot);
    }
}
