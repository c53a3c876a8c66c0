//! An engine with one scripted agent, and a client of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use crate::agent::{Agent, AgentError, Turn, Updates};
use crate::clock::Clock;
use crate::engine::{
    Counts, Engine, Feed, FeedKind, Owner, Recovered, Scope, Sent, Start, Submission, TaskTicket,
};
use crate::fault::Fault;
use crate::limits::EngineLimits;
use crate::model::{
    AgentCard, AgentSkill, Event, Id, Message, SendMessageConfiguration, SendMessageRequest, Task, TaskState,
    Timestamp,
};
use crate::store::{MemoryStore, Store};

type Play = dyn Fn(Turn, Updates) -> BoxFuture<'static, Result<(), AgentError>> + Send + Sync;

/// An agent that does what a closure says.
#[derive(Clone)]
pub(super) struct Script {
    play: Arc<Play>,
    pub(super) may_reply: bool,
    pub(super) reads_inbox: bool,
    pub(super) can_resume: bool,
}

impl Script {
    pub(super) fn new<F>(play: impl Fn(Turn, Updates) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        let play = move |turn, updates| -> BoxFuture<'static, _> { Box::pin(play(turn, updates)) };
        Self { play: Arc::new(play), may_reply: false, reads_inbox: false, can_resume: false }
    }

    pub(super) fn replying(self) -> Self {
        Self { may_reply: true, ..self }
    }

    pub(super) fn reading_inbox(self) -> Self {
        Self { reads_inbox: true, ..self }
    }

    pub(super) fn resumable(self) -> Self {
        Self { can_resume: true, ..self }
    }
}

#[async_trait]
impl Agent for Script {
    fn card(&self) -> AgentCard {
        AgentCard::new("Script", "Plays a script.", "1").with_skill(AgentSkill::new("play", "Play", "Plays."))
    }

    fn may_reply_with_message(&self) -> bool {
        self.may_reply
    }

    fn reads_inbox(&self) -> bool {
        self.reads_inbox
    }

    fn can_resume(&self) -> bool {
        self.can_resume
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        (self.play)(turn, updates).await
    }
}

/// Completes at once.
pub(super) fn done() -> Script {
    Script::new(|_, updates| async move { Ok(updates.complete().await?) })
}

/// Works until it is canceled.
pub(super) fn endless() -> Script {
    Script::new(|turn: Turn, updates: Updates| async move {
        updates.working().await?;
        turn.cancellation.cancelled().await;
        Ok(())
    })
}

/// Asks once, then answers with what it got.
pub(super) fn asking() -> Script {
    Script::new(|turn: Turn, updates: Updates| async move {
        if turn.task.is_none() {
            return Ok(updates.require_input("which?").await?);
        }
        updates.text("answer", turn.message.text()).await?;
        Ok(updates.complete().await?)
    })
}

/// Streams that many chunks, then completes.
pub(super) fn streaming(count: u64) -> Script {
    Script::new(move |_, updates: Updates| async move {
        let id = Id::from("a");
        for n in 1..=count {
            updates.chunk(id.clone(), "x", n > 1, n == count).await?;
        }
        Ok(updates.complete().await?)
    })
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    pub(super) scope: Scope,
}

pub(super) fn world(script: Script) -> World {
    world_with(script, EngineLimits::default())
}

pub(super) fn world_with(script: Script, limits: EngineLimits) -> World {
    let store = Arc::new(MemoryStore::new(&limits));
    world_over(store, script, limits)
}

pub(super) fn world_over(store: Arc<dyn Store>, script: Script, limits: EngineLimits) -> World {
    world_at(&Clock::standing_at(Timestamp::from_unix_nanos(1_000)), store, script, limits)
}

pub(super) fn world_at(clock: &Clock, store: Arc<dyn Store>, script: Script, limits: EngineLimits) -> World {
    let engine = Engine::builder(store)
        .agent("script", Arc::new(script))
        .limits(limits)
        .clock(clock.clone())
        .runtime(Handle::current())
        .start()
        .unwrap();
    World { engine: Arc::new(engine), scope: scope("ann") }
}

