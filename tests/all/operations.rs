//! What operators and their programs ask: whether the server is well, whether it takes work, and its numbers.

use std::time::Duration;

use a2a_webcap::model::{EndReason, GetTaskRequest, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::doubles::{Collector, Puppet};
use crate::origins::{get, status};
use crate::world::{ALICE, BOB, World, limits, soon, until};

const HERE: &str = "Host: localhost:PORT\r\n";

async fn metrics(world: &World) -> Vec<String> {
    let answer = get(world, "/metrics", HERE).await;
    assert_eq!(status(&answer), "200", "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    body.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_line(lines: &[String], wanted: &str) {
    let (name, _) = wanted.rsplit_once(' ').unwrap();
    let found: Vec<_> = lines.iter().filter(|line| line.starts_with(name)).collect();
    assert_eq!(found, [wanted]);
}

#[tokio::test(flavor = "local")]
async fn metrics_tell_calls_by_outcome_tasks_by_state_and_how_long_it_took() {
    let world = World::echo().await;
    let session = world.session(ALICE).await;
    session.send("one").await.unwrap();
    session.send("two").await.unwrap();
    session.get_task(&GetTaskRequest::new("missing")).await.unwrap_err();
    let collector = Collector::bare();
    let started = session.send_streaming("three", collector.clone());
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    drop(started);
    until("the stream's end", || world.counts().feeds == 0).await;
    let lines = metrics(&world).await;
    for line in [
        r#"a2a_calls_total{method="authenticate",outcome="ok"} 1"#,
        // Our client's sends stream inside.
        r#"a2a_calls_total{method="SendStreamingMessage",outcome="ok"} 3"#,
        r#"a2a_calls_total{method="GetTask",outcome="task_not_found"} 1"#,
        r#"a2a_call_duration_seconds_count{method="SendStreamingMessage"} 3"#,
        r#"a2a_tasks{state="completed"} 3"#,
        r#"a2a_tasks{state="working"} 0"#,
        "a2a_websockets 1",
        "a2a_subscriptions 0",
        "a2a_turns_running 0",
        "a2a_writer_queue 0",
    ] {
        assert_line(&lines, line);
    }
    let whole =
        lines.iter().find(|line| line.contains("le=\"+Inf\"") && line.contains("\"SendStreamingMessage\""));
    assert!(whole.is_some_and(|line| line.ends_with(" 3")), "{whole:?}");
    for lag in ["a2a_subscriber_lag_events_count", "a2a_subscriber_lag_events_sum"] {
        let value = lines.iter().find_map(|line| line.strip_prefix(lag)?.trim().parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{lag} {value:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn nothing_that_a_caller_says_becomes_a_label() {
    let world = World::demo().await;
    let session = world.session(BOB).await;
    let message = Message::user("fail MARKER").in_context("MARKER-context");
    session.send(message).await.unwrap();
    session.get_task(&GetTaskRequest::new("MARKER-task")).await.unwrap_err();
    let stranger = world.connection().await.authenticate(&"MARKER".repeat(8));
    stranger.send("hello").await.unwrap_err();
    get(&world, "/MARKER", HERE).await;
    get(&world, "/healthz", "Host: MARKER\r\n").await;
    let lines = metrics(&world).await;
    assert!(!lines.join("\n").to_ascii_uppercase().contains("MARKER"), "{lines:#?}");
    assert_line(&lines, r#"a2a_tasks{state="failed"} 1"#);
    assert_line(&lines, r#"a2a_refused_total{reason="foreign-host"} 1"#);
}

#[tokio::test]
async fn metrics_are_for_this_machine_only_even_behind_a_proxy() {
    let world = World::echo().await;
    for field in ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "X-Real-IP: 192.0.2.1"] {
        let answer = get(&world, "/metrics", &format!("{HERE}{field}\r\n")).await;
        assert_eq!(status(&answer), "403", "{field}");
        assert!(answer.contains("scrape its loopback address"), "{answer}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_server_whose_store_is_full_is_well_but_not_ready() {
    let small = limits(|limits| limits.engine.memory_finished_tasks = 1);
    let (world, mut stage) = World::puppet_of(Puppet::default(), |builder| builder.limits(small)).await;
    assert!(get(&world, "/readyz", HERE).await.contains(r#"{"status":"ready"}"#));
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::bare());
    let cue = stage.turn().await;
    started.ready().await.unwrap();
    let answer = get(&world, "/readyz", HERE).await;
    assert_eq!(status(&answer), "503");
    assert!(answer.contains(r#"{"status":"the store is full"}"#), "{answer}");
    assert_eq!(status(&get(&world, "/healthz", HERE).await), "200");
    cue.end();
    until("the task's end", || world.counts().turns == 0).await;
    assert_eq!(status(&get(&world, "/readyz", HERE).await), "200");
}

/// One request on a line that is kept.
async fn ask(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with('}') {
        let mut part = [0; 1024];
        let length = soon("an answer", stream.read(&mut part)).await.unwrap();
        assert_ne!(length, 0, "the line ended: {answer}");
        answer.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    answer
}

#[tokio::test(flavor = "local")]
async fn ak_h17_health_is_200_while_serving_and_503_while_draining() {
    let patient = limits(|limits| limits.net.drain_timeout = Duration::from_secs(60));
    let (world, mut stage) = World::puppet_of(Puppet::default(), |builder| builder.limits(patient)).await;
    let session = world.session(ALICE).await;
    let running = tokio::task::spawn_local(async move { session.send("go").await });
    let cue = stage.turn().await;
    let address = world.server.local_addr();
    // Each opened before the end begins, as nobody is let in afterwards.
    let mut lines = Vec::new();
    for path in ["/health", "/healthz", "/readyz"] {
        let mut line = TcpStream::connect(address).await.unwrap();
        assert_eq!(status(&ask(&mut line, path).await), "200", "{path}");
        lines.push((path, line));
    }
    let stopping = tokio::spawn(world.server.stop());
    for (path, line) in &mut lines {
        let draining = async {
            loop {
                let answer = ask(line, path).await;
                if status(&answer) == "503" {
                    return answer;
                }
            }
        };
        let answer = soon("the drain", draining).await;
        assert!(answer.contains(r#"{"status":"draining"}"#), "{answer}");
    }
    cue.end();
    let _detached = running.await.unwrap();
    soon("the end", stopping).await.unwrap();
}
