//! What nobody may learn, and what somebody without credentials may do.

use a2a_webcap::client::{Cursor, SendCall};
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{ListTasksRequest, Message, SendMessageRequest, SendMessageResponse};
use a2a_webcap::wire::capnp::Encode as _;
use a2a_webcap::wire::capnp::capability_capnp::{operations, session};
use capnp::capability::FromClientHook as _;

use crate::doubles::Collector;
use crate::party::{Wire, on_wires};
use crate::raw::{Log, Raw, refusal};
use crate::world::{ALICE, BOB, World, until};

on_wires! {
    objects: [
        without_credentials_one_works_where_that_is_configured_and_reaches_nobody_elses_task,
    ]
}

/// What each operation answers that names this task, as bytes.
async fn refusals(session: &session::Client, id: &str) -> Vec<(&'static str, Vec<u8>)> {
    let operations: operations::Client = session.clone().cast_to();
    let into =
        SendMessageRequest::from(Message { message_id: "one".into(), ..Message::user("x").in_task(id) });
    let mut answers = Vec::new();
    let mut call = operations.get_task_request();
    call.get().init_request().set_id(id);
    answers.push(("getTask", refusal!(call)));
    let mut call = operations.cancel_task_request();
    call.get().init_request().set_id(id);
    answers.push(("cancelTask", refusal!(call)));
    let mut call = operations.subscribe_to_task_request();
    call.get().init_request().set_id(id);
    call.get().set_observer(Log::default().client());
    answers.push(("subscribeToTask", refusal!(call)));
    let mut call = operations.send_message_request();
    into.encode(call.get().init_request());
    answers.push(("sendMessage", refusal!(call)));
    let mut call = operations.send_streaming_message_request();
    into.encode(call.get().init_request());
    call.get().set_observer(Log::default().client());
    answers.push(("sendStreamingMessage", refusal!(call)));
    let mut call = operations.create_task_push_notification_config_request();
    let mut config = call.get().init_config();
    config.set_task_id(id);
    config.set_url("https://example.org/hook");
    answers.push(("createPush", refusal!(call)));
    let mut call = operations.get_task_push_notification_config_request();
    let mut request = call.get().init_request();
    request.set_task_id(id);
    request.set_id("a");
    answers.push(("getPush", refusal!(call)));
    let mut call = operations.list_task_push_notification_configs_request();
    call.get().init_request().set_task_id(id);
    answers.push(("listPush", refusal!(call)));
    let mut call = operations.delete_task_push_notification_config_request();
    let mut request = call.get().init_request();
    request.set_task_id(id);
    request.set_id("a");
    answers.push(("deletePush", refusal!(call)));
    let mut call = session.task_request();
    call.get().set_id(id);
    answers.push(("task", refusal!(call)));
    let mut call = session.task_request();
    call.get().set_id(id);
    let pipelined = call.send().pipeline.get_task().get_request().send().promise.await.err().unwrap();
    answers.push(("task.get, pipelined", pipelined.extra.into_bytes()));
    let mut call = session.task_request();
    call.get().set_id(id);
    let pipelined = call.send().pipeline.get_task().delete_request().send().promise.await.err().unwrap();
    answers.push(("task.delete, pipelined", pipelined.extra.into_bytes()));
    answers
}

#[tokio::test(flavor = "local")]
async fn cw_30_a_foreign_task_and_a_missing_one_answer_the_same_byte_for_byte() {
    let world = World::demo().await;
    let alice = world.session(ALICE).await;
    let mut foreign = Vec::new();
    for text in ["ask", "burst 1", "fail"] {
        let sent = alice.send(text).await.unwrap();
        let SendMessageResponse::Task(task) = sent else { panic!("{sent:?}") };
        foreign.push(task.id);
    }
    let sent = alice.send(SendCall::from("long").return_immediately()).await.unwrap();
    let SendMessageResponse::Task(working) = sent else { panic!("{sent:?}") };
    foreign.push(working.id);
    let bob = Raw::connect(&world).await.session(BOB);
    // As long as a real one, so that no length tells.
    let missing = refusals(&bob, &"0".repeat(foreign[0].len())).await;
    for id in &foreign {
        assert_eq!(refusals(&bob, id).await, missing);
    }
    assert_eq!(refusals(&bob, &"x".repeat(5_000)).await[0], missing[0], "nor does an overlong one differ");
    assert_eq!(world.counts().open_sends, 0);
}

