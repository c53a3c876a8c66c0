//! Stores that take their time, and stores that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use super::world::*;
use crate::agent::{UpdateError, Updates};
use crate::engine::{FeedKind, Start};
use crate::fault::FaultKind;
use crate::limits::{EngineLimits, Retention};
use crate::model::{Event, Id, Message, TaskPushNotificationConfig, TaskState, Timestamp};
use crate::store::{
    Checkpoint, Expired, Group, ListFilter, MemoryStore, Page, PageRequest, ReadLimit, Remembered, SendKey,
    Store, StoreError, Stored, TaskRow,
};

/// A memory store whose commits each wait for a permit, as if for an fsync, and may fail.
struct Gated {
    memory: Arc<MemoryStore>,
    gate: Arc<Semaphore>,
    inline: bool,
    fails: Arc<AtomicBool>,
}

impl Gated {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self::of(permits, false))
    }

    fn of(permits: usize, inline: bool) -> Self {
        let memory = Arc::new(MemoryStore::new(&EngineLimits::default()));
        Self { memory, gate: Arc::new(Semaphore::new(permits)), inline, fails: Arc::default() }
    }

    fn open() -> Arc<Self> {
        Self::new(Semaphore::MAX_PERMITS)
    }
}

#[async_trait]
impl Store for Gated {
    fn describe(&self) -> String {
        "gated".to_owned()
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn commits_inline(&self) -> bool {
        self.inline
    }

    fn commit(&self, group: &Group) -> BoxFuture<'static, Result<(), StoreError>> {
        let (memory, gate, fails) = (self.memory.clone(), self.gate.clone(), self.fails.clone());
        let group = group.clone();
        Box::pin(async move {
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            if fails.load(Ordering::SeqCst) {
                return Err(StoreError::failed("no space left on device"));
            }
            memory.commit(&group).await
        })
    }

    fn checkpoint(&self, checkpoints: &[Checkpoint]) {
        self.memory.checkpoint(checkpoints);
    }

    async fn read(&self, task: &Id, after: u64, limit: ReadLimit) -> Result<Vec<Arc<Event>>, StoreError> {
        tokio::task::yield_now().await;
        self.memory.read(task, after, limit).await
    }

    async fn load(&self, task: &Id) -> Result<Option<Stored>, StoreError> {
        tokio::task::yield_now().await;
        let stored = self.memory.load(task).await?;
        // As a store that lost its hints.
        Ok(stored.map(|stored| Stored { checkpoint: None, ..stored }))
    }

    async fn list(&self, filter: &ListFilter, page: &PageRequest) -> Result<Page, StoreError> {
        self.memory.list(filter, page).await
    }

    async fn remembered(&self, key: &SendKey, now: Timestamp) -> Result<Option<Remembered>, StoreError> {
        self.memory.remembered(key, now).await
    }

    async fn unfinished(&self, after: Option<&Id>, most: usize) -> Result<Vec<TaskRow>, StoreError> {
        self.memory.unfinished(after, most).await
    }

    async fn expired(
        &self,
        retention: &Retention,
        now: Timestamp,
        most: usize,
    ) -> Result<Expired, StoreError> {
        self.memory.expired(retention, now, most).await
    }

    async fn push_configs(&self, task: &Id) -> Result<Vec<Arc<TaskPushNotificationConfig>>, StoreError> {
        self.memory.push_configs(task).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_its_time_loses_nothing() {
    let limits = EngineLimits { recent_events: 4, updates_ahead: 16, ..EngineLimits::default() };
    let world = world_over(Gated::open(), streaming(500), limits);
    let clients = (0..16).map(|_| {
        let world = world.clone();
        tokio::spawn(async move {
            let ticket = world.open("go").await;
            let events = world.all_events(&ticket).await;
            assert_eq!(seqs(&events), (1..=502).collect::<Vec<_>>());
            assert_eq!(world.get(&ticket).await.artifacts[0].parts.len(), 500);
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let counts = world.at_rest().await;
    assert_eq!(counts.events, 16 * 502);
    assert!(counts.commits < counts.events, "{counts:?}");
    world.engine.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_visible_before_it_is_committed() {
    let store = Gated::new(1);
    let world = world_over(Arc::clone(&store) as Arc<dyn Store>, done(), EngineLimits::default());
    let ticket = world.open("go").await;
    let mut feed = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    assert_eq!(feed.next().await.unwrap().unwrap().seq, 1);
    // The agent's update waits at the gate.
    let early = tokio::time::timeout(Duration::from_millis(50), feed.ready()).await;
    assert!(early.is_err());
    assert_eq!(world.get(&ticket).await.state(), TaskState::Submitted);
    store.gate.add_permits(1);
    assert_eq!(states(&rest(feed).await), [TaskState::Completed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_stops_the_engine_and_everybody_learns_it() {
    let store = Gated::open();
    let script = Script::new(|turn: crate::agent::Turn, updates: Updates| async move {
        updates.working().await?;
        updates.flush().await?;
        turn.cancellation.cancelled().await;
        assert_eq!(updates.working().await, Err(UpdateError::Stopped));
        Ok(())
    });
    let world = world_over(Arc::clone(&store) as Arc<dyn Store>, script, EngineLimits::default());
    let ticket = world.open("go").await;
    let mut feed = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    for seq in [1, 2] {
        assert_eq!(feed.next().await.unwrap().unwrap().seq, seq);
    }
    let reader = tokio::spawn(async move { feed.ready().await });
    let waiting = world.clone();
    let blocked_ticket = ticket.clone();
    let blocked = tokio::spawn(async move { waiting.engine.settled(&waiting.scope, &blocked_ticket).await });
    tokio::time::sleep(Duration::from_millis(20)).await;

    store.fails.store(true, Ordering::SeqCst);
    let fault = world.send(Message::user("more")).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Internal);
    assert!(!fault.message().contains("space"), "the cause is for the log: {fault}");
    assert_eq!(reader.await.unwrap().unwrap_err().kind(), FaultKind::Internal);
    assert_eq!(blocked.await.unwrap().unwrap_err().kind(), FaultKind::Internal);
    assert!(world.engine.has_failed());
    assert!(world.send(Message::user("more")).await.is_err());
    assert_eq!(world.get(&ticket).await.state(), TaskState::Working);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_ready_inline_is_a_defect_and_not_a_hang() {
    let store = Arc::new(Gated::of(0, true));
    let world = world_over(store, done(), EngineLimits::default());
    let fault = world.send(Message::user("go")).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Internal);
}

#[tokio::test(start_paused = true)]
async fn no_room_refuses_sends_while_reads_go_on() {
    let limits = EngineLimits { memory_finished_tasks: 1, ..EngineLimits::default() };
    let world = world_with(endless(), limits);
    let ticket = world.open("go").await;
    let fault = world.send(Message::user("more")).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Overloaded);
    assert_eq!(world.get(&ticket).await.id, ticket.task_id);
    world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap();
    assert!(world.send(Message::user("more")).await.is_ok());
}
