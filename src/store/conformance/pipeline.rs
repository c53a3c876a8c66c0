//! Several groups on their way at once.

use std::sync::Arc;

use futures::future::join_all;

use super::World;
use super::samples::{
    answer, append, appending, checkpoint, deleting, event, everything, hook, new, pushing, remembering, row,
    unhook,
};
use super::world::ALL;
use crate::model::TaskState::{Completed, Submitted, Working};
use crate::store::{Group, StoreError};

/// The group that writes event `n` of a task.
fn step(id: &str, n: u64) -> Group {
    appending([append(n - 1, row(id, Working, n as i64, n))])
}

pub(crate) async fn groups_given_at_once_take_effect_in_order(world: &mut World) {
    let store = world.store();
    let done = join_all((1..=50).map(|n| store.commit(&step("t", n)))).await;
    drop(store);
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, (1..=50).collect::<Vec<_>>());
    assert_eq!(world.row("t").await, row("t", Working, 50, 50));
}

pub(crate) async fn a_group_whose_future_is_dropped_takes_effect(world: &mut World) {
    drop(world.store().commit(&step("t", 1)));
    drop(world.store().commit(&step("t", 2)));
    world.barrier().await;
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2]);
}

pub(crate) async fn a_group_that_nobody_polls_takes_effect(world: &mut World) {
    let waiting = world.store().commit(&step("t", 1));
    world.commit(step("t", 2)).await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2]);
    waiting.await.unwrap();
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2]);
}

pub(crate) async fn a_group_that_is_done_has_those_before_it_behind_it(world: &mut World) {
    let early: Vec<_> = (0..20).map(|n| world.store().commit(&step(&format!("task {n}"), 1))).collect();
    world.commit(step("last", 1)).await;
    for n in 0..20 {
        assert_eq!(world.row(&format!("task {n}")).await.last_seq, 1, "task {n}");
    }
    assert_eq!(world.list(&everything()).await.1, 21);
    assert!(join_all(early).await.iter().all(Result::is_ok));
}

pub(crate) async fn futures_may_be_awaited_in_any_order(world: &mut World) {
    let mut waiting: Vec<_> = (1..=9).map(|n| world.store().commit(&step("t", n))).collect();
    while let Some(last) = waiting.pop() {
        last.await.unwrap();
    }
    world.later().await;
    assert_eq!(world.row("t").await.last_seq, 9);
}

pub(crate) async fn a_conflict_counts_the_groups_on_their_way(world: &mut World) {
    let [one, two, again, three] = [1, 2, 2, 3].map(|n| world.store().commit(&step("t", n)));
    let again = again.await;
    assert!(matches!(again, Err(StoreError::Conflict { expected: 1, found: 2, .. })), "{again:?}");
    for done in [one, two, three] {
        done.await.unwrap();
    }
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2, 3]);
}

pub(crate) async fn a_refused_group_on_its_way_counts_for_nothing(world: &mut World) {
    let bad = appending([new("u", Submitted, 1, 1), append(8, row("t", Working, 1, 9))]);
    let refused = world.store().commit(&bad);
    let opened = world.store().commit(&appending([new("u", Working, 2, 3)]));
    assert!(matches!(refused.await, Err(StoreError::Conflict { expected: 8, found: 0, .. })));
    opened.await.unwrap();
    world.later().await;
    assert_eq!(world.row("u").await, row("u", Working, 2, 3));
    assert!(world.load("t").await.is_none());
}

pub(crate) async fn a_refused_group_that_nobody_awaits_harms_nobody(world: &mut World) {
    drop(world.store().commit(&step("t", 7)));
    world.commit(step("t", 1)).await;
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1]);
}

pub(crate) async fn a_second_opening_conflicts_with_one_on_its_way(world: &mut World) {
    let first = world.store().commit(&appending([new("t", Submitted, 1, 1)]));
    assert_eq!(world.conflict(appending([new("t", Working, 9, 1)])).await, 1);
    first.await.unwrap();
    world.later().await;
    assert_eq!(world.row("t").await, row("t", Submitted, 1, 1));
}

