//! Deletions: a task goes with everything that belongs to it.

use super::World;
use super::samples::{
    answer, append, appending, checkpoint, cut, deleting, everything, hook, ids, new, pushing, remembering,
    row,
};
use super::world::ALL;
use crate::limits::{Keep, Retention};
use crate::model::TaskState::{self, Completed, Working};
use crate::store::{Group, ListFilter, StoreError};

async fn is_missing(world: &World, id: &str) {
    assert!(world.load(id).await.is_none());
    let read = world.store().read(&id.into(), 0, ALL).await;
    assert!(matches!(read, Err(StoreError::NotFound)), "{read:?}");
}

pub(crate) async fn a_deleted_task_is_missing(world: &mut World) {
    world.append([new("t", Completed, 1, 3)]).await;
    world.later().await;
    world.commit(deleting(["t"])).await;
    world.later().await;
    is_missing(world, "t").await;
}

pub(crate) async fn a_deleted_task_is_on_no_list(world: &mut World) {
    world.append(["a", "t", "u"].map(|id| new(id, Completed, 1, 3))).await;
    world.later().await;
    world.commit(deleting(["t"])).await;
    world.later().await;
    let state = ListFilter { state: Some(Completed), ..everything() };
    let since = ListFilter { status_since: Some(super::samples::at(1)), ..everything() };
    for filter in [everything(), state, since] {
        assert_eq!(world.list(&filter).await, (ids(&["u", "a"]), 2), "{filter:?}");
    }
    let context = ListFilter { context: Some("context of t".into()), ..everything() };
    assert_eq!(world.list(&context).await, (Vec::new(), 0));
}

pub(crate) async fn a_task_may_be_deleted_in_any_state(world: &mut World) {
    world.append(TaskState::ALL.map(|state| new(state.name(), state, 1, 2))).await;
    world.later().await;
    world.commit(deleting(TaskState::ALL.map(TaskState::name))).await;
    world.later().await;
    assert_eq!(world.list(&everything()).await, (Vec::new(), 0));
    assert_eq!(world.unfinished(None, 10).await, []);
}

pub(crate) async fn a_deletion_of_a_missing_task_is_passed_over(world: &mut World) {
    world.append([new("t", Completed, 1, 1), new("u", Completed, 1, 1)]).await;
    world.later().await;
    world.commit(deleting(["never was", "t", "t"])).await;
    world.commit(deleting(["t"])).await;
    world.later().await;
    is_missing(world, "t").await;
    assert_eq!(world.list(&everything()).await, (ids(&["u"]), 1));
}

pub(crate) async fn a_deletion_comes_last_in_its_group(world: &mut World) {
    world.append([new("t", Working, 1, 2)]).await;
    world.later().await;
    let group = Group {
        remembered: vec![answer(1, 100)],
        cuts: vec![cut("t", 3)],
        deletions: vec!["t".into()],
        ..appending([append(2, row("t", Completed, 3, 4))])
    };
    world.commit(group).await;
    world.later().await;
    is_missing(world, "t").await;
    assert!(world.remembered(1, 0).await.is_some());
    assert_eq!(world.list(&everything()).await.1, 0);
}

pub(crate) async fn a_deleted_id_may_be_made_anew(world: &mut World) {
    world.append([new("t", Completed, 1, 5)]).await;
    world.commit(pushing([hook("t", "h", "http://old")])).await;
    world.store().checkpoint(&[checkpoint("t", 4)]);
    world.later().await;
    world.commit(deleting(["t"])).await;
    world.later().await;
    let anew = row("t", Working, 9, 2);
    world.append([append(0, anew.clone())]).await;
    world.later().await;
    let stored = world.load("t").await.unwrap();
    assert_eq!((stored.row, stored.checkpoint), (anew, None));
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2]);
    assert_eq!(world.list(&everything()).await, (ids(&["t"]), 1));
    assert_eq!(world.hooks("t").await, []);
}

