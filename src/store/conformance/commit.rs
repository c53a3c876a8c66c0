//! Commits: all of a group or nothing, and in what order.

use std::sync::Arc;

use bytes::Bytes;

use super::World;
use super::samples::{
    answer, append, appending, checkpoint, cut, deleting, event, everything, hook, new, pushing, remembering,
    row,
};
use super::world::ALL;
use crate::model::TaskState::{Completed, Submitted, Working};
use crate::model::{Artifact, Event, Part, PartContent, TaskArtifactUpdateEvent, Update};
use crate::store::{Append, Group, StoreError};

pub(crate) async fn what_was_committed_is_read_in_order(world: &mut World) {
    world.append([new("t", Working, 1, 3)]).await;
    world.later().await;
    world.append([append(3, row("t", Completed, 2, 5))]).await;
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2, 3, 4, 5]);
    assert_eq!(world.read("t", 4, ALL).await, [event(&row("t", Completed, 2, 5), 5)]);
    assert_eq!(world.read("t", 2, ALL).await[0], event(&row("t", Working, 1, 3), 3));
}

pub(crate) async fn a_group_of_many_tasks_is_written_whole(world: &mut World) {
    let id = |n: u64| format!("task {n}");
    world.append((0..300).map(|n| new(&id(n), Working, n as i64, 1 + n % 3))).await;
    world.later().await;
    for n in 0..300 {
        assert_eq!(world.row(&id(n)).await, row(&id(n), Working, n as i64, 1 + n % 3));
        assert_eq!(world.seqs(&id(n), 0, ALL).await, (1..=1 + n % 3).collect::<Vec<_>>());
    }
    assert_eq!(world.list(&everything()).await.1, 300);
}

pub(crate) async fn several_appends_of_one_task_stand_in_order(world: &mut World) {
    let rows = [(0, 1), (1, 4), (4, 5)];
    world.append(rows.map(|(expected, last)| append(expected, row("t", Working, 1, last)))).await;
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2, 3, 4, 5]);
    assert_eq!(world.row("t").await.last_seq, 5);
    assert_eq!(world.list(&everything()).await.1, 1);
}

pub(crate) async fn appends_of_several_tasks_may_be_mixed(world: &mut World) {
    let steps = [("a", 0, 2), ("b", 0, 1), ("a", 2, 3), ("b", 1, 4), ("a", 3, 4)];
    world.append(steps.map(|(id, expected, last)| append(expected, row(id, Working, 1, last)))).await;
    world.later().await;
    for id in ["a", "b"] {
        let events = world.read(id, 0, ALL).await;
        let expected: Vec<_> = (1..=4).map(|seq| event(&row(id, Working, 1, 4), seq)).collect();
        assert_eq!(events, expected, "{id}");
    }
}

pub(crate) async fn the_last_of_several_rows_of_a_task_holds(world: &mut World) {
    let last = row("t", Completed, 7, 3);
    world
        .append([new("t", Submitted, 9, 1), append(1, row("t", Working, 8, 2)), append(2, last.clone())])
        .await;
    world.later().await;
    assert_eq!(world.row("t").await, last);
    let page = world.pages(&everything(), 10).await;
    assert_eq!(page, [last]);
}

pub(crate) async fn an_expected_number_that_is_not_the_last_is_a_conflict(world: &mut World) {
    world.append([new("t", Submitted, 1, 3)]).await;
    world.later().await;
    for expected in [0, 1, 2, 4, 5, 1_000] {
        let group = appending([append(expected, row("t", Working, 1, expected + 1))]);
        assert_eq!(world.conflict(group).await, 3, "expected {expected}");
    }
    assert_eq!(world.row("t").await, row("t", Submitted, 1, 3));
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2, 3]);
}

pub(crate) async fn a_missing_task_has_the_number_zero(world: &mut World) {
    world.later().await;
    assert_eq!(world.conflict(appending([append(1, row("t", Working, 1, 2))])).await, 0);
    assert!(world.load("t").await.is_none());
}

pub(crate) async fn a_conflict_names_the_task_and_both_numbers(world: &mut World) {
    world.append([new("a", Working, 1, 1), new("b", Working, 1, 2)]).await;
    world.later().await;
    let group = appending([append(1, row("a", Working, 1, 2)), append(5, row("b", Working, 1, 6))]);
    let Err(StoreError::Conflict { task, expected, found }) = world.try_commit(group).await else {
        panic!("not a conflict")
    };
    assert_eq!((&*task, expected, found), ("b", 5, 2));
}