pub(crate) async fn a_deletion_on_its_way_counts(world: &mut World) {
    world.append([new("t", Completed, 1, 4)]).await;
    world.later().await;
    let gone = world.store().commit(&deleting(["t"]));
    let late = world.store().commit(&appending([append(4, row("t", Completed, 1, 5))]));
    let anew = world.store().commit(&appending([new("t", Working, 2, 2)]));
    gone.await.unwrap();
    assert!(matches!(late.await, Err(StoreError::Conflict { expected: 4, found: 0, .. })));
    anew.await.unwrap();
    world.later().await;
    assert_eq!(world.row("t").await, row("t", Working, 2, 2));
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2]);
    assert_eq!(world.list(&everything()).await.1, 1);
}

pub(crate) async fn of_answers_on_their_way_the_last_holds(world: &mut World) {
    for expires in [100, 300, 200] {
        drop(world.store().commit(&remembering([answer(1, expires)])));
    }
    world.barrier().await;
    world.later().await;
    assert_eq!(world.remembered(1, 199).await.map(|found| found.expires), Some(super::samples::at(200)));
    assert!(world.remembered(1, 200).await.is_none());
}

pub(crate) async fn webhooks_on_their_way_stay_in_order(world: &mut World) {
    world.append([new("t", Working, 1, 1)]).await;
    let changes =
        [hook("t", "a", "http://1"), unhook("t", "a"), hook("t", "a", "http://2"), hook("t", "b", "")];
    for change in changes {
        drop(world.store().commit(&pushing([change])));
    }
    drop(world.store().commit(&pushing([unhook("t", "b")])));
    world.barrier().await;
    world.later().await;
    assert_eq!(world.urls("t").await, ["http://2"]);
}

pub(crate) async fn a_checkpoint_given_with_groups_on_their_way_is_true_to_one_of_them(world: &mut World) {
    for n in 1..=6 {
        drop(world.store().commit(&step("t", n)));
        world.store().checkpoint(&[checkpoint("t", n)]);
    }
    world.barrier().await;
    world.later().await;
    if let Some(point) = world.point("t").await {
        assert_eq!(point, checkpoint("t", point.seq));
    }
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2, 3, 4, 5, 6]);
}

pub(crate) async fn hundreds_of_groups_on_their_way_are_all_written(world: &mut World) {
    let id = |n: u64| format!("task {}", n % 7);
    let mut waiting = Vec::new();
    for n in 0..700 {
        let done = world.store().commit(&step(&id(n), n / 7 + 1));
        if n % 3 > 0 {
            waiting.push(done);
        }
    }
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    world.barrier().await;
    world.later().await;
    for n in 0..7 {
        let expected: Vec<_> =
            (1..=100).map(|seq| event(&row(&id(n), Working, seq as i64, seq), seq)).collect();
        assert_eq!(world.read(&id(n), 0, ALL).await, expected, "{n}");
    }
    assert_eq!(world.list(&everything()).await.1, 7);
}

pub(crate) async fn groups_may_be_given_by_many_threads(world: &mut World) {
    let store = world.store();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = Arc::clone(&store);
            scope.spawn(move || {
                for n in 1..=50 {
                    drop(store.commit(&step(&format!("task {thread}"), n)));
                }
            });
        }
    });
    drop(store);
    world.barrier().await;
    world.later().await;
    for thread in 0..8 {
        let id = format!("task {thread}");
        assert_eq!(world.seqs(&id, 0, ALL).await, (1..=50).collect::<Vec<_>>(), "{id}");
    }
}

pub(crate) async fn nobody_sees_half_a_group(world: &mut World) {
    for n in 1..=40 {
        let both = ["a", "b"].map(|id| append(n - 1, row(id, Working, n as i64, n)));
        let done = world.store().commit(&appending(both));
        let last = |stored: Option<crate::store::Stored>| stored.map_or(0, |stored| stored.row.last_seq);
        let a = last(world.load("a").await);
        let b = last(world.load("b").await);
        assert!(b >= a, "of one group a's event {a} is seen, but only {b} of b's");
        if a > 0 {
            assert_eq!(world.seqs("a", a - 1, ALL).await.first(), Some(&a));
        }
        done.await.unwrap();
        assert_eq!(last(world.load("a").await), n);
    }
}
