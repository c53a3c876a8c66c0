//! Who may do what: sessions, attenuation, grants, sharing.

use std::time::Duration;

use a2a_webcap::auth::{ApiKey, KeyEntry};
use a2a_webcap::client::{ContextScope, Credentials, Cursor, GrantPolicy, SessionPolicy, TaskRole};
use a2a_webcap::clock::Clock;
use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::model::{
    CancelTaskRequest, EndReason, GetExtendedAgentCardRequest, GetTaskRequest, Id, ListTasksRequest, Message,
    SendMessageResponse, SubscribeToTaskRequest, Task, TaskState, Timestamp,
};

use crate::doubles::Collector;
use crate::party::{Operations, Session, Wire, on_wires};
use crate::world::{ALICE, BOB, soon, until};

on_wires! {
    objects: [
        cw_11_after_authenticate_no_call_carries_credentials,
        cw_12_the_agent_sees_who_speaks_and_the_task_is_stamped_with_its_owner,
        cw_13_the_bootstrap_object_has_only_what_is_public,
        cw_13_a_read_only_session_reads_and_does_nothing_else,
        cw_14_a_closed_session_ends_with_everything_derived_from_it,
        cw_14_revoking_a_grant_ends_what_was_derived_and_only_that,
        cw_14_dropping_a_grant_revokes_unless_it_was_to_be_kept,
        cw_30_nobody_reaches_the_task_of_another,
        a_session_of_one_context_sees_and_opens_tasks_of_that_one_only,
        a_derived_session_ends_at_its_expiry_with_its_streams,
        a_session_ends_with_its_key_and_is_renewed_with_another_of_the_same_principal,
        a_derived_session_cannot_be_renewed,
    ]
}

fn task(response: SendMessageResponse) -> Task {
    match response {
        SendMessageResponse::Task(task) => task,
        SendMessageResponse::Message(message) => panic!("a message: {}", message.text()),
    }
}

fn kind<T>(answer: Result<T, Fault>) -> FaultKind {
    match answer {
        Ok(_) => panic!("this must be refused"),
        Err(fault) => fault.kind(),
    }
}

/// What a session answers to calls of each kind.
async fn answers(session: &Operations, id: &Id) -> [Result<(), FaultKind>; 5] {
    let subscribe = SubscribeToTaskRequest::new(id.clone());
    [
        session.get_task(&GetTaskRequest::new(id.clone())).await.map(drop),
        session.list_tasks(&ListTasksRequest::default()).await.map(drop),
        session.subscribe_to_task(&subscribe, Cursor::Snapshot, Collector::new()).ready().await,
        session.send("hello").await.map(drop),
        session.cancel_task(&CancelTaskRequest::new(id.clone())).await.map(drop),
    ]
    .map(|answer| answer.map_err(|fault| fault.kind()))
}

async fn cw_11_after_authenticate_no_call_carries_credentials(wire: Wire) {
    let world = wire.echo().await;
    let connection = world.connection().await;
    let session = connection.authenticate(ALICE);
    // The session is authority by itself; the connection it came over has none.
    let task = task(session.send("hello").await.unwrap());
    assert_eq!(task.state(), TaskState::Completed);
    assert_eq!(session.who_am_i().await.unwrap().subject, "alice");
    assert_eq!(kind(connection.operations().send("hello").await), FaultKind::Unauthenticated);
    let other = connection.authenticate(BOB);
    assert_eq!(other.who_am_i().await.unwrap().subject, "bob");
    assert_eq!(session.who_am_i().await.unwrap().subject, "alice", "sessions are independent");
}

async fn cw_12_the_agent_sees_who_speaks_and_the_task_is_stamped_with_its_owner(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let (alice, bob) = (world.session(ALICE).await, world.session(BOB).await);
    let _hers = alice.send_streaming("hers", Collector::new());
    let hers = stage.turn().await;
    let _his = bob.send_streaming("his", Collector::new());
    let his = stage.turn().await;
    assert_eq!((&*hers.turn.subject, &*his.turn.subject), ("alice", "bob"));
    let listed = async |session: &Session| {
        let tasks = session.list_tasks(&ListTasksRequest::default()).await.unwrap().tasks;
        tasks.into_iter().map(|task| task.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&alice).await, std::slice::from_ref(&hers.turn.task_id));
    assert_eq!(listed(&bob).await, std::slice::from_ref(&his.turn.task_id));
}

