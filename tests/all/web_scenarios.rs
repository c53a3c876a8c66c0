//! Scenarios that are about the wire itself, over Cap'n Web: the twins of those that are so over Cap'n Proto.

use std::time::{Duration, Instant};

use a2a_webcap::client::SendCall;
use a2a_webcap::model::SendMessageResponse;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::hostile_bench::Bench;
use crate::keepalive::scaled;
use crate::line::Line;
use crate::web::{Web, code, message};
use crate::world::{ALICE, BOB, World, limits, soon, until};

#[tokio::test]
async fn ak_w01_the_upgrade_needs_no_subprotocol_and_the_first_call_succeeds() {
    let world = World::echo().await;
    for offered in [None, Some("other"), Some("capnp-rpc")] {
        let mut stream = tokio::net::TcpStream::connect(world.server.local_addr()).await.unwrap();
        let head = head(&mut stream, offered).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(!head.contains("sec-websocket-protocol"), "none is agreed on: {head}");
    }
    let mut web = Web::connect(&world).await;
    assert_eq!(web.ask(0, "info", json!([])).await.unwrap()["revision"], 1);
}

/// The head of the answer to an upgrade that offers this subprotocol, in lower case.
async fn head(stream: &mut tokio::net::TcpStream, offered: Option<&str>) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let offer = offered.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    let request = format!(
        "GET /capnweb HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("an answer", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn ak_w07_an_idle_cap_n_web_connection_whose_peer_answers_pings_stays_open() {
    let bench = Bench::with(|limits| scaled(&mut limits.wire)).await;
    let mut web = Web::connect(&bench.world).await;
    let session = web.authenticate(BOB).await;
    web.ask(session, "whoAmI", json!([])).await.unwrap();
    let mut pings = 0;
    // Three times the idle timeout. Reading answers.
    let _ = tokio::time::timeout(Duration::from_millis(3_600), async {
        while let Some(frame) = web.socket.next().await {
            assert!(matches!(frame.unwrap(), Message::Ping(_)), "nothing else comes");
            pings += 1;
        }
    })
    .await;
    assert!(pings >= 3, "{pings} pings");
    assert_eq!(web.ask(session, "whoAmI", json!([])).await.unwrap()["subject"], "bob");
    assert_eq!(bench.world.server.net_counters().accepted(), 1);
}

#[tokio::test]
async fn ak_w07_a_cap_n_web_peer_that_stops_answering_is_dropped_within_interval_and_timeout() {
    let bench = Bench::with(|limits| scaled(&mut limits.wire)).await;
    let line = Line::to(bench.address()).await;
    let mut web = Web::dial(&line.url()).await;
    let session = web.authenticate(BOB).await;
    web.ask(session, "whoAmI", json!([])).await.unwrap();
    // It hears nothing any more, so it answers nothing.
    line.mute(true);
    let since = Instant::now();
    bench.closed("silent", 1).await;
    let waited = since.elapsed();
    // And a second for a busy machine.
    assert!(waited < Duration::from_millis(400 + 1_200 + 1_000), "{waited:?}");
    bench.world.forgets_everybody().await;
}

#[tokio::test(flavor = "local")]
async fn ak_w08_a_cap_n_web_message_above_the_limit_is_refused_by_name() {
    let limits = limits(|limits| limits.wire.message_bytes = 64 << 10);
    let world = World::of(|builder| builder.agent(a2a_webcap::agents::Echo).limits(limits)).await;
    let mut other = Web::connect(&world).await;
    let others = other.authenticate(BOB).await;
    other.ask(others, "whoAmI", json!([])).await.unwrap();
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    web.ask(session, "whoAmI", json!([])).await.unwrap();
    web.push(session, "sendMessage", json!([message(&"x".repeat(64 << 10))])).await;
    let (last, close, reason) = web.end().await;
    assert_eq!((&last[0], close), (&json!("abort"), 1009), "{last}");
    assert!(last[1][2].as_str().unwrap().contains("65536 bytes"), "{last}");
    assert!(last[1][4]["code"].is_number() && !reason.is_empty(), "{last}");
    until("it is counted", || world.server.net_counters().closes().get("too_big") == Some(&1)).await;
    other.ask(others, "whoAmI", json!([])).await.expect("others are not affected");
}

