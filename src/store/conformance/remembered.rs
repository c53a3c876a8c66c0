//! Answers that are kept for repeated sends.

use super::World;
use super::samples::{answer, appending, at, deleting, new, remembering};
use crate::model::TaskState::Completed;
use crate::store::{Answer, Group, Remembered, SendDigest, SendKey};

pub(crate) async fn an_answer_is_remembered_until_it_expires(world: &mut World) {
    world.commit(remembering([answer(1, 100), answer(2, 200)])).await;
    world.later().await;
    for (n, now, expected) in [(1, 0, true), (1, 99, true), (1, 100, false), (1, 101, false), (2, 100, true)]
    {
        let found = world.remembered(n, now).await;
        assert_eq!(found.map(|found| found.answer), expected.then(|| answer(n, 0).answer), "{n} at {now}");
    }
}

pub(crate) async fn an_unknown_key_is_not_remembered(world: &mut World) {
    world.commit(remembering([answer(1, 100)])).await;
    world.later().await;
    assert!(world.remembered(2, 0).await.is_none());
}

pub(crate) async fn an_answer_that_comes_expired_is_not_given(world: &mut World) {
    world.commit(remembering([answer(1, -5), answer(2, i64::MIN)])).await;
    world.later().await;
    assert!(world.remembered(1, 0).await.is_none());
    assert!(world.remembered(1, -6).await.is_some());
    assert!(world.remembered(2, i64::MIN).await.is_none());
}

pub(crate) async fn an_answer_may_be_kept_to_the_end_of_time(world: &mut World) {
    world.commit(remembering([answer(1, i64::MAX)])).await;
    world.later().await;
    assert!(world.remembered(1, i64::MAX - 1).await.is_some());
    assert!(world.remembered(1, i64::MAX).await.is_none());
}

pub(crate) async fn an_answer_is_renewed(world: &mut World) {
    world.commit(remembering([answer(1, 100)])).await;
    world.later().await;
    let digest = SendDigest([9; 16]);
    world.commit(remembering([Remembered { digest, ..answer(1, 300) }])).await;
    world.later().await;
    let found = world.remembered(1, 250).await.unwrap();
    assert_eq!((found.digest, found.expires), (digest, at(300)));
}

pub(crate) async fn a_later_answer_holds_even_if_it_expires_sooner(world: &mut World) {
    world.commit(remembering([answer(1, 300)])).await;
    world.later().await;
    world.commit(remembering([answer(1, 100)])).await;
    world.later().await;
    assert!(world.remembered(1, 99).await.is_some());
    assert!(world.remembered(1, 100).await.is_none());
}

pub(crate) async fn of_two_answers_in_a_group_the_later_holds(world: &mut World) {
    world.commit(remembering([answer(1, 100), answer(2, 50), answer(1, 200)])).await;
    world.later().await;
    assert_eq!(world.remembered(1, 0).await.map(|found| found.expires), Some(at(200)));
    assert_eq!(world.remembered(2, 0).await.map(|found| found.expires), Some(at(50)));
}

pub(crate) async fn keys_that_differ_in_one_bit_are_told_apart(world: &mut World) {
    let key = |bit: usize| {
        let mut bytes = [0; 16];
        bytes[bit / 8] = 1 << (bit % 8);
        SendKey(bytes)
    };
    let of = |bit: usize| Answer::Task { task_id: "t".into(), context_id: "c".into(), after: bit as u64 };
    let answers = (0..128).map(|bit| Remembered { key: key(bit), answer: of(bit), ..answer(0, 100) });
    world.commit(remembering(answers)).await;
    world.later().await;
    for bit in 0..128 {
        let found = world.store().remembered(&key(bit), at(0)).await.unwrap();
        assert_eq!(found.map(|found| (found.key, found.answer)), Some((key(bit), of(bit))));
    }
    for other in [[0; 16], [255; 16]] {
        assert!(world.store().remembered(&SendKey(other), at(0)).await.unwrap().is_none());
    }
}

pub(crate) async fn thousands_of_answers_are_remembered(world: &mut World) {
    let key = |n: u64| SendKey(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes());
    for group in 0..10 {
        let numbers = (0..300).map(|n| group * 300 + n);
        world.commit(remembering(numbers.map(|n| Remembered { key: key(n), ..answer(1, n as i64) }))).await;
    }
    world.later().await;
    for n in 0..3_000 {
        let found = world.store().remembered(&key(n), at(1_500)).await.unwrap();
        assert_eq!(found.map(|found| found.expires), (n > 1_500).then(|| at(n as i64)), "{n}");
    }
}

pub(crate) async fn an_answer_outlives_its_task(world: &mut World) {
    let opened = Group { remembered: vec![answer(1, 100)], ..appending([new("t", Completed, 1, 2)]) };
    world.commit(opened).await;
    world.later().await;
    world.commit(deleting(["t"])).await;
    world.later().await;
    assert!(world.load("t").await.is_none());
    assert_eq!(world.remembered(1, 0).await.unwrap().answer, answer(1, 0).answer);
}

pub(crate) async fn an_answer_expires_by_the_time_that_is_asked_with(world: &mut World) {
    world.commit(remembering([answer(1, 100)])).await;
    assert!(world.remembered(1, 500).await.is_none());
    world.later().await;
    // A clock that was set back does not find less than it did.
    assert!(world.remembered(1, 50).await.is_some());
}
