//! Streams of events over Cap'n Web: what a client gets that passes no callback.

use std::time::Duration;

use a2a_webcap::agents::Demo;
use serde_json::{Value, json};

use crate::doubles::Puppet;
use crate::web::{Called, Web, code, message};
use crate::world::{ALICE, World, limits, until};

/// A send without a callback: the number of the server's stream, and the answer.
async fn begin(web: &mut Web, session: i64, arguments: Value) -> (i64, Value) {
    let id = web.push(session, "sendMessageStreaming", arguments).await;
    web.pull(id).await;
    assert_eq!(web.frame().await, json!(["pipe"]));
    web.heard += 1;
    let pipe = i64::try_from(web.heard).unwrap();
    let answer = web.answer(id).await.unwrap();
    assert_eq!(answer["events"], json!(["readable", pipe]));
    (pipe, answer)
}

/// What is written up to the end of the stream.
async fn written(web: &mut Web, pipe: i64) -> Vec<Called> {
    let mut calls = vec![web.called().await];
    while calls.last().is_some_and(|called| called.path == ["write"]) {
        calls.push(web.called().await);
    }
    assert!(calls.iter().all(|called| called.target == pipe));
    calls
}

#[tokio::test]
async fn a_send_without_a_callback_is_answered_with_a_stream_that_closes_after_the_final_event() {
    let (world, mut stage) = World::puppet().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let (pipe, answer) = begin(&mut web, session, json!([message("x")])).await;
    assert_eq!((&answer["task"][0], &answer["subscription"][0]), (&json!("export"), &json!("export")));
    let cue = stage.turn().await;
    cue.works().await;
    cue.says("a").await;
    cue.updates.complete().await.unwrap();
    cue.end();
    let calls = written(&mut web, pipe).await;
    let (close, chunks) = calls.split_last().unwrap();
    assert_eq!((close.path[0].as_str(), close.arguments.len()), ("close", 0));
    let shown: Vec<_> = chunks
        .iter()
        .map(|called| {
            let element = called.arguments[0].as_object().unwrap();
            let content = element.keys().find(|key| !["seq", "final"].contains(&key.as_str())).unwrap();
            (content.as_str(), element["seq"].as_u64().unwrap(), element["final"] == true)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("task", 0, false),
            ("statusUpdate", 1, false),
            ("statusUpdate", 2, false),
            ("artifactUpdate", 3, false),
            ("statusUpdate", 4, true),
        ]
    );
    assert_eq!(web.frame().await, json!(["release", pipe, 1]), "the writing end is let go");
    until("nothing is left of the stream", || world.counts().feeds == 0).await;
}