async fn cw_13_the_bootstrap_object_has_only_what_is_public(wire: Wire) {
    let world = wire.echo().await;
    let connection = world.connection().await;
    let id = Id::from("any");
    assert_eq!(answers(&connection.operations(), &id).await, [Err(FaultKind::Unauthenticated); 5]);
    let extended = connection.operations().get_extended_agent_card(&GetExtendedAgentCardRequest::default());
    assert_eq!(kind(extended.await), FaultKind::Unauthenticated);
    assert_eq!(connection.agent_card("").await.unwrap().name, "Echo");
    assert_eq!(connection.info().await.unwrap().revision, 1);
}

async fn cw_13_a_read_only_session_reads_and_does_nothing_else(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::new());
    let id = stage.turn().await.turn.task_id.clone();
    let read_only = SessionPolicy { read_only: true, ..SessionPolicy::default() };
    let (reader, _grant) = session.attenuate(&read_only);
    let forbidden = Err(FaultKind::Forbidden);
    assert_eq!(answers(&reader, &id).await, [Ok(()), Ok(()), Ok(()), forbidden, forbidden]);
    assert_eq!(reader.who_am_i().await.unwrap().permissions, ["read", "extended-card"]);
    let task = reader.task(&id);
    assert_eq!(kind(task.cancel(None).await), FaultKind::Forbidden);
    assert_eq!(kind(task.send("hello").await), FaultKind::Forbidden);
    let (narrower, _) = task.attenuate(TaskRole::Control, &GrantPolicy::default());
    assert_eq!(kind(narrower.ready().await), FaultKind::Forbidden, "nothing is raised again");
    assert_eq!(started.task.get(None).await.unwrap().state(), TaskState::Submitted);
}

async fn cw_14_a_closed_session_ends_with_everything_derived_from_it(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let connection = world.connection().await;
    let session = connection.authenticate(ALICE);
    let collector = Collector::new();
    let started = session.send_streaming("go", collector.clone());
    let cue = stage.turn().await;
    cue.works().await;
    let (derived, grant) = session.attenuate(&SessionPolicy::default());
    derived.ready().await.unwrap();
    session.close().await.unwrap();
    session.close().await.unwrap();
    assert_eq!(collector.end().await.reason, EndReason::Detached);
    assert_eq!(kind(session.send("hello").await), FaultKind::Revoked);
    assert_eq!(kind(session.who_am_i().await), FaultKind::Revoked);
    assert_eq!(kind(derived.send("hello").await), FaultKind::Revoked);
    assert_eq!(kind(started.task.get(None).await), FaultKind::Revoked);
    assert!(!grant.info().await.unwrap().live);
    assert_eq!(world.counts().turns, 1, "the task goes on");
    drop((session, derived, grant, started));
    let authority = world.server.service().authority();
    until("the server sees the release", || authority.counters() == Default::default()).await;
    assert_eq!(world.server.net_counters().sockets(), 1);
}

async fn cw_14_revoking_a_grant_ends_what_was_derived_and_only_that(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let own = Collector::new();
    let _started = session.send_streaming("go", own.clone());
    let cue = stage.turn().await;
    cue.works().await;
    let (derived, grant) = session.attenuate(&SessionPolicy {
        grant: GrantPolicy::labelled("for a colleague"),
        ..SessionPolicy::default()
    });
    let (deeper, deeper_grant) = derived.attenuate(&SessionPolicy::default());
    let theirs = Collector::new();
    let _held = deeper.task(&cue.turn.task_id).subscribe(Cursor::Snapshot, theirs.clone());
    theirs.has(1).await;
    let info = grant.info().await.unwrap();
    assert_eq!((info.label.as_str(), info.live), ("for a colleague", true));
    grant.revoke().await.unwrap();
    // Answered when all streams are closed: onEnd was queued before the answer.
    let end = theirs.ended().expect("the last call came before the answer");
    assert_eq!((end.reason, end.fault.unwrap().kind()), (EndReason::Revoked, FaultKind::Revoked));
    for ended in [&derived, &deeper] {
        let fault = ended.list_tasks(&ListTasksRequest::default()).await.unwrap_err();
        assert_eq!((fault.kind(), fault.kind().code()), (FaultKind::Revoked, -31410));
        assert!(fault.message().contains("for a colleague"), "{fault}");
    }
    assert!(!grant.info().await.unwrap().live && !deeper_grant.info().await.unwrap().live);
    grant.revoke().await.unwrap();
    cue.end();
    assert_eq!(own.end().await.reason, EndReason::Completed);
}

