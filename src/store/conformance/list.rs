//! Lists: what is in them, in which order, and what they add up to.

use std::cmp::Reverse;

use super::World;
use super::model::matches;
use super::samples::{append, at, deleting, everything, ids, new, row};
use crate::model::TaskState::{self, Completed, Failed, InputRequired, Submitted, Working};
use crate::store::{ListFilter, PageRequest, TaskRow};

fn since(nanos: i64) -> ListFilter {
    ListFilter { status_since: Some(at(nanos)), ..everything() }
}

fn in_state(state: TaskState) -> ListFilter {
    ListFilter { state: Some(state), ..everything() }
}

fn in_context(context: &str) -> ListFilter {
    ListFilter { context: Some(context.into()), ..everything() }
}

pub(crate) async fn an_empty_store_has_empty_lists(world: &mut World) {
    world.later().await;
    for filter in [everything(), in_state(Working), in_context("c"), since(0)] {
        assert_eq!(world.list(&filter).await, (Vec::new(), 0), "{filter:?}");
    }
}

pub(crate) async fn tasks_are_counted_by_state_whosever_they_are(world: &mut World) {
    assert_eq!(world.counts().await, []);
    let mut bobs = new("d", Working, 1, 1);
    bobs.row.owner = "bob".into();
    world.append([new("a", Submitted, 1, 1), new("b", Working, 1, 1), new("c", Working, 1, 1), bobs]).await;
    world.later().await;
    assert_eq!(world.counts().await, [(Submitted, 1), (Working, 3)]);
    world.append([append(1, row("b", Completed, 2, 2)), append(1, row("a", Working, 2, 2))]).await;
    world.commit(deleting(["c"])).await;
    world.later().await;
    assert_eq!(world.counts().await, [(Working, 2), (Completed, 1)]);
}

pub(crate) async fn the_newest_status_comes_first(world: &mut World) {
    let rows = [("a", Working, 5), ("b", Completed, 9), ("d", Submitted, 7), ("c", Completed, 8)];
    world.append(rows.map(|(id, state, time)| new(id, state, time, 1))).await;
    world.later().await;
    assert_eq!(world.list(&everything()).await, (ids(&["b", "c", "d", "a"]), 4));
}

pub(crate) async fn of_equal_times_the_greatest_id_comes_first(world: &mut World) {
    let rows = [("b", Working), ("d", Completed), ("a", Completed), ("c", Working), ("ca", Failed)];
    world.append(rows.map(|(id, state)| new(id, state, 7, 1))).await;
    world.later().await;
    assert_eq!(world.list(&everything()).await, (ids(&["d", "ca", "c", "b", "a"]), 5));
    assert_eq!(world.list(&in_state(Completed)).await, (ids(&["d", "a"]), 2));
}

pub(crate) async fn times_before_1970_and_at_the_ends_of_the_range_are_in_order(world: &mut World) {
    let times = [i64::MIN, i64::MIN + 1, -1_000_000_000, -1, 0, 1, 1_000_000_000, i64::MAX - 1, i64::MAX];
    let id = |n: usize| format!("task {n}");
    world.append(times.iter().enumerate().map(|(n, time)| new(&id(n), Working, *time, 1))).await;
    world.later().await;
    let found: Vec<_> = world.pages(&everything(), 2).await;
    let mut newest_first = times;
    newest_first.reverse();
    assert_eq!(found.iter().map(|row| row.status_timestamp).collect::<Vec<_>>(), newest_first.map(at));
    for (n, time) in times.into_iter().enumerate() {
        let expected = (n..times.len()).rev().map(|n| id(n).into()).collect::<Vec<_>>();
        assert_eq!(world.list(&since(time)).await, (expected, (times.len() - n) as u64), "since {time}");
    }
}

pub(crate) async fn a_list_gives_the_whole_row_as_it_is_now(world: &mut World) {
    world.append([new("t", Working, 3, 2)]).await;
    world.later().await;
    let now = TaskRow { generation: 77, created: at(-5), ..row("t", Working, 3, 4) };
    world.append([append(2, now.clone())]).await;
    world.later().await;
    for filter in [everything(), in_state(Working), in_context("context of t"), since(3)] {
        assert_eq!(world.pages(&filter, 1).await, std::slice::from_ref(&now), "{filter:?}");
    }
}