#[tokio::test(flavor = "local")]
async fn wrong_missing_expired_and_future_credentials_answer_the_same_byte_for_byte() {
    let (world, [old, early]) = World::with_untimely_keys().await;
    let raw = Raw::connect(&world).await;
    let missing = refusal!(raw.service.authenticate_request());
    let long = "x".repeat(9_000);
    for wrong in ["", "short", "a2a_cut", &long, old.expose(), early.expose(), &ALICE[1..]] {
        let mut call = raw.service.authenticate_request();
        call.get().init_credentials().set_api_key(wrong);
        assert_eq!(refusal!(call), missing, "as an API key");
        let mut call = raw.service.authenticate_request();
        call.get().init_credentials().set_bearer(wrong);
        assert_eq!(refusal!(call), missing, "as a bearer");
    }
    let mut call = raw.service.authenticate_request();
    call.get().init_credentials().set_bearer(ALICE);
    let reply = call.send().promise.await.unwrap();
    assert!(!reply.get().unwrap().has_error(), "the right one is let in");
}

#[tokio::test(flavor = "local")]
async fn an_unknown_tenant_is_named_only_to_those_who_are_let_in() {
    let world = World::echo().await;
    let raw = Raw::connect(&world).await;
    let missing = refusal!(raw.service.authenticate_request());
    let mut call = raw.service.authenticate_request();
    call.get().set_tenant("no such agent");
    assert_eq!(refusal!(call), missing);
    let connection = world.connection().await;
    let known = connection.authenticate_to("no such agent", ALICE);
    let fault = known.ready().await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Forbidden);
    assert!(fault.message().contains("no such agent"));
}

async fn without_credentials_one_works_where_that_is_configured_and_reaches_nobody_elses_task(wire: Wire) {
    let world = wire.world(|builder| builder.agent(a2a_webcap::agents::Demo).anonymous()).await;
    let connection = world.connection().await;
    let nobody = connection.operations();
    let collector = Collector::new();
    let started = nobody.send_streaming("stream 2 0", collector.clone());
    collector.end().await;
    let id = started.task.get(None).await.unwrap().id;
    let listed = nobody.list_tasks(&ListTasksRequest::default()).await.unwrap();
    assert_eq!(listed.tasks[0].id, id);
    let alice = connection.authenticate(ALICE);
    assert_eq!(alice.task(&id).ready().await.unwrap_err().kind(), FaultKind::TaskNotFound);
    let sent = alice.send("burst 1").await.unwrap();
    let SendMessageResponse::Task(hers) = sent else { panic!("{sent:?}") };
    let request = a2a_webcap::model::SubscribeToTaskRequest::new(hers.id);
    let peek = nobody.subscribe_to_task(&request, Cursor::After(0), Collector::new());
    assert_eq!(peek.ready().await.unwrap_err().kind(), FaultKind::TaskNotFound);
    // Who shows a wrong key expects to be somebody, and is told.
    let wrong = connection.authenticate("not anybody's key, though as long");
    assert_eq!(wrong.ready().await.unwrap_err().kind(), FaultKind::Unauthenticated);
    // Nobody is remembered by a message id that two strangers may choose alike.
    let message = Message { message_id: "1".into(), ..Message::user("burst 1") };
    let (first, second) = (nobody.send(message.clone()).await.unwrap(), nobody.send(message).await.unwrap());
    assert_ne!(first, second);
}

#[tokio::test(flavor = "local")]
async fn an_anonymous_session_says_that_it_is() {
    let world = World::of(|builder| builder.agent(a2a_webcap::agents::Echo).anonymous()).await;
    let raw = Raw::connect(&world).await;
    let sent = raw.service.authenticate_request().send();
    let reply = sent.pipeline.get_session().who_am_i_request().send().promise.await.unwrap();
    let identity = reply.get().unwrap().get_identity().unwrap();
    assert!(identity.get_anonymous());
}

#[tokio::test(flavor = "local")]
async fn what_somebody_does_with_a_foreign_id_leaves_nothing_behind() {
    let (world, mut stage) = World::puppet().await;
    let alice = world.session(ALICE).await;
    let _started = alice.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    let bob = Raw::connect(&world).await.session(BOB);
    refusals(&bob, &cue.turn.task_id).await;
    until("one stream is left, hers", || world.counts().feeds == 1).await;
    assert_eq!((world.counts().events, world.counts().turns, world.counts().live_tasks), (1, 1, 1));
    assert!(!cue.turn.cancellation.is_cancelled());
}
