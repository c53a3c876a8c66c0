//! What retention takes, and what an owner deletes.

use std::sync::Arc;
use std::time::Duration;

use super::world::*;
use crate::clock::Clock;
use crate::engine::{FeedKind, Retired, Start, TaskTicket};
use crate::fault::{Fault, FaultKind};
use crate::limits::{EngineLimits, Keep, Retention};
use crate::model::{Id, ListTasksRequest, Message, TaskState, Timestamp};
use crate::store::{MemoryStore, Store as _, Stored};

const HOUR: Duration = Duration::from_secs(3_600);

fn keeping(completed: Keep) -> EngineLimits {
    let retention = Retention { completed, ..Retention::default() };
    EngineLimits { retention, ..EngineLimits::default() }
}

/// A world whose clock stands at zero.
fn world_keeping(completed: Keep, script: Script) -> (World, Clock) {
    let (limits, clock) = (keeping(completed), Clock::standing_at(Timestamp::default()));
    (world_at(&clock, Arc::new(MemoryStore::new(&limits)), script, limits), clock)
}

fn after(time: Duration) -> Timestamp {
    Timestamp::default().saturating_add(time)
}

/// Opens a task and waits until it is finished and nobody uses it.
async fn finished(world: &World) -> TaskTicket {
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    world.at_rest().await;
    ticket
}

/// What every way to a task answers.
async fn faults(world: &World, ticket: &TaskTicket) -> Vec<Fault> {
    let World { engine, scope } = world;
    let id = &ticket.task_id;
    vec![
        engine.get(scope, id).await.unwrap_err(),
        engine.settled(scope, ticket).await.unwrap_err(),
        engine.feed(scope, id, Start::After(0), FeedKind::Subscription).await.unwrap_err(),
        engine.cancel(scope, id).await.unwrap_err(),
        engine.delete(scope, id).await.unwrap_err(),
        world.send(in_task("more", ticket)).await.unwrap_err(),
    ]
}

