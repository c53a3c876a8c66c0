//! Cap'n Web as it stands on the wire: text frames in, text frames out.

use std::time::Duration;

use a2a_webcap::agents::Demo;
use a2a_webcap::model::Message;
use serde_json::json;

use crate::doubles::Puppet;
use crate::web::{Called, Web, code, message};
use crate::world::{ALICE, BOB, World, limits, until};

#[tokio::test]
async fn three_frames_that_leave_before_any_answer_stream_a_task() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    web.say(json!(["push", ["pipeline", 0, ["authenticate"], [ALICE]]])).await;
    let send = json!([message("stream 3"), { "metadata": { "a": [[1]] } }, ["export", -1]]);
    web.say(json!(["push", ["pipeline", 1, ["sendMessageStreaming"], send]])).await;
    web.say(json!(["pull", 2])).await;

    let mut methods = Vec::new();
    let (mut seqs, mut finals) = (Vec::new(), 0);
    let mut answered = None;
    let end = loop {
        let frame = web.frame().await;
        match frame[0].as_str().unwrap() {
            "stream" => {
                let called = web.call(&frame[1]);
                web.say(json!(["resolve", called.id, null])).await;
                assert_eq!(called.target, -1);
                if called.path == ["onEnd"] {
                    break called;
                }
                seqs.push(called.arguments[0]["seq"].as_u64().unwrap());
                finals += u32::from(called.arguments[0]["final"] == true);
                methods.push(called.path[0].clone());
            }
            "resolve" => answered = Some(frame),
            _ => panic!("{frame}"),
        }
    };
    assert_eq!(seqs, (0..=6).collect::<Vec<_>>(), "{methods:?}");
    assert_eq!(methods[..2], ["onTask", "onStatusUpdate"]);
    assert_eq!(finals, 1);
    assert_eq!(end.arguments, [json!("completed"), json!(6)]);
    let answered = answered.expect("the send was answered");
    assert_eq!(answered, json!(["resolve", 2, { "task": ["export", -1], "subscription": ["export", -2] }]));
    assert_eq!(
        web.frame().await,
        json!(["release", -1, 1]),
        "the callback is let go when its stream is over"
    );
}