#[tokio::test]
async fn a_stream_resumes_after_a_number_on_the_session_and_on_a_handle() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let sent = web.ask(session, "sendMessage", json!([message("stream 3 0ms")])).await.unwrap();
    let id = &sent["task"]["id"];
    let task = web.push(session, "task", json!([id])).await;
    for (target, method, arguments) in
        [(session, "subscribeToTask", json!([id, ["undefined"], 4])), (task, "subscribe", json!([null, 4]))]
    {
        web.push(target, method, arguments).await;
        assert_eq!(web.frame().await, json!(["pipe"]));
        web.heard += 1;
        let pipe = i64::try_from(web.heard).unwrap();
        let calls = written(&mut web, pipe).await;
        let seqs: Vec<_> =
            calls.iter().map(|called| called.arguments.first().map(|one| one["seq"].clone())).collect();
        assert_eq!(seqs, [Some(json!(5)), Some(json!(6)), None], "{method}");
        assert_eq!(web.frame().await, json!(["release", pipe, 1]));
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_the_stream_at_its_window() {
    let world = World::of(|builder| {
        builder.agent(Demo).limits(limits(|limits| limits.wire.stream_window_bytes = 2_000))
    })
    .await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let (pipe, _) = begin(&mut web, session, json!([message("burst 500")])).await;
    let mut unanswered = Vec::new();
    while let Ok(called) = tokio::time::timeout(Duration::from_millis(200), web.called_unanswered()).await {
        unanswered.push(called);
    }
    assert!((2..20).contains(&unanswered.len()), "{}", unanswered.len());
    for called in &unanswered {
        web.say(json!(["resolve", called.id, ["undefined"]])).await;
    }
    let mut seqs: Vec<_> = unanswered.iter().map(|called| called.arguments[0]["seq"].clone()).collect();
    let rest = written(&mut web, pipe).await;
    let (close, rest) = rest.split_last().unwrap();
    seqs.extend(rest.iter().map(|called| called.arguments[0]["seq"].clone()));
    assert_eq!(seqs, (0..=502).map(Value::from).collect::<Vec<_>>(), "all, in order, none twice");
    assert_eq!(close.path, ["close"]);
}

#[tokio::test]
async fn a_reader_that_has_cancelled_loses_its_subscription_at_once_and_not_its_task() {
    let (world, mut stage) = World::puppet().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    begin(&mut web, session, json!([message("x")])).await;
    let cue = stage.turn().await;
    // What the npm library says of a write to a stream whose reader has cancelled.
    let (first, second) = (web.called_unanswered().await, web.called_unanswered().await);
    assert_eq!((&second.arguments[0]["seq"], world.counts().feeds), (&json!(1), 1));
    web.say(json!(["reject", first.id, ["error", "TypeError", "the stream was cancelled"]])).await;
    until("the stream is over, with nothing more to write", || world.counts().feeds == 0).await;
    cue.works().await;
    assert!(!cue.turn.cancellation.is_cancelled());
    cue.end();
}

#[tokio::test]
async fn a_stream_that_is_taken_back_breaks_off_before_the_revoke_is_answered() {
    let (world, mut stage) = World::puppet().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let narrower = web.ask(session, "attenuate", json!([{}])).await.unwrap();
    let (narrow, grant) = (narrower["session"][1].as_i64().unwrap(), narrower["grant"][1].as_i64().unwrap());
    let (pipe, _) = begin(&mut web, narrow, json!([message("x")])).await;
    let cue = stage.turn().await;
    // Nothing of what was written is acknowledged.
    let (first, second) = (web.called_unanswered().await, web.called_unanswered().await);
    assert_eq!((first.path[0].as_str(), second.path[0].as_str()), ("write", "write"));
    let revoke = web.push(grant, "revoke", json!([])).await;
    web.pull(revoke).await;
    let last = web.called_unanswered().await;
    assert_eq!((last.target, last.path[0].as_str()), (pipe, "abort"));
    assert_eq!(code(&last.arguments[0]), (-31410, "REVOKED"));
    let error = &last.arguments[0][4];
    assert_eq!((&error["end"], &error["lastSeq"]), (&json!("revoked"), &json!(1)));
    assert_eq!(web.answer(revoke).await, Ok(json!(["undefined"])), "after the stream");
    cue.end();
}

#[tokio::test]
async fn a_dropped_subscription_breaks_its_stream_off_and_says_where_to_resume() {
    let (world, mut stage) = World::puppet().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let (pipe, answer) = begin(&mut web, session, json!([message("x")])).await;
    let cue = stage.turn().await;
    let _ = (web.called().await, web.called().await);
    web.say(json!(["release", answer["subscription"][1], 1])).await;
    web.say(json!(["release", 2, 1])).await;
    let last = web.called().await;
    assert_eq!((last.target, last.path[0].as_str()), (pipe, "abort"));
    assert_eq!(
        (&last.arguments[0][4]["end"], &last.arguments[0][4]["lastSeq"]),
        (&json!("detached"), &json!(1))
    );
    assert_eq!(web.frame().await, json!(["release", pipe, 1]));
    cue.end();
}

#[tokio::test]
async fn an_agents_message_is_the_one_element_of_a_stream() {
    let (world, mut stage) =
        World::puppet_of(Puppet { may_reply: true, ..Puppet::default() }, |builder| builder).await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let (pipe, _) = begin(&mut web, session, json!([message("x")])).await;
    let cue = stage.turn().await;
    cue.updates.reply(a2a_webcap::model::Message::agent("hello")).await.unwrap();
    cue.end();
    let calls = written(&mut web, pipe).await;
    assert_eq!(calls.len(), 2);
    let element = &calls[0].arguments[0];
    assert_eq!((&element["message"]["role"], &element["final"]), (&json!("ROLE_AGENT"), &json!(true)));
}

#[tokio::test]
async fn a_refused_call_leaves_no_stream_behind() {
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let id = web.push(session, "subscribeToTask", json!(["nothing"])).await;
    web.pull(id).await;
    let frames = [web.frame().await, web.frame().await, web.frame().await];
    web.heard += 1;
    assert!(frames.contains(&json!(["pipe"])) && frames.contains(&json!(["release", 1, 1])), "{frames:?}");
    let refused = frames.iter().find(|frame| frame[0] == "reject").unwrap();
    assert_eq!((&refused[1], code(&refused[2])), (&json!(id), (-32001, "TASK_NOT_FOUND")));
}

#[tokio::test]
async fn a_client_that_goes_while_it_reads_leaves_nothing_behind() {
    let world = World::demo().await;
    for _ in 0..3 {
        let mut web = Web::connect(&world).await;
        let session = web.authenticate(ALICE).await;
        begin(&mut web, session, json!([message("stream 3 0ms")])).await;
        web.called_unanswered().await;
    }
    world.forgets_everybody().await;
}
