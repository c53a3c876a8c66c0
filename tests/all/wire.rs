//! One WebSocket, used as it is meant to be.

use a2a_webcap::model::{
    EndReason, Message, Part, PartContent, Role, SendMessageRequest, SendMessageResponse,
};
use a2a_webcap::wire::capnp::{Decode as _, Encode as _};
use serde_json::json;

use crate::doubles::Collector;
use crate::raw::{Log, Raw};
use crate::world::{ALICE, World, soon, until};

#[tokio::test(flavor = "local")]
async fn ak_w02_a_unary_message_is_echoed() {
    let world = World::echo().await;
    let raw = Raw::connect(&world).await;
    let session = raw.authenticate(ALICE);
    let mut call = session.send_message_request();
    SendMessageRequest::text("over one socket").encode(call.get().init_request());
    let reply = call.send().promise.await.unwrap();
    let reply = reply.get().unwrap();
    assert!(!reply.has_error());
    let response = SendMessageResponse::decode(reply.get_response().unwrap()).unwrap();
    let SendMessageResponse::Task(task) = response else { panic!("{response:?}") };
    assert_eq!(task.artifacts[0].text_content(), "Echo: over one socket");
}

#[tokio::test(flavor = "local")]
async fn ak_w03_the_server_calls_the_client_while_the_clients_own_call_is_outstanding() {
    let (world, mut stage) = World::puppet().await;
    let raw = Raw::connect(&world).await;
    let session = raw.authenticate(ALICE);
    let mut waiting = session.send_message_request();
    SendMessageRequest::text("go").encode(waiting.get().init_request());
    let waiting = waiting.send();
    let cue = stage.turn().await;
    // Each call of the server is answered only after it has answered one of ours.
    let log = Log::asking(session.clone());
    let _held = log.subscribe(&session, &cue.turn.task_id, |_| {}).await;
    cue.works().await;
    until("the callback ran to its end", || log.calls().len() == 2).await;
    assert!(world.counts().turns == 1, "the send is still unanswered");
    cue.end();
    let reply = soon("the send is answered", waiting.promise).await.unwrap();
    assert!(!reply.get().unwrap().has_error());
    let status = |seq| ("onStatusUpdate", vec![seq]);
    assert_eq!(log.ended().await, [status(1), status(2), status(3)]);
}

#[tokio::test(flavor = "local")]
async fn ak_w05_events_stream_from_the_server_in_order() {
    let world = World::demo().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let _started = session.send_streaming("stream 300 0", collector.clone());
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    let expected: Vec<String> = (1..=300).map(|n| format!("chunk {n} of 300\n")).collect();
    assert_eq!(collector.texts(), expected);
    assert_eq!(collector.numbers(), (1..=303).collect::<Vec<_>>());
}

#[tokio::test(flavor = "local")]
async fn ak_w10_metadata_and_unicode_come_back_as_they_were_sent() {
    let world = World::echo().await;
    let session = world.session(ALICE).await;
    let text = "Hello 世界 🌍 Привет مرحبا";
    let metadata =
        json!({"n": 1, "x": 0.1, "on": true, "none": null, "list": ["a", 2], "in": {"深": {"e": "🌍"}}});
    let metadata = metadata.as_object().unwrap().clone();
    let message = Message {
        metadata: Some(metadata.clone()),
        ..Message::new(Role::User, vec![Part::text(text), Part::data(json!({"ключ": [1, "مرحبا"]}))])
    };
    let response = session.send(message).await.unwrap();
    let SendMessageResponse::Task(task) = response else { panic!("{response:?}") };
    let artifact = &task.artifacts[0];
    assert_eq!(artifact.parts[0].as_text(), Some(format!("Echo: {text}").as_str()));
    assert_eq!(artifact.parts[1].content, PartContent::Data(json!({"ключ": [1, "مرحبا"]})));
    assert_eq!(artifact.metadata, Some(metadata.clone()));
    assert_eq!(task.history[0].metadata, Some(metadata));
}

#[tokio::test(flavor = "local")]
async fn ak_w11_ten_messages_on_one_connection_cost_one_accept() {
    let world = World::echo().await;
    let session = world.session(ALICE).await;
    for n in 0..10 {
        let response = session.send(format!("number {n}")).await.unwrap();
        let SendMessageResponse::Task(task) = response else { panic!("{response:?}") };
        assert_eq!(task.artifacts[0].text_content(), format!("Echo: number {n}"));
    }
    assert_eq!(world.server.net_counters().accepted(), 1);
}
