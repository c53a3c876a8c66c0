//! The client's observer, seen from here.

use std::rc::Rc;
use std::sync::Arc;

use crate::capability::Observer;
use crate::fault::{Fault, Result};
use crate::model::{Event, Message, StreamEnd, Task, Update};
use crate::stream::Sink;
use crate::transport::ConnectionHandle;
use crate::wire::capnp::capability_capnp::{observer_features, task_observer};
use crate::wire::capnp::{
    Encode, encode_artifact_update, encode_batched, encode_status_update, from_exception,
};

/// Calls a `TaskObserver`, with flow control: a streaming call is queued at once, and its future waits
/// until the stream's window has room.
pub(super) struct ObserverShell {
    client: task_observer::Client,
    connection: Rc<ConnectionHandle>,
    on_task: bool,
    on_message: bool,
    on_batch: bool,
}

impl ObserverShell {
    pub(super) fn new(
        client: task_observer::Client,
        features: observer_features::Reader<'_>,
        connection: &Rc<ConnectionHandle>,
    ) -> Self {
        Self {
            client,
            connection: Rc::clone(connection),
            on_task: features.get_on_task(),
            on_message: features.get_on_message(),
            on_batch: features.get_on_batch(),
        }
    }

    async fn one(&self, event: &Event, is_final: bool) -> capnp::Result<()> {
        match &event.update {
            Update::Status(update) => {
                let mut request = self.client.on_status_update_request();
                encode_status_update(update, event.seq, is_final, request.get());
                request.send().await
            }
            Update::Artifact(update) => {
                let mut request = self.client.on_artifact_update_request();
                encode_artifact_update(update, event.seq, is_final, request.get());
                request.send().await
            }
        }
    }

    async fn many(&self, events: &[Arc<Event>], is_final: bool) -> capnp::Result<()> {
        let mut request = self.client.on_batch_request();
        let count = u32::try_from(events.len()).expect("a batch has at most MOST_EVENTS events");
        let mut list = request.get().init_events(count);
        for (index, event) in (0..count).zip(events) {
            encode_batched(event, is_final && index + 1 == count, list.reborrow().get(index));
        }
        request.send().await
    }
}

impl Sink for ObserverShell {
    fn batch(&self) -> usize {
        if self.on_batch { MOST_EVENTS } else { 1 }
    }

    fn takes_snapshot(&self) -> bool {
        self.on_task
    }

    async fn ready(&mut self) {
        if !self.connection.has_room() {
            // If the connection is over, so are its objects, and this stream with them.
            let _ = self.connection.writable().await;
        }
    }

    async fn snapshot(&mut self, task: &Task, seq: u64) -> Result<()> {
        self.connection.limits().fits(task.approximate_size())?;
        let mut request = self.client.on_task_request();
        let mut params = request.get();
        task.encode(params.reborrow().init_task());
        params.set_seq(seq);
        sent(request.send().await)
    }

    async fn events(&mut self, events: &[Arc<Event>], is_final: bool) -> Result<()> {
        for event in events {
            self.connection.limits().fits(event.update.approximate_size())?;
        }
        sent(match events {
            [event] => self.one(event, is_final).await,
            events => self.many(events, is_final).await,
        })
    }
}

impl Observer for ObserverShell {
    async fn message(&mut self, message: &Message) -> Result<()> {
        if !self.on_message {
            return Ok(());
        }
        self.connection.limits().fits(message.approximate_size())?;
        let mut request = self.client.on_message_request();
        message.encode(request.get().init_message());
        sent(request.send().await)
    }

    async fn end(self, end: StreamEnd) {
        let mut request = self.client.on_end_request();
        end.encode(request.get());
        // The stream is over whatever the client makes of it.
        let _ = request.send().promise.await;
    }
}

/// What an observer throws may hold a stack trace of the client: only its beginning is kept.
fn sent(outcome: capnp::Result<()>) -> Result<(), Fault> {
    outcome.map_err(|error| {
        let fault = from_exception(&error);
        let line = fault.message().lines().next().unwrap_or_default();
        let short: String = line.chars().take(LONGEST_REASON).collect();
        Fault::new(fault.kind(), short)
    })
}

/// Events in one batch; their bytes are bounded by the feed.
const MOST_EVENTS: usize = 64;

const LONGEST_REASON: usize = 200;
