//! What retention finds, and that it comes to an end.

use std::time::Duration;

use super::World;
use super::samples::{append, cut, deleting, ids, new, row};
use crate::limits::{Keep, Retention};
use crate::model::Id;
use crate::model::TaskState::{self, Canceled, Completed, Failed, Rejected, Working};
use crate::store::{Expired, Group, TaskRow};

fn keep_age(nanos: u64) -> Keep {
    Keep { age: Some(Duration::from_nanos(nanos)), ..Keep::default() }
}

fn keep_count(count: u64) -> Keep {
    Keep { count: Some(count), ..Keep::default() }
}

fn keep_events(nanos: u64) -> Keep {
    Keep { events_age: Some(Duration::from_nanos(nanos)), ..Keep::default() }
}

/// The same for every state.
fn all(keep: Keep) -> Retention {
    Retention { completed: keep, failed: keep, canceled: keep, rejected: keep }
}

fn completed(keep: Keep) -> Retention {
    Retention { completed: keep, ..Retention::default() }
}

fn deletions(tasks: &[&str]) -> Expired {
    Expired { deletions: ids(tasks), cuts: Vec::new() }
}

fn cuts(tasks: &[&str]) -> Expired {
    Expired { deletions: Vec::new(), cuts: ids(tasks) }
}

/// Does what was found, as the engine's writer would.
async fn take(world: &World, expired: &Expired) {
    let mut group = Group { deletions: expired.deletions.clone(), ..Group::default() };
    for id in &expired.cuts {
        group.cuts.push(cut(id, world.row(id).await.last_seq));
    }
    world.commit(group).await;
}

/// Finished tasks `0`, `1`, … of a state, one per nanosecond, with three events each.
async fn finished(world: &mut World, state: TaskState, count: i64) {
    world.append((0..count).map(|n| new(&format!("{n}"), state, n, 3))).await;
    world.later().await;
}

pub(crate) async fn nothing_expires_where_everything_is_kept(world: &mut World) {
    finished(world, Completed, 9).await;
    assert!(Retention::default().is_unlimited());
    assert_eq!(world.expired(&Retention::default(), i64::MAX, 100).await, Expired::default());
}

pub(crate) async fn nothing_expires_in_an_empty_store(world: &mut World) {
    world.later().await;
    assert_eq!(world.expired(&all(keep_count(0)), i64::MAX, 100).await, Expired::default());
}

pub(crate) async fn a_task_expires_when_it_has_its_age(world: &mut World) {
    world.append([new("t", Completed, 1_000, 3)]).await;
    world.later().await;
    for (now, expected) in [(0, &[][..]), (1_000, &[]), (1_099, &[]), (1_100, &["t"]), (1_101, &["t"])] {
        assert_eq!(world.expired(&completed(keep_age(100)), now, 9).await, deletions(expected), "at {now}");
    }
}

pub(crate) async fn an_age_of_nothing_takes_what_has_finished_by_now(world: &mut World) {
    finished(world, Completed, 5).await;
    assert_eq!(world.expired(&completed(keep_age(0)), 2, 9).await, deletions(&["0", "1", "2"]));
}

pub(crate) async fn ages_at_the_ends_of_the_range_are_right(world: &mut World) {
    world.append([("past", i64::MIN), ("end", i64::MAX)].map(|(id, time)| new(id, Completed, time, 2))).await;
    world.later().await;
    assert_eq!(world.expired(&completed(keep_age(1)), i64::MIN, 9).await, deletions(&[]));
    assert_eq!(world.expired(&completed(keep_age(1)), i64::MIN + 1, 9).await, deletions(&["past"]));
    assert_eq!(world.expired(&completed(keep_age(1)), i64::MAX - 1, 9).await, deletions(&["past"]));
    world.append([new("now", Completed, 0, 2)]).await;
    world.later().await;
    let longest = Keep { age: Some(Duration::MAX), ..Keep::default() };
    assert!(!world.expired(&completed(longest), i64::MAX - 1, 9).await.deletions.contains(&"now".into()));
}

pub(crate) async fn a_count_keeps_those_that_finished_last(world: &mut World) {
    finished(world, Completed, 6).await;
    for (count, expected) in
        [(0, &["0", "1", "2", "3", "4", "5"][..]), (2, &["0", "1", "2", "3"]), (5, &["0"])]
    {
        assert_eq!(world.expired(&completed(keep_count(count)), 0, 9).await, deletions(expected), "{count}");
    }
    for count in [6, 7, u64::MAX] {
        assert_eq!(world.expired(&completed(keep_count(count)), 0, 9).await, deletions(&[]), "{count}");
    }
}

