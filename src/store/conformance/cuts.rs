//! Cuts: the oldest events of a task go, and the task stays.

use super::World;
use super::samples::{append, appending, checkpoint, cut, cutting, deleting, event, everything, new, row};
use super::world::ALL;
use crate::model::TaskState::{Completed, Failed, Working};
use crate::store::{Cut, Group, ReadLimit, StoreError};

/// The oldest number that is kept, as a read after a number says that reaches too far back.
async fn gap(world: &World, id: &str, after: u64) -> u64 {
    match world.store().read(&id.into(), after, ALL).await {
        Err(StoreError::Gap { oldest }) => oldest,
        other => panic!("no gap after {after}: {other:?}"),
    }
}

/// A finished task of six events, of which the first three go.
async fn cut_before_four(world: &mut World) {
    world.append([new("t", Completed, 5, 6)]).await;
    world.later().await;
    world.commit(cutting([cut("t", 4)])).await;
    world.later().await;
}

pub(crate) async fn a_read_before_a_cut_is_a_gap_that_names_the_oldest(world: &mut World) {
    cut_before_four(world).await;
    for after in 0..=2 {
        assert_eq!(gap(world, "t", after).await, 4, "after {after}");
    }
}

pub(crate) async fn a_read_behind_a_cut_goes_on(world: &mut World) {
    cut_before_four(world).await;
    assert_eq!(world.seqs("t", 3, ALL).await, [4, 5, 6]);
    assert_eq!(world.seqs("t", 5, ALL).await, [6]);
    assert_eq!(world.seqs("t", 3, ReadLimit { events: 1, ..ALL }).await, [4]);
    for end in [6, 7, u64::MAX] {
        assert_eq!(world.seqs("t", end, ALL).await, [0; 0], "after {end}");
    }
    assert_eq!(world.read("t", 5, ALL).await, [event(&row("t", Completed, 5, 6), 6)]);
}

pub(crate) async fn a_load_after_a_cut_gives_the_fold_of_what_went(world: &mut World) {
    cut_before_four(world).await;
    let stored = world.load("t").await.unwrap();
    assert_eq!(stored.row, row("t", Completed, 5, 6));
    assert_eq!(stored.checkpoint, Some(checkpoint("t", 4)));
}

pub(crate) async fn a_cut_may_leave_the_last_event_only(world: &mut World) {
    world.append([new("t", Completed, 5, 40)]).await;
    world.later().await;
    world.commit(cutting([Cut { checkpoint: checkpoint("t", 40), oldest: 40 }])).await;
    world.later().await;
    assert_eq!((gap(world, "t", 0).await, gap(world, "t", 38).await), (40, 40));
    assert_eq!(world.seqs("t", 39, ALL).await, [40]);
    assert_eq!(world.point("t").await, Some(checkpoint("t", 40)));
}

pub(crate) async fn a_cut_needs_no_fold_newer_than_what_goes(world: &mut World) {
    world.append([new("t", Completed, 5, 6)]).await;
    world.commit(cutting([Cut { checkpoint: checkpoint("t", 3), oldest: 4 }])).await;
    world.later().await;
    assert_eq!(world.point("t").await, Some(checkpoint("t", 3)));
    assert_eq!(world.seqs("t", 3, ALL).await, [4, 5, 6]);
}

pub(crate) async fn a_cut_goes_through_groups_of_events(world: &mut World) {
    for n in 0..10 {
        world.append([append(n * 3, row("t", if n == 9 { Completed } else { Working }, 5, n * 3 + 3))]).await;
    }
    world.later().await;
    for oldest in [2, 3, 4, 17, 28, 30] {
        world.commit(cutting([cut("t", oldest)])).await;
        world.later().await;
        assert_eq!(gap(world, "t", 0).await, oldest);
        assert_eq!(gap(world, "t", oldest - 2).await, oldest);
        assert_eq!(world.seqs("t", oldest - 1, ALL).await, (oldest..=30).collect::<Vec<_>>());
    }
}

pub(crate) async fn a_cut_before_an_earlier_one_brings_nothing_back(world: &mut World) {
    cut_before_four(world).await;
    world.commit(cutting([cut("t", 2)])).await;
    world.later().await;
    assert_eq!(gap(world, "t", 1).await, 4);
    assert_eq!(world.seqs("t", 3, ALL).await, [4, 5, 6]);
    assert_eq!(world.point("t").await, Some(checkpoint("t", 4)), "an older fold never replaces a newer");
}

