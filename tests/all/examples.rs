//! Every example runs, and prints what it promises.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use a2a_webcap::client::{Client, Credentials};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::world::{ALICE, soon};

/// Cargo builds the examples beside the tests.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("this test has a path");
    let profile = tests.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps");
    profile.join("examples").join(name)
}

fn run(name: &str) -> Output {
    Command::new(example(name)).output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn prints(name: &str, lines: &[&str]) {
    let output = run(name);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{out}\n{err}", output.status);
    for line in lines {
        assert!(out.contains(line), "{name} printed no {line:?}:\n{out}\n{err}");
    }
}

#[test]
fn embed_answers_from_within_another_program() {
    prints("embed", &["completed: Echo: hello"]);
}

#[test]
fn stream_into_callback_prints_what_its_object_is_told() {
    prints("stream_into_callback", &["chunk 5 of 5", "the stream is Completed after event 8, 5 chunks"]);
}

#[test]
fn pipeline_needs_one_round_trip_and_gets_the_first_error_of_a_chain() {
    prints("pipeline", &["three calls are on their way", "and with a wrong key: UNAUTHENTICATED"]);
}

#[test]
fn share_and_revoke_gives_and_takes_back() {
    let lines = ["TASK_NOT_FOUND", "with alice's secret: the task is", "FORBIDDEN", "took it back: REVOKED"];
    prints("share_and_revoke", &lines);
}

#[test]
fn resume_sees_every_event_once() {
    prints("resume", &["(cut)", "Resumed", "33 events, each of them once"]);
}

#[tokio::test]
async fn hello_agent_serves_an_agent_of_its_own() {
    let mut server = tokio::process::Command::new(example("hello_agent"))
        .arg("127.0.0.1:0")
        .env("A2A_WEBCAP_DEV_KEY", ALICE)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the example starts");
    let mut lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
    let first = soon("its first line", lines.next_line()).await.unwrap().expect("a line");
    let url = first.strip_prefix("listening on ").expect("where it listens");
    let client = Client::builder(url).credentials(Credentials::api_key(ALICE)).connect().await.unwrap();
    let mut text = String::new();
    let mut stream = client.stream("world");
    while let Some(event) = soon("an event", stream.next()).await {
        text.extend(event.unwrap().artifact_text().as_deref());
    }
    assert_eq!(text, "Hello, world!");
}