pub(crate) async fn the_oldest_go_first_whatever_their_ids(world: &mut World) {
    let rows = [("m", 3), ("z", 1), ("a", 4), ("k", 2), ("b", -9)];
    world.append(rows.map(|(id, time)| new(id, Completed, time, 3))).await;
    world.later().await;
    assert_eq!(world.expired(&completed(keep_count(1)), 0, 9).await, deletions(&["b", "z", "k", "m"]));
    assert_eq!(world.expired(&completed(keep_count(1)), 0, 2).await, deletions(&["b", "z"]));
}

pub(crate) async fn age_and_count_hold_together(world: &mut World) {
    finished(world, Completed, 8).await;
    let keep = |age, count| completed(Keep { count: Some(count), ..keep_age(age) });
    assert_eq!(world.expired(&keep(10, 5), 11, 9).await, deletions(&["0", "1", "2"]));
    assert_eq!(world.expired(&keep(10, 5), 14, 9).await, deletions(&["0", "1", "2", "3", "4"]));
}

pub(crate) async fn each_state_is_kept_by_its_own_rule(world: &mut World) {
    for (n, state) in [Completed, Failed, Canceled, Rejected].into_iter().enumerate() {
        let rows = (0..4).map(|time| new(&format!("{state} {time}"), state, time * 10 + n as i64, 3));
        world.append(rows).await;
    }
    world.later().await;
    let retention = Retention {
        completed: keep_count(2),
        failed: keep_age(30),
        canceled: Keep::default(),
        rejected: keep_count(3),
    };
    let mut found = world.expired(&retention, 41, 100).await;
    found.deletions.sort();
    let expected = ["completed 0", "completed 1", "failed 0", "failed 1", "rejected 0"];
    assert_eq!(found, deletions(&expected));
}

pub(crate) async fn an_unfinished_task_never_expires(world: &mut World) {
    world.append(TaskState::ALL.map(|state| new(state.short_name(), state, 1, 3))).await;
    world.later().await;
    let keep = Keep { count: Some(0), events_age: Some(Duration::ZERO), ..keep_age(0) };
    let mut found = world.expired(&all(keep), i64::MAX, 100).await;
    found.deletions.sort();
    assert_eq!(found, deletions(&["canceled", "completed", "failed", "rejected"]));
}

pub(crate) async fn a_count_is_over_all_owners_and_agents(world: &mut World) {
    let names = [("ann", "one"), ("bob", "one"), ("ann", "two"), ("eve", "two")];
    let rows = names.into_iter().zip(0..).map(|((owner, agent), n)| TaskRow {
        owner: owner.into(),
        agent: agent.into(),
        ..row(&format!("{n}"), Completed, n, 1)
    });
    world.append(rows.map(|row| append(0, row))).await;
    world.later().await;
    assert_eq!(world.expired(&completed(keep_count(1)), 0, 9).await, deletions(&["0", "1", "2"]));
}

pub(crate) async fn events_go_when_they_have_their_age(world: &mut World) {
    world.append([new("t", Completed, 1_000, 3)]).await;
    world.later().await;
    for (now, expected) in [(0, &[][..]), (1_099, &[]), (1_100, &["t"]), (5_000, &["t"])] {
        assert_eq!(world.expired(&completed(keep_events(100)), now, 9).await, cuts(expected), "at {now}");
    }
}

pub(crate) async fn events_go_once(world: &mut World) {
    finished(world, Completed, 3).await;
    let retention = completed(keep_events(10));
    let found = world.expired(&retention, 11, 9).await;
    assert_eq!(found, cuts(&["0", "1"]));
    take(world, &found).await;
    world.later().await;
    assert_eq!(world.expired(&retention, 11, 9).await, Expired::default());
    assert_eq!(world.expired(&retention, 12, 9).await, cuts(&["2"]));
}

pub(crate) async fn a_task_with_one_event_has_nothing_to_cut(world: &mut World) {
    world.append([new("one", Rejected, 1, 1), new("two", Rejected, 1, 2)]).await;
    world.later().await;
    assert_eq!(world.expired(&all(keep_events(0)), 9, 9).await, cuts(&["two"]));
}

pub(crate) async fn a_task_that_was_cut_in_part_is_cut_to_its_last(world: &mut World) {
    world.append([new("t", Completed, 1, 5)]).await;
    world.commit(super::samples::cutting([cut("t", 3)])).await;
    world.later().await;
    assert_eq!(world.expired(&completed(keep_events(0)), 9, 9).await, cuts(&["t"]));
}

