//! Streams for bindings that poll: a snapshot or message first, then events.

use std::sync::Arc;

use async_trait::async_trait;

use super::{AgentService, Begun};
use crate::authority::StreamPass;
use crate::engine::fold::Fold;
use crate::engine::{Feed, FeedKind, Start};
use crate::fault::Result;
use crate::model::{Event, GetTaskRequest, Message, SendMessageRequest, SubscribeToTaskRequest};
use crate::operations::{Caller, EventStream, StreamItem, unsupported};

impl AgentService {
    pub(super) async fn stream(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<Box<dyn EventStream>> {
        let pass = caller.grant.stream()?;
        let begun = tokio::select! {
            biased;
            cause = pass.ended() => return Err(cause.fault()),
            begun = self.begin(caller, request, None) => begun?,
        };
        Ok(match begun {
            Begun::Task(ticket, feed) => {
                Box::new(FeedStream { feed: Some(*feed), opens: ticket.after == 0, first: None, pass })
            }
            Begun::Message(message) => Box::new(Reply(Some((*message).clone()))),
        })
    }

    /// A finished task is refused (A2A 1.0.1, 3.1.6).
    pub(super) async fn follow(
        &self,
        caller: &Caller,
        request: SubscribeToTaskRequest,
    ) -> Result<Box<dyn EventStream>> {
        let pass = caller.grant.stream()?;
        let task = self.get(caller, GetTaskRequest::new(request.id.clone())).await?;
        if task.is_finished() {
            return Err(unsupported("following a task that is finished"));
        }
        let feed = self.feed(caller, &request.id, Start::Snapshot, FeedKind::Subscription).await?;
        Ok(Box::new(FeedStream { feed: Some(feed), opens: false, first: None, pass }))
    }
}

struct FeedStream {
    feed: Option<Feed>,
    /// Whether the stream's send has opened the task: then it begins with the task as opened.
    opens: bool,
    /// The first event, while the task as it opens it goes before.
    first: Option<Arc<Event>>,
    pass: StreamPass,
}

#[async_trait]
impl EventStream for FeedStream {
    async fn next(&mut self) -> Option<Result<StreamItem>> {
        let feed = self.feed.as_mut()?;
        if let Some((task, seq)) = feed.take_snapshot() {
            return Some(Ok(StreamItem::Snapshot { task, seq }));
        }
        let event = match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => tokio::select! {
                biased;
                cause = self.pass.ended() => Err(cause.fault()),
                event = feed.next() => event,
            },
        };
        let item = match event {
            Ok(Some(event)) if std::mem::take(&mut self.opens) => {
                let opened = Fold::open(&event)?;
                self.first = Some(event);
                return Some(Ok(StreamItem::Snapshot { task: Arc::clone(opened.task()), seq: 0 }));
            }
            Ok(Some(event)) => {
                let is_final = feed.is_final(&event);
                StreamItem::Event { event, is_final }
            }
            Ok(None) => {
                self.feed = None;
                return None;
            }
            Err(fault) => {
                self.feed = None;
                return Some(Err(fault));
            }
        };
        if matches!(item, StreamItem::Event { is_final: true, .. }) {
            self.feed = None;
        }
        Some(Ok(item))
    }
}

struct Reply(Option<Message>);

#[async_trait]
impl EventStream for Reply {
    async fn next(&mut self) -> Option<Result<StreamItem>> {
        self.0.take().map(|message| Ok(StreamItem::Message(message)))
    }
}
