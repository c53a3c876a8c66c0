//! How a client of Cap'n Web says in which version of A2A, and with which extensions, it wants to be spoken to.

use a2a_webcap::agent::{Agent, AgentError, Turn, Updates};
use a2a_webcap::model::{AgentCard, AgentExtension, Message};
use serde_json::{Value, json};

use crate::doubles::Puppet;
use crate::web::{Called, Web, code, message};
use crate::world::{ALICE, World};

/// A session that speaks A2A 0.3.
async fn old(web: &mut Web) -> i64 {
    let shown = json!([{ "scheme": "ApiKey", "credentials": ALICE, "version": "0.3" }]);
    web.push(0, "authenticate", shown).await
}

fn says(text: &str) -> Value {
    let part = json!({ "kind": "text", "text": text });
    json!({ "kind": "message", "messageId": text, "role": "user", "parts": [[part]] })
}

/// The calls up to `onEnd`.
async fn calls(web: &mut Web) -> Vec<Called> {
    let mut calls = vec![web.called().await];
    while calls.last().is_some_and(|called| called.path != ["onEnd"]) {
        calls.push(web.called().await);
    }
    calls
}

#[tokio::test]
async fn values_of_a_0_3_session_have_the_shapes_of_a2a_0_3_both_ways() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = old(&mut web).await;
    let task = web.ask(session, "sendMessage", json!([says("stream 1 0ms")])).await.unwrap();
    assert_eq!((&task["kind"], &task["status"]["state"]), (&json!("task"), &json!("completed")), "{task}");
    assert_eq!(task["history"][0][0]["kind"], "message");
    assert_eq!(
        (&task["history"][0][0]["role"], &task["history"][0][0]["parts"][0][0]["kind"]),
        (&json!("user"), &json!("text"))
    );
    let got = web.ask(session, "getTask", json!([task["id"], 0])).await.unwrap();
    assert_eq!((&got["kind"], &got["id"], got.get("history")), (&json!("task"), &task["id"], None));
    let page = web.ask(session, "listTasks", json!([{ "status": "completed" }])).await.unwrap();
    assert_eq!((&page["tasks"][0][0]["kind"], &page["totalSize"]), (&json!("task"), &json!(1)));
    let card = web.ask(session, "getAgentCard", json!([])).await.unwrap();
    assert_eq!(
        (&card["protocolVersion"], &card["preferredTransport"]),
        (&json!("0.3.0"), &card["additionalInterfaces"][0][0]["transport"])
    );
    let handle = web.push(session, "task", json!([task["id"]])).await;
    assert_eq!(web.ask(handle, "get", json!([])).await.unwrap()["kind"], "task");

    for (wrong, field) in [
        (json!([message("new")]), "message.parts[0].kind"),
        (json!([{ "messageId": "m", "role": "ROLE_USER", "parts": [[]] }]), "message.role"),
        (
            json!([{ "messageId": "m", "role": "user", "parts": [[{ "kind": "file", "file": {} }]] }]),
            "message.parts[0].file",
        ),
        (json!([says("m"), { "blocking": "yes" }]), "config.blocking"),
    ] {
        let error = web.ask(session, "sendMessage", wrong).await.unwrap_err();
        let details = &error[4]["details"][0][1]["fieldViolations"][0][0];
        assert_eq!(details["field"], field, "{error}");
    }
    let error = web.ask(session, "listTasks", json!([{ "status": "TASK_STATE_WORKING" }])).await.unwrap_err();
    assert_eq!(error[4]["details"][0][1]["fieldViolations"][0][0]["field"], "params.status");

    // Another session of the same connection speaks as ever.
    let new = web.authenticate(ALICE).await;
    let same = web.ask(new, "getTask", json!([task["id"]])).await.unwrap();
    assert_eq!((same.get("kind"), &same["status"]["state"]), (None, &json!("TASK_STATE_COMPLETED")));
}

#[tokio::test]
async fn the_callbacks_of_a_0_3_session_get_events_with_kind_and_final() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = old(&mut web).await;
    web.push(session, "sendMessageStreaming", json!([says("stream 1 0ms"), null, ["export", -1]])).await;
    let calls = calls(&mut web).await;
    let shown: Vec<_> = calls[..calls.len() - 1]
        .iter()
        .map(|called| {
            let event = &called.arguments[0];
            (
                called.path[0].as_str(),
                event["kind"].as_str().unwrap(),
                event["seq"].as_u64(),
                event["final"] == true,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("onTask", "task", Some(0), false),
            ("onStatusUpdate", "status-update", Some(1), false),
            ("onStatusUpdate", "status-update", Some(2), false),
            ("onArtifactUpdate", "artifact-update", Some(3), false),
            ("onStatusUpdate", "status-update", Some(4), true),
        ]
    );
    assert_eq!(calls[4].arguments[0]["status"]["state"], "completed");
    assert_eq!(calls[3].arguments[0]["artifact"]["parts"][0][0]["kind"], "text");

    // A function gets the same objects, which say themselves what they are.
    let id = &calls[0].arguments[0]["id"];
    web.push(session, "subscribeToTask", json!([id, ["export", -2], 3])).await;
    let first = web.called_unanswered().await;
    let missing = json!(["error", "TypeError", "'onStatusUpdate' is not a function."]);
    web.say(json!(["reject", first.id, missing])).await;
    let called = web.called().await;
    assert_eq!((called.path.len(), &called.arguments[0]), (0, &calls[4].arguments[0]));
}