pub(crate) async fn a_conflict_counts_the_appends_before_it_in_its_group(world: &mut World) {
    world.append([new("t", Submitted, 1, 1)]).await;
    world.later().await;
    let twice = [append(1, row("t", Working, 1, 2)), append(1, row("t", Working, 1, 2))];
    assert_eq!(world.conflict(appending(twice)).await, 2);
    assert_eq!(world.row("t").await.last_seq, 1);
}

pub(crate) async fn a_group_with_a_conflict_writes_nothing_at_all(world: &mut World) {
    world.append([new("t", Completed, 1, 3), new("u", Completed, 1, 3)]).await;
    world.commit(pushing([hook("t", "one", "http://one")])).await;
    world.later().await;
    let group = Group {
        appends: vec![
            new("new", Submitted, 1, 1),
            append(3, row("t", Completed, 5, 4)),
            append(7, row("u", Completed, 5, 8)),
        ],
        remembered: vec![answer(1, 100)],
        push: vec![hook("t", "two", "http://two"), hook("t", "one", "http://other")],
        cuts: vec![cut("u", 3)],
        deletions: vec!["u".into(), "t".into()],
    };
    assert_eq!(world.conflict(group).await, 3);
    world.later().await;
    assert!(world.load("new").await.is_none());
    assert_eq!(world.row("t").await, row("t", Completed, 1, 3));
    assert_eq!(world.seqs("u", 0, ALL).await, [1, 2, 3]);
    assert!(world.remembered(1, 0).await.is_none());
    assert_eq!(world.urls("t").await, ["http://one"]);
    assert_eq!(world.list(&everything()).await.1, 2);
}

pub(crate) async fn the_same_group_a_second_time_is_a_conflict(world: &mut World) {
    let group = Group { remembered: vec![answer(1, 100)], ..appending([new("t", Submitted, 1, 2)]) };
    world.commit(group.clone()).await;
    world.later().await;
    assert_eq!(world.conflict(group).await, 2);
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2]);
}

pub(crate) async fn a_store_goes_on_after_a_conflict(world: &mut World) {
    world.append([new("t", Submitted, 1, 1)]).await;
    assert_eq!(world.conflict(appending([new("t", Submitted, 1, 1)])).await, 1);
    world.later().await;
    world.append([append(1, row("t", Working, 2, 2))]).await;
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2]);
}

pub(crate) async fn an_empty_group_changes_nothing(world: &mut World) {
    world.append([new("t", Submitted, 1, 1)]).await;
    world.commit(Group::default()).await;
    world.later().await;
    assert_eq!(world.row("t").await, row("t", Submitted, 1, 1));
    assert_eq!(world.list(&everything()).await.1, 1);
}

pub(crate) async fn a_group_may_hold_answers_alone(world: &mut World) {
    world.commit(remembering([answer(1, 100), answer(2, 100)])).await;
    world.later().await;
    for n in [1, 2] {
        assert_eq!(world.remembered(n, 0).await.unwrap().answer, answer(n, 0).answer);
    }
}

pub(crate) async fn a_group_may_hold_everything_at_once(world: &mut World) {
    world.append([new("old", Completed, 1, 3), new("gone", Completed, 1, 2)]).await;
    world.later().await;
    let group = Group {
        appends: vec![new("new", Working, 2, 2)],
        remembered: vec![answer(1, 100)],
        push: vec![hook("new", "one", "http://one")],
        cuts: vec![cut("old", 3)],
        deletions: vec!["gone".into()],
    };
    world.commit(group).await;
    world.later().await;
    assert_eq!(world.seqs("new", 0, ALL).await, [1, 2]);
    assert!(world.remembered(1, 0).await.is_some());
    assert_eq!(world.urls("new").await, ["http://one"]);
    assert_eq!(world.seqs("old", 2, ALL).await, [3]);
    assert_eq!(world.point("old").await, Some(checkpoint("old", 3)));
    assert!(world.load("gone").await.is_none());
    assert_eq!(world.list(&everything()).await, (super::samples::ids(&["new", "old"]), 2));
}

pub(crate) async fn a_task_may_come_and_go_in_one_group(world: &mut World) {
    let group = Group {
        push: vec![hook("t", "one", "http://one")],
        deletions: vec!["t".into()],
        ..appending([new("t", Completed, 1, 2)])
    };
    world.commit(group).await;
    world.later().await;
    assert!(world.load("t").await.is_none());
    assert_eq!(world.list(&everything()).await, (Vec::new(), 0));
    assert_eq!(world.urls("t").await, [""; 0]);
    assert_eq!(world.unfinished(None, 10).await, []);
}