async fn cw_14_dropping_a_grant_revokes_unless_it_was_to_be_kept(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let policy = |keep_on_drop| SessionPolicy {
        grant: GrantPolicy { keep_on_drop, ..GrantPolicy::default() },
        ..SessionPolicy::default()
    };
    let (dropped, grant) = session.attenuate(&policy(false));
    let second = grant.clone();
    dropped.ready().await.unwrap();
    drop(grant);
    dropped.who_am_i().await.expect("a stub of the grant is left");
    drop(second);
    let (kept, kept_grant) = session.attenuate(&policy(true));
    kept.ready().await.unwrap();
    drop(kept_grant);
    let revoked = async {
        while dropped.who_am_i().await.is_ok() {}
        dropped.who_am_i().await.unwrap_err()
    };
    assert_eq!(soon("the drop revokes", revoked).await.kind(), FaultKind::Revoked);
    kept.who_am_i().await.expect("this one was to be kept");
}

async fn cw_30_nobody_reaches_the_task_of_another(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let (alice, bob) = (world.session(ALICE).await, world.session(BOB).await);
    let collector = Collector::new();
    let _started = alice.send_streaming(Message::user("go").in_context("private"), collector.clone());
    let cue = stage.turn().await;
    let id = cue.turn.task_id.clone();
    let missing = FaultKind::TaskNotFound;
    assert_eq!(kind(bob.get_task(&GetTaskRequest::new(id.clone())).await), missing);
    assert_eq!(kind(bob.cancel_task(&CancelTaskRequest::new(id.clone())).await), missing);
    assert_eq!(kind(bob.send(Message::user("hello").in_task(id.clone())).await), missing);
    assert_eq!(kind(bob.task(&id).ready().await), missing);
    let heard = Collector::new();
    let subscribe = SubscribeToTaskRequest::new(id.clone());
    assert_eq!(
        kind(bob.subscribe_to_task(&subscribe, Cursor::After(0), heard.clone()).ready().await),
        missing
    );
    let in_context = ListTasksRequest { context_id: Some("private".into()), ..ListTasksRequest::default() };
    assert_eq!(bob.list_tasks(&in_context).await.unwrap().total_size, 0);
    assert_eq!(alice.list_tasks(&in_context).await.unwrap().tasks[0].id, id);
    cue.works().await;
    cue.end();
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    assert_eq!(collector.states().last(), Some(&TaskState::Completed));
    assert!(heard.events().is_empty() && heard.ended().is_none());
}

async fn a_session_of_one_context_sees_and_opens_tasks_of_that_one_only(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let elsewhere = task(session.send(Message::user("x").in_context("elsewhere")).await.unwrap());
    let policy = |context| SessionPolicy { context, ..SessionPolicy::default() };
    let (fresh, _one) = session.attenuate(&policy(ContextScope::Fresh));
    let context = fresh.who_am_i().await.unwrap().context_id.expect("the server has named one");
    let opened = task(fresh.send("hello").await.unwrap());
    assert_eq!(opened.context_id.as_deref(), Some(context.as_str()));
    let listed = fresh.list_tasks(&ListTasksRequest::default()).await.unwrap();
    assert_eq!(listed.tasks.iter().map(|task| &task.id).collect::<Vec<_>>(), [&opened.id]);
    let foreign = Message::user("x").in_context("elsewhere");
    assert_eq!(kind(fresh.send(foreign).await), FaultKind::Forbidden);
    assert_eq!(
        kind(fresh.get_task(&GetTaskRequest::new(elsewhere.id.clone())).await),
        FaultKind::TaskNotFound
    );
    assert_eq!(kind(fresh.task(&elsewhere.id).ready().await), FaultKind::TaskNotFound);
    let asked = ListTasksRequest { context_id: Some("elsewhere".into()), ..ListTasksRequest::default() };
    assert_eq!(fresh.list_tasks(&asked).await.unwrap().total_size, 0);
    let (only, _two) = session.attenuate(&policy(ContextScope::Only("elsewhere".to_owned())));
    assert_eq!(only.list_tasks(&ListTasksRequest::default()).await.unwrap().tasks[0].id, elsewhere.id);
    let (widened, _) = fresh.attenuate(&policy(ContextScope::Only("elsewhere".to_owned())));
    assert_eq!(kind(widened.ready().await), FaultKind::Forbidden);
}

