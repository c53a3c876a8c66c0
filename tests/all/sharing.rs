//! Handing a task on: roles, secrets, and taking it back.

use std::time::Duration;

use a2a_webcap::client::{Cursor, GrantPolicy, TaskRole};
use a2a_webcap::clock::Clock;
use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::model::{EndReason, Id, TaskState, Timestamp};

use crate::doubles::{Collector, Cue, Stage};
use crate::party::{Session, TaskHandle, Wire, on_wires};
use crate::world::{ALICE, soon};

on_wires! {
    objects: [
        a_shared_secret_becomes_the_task_on_another_connection_once,
        of_many_claims_at_once_exactly_one_wins,
        used_wrong_expired_and_revoked_secrets_get_the_same_answer,
        taking_back_a_shared_task_ends_the_streams_of_whoever_claimed_it,
        the_end_of_the_sharers_connection_takes_the_shared_task_back,
        each_role_may_do_what_it_says_and_not_more,
        a_handle_takes_no_message_for_another_task,
    ]
}

fn kind<T>(answer: Result<T, Fault>) -> FaultKind {
    match answer {
        Ok(_) => panic!("this must be refused"),
        Err(fault) => fault.kind(),
    }
}

/// A task that works.
async fn working(session: &Session, stage: &mut Stage) -> (TaskHandle, Cue, Id) {
    let started = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    let id = cue.turn.task_id.clone();
    (started.task, cue, id)
}

async fn a_shared_secret_becomes_the_task_on_another_connection_once(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (task, cue, id) = working(&session, &mut stage).await;
    let (secret, _grant) = task.share(TaskRole::Observe, &GrantPolicy::default()).await.unwrap();
    let stranger = world.connection().await;
    let claimed = stranger.claim(&secret);
    assert_eq!(claimed.get(None).await.unwrap().id, id);
    let collector = Collector::new();
    let _held = claimed.subscribe(Cursor::After(0), collector.clone());
    assert_eq!(kind(claimed.send("hello").await), FaultKind::Forbidden);
    assert_eq!(kind(claimed.cancel(None).await), FaultKind::Forbidden);
    let again = world.connection().await.claim(&secret);
    assert_eq!(kind(again.ready().await), FaultKind::Unauthenticated);
    cue.end();
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    claimed.get(None).await.expect("the first claim stays");
}

async fn of_many_claims_at_once_exactly_one_wins(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (task, _cue, _) = working(&session, &mut stage).await;
    let (secret, _grant) = task.share(TaskRole::Control, &GrantPolicy::default()).await.unwrap();
    let mut claims = Vec::new();
    for _ in 0..8 {
        claims.push(world.connection().await.claim(&secret));
    }
    let readies = claims.iter().map(|claim| claim.ready());
    let answers = futures::future::join_all(readies).await;
    let mut refusals: Vec<Fault> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refusals.len(), 7);
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "one and the same answer");
}

async fn used_wrong_expired_and_revoked_secrets_get_the_same_answer(wire: Wire) {
    let noon = Timestamp::from_unix_nanos(1_000_000_000_000);
    let after = |seconds| noon.saturating_add(Duration::from_secs(seconds));
    let clock = Clock::standing_at(noon);
    let (world, mut stage) = wire.puppet_of(Default::default(), |builder| builder.clock(clock.clone())).await;
    let session = world.session(ALICE).await;
    let (task, _cue, _) = working(&session, &mut stage).await;
    let share = async |expires| {
        let policy = GrantPolicy { expires, keep_on_drop: true, ..GrantPolicy::default() };
        task.share(TaskRole::Observe, &policy).await.unwrap()
    };
    let (used, _) = share(None).await;
    let (revoked, grant) = share(None).await;
    let (expired, _) = share(Some(after(60))).await;
    let (a_day_old, _) = share(Some(after(48 * 3_600))).await;
    let connection = world.connection().await;
    connection.claim(&used).ready().await.unwrap();
    grant.revoke().await.unwrap();
    let refusal = async |secret: &str| connection.claim(secret).ready().await.unwrap_err();
    let wrong = refusal("a2ashare_nothing").await;
    assert_eq!(wrong.kind(), FaultKind::Unauthenticated);
    assert_eq!(refusal("").await, wrong);
    assert_eq!(refusal(&used).await, wrong);
    assert_eq!(refusal(&revoked).await, wrong);
    clock.set(after(60));
    assert_eq!(refusal(&expired).await, wrong);
    clock.set(after(24 * 3_600));
    assert_eq!(refusal(&a_day_old).await, wrong, "a day at most");
}

