//! The tasks that a start has to look after.

use super::World;
use super::samples::{append, deleting, ids, new, row};
use crate::model::Id;
use crate::model::TaskState::{self, Completed, Failed, InputRequired, Submitted, Working};
use crate::store::TaskRow;

pub(crate) async fn every_state_that_is_not_terminal_is_unfinished(world: &mut World) {
    world.append(TaskState::ALL.map(|state| new(state.short_name(), state, 1, 1))).await;
    world.later().await;
    let expected = ids(&["auth-required", "input-required", "submitted", "working"]);
    assert_eq!(world.unfinished(None, 100).await, expected);
}

pub(crate) async fn unfinished_tasks_come_in_the_order_of_their_ids(world: &mut World) {
    let names = ["b", "a", "é", "Z", "aa", "~", "10", "9"];
    world.append(names.iter().zip(0..).map(|(id, time)| new(id, Working, -time, 1))).await;
    world.later().await;
    assert_eq!(world.unfinished(None, 100).await, ids(&["10", "9", "Z", "a", "aa", "b", "~", "é"]));
}

pub(crate) async fn unfinished_tasks_are_paged(world: &mut World) {
    world.append((0..50).map(|n| new(&format!("{n:02}"), TaskState::ALL[n % 8], 1, 1))).await;
    world.later().await;
    let whole = world.unfinished(None, 1_000).await;
    assert_eq!(whole.len(), 26);
    for most in 1..=27 {
        let (mut seen, mut after) = (Vec::new(), None::<Id>);
        loop {
            let page = world.unfinished(after.as_deref(), most).await;
            assert!(page.len() <= most);
            let Some(last) = page.last() else { break };
            assert!(after.as_ref().is_none_or(|after| last > after), "{page:?} after {after:?}");
            after = Some(last.clone());
            seen.extend(page);
        }
        assert_eq!(seen, whole, "{most} at a time");
    }
}

pub(crate) async fn unfinished_goes_on_after_an_id_that_is_not_there(world: &mut World) {
    world.append(["a", "c", "e"].map(|id| new(id, Working, 1, 1))).await;
    world.later().await;
    for (after, expected) in
        [("", &["a", "c", "e"][..]), ("b", &["c", "e"]), ("c", &["e"]), ("ca", &["e"]), ("f", &[])]
    {
        assert_eq!(world.unfinished(Some(after), 100).await, ids(expected), "after {after:?}");
    }
}

pub(crate) async fn a_task_that_finishes_is_not_unfinished_any_more(world: &mut World) {
    world.append(["a", "b", "c"].map(|id| new(id, Submitted, 1, 1))).await;
    world.later().await;
    world.append([append(1, row("a", Failed, 2, 2)), append(1, row("b", InputRequired, 2, 2))]).await;
    world.later().await;
    assert_eq!(world.unfinished(None, 100).await, ids(&["b", "c"]));
}

pub(crate) async fn a_task_that_is_deleted_is_not_unfinished_any_more(world: &mut World) {
    world.append(["a", "b", "c"].map(|id| new(id, Working, 1, 1))).await;
    world.later().await;
    world.commit(deleting(["b"])).await;
    world.later().await;
    assert_eq!(world.unfinished(None, 100).await, ids(&["a", "c"]));
}

pub(crate) async fn unfinished_gives_whole_rows_as_they_are_now(world: &mut World) {
    world.append([new("t", Submitted, 1, 1), new("done", Completed, 1, 1)]).await;
    world.later().await;
    let now = TaskRow { generation: 9, ..row("t", Working, 5, 3) };
    world.append([append(1, now.clone())]).await;
    world.later().await;
    assert_eq!(world.store().unfinished(None, 10).await.unwrap(), [now]);
}

pub(crate) async fn unfinished_tasks_are_of_every_owner_and_agent(world: &mut World) {
    let rows = [("a", "ann", "one"), ("b", "bob", "two"), ("c", "", "one")];
    let rows = rows.map(|(id, owner, agent)| TaskRow {
        owner: owner.into(),
        agent: agent.into(),
        ..row(id, Working, 1, 1)
    });
    world.append(rows.map(|row| append(0, row))).await;
    world.later().await;
    assert_eq!(world.unfinished(None, 100).await, ids(&["a", "b", "c"]));
}

pub(crate) async fn no_more_unfinished_tasks_come_than_asked_for(world: &mut World) {
    world.append((0..500).map(|n| new(&format!("{n:03}"), Working, 1, 1))).await;
    world.later().await;
    for (most, expected) in [(0, 0), (1, 1), (499, 499), (500, 500), (usize::MAX, 500)] {
        assert_eq!(world.unfinished(None, most).await.len(), expected, "at most {most}");
    }
}
