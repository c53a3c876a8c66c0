//! Reads: where they begin, and how much they give.

use std::sync::Arc;

use super::World;
use super::samples::{append, event, new, row};
use super::world::ALL;
use crate::model::TaskState::Working;
use crate::model::{Artifact, Event, TaskArtifactUpdateEvent, Update};
use crate::store::{Append, ReadLimit, StoreError};

pub(crate) async fn a_read_begins_after_any_number(world: &mut World) {
    world.append([new("t", Working, 1, 4)]).await;
    world.append([append(4, row("t", Working, 1, 5)), append(5, row("t", Working, 1, 9))]).await;
    world.later().await;
    for after in 0..=9 {
        assert_eq!(world.seqs("t", after, ALL).await, (after + 1..=9).collect::<Vec<_>>(), "after {after}");
    }
}

pub(crate) async fn a_read_beyond_the_end_is_empty(world: &mut World) {
    world.append([new("t", Working, 1, 3)]).await;
    world.later().await;
    for beyond in [3, 4, 1_000, u64::MAX - 1, u64::MAX] {
        assert_eq!(world.seqs("t", beyond, ALL).await, [0; 0], "after {beyond}");
    }
}

pub(crate) async fn a_read_gives_as_many_events_as_asked_for(world: &mut World) {
    world.append([new("t", Working, 1, 4), append(4, row("t", Working, 1, 9))]).await;
    world.later().await;
    for (after, events) in [(0, 1), (0, 3), (0, 4), (0, 5), (0, 8), (3, 2), (8, 1), (4, 5), (7, 9)] {
        let expected: Vec<u64> = (after + 1..=9).take(events).collect();
        assert_eq!(
            world.seqs("t", after, ReadLimit { events, ..ALL }).await,
            expected,
            "{events} after {after}"
        );
    }
}

pub(crate) async fn a_read_gives_at_least_one_event(world: &mut World) {
    world.append([new("t", Working, 1, 4)]).await;
    world.later().await;
    for limit in
        [ReadLimit { bytes: 1, ..ALL }, ReadLimit { bytes: 0, ..ALL }, ReadLimit { events: 1, bytes: 0 }]
    {
        assert_eq!(world.seqs("t", 2, limit).await, [3], "{limit:?}");
    }
}

pub(crate) async fn a_read_stops_when_it_has_its_bytes(world: &mut World) {
    world.append([of_kibibytes("t", [100, 100, 100, 100, 100])]).await;
    world.later().await;
    // What surrounds the content costs something too, but not half as much.
    for (kibibytes, expected) in [(1, 1), (50, 1), (150, 2), (250, 3), (350, 4), (10_000, 5)] {
        let limit = ReadLimit { bytes: kibibytes << 10, ..ALL };
        assert_eq!(world.seqs("t", 0, limit).await.len(), expected, "{kibibytes} KiB");
    }
}

pub(crate) async fn a_big_event_comes_alone(world: &mut World) {
    world.append([of_kibibytes("t", [1, 2_000, 1])]).await;
    world.later().await;
    let limit = ReadLimit { bytes: 64 << 10, ..ALL };
    assert_eq!(world.seqs("t", 0, limit).await, [1, 2]);
    assert_eq!(world.seqs("t", 1, limit).await, [2]);
    assert_eq!(world.seqs("t", 2, limit).await, [3]);
}

pub(crate) async fn reads_of_any_size_add_up_to_the_log(world: &mut World) {
    for (first, last) in [(0, 1), (1, 2), (2, 12), (12, 13), (13, 40), (40, 64)] {
        world.append([append(first, row("t", Working, 1, last))]).await;
    }
    world.later().await;
    for events in 1..=65 {
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let page = world.seqs("t", after, ReadLimit { events, ..ALL }).await;
            let Some(last) = page.last() else { break };
            assert!(*last > after, "{page:?} after {after}");
            after = *last;
            seen.extend(page);
        }
        assert_eq!(seen, (1..=64).collect::<Vec<_>>(), "{events} at a time");
    }
}

pub(crate) async fn a_missing_task_is_not_found(world: &mut World) {
    world.append([new("other", Working, 1, 1)]).await;
    world.later().await;
    for after in [0, 1, u64::MAX] {
        let read = world.store().read(&"t".into(), after, ALL).await;
        assert!(matches!(read, Err(StoreError::NotFound)), "{read:?}");
    }
}

pub(crate) async fn tasks_that_were_written_in_turn_are_read_apart(world: &mut World) {
    for n in 0..60 {
        world.append(["a", "b", "c"].map(|id| append(n, row(id, Working, 1, n + 1)))).await;
        if n % 25 == 24 {
            world.later().await;
        }
    }
    world.later().await;
    for id in ["a", "b", "c"] {
        let expected: Vec<_> = (1..=60).map(|seq| event(&row(id, Working, 1, 1), seq)).collect();
        assert_eq!(world.read(id, 0, ALL).await, expected, "{id}");
    }
}

pub(crate) async fn a_read_sees_what_came_after_an_earlier_one(world: &mut World) {
    world.append([new("t", Working, 1, 2)]).await;
    world.later().await;
    assert_eq!(world.seqs("t", 2, ALL).await, [0; 0]);
    world.append([append(2, row("t", Working, 2, 3))]).await;
    assert_eq!(world.seqs("t", 2, ALL).await, [3]);
}

/// A new task with events of such content.
fn of_kibibytes<const N: usize>(id: &str, kibibytes: [usize; N]) -> Append {
    let row = row(id, Working, 1, N as u64);
    let event = |(size, seq): (usize, u64)| {
        let (task_id, context_id) = (row.id.clone(), row.context.clone());
        let artifact = Artifact::text("a", "x".repeat(size << 10));
        let (append, last_chunk, metadata) = (true, false, None);
        let update = TaskArtifactUpdateEvent { task_id, context_id, artifact, append, last_chunk, metadata };
        Arc::new(Event { seq, update: Update::Artifact(update), cause: None })
    };
    let events = kibibytes.into_iter().zip(1..).map(event).collect();
    Append { expected: 0, events, row: row.clone() }
}
