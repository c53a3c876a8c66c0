//! Failures: each is typed, none hangs, and the next call works.

use a2a_webcap::agent::{Agent, AgentError, Turn, Updates};
use a2a_webcap::client::{Credentials, Cursor, RetryPolicy};
use a2a_webcap::fault::{A2A_DOMAIN, Fault, FaultKind, OWN_DOMAIN};
use a2a_webcap::model::{
    AgentCard, AgentExtension, DeleteTaskPushNotificationConfigRequest, EndReason,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
    SendMessageResponse, ServiceParameters, TaskPushNotificationConfig, TaskState,
};
use futures::FutureExt as _;
use std::time::Duration;

use crate::doubles::Collector;
use crate::party::{Wire, on_wires};
use crate::proxy::{Mode, Proxy};
use crate::raw::Raw;
use crate::world::{ALICE, World, soon, until};

on_wires! {
    every: [
        ak_c02_an_agent_that_fails_mid_stream_leaves_what_it_said_and_one_failure,
        push_notifications_are_refused_as_the_card_says,
    ]
    objects: [
        the_stub_that_comes_with_an_error_is_broken_with_the_same_error,
    ]
    sockets: [
        ak_c01_a_client_that_reconnects_answers_its_callers_next_call,
        ak_c02_a_stream_that_breaks_keeps_what_came_gives_one_error_and_is_cleaned_up,
        ak_c01_a_line_cut_in_the_middle_of_a_request_is_a_typed_error,
        ak_c01_a_line_cut_before_the_reply_is_a_typed_error,
        ak_c01_a_truncated_reply_is_a_typed_error,
        ak_c01_a_corrupt_frame_to_the_client_is_a_typed_error,
        ak_c01_a_corrupt_message_to_the_client_is_a_typed_error,
        ak_c01_a_corrupt_frame_to_the_server_is_a_typed_error,
        ak_c02_a_line_that_breaks_mid_stream_leaves_what_came_and_is_cleaned_up,
        ak_c01_a_slow_reply_comes_late_and_whoever_gave_it_up_loses_nothing_else,
    ]
}

/// A typed failure of the line, and nothing else.
fn assert_lost<T: std::fmt::Debug>(answer: Result<T, Fault>) {
    let fault = answer.expect_err("the line was spoilt");
    assert_eq!(fault.kind(), FaultKind::Disconnected, "{fault:?}");
}

/// Does what is given to the line under a call, which must fail in a typed way; then a new line works.
async fn spoilt(wire: Wire, spoil: impl FnOnce(&Proxy)) {
    let world = wire.echo().await;
    let proxy = Proxy::before(world.server.local_addr()).await;
    let connection = wire.connect(&proxy.url()).await;
    let session = connection.authenticate(ALICE);
    session.ready().await.unwrap();
    spoil(&proxy);
    assert_lost(soon("the call fails", session.who_am_i()).await);
    assert_lost(soon("so does the next", session.who_am_i()).await);
    soon("the connection ends", connection.closed()).await;
    let again = wire.connect(&proxy.url()).await.authenticate(ALICE);
    assert_eq!(again.who_am_i().await.unwrap().subject, "alice");
    drop((connection, session, again));
    world.forgets_everybody().await;
}

async fn ak_c01_a_line_cut_in_the_middle_of_a_request_is_a_typed_error(wire: Wire) {
    spoilt(wire, |proxy| proxy.requests(Mode::CutAfter(9))).await;
}

async fn ak_c01_a_line_cut_before_the_reply_is_a_typed_error(wire: Wire) {
    spoilt(wire, |proxy| proxy.replies(Mode::CutAfter(0))).await;
}

async fn ak_c01_a_truncated_reply_is_a_typed_error(wire: Wire) {
    spoilt(wire, |proxy| proxy.replies(Mode::CutAfter(20))).await;
}

/// The same where what arrives is not what was sent: the error says that, and not more.
async fn corrupted(wire: Wire, spoil: impl FnOnce(&Proxy)) {
    let world = wire.echo().await;
    let proxy = Proxy::before(world.server.local_addr()).await;
    let session = wire.connect(&proxy.url()).await.authenticate(ALICE);
    session.ready().await.unwrap();
    spoil(&proxy);
    let fault = soon("the call fails", session.who_am_i()).await.unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Disconnected | FaultKind::InvalidRequest), "{fault:?}");
    let again = wire.connect(&proxy.url()).await.authenticate(ALICE);
    assert_eq!(again.who_am_i().await.unwrap().subject, "alice");
    drop((session, again));
    world.forgets_everybody().await;
}