#[tokio::test]
async fn values_and_errors_have_the_shape_of_a2a() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let card = web.ask(0, "getAgentCard", json!([])).await.unwrap();
    assert_eq!(card["name"], "Demo");
    let session = web.authenticate(ALICE).await;
    let sent = web.ask(session, "sendMessage", json!([message("stream 1")])).await.unwrap();
    let id = sent["task"]["id"].clone();
    assert_eq!(sent["task"]["status"]["state"], "TASK_STATE_COMPLETED");
    let task = web.ask(session, "getTask", json!([id, 0])).await.unwrap();
    assert_eq!((&task["id"], task.get("history")), (&id, None));
    let page = web.ask(session, "listTasks", json!([])).await.unwrap();
    assert_eq!((page["tasks"][0][0]["id"].clone(), page["totalSize"].clone()), (id.clone(), json!(1)));

    let error = web.ask(session, "getTask", json!(["nothing"])).await.unwrap_err();
    assert_eq!(code(&error), (-32001, "TASK_NOT_FOUND"));
    let details = &error[4]["details"][0];
    assert_eq!(details[0]["domain"], "a2a-protocol.org", "{error}");
    let error = web.ask(session, "sendMessage", json!([{ "messageId": "x", "parts": 5 }])).await.unwrap_err();
    assert_eq!(code(&error), (-32602, "INVALID_PARAMS"));
    assert!(
        error[4]["details"][0][1]["fieldViolations"][0][0]["field"].as_str().unwrap().starts_with("message")
    );
    let error = web.ask(session, "constructor", json!([])).await.unwrap_err();
    assert_eq!(error, json!(["error", "TypeError", "'constructor' is not a function."]));
    let error = web.ask(session, "getTasks", json!([])).await.unwrap_err();
    assert_eq!(error, json!(["error", "TypeError", "'getTasks' is not a function."]));
    let error = web.ask(0, "getTask", json!([id])).await.unwrap_err();
    assert_eq!(code(&error), (-31401, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn a_wrong_key_fails_the_calls_behind_it_with_its_error() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate("not a key of this server, though long enough").await;
    let error = web.ask(session, "listTasks", json!([])).await.unwrap_err();
    assert_eq!(code(&error), (-31401, "UNAUTHENTICATED"));
    let shown = json!([{ "scheme": "bearer", "credentials": BOB }]);
    let session = web.push(0, "authenticate", shown).await;
    let who = web.ask(session, "whoAmI", json!([])).await.unwrap();
    assert_eq!((&who["subject"], &who["anonymous"]), (&json!("bob"), &json!(false)));
    let old = json!([{ "scheme": "Bearer", "credentials": BOB, "version": "0.2" }]);
    let error = web.ask(0, "authenticate", old).await.unwrap_err();
    assert_eq!(code(&error), (-32009, "VERSION_NOT_SUPPORTED"));
}

#[tokio::test]
async fn every_shape_of_callback_is_called_as_it_is() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let sent = web.ask(session, "sendMessage", json!([message("stream 1")])).await.unwrap();
    let id = sent["task"]["id"].clone();

    // A plain object of functions: what it has is called, and nothing else.
    let members = json!({ "onStatusUpdate": ["export", -1], "onEnd": ["export", -2] });
    web.push(session, "subscribeToTask", json!([id, members, 0])).await;
    for seq in [1, 2] {
        let called = web.called().await;
        assert_eq!((called.target, called.path.len(), &called.arguments[0]["seq"]), (-1, 0, &json!(seq)));
    }
    let called = web.called().await;
    assert_eq!((called.target, &called.arguments[0]["final"]), (-1, &json!(true)));
    let called = web.called().await;
    assert_eq!((called.target, &called.arguments[0]), (-2, &json!("completed")));

    // A function: it shows with the first call, which comes again in another form.
    web.push(session, "subscribeToTask", json!([id, ["export", -3], 0])).await;
    let first = web.called_unanswered().await;
    assert_eq!((first.target, first.path), (-3, vec!["onStatusUpdate".to_owned()]));
    let missing = json!(["error", "TypeError", "'onStatusUpdate' is not a function."]);
    web.say(json!(["reject", first.id, missing])).await;
    let mut seqs = Vec::new();
    loop {
        let called = web.called().await;
        assert_eq!(called.path.len(), 0);
        let event = &called.arguments[0];
        seqs.push(event["seq"].as_u64().unwrap());
        if event["final"] == true {
            assert_eq!(event["statusUpdate"]["seq"], event["seq"]);
            break;
        }
    }
    assert_eq!(seqs, [1, 2, 3, 4]);

    // An object that lacks a method is not called on it again, and loses nothing else.
    web.push(session, "subscribeToTask", json!([id, ["export", -4]])).await;
    for (path, says) in [
        (&["onTask"][..], json!(["error", "TypeError", "'onTask' is not a function."])),
        (&[], json!(["error", "TypeError", "'' is not a function."])),
    ] {
        let called = web.called_unanswered().await;
        assert_eq!(
            (called.target, called.path.iter().map(String::as_str).collect::<Vec<_>>()),
            (-4, path.to_vec())
        );
        web.say(json!(["reject", called.id, says])).await;
    }
    let last = web.called().await;
    assert_eq!((last.path[0].as_str(), &last.arguments[0]["final"]), ("onStatusUpdate", &json!(true)));
    assert_eq!(web.called().await.path, ["onEnd"]);
}

#[tokio::test]
async fn a_callback_that_throws_loses_its_stream_and_nothing_else() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    web.push(session, "sendMessageStreaming", json!([message("stream 3"), ["undefined"], ["export", -1]]))
        .await;
    let called = web.called_unanswered().await;
    web.say(json!(["reject", called.id, ["error", "RangeError", "no more\nat secret"]])).await;
    assert_eq!(web.frame().await, json!(["release", -1, 1]));
    assert!(web.ask(session, "whoAmI", json!([])).await.is_ok());
}

