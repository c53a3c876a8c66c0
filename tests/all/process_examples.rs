//! The example agents, in four languages and both ways: all pass one test.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use a2a_webcap::client::Client;
use a2a_webcap::model::{Message, TaskState};

use crate::cli::Scratch;
use crate::process::{Served, answer, ask};
use crate::world::soon;

/// Whether a program is there. Where it is not, the test is skipped, and says so.
pub(crate) fn has(program: &str) -> bool {
    let is_there =
        Command::new(program).arg(if program == "go" { "version" } else { "--version" }).output().is_ok();
    if !is_there {
        let needed = program == "node" && std::env::var_os("A2A_WEBCAP_NEED_NODE").is_some();
        assert!(!needed, "there is no {program}");
        println!("SKIPPED: there is no {program}");
    }
    is_there
}

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/agents").join(name).display().to_string()
}

/// Builds an example in Go; none if there is no Go.
fn built(name: &str) -> Option<(Scratch, String)> {
    if !has("go") {
        return None;
    }
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let program = scratch.0.join(name.trim_end_matches(".go"));
    let built = Command::new("go").args(["build", "-o"]).arg(&program).arg(example(name)).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = program.display().to_string();
    Some((scratch, program))
}

/// What every example does: it chats, streams, ends when it is canceled, and works on several tasks at once.
async fn is_an_agent(setting: &str) {
    let served = Served::start(setting, &["--store", "memory"]).await;
    let client = served.client().await;
    let card = client.agent_card().await.unwrap();
    assert!(!card.name.is_empty() && !card.skills.is_empty() && !card.supported_interfaces.is_empty());

    let task = ask(&client, Message::user("good morning, world €")).await;
    assert_eq!(task.state(), TaskState::Completed, "{task:?}\n{}", served.log());
    assert_eq!(answer(&task).trim(), "good morning, world €");

    let mut stream = client.stream("one two three four five six seven eight nine ten");
    let mut pieces = Vec::new();
    while let Some(event) = soon("an event", stream.next()).await {
        pieces.extend(event.unwrap().artifact_text().map(|text| text.into_owned()));
    }
    assert!(pieces.len() >= 3, "streamed in pieces: {pieces:?}");
    assert_eq!(pieces.concat().trim(), "one two three four five six seven eight nine ten");

    is_canceled(&client).await;

    let together = (0..20).map(|n| format!("turn number {n} of twenty")).collect::<Vec<_>>();
    let tasks = together.iter().map(|said| ask(&client, Message::user(said)));
    let tasks = futures::future::join_all(tasks).await;
    for (task, said) in tasks.iter().zip(&together) {
        assert_eq!((task.state(), answer(task).trim()), (TaskState::Completed, said.as_str()));
    }
    let log = served.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// A long answer is called off after its first piece; the agent does not go on with it.
async fn is_canceled(client: &Client) {
    let mut stream = client.stream("word ".repeat(5_000).trim());
    let id = loop {
        let event = soon("an event", stream.next()).await.unwrap().unwrap();
        if event.artifact_text().is_some() {
            break event.task_id().unwrap().to_owned();
        }
    };
    let canceled = client.task(id.as_str()).cancel().await.unwrap();
    assert_eq!(canceled.state(), TaskState::Canceled);
    // Longer than the grace after which a program that ignores it would be found out in the log.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
}

#[tokio::test]
async fn plain_in_a_shell() {
    is_an_agent(&format!("exec:{}", example("plain.sh"))).await;
}

#[tokio::test]
async fn plain_in_python() {
    if has("python3") {
        is_an_agent(&format!("exec:python3 {}", example("plain.py"))).await;
    }
}

#[tokio::test]
async fn plain_in_node() {
    if has("node") {
        is_an_agent(&format!("exec:node {}", example("plain.mjs"))).await;
    }
}

#[tokio::test]
async fn plain_in_go() {
    if let Some((_scratch, program)) = built("plain.go") {
        is_an_agent(&format!("exec:{program}")).await;
    }
}

#[tokio::test]
async fn lines_in_python() {
    if has("python3") {
        is_an_agent(&format!("jsonl:python3 {}", example("lines.py"))).await;
    }
}

#[tokio::test]
async fn lines_in_node() {
    if has("node") {
        is_an_agent(&format!("jsonl:node {}", example("lines.mjs"))).await;
    }
}

#[tokio::test]
async fn lines_in_go() {
    if let Some((_scratch, program)) = built("lines.go") {
        is_an_agent(&format!("jsonl:{program}")).await;
    }
}

#[test]
fn every_example_has_at_most_forty_lines() {
    for entry in std::fs::read_dir(example("")).unwrap() {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 40, "{}: {lines} lines", path.display());
    }
}
