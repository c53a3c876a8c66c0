//! Deleting a finished task: who may, what is left of it, and what others see.

use a2a_webcap::auth::{ApiKey, Credentials};
use a2a_webcap::authority::{Permission, Permissions};
use a2a_webcap::client::{Cursor, GrantPolicy, SessionPolicy, TaskRole};
use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::model::{
    EndReason, GetTaskRequest, Id, ListTasksRequest, Message, SendMessageRequest, SendMessageResponse,
    ServiceParameters, TaskState,
};
use a2a_webcap::operations::Caller;

use crate::doubles::Collector;
use crate::party::{Session, TaskHandle, Wire, on_wires};
use crate::world::{ALICE, BOB, World};

on_wires! {
    every: [
        a_deleted_task_is_as_one_that_never_was,
        a_task_that_is_not_finished_is_not_deleted_until_it_is,
        a_foreign_task_is_deleted_by_nobody_and_answers_as_a_missing_one,
        a_key_without_the_permission_deletes_nothing,
        a_reader_of_a_task_that_is_deleted_is_told_and_not_left_short,
    ]
    objects: [
        a_handle_deletes_only_as_owner,
    ]
}

fn kind<T>(answer: Result<T, Fault>) -> FaultKind {
    match answer {
        Ok(_) => panic!("this must be refused"),
        Err(fault) => fault.kind(),
    }
}

/// A task that has come to its end, or waits.
async fn task_of(session: &Session, text: &str) -> (TaskHandle, Id) {
    let SendMessageResponse::Task(task) = session.send(text).await.unwrap() else { panic!("no task") };
    (session.task(&task.id), task.id)
}

async fn state_of(task: &TaskHandle) -> TaskState {
    task.get(Some(0)).await.unwrap().state()
}

async fn count(session: &Session) -> u64 {
    session.list_tasks(&ListTasksRequest::default()).await.unwrap().total_size.into()
}

async fn a_deleted_task_is_as_one_that_never_was(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let (task, id) = task_of(&session, "burst 3").await;
    let (_kept, _) = task_of(&session, "burst 1").await;
    assert_eq!(count(&session).await, 2);
    task.delete().await.expect("it is finished, and ours");

    let into = Message::user("more").in_task(&*id);
    assert_eq!(kind(session.get_task(&GetTaskRequest::new(id.clone())).await), FaultKind::TaskNotFound);
    assert_eq!(kind(session.send(SendMessageRequest::from(into)).await), FaultKind::TaskNotFound);
    assert_eq!(kind(session.task(&id).ready().await), FaultKind::TaskNotFound);
    assert_eq!(count(&session).await, 1, "a list does not have it");
    for cursor in [Cursor::Snapshot, Cursor::After(0), Cursor::After(2)] {
        let subscription = task.subscribe(cursor, Collector::new());
        assert_eq!(kind(subscription.ready().await), FaultKind::TaskNotFound, "{cursor:?}");
    }
    assert_eq!(kind(task.get(None).await), FaultKind::TaskNotFound, "the handle is worth nothing now");
    assert_eq!(kind(task.cancel(None).await), FaultKind::TaskNotFound);
    assert_eq!(kind(task.delete().await), FaultKind::TaskNotFound);
}

async fn a_task_that_is_not_finished_is_not_deleted_until_it_is(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let started = session.send_streaming("go", collector.clone());
    let cue = stage.turn().await;
    for state in [TaskState::Working, TaskState::InputRequired, TaskState::Working, TaskState::AuthRequired] {
        cue.updates.state(state, None).await.unwrap();
        cue.updates.flush().await.unwrap();
        let fault = started.task.delete().await.expect_err("it is not finished");
        assert_eq!(fault.kind(), FaultKind::UnsupportedOperation, "{state}");
        assert!(fault.message().contains("cancel"), "it says what to do: {}", fault.message());
    }
    started.task.cancel(None).await.unwrap();
    started.task.delete().await.expect("it is over now");
    assert_eq!(count(&session).await, 0);
}

