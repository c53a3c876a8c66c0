//! The client's own object: what it lets the server call.

use tokio::sync::Mutex;

use super::event::{At, TaskEvent};
use crate::fault::Result;
use crate::model::{
    Message, StreamEnd, StreamResponse, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent,
};

/// Receives a task's events as calls. Give your own object to a send or a subscription.
///
/// Calls come one at a time, in order. While one runs, the server holds back what exceeds the stream's
/// window: a slow observer slows the stream down, never the task. An error ends the stream; the task
/// and its other observers go on.
///
/// Every method has a default body that does nothing: implement those that you need.
pub trait Observer: 'static {
    /// Which optional calls the server may make. Asked once, when the observer is passed in.
    fn features(&self) -> Features {
        Features::default()
    }

    /// A snapshot of the task. Only at the beginning of a stream.
    fn on_task(&mut self, task: Task, at: At) -> impl Future<Output = Result<()>> {
        let _ = (task, at);
        async { Ok(()) }
    }

    /// The task has taken a state.
    fn on_status_update(
        &mut self,
        update: TaskStatusUpdateEvent,
        at: At,
    ) -> impl Future<Output = Result<()>> {
        let _ = (update, at);
        async { Ok(()) }
    }

    /// The task has a result, or a piece of one.
    fn on_artifact_update(
        &mut self,
        update: TaskArtifactUpdateEvent,
        at: At,
    ) -> impl Future<Output = Result<()>> {
        let _ = (update, at);
        async { Ok(()) }
    }

    /// The agent answered with a message: there is no task.
    fn on_message(&mut self, message: Message) -> impl Future<Output = Result<()>> {
        let _ = message;
        async { Ok(()) }
    }

    /// The last call, unless the line was lost or this observer failed.
    fn on_end(&mut self, end: StreamEnd) -> impl Future<Output = ()> {
        let _ = end;
        async {}
    }
}

/// The optional calls of an observer. By default all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// `on_task`: a stream may begin with a snapshot.
    pub snapshots: bool,
    /// `on_message`: the agent may answer without a task. Without it such an answer ends the stream unseen.
    pub messages: bool,
    /// When the observer lags, events may come many in one message. They are still handed on one by one.
    pub batches: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { snapshots: true, messages: true, batches: true }
    }
}

/// Hands one event on to the method that it belongs to.
pub(super) async fn dispatch(observer: &mut impl Observer, event: TaskEvent) -> Result<()> {
    let at = At { seq: event.seq, is_final: event.is_final };
    match event.content {
        StreamResponse::StatusUpdate(update) => observer.on_status_update(update, at).await,
        StreamResponse::ArtifactUpdate(update) => observer.on_artifact_update(update, at).await,
        StreamResponse::Task(task) => observer.on_task(task, at).await,
        StreamResponse::Message(message) => observer.on_message(message).await,
    }
}

/// Where the events of a stream go: what every kind of reader comes down to.
pub(super) trait Sink: 'static {
    fn features(&self) -> Features {
        Features::default()
    }

    /// Takes an event that came in a message of `bytes` bytes. The server waits for it.
    fn take(&self, event: TaskEvent, bytes: usize) -> impl Future<Output = Result<()>>;

    /// Takes the last word.
    fn end(&self, end: StreamEnd) -> impl Future<Output = ()>;
}

/// Whoever implements [`Observer`], as a sink.
pub(super) struct ObserverSink<O> {
    features: Features,
    observer: Mutex<O>,
}

impl<O: Observer> ObserverSink<O> {
    pub(super) fn new(observer: O) -> Self {
        Self { features: observer.features(), observer: Mutex::new(observer) }
    }
}

impl<O: Observer> Sink for ObserverSink<O> {
    fn features(&self) -> Features {
        self.features
    }

    async fn take(&self, event: TaskEvent, _bytes: usize) -> Result<()> {
        dispatch(&mut *self.observer.lock().await, event).await
    }

    async fn end(&self, end: StreamEnd) {
        self.observer.lock().await.on_end(end).await;
    }
}
