//! HTTP batches: a whole session in one POST.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::doubles::Puppet;
use crate::web::{code, message};
use crate::world::{ALICE, World, limits, soon};

/// The status and the body that a POST is answered with.
pub(crate) async fn post(world: &World, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(world.server.local_addr()).await.unwrap();
    let length = body.len();
    let head = "POST /capnweb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: text/plain;charset=UTF-8\r\n";
    stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn frames(body: &str) -> Vec<Value> {
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(frames: &[Value]) -> String {
    frames.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// The answer to a call among the frames.
fn of(frames: &[Value], id: i64) -> &Value {
    frames.iter().find(|frame| frame[1] == id).unwrap_or_else(|| panic!("no answer to {id}: {frames:?}"))
}

#[tokio::test]
async fn pipelined_calls_are_answered_in_one_round() {
    let world = World::demo().await;
    let asked = lines(&[
        json!(["push", ["pipeline", 0, ["authenticate"], [ALICE]]]),
        json!(["push", ["pipeline", 1, ["sendMessage"], [message("stream 1")]]]),
        json!(["push", ["pipeline", 1, ["getTask"], [["pipeline", 2, ["task", "id"]]]]]),
        json!(["push", ["pipeline", 1, ["getTask"], ["nothing"]]]),
        json!(["pull", 3]),
        json!(["push", ["pipeline", 1, ["whoAmI"], []]]),
        json!(["push", ["pipeline", 5, ["subject"]]]),
        json!(["pull", 6]),
        json!(["pull", 4]),
    ]);
    for body in [asked.clone(), format!("{asked}\n"), asked.replace('\n', "\r\n")] {
        let (status, body) = post(&world, &body).await;
        let frames = frames(&body);
        assert_eq!((status, frames.len()), (200, 3), "{body}");
        assert_eq!(of(&frames, 3)[2]["status"]["state"], "TASK_STATE_COMPLETED");
        assert_eq!(of(&frames, 6), &json!(["resolve", 6, "alice"]));
        assert_eq!(
            (&of(&frames, 4)[0], code(&of(&frames, 4)[2])),
            (&json!("reject"), (-32001, "TASK_NOT_FOUND"))
        );
    }
    assert_eq!(post(&world, "").await, (200, String::new()));
    world.forgets_everybody().await;
}

#[tokio::test]
async fn garbage_is_answered_with_400_and_what_is_wrong() {
    let world = World::demo().await;
    for body in ["garbage", "[\"pull\",1]", "[\"push\",[\"pipeline\",0,[\"info\"],[]]]\n{", "{}", "[]"] {
        let (status, answer) = post(&world, body).await;
        let frames = frames(&answer);
        assert_eq!((status, &frames.last().unwrap()[0]), (400, &json!("abort")), "{body}: {answer}");
    }
    world.forgets_everybody().await;
}

#[tokio::test]
async fn a_callback_in_a_batch_is_refused_at_once() {
    let world = World::demo().await;
    let (status, body) = post(
        &world,
        &lines(&[
            json!(["push", ["pipeline", 0, ["authenticate"], [ALICE]]]),
            json!(["push", ["pipeline", 1, ["sendMessageStreaming"], [message("x"), null, ["export", -1]]]]),
            json!(["pull", 2]),
        ]),
    )
    .await;
    let frames = frames(&body);
    assert_eq!((status, code(&of(&frames, 2)[2])), (200, (-32004, "UNSUPPORTED_OPERATION")), "{body}");
    assert_eq!(world.counts().live_tasks, 0, "nothing was begun");
}

#[tokio::test]
async fn what_is_not_answered_by_the_deadline_is_said_and_goes_on() {
    let limits = limits(|limits| limits.net.request_timeout = Duration::from_millis(400));
    let (world, mut stage) = World::puppet_of(Puppet::default(), |builder| builder.limits(limits)).await;
    let asked = lines(&[
        json!(["push", ["pipeline", 0, ["authenticate"], [ALICE]]]),
        json!(["push", ["pipeline", 1, ["sendMessage"], [message("x")]]]),
        json!(["pull", 2]),
        json!(["push", ["pipeline", 1, ["whoAmI"], []]]),
        json!(["pull", 3]),
    ]);
    let (status, body) = post(&world, &asked).await;
    let frames = frames(&body);
    assert_eq!((status, &of(&frames, 3)[2]["subject"]), (200, &json!("alice")), "{body}");
    let last = frames.last().unwrap();
    assert_eq!((&last[0], code(&last[1])), (&json!("abort"), (-31408, "DEADLINE_EXCEEDED")), "{body}");
    let cue = stage.turn().await;
    assert!(!cue.turn.cancellation.is_cancelled());
    cue.works().await;
    cue.end();
    world.forgets_everybody().await;
}
