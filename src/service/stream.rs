//! Streams for bindings that poll: a snapshot or message first, then events.

use async_trait::async_trait;

use super::{AgentService, Begun};
use crate::authority::StreamPass;
use crate::engine::{Feed, FeedKind, Start};
use crate::fault::Result;
use crate::model::{GetTaskRequest, Message, SendMessageRequest, SubscribeToTaskRequest};
use crate::operations::{Caller, EventStream, StreamItem, unsupported};

impl AgentService {
    pub(super) async fn stream(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<Box<dyn EventStream>> {
        let pass = caller.grant.stream()?;
        Ok(match self.begin(caller, request, None).await? {
            Begun::Task(_, feed) => Box::new(FeedStream { feed: Some(*feed), pass }),
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
        Ok(Box::new(FeedStream { feed: Some(feed), pass }))
    }
}

struct FeedStream {
    feed: Option<Feed>,
    pass: StreamPass,
}

#[async_trait]
impl EventStream for FeedStream {
    async fn next(&mut self) -> Option<Result<StreamItem>> {
        let feed = self.feed.as_mut()?;
        if let Some((task, seq)) = feed.take_snapshot() {
            return Some(Ok(StreamItem::Snapshot { task, seq }));
        }
        let event = tokio::select! {
            biased;
            cause = self.pass.ended() => Err(cause.fault()),
            event = feed.next() => event,
        };
        let item = match event {
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