const NOON: Timestamp = Timestamp::from_unix_nanos(1_000_000_000_000);

fn after(seconds: u64) -> Timestamp {
    NOON.saturating_add(Duration::from_secs(seconds))
}

async fn a_derived_session_ends_at_its_expiry_with_its_streams(wire: Wire) {
    let clock = Clock::standing_at(NOON);
    let (world, mut stage) = wire.puppet_of(Default::default(), |builder| builder.clock(clock.clone())).await;
    let session = world.session(ALICE).await;
    let _started = session.send_streaming("go", Collector::new());
    let id = stage.turn().await.turn.task_id.clone();
    let expires = Some(after(60));
    let policy = SessionPolicy {
        grant: GrantPolicy { expires, ..GrantPolicy::default() },
        ..SessionPolicy::default()
    };
    let (derived, grant) = session.attenuate(&policy);
    assert_eq!(derived.who_am_i().await.unwrap().expires, expires);
    let collector = Collector::new();
    let _held = derived.task(&id).subscribe(Cursor::Snapshot, collector.clone());
    collector.has(1).await;
    clock.set(after(59));
    derived.who_am_i().await.unwrap();
    clock.set(after(60));
    assert_eq!(kind(derived.get_task(&GetTaskRequest::new(id)).await), FaultKind::Revoked);
    assert_eq!(collector.end().await.reason, EndReason::Revoked);
    assert!(!grant.info().await.unwrap().live);
    session.who_am_i().await.unwrap();
    let late = SessionPolicy {
        grant: GrantPolicy { expires, ..GrantPolicy::default() },
        ..SessionPolicy::default()
    };
    let (_, refused) = session.attenuate(&late);
    assert_eq!(kind(refused.ready().await), FaultKind::InvalidParams, "that time is over");
}

async fn a_session_ends_with_its_key_and_is_renewed_with_another_of_the_same_principal(wire: Wire) {
    let clock = Clock::standing_at(NOON);
    let (first, second) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
    let entry = |key: &ApiKey, expires| KeyEntry { expires: Some(expires), ..key.entry("carol") };
    let world = wire
        .world(|builder| {
            let builder = builder.key(entry(&first, after(60))).key(entry(&second, after(120)));
            builder.agent(a2a_webcap::agents::Echo).clock(clock.clone())
        })
        .await;
    let session = world.session(first.expose()).await;
    assert_eq!(session.who_am_i().await.unwrap().expires, Some(after(60)));
    let bobs = session.renew(&Credentials::api_key(BOB)).await;
    assert_eq!(kind(bobs), FaultKind::Forbidden);
    let wrong = session.renew(&Credentials::api_key("not anybody's key, though as long")).await;
    assert_eq!(kind(wrong), FaultKind::Unauthenticated);
    assert_eq!(session.renew(&Credentials::api_key(second.expose())).await.unwrap(), Some(after(120)));
    clock.set(after(60));
    assert_eq!(session.who_am_i().await.unwrap().expires, Some(after(120)));
    let expired = session.renew(&Credentials::api_key(first.expose())).await;
    assert_eq!(kind(expired), FaultKind::Unauthenticated);
    clock.set(after(120));
    assert_eq!(kind(session.send("hello").await), FaultKind::Revoked);
    assert_eq!(kind(session.renew(&Credentials::api_key(second.expose())).await), FaultKind::Unauthenticated);
}

async fn a_derived_session_cannot_be_renewed(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let (derived, _grant) = session.attenuate(&SessionPolicy::default());
    assert_eq!(kind(derived.renew(&Credentials::api_key(ALICE)).await), FaultKind::Forbidden);
}
