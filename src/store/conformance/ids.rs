//! Ids of every sort: none is mistaken for another, and none leads out of the store.

use super::World;
use super::samples::{append, appending, cut, cutting, deleting, everything, hook, ids, new, row};
use super::world::ALL;
use crate::model::Id;
use crate::model::TaskState::{Completed, Working};
use crate::store::{Group, ListFilter, TaskRow};

/// Writes a task of each id, with as many events as its place in the list says, and asks for each by every way
/// there is.
async fn are_told_apart(world: &mut World, names: &[&str]) {
    for (n, id) in names.iter().enumerate() {
        let row = TaskRow { context: (*id).into(), ..row(id, Working, 1, 1 + n as u64) };
        let group = Group { push: vec![hook(id, id, id)], ..appending([append(0, row)]) };
        drop(world.store().commit(&group));
    }
    world.barrier().await;
    world.later().await;
    for (n, id) in names.iter().enumerate() {
        assert_eq!(world.row(id).await.last_seq, 1 + n as u64, "{id:?}");
        assert_eq!(world.seqs(id, 0, ALL).await, (1..=1 + n as u64).collect::<Vec<_>>(), "{id:?}");
        assert_eq!(world.urls(id).await, [*id]);
        let context = ListFilter { context: Some((*id).into()), ..everything() };
        assert_eq!(world.list(&context).await, (ids(&[id]), 1));
    }
    let mut sorted = ids(names);
    sorted.sort();
    assert_eq!(world.unfinished(None, 1_000).await, sorted);
    sorted.reverse();
    assert_eq!(world.list(&everything()).await, (sorted, names.len() as u64));
    // One goes, and the others stay.
    world.commit(deleting([names[0]])).await;
    world.later().await;
    assert!(world.load(names[0]).await.is_none());
    for id in &names[1..] {
        assert_eq!((world.row(id).await.id, world.urls(id).await), (Id::from(*id), vec![(*id).to_owned()]));
    }
}

pub(crate) async fn ids_in_any_script_are_told_apart(world: &mut World) {
    are_told_apart(
        world,
        &["é", "e\u{301}", "日本", "日", "🦀", "🦀🦀", "ß", "ss", "\u{3a9}", "\u{2126}", "\u{10ffff}"],
    )
    .await;
}

pub(crate) async fn ids_that_are_prefixes_of_each_other_are_told_apart(world: &mut World) {
    are_told_apart(world, &["aa", "a", "aaa", "aaaa", "ab", "b", "ba", "aab", "a a", "a ", " a", "a\u{1}"])
        .await;
}

pub(crate) async fn ids_that_look_like_paths_are_only_ids(world: &mut World) {
    are_told_apart(
        world,
        &["../x", "..", ".", "/", "//", "/etc/passwd", "a/b", "a\\b", "C:\\x", "~", "x/../x"],
    )
    .await;
}

pub(crate) async fn ids_of_odd_characters_are_told_apart(world: &mut World) {
    let odd = [
        "\n",
        "\r\n",
        "\t",
        "\u{1}",
        "\u{7f}",
        "\u{ff}",
        "\u{feff}",
        "\u{202e}x",
        "\"",
        "'",
        "%00",
        "%",
        "*",
    ];
    are_told_apart(world, &odd).await;
}

pub(crate) async fn ids_that_differ_in_case_only_are_told_apart(world: &mut World) {
    are_told_apart(world, &["task", "Task", "TASK", "tasK"]).await;
}

pub(crate) async fn ids_that_look_like_numbers_sort_as_text(world: &mut World) {
    are_told_apart(world, &["1", "10", "2", "-1", "01", "1.0", "1e0", "18446744073709551616"]).await;
}

pub(crate) async fn ids_of_512_bytes_are_told_apart(world: &mut World) {
    let long = "x".repeat(511);
    let names = [format!("{long}a"), format!("{long}b"), long.clone(), "é".repeat(256), "\u{1}".repeat(512)];
    are_told_apart(world, &names.each_ref().map(String::as_str)).await;
}

pub(crate) async fn ids_of_many_bytes_at_every_length_are_told_apart(world: &mut World) {
    let names: Vec<String> = (1..=512).step_by(7).map(|length| "y".repeat(length)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    are_told_apart(world, &names).await;
}

pub(crate) async fn agent_and_owner_do_not_run_together(world: &mut World) {
    let scopes =
        [("a", "bc"), ("ab", "c"), ("abc", "c"), ("a", "b"), ("a:b", "c"), ("a", "b:c"), ("a/b", "c")];
    for (n, (agent, owner)) in scopes.into_iter().enumerate() {
        let row = TaskRow { agent: agent.into(), owner: owner.into(), ..row(&format!("{n}"), Working, 1, 1) };
        world.append([append(0, row)]).await;
    }
    world.later().await;
    for (n, (agent, owner)) in scopes.into_iter().enumerate() {
        let filter = ListFilter { agent: agent.into(), owner: owner.into(), ..everything() };
        assert_eq!(world.list(&filter).await, (ids(&[&format!("{n}")]), 1), "{agent} {owner}");
    }
}

pub(crate) async fn owner_and_context_do_not_run_together(world: &mut World) {
    let scopes =
        [("a", "bc"), ("ab", "c"), ("a", "b"), ("a\u{1}", "b"), ("a", "\u{1}b"), ("abc", "x"), ("a", "a")];
    for (n, (owner, context)) in scopes.into_iter().enumerate() {
        let row =
            TaskRow { owner: owner.into(), context: context.into(), ..row(&format!("{n}"), Working, 1, 1) };
        world.append([append(0, row)]).await;
    }
    world.later().await;
    for (n, (owner, context)) in scopes.into_iter().enumerate() {
        let filter = ListFilter { owner: owner.into(), context: Some(context.into()), ..everything() };
        assert_eq!(world.list(&filter).await, (ids(&[&format!("{n}")]), 1), "{owner} {context}");
    }
}

pub(crate) async fn an_owner_without_a_name_is_an_owner_like_others(world: &mut World) {
    world
        .append([append(0, TaskRow { owner: "".into(), ..row("t", Working, 1, 1) }), new("u", Working, 1, 1)])
        .await;
    world.later().await;
    let nobody = ListFilter { owner: "".into(), ..everything() };
    assert_eq!(world.list(&nobody).await, (ids(&["t"]), 1));
    assert_eq!(world.list(&everything()).await, (ids(&["u"]), 1));
}

pub(crate) async fn a_cut_takes_from_its_own_task_only(world: &mut World) {
    let names = ["t", "tt", "t\u{1}", "s", "u"];
    world.append(names.map(|id| new(id, Completed, 1, 5))).await;
    world.later().await;
    world.commit(cutting([cut("t", 5)])).await;
    world.later().await;
    for id in &names[1..] {
        assert_eq!(world.seqs(id, 0, ALL).await, [1, 2, 3, 4, 5], "{id:?}");
    }
    assert_eq!(world.seqs("t", 4, ALL).await, [5]);
}