pub(crate) async fn of_two_cuts_in_a_group_both_are_taken(world: &mut World) {
    world.append([new("t", Completed, 5, 6), new("u", Completed, 5, 6)]).await;
    world.later().await;
    world.commit(cutting([cut("t", 3), cut("u", 6), cut("t", 5)])).await;
    world.later().await;
    assert_eq!((gap(world, "t", 0).await, gap(world, "u", 0).await), (5, 6));
    assert_eq!(world.point("t").await, Some(checkpoint("t", 5)));
}

pub(crate) async fn a_cut_changes_neither_row_nor_lists(world: &mut World) {
    world.append([new("a", Completed, 1, 6), new("b", Failed, 2, 6), new("c", Working, 3, 6)]).await;
    world.later().await;
    let before = world.pages(&everything(), 2).await;
    world.commit(cutting([cut("a", 6), cut("b", 3)])).await;
    world.later().await;
    assert_eq!(world.pages(&everything(), 2).await, before);
    assert_eq!(world.row("a").await, row("a", Completed, 1, 6));
}

pub(crate) async fn a_cut_is_taken_after_the_appends_of_its_group(world: &mut World) {
    world.append([new("t", Working, 1, 3)]).await;
    world.later().await;
    let group = Group { cuts: vec![cut("t", 5)], ..appending([append(3, row("t", Completed, 2, 5))]) };
    world.commit(group).await;
    world.later().await;
    assert_eq!(gap(world, "t", 3).await, 5);
    assert_eq!(world.seqs("t", 4, ALL).await, [5]);
}

pub(crate) async fn a_task_that_was_cut_keeps_its_numbers(world: &mut World) {
    cut_before_four(world).await;
    assert_eq!(world.conflict(appending([append(3, row("t", Completed, 5, 4))])).await, 6);
    world.append([append(6, row("t", Completed, 5, 8))]).await;
    world.later().await;
    assert_eq!(gap(world, "t", 2).await, 4);
    assert_eq!(world.seqs("t", 3, ALL).await, [4, 5, 6, 7, 8]);
}

pub(crate) async fn a_cut_of_a_missing_task_is_passed_over(world: &mut World) {
    world.commit(cutting([cut("t", 4)])).await;
    world.later().await;
    assert!(world.load("t").await.is_none());
    world.append([new("t", Working, 1, 6)]).await;
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(world.point("t").await, None);
}

pub(crate) async fn a_cut_task_that_goes_comes_back_whole(world: &mut World) {
    cut_before_four(world).await;
    world.commit(deleting(["t"])).await;
    world.append([new("t", Working, 9, 6)]).await;
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(world.point("t").await, None);
}

pub(crate) async fn a_newer_checkpoint_stays_through_a_cut(world: &mut World) {
    cut_before_four(world).await;
    world.store().checkpoint(&[checkpoint("t", 6)]);
    world.barrier().await;
    world.later().await;
    world.commit(cutting([cut("t", 5)])).await;
    world.later().await;
    let point = world.point("t").await.expect("a cut task has a checkpoint");
    assert!([5, 6].contains(&point.seq), "{}", point.seq);
    assert_eq!(point, checkpoint("t", point.seq));
    // A late hint does not push out what a read cannot make up for.
    world.store().checkpoint(&[checkpoint("t", 2)]);
    world.barrier().await;
    world.later().await;
    assert!(world.point("t").await.is_some_and(|point| point.seq >= 5));
}

pub(crate) async fn many_tasks_are_cut_in_one_group(world: &mut World) {
    let id = |n: u64| format!("task {n}");
    world.append((0..200).map(|n| new(&id(n), Completed, 1, 5))).await;
    world.later().await;
    world.commit(cutting((0..200).map(|n| cut(&id(n), 2 + n % 4)))).await;
    world.later().await;
    for n in 0..200 {
        assert_eq!(gap(world, &id(n), 0).await, 2 + n % 4);
        assert_eq!(world.seqs(&id(n), 1 + n % 4, ALL).await, (2 + n % 4..=5).collect::<Vec<_>>());
    }
}
