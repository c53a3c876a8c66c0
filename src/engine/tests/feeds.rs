//! What a reader of a task sees.

use std::sync::Arc;
use std::task::{Context, Waker};

use super::world::*;
use crate::engine::{FeedKind, Start};
use crate::fault::FaultKind;
use crate::limits::EngineLimits;
use crate::model::{Event, Message, TaskState};

#[tokio::test(start_paused = true)]
async fn events_are_numbered_from_one_without_a_gap_and_the_last_is_final() {
    let world = world(streaming(1_000));
    let ticket = world.open("go").await;
    assert_eq!(ticket.after, 0);
    let events = world.all_events(&ticket).await;
    assert_eq!(seqs(&events), (1..=1_002).collect::<Vec<_>>());
    assert_eq!(states(&events), [TaskState::Submitted, TaskState::Completed]);
    for event in &events {
        assert_eq!(
            (event.update.task_id(), event.update.context_id()),
            (&ticket.task_id, &ticket.context_id)
        );
    }
    assert_eq!(world.get(&ticket).await.artifacts[0].parts.len(), 1_000);
    drop(ticket);
    assert_eq!(world.at_rest().await.events, 1_002);
}

#[tokio::test(start_paused = true)]
async fn every_reader_sees_the_same_events_in_the_same_order() {
    let world = world(streaming(700));
    let ticket = world.open("go").await;
    let mut readers = Vec::new();
    for after in [0, 0, 1] {
        let feed = world.feed(&ticket, Start::After(after), FeedKind::Subscription).await;
        readers.push(tokio::spawn(rest(feed)));
    }
    let mut read: Vec<Vec<Arc<Event>>> = Vec::new();
    for reader in readers {
        read.push(reader.await.unwrap());
    }
    assert_eq!(read[0], read[1]);
    assert_eq!(read[0][1..], read[2]);
    assert_eq!(read[0].len(), 702);
}