async fn listed(world: &World) -> Vec<Id> {
    let page = world.engine.list(&world.scope, &ListTasksRequest::default()).await.unwrap();
    assert_eq!(page.total_size as usize, page.tasks.len());
    page.tasks.into_iter().map(|task| task.id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_finished_task_goes_when_its_time_is_over_and_an_unfinished_one_stays() {
    let (world, clock) = world_keeping(Keep { age: Some(HOUR), ..Keep::default() }, asking());
    let open = world.open("go").await;
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    let second = world.send(in_task("that", &ticket)).await.unwrap().task();
    world.settled(&second).await;
    world.at_rest().await;
    clock.set(after(HOUR - Duration::from_secs(1)));
    assert_eq!(world.engine.retire_now().await.unwrap(), Retired::default());
    clock.set(after(HOUR));
    assert_eq!(world.engine.retire_now().await.unwrap(), Retired { deleted: 1, cut: 0 });
    assert_eq!(faults(&world, &ticket).await, vec![Fault::task_not_found(); 6]);
    assert_eq!(listed(&world).await, std::slice::from_ref(&open.task_id));
    assert_eq!(world.get(&open).await.state(), TaskState::InputRequired);
}

#[tokio::test(start_paused = true)]
async fn retention_comes_by_itself_at_its_interval() {
    let limits = EngineLimits {
        retention_interval: Duration::from_secs(60),
        ..keeping(Keep { age: Some(HOUR), ..Keep::default() })
    };
    let clock = Clock::standing_at(Timestamp::default());
    let world = world_at(&clock, Arc::new(MemoryStore::new(&limits)), done(), limits);
    let ticket = finished(&world).await;
    clock.set(after(HOUR));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.engine.get(&world.scope, &ticket.task_id).await, Err(Fault::task_not_found()));
    let ticket = finished(&world).await;
    world.engine.stop(Duration::ZERO).await;
    clock.set(after(3 * HOUR));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(world.engine.get(&world.scope, &ticket.task_id).await.is_ok(), "nothing is taken after the stop");
}

#[tokio::test(start_paused = true)]
async fn more_than_a_page_goes_at_once_and_the_newest_stay() {
    let (world, _) = world_keeping(Keep { count: Some(3), ..Keep::default() }, done());
    let mut tickets = Vec::new();
    for _ in 0..700 {
        tickets.push(world.open("go").await);
    }
    world.at_rest().await;
    assert_eq!(world.engine.retire_now().await.unwrap(), Retired { deleted: 697, cut: 0 });
    let kept: Vec<_> = tickets[697..].iter().rev().map(|ticket| ticket.task_id.clone()).collect();
    assert_eq!(listed(&world).await, kept);
    assert_eq!(world.engine.retire_now().await.unwrap(), Retired::default());
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_events_were_cut_is_whole_and_says_what_is_left() {
    let (world, clock) = world_keeping(Keep { events_age: Some(HOUR), ..Keep::default() }, streaming(20));
    let ticket = finished(&world).await;
    let before = world.get(&ticket).await;
    clock.set(after(HOUR));
    assert_eq!(world.engine.retire_now().await.unwrap(), Retired { deleted: 0, cut: 1 });
    assert_eq!(world.engine.retire_now().await.unwrap(), Retired::default());
    assert_eq!(world.get(&ticket).await, before);
    for start in [Start::After(21), Start::Snapshot, Start::Live] {
        let feed = world.feed(&ticket, start, FeedKind::Subscription).await;
        assert_eq!(seqs(&rest(feed).await), [22], "{start:?}");
    }
    let mut feed = world.feed(&ticket, Start::After(20), FeedKind::Subscription).await;
    let fault = feed.next().await.unwrap_err();
    assert_eq!((fault.kind(), fault.metadata()["oldest"].as_str()), (FaultKind::Gap, "22"));
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_events_are_cut_while_it_is_loaded_is_whole() {
    let limits = keeping(Keep { events_age: Some(HOUR), ..Keep::default() });
    let store = Arc::new(MemoryStore::new(&limits));
    let clock = Clock::standing_at(Timestamp::default());
    let world = world_at(&clock, Arc::clone(&store) as _, streaming(20), limits);
    let ticket = finished(&world).await;
    let before = world.get(&ticket).await;
    let stored = store.load(&ticket.task_id).await.unwrap().unwrap();
    let stored = Stored { checkpoint: None, ..stored };
    clock.set(after(HOUR));
    assert_eq!(world.engine.retire_now().await.unwrap().cut, 1);
    let fold = crate::engine::load::folded(&*store, &stored).await.unwrap();
    assert_eq!(*fold.task(), before);
}

#[tokio::test(start_paused = true)]
async fn a_reader_in_the_middle_of_a_task_that_goes_is_told_so() {
    let keep = Keep { age: Some(HOUR), ..Keep::default() };
    let (world, clock) = world_keeping(keep, streaming(400));
    let ticket = world.open("go").await;
    let mut feed = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    assert_eq!(feed.next().await.unwrap().unwrap().seq, 1);
    world.settled(&ticket).await;
    clock.set(after(HOUR));
    assert_eq!(world.engine.retire_now().await.unwrap().deleted, 1);
    assert_eq!(faults(&world, &ticket).await, vec![Fault::task_not_found(); 6]);
    let mut last = 1;
    let fault = loop {
        match feed.next().await {
            Ok(event) => last = event.expect("it did not come to its end").seq,
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault, Fault::task_not_found());
    assert!(last < 402);
    drop(feed);
    world.at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_task_in_use_whose_events_go_is_told_where_to_go_on() {
    let limits =
        EngineLimits { recent_events: 8, ..keeping(Keep { events_age: Some(HOUR), ..Keep::default() }) };
    let clock = Clock::standing_at(Timestamp::default());
    let world = world_at(&clock, Arc::new(MemoryStore::new(&limits)), streaming(400), limits);
    let ticket = world.open("go").await;
    let mut feed = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    assert_eq!(feed.next().await.unwrap().unwrap().seq, 1);
    world.settled(&ticket).await;
    clock.set(after(HOUR));
    assert_eq!(world.engine.retire_now().await.unwrap().cut, 1);
    let fault = loop {
        if let Err(fault) = feed.next().await {
            break fault;
        }
    };
    assert_eq!((fault.kind(), fault.metadata()["oldest"].as_str()), (FaultKind::Gap, "402"));
}

#[tokio::test(start_paused = true)]
async fn an_owner_deletes_a_finished_task_and_nothing_is_left_of_it() {
    let world = world(streaming(3));
    let message = Message::user("go");
    let ticket = world.send(message.clone()).await.unwrap().task();
    world.settled(&ticket).await;
    world.at_rest().await;
    let eve = world.seen_by("eve");
    let foreign = eve.engine.delete(&eve.scope, &ticket.task_id).await.unwrap_err();
    assert_eq!(foreign, Fault::task_not_found());
    world.engine.delete(&world.scope, &ticket.task_id).await.unwrap();
    assert_eq!(faults(&world, &ticket).await, vec![Fault::task_not_found(); 6]);
    assert_eq!(listed(&world).await, Vec::<Id>::new());
    let again = world.send(message.clone()).await.unwrap().task();
    assert_ne!(again.task_id, ticket.task_id);
    assert_eq!(world.send(message).await.unwrap().task(), again);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_read_can_be_deleted_and_its_readers_learn_it() {
    let world = world(endless());
    let ticket = world.open("go").await;
    let mut waiting = world.feed(&ticket, Start::Live, FeedKind::Subscription).await;
    let mut behind = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    let World { engine, scope } = &world;
    let fault = engine.delete(scope, &ticket.task_id).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::UnsupportedOperation);
    assert!(fault.message().contains("cancel it first"), "{fault}");
    engine.cancel(scope, &ticket.task_id).await.unwrap();
    let reader = tokio::spawn(async move { behind.next().await });
    engine.delete(scope, &ticket.task_id).await.unwrap();
    assert_eq!(reader.await.unwrap(), Err(Fault::task_not_found()));
    assert_eq!(waiting.next().await, Err(Fault::task_not_found()));
    assert_eq!(faults(&world, &ticket).await, vec![Fault::task_not_found(); 6]);
    drop(waiting);
    world.at_rest().await;
}