#[tokio::test]
async fn events_wait_for_a_client_that_acknowledges_none() {
    let world = World::of(|builder| {
        let limits = limits(|limits| limits.wire.stream_window_bytes = 2_000);
        builder.agent(Demo).limits(limits)
    })
    .await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let sent = web.ask(session, "sendMessage", json!([message("stream 100")])).await.unwrap();
    let id = sent["task"]["id"].clone();
    let members = json!({ "onArtifactUpdate": ["export", -1], "onEnd": ["export", -2] });
    web.push(session, "subscribeToTask", json!([id, members, 0])).await;
    let mut unanswered = Vec::new();
    let idle = Duration::from_millis(200);
    while let Ok(called) = tokio::time::timeout(idle, web.called_unanswered()).await {
        unanswered.push(called);
    }
    assert!((2..20).contains(&unanswered.len()), "{}", unanswered.len());
    // The end is not said before all of them are handled.
    for called in &unanswered {
        web.say(json!(["resolve", called.id, null])).await;
    }
    let mut chunks = unanswered.len();
    loop {
        let called = web.called().await;
        if called.target == -2 {
            assert_eq!(called.arguments[0], "completed");
            break;
        }
        chunks += 1;
    }
    assert_eq!(chunks, 100);
}

#[tokio::test]
async fn the_end_is_said_only_when_every_event_was_acknowledged() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let sent = web.ask(session, "sendMessage", json!([message("stream 1")])).await.unwrap();
    let members = json!({ "onStatusUpdate": ["export", -1], "onEnd": ["export", -2] });
    web.push(session, "subscribeToTask", json!([sent["task"]["id"], members, 0])).await;
    let events =
        [web.called_unanswered().await, web.called_unanswered().await, web.called_unanswered().await];
    assert_eq!(events[2].arguments[0]["final"], true);
    let early = tokio::time::timeout(Duration::from_millis(100), web.frame()).await;
    assert!(early.is_err(), "two are still being handled: {early:?}");
    for called in [&events[2], &events[0], &events[1]] {
        web.say(json!(["resolve", called.id, null])).await;
    }
    let last = web.called().await;
    assert_eq!((last.target, &last.arguments[0]), (-2, &json!("completed")));
    assert_eq!(
        [web.frame().await, web.frame().await],
        [json!(["release", -1, 1]), json!(["release", -2, 1])]
    );
}

#[tokio::test]
async fn what_one_callback_acknowledges_makes_room_for_another() {
    let limits = limits(|limits| limits.wire.calls = 8);
    let world = World::of(|builder| builder.agent(Demo).limits(limits)).await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let sent = web.ask(session, "sendMessage", json!([message("stream 1")])).await.unwrap();
    let id = &sent["task"]["id"];
    web.push(session, "subscribeToTask", json!([id, { "onStatusUpdate": ["export", -1] }, 0])).await;
    let mut first = Vec::new();
    for _ in 0..3 {
        first.push(web.called_unanswered().await);
    }
    // Half of what may be unanswered on the connection is for streams.
    web.push(session, "subscribeToTask", json!([id, { "onStatusUpdate": ["export", -2] }, 0])).await;
    assert_eq!(web.called_unanswered().await.target, -2);
    let more = tokio::time::timeout(Duration::from_millis(100), web.frame()).await;
    assert!(more.is_err(), "four are unanswered: {more:?}");
    for called in &first {
        web.say(json!(["resolve", called.id, null])).await;
    }
    assert_eq!((web.called_unanswered().await.target, web.called_unanswered().await.target), (-2, -2));
}

