//! The client over Cap'n Web against a server that a test plays frame by frame: what leaves in one flight, and what becomes
//! of a server that says what none may.

use std::time::Duration;

use a2a_webcap::client::local::{Connection, Session};
use a2a_webcap::client::{Binding, Credentials, Cursor, Endpoint, Features};
use a2a_webcap::fault::FaultKind;
use a2a_webcap::limits::WireLimits;
use a2a_webcap::model::{
    DeleteTaskPushNotificationConfigRequest, EndReason, GetTaskPushNotificationConfigRequest, GetTaskRequest,
    ListTaskPushNotificationConfigsRequest, SubscribeToTaskRequest, TaskPushNotificationConfig, TaskState,
};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::doubles::Collector;
use crate::world::{ALICE, soon};

/// The server's end of a line, played by the test.
struct Played(WebSocketStream<DuplexStream>);

impl Played {
    /// A session of Alice's, whose answer is still to come, and the server's end of its line.
    async fn session() -> (Session, Self) {
        Self::within(WireLimits::default()).await
    }

    async fn within(limits: WireLimits) -> (Session, Self) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let endpoint = "localhost".parse::<Endpoint>().unwrap().by(Binding::CapnWeb);
        let opened = Connection::over(near, &endpoint, limits, Duration::from_secs(10));
        let (connection, accepted) = tokio::join!(opened, tokio_tungstenite::accept_async(far));
        (connection.unwrap().authenticate(&Credentials::api_key(ALICE)), Self(accepted.unwrap()))
    }

    /// The next frame of the client.
    async fn heard(&mut self) -> Value {
        loop {
            match soon("a frame", self.0.next()).await.expect("it is open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn hears(&mut self, frame: Value) {
        assert_eq!(self.heard().await, frame);
    }

    /// Hears until that.
    async fn hears_at_last(&mut self, frame: Value) {
        while self.heard().await != frame {}
    }

    async fn says(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }
}

fn get(id: &str) -> GetTaskRequest {
    GetTaskRequest::new(id)
}

#[tokio::test(flavor = "local")]
async fn a_session_a_stream_and_a_call_on_its_task_leave_in_one_flight() {
    let (session, mut server) = Played::session().await;
    let started = session.send_streaming("hello", Collector::new());
    let task = started.task.get(None);
    let credentials = json!({"scheme": "ApiKey", "credentials": ALICE, "parameters": {}});
    server.hears(json!(["push", ["pipeline", 0, ["authenticate"], [credentials, ["undefined"]]]])).await;
    server.hears(json!(["pull", 1])).await;
    let sent = server.heard().await;
    assert_eq!((&sent[1][1], &sent[1][2]), (&json!(1), &json!(["sendMessageStreaming"])));
    assert_eq!(
        (&sent[1][3][0]["parts"][0][0]["text"], &sent[1][3][2]),
        (&json!("hello"), &json!(["export", -1]))
    );
    server.hears(json!(["pull", 2])).await;
    server.hears(json!(["push", ["pipeline", 2, ["task", "get"], [["undefined"]]]])).await;
    server.hears(json!(["pull", 3])).await;
    drop(task);
    // Whoever gives up what is not answered yet says so.
    server.hears(json!(["release", 3, 1])).await;
}

#[tokio::test(flavor = "local")]
async fn what_a_call_gave_is_released_one_by_one_when_it_is_dropped() {
    let (session, mut server) = Played::session().await;
    let started = session.send_streaming("hello", Collector::new());
    server.says(json!(["resolve", 1, ["export", -1]])).await;
    server.says(json!(["resolve", 2, {"task": ["export", -2], "subscription": ["export", -3]}])).await;
    server.hears_at_last(json!(["release", 1, 1])).await;
    server.hears(json!(["release", 2, 1])).await;
    started.ready().await.unwrap();
    drop(started.subscription);
    server.hears(json!(["release", -3, 1])).await;
    drop(started.task);
    server.hears(json!(["release", -2, 1])).await;
    // With the last of them the line is closed: nothing has to be released one by one.
    drop(session);
    let last = soon("the end", server.0.next()).await.unwrap().unwrap();
    assert!(matches!(&last, Message::Close(Some(close)) if close.code == CloseCode::Normal), "{last:?}");
}

#[tokio::test(flavor = "local")]
async fn an_answer_that_is_none_fails_its_call_and_no_other() {
    let (session, mut server) = Played::session().await;
    for (answer, kind) in [
        (json!(["resolve", 2, {"id": 7}]), FaultKind::InvalidAgentResponse),
        (json!(["resolve", 3, "a task"]), FaultKind::InvalidAgentResponse),
        (json!(["resolve", 4, ["export", -9]]), FaultKind::InvalidAgentResponse),
        (json!(["reject", 5, ["error", "Error", "no idea"]]), FaultKind::Internal),
        (json!(["reject", 6, ["error", "Error", "x", null, {"code": "seven"}]]), FaultKind::Internal),
        (
            json!(["reject", 7, ["error", "TypeError", "'getTask' is not a function."]]),
            FaultKind::MethodNotFound,
        ),
    ] {
        let call = session.get_task(&get("one"));
        server.says(answer.clone()).await;
        assert_eq!(soon("an answer", call).await.unwrap_err().kind(), kind, "{answer}");
    }
    let call = session.get_task(&get("one"));
    let task = json!({"id": "one", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}});
    server.says(json!(["resolve", 8, task])).await;
    assert_eq!(soon("an answer", call).await.unwrap().state(), TaskState::Working);
}