pub(super) fn scope(owner: &str) -> Scope {
    Scope { agent: "script".into(), owner: Owner { key: owner.into(), anonymous: false } }
}

impl World {
    /// The same engine as somebody else sees it.
    pub(super) fn seen_by(&self, owner: &str) -> Self {
        Self { engine: Arc::clone(&self.engine), scope: scope(owner) }
    }

    pub(super) fn submission(&self, message: Message) -> Submission {
        Submission {
            scope: self.scope.clone(),
            request: SendMessageRequest::from(message),
            subject: Arc::from("ann"),
            parameters: Arc::default(),
            turn_timeout: None,
        }
    }

    pub(super) async fn send(&self, message: Message) -> Result<Sent, Fault> {
        self.engine.send(self.submission(message)).await
    }

    /// Opens a task with a text.
    pub(super) async fn open(&self, text: &str) -> TaskTicket {
        self.send(Message::user(text)).await.unwrap().task()
    }

    /// Sends a message that asks to return immediately.
    pub(super) async fn send_at_once(&self, message: Message) -> Result<Sent, Fault> {
        let mut submission = self.submission(message);
        let configuration =
            SendMessageConfiguration { return_immediately: true, ..SendMessageConfiguration::default() };
        submission.request.configuration = Some(configuration);
        self.engine.send(submission).await
    }

    pub(super) async fn settled(&self, ticket: &TaskTicket) -> Arc<Task> {
        self.engine.settled(&self.scope, ticket).await.unwrap()
    }

    pub(super) async fn get(&self, ticket: &TaskTicket) -> Arc<Task> {
        self.engine.get(&self.scope, &ticket.task_id).await.unwrap()
    }

    pub(super) async fn feed(&self, ticket: &TaskTicket, start: Start, kind: FeedKind) -> Feed {
        self.engine.feed(&self.scope, &ticket.task_id, start, kind).await.unwrap()
    }

    /// Every event of a task that will finish.
    pub(super) async fn all_events(&self, ticket: &TaskTicket) -> Vec<Arc<Event>> {
        let feed = self.feed(ticket, Start::After(0), FeedKind::Subscription).await;
        rest(feed).await
    }

    /// Another engine over the same store, after this one was stopped; and what it has recovered.
    pub(super) async fn restarted(
        &self,
        store: &Arc<MemoryStore>,
        script: Script,
        limits: EngineLimits,
    ) -> (Self, Recovered) {
        self.engine.stop(Duration::ZERO).await;
        let world = world_over(Arc::clone(store) as Arc<dyn Store>, script, limits);
        let recovered = world.engine.recover().await.unwrap();
        (world, recovered)
    }

    /// Waits until nothing is in use, and returns what was counted.
    pub(super) async fn at_rest(&self) -> Counts {
        for _ in 0..10_000 {
            let counts = self.engine.counts();
            if (counts.live_tasks, counts.turns, counts.feeds, counts.open_sends) == (0, 0, 0, 0) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("something is still in use: {:?}", self.engine.counts());
    }
}

impl Sent {
    pub(super) fn task(self) -> TaskTicket {
        match self {
            Self::Task(ticket) => ticket,
            Self::Message(message) => panic!("expected a task, got {message:?}"),
        }
    }
}

/// What is left of a feed.
pub(super) async fn rest(mut feed: Feed) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while let Some(event) = feed.next().await.unwrap() {
        events.push(event);
    }
    events
}

pub(super) fn seqs(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

pub(super) fn states(events: &[Arc<Event>]) -> Vec<TaskState> {
    events.iter().filter_map(|event| event.state()).collect()
}

pub(super) fn in_task(text: &str, ticket: &TaskTicket) -> Message {
    Message::user(text).in_task(ticket.task_id.clone())
}