#[tokio::test]
async fn an_agents_message_on_a_0_3_session_is_the_result_itself() {
    let (world, mut stage) =
        World::puppet_of(Puppet { may_reply: true, ..Puppet::default() }, |builder| builder).await;
    let mut web = Web::connect(&world).await;
    let session = old(&mut web).await;
    let asked = web.push(session, "sendMessage", json!([says("x")])).await;
    web.pull(asked).await;
    let cue = stage.turn().await;
    assert_eq!(cue.turn.message.text(), "x");
    cue.updates.reply(Message::agent("hello")).await.unwrap();
    let reply = web.answer(asked).await.unwrap();
    assert_eq!((&reply["kind"], &reply["role"]), (&json!("message"), &json!("agent")), "{reply}");
    cue.end();

    web.push(session, "sendMessageStreaming", json!([says("y"), null, ["export", -1]])).await;
    let cue = stage.turn().await;
    cue.updates.reply(Message::agent("hello")).await.unwrap();
    let calls = calls(&mut web).await;
    assert_eq!((calls[0].path[0].as_str(), &calls[0].arguments[0]["kind"]), ("onMessage", &json!("message")));
    cue.end();
}

#[tokio::test]
async fn a_0_3_send_that_does_not_block_is_answered_at_once() {
    let (world, mut stage) = World::puppet().await;
    let mut web = Web::connect(&world).await;
    let session = old(&mut web).await;
    let task = web.ask(session, "sendMessage", json!([says("x"), { "blocking": false }])).await.unwrap();
    assert_eq!(task["status"]["state"], "submitted");
    stage.turn().await.end();
}

#[tokio::test]
async fn an_unknown_version_is_refused_and_the_known_ones_are_named() {
    let world = World::of(|builder| builder.agent(a2a_webcap::agents::Demo).anonymous()).await;
    let mut web = Web::connect(&world).await;
    for version in ["0.2", "1.1", "2", "x", "0.3x"] {
        let shown = json!([{ "scheme": "ApiKey", "credentials": ALICE, "version": version }]);
        let error = web.ask(0, "authenticate", shown).await.unwrap_err();
        assert_eq!(code(&error), (-32009, "VERSION_NOT_SUPPORTED"), "{version}");
        assert!(error[2].as_str().unwrap().ends_with("use 1.0 or 0.3"), "{error}");
        assert_eq!(error[4]["details"][0][0]["metadata"]["supported"], "1.0,0.3", "{error}");
    }
    for (version, means) in [("1.0", "1.0"), ("1.0.1", "1.0"), ("", "1.0"), ("0.3", "0.3"), ("0.3.0", "0.3")]
    {
        let session = web.push(0, "authenticate", json!([{ "version": version }])).await;
        let who = web.ask(session, "whoAmI", json!([])).await.unwrap();
        assert_eq!((&who["version"], &who["anonymous"]), (&json!(means), &json!(true)), "{version}");
    }
    let info = web.ask(0, "info", json!([])).await.unwrap();
    assert_eq!(info["protocolVersions"], json!([["1.0", "0.3"]]));
}

#[tokio::test]
async fn what_a_session_gives_out_speaks_as_it_does_until_it_is_asked_otherwise() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = old(&mut web).await;
    let sent = web.ask(session, "sendMessage", json!([says("stream 1 0ms")])).await.unwrap();
    let narrower = web.ask(session, "attenuate", json!([{ "readOnly": true }])).await.unwrap();
    let narrower = narrower["session"][1].as_i64().unwrap();
    assert_eq!(web.ask(narrower, "getTask", json!([sent["id"]])).await.unwrap()["kind"], "task");
    let task = web.push(session, "task", json!([sent["id"]])).await;
    let shared = web.ask(task, "share", json!(["observe"])).await.unwrap();
    // The other way round, on a session and on a handle, written before any answer.
    let new = web.push(session, "withParameters", json!([{ "version": "1.0" }])).await;
    let got = web.ask(new, "getTask", json!([sent["id"]])).await.unwrap();
    assert_eq!(got["status"]["state"], "TASK_STATE_COMPLETED");
    let new = web.push(task, "withParameters", json!([{ "parameters": { "a2a-version": "1.0" } }])).await;
    assert_eq!(web.ask(new, "get", json!([])).await.unwrap()["status"]["state"], "TASK_STATE_COMPLETED");
    // Who claims says for itself.
    let claimed = web.push(0, "claim", json!([shared["secret"], { "version": "0.3" }])).await;
    assert_eq!(web.ask(claimed, "get", json!([])).await.unwrap()["kind"], "task");
}