#[tokio::test(flavor = "local")]
async fn a_send_whose_answer_lacks_an_object_fails_and_so_does_what_was_to_be_that() {
    let (session, mut server) = Played::session().await;
    let started = session.send_streaming("hello", Collector::new());
    server.says(json!(["resolve", 2, {"task": ["export", -2]}])).await;
    let fault = soon("an answer", started.ready()).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::InvalidAgentResponse);
    // What did come is given back, for the send has failed.
    drop(started);
    server.hears_at_last(json!(["release", -2, 1])).await;
}

#[tokio::test(flavor = "local")]
async fn a_call_of_a_method_that_an_observer_has_not_is_refused_as_the_npm_library_does() {
    let (session, mut server) = Played::session().await;
    let collector = Collector::new();
    let _started = session.send_streaming("hello", collector.clone());
    server.hears_at_last(json!(["pull", 2])).await;
    for (number, call) in [
        json!(["push", ["pipeline", -1, ["onNothing"], []]]),
        json!(["push", ["pipeline", -1, ["onEnd", "deeper"], []]]),
        json!(["push", ["pipeline", -1, [], []]]),
        json!(["push", ["pipeline", 0, ["onEnd"], []]]),
    ]
    .into_iter()
    .enumerate()
    {
        server.says(call).await;
        server.says(json!(["pull", number + 1])).await;
        let refused = server.heard().await;
        assert_eq!((&refused[0], &refused[2][1]), (&json!("reject"), &json!("TypeError")), "{refused}");
        assert!(refused[2][2].as_str().unwrap().ends_with("is not a function."), "{refused}");
    }
}

#[tokio::test(flavor = "local")]
async fn an_event_that_is_none_is_refused_and_nothing_follows_the_end() {
    let (session, mut server) = Played::session().await;
    let collector = Collector::new();
    let _started = session.send_streaming("hello", collector.clone());
    server.hears_at_last(json!(["pull", 2])).await;
    let status = |seq: Value| json!({"taskId": "t", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}, "seq": seq, "final": false});
    let call = |method: &str, arguments: Value| json!(["stream", ["pipeline", -1, [method], arguments]]);
    for broken in [
        call("onStatusUpdate", json!([status(json!("one"))])),
        call("onStatusUpdate", json!([{"seq": 1, "final": false}])),
        call("onStatusUpdate", json!([[[1, 2]]])),
        call("onTask", json!([])),
        call("onEnd", json!(["whenever", 1])),
    ] {
        server.says(broken.clone()).await;
        assert_eq!(server.heard().await[0], "reject", "{broken}");
    }
    // The last one was an end all the same.
    server.says(call("onStatusUpdate", json!([status(json!(1))]))).await;
    let refused = server.heard().await;
    assert_eq!(
        (&refused[0], &refused[2][2]),
        (&json!("reject"), &json!("onEnd was the last call of this observer"))
    );
    assert_eq!(collector.events().len(), 0);
}

#[tokio::test(flavor = "local")]
async fn events_and_the_end_reach_the_observer_with_the_servers_reason() {
    let (session, mut server) = Played::session().await;
    let collector = Collector::new();
    let _started =
        session.subscribe_to_task(&SubscribeToTaskRequest::new("t"), Cursor::After(4), collector.clone());
    server.hears_at_last(json!(["pull", 2])).await;
    let status = json!({"taskId": "t", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}, "seq": 5, "final": false});
    server.says(json!(["stream", ["pipeline", -1, ["onStatusUpdate"], [status]]])).await;
    server.hears(json!(["resolve", 1, ["undefined"]])).await;
    let gone = json!(["error", "Error", "cut off", null, {"code": -31416, "reason": "GAP", "details": [[{"metadata": {"oldest": "9"}}]]}]);
    server.says(json!(["stream", ["pipeline", -1, ["onEnd"], ["gap", 5, gone]]])).await;
    let end = collector.end().await;
    assert_eq!((end.reason, end.last_seq, collector.numbers()), (EndReason::Gap, 5, vec![5]));
    let fault = end.fault.unwrap();
    assert_eq!((fault.kind(), &*fault.metadata()["oldest"]), (FaultKind::Gap, "9"));
}

