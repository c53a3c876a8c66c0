//! Stores that take their time, and stores that fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::world::*;
use crate::agent::{Turn, UpdateError, Updates};
use crate::engine::{FeedKind, Start};
use crate::fault::FaultKind;
use crate::limits::{EngineLimits, Retention};
use crate::model::{Event, Id, ListTasksRequest, Message, TaskPushNotificationConfig, TaskState, Timestamp};
use crate::store::{
    Checkpoint, Expired, Group, ListFilter, MemoryStore, Page, PageRequest, ReadLimit, Remembered, SendKey,
    Store, StoreError, Stored, TaskRow,
};

/// A memory store whose commits each wait for a permit, as if for an fsync, and may fail. As a store must, it
/// commits in the order of the calls, whether anybody waits or not, and after a failure nothing more.
struct Gated {
    memory: Arc<MemoryStore>,
    gate: Arc<Semaphore>,
    inline: bool,
    fails: Arc<AtomicBool>,
    waiting: mpsc::UnboundedSender<(Group, oneshot::Sender<Result<(), StoreError>>)>,
    /// How many groups it was given.
    given: watch::Sender<usize>,
}

impl Gated {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self::of(permits, false))
    }

    fn of(permits: usize, inline: bool) -> Self {
        let memory = Arc::new(MemoryStore::new(&EngineLimits::default()));
        let (gate, fails) = (Arc::new(Semaphore::new(permits)), Arc::<AtomicBool>::default());
        let (waiting, mut groups) =
            mpsc::unbounded_channel::<(Group, oneshot::Sender<Result<(), StoreError>>)>();
        let disk = (Arc::clone(&memory), Arc::clone(&gate), Arc::clone(&fails));
        tokio::spawn(async move {
            let (memory, gate, fails) = disk;
            let mut has_failed = false;
            while let Some((group, committed)) = groups.recv().await {
                gate.acquire().await.unwrap().forget();
                has_failed |= fails.load(Ordering::SeqCst);
                let result = match has_failed {
                    true => Err(StoreError::failed("no space left on device")),
                    false => memory.commit(&group).await,
                };
                let _ = committed.send(result);
            }
        });
        Self { memory, gate, inline, fails, waiting, given: watch::Sender::new(0) }
    }

    fn open() -> Arc<Self> {
        Self::new(Semaphore::MAX_PERMITS)
    }

    /// Waits until it was given so many groups in all.
    async fn given(&self, count: usize) {
        self.given.subscribe().wait_for(|given| *given >= count).await.unwrap();
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
        let (sender, committed) = oneshot::channel();
        self.waiting.send((group.clone(), sender)).unwrap();
        self.given.send_modify(|given| *given += 1);
        Box::pin(async { committed.await.unwrap_or_else(|_| Err(StoreError::failed("the disk is gone"))) })
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

    async fn counts(&self) -> Result<BTreeMap<TaskState, u64>, StoreError> {
        self.memory.counts().await
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
async fn a_finished_task_stays_in_memory_until_whoever_sent_has_looked_at_it() {
    let world = gated_world(&Gated::open(), done());
    let sent = world.engine.send_in_use(world.submission(Message::user("go"))).await;
    let (ticket, in_use) = sent.map(|(sent, in_use)| (sent.task(), in_use)).unwrap();
    world.settled(&ticket).await;
    while world.engine.counts().turns > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.engine.counts().live_tasks, 1);
    drop(in_use);
    assert_eq!(world.at_rest().await.live_tasks, 0);
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
    let script = Script::new(|turn: Turn, updates: Updates| async move {
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

    let mut failed = Box::pin(world.engine.failed());
    assert!(failed.as_mut().now_or_never().is_none());
    store.fails.store(true, Ordering::SeqCst);
    let fault = world.send(Message::user("more")).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Internal);
    assert!(!fault.message().contains("space"), "the cause is for the log: {fault}");
    assert_eq!(reader.await.unwrap().unwrap_err().kind(), FaultKind::Internal);
    assert_eq!(blocked.await.unwrap().unwrap_err().kind(), FaultKind::Internal);
    failed.await;
    world.engine.failed().await;
    assert!(world.engine.has_failed());
    assert!(world.send(Message::user("more")).await.is_err());
    assert_eq!(world.get(&ticket).await.state(), TaskState::Working);
}

fn gated_world(store: &Arc<Gated>, script: Script) -> World {
    world_over(Arc::clone(store) as Arc<dyn Store>, script, EngineLimits::default())
}

async fn listed(world: &World) -> usize {
    world.engine.list(&world.scope, &ListTasksRequest::default()).await.unwrap().tasks.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_given_to_the_store_while_an_earlier_one_is_not_durable() {
    let store = Gated::new(0);
    let world = gated_world(&store, endless());
    let mut sends = Vec::new();
    for count in 1..=3 {
        let world = world.clone();
        sends.push(tokio::spawn(async move { world.open("go").await }));
        store.given(count).await;
    }
    assert_eq!(listed(&world).await, 0);
    for (durable, send) in (1..).zip(sends) {
        store.gate.add_permits(1);
        let ticket = send.await.unwrap();
        // The turns that begin bring groups of their own, which come after all three.
        assert_eq!(world.get(&ticket).await.state(), TaskState::Submitted);
        assert_eq!(listed(&world).await, durable);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_on_their_way_are_bounded_and_the_rest_gathers() {
    let store = Gated::new(0);
    let world = gated_world(&store, done());
    let mut sends = Vec::new();
    for count in 1..=100 {
        let world = world.clone();
        sends.push(tokio::spawn(async move { world.open("go").await }));
        store.given(count.min(4)).await;
    }
    while world.engine.counts().open_sends < 100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*store.given.borrow(), 4);
    store.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    for send in sends {
        assert_eq!(seqs(&world.all_events(&send.await.unwrap()).await), [1, 2]);
    }
    let counts = world.at_rest().await;
    assert!((counts.events, counts.commits < 100) == (200, true), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_overtakes_the_group_that_it_follows_from() {
    let store = Gated::new(2);
    let world = gated_world(&store, endless());
    let ticket = world.open("go").await;
    let mut feed = world.feed(&ticket, Start::After(1), FeedKind::Subscription).await;
    assert_eq!(feed.next().await.unwrap().unwrap().state(), Some(TaskState::Working));
    let (canceling, id) = (world.clone(), ticket.task_id.clone());
    let cancel = tokio::spawn(async move { canceling.engine.cancel(&canceling.scope, &id).await });
    store.given(3).await;
    // It is refused because of the cancel, which nobody may know of yet.
    let sending = world.clone();
    let refused = tokio::spawn(async move { sending.send(in_task("more", &ticket)).await });
    let early = tokio::time::timeout(Duration::from_millis(50), feed.ready()).await;
    assert!(early.is_err() && !cancel.is_finished() && !refused.is_finished());
    store.gate.add_permits(1);
    assert_eq!(refused.await.unwrap().unwrap_err().kind(), FaultKind::UnsupportedOperation);
    assert_eq!(cancel.await.unwrap().unwrap().state(), TaskState::Canceled);
    assert_eq!(seqs(&rest(feed).await), [3]);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_sees_the_task_as_it_was_before_the_message_that_began_it() {
    let store = Gated::new(2);
    let world = gated_world(
        &store,
        Script::new(|turn: Turn, updates: Updates| async move {
            let Some(task) = &turn.task else { return Ok(updates.require_input("which?").await?) };
            updates.text("before", format!("{} {}", task.state(), task.history.len())).await?;
            Ok(updates.complete().await?)
        }),
    );
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    let (sending, message) = (world.clone(), in_task("that", &ticket));
    let second = tokio::spawn(async move { sending.send(message).await.unwrap().task() });
    store.given(3).await;
    // Another group comes behind it before it is durable.
    let other = world.clone();
    let other = tokio::spawn(async move { other.open("go").await });
    store.given(4).await;
    store.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    let task = world.settled(&second.await.unwrap()).await;
    assert_eq!(task.artifact("before").unwrap().text_content(), "input-required 1");
    other.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_fails_takes_the_later_ones_with_it() {
    let store = Gated::new(0);
    let world = gated_world(&store, endless());
    let mut sends = Vec::new();
    // Four are on their way to the store, the others wait behind them.
    for count in 1..=6 {
        let world = world.clone();
        sends.push(tokio::spawn(async move { world.send(Message::user("go")).await }));
        store.given(count.min(4)).await;
    }
    store.fails.store(true, Ordering::SeqCst);
    store.gate.add_permits(1);
    for send in sends {
        assert_eq!(send.await.unwrap().unwrap_err().kind(), FaultKind::Internal);
        assert!(world.engine.has_failed());
    }
    assert_eq!(listed(&world).await, 0);
    let counts = world.at_rest().await;
    assert_eq!((counts.events, counts.commits), (0, 0));
    world.engine.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_goes_in_the_middle_of_a_read_leaves_nothing() {
    let limits = EngineLimits { recent_events: 2, ..EngineLimits::default() };
    let store = Gated::open();
    let world = world_over(Arc::clone(&store) as Arc<dyn Store>, streaming(500), limits);
    let ticket = world.open("go").await;
    let last = world.feed(&ticket, Start::Live, FeedKind::Subscription).await;
    world.settled(&ticket).await;
    for after in [0, 100, 499] {
        let mut feed = world.feed(&ticket, Start::After(after), FeedKind::Subscription).await;
        // The store takes its time, so the read has begun and is not done.
        assert!(feed.ready().now_or_never().is_none());
        assert!(feed.try_next().is_none());
        assert_eq!(feed.position(), after);
        drop(feed);
    }
    drop(last);
    assert_eq!(world.at_rest().await.feeds, 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_ready_inline_is_a_defect_and_not_a_hang() {
    let store = Arc::new(Gated::of(0, true));
    let world = world_over(store, done(), EngineLimits::default());
    let fault = world.send(Message::user("go")).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Internal);
}

#[tokio::test(start_paused = true)]
async fn no_room_refuses_sends_while_everything_else_goes_on() {
    let limits = EngineLimits { memory_finished_tasks: 1, ..EngineLimits::default() };
    let world = world_with(asking(), limits);
    let message = Message::user("go");
    let ticket = world.send(message.clone()).await.unwrap().task();
    world.settled(&ticket).await;
    for refused in [Message::user("more"), in_task("that", &ticket)] {
        let fault = world.send(refused).await.unwrap_err();
        let resource = fault.metadata()["resource"].as_str();
        assert_eq!((fault.kind(), resource), (FaultKind::Overloaded, "store"));
    }
    assert_eq!(world.send(message).await.unwrap().task(), ticket, "a repeat costs no room");
    assert_eq!(world.get(&ticket).await.id, ticket.task_id);
    let mut feed = world.feed(&ticket, Start::After(0), FeedKind::Send).await;
    assert_eq!(feed.next().await.unwrap().unwrap().seq, 1);
    world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap();
    world.engine.delete(&world.scope, &ticket.task_id).await.unwrap();
    assert!(world.send(Message::user("more")).await.is_ok());
}