async fn ak_c01_a_corrupt_frame_to_the_client_is_a_typed_error(wire: Wire) {
    corrupted(wire, |proxy| proxy.replies(Mode::SpoilFrame)).await;
}

async fn ak_c01_a_corrupt_message_to_the_client_is_a_typed_error(wire: Wire) {
    corrupted(wire, |proxy| proxy.replies(Mode::SpoilContent)).await;
}

async fn ak_c01_a_corrupt_frame_to_the_server_is_a_typed_error(wire: Wire) {
    corrupted(wire, |proxy| proxy.requests(Mode::SpoilFrame)).await;
}

async fn ak_c01_a_slow_reply_comes_late_and_whoever_gave_it_up_loses_nothing_else(wire: Wire) {
    let world = wire.echo().await;
    let proxy = Proxy::before(world.server.local_addr()).await;
    let session = wire.connect(&proxy.url()).await.authenticate(ALICE);
    session.ready().await.unwrap();
    proxy.replies(Mode::Hold);
    let (mut patient, mut given_up) = (session.who_am_i(), session.who_am_i());
    assert!((&mut patient).now_or_never().is_none() && (&mut given_up).now_or_never().is_none());
    drop(given_up);
    proxy.replies(Mode::Pass);
    assert_eq!(patient.await.unwrap().subject, "alice");
    assert_eq!(session.who_am_i().await.unwrap().subject, "alice");
}

async fn ak_c01_a_client_that_reconnects_answers_its_callers_next_call(wire: Wire) {
    let world = wire.echo().await;
    let proxy = Proxy::before(world.server.local_addr()).await;
    let client = wire
        .client(proxy.url())
        .credentials(Credentials::api_key(ALICE))
        .retry(RetryPolicy::default().first_wait(Duration::from_millis(1)))
        .connect()
        .await
        .unwrap();
    for spoil in [Mode::CutAfter(0), Mode::CutAfter(5)] {
        client.who_am_i().await.unwrap();
        proxy.requests(spoil);
        assert_eq!(soon("the call is made again", client.who_am_i()).await.unwrap().subject, "alice");
    }
    assert_eq!(world.server.net_counters().accepted(), 3);
}

async fn ak_c02_a_stream_that_breaks_keeps_what_came_gives_one_error_and_is_cleaned_up(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let proxy = Proxy::before(world.server.local_addr()).await;
    let client = wire.client(proxy.url()).credentials(Credentials::api_key(ALICE));
    let client = client.retry(RetryPolicy::never()).connect().await.unwrap();
    let mut stream = client.stream("go");
    let cue = stage.turn().await;
    cue.works().await;
    cue.says("one").await;
    cue.says("two").await;
    let mut texts = Vec::new();
    while texts.len() < 2 {
        let event = soon("an event", stream.next()).await.unwrap().unwrap();
        texts.extend(event.artifact_text().map(|text| text.into_owned()));
    }
    proxy.replies(Mode::CutAfter(0));
    cue.says("three").await;
    let broken = soon("the error", stream.next()).await.unwrap();
    assert_eq!(broken.unwrap_err().kind(), FaultKind::Disconnected);
    assert!(soon("the end", stream.next()).await.is_none(), "one error, then nothing");
    assert_eq!((texts, stream.last_seq()), (vec!["one".to_owned(), "two".to_owned()], Some(4)));
    until("the server has let go", || world.counts().feeds == 0).await;
    cue.end();
    drop((stream, client));
    world.forgets_everybody().await;
}

async fn ak_c02_a_line_that_breaks_mid_stream_leaves_what_came_and_is_cleaned_up(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let proxy = Proxy::before(world.server.local_addr()).await;
    let session = wire.connect(&proxy.url()).await.authenticate(ALICE);
    let collector = Collector::bare();
    let started = session.send_streaming("go", collector.clone());
    let cue = stage.turn().await;
    cue.works().await;
    cue.says("one").await;
    cue.says("two").await;
    collector.has(4).await;
    proxy.replies(Mode::CutAfter(0));
    cue.says("three").await;
    assert_lost(soon("the error", started.task.get(None)).await);
    assert_lost(soon("it is the same", session.who_am_i()).await);
    assert_eq!((collector.texts(), collector.ended()), (vec!["one".to_owned(), "two".to_owned()], None));
    until("the server has let go", || world.counts().feeds == 0).await;
    cue.end();
    drop((session, started));
    world.forgets_everybody().await;
}

