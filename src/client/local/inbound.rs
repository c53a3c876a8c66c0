//! The object that the server calls: decodes what comes and hands it to a sink.

use std::cell::Cell;
use std::rc::Rc;

use super::super::event::{At, TaskEvent};
use super::super::observer::Sink;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{Event, Message, StreamEnd, Task, Update};
use crate::wire::capnp::capability_capnp::{observer_features, task_observer};
use crate::wire::capnp::{
    Decode as _, decode_artifact_update, decode_batch, decode_status_update, malformed, to_exception,
};

/// A sink as an object of the schema. It takes nothing after the last word.
pub(super) struct Inbound<S> {
    sink: S,
    ended: Cell<bool>,
}

impl<S: Sink> Inbound<S> {
    pub(super) fn client(sink: S) -> task_observer::Client {
        capnp_rpc::new_client(Self { sink, ended: Cell::new(false) })
    }

    async fn take(&self, event: Result<TaskEvent>, bytes: usize) -> Result<(), capnp::Error> {
        if self.ended.get() {
            return Err(to_exception(&late()));
        }
        let taken = match event {
            Ok(event) => self.sink.take(event, bytes).await,
            Err(fault) => Err(fault),
        };
        taken.map_err(|fault| to_exception(&fault))
    }
}

pub(super) fn write_features(sink: &impl Sink, mut wire: observer_features::Builder<'_>) {
    let features = sink.features();
    wire.set_on_task(features.snapshots);
    wire.set_on_message(features.messages);
    wire.set_on_batch(features.batches);
}

impl<S: Sink> task_observer::Server for Inbound<S> {
    async fn on_status_update(
        self: Rc<Self>,
        params: task_observer::OnStatusUpdateParams,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let bytes = size(params.total_size());
        self.take(decode_status_update(params).map(numbered), bytes).await
    }

    async fn on_artifact_update(
        self: Rc<Self>,
        params: task_observer::OnArtifactUpdateParams,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let bytes = size(params.total_size());
        self.take(decode_artifact_update(params).map(numbered), bytes).await
    }

    async fn on_task(self: Rc<Self>, params: task_observer::OnTaskParams) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let bytes = size(params.total_size());
        let at = At { seq: params.get_seq(), is_final: params.get_final() };
        let task = params.get_task().map_err(|error| malformed(&error)).and_then(Task::decode);
        self.take(task.map(|task| TaskEvent::task(task, at)), bytes).await
    }

    async fn on_message(self: Rc<Self>, params: task_observer::OnMessageParams) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let bytes = size(params.total_size());
        let message = params.get_message().map_err(|error| malformed(&error)).and_then(Message::decode);
        self.take(message.map(TaskEvent::message), bytes).await
    }

    async fn on_batch(self: Rc<Self>, params: task_observer::OnBatchParams) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let bytes = size(params.total_size());
        let events = decode_batch(params.get_events()?).map_err(|fault| to_exception(&fault))?;
        let each = bytes / events.len().max(1);
        for event in events {
            self.take(Ok(numbered(event)), each).await?;
        }
        Ok(())
    }

    async fn on_end(
        self: Rc<Self>,
        params: task_observer::OnEndParams,
        _results: task_observer::OnEndResults,
    ) -> Result<(), capnp::Error> {
        if self.ended.replace(true) {
            return Err(to_exception(&late()));
        }
        let end = StreamEnd::decode(params.get()?).map_err(|fault| to_exception(&fault))?;
        self.sink.end(end).await;
        Ok(())
    }
}

fn numbered((event, is_final): (Event, bool)) -> TaskEvent {
    let at = At { seq: event.seq, is_final };
    match event.update {
        Update::Status(update) => TaskEvent::status(update, at),
        Update::Artifact(update) => TaskEvent::artifact(update, at),
    }
}

/// The bytes of a struct, for accounting only.
fn size(measured: capnp::Result<capnp::MessageSize>) -> usize {
    let words = measured.map_or(0, |size| size.word_count);
    usize::try_from(words.saturating_mul(8)).unwrap_or(usize::MAX)
}

fn late() -> Fault {
    Fault::new(FaultKind::InvalidRequest, "onEnd was the last call of this observer")
}