#[tokio::test(start_paused = true)]
async fn after_n_yields_the_next_first_at_every_place() {
    let world = world(streaming(20));
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    for after in 0..=22 {
        let feed = world.feed(&ticket, Start::After(after), FeedKind::Subscription).await;
        assert_eq!(seqs(&rest(feed).await), (after + 1..=22).collect::<Vec<_>>());
    }
    let beyond = world.engine.feed(&world.scope, &ticket.task_id, Start::After(23), FeedKind::Send).await;
    let fault = beyond.unwrap_err();
    assert_eq!((fault.kind(), fault.metadata()["last"].as_str()), (FaultKind::InvalidParams, "22"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_fell_behind_is_served_from_the_log() {
    let limits = EngineLimits { recent_events: 8, ..EngineLimits::default() };
    let world = world_with(streaming(5_000), limits);
    let ticket = world.open("go").await;
    let mut slow = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    let first = slow.next().await.unwrap().unwrap();
    world.settled(&ticket).await;
    let mut all = vec![first];
    all.extend(rest(slow).await);
    assert_eq!(seqs(&all), (1..=5_002).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_reader_behind_holds_one_batch_at_most() {
    let limits = EngineLimits { recent_events: 8, ..EngineLimits::default() };
    let world = world_with(streaming(1_000), limits);
    let ticket = world.open("go").await;
    let mut slow = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    world.settled(&ticket).await;
    let mut read = Vec::new();
    while !slow.has_ended() {
        let before = read.len();
        slow.next_batch(&mut read, usize::MAX).await.unwrap();
        assert!((1..=64).contains(&(read.len() - before)));
    }
    assert_eq!(seqs(&read), (1..=1_002).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_sends_stream_ends_where_it_is_interrupted_and_a_subscription_goes_on() {
    let world = world(asking());
    let ticket = world.open("go").await;
    let own = rest(world.feed(&ticket, Start::After(ticket.after), FeedKind::Send).await).await;
    assert_eq!(states(&own), [TaskState::Submitted, TaskState::InputRequired]);

    let subscription = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    let second = world.send(in_task("that", &ticket)).await.unwrap().task();
    assert_eq!(second.after, 2);
    let whole = rest(subscription).await;
    let expected = [TaskState::Submitted, TaskState::InputRequired, TaskState::Working, TaskState::Completed];
    assert_eq!(states(&whole), expected);
    let own = rest(world.feed(&second, Start::After(second.after), FeedKind::Send).await).await;
    assert_eq!(seqs(&own), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn exactly_one_event_is_final_and_it_is_the_last() {
    for kind in [FeedKind::Send, FeedKind::Subscription] {
        let world = world(streaming(100));
        let ticket = world.open("go").await;
        let mut feed = world.feed(&ticket, Start::After(0), kind).await;
        let mut batch = Vec::new();
        let mut finals = 0;
        while !feed.has_ended() {
            let is_final = feed.next_batch(&mut batch, 7).await.unwrap();
            finals += usize::from(is_final);
            assert_eq!(is_final, feed.is_final(batch.last().unwrap()));
        }
        assert_eq!((finals, batch.len()), (1, 102), "{kind:?}");
        assert_eq!(batch.iter().filter(|event| feed.is_final(event)).count(), 1);
        assert!(!feed.ready().await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_task_gives_its_last_status_to_those_without_a_number() {
    let world = world(streaming(3));
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    world.at_rest().await;
    for start in [Start::Live, Start::Snapshot] {
        let mut feed = world.feed(&ticket, start, FeedKind::Subscription).await;
        let snapshot = feed.take_snapshot().map(|(task, seq)| (task.state(), seq));
        let expected = (start == Start::Snapshot).then_some((TaskState::Completed, 5));
        assert_eq!(snapshot, expected);
        assert_eq!(seqs(&rest(feed).await), [5], "{start:?}");
    }
    let nothing = world.feed(&ticket, Start::After(5), FeedKind::Subscription).await;
    assert_eq!(rest(nothing).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_joins_what_follows_without_gap_or_repeat() {
    let world = world(asking());
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    let mut feed = world.feed(&ticket, Start::Snapshot, FeedKind::Subscription).await;
    let (task, seq) = feed.take_snapshot().unwrap();
    assert_eq!((task.state(), seq), (TaskState::InputRequired, 2));
    assert!(feed.take_snapshot().is_none());
    world.send(in_task("that", &ticket)).await.unwrap();
    assert_eq!(seqs(&rest(feed).await), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_feed_may_be_dropped_and_polled_again() {
    let world = world(endless());
    let ticket = world.open("go").await;
    let mut feed = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    assert_eq!(feed.next().await.unwrap().unwrap().seq, 1);
    assert_eq!(feed.next().await.unwrap().unwrap().seq, 2);
    for _ in 0..3 {
        assert!(feed.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(feed.try_next().is_none());
    }
    world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap();
    assert_eq!(states(&rest(feed).await), [TaskState::Canceled]);
    world.at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_of_a_task_that_retention_took_says_so() {
    let limits = EngineLimits { memory_finished_tasks: 1, recent_events: 2, ..EngineLimits::default() };
    let world = world_with(streaming(50), limits);
    let ticket = world.open("go").await;
    let mut feed = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    world.settled(&ticket).await;
    let other = world.open("go").await;
    world.settled(&other).await;
    assert_eq!(feed.next().await.unwrap_err().kind(), FaultKind::TaskNotFound);
    assert!(world.engine.get(&world.scope, &other.task_id).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_goes_on_from_its_position_misses_nothing() {
    let world = world(streaming(100));
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    let (mut read, mut after) = (Vec::new(), 0);
    while after < 102 {
        let mut feed = world.feed(&ticket, Start::After(after), FeedKind::Subscription).await;
        assert_eq!(feed.position(), after);
        feed.next_batch(&mut read, 5).await.unwrap();
        after = feed.position();
        assert_eq!(after, read.last().unwrap().seq);
    }
    assert_eq!(seqs(&read), (1..=102).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_foreign_task_is_a_missing_one() {
    let world = world(endless());
    let ticket = world.open("go").await;
    let eve = world.seen_by("eve");
    let missing = "missing".into();
    for id in [&ticket.task_id, &missing] {
        let get = eve.engine.get(&eve.scope, id).await.unwrap_err();
        let cancel = eve.engine.cancel(&eve.scope, id).await.unwrap_err();
        let feed = eve.engine.feed(&eve.scope, id, Start::After(999), FeedKind::Send).await.unwrap_err();
        let send = eve.send(Message::user("hi").in_task(id.clone()).in_context("x")).await.unwrap_err();
        for fault in [get, cancel, feed, send] {
            assert_eq!(fault, crate::fault::Fault::task_not_found());
        }
    }
    world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap();
    world.at_rest().await;
}