async fn ak_c02_an_agent_that_fails_mid_stream_leaves_what_it_said_and_one_failure(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let started = session.send_streaming("go", collector.clone());
    let cue = stage.turn().await;
    cue.says("one").await;
    cue.fail("the disk is full");
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    assert_eq!(collector.states(), [TaskState::Submitted, TaskState::Failed]);
    let task = started.task.get(None).await.unwrap();
    assert_eq!((task.state(), &*task.artifacts[0].text_content()), (TaskState::Failed, "one"));
    assert_eq!(task.status.message.unwrap().text(), "the disk is full");
    drop((session, started));
    world.forgets_everybody().await;
}

fn speaking(name: &str, value: &str) -> ServiceParameters {
    ServiceParameters::from_pairs([(name, value)]).unwrap()
}

#[tokio::test(flavor = "local")]
async fn another_version_of_a2a_is_refused_by_every_object() {
    let (world, mut stage) = World::puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    let id = cue.turn.task_id.clone();
    let two = speaking("a2a-version", "2.0");
    let not_spoken = |answer: Result<(), Fault>, what: &str| {
        let fault = answer.expect_err(what);
        assert_eq!((fault.kind(), fault.kind().code()), (FaultKind::VersionNotSupported, -32009), "{what}");
        assert_eq!(fault.metadata().get("supported").map(String::as_str), Some("1.0"), "{what}");
    };
    let connection = (*world.connection().await).clone().with_parameters(two.clone());
    not_spoken(connection.authenticate(&Credentials::api_key(ALICE)).ready().await, "authenticate");
    not_spoken(connection.agent_card("").await.map(drop), "getAgentCard");
    let other = session.clone().with_parameters(two.clone());
    not_spoken(other.send("hello").await.map(drop), "sendMessage");
    not_spoken(other.get_task(&GetTaskRequest::new(id.clone())).await.map(drop), "getTask");
    let task = started.task.clone().with_parameters(two);
    not_spoken(task.get(None).await.map(drop), "TaskHandle.get");
    not_spoken(task.send("hello").await.map(drop), "TaskHandle.send");
    not_spoken(task.subscribe(Cursor::Snapshot, Collector::new()).ready().await, "TaskHandle.subscribe");
    not_spoken(task.cancel(None).await.map(drop), "TaskHandle.cancel");
    assert_eq!(started.task.get(None).await.unwrap().state(), TaskState::Submitted);
    for fine in ["1.0", "1.0.1", "", " 1.0 "] {
        let session = session.clone().with_parameters(speaking("A2A-Version", fine));
        session.get_task(&GetTaskRequest::new(id.clone())).await.expect(fine);
    }
}

async fn push_notifications_are_refused_as_the_card_says(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let sent = session.send("burst 1").await.unwrap();
    let SendMessageResponse::Task(task) = sent else { panic!("{sent:?}") };
    let card = session.get_extended_agent_card(&Default::default()).await.unwrap_err();
    assert_eq!(card.kind(), FaultKind::UnsupportedOperation);
    let public = world.connection().await.agent_card("").await.unwrap();
    assert_eq!(public.capabilities.push_notifications, Some(false));
    let config = TaskPushNotificationConfig {
        task_id: Some(task.id.clone()),
        ..TaskPushNotificationConfig::new("https://example.org/hook")
    };
    let get = GetTaskPushNotificationConfigRequest { tenant: None, task_id: task.id.clone(), id: "a".into() };
    let list = ListTaskPushNotificationConfigsRequest {
        tenant: None,
        task_id: task.id.clone(),
        page_size: None,
        page_token: None,
    };
    let delete = DeleteTaskPushNotificationConfigRequest { tenant: None, task_id: task.id, id: "a".into() };
    let faults = [
        session.create_push_config(&config).await.unwrap_err(),
        session.get_push_config(&get).await.unwrap_err(),
        session.list_push_configs(&list).await.unwrap_err(),
        session.delete_push_config(&delete).await.unwrap_err(),
    ];
    for fault in faults {
        assert_eq!((fault.kind(), fault.kind().code()), (FaultKind::PushNotificationNotSupported, -32003));
    }
}