pub(crate) async fn status_since_includes_the_very_nanosecond(world: &mut World) {
    world.append([99, 100, 101].map(|time| new(&format!("{time}"), Working, time, 1))).await;
    world.later().await;
    assert_eq!(world.list(&since(99)).await, (ids(&["101", "100", "99"]), 3));
    assert_eq!(world.list(&since(100)).await, (ids(&["101", "100"]), 2));
    assert_eq!(world.list(&since(101)).await, (ids(&["101"]), 1));
    assert_eq!(world.list(&since(102)).await, (ids(&[]), 0));
    assert_eq!(world.list(&since(i64::MAX)).await, (ids(&[]), 0));
}

pub(crate) async fn each_state_has_its_own_list(world: &mut World) {
    let two = TaskState::ALL
        .into_iter()
        .flat_map(|state| [1, 2].map(|n| new(&format!("{state} {n}"), state, n, 1)));
    world.append(two).await;
    world.later().await;
    for state in TaskState::ALL {
        let expected = ids(&[&format!("{state} 2"), &format!("{state} 1")]);
        assert_eq!(world.list(&in_state(state)).await, (expected, 2), "{state}");
    }
    assert_eq!(world.list(&everything()).await.1, 16);
}

pub(crate) async fn each_owner_sees_its_own_tasks(world: &mut World) {
    let owner = |n: usize| format!("owner {}", n % 40);
    let rows =
        (0..200).map(|n| TaskRow { owner: owner(n).into(), ..row(&format!("{n:03}"), Working, n as i64, 1) });
    world.append(rows.map(|row| append(0, row))).await;
    world.later().await;
    for n in 0..40 {
        let filter = ListFilter { owner: owner(n).into(), ..everything() };
        let expected: Vec<_> = (0..5).rev().map(|round| format!("{:03}", round * 40 + n).into()).collect();
        assert_eq!(world.list(&filter).await, (expected, 5), "owner {n}");
    }
    assert_eq!(world.list(&ListFilter { owner: "owner".into(), ..everything() }).await, (Vec::new(), 0));
}

pub(crate) async fn each_agent_has_its_own_tasks(world: &mut World) {
    let agents = ["one", "two", "onetwo"];
    let rows =
        agents.map(|agent| TaskRow { agent: agent.into(), ..row(&format!("of {agent}"), Working, 1, 1) });
    world.append(rows.map(|row| append(0, row))).await;
    world.later().await;
    for agent in agents {
        let filter = ListFilter { agent: agent.into(), ..everything() };
        assert_eq!(world.list(&filter).await, (ids(&[&format!("of {agent}")]), 1));
    }
    assert_eq!(world.list(&everything()).await, (Vec::new(), 0));
}

pub(crate) async fn a_context_is_its_owners_only(world: &mut World) {
    let rows = ["ann", "bob"].map(|owner| TaskRow {
        owner: owner.into(),
        context: "shared name".into(),
        ..row(&format!("of {owner}"), Working, 1, 1)
    });
    world.append(rows.map(|row| append(0, row))).await;
    world.later().await;
    assert_eq!(world.list(&in_context("shared name")).await, (ids(&["of ann"]), 1));
    assert_eq!(world.list(&in_context("another")).await, (Vec::new(), 0));
    assert_eq!(world.list(&in_context("shared")).await, (Vec::new(), 0));
}

pub(crate) async fn a_context_may_have_thousands_of_tasks(world: &mut World) {
    for thousand in 0..3 {
        let rows = (0..1_000).map(|n| thousand * 1_000 + n).map(|n: i64| TaskRow {
            context: if n % 2 == 0 { "even" } else { "odd" }.into(),
            ..row(&format!("{n:04}"), if n % 3 == 0 { Completed } else { Working }, n, 1)
        });
        world.append(rows.map(|row| append(0, row))).await;
        world.later().await;
    }
    let even: Vec<_> = (0..3_000).rev().filter(|n| n % 2 == 0).map(|n| format!("{n:04}").into()).collect();
    assert_eq!(world.list(&in_context("even")).await, (even, 1_500));
    let filter = ListFilter { state: Some(Completed), ..in_context("odd") };
    assert_eq!(world.pages(&filter, 77).await.len(), 500);
    let filter = ListFilter { status_since: Some(at(2_900)), ..in_context("odd") };
    assert_eq!(world.list(&filter).await.1, 50);
}

