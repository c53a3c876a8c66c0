//! The end of a store's life in this process.

use super::World;
use super::samples::{answer, append, appending, new, remembering, row};
use super::world::ALL;
use crate::model::TaskState::{Completed, Working};
use crate::store::StoreError;

pub(crate) async fn a_store_says_what_it_is(world: &mut World) {
    let store = world.store();
    assert!(!store.describe().is_empty() && store.describe().lines().count() == 1, "{}", store.describe());
    assert!(store.has_room());
    assert!(store.is_durable() || !world.reopens(), "it survives, and does not say so");
}

pub(crate) async fn an_empty_store_closes(world: &mut World) {
    world.later().await;
    world.store().close().await.unwrap();
}

pub(crate) async fn a_store_may_be_closed_twice(world: &mut World) {
    world.append([new("t", Working, 1, 2)]).await;
    world.store().close().await.unwrap();
    world.store().close().await.unwrap();
}

pub(crate) async fn what_was_committed_survives_a_close(world: &mut World) {
    world.append([new("t", Working, 1, 2)]).await;
    world.commit(remembering([answer(1, 100)])).await;
    world.store().close().await.unwrap();
    world.reopen().await;
    // It may be that it cannot be read any more, but not that something else is read.
    match world.store().read(&"t".into(), 0, ALL).await {
        Ok(events) => assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]),
        Err(error) => assert!(matches!(error, StoreError::Failed(_)), "{error}"),
    }
    if world.reopens() {
        assert_eq!(world.seqs("t", 0, ALL).await, [1, 2]);
        assert!(world.remembered(1, 0).await.is_some());
    }
}

pub(crate) async fn a_commit_after_a_close_is_refused_or_kept(world: &mut World) {
    world.append([new("t", Working, 1, 2)]).await;
    world.store().close().await.unwrap();
    let late = world.try_commit(appending([append(2, row("t", Working, 2, 3))])).await;
    assert!(matches!(late, Ok(()) | Err(StoreError::Failed(_))), "{late:?}");
    world.reopen().await;
    if world.reopens() {
        let expected = if late.is_ok() { 3 } else { 2 };
        assert_eq!(world.row("t").await.last_seq, expected);
    }
}

pub(crate) async fn groups_on_their_way_are_written_before_a_close_ends(world: &mut World) {
    for n in 1..=30 {
        drop(world.store().commit(&appending([append(n - 1, row("t", Working, 1, n))])));
    }
    world.store().close().await.unwrap();
    world.reopen().await;
    if world.reopens() {
        assert_eq!(world.row("t").await.last_seq, 30);
    }
}

pub(crate) async fn a_store_goes_on_where_it_was_left(world: &mut World) {
    world.append([new("t", Working, 1, 2)]).await;
    for n in 2..12 {
        world.later().await;
        world.append([append(n, row("t", Working, n as i64, n + 1))]).await;
    }
    world.later().await;
    world.append([append(12, row("t", Completed, 50, 13))]).await;
    assert_eq!(world.seqs("t", 0, ALL).await, (1..=13).collect::<Vec<_>>());
    assert_eq!(world.row("t").await, row("t", Completed, 50, 13));
}