#[tokio::test(flavor = "local")]
async fn a_session_that_the_server_aborts_ends_every_call_with_its_reason() {
    let (session, mut server) = Played::session().await;
    let (one, other) = (session.get_task(&get("one")), session.who_am_i());
    let reason = json!({"code": -31429, "reason": "QUOTA"});
    server.says(json!(["abort", ["error", "Error", "too much of it", null, reason]])).await;
    for fault in [soon("an answer", one).await.unwrap_err(), soon("an answer", other).await.unwrap_err()] {
        assert_eq!((fault.kind(), fault.message()), (FaultKind::Quota, "too much of it"));
    }
    let broken = session.ready().await.unwrap_err();
    assert_eq!(broken.kind(), FaultKind::Quota, "it was not there yet");
}

#[tokio::test(flavor = "local")]
async fn a_server_that_calls_faster_than_its_observer_takes_is_cut_off_at_a_bound() {
    let mut limits = WireLimits::default();
    limits.message_bytes = 64 << 10;
    let (session, mut server) = Played::within(limits).await;
    let collector = Collector::gated(Features::default());
    let _started = session.send_streaming("hello", collector.clone());
    server.hears_at_last(json!(["pull", 2])).await;
    let artifact = json!({"artifactId": "a", "parts": [[{"text": "x".repeat(60 << 10)}]]});
    let update = json!({"taskId": "t", "contextId": "c", "artifact": artifact, "seq": 1, "final": false});
    for _ in 0..6 {
        server.says(json!(["stream", ["pipeline", -1, ["onArtifactUpdate"], [update]]])).await;
    }
    let aborted = server.heard().await;
    assert_eq!((&aborted[0], &aborted[1][4]["reason"]), (&json!("abort"), &json!("OVERLOADED")), "{aborted}");
    assert_eq!(session.ready().await.unwrap_err().kind(), FaultKind::Overloaded);
}

#[tokio::test(flavor = "local")]
async fn push_configs_are_asked_for_as_the_binding_says_and_their_answers_are_read() {
    let (session, mut server) = Played::session().await;
    server.hears_at_last(json!(["pull", 1])).await;
    let config = json!({
        "id": "one", "taskId": "t", "url": "https://receiver.example", "token": "hush",
        "authentication": { "scheme": "Bearer", "credentials": "hush" },
    });
    let read = |config: &Value| serde_json::from_value::<TaskPushNotificationConfig>(config.clone()).unwrap();

    let created = session.create_push_config(&read(&config));
    server.hears(json!(["push", ["pipeline", 1, ["createTaskPushNotificationConfig"], [config]]])).await;
    server.says(json!(["resolve", 2, config])).await;
    assert_eq!(soon("an answer", created).await.unwrap(), read(&config));

    let request =
        GetTaskPushNotificationConfigRequest { tenant: None, task_id: "t".into(), id: "one".into() };
    let got = session.get_push_config(&request);
    server
        .hears_at_last(json!(["push", ["pipeline", 1, ["getTaskPushNotificationConfig"], ["t", "one"]]]))
        .await;
    server.says(json!(["resolve", 3, config])).await;
    assert_eq!(soon("an answer", got).await.unwrap(), read(&config));

    let mut request = ListTaskPushNotificationConfigsRequest::new("t");
    (request.page_size, request.page_token) = (Some(1), Some("from here".to_owned()));
    let listed = session.list_push_configs(&request);
    let page = json!({ "taskId": "t", "pageSize": 1, "pageToken": "from here" });
    server
        .hears_at_last(json!(["push", ["pipeline", 1, ["listTaskPushNotificationConfigs"], ["t", page]]]))
        .await;
    server.says(json!(["resolve", 4, { "configs": [[config]], "nextPageToken": "more" }])).await;
    let listed = soon("an answer", listed).await.unwrap();
    assert_eq!(
        (&listed.configs[..], listed.next_page_token.as_deref()),
        (&[read(&config)][..], Some("more"))
    );

    let request =
        DeleteTaskPushNotificationConfigRequest { tenant: None, task_id: "t".into(), id: "one".into() };
    let deleted = session.delete_push_config(&request);
    server
        .hears_at_last(json!(["push", ["pipeline", 1, ["deleteTaskPushNotificationConfig"], ["t", "one"]]]))
        .await;
    server.says(json!(["resolve", 5, ["undefined"]])).await;
    soon("an answer", deleted).await.unwrap();
}