#[tokio::test]
async fn dropping_a_subscription_ends_its_calls() {
    let (world, stage) = World::puppet().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let id = web.push(session, "sendMessageStreaming", json!([message("x"), null, ["export", -1]])).await;
    web.pull(id).await;
    let started = web.answer(id).await.unwrap();
    assert_eq!(started["subscription"], json!(["export", -2]));
    web.say(json!(["release", id, 1])).await;
    web.say(json!(["release", -2, 1])).await;
    let end = loop {
        let called = web.called().await;
        if called.path == ["onEnd"] {
            break called;
        }
    };
    assert_eq!(end.arguments[0], "detached");
    assert_eq!(web.frame().await, json!(["release", -1, 1]));
    drop(stage);
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_nothing_behind() {
    let world = World::demo().await;
    for _ in 0..5 {
        let mut web = Web::connect(&world).await;
        let session = web.authenticate(ALICE).await;
        let id = web
            .push(session, "sendMessageStreaming", json!([message("stream 3"), null, ["export", -1]]))
            .await;
        web.pull(id).await;
        web.called_unanswered().await;
    }
    world.forgets_everybody().await;
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_session_with_the_reason() {
    let world = World::demo().await;
    for (frame, says) in [
        ("not json", "not JSON"),
        ("[\"nosuch\"]", "bad RPC message"),
        ("[\"push\",[1,2]]", "unknown special value"),
        ("[\"pull\",99]", "no such"),
        ("[\"release\",0,5]", "held 1 times"),
        ("[\"release\",0,-1]", "held 1 times"),
    ] {
        let mut web = Web::connect(&world).await;
        web.text(frame).await;
        let (last, code, reason) = web.end().await;
        assert_eq!((&last[0], code), (&json!("abort"), 3000), "{frame}: {last}");
        assert!(last[1][2].as_str().unwrap().contains(says), "{frame}: {last}");
        assert_eq!(reason, last[1][2].as_str().unwrap(), "{frame}");
    }
    until("they are counted", || world.server.net_counters().closes().get("protocol") == Some(&6)).await;
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    web.ask(session, "whoAmI", json!([])).await.unwrap();
    let World { server, .. } = world;
    let stopped = tokio::spawn(server.stop());
    let (last, code, _) = web.end().await;
    assert_eq!((&last[0], code), (&json!("abort"), 1001), "{last}");
    assert_eq!(last[1][4]["reason"], "DISCONNECTED", "{last}");
    stopped.await.unwrap();
}

/// A stream whose callback is our object -1: its answer, and what was called up to `onEnd`.
async fn until_end(web: &mut Web) -> Vec<Called> {
    let mut calls = vec![web.called().await];
    while calls.last().is_some_and(|called| called.path != ["onEnd"]) {
        calls.push(web.called().await);
    }
    calls
}

#[tokio::test]
async fn an_answer_that_is_a_message_is_given_to_the_callback_and_leaves_no_task() {
    let (world, mut stage) =
        World::puppet_of(Puppet { may_reply: true, ..Puppet::default() }, |builder| builder).await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let id = web.push(session, "sendMessageStreaming", json!([message("x"), null, ["export", -1]])).await;
    web.pull(id).await;
    let started = web.answer(id).await.unwrap();
    assert_eq!(started["task"], json!(["export", -1]), "answered before it is known");
    let cue = stage.turn().await;
    cue.updates.reply(Message::agent("hello")).await.unwrap();
    let calls = until_end(&mut web).await;
    assert_eq!(calls[0].path, ["onMessage"]);
    assert_eq!(calls[0].arguments[0]["parts"][0][0]["text"], "hello");
    assert_eq!(calls[1].arguments, [json!("completed"), json!(0)]);
    let error = web.ask(-1, "get", json!([])).await.unwrap_err();
    assert_eq!(code(&error), (-31404, "NO_TASK"));
    cue.end();
}

#[tokio::test]
async fn a_task_is_shared_claimed_and_taken_back() {
    let (world, mut stage) = World::puppet().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let id = web.push(session, "sendMessageStreaming", json!([message("x"), null, ["export", -1]])).await;
    let cue = stage.turn().await;
    cue.works().await;
    // Of the answer's task, before anybody has asked for the answer.
    web.pushed += 1;
    web.say(json!(["push", ["pipeline", id, ["task", "share"], ["observe", { "label": "for bob" }]]])).await;
    let shared = i64::try_from(web.pushed).unwrap();
    web.pull(shared).await;
    let shared = web.answer(shared).await.unwrap();
    let grant = shared["grant"][1].as_i64().unwrap();
    let info = web.ask(grant, "info", json!([])).await.unwrap();
    assert_eq!(
        (&info["label"], &info["live"], &info["permissions"]),
        (&json!("for bob"), &json!(true), &json!([["read"]]))
    );

    let mut other = Web::connect(&world).await;
    let claimed = other.push(0, "claim", json!([shared["secret"]])).await;
    let error = other.ask(claimed, "cancel", json!([])).await.unwrap_err();
    assert_eq!(code(&error), (-31403, "FORBIDDEN"));
    let subscribed = other.push(claimed, "subscribe", json!([["export", -1], 0])).await;
    other.pull(subscribed).await;
    other.answer(subscribed).await.unwrap();

    web.ask(grant, "revoke", json!([])).await.unwrap();
    let last = until_end(&mut other).await.pop().unwrap();
    assert_eq!(last.arguments[0], "revoked");
    assert_eq!(code(&last.arguments[2]), (-31410, "REVOKED"));
    let error = other.ask(claimed, "get", json!([])).await.unwrap_err();
    assert_eq!(code(&error), (-31410, "REVOKED"));
    assert_eq!(web.ask(grant, "info", json!([])).await.unwrap()["live"], false);
    cue.end();
}

#[tokio::test]
async fn a_task_that_was_to_be_cancelled_with_its_handle_is_when_the_line_ends() {
    let (world, mut stage) = World::puppet().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let config = json!({ "cancelOnDrop": true });
    let id = web.push(session, "sendMessageStreaming", json!([message("x"), config, ["export", -1]])).await;
    web.pull(id).await;
    web.answer(id).await.unwrap();
    let cue = stage.turn().await;
    cue.works().await;
    drop(web);
    until("the turn is told", || cue.turn.cancellation.is_cancelled()).await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let task = web.ask(session, "getTask", json!([cue.turn.task_id])).await.unwrap();
    assert_eq!(task["status"]["state"], "TASK_STATE_CANCELED");
    let tied = json!([message("y"), config]);
    let error = web.ask(session, "sendMessage", tied).await.unwrap_err();
    assert_eq!(code(&error), (-32602, "INVALID_PARAMS"));
}

#[tokio::test]
async fn a_narrower_session_can_do_less_and_ends_with_its_grant() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let made =
        web.ask(session, "attenuate", json!([{ "readOnly": true, "context": "fresh" }])).await.unwrap();
    let (narrow, grant) = (made["session"][1].as_i64().unwrap(), made["grant"][1].as_i64().unwrap());
    let who = web.ask(narrow, "whoAmI", json!([])).await.unwrap();
    assert!(who["contextId"].is_string(), "{who}");
    let error = web.ask(narrow, "sendMessage", json!([message("x")])).await.unwrap_err();
    assert_eq!(code(&error), (-31403, "FORBIDDEN"));
    // Dropping the last stub of the grant takes back too.
    web.say(json!(["release", grant, 1])).await;
    let error = web.ask(narrow, "whoAmI", json!([])).await.unwrap_err();
    assert_eq!(code(&error), (-31410, "REVOKED"));
    web.ask(session, "close", json!([])).await.unwrap();
    let error = web.ask(session, "listTasks", json!([])).await.unwrap_err();
    assert_eq!(code(&error), (-31410, "REVOKED"));
}

#[tokio::test]
async fn an_anonymous_caller_needs_no_session_where_that_is_allowed() {
    let world = World::of(|builder| builder.agent(Demo).anonymous()).await;
    let mut web = Web::connect(&world).await;
    let sent = web.ask(0, "sendMessage", json!([message("stream 1")])).await.unwrap();
    assert_eq!(sent["task"]["status"]["state"], "TASK_STATE_COMPLETED");
}