pub(crate) async fn a_group_is_read_before_commit_returns(world: &mut World) {
    let mut group = Group { remembered: vec![answer(1, 100)], ..appending([new("t", Submitted, 1, 2)]) };
    let done = world.store().commit(&group);
    group.clear();
    drop(group);
    done.await.unwrap();
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, [1, 2]);
    assert!(world.remembered(1, 0).await.is_some());
}

pub(crate) async fn events_of_a_mebibyte_and_more_survive(world: &mut World) {
    let sizes = [1 << 20, (1 << 20) + 1, 3 << 20, 5];
    world.append([with_content("t", sizes.map(noise).map(PartContent::Raw))]).await;
    world.later().await;
    let events = world.read("t", 0, ALL).await;
    let content: Vec<_> = events.iter().map(|event| raw(event)).collect();
    assert_eq!(content.iter().map(Bytes::len).collect::<Vec<_>>(), sizes);
    assert!(content.iter().zip(sizes).all(|(found, size)| *found == noise(size)));
}

pub(crate) async fn a_long_text_survives(world: &mut World) {
    let text = "grün 🦀 \u{1} \"\\ ".repeat(100_000);
    world.append([with_content("t", [PartContent::Text(text.clone())])]).await;
    world.later().await;
    let Update::Artifact(update) = &world.read("t", 0, ALL).await[0].update else { panic!("another update") };
    assert!(update.artifact.parts[0].content == PartContent::Text(text));
}

pub(crate) async fn a_group_of_many_mebibytes_survives(world: &mut World) {
    let appends =
        (0..12).map(|n| with_content(&format!("task {n}"), [PartContent::Raw(noise(1_000_000 + n))]));
    world.append(appends).await;
    world.later().await;
    for n in 0..12 {
        let events = world.read(&format!("task {n}"), 0, ALL).await;
        assert!(raw(&events[0]) == noise(1_000_000 + n), "task {n}");
    }
}

pub(crate) async fn ten_thousand_events_of_one_task_fit_in_a_group(world: &mut World) {
    world.append([new("t", Working, 1, 10_000)]).await;
    world.later().await;
    assert_eq!(world.seqs("t", 0, ALL).await, (1..=10_000).collect::<Vec<_>>());
    assert_eq!(world.read("t", 9_999, ALL).await, [event(&row("t", Working, 1, 1), 10_000)]);
}

pub(crate) async fn ten_thousand_tasks_fit_in_a_group(world: &mut World) {
    world.append((0..10_000).map(|n| new(&format!("task {n:05}"), Working, n, 1))).await;
    world.later().await;
    assert_eq!(world.list(&everything()).await.1, 10_000);
    assert_eq!(world.row("task 07777").await, row("task 07777", Working, 7_777, 1));
    assert_eq!(world.unfinished(None, 20_000).await.len(), 10_000);
}

pub(crate) async fn a_thousand_groups_of_one_task_are_one_log(world: &mut World) {
    for half in [0..500, 500..1_000] {
        for n in half {
            drop(world.store().commit(&appending([append(n, row("t", Working, n as i64, n + 1))])));
        }
        world.barrier().await;
        world.later().await;
    }
    assert_eq!(world.seqs("t", 0, ALL).await, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(world.row("t").await, row("t", Working, 999, 1_000));
}

/// A new task whose events carry this.
fn with_content(id: &str, contents: impl IntoIterator<Item = PartContent>) -> Append {
    let row = row(id, Working, 1, 0);
    let artifact = |content| {
        let part = Part { content, metadata: None, filename: None, media_type: None };
        let artifact = Artifact { parts: vec![part], ..Artifact::text("a", "") };
        let (task_id, context_id) = (row.id.clone(), row.context.clone());
        Update::Artifact(TaskArtifactUpdateEvent {
            task_id,
            context_id,
            artifact,
            append: false,
            last_chunk: true,
            metadata: None,
        })
    };
    let events: Vec<_> = contents
        .into_iter()
        .zip(1..)
        .map(|(content, seq)| Arc::new(Event { seq, update: artifact(content), cause: None }))
        .collect();
    let last_seq = events.len() as u64;
    Append { expected: 0, events, row: crate::store::TaskRow { last_seq, ..row } }
}

fn raw(event: &Event) -> Bytes {
    let Update::Artifact(update) = &event.update else { panic!("another update") };
    let PartContent::Raw(bytes) = &update.artifact.parts[0].content else { panic!("other content") };
    bytes.clone()
}

/// Bytes that do not compress, and are the same for the same length.
fn noise(length: usize) -> Bytes {
    let mut state = length as u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) async fn deletions_alone_of_nothing_are_fine(world: &mut World) {
    world.commit(deleting(["never", "was", "never"])).await;
    world.later().await;
    assert_eq!(world.list(&everything()).await, (Vec::new(), 0));
}
