//! Events → frames: the one loop that feeds a task's events to a transport.
//!
//! A [`Feed`] is a cursor; a [`Sink`] is what a transport does with events. The loop moves on only when the
//! sink has taken what came before, so a slow reader costs its cursor and the sink's window.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;

use crate::engine::Feed;
use crate::engine::fold::Fold;
use crate::fault::{Fault, FaultKind};
use crate::model::{EndReason, Event, StreamEnd, Task};

/// What a transport does with a stream.
pub trait Sink {
    /// Events that one call may carry: 1 unless the receiver takes batches.
    fn batch(&self) -> usize;

    /// Whether the receiver wants a snapshot where a stream may begin with one.
    fn takes_snapshot(&self) -> bool;

    /// Resolves when the transport has room for one more call.
    fn ready(&mut self) -> impl Future<Output = ()>;

    /// Sends a snapshot that contains the events up to `seq`.
    fn snapshot(&mut self, task: &Task, seq: u64) -> impl Future<Output = Result<(), Fault>>;

    /// Sends events in order, at most [`batch`](Self::batch) of them; `is_final` says whether the last is
    /// the stream's last. Must have queued them all when first polled; then waits for room in the window.
    fn events(&mut self, events: &[Arc<Event>], is_final: bool) -> impl Future<Output = Result<(), Fault>>;
}

/// How far a stream has come; readable while the loop is suspended or after it was dropped.
#[derive(Debug, Default)]
pub struct Progress(Cell<u64>);

impl Progress {
    /// A stream that has sent nothing yet, and would begin after `seq`.
    pub fn after(seq: u64) -> Self {
        Self(Cell::new(seq))
    }

    /// The last event that was sent.
    pub fn last_seq(&self) -> u64 {
        self.0.get()
    }

    /// The end of the stream at this point.
    pub fn end(&self, reason: EndReason, fault: Option<Fault>) -> StreamEnd {
        StreamEnd { reason, last_seq: self.last_seq(), fault }
    }
}

/// What comes before a stream's first event, where the feed has no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing.
    None,
    /// The task as its first event opens it, with number 0: the stream belongs to the send that opened it.
    Task,
}

/// Feeds events to the sink until the stream is over by itself. To end it for another reason, drop the future.
pub async fn drive(
    feed: &mut Feed,
    sink: &mut impl Sink,
    progress: &Progress,
    opening: Opening,
) -> StreamEnd {
    match run(feed, sink, progress, opening).await {
        Ok(reason) => progress.end(reason, None),
        Err(Stop::Observer(fault)) => {
            tracing::info!(reason = %fault, "an observer failed and was dropped");
            progress.end(EndReason::Cut, Some(fault))
        }
        Err(Stop::Feed(fault)) if fault.kind() == FaultKind::Gap => progress.end(EndReason::Gap, Some(fault)),
        Err(Stop::Feed(fault)) => progress.end(EndReason::Failed, Some(fault)),
    }
}

enum Stop {
    Observer(Fault),
    Feed(Fault),
}

async fn run(
    feed: &mut Feed,
    sink: &mut impl Sink,
    progress: &Progress,
    opening: Opening,
) -> Result<EndReason, Stop> {
    if let Some((task, seq)) = feed.take_snapshot().filter(|_| sink.takes_snapshot()) {
        sink.ready().await;
        progress.0.set(seq);
        sink.snapshot(&task, seq).await.map_err(Stop::Observer)?;
    }
    let mut batch = Vec::with_capacity(1);
    loop {
        sink.ready().await;
        batch.clear();
        let is_final = feed.next_batch(&mut batch, sink.batch()).await.map_err(Stop::Feed)?;
        let Some(last) = batch.last() else {
            return Ok(EndReason::Completed);
        };
        if opening == Opening::Task
            && sink.takes_snapshot()
            && let Some(opened) =
                batch.first().filter(|first| first.seq == 1).and_then(|first| Fold::open(first))
        {
            sink.snapshot(opened.task(), 0).await.map_err(Stop::Observer)?;
        }
        progress.0.set(last.seq);
        let state = last.state();
        sink.events(&batch, is_final).await.map_err(Stop::Observer)?;
        if is_final {
            let interrupted = state.is_some_and(|state| state.is_interrupted());
            return Ok(if interrupted { EndReason::Interrupted } else { EndReason::Completed });
        }
    }
}