#[tokio::test]
async fn ak_c01_a_corrupt_cap_n_web_frame_is_a_typed_abort_and_the_next_connection_works() {
    let world = World::demo().await;
    let cut = json!(["pull", 2]).to_string();
    for (frame, says) in [
        (Message::text(&cut[..cut.len() - 1]), "NOT_JSON"),
        (Message::text("{\"push\":1}"), "BAD_MESSAGE"),
        (Message::text("[\"push\",[\"nosuch\",1]]"), "BAD_EXPRESSION"),
        (Message::text("[\"pull\",99]"), "NO_SUCH_ID"),
    ] {
        let mut web = Web::connect(&world).await;
        let session = web.authenticate(ALICE).await;
        let sent = json!([message("stream 1000 1ms"), null, ["export", -1]]);
        web.push(session, "sendMessageStreaming", sent).await;
        web.called().await;
        // In the midst of a stream, with a call outstanding.
        let outstanding = web.push(session, "sendMessage", json!([message("long")])).await;
        web.pull(outstanding).await;
        web.socket.send(frame).await.unwrap();
        let (last, close, reason) = web.end().await;
        assert_eq!((&last[0], close), (&json!("abort"), 3000), "{last}");
        assert_eq!(last[1][4]["code"], says, "{last}");
        assert_eq!(last[1][2].as_str().unwrap(), reason);
        let mut again = Web::connect(&world).await;
        let session = again.authenticate(ALICE).await;
        assert_eq!(again.ask(session, "whoAmI", json!([])).await.unwrap()["subject"], "alice");
        let tasks = again.ask(session, "listTasks", json!([])).await.unwrap();
        for task in tasks["tasks"][0].as_array().unwrap() {
            // Whatever was cut off went on; some of it may have ended by now.
            let _ = again.ask(session, "cancelTask", json!([task["id"]])).await;
        }
    }
    world.forgets_everybody().await;
}

/// What each operation answers that names this task, as text.
async fn refusals(web: &mut Web, session: i64, id: &str) -> Vec<(&'static str, String)> {
    let mut into = message("x");
    into["taskId"] = json!(id);
    let callback = json!(["export", -1]);
    let calls: [(&str, Value); 12] = [
        ("getTask", json!([id])),
        ("cancelTask", json!([id])),
        ("sendMessage", json!([into])),
        ("sendMessageStreaming", json!([into, null, callback])),
        ("sendStreamingMessage", json!([into, callback])),
        ("subscribeToTask", json!([id, callback])),
        ("createTaskPushNotificationConfig", json!([{ "taskId": id, "url": "https://example.org/hook" }])),
        ("getTaskPushNotificationConfig", json!([id, "a"])),
        ("listTaskPushNotificationConfigs", json!([id])),
        ("deleteTaskPushNotificationConfig", json!([id, "a"])),
        ("task", json!([id])),
        ("getTask", json!([id, 3])),
    ];
    let mut answers = Vec::new();
    for (method, arguments) in calls {
        let refused = web.ask(session, method, arguments).await.expect_err(method);
        answers.push((method, refused.to_string()));
    }
    for method in ["get", "cancel", "delete", "share"] {
        let task = web.push(session, "task", json!([id])).await;
        let refused = web.ask(task, method, json!([])).await.expect_err(method);
        answers.push((method, refused.to_string()));
    }
    answers
}