/// An agent that knows two extensions and requires one; it says what it was told.
struct Extended;

#[async_trait::async_trait]
impl Agent for Extended {
    fn card(&self) -> AgentCard {
        let mut card = AgentCard::new("Extended", "Requires an extension.", "1.0");
        let extension = |uri: &str, required| AgentExtension {
            uri: Some(uri.to_owned()),
            required,
            ..AgentExtension::default()
        };
        card.capabilities.extensions = vec![extension(REQUIRED, true), extension(OTHER, false)];
        card
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        let told = turn.parameters.get("traceparent").unwrap_or("nothing").to_owned();
        Ok(updates.text("told", told).await?)
    }
}

const REQUIRED: &str = "https://example.org/required";
const OTHER: &str = "https://example.org/other";

#[tokio::test]
async fn extensions_and_parameters_of_a_session_hold_for_its_calls_and_those_of_its_tasks() {
    let world = World::of(|builder| builder.agent(Extended)).await;
    let mut web = Web::connect(&world).await;
    let plain = web.authenticate(ALICE).await;
    let error = web.ask(plain, "sendMessage", json!([message("x")])).await.unwrap_err();
    assert_eq!(code(&error), (-32008, "EXTENSION_SUPPORT_REQUIRED"));
    assert_eq!(web.ask(plain, "whoAmI", json!([])).await.unwrap()["extensions"], json!([[]]));

    let shown = json!([{
        "scheme": "ApiKey",
        "credentials": ALICE,
        "extensions": [["https://example.org/unknown", REQUIRED]],
        "parameters": { "traceparent": "00-1-2-01", "x-other": "ignored" },
    }]);
    let session = web.push(0, "authenticate", shown).await;
    let who = web.ask(session, "whoAmI", json!([])).await.unwrap();
    assert_eq!(who["extensions"], json!([[REQUIRED]]), "those that are active");
    let sent = web.ask(session, "sendMessage", json!([message("y")])).await.unwrap();
    let artifact = &sent["task"]["artifacts"][0][0]["parts"][0][0]["text"];
    assert_eq!(artifact, "00-1-2-01", "the agent is told");
    let task = web.push(session, "task", json!([sent["task"]["id"]])).await;
    assert!(web.ask(task, "get", json!([])).await.is_ok());
    // Others for one call.
    let both = json!([{ "extensions": [[REQUIRED, OTHER]] }]);
    let other = web.push(session, "withParameters", both).await;
    let who = web.ask(other, "whoAmI", json!([])).await.unwrap();
    assert_eq!(who["extensions"], json!([[REQUIRED, OTHER]]));
    let none = web.push(task, "withParameters", json!([{ "extensions": [[]] }])).await;
    let error = web.ask(none, "get", json!([])).await.unwrap_err();
    assert_eq!(code(&error), (-32008, "EXTENSION_SUPPORT_REQUIRED"));
    assert!(web.ask(session, "listTasks", json!([])).await.is_ok(), "the session is as it was");
}

#[tokio::test]
async fn parameters_beyond_their_bounds_are_refused_by_name() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let many: serde_json::Map<_, _> = (0..33).map(|n| (format!("x-{n}"), json!("v"))).collect();
    for (wishes, field) in [
        (json!({ "extensions": [["a,b"]] }), "credentials.extensions[0]"),
        (json!({ "extensions": "a" }), "credentials.extensions"),
        (json!({ "parameters": { "a2a-x": "a\nb" } }), "credentials.parameters"),
        (json!({ "parameters": { "a2a-x": "v".repeat(8_193) } }), "credentials.parameters"),
        (json!({ "parameters": many }), "credentials.parameters"),
        (json!({ "version": 1 }), "credentials.version"),
    ] {
        let error = web.ask(0, "authenticate", json!([wishes])).await.unwrap_err();
        assert_eq!(code(&error), (-32602, "INVALID_PARAMS"));
        assert_eq!(error[4]["details"][0][1]["fieldViolations"][0][0]["field"], field, "{error}");
    }
}