/// Tasks of all sorts, spread over three commits.
async fn all_sorts(world: &mut World) -> Vec<TaskRow> {
    let mut rows = Vec::new();
    for n in 0..240_i64 {
        let name = |names: &[&str], n: i64| names[n as usize % names.len()].into();
        rows.push(TaskRow {
            agent: name(&["agent", "other"], n / 3),
            owner: name(&["ann", "bob", "eve"], n / 5),
            context: name(&["x", "y", "xy"], n / 2),
            state: TaskState::ALL[n as usize % 8],
            ..row(&format!("{:03}", n * 7 % 240), Working, (n * 13 % 50) - 20, 1)
        });
    }
    for rows in rows.chunks(80) {
        world.append(rows.iter().map(|row| append(0, row.clone()))).await;
        world.later().await;
    }
    rows.sort_by_key(|row| Reverse((row.status_timestamp, row.id.clone())));
    rows
}

pub(crate) async fn every_combination_of_filters_selects_what_matches(world: &mut World) {
    let rows = all_sorts(world).await;
    let states = || TaskState::ALL.into_iter().map(Some).chain([None]);
    for (agent, owner) in [("agent", "ann"), ("agent", "eve"), ("other", "bob"), ("other", "nobody")] {
        for context in [None, Some("x"), Some("xy"), Some("z")] {
            for (state, since) in
                states().flat_map(|state| [None, Some(-20), Some(0), Some(29)].map(|t| (state, t)))
            {
                let (context, status_since) = (context.map(Into::into), since.map(at));
                let filter =
                    ListFilter { agent: agent.into(), owner: owner.into(), context, state, status_since };
                let expected: Vec<_> = rows.iter().filter(|row| matches(&filter, row)).cloned().collect();
                let request = PageRequest { after: None, size: 1_000 };
                let page = world.page(&filter, &request).await;
                assert_eq!(
                    (page.rows, page.total, page.next),
                    (expected.clone(), expected.len() as u64, None)
                );
            }
        }
    }
}

pub(crate) async fn a_task_that_changes_state_changes_lists(world: &mut World) {
    world.append([new("a", Submitted, 1, 1), new("b", Submitted, 1, 1)]).await;
    world.later().await;
    let mut before = Submitted;
    for (seq, state) in [(1, Working), (2, InputRequired), (3, Working), (4, Completed)] {
        world.append([append(seq, row("a", state, 1, seq + 1))]).await;
        world.later().await;
        assert_eq!(world.list(&in_state(state)).await, (ids(&["a"]), 1), "{state}");
        assert!(!world.list(&in_state(before)).await.0.contains(&"a".into()), "still {before}");
        assert_eq!(world.list(&everything()).await, (ids(&["b", "a"]), 2));
        before = state;
    }
}

pub(crate) async fn a_task_whose_status_is_renewed_moves_to_the_front(world: &mut World) {
    world.append([("a", 1), ("b", 2), ("c", 3)].map(|(id, time)| new(id, Working, time, 1))).await;
    world.later().await;
    world.append([append(1, row("a", Working, 4, 2))]).await;
    world.later().await;
    assert_eq!(world.list(&everything()).await, (ids(&["a", "c", "b"]), 3));
    assert_eq!(world.list(&since(2)).await, (ids(&["a", "c", "b"]), 3));
    assert_eq!(world.list(&since(4)).await, (ids(&["a"]), 1));
}

pub(crate) async fn a_status_from_a_clock_that_went_back_moves_a_task_back(world: &mut World) {
    world.append([("a", 1), ("b", 2), ("c", 3)].map(|(id, time)| new(id, Working, time, 1))).await;
    world.later().await;
    world.append([append(1, row("c", Working, -7, 2))]).await;
    world.later().await;
    assert_eq!(world.list(&everything()).await, (ids(&["b", "a", "c"]), 3));
    assert_eq!(world.list(&since(0)).await, (ids(&["b", "a"]), 2));
}

pub(crate) async fn totals_follow_what_comes_changes_and_goes(world: &mut World) {
    let totals = async |world: &World| {
        let total = async |filter: ListFilter| world.list(&filter).await.1;
        let (all, working) = (total(everything()).await, total(in_state(Working)).await);
        (all, working, total(in_state(Completed)).await, total(since(10)).await)
    };
    world.append((0..20).map(|n| new(&format!("{n:02}"), Working, n, 1))).await;
    world.later().await;
    assert_eq!(totals(world).await, (20, 20, 0, 10));
    world.append((0..15).map(|n| append(1, row(&format!("{n:02}"), Completed, n + 5, 2)))).await;
    world.later().await;
    assert_eq!(totals(world).await, (20, 5, 15, 15));
    world.commit(deleting(["00", "14", "19"])).await;
    world.later().await;
    assert_eq!(totals(world).await, (17, 4, 13, 13));
}