async fn a_foreign_task_is_deleted_by_nobody_and_answers_as_a_missing_one(wire: Wire) {
    let world = wire.demo().await;
    let alice = world.session(ALICE).await;
    let (task, id) = task_of(&alice, "burst 1").await;
    let bob = world.session(BOB).await;
    let refused = async |id: &str| bob.task(id).delete().await.expect_err("it is not his");
    let missing = "0".repeat(id.len());
    assert_eq!(refused(&id).await, refused(&missing).await);

    let service = world.server.service();
    let grant = service.authenticate(&Credentials::api_key(BOB), None).await.unwrap();
    let caller = Caller { grant, parameters: ServiceParameters::new() };
    let of = async |id: Id| service.delete(&caller, &id).await.expect_err("it is not his");
    assert_eq!(of(id.clone()).await, of(missing.as_str().into()).await, "nor without a socket");
    assert_eq!(state_of(&task).await, TaskState::Completed);
}

async fn a_handle_deletes_only_as_owner(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let (task, _) = task_of(&session, "burst 1").await;
    for role in [TaskRole::Observe, TaskRole::Answer, TaskRole::Control] {
        let (less, _grant) = task.attenuate(role, &GrantPolicy::default());
        assert_eq!(kind(less.delete().await), FaultKind::Forbidden, "{role:?}");
    }
    let reads = SessionPolicy { read_only: true, ..SessionPolicy::default() };
    let (reader, _grant) = session.attenuate(&reads);
    let read = reader.task(&task.get(Some(0)).await.unwrap().id);
    assert_eq!(kind(read.delete().await), FaultKind::Forbidden);
    assert_eq!(state_of(&task).await, TaskState::Completed, "nothing has happened to it");

    let (secret, _grant) = task.share(TaskRole::Owner, &GrantPolicy::default()).await.unwrap();
    let claimed = world.connection().await.claim(&secret);
    claimed.delete().await.expect("an owner may");
    assert_eq!(kind(task.get(None).await), FaultKind::TaskNotFound, "it is gone for who shared it too");
}

async fn a_key_without_the_permission_deletes_nothing(wire: Wire) {
    let key = ApiKey::generate().unwrap();
    let mut entry = key.entry("alice");
    let rest = Permission::ALL.into_iter().filter(|one| *one != Permission::Delete);
    entry.permissions = Some(rest.collect::<Permissions>());
    let world = wire.world(|builder| builder.agent(a2a_webcap::agents::Demo).key(entry)).await;
    let weak = world.session(key.expose()).await;
    let (task, id) = task_of(&weak, "burst 1").await;
    let fault = task.delete().await.expect_err("it may not");
    assert_eq!(fault.kind(), FaultKind::Forbidden);
    assert!(fault.message().contains("delete"), "{}", fault.message());
    world.session(ALICE).await.task(&id).delete().await.expect("the same principal with another key");
}

async fn a_reader_of_a_task_that_is_deleted_is_told_and_not_left_short(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let (task, _) = task_of(&session, "burst 20000").await;
    let slow = Collector::gated(Default::default());
    let subscription = task.subscribe(Cursor::After(0), slow.clone());
    subscription.ready().await.unwrap();
    slow.admit(1);
    slow.has(1).await;
    task.delete().await.unwrap();
    slow.admit(20_000);
    let end = slow.end().await;
    assert_eq!(end.reason, EndReason::Failed);
    assert_eq!(end.fault.map(|fault| fault.kind()), Some(FaultKind::TaskNotFound));
}

#[tokio::test]
async fn the_client_deletes_by_id_and_by_handle() {
    let world = World::demo().await;
    let client = world.alice().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let SendMessageResponse::Task(task) = client.send("burst 1").await.unwrap() else {
            panic!("no task")
        };
        ids.push(task.id);
    }
    client.task(ids[0].clone()).delete().await.unwrap();
    let shared = client.task(ids[1].clone()).share(TaskRole::Owner, GrantPolicy::default()).await.unwrap();
    let other = world.client(BOB).await;
    other.claim(shared.secret.expose()).await.unwrap().delete().await.unwrap();
    for id in ids {
        assert_eq!(kind(client.get_task(GetTaskRequest::new(id.clone())).await), FaultKind::TaskNotFound);
        assert_eq!(kind(client.delete(id).await), FaultKind::TaskNotFound, "a first try says so");
    }
    assert_eq!(client.list(ListTasksRequest::default()).await.unwrap().total_size, 0);
}