#[tokio::test(flavor = "local")]
async fn an_error_on_the_wire_has_code_reason_domain_and_message() {
    let world = World::echo().await;
    let raw = Raw::connect(&world).await.authenticate(ALICE);
    let mut call = raw.get_task_request();
    call.get().init_request().set_id("no-such-task");
    let reply = call.send().promise.await.unwrap();
    let error = reply.get().unwrap().get_error().unwrap();
    assert_eq!(error.get_code(), -32001);
    assert_eq!(error.get_reason().unwrap(), "TASK_NOT_FOUND");
    assert_eq!(error.get_domain().unwrap(), A2A_DOMAIN);
    assert!(!error.get_message().unwrap().is_empty());
    let reply = raw.get_task_request().send().promise.await.unwrap();
    let error = reply.get().unwrap().get_error().unwrap();
    assert_eq!((error.get_code(), error.get_domain().unwrap().to_str().unwrap()), (-32602, OWN_DOMAIN));
    let violations = error.get_violations().unwrap();
    assert_eq!(violations.get(0).get_field().unwrap(), "id");
}

#[tokio::test(flavor = "local")]
async fn a_call_pipelined_on_a_failed_one_throws_the_first_error_with_its_mark() {
    let world = World::echo().await;
    let raw = Raw::connect(&world).await;
    let session = raw.session(ALICE);
    let mut call = session.task_request();
    call.get().set_id("no-such-task");
    let sent = call.send();
    let error = sent.pipeline.get_task().get_request().send().promise.await.err().unwrap();
    assert!(error.extra.contains("A2A -32001 TASK_NOT_FOUND: "), "{}", error.extra);
}

async fn the_stub_that_comes_with_an_error_is_broken_with_the_same_error(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let task = session.task("no-such-task");
    let first = task.ready().await.unwrap_err();
    // After the answer, on the stub itself.
    let after = task.get(None).await.unwrap_err();
    assert_eq!((after.kind(), after.message()), (first.kind(), first.message()));
    let held = task.subscribe(Cursor::Snapshot, Collector::new());
    assert_eq!(held.ready().await.unwrap_err().kind(), FaultKind::TaskNotFound);
}

/// An agent that knows one extension and requires it.
struct Extended;

#[async_trait::async_trait]
impl Agent for Extended {
    fn card(&self) -> AgentCard {
        let mut card = AgentCard::new("Extended", "Requires an extension.", "1.0");
        card.capabilities.extensions.push(AgentExtension {
            uri: Some(EXTENSION.to_owned()),
            description: None,
            required: true,
            params: None,
        });
        card
    }

    async fn execute(&self, _: Turn, _: Updates) -> Result<(), AgentError> {
        Ok(())
    }
}

const EXTENSION: &str = "https://example.org/extension";

#[tokio::test(flavor = "local")]
async fn a_required_extension_must_be_asked_for_in_every_call_and_the_reply_names_it() {
    let world = World::of(|builder| builder.agent(Extended)).await;
    let plain = world.session(ALICE).await;
    let fault = plain.send("hello").await.unwrap_err();
    assert_eq!((fault.kind(), fault.kind().code()), (FaultKind::ExtensionSupportRequired, -32008));
    let asking = plain.clone().with_parameters(speaking("A2A-Extensions", EXTENSION));
    let sent = asking.send("hello").await.unwrap();
    let SendMessageResponse::Task(task) = sent else { panic!("{sent:?}") };
    let without = plain.task(&task.id).get(None).await.unwrap_err();
    assert_eq!(without.kind(), FaultKind::ExtensionSupportRequired, "on a handle too");
    let raw = Raw::connect(&world).await.session(ALICE);
    let mut call = raw.task_request();
    call.get().set_id(&*task.id);
    let mut call = call.send().pipeline.get_task().get_request();
    let mut pair = call.get().init_parameters(1).get(0);
    pair.set_name("a2a-extensions");
    pair.set_value(format!("https://example.org/other, {EXTENSION}"));
    let reply = call.send().promise.await.unwrap();
    let activated = reply.get().unwrap().get_parameters().unwrap();
    assert_eq!(activated.get(0).get_name().unwrap(), "A2A-Extensions");
    assert_eq!(activated.get(0).get_value().unwrap(), EXTENSION);
}