pub(crate) async fn a_task_made_anew_is_longer_than_the_old_one(world: &mut World) {
    for (round, last) in [(1, 3), (2, 7), (3, 2), (4, 5)] {
        world.append([new("t", Completed, round, last)]).await;
        world.later().await;
        let events = world.read("t", 0, ALL).await;
        let expected: Vec<_> =
            (1..=last).map(|seq| super::samples::event(&row("t", Completed, round, last), seq)).collect();
        assert_eq!(events, expected, "round {round}");
        world.commit(deleting(["t"])).await;
        world.later().await;
    }
    is_missing(world, "t").await;
}

pub(crate) async fn a_continuation_of_a_deleted_task_is_a_conflict(world: &mut World) {
    world.append([new("t", Working, 1, 5)]).await;
    world.commit(deleting(["t"])).await;
    world.later().await;
    assert_eq!(world.conflict(appending([append(5, row("t", Working, 2, 6))])).await, 0);
    is_missing(world, "t").await;
}

pub(crate) async fn a_deletion_leaves_other_tasks_of_its_context(world: &mut World) {
    let in_one =
        |id: &str, time| crate::store::TaskRow { context: "one".into(), ..row(id, Completed, time, 2) };
    world.append((0..10).map(|n| append(0, in_one(&format!("{n}"), n)))).await;
    world.later().await;
    world.commit(deleting(["0", "5", "9"])).await;
    world.later().await;
    let one = ListFilter { context: Some("one".into()), ..everything() };
    assert_eq!(world.list(&one).await, (ids(&["8", "7", "6", "4", "3", "2", "1"]), 7));
    assert_eq!(world.seqs("4", 0, ALL).await, [1, 2]);
}

pub(crate) async fn a_deletion_leaves_the_answers(world: &mut World) {
    world.append([new("t", Completed, 1, 2)]).await;
    world.commit(remembering([answer(1, 100)])).await;
    world.later().await;
    world.commit(deleting(["t"])).await;
    world.later().await;
    assert_eq!(world.remembered(1, 99).await.map(|found| found.answer), Some(answer(1, 0).answer));
}

pub(crate) async fn a_deleted_task_does_not_expire_again(world: &mut World) {
    world.append([new("a", Completed, 1, 2), new("b", Completed, 2, 2)]).await;
    world.later().await;
    world.commit(deleting(["a"])).await;
    world.later().await;
    let retention =
        Retention { completed: Keep { count: Some(0), ..Keep::default() }, ..Retention::default() };
    assert_eq!(world.expired(&retention, 100, 10).await.deletions, ids(&["b"]));
}

pub(crate) async fn a_checkpoint_of_a_deleted_task_does_nothing(world: &mut World) {
    world.append([new("t", Completed, 1, 5)]).await;
    world.commit(deleting(["t"])).await;
    world.store().checkpoint(&[checkpoint("t", 5)]);
    world.barrier().await;
    world.later().await;
    is_missing(world, "t").await;
}

pub(crate) async fn a_thousand_tasks_go_in_one_group(world: &mut World) {
    let name = |n: i64| format!("{n:04}");
    world.append((0..1_500).map(|n| new(&name(n), TaskState::ALL[n as usize % 8], n, 1))).await;
    world.later().await;
    let gone: Vec<_> = (0..1_000).map(name).collect();
    world.commit(deleting(gone.iter().map(String::as_str))).await;
    world.later().await;
    let left: Vec<_> = (1_000..1_500).rev().map(|n| name(n).into()).collect();
    assert_eq!(world.list(&everything()).await, (left, 500));
    assert_eq!(world.unfinished(None, 10_000).await.len(), 250);
}

pub(crate) async fn deleting_everything_leaves_an_empty_store(world: &mut World) {
    world.append(["a", "b"].map(|id| new(id, Working, 1, 2))).await;
    world.later().await;
    world.commit(deleting(["a", "b"])).await;
    world.later().await;
    assert_eq!(world.list(&everything()).await, (Vec::new(), 0));
    world.append([new("c", Working, 1, 1)]).await;
    world.later().await;
    assert_eq!(world.list(&everything()).await, (ids(&["c"]), 1));
}