#[tokio::test(flavor = "local")]
async fn cw_30_a_foreign_task_and_a_missing_one_answer_the_same_frame() {
    let world = World::demo().await;
    let alice = world.session(ALICE).await;
    let mut foreign = Vec::new();
    for call in ["ask", "burst 1", "fail"]
        .map(SendCall::from)
        .into_iter()
        .chain([SendCall::from("long").return_immediately()])
    {
        let sent = alice.send(call).await.unwrap();
        let SendMessageResponse::Task(task) = sent else { panic!("{sent:?}") };
        foreign.push(task.id);
    }
    let mut web = Web::connect(&world).await;
    let bob = web.authenticate(BOB).await;
    // As long as a real one, so that no length tells.
    let missing = refusals(&mut web, bob, &"0".repeat(foreign[0].len())).await;
    assert!(missing[0].1.contains("TASK_NOT_FOUND"), "{missing:?}");
    for id in &foreign {
        assert_eq!(refusals(&mut web, bob, id).await, missing);
    }
    let error: Value = serde_json::from_str(&missing[0].1).unwrap();
    assert_eq!(code(&error), (-32001, "TASK_NOT_FOUND"));
    assert_eq!(world.counts().open_sends, 0);
}

#[tokio::test]
async fn wrong_missing_expired_and_future_credentials_answer_the_same_frame() {
    let (world, [old, early]) = World::with_untimely_keys().await;
    let mut web = Web::connect(&world).await;
    let missing = web.ask(0, "authenticate", json!([])).await.unwrap_err();
    assert_eq!(code(&missing), (-31401, "UNAUTHENTICATED"));
    let long = "x".repeat(9_000);
    for wrong in ["", "short", "a2a_cut", &long, old.expose(), early.expose(), &ALICE[1..]] {
        let as_key = json!({ "scheme": "ApiKey", "credentials": wrong });
        let as_bearer = json!({ "scheme": "Bearer", "credentials": wrong });
        for shown in [json!(wrong), as_key, as_bearer] {
            assert_eq!(web.ask(0, "authenticate", json!([shown])).await.unwrap_err(), missing);
        }
    }
    web.ask(0, "authenticate", json!([ALICE])).await.expect("the right one is let in");
}

/// The frames that a batch is answered with, and the status.
async fn post(world: &World, frames: &[Value]) -> (String, Vec<Value>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let body = frames.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let head = "POST /capnweb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length:";
    let mut stream = tokio::net::TcpStream::connect(world.server.local_addr()).await.unwrap();
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let frames = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (head[9..12].to_owned(), frames)
}

#[tokio::test]
async fn cw_19_one_post_answers_dependent_calls_and_its_objects_are_gone_afterwards() {
    let world = World::echo().await;
    let authenticate = json!(["push", ["pipeline", 0, ["authenticate"], [ALICE]]]);
    let (status, frames) = post(
        &world,
        &[
            authenticate.clone(),
            json!(["push", ["pipeline", 1, ["sendMessage"], [message("in one post")]]]),
            json!(["push", ["pipeline", 1, ["task"], [["pipeline", 2, ["task", "id"]]]]]),
            json!(["push", ["pipeline", 3, ["get"], []]]),
            json!(["pull", 4]),
            json!(["pull", 3]),
        ],
    )
    .await;
    assert_eq!((&*status, frames.len()), ("200", 2), "{frames:?}");
    let of = |id| frames.iter().find(|frame| frame[1] == id).expect("an answer");
    let echoed = &of(4)[2]["artifacts"][0][0]["parts"][0][0]["text"];
    assert_eq!(echoed, "Echo: in one post");
    let task = &of(3)[2];
    assert_eq!(task[0], "export", "an object was named: {task}");
    // Its name means nothing in the next.
    let (_, frames) = post(
        &world,
        &[authenticate, json!(["push", ["pipeline", task[1], ["get"], []]]), json!(["pull", 2])],
    )
    .await;
    let last = frames.last().expect("an answer");
    assert_eq!((&last[0], &last[1][4]["code"]), (&json!("abort"), &json!("NO_SUCH_ID")), "{frames:?}");
    world.forgets_everybody().await;
}