async fn taking_back_a_shared_task_ends_the_streams_of_whoever_claimed_it(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (task, _cue, id) = working(&session, &mut stage).await;
    let (secret, grant) = task.share(TaskRole::Control, &GrantPolicy::labelled("for Bob")).await.unwrap();
    let info = grant.info().await.unwrap();
    assert_eq!((info.task_id.as_deref(), info.label.as_str(), info.live), (Some(&*id), "for Bob", true));
    let claimed = world.connection().await.claim(&secret);
    let collector = Collector::new();
    let _held = claimed.subscribe(Cursor::Snapshot, collector.clone());
    collector.has(1).await;
    grant.revoke().await.unwrap();
    assert_eq!(kind(claimed.get(None).await), FaultKind::Revoked);
    let end = collector.end().await;
    assert_eq!(
        (end.reason, end.fault.map(|fault| fault.kind())),
        (EndReason::Revoked, Some(FaultKind::Revoked))
    );
    assert_eq!(task.get(None).await.unwrap().state(), TaskState::Working);
}

async fn the_end_of_the_sharers_connection_takes_the_shared_task_back(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (task, _cue, _) = working(&session, &mut stage).await;
    let (secret, grant) = task.share(TaskRole::Observe, &GrantPolicy::default()).await.unwrap();
    let claimed = world.connection().await.claim(&secret);
    claimed.ready().await.unwrap();
    drop((session, task, grant));
    let lost = async {
        loop {
            if let Err(fault) = claimed.get(None).await {
                break fault.kind();
            }
        }
    };
    assert_eq!(soon("it is taken back", lost).await, FaultKind::Revoked);
}

async fn each_role_may_do_what_it_says_and_not_more(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (task, cue, _) = working(&session, &mut stage).await;
    let derived = |role| task.attenuate(role, &GrantPolicy::default());
    let (observer, _a) = derived(TaskRole::Observe);
    let (answerer, _b) = derived(TaskRole::Answer);
    let (controller, _c) = derived(TaskRole::Control);
    let (owner, _d) = derived(TaskRole::Owner);
    for handle in [&observer, &answerer, &controller, &owner] {
        assert_eq!(handle.get(None).await.unwrap().state(), TaskState::Working);
    }
    for handle in [&observer, &answerer] {
        assert_eq!(kind(handle.send("now").await), FaultKind::Forbidden);
        assert_eq!(kind(handle.cancel(None).await), FaultKind::Forbidden);
    }
    for handle in [&observer, &answerer, &controller] {
        let shared = handle.share(TaskRole::Observe, &GrantPolicy::default()).await;
        assert_eq!(kind(shared), FaultKind::Forbidden);
    }
    // This one may send; it is the agent that takes nothing now.
    assert_eq!(kind(controller.send("now").await), FaultKind::UnsupportedOperation);
    cue.updates.require_input("well?").await.unwrap();
    cue.end();
    assert_eq!(kind(observer.send("an answer").await), FaultKind::Forbidden);
    let collector = Collector::new();
    let _held = answerer.send_streaming("an answer", collector.clone());
    let second = stage.turn().await;
    assert_eq!(second.turn.message.text(), "an answer");
    owner.share(TaskRole::Observe, &GrantPolicy::default()).await.unwrap();
    assert_eq!(controller.cancel(None).await.unwrap().state(), TaskState::Canceled);
    assert_eq!(collector.end().await.reason, EndReason::Completed);
}

async fn a_handle_takes_no_message_for_another_task(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (task, _cue, _) = working(&session, &mut stage).await;
    let elsewhere = a2a_webcap::model::Message::user("hello").in_task("another");
    assert_eq!(kind(task.send(elsewhere).await), FaultKind::InvalidParams);
}
