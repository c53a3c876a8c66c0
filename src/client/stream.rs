//! A task's events as a `Stream`, and what feeds it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::event::TaskEvent;
use crate::fault::Result;
use crate::model::Id;

/// The events of one task, in order, without gap or repeat, across every reconnect.
///
/// Ends after its final event: at a terminal state, for a send's own stream also at an interrupted one. An
/// error is the last item. Nobody need hurry to read: what has come and is not read is at most the stream's
/// window (and one event), then the server waits. Dropping it ends the stream, not the task.
#[derive(Debug)]
pub struct TaskStream {
    events: mpsc::UnboundedReceiver<Item>,
    task: Option<Id>,
    last_seq: Option<u64>,
    /// Dropped with the stream, which the other end sees.
    _reading: oneshot::Sender<()>,
}

/// Sees whether a stream still has a reader.
pub(super) struct Reader(oneshot::Receiver<()>);

impl Reader {
    /// Waits until nobody reads any more. May be called again.
    pub(super) async fn gone(&mut self) {
        if !self.0.is_terminated() {
            let _ = (&mut self.0).await;
        }
    }
}

/// An event, and the room that it takes until it is read.
type Item = (Result<TaskEvent>, Option<OwnedSemaphorePermit>);

impl TaskStream {
    /// The stream, and what feeds it: at most `window` bytes of events ahead of the reader.
    pub(super) fn new(window: usize, task: Option<Id>, after: Option<u64>) -> (Outlet, Reader, Self) {
        let (sender, events) = mpsc::unbounded_channel();
        let (reading, reader) = oneshot::channel();
        let window = u32::try_from(window).unwrap_or(u32::MAX).max(1);
        let room = Arc::new(Semaphore::new(window as usize));
        let stream = Self { events, task, last_seq: after, _reading: reading };
        (Outlet { sender, room, window }, Reader(reader), stream)
    }

    /// The next event; none after the last.
    pub async fn next(&mut self) -> Option<Result<TaskEvent>> {
        futures::StreamExt::next(self).await
    }

    /// The task, as soon as an event has named it.
    pub fn task_id(&self) -> Option<&Id> {
        self.task.as_ref()
    }

    /// The last event that was read: what to resume after. None before the first.
    pub fn last_seq(&self) -> Option<u64> {
        self.last_seq
    }
}

impl futures::Stream for TaskStream {
    type Item = Result<TaskEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(self.events.poll_recv(cx));
        let Some((event, _room)) = item else { return Poll::Ready(None) };
        if let Ok(event) = &event
            && let Some(task) = event.content.task_id()
        {
            self.task.get_or_insert_with(|| task.clone());
            self.last_seq = Some(event.seq);
        }
        Poll::Ready(Some(event))
    }
}

/// Where the events of a stream go in.
#[derive(Clone)]
pub(super) struct Outlet {
    sender: mpsc::UnboundedSender<Item>,
    room: Arc<Semaphore>,
    window: u32,
}

impl Outlet {
    /// Waits for room for an event of so many bytes.
    pub(super) async fn room(&self, bytes: usize) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.window);
        self.room.clone().acquire_many_owned(bytes).await.expect("the semaphore is never closed")
    }

    /// Puts an event in.
    pub(super) fn put(&self, event: TaskEvent, room: OwnedSemaphorePermit) {
        // Without a reader the stream ends by itself.
        let _ = self.sender.send((Ok(event), Some(room)));
    }

    /// Puts the error in that ends the stream.
    pub(super) fn fail(&self, fault: crate::fault::Fault) {
        let _ = self.sender.send((Err(fault), None));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::super::event::At;
    use super::*;
    use crate::model::{TaskState, TaskStatus, TaskStatusUpdateEvent, Timestamp};

    fn event(seq: u64) -> TaskEvent {
        let status = TaskStatus::new(TaskState::Working, Timestamp::from_unix_nanos(0));
        let update =
            TaskStatusUpdateEvent { task_id: "t".into(), context_id: "c".into(), status, metadata: None };
        TaskEvent::status(update, At { seq, is_final: false })
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_holds_one_window() {
        let (outlet, _reader, mut stream) = TaskStream::new(100, None, None);
        for seq in 1..=2 {
            outlet.put(event(seq), outlet.room(50).await);
        }
        assert!(outlet.room(1).now_or_never().is_none(), "the window is full");
        assert_eq!(stream.next().await.unwrap().unwrap().seq, 1);
        let room = outlet.room(50).now_or_never().expect("what was read made room");
        outlet.put(event(3), room);
        assert_eq!(stream.next().await.unwrap().unwrap().seq, 2);
    }

    #[tokio::test]
    async fn an_event_larger_than_the_window_passes_alone() {
        let (outlet, _reader, mut stream) = TaskStream::new(100, None, None);
        outlet.put(event(1), outlet.room(1_000_000).await);
        assert!(outlet.room(1).now_or_never().is_none());
        stream.next().await;
        assert!(outlet.room(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_stream_knows_its_task_and_where_to_resume() {
        let (outlet, _reader, mut stream) = TaskStream::new(100, None, None);
        assert_eq!((stream.task_id(), stream.last_seq()), (None, None));
        outlet.put(event(7), outlet.room(1).await);
        stream.next().await;
        assert_eq!((stream.task_id().map(|id| &**id), stream.last_seq()), (Some("t"), Some(7)));
        drop(outlet);
        assert!(stream.next().await.is_none());
    }
}
