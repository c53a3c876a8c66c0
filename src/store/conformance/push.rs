//! Webhooks of tasks.

use super::World;
use super::samples::{append, appending, cut, cutting, deleting, hook, new, pushing, row, unhook};
use crate::model::TaskState::{Completed, Submitted, Working};
use crate::store::Group;

const NONE: [&str; 0] = [];

pub(crate) async fn a_webhook_is_put_and_found(world: &mut World) {
    world.append([new("t", Working, 1, 1)]).await;
    world.commit(pushing([hook("t", "h", "http://x")])).await;
    world.later().await;
    let found = world.hooks("t").await;
    assert_eq!(found.len(), 1);
    assert_eq!(Some(&found[0]), hook("t", "h", "http://x").config.as_ref());
}

pub(crate) async fn a_task_without_webhooks_has_none(world: &mut World) {
    world.append([new("t", Working, 1, 1)]).await;
    world.later().await;
    assert_eq!(world.urls("t").await, NONE);
    assert_eq!(world.urls("missing").await, NONE);
}

pub(crate) async fn a_webhook_may_come_with_its_task(world: &mut World) {
    let group = Group { push: vec![hook("t", "h", "http://x")], ..appending([new("t", Submitted, 1, 1)]) };
    world.commit(group).await;
    world.later().await;
    assert_eq!(world.urls("t").await, ["http://x"]);
}

pub(crate) async fn a_webhook_is_replaced(world: &mut World) {
    world.append([new("t", Working, 1, 1)]).await;
    world.commit(pushing([hook("t", "h", "http://old")])).await;
    world.later().await;
    world.commit(pushing([hook("t", "h", "http://new")])).await;
    world.later().await;
    assert_eq!(world.urls("t").await, ["http://new"]);
}

pub(crate) async fn a_webhook_is_removed(world: &mut World) {
    world.append([new("t", Working, 1, 1)]).await;
    world.commit(pushing([hook("t", "a", "http://a"), hook("t", "b", "http://b")])).await;
    world.later().await;
    world.commit(pushing([unhook("t", "a"), unhook("t", "never was")])).await;
    world.later().await;
    assert_eq!(world.urls("t").await, ["http://b"]);
    world.commit(pushing([unhook("t", "b")])).await;
    world.later().await;
    assert_eq!(world.urls("t").await, NONE);
}

pub(crate) async fn webhooks_come_in_the_order_of_their_ids(world: &mut World) {
    world.append([new("t", Working, 1, 1)]).await;
    for ids in [["b", "é"], ["a", "B"], ["10", "9"], ["ab", "a b"]] {
        world.commit(pushing(ids.map(|id| hook("t", id, id)))).await;
        world.later().await;
    }
    assert_eq!(world.urls("t").await, ["10", "9", "B", "a", "a b", "ab", "b", "é"]);
}

pub(crate) async fn changes_of_one_webhook_in_a_group_take_effect_in_order(world: &mut World) {
    world.append([new("t", Working, 1, 1)]).await;
    let changes =
        [hook("t", "a", "1"), unhook("t", "a"), hook("t", "a", "2"), hook("t", "b", "3"), unhook("t", "b")];
    world.commit(pushing(changes)).await;
    world.later().await;
    assert_eq!(world.urls("t").await, ["2"]);
}

pub(crate) async fn a_webhook_of_a_missing_task_is_passed_over(world: &mut World) {
    world.commit(pushing([hook("t", "h", "http://x"), unhook("t", "g")])).await;
    world.later().await;
    assert_eq!(world.urls("t").await, NONE);
    assert!(world.load("t").await.is_none());
    world.append([new("t", Working, 1, 1)]).await;
    world.later().await;
    assert_eq!(world.urls("t").await, NONE, "the task came later");
}

pub(crate) async fn webhooks_vanish_with_their_task(world: &mut World) {
    world.append([new("t", Completed, 1, 1), new("u", Completed, 1, 1)]).await;
    world.commit(pushing([hook("t", "h", "http://t"), hook("u", "h", "http://u")])).await;
    world.later().await;
    world.commit(deleting(["t"])).await;
    world.later().await;
    assert_eq!((world.urls("t").await, world.urls("u").await), (vec![], vec!["http://u".to_owned()]));
    world.append([new("t", Working, 1, 1)]).await;
    world.later().await;
    assert_eq!(world.urls("t").await, NONE, "they were another task's");
}

pub(crate) async fn webhooks_of_a_task_that_goes_in_the_same_group_go_too(world: &mut World) {
    world.append([new("t", Completed, 1, 1)]).await;
    world.later().await;
    world.commit(Group { deletions: vec!["t".into()], ..pushing([hook("t", "h", "http://x")]) }).await;
    world.append([new("t", Working, 1, 1)]).await;
    world.later().await;
    assert_eq!(world.urls("t").await, NONE);
}

pub(crate) async fn webhooks_stay_while_their_task_goes_on(world: &mut World) {
    world.append([new("t", Submitted, 1, 1)]).await;
    world.commit(pushing([hook("t", "h", "http://x")])).await;
    world.later().await;
    world.append([append(1, row("t", Working, 2, 3)), append(3, row("t", Completed, 3, 4))]).await;
    world.commit(cutting([cut("t", 4)])).await;
    world.later().await;
    assert_eq!(world.urls("t").await, ["http://x"]);
}

pub(crate) async fn webhooks_of_tasks_are_told_apart(world: &mut World) {
    let tasks = ["a", "ab", "abc"];
    world.append(tasks.map(|id| new(id, Working, 1, 1))).await;
    let pairs = [("a", "bc"), ("ab", "c"), ("abc", "x"), ("a", "b")];
    world.commit(pushing(pairs.map(|(task, id)| hook(task, id, &format!("{task}|{id}"))))).await;
    world.later().await;
    assert_eq!(world.urls("a").await, ["a|b", "a|bc"]);
    assert_eq!(world.urls("ab").await, ["ab|c"]);
    assert_eq!(world.urls("abc").await, ["abc|x"]);
}

pub(crate) async fn a_task_may_have_many_webhooks(world: &mut World) {
    world.append([new("t", Working, 1, 1)]).await;
    world.commit(pushing((0..300).map(|n| hook("t", &format!("{n:03}"), &format!("http://{n}"))))).await;
    world.later().await;
    world.commit(pushing((0..300).step_by(2).map(|n| unhook("t", &format!("{n:03}"))))).await;
    world.later().await;
    let expected: Vec<_> = (0..300).filter(|n| n % 2 == 1).map(|n| format!("http://{n}")).collect();
    assert_eq!(world.urls("t").await, expected);
}
