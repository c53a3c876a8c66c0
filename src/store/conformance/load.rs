//! Loads, and the checkpoints that shorten them.

use super::World;
use super::samples::{append, checkpoint, everything, new, row};
use super::world::ALL;
use crate::model::TaskState::{Completed, InputRequired, Submitted, Working};

pub(crate) async fn a_load_of_a_missing_task_is_none(world: &mut World) {
    world.later().await;
    assert!(world.load("t").await.is_none());
}

pub(crate) async fn a_load_gives_the_latest_row(world: &mut World) {
    world.append([new("t", Submitted, 1, 1)]).await;
    world.later().await;
    for (seq, latest) in [(1, row("t", InputRequired, 9, 4)), (4, row("t", Working, 5, 5))] {
        world.append([append(seq, latest.clone())]).await;
        world.later().await;
        assert_eq!(world.row("t").await, latest);
    }
}

pub(crate) async fn a_task_without_a_checkpoint_loads_without_one(world: &mut World) {
    world.append([new("t", Completed, 1, 3)]).await;
    world.later().await;
    assert_eq!(world.point("t").await, None);
}

/// A checkpoint is a hint: a store may have none, but not another.
async fn has_this_or_none(world: &World, id: &str, seq: u64) {
    if let Some(found) = world.point(id).await {
        assert_eq!(found, checkpoint(id, seq));
    }
}

pub(crate) async fn a_checkpoint_comes_back_with_a_load(world: &mut World) {
    world.append([new("t", Completed, 1, 2)]).await;
    world.store().checkpoint(&[checkpoint("t", 2)]);
    world.barrier().await;
    world.later().await;
    has_this_or_none(world, "t", 2).await;
}

pub(crate) async fn a_newer_checkpoint_replaces_an_older(world: &mut World) {
    world.append([new("t", Completed, 1, 5)]).await;
    world.store().checkpoint(&[checkpoint("t", 2)]);
    world.barrier().await;
    world.later().await;
    world.store().checkpoint(&[checkpoint("t", 4)]);
    world.barrier().await;
    world.later().await;
    has_this_or_none(world, "t", 4).await;
}

pub(crate) async fn an_older_checkpoint_never_replaces_a_newer(world: &mut World) {
    world.append([new("t", Completed, 1, 5)]).await;
    world.store().checkpoint(&[checkpoint("t", 4)]);
    world.barrier().await;
    world.later().await;
    // A hint that is forgotten by now replaces nothing and is not replaced.
    let kept = world.point("t").await.map_or(1, |point| point.seq);
    world.store().checkpoint(&[checkpoint("t", 3), checkpoint("t", 1)]);
    world.barrier().await;
    for _ in 0..2 {
        let point = world.point("t").await;
        assert!(point.as_ref().is_none_or(|point| point.seq >= kept), "{point:?} after {kept}");
        world.later().await;
    }
}

pub(crate) async fn of_several_checkpoints_at_once_the_newest_holds(world: &mut World) {
    world.append([new("t", Completed, 1, 5), new("u", Completed, 1, 5)]).await;
    let points = [("t", 2), ("u", 1), ("t", 5), ("u", 3), ("t", 3)];
    world.store().checkpoint(&points.map(|(id, seq)| checkpoint(id, seq)));
    world.barrier().await;
    world.later().await;
    has_this_or_none(world, "t", 5).await;
    has_this_or_none(world, "u", 3).await;
}

pub(crate) async fn a_checkpoint_of_a_missing_task_does_nothing(world: &mut World) {
    world.store().checkpoint(&[checkpoint("t", 2)]);
    world.barrier().await;
    world.later().await;
    assert!(world.load("t").await.is_none());
    assert_eq!(world.list(&everything()).await.1, 0);
    world.append([new("t", Working, 1, 3)]).await;
    world.later().await;
    assert_eq!(world.point("t").await, None, "it was of another task");
}

pub(crate) async fn a_checkpoint_beyond_the_log_is_not_given(world: &mut World) {
    world.append([new("t", Working, 1, 2)]).await;
    world.store().checkpoint(&[checkpoint("t", 3)]);
    world.barrier().await;
    world.later().await;
    assert_eq!(world.point("t").await, None);
}

pub(crate) async fn no_checkpoints_are_no_harm(world: &mut World) {
    world.append([new("t", Working, 1, 2)]).await;
    world.store().checkpoint(&[]);
    world.barrier().await;
    world.later().await;
    assert_eq!((world.row("t").await.last_seq, world.point("t").await), (2, None));
}

pub(crate) async fn a_checkpoint_changes_neither_row_nor_events_nor_lists(world: &mut World) {
    world.append([new("t", Working, 7, 4)]).await;
    world.store().checkpoint(&[checkpoint("t", 4)]);
    world.barrier().await;
    world.later().await;
    assert_eq!(world.row("t").await, row("t", Working, 7, 4));
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2, 3, 4]);
    assert_eq!(world.pages(&everything(), 5).await, [row("t", Working, 7, 4)]);
}

pub(crate) async fn a_checkpoint_stays_when_more_is_appended(world: &mut World) {
    world.append([new("t", Working, 1, 2)]).await;
    world.store().checkpoint(&[checkpoint("t", 2)]);
    world.barrier().await;
    world.later().await;
    world.append([append(2, row("t", Working, 2, 6))]).await;
    world.later().await;
    has_this_or_none(world, "t", 2).await;
    assert_eq!(world.seqs("t", 2, ALL).await, [3, 4, 5, 6]);
}