pub(crate) async fn a_task_that_goes_is_not_cut_first(world: &mut World) {
    finished(world, Completed, 4).await;
    let keep = Keep { age: Some(Duration::from_nanos(20)), ..keep_events(10) };
    let found = world.expired(&completed(keep), 21, 9).await;
    assert_eq!(found, Expired { deletions: ids(&["0", "1"]), cuts: ids(&["2", "3"]) });
}

pub(crate) async fn a_task_that_was_cut_still_goes(world: &mut World) {
    finished(world, Completed, 2).await;
    take(world, &cuts(&["0", "1"])).await;
    world.later().await;
    assert_eq!(world.expired(&completed(keep_age(0)), 0, 9).await, deletions(&["0"]));
    assert_eq!(world.expired(&completed(keep_count(1)), 0, 9).await, deletions(&["0"]));
}

pub(crate) async fn no_more_are_found_than_asked_for(world: &mut World) {
    finished(world, Completed, 40).await;
    for most in [1, 2, 7, 39, 40, 41] {
        let found = world.expired(&completed(keep_count(0)), 0, most).await;
        assert_eq!((found.deletions.len(), found.cuts.len()), (most.min(40), 0), "at most {most}");
        let found = world.expired(&completed(keep_events(0)), 100, most).await;
        assert_eq!((found.deletions.len(), found.cuts.len()), (0, most.min(40)), "at most {most}");
    }
}

pub(crate) async fn taking_what_is_found_comes_to_an_end(world: &mut World) {
    let states = [Completed, Failed, Canceled, Rejected, Working];
    let rows = (0..200).map(|n| new(&format!("{n:03}"), states[n as usize % 5], n, 1 + n as u64 % 4));
    world.append(rows).await;
    world.later().await;
    let keep = Keep { count: Some(25), events_age: Some(Duration::from_nanos(50)), ..keep_age(150) };
    let (mut gone, mut cut) = (Vec::new(), Vec::new());
    for round in 0.. {
        assert!(round < 200, "it does not come to an end");
        let found = world.expired(&all(keep), 210, 7).await;
        if found == Expired::default() {
            break;
        }
        take(world, &found).await;
        if round % 5 == 0 {
            world.later().await;
        }
        gone.extend(found.deletions);
        cut.extend(found.cuts);
    }
    // Of forty in each of four states, 25 stay by the count; the age takes those up to 60, which are among the 15.
    assert_eq!(gone.len(), 60);
    let left: Vec<Id> = world.list(&super::samples::everything()).await.0;
    assert_eq!(left.len(), 140);
    assert!(cut.iter().all(|id| left.contains(id) || gone.contains(id)));
    for id in left {
        let row = world.row(&id).await;
        let is_old = row.state.is_terminal() && row.status_timestamp.unix_nanos() + 50 <= 210;
        assert_eq!(cut.contains(&id), is_old && row.last_seq > 1, "{row:?}");
    }
}

pub(crate) async fn a_task_finishes_at_its_last_status(world: &mut World) {
    world.append([new("t", Working, 1, 1), new("u", Completed, 5, 1)]).await;
    world.later().await;
    world.append([append(1, row("t", Completed, 9, 2))]).await;
    world.later().await;
    assert_eq!(world.expired(&completed(keep_age(10)), 18, 9).await, deletions(&["u"]));
    assert_eq!(world.expired(&completed(keep_count(1)), 0, 9).await, deletions(&["u"]));
    assert_eq!(world.expired(&completed(keep_age(10)), 19, 9).await, deletions(&["u", "t"]));
}

pub(crate) async fn a_count_does_not_count_what_has_gone(world: &mut World) {
    finished(world, Completed, 6).await;
    world.commit(deleting(["1", "5"])).await;
    world.later().await;
    assert_eq!(world.expired(&completed(keep_count(3)), 0, 9).await, deletions(&["0"]));
    world.append([new("new", Completed, 50, 1)]).await;
    world.later().await;
    assert_eq!(world.expired(&completed(keep_count(3)), 0, 9).await, deletions(&["0", "2"]));
}

pub(crate) async fn finding_takes_nothing_away(world: &mut World) {
    finished(world, Completed, 3).await;
    let keep = Keep { count: Some(1), ..keep_events(0) };
    let first = world.expired(&completed(keep), 100, 9).await;
    assert_eq!(first, Expired { deletions: ids(&["0", "1"]), cuts: ids(&["2"]) });
    world.later().await;
    assert_eq!(world.expired(&completed(keep), 100, 9).await, first);
    assert_eq!(world.seqs("0", 0, super::world::ALL).await, [1, 2, 3]);
}
