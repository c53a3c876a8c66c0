//! Spans, as a collector gets them from the programs themselves: which is whose child, what they say, and that they agree
//! with both ends.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use a2a_webcap::model::{Message, SendMessageRequest, ServiceParameters, TaskState};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cli::program;
use crate::collector::{Seen, SpanCollector};
use crate::party::{Wire, on_wires};
use crate::process::{Served, files};
use crate::world::{ALICE, soon};
use crate::{capnweb_node, peers};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

on_wires! {
    sockets: [
        what_a_caller_puts_into_a_span_is_bounded,
        ak_o04_each_span_over_two_hops_is_the_child_of_the_one_before,
        ak_o05_both_ends_say_the_same_of_agent_and_message,
        ak_o06_a_failed_call_is_an_error_with_the_same_exception_at_both_ends,
        ak_o08_caller_server_and_metrics_count_the_same_calls_by_outcome,
        ak_o09_a_call_takes_its_caller_as_long_as_the_server_and_little_longer,
        ak_o02_a_server_is_in_the_trace_of_a_caller_in_another_language,
        ak_o04_the_server_its_agents_turn_and_the_program_are_each_the_child_of_the_one_before,
        ak_o06_a_failed_call_of_another_language_is_an_error_with_its_exception_at_both_ends,
        a_turn_says_in_which_state_it_has_left_its_task,
    ]
}

/// A server whose spans are collected.
async fn served(collector: &SpanCollector, agent: &str) -> Served {
    Served::start_in(agent, &["--store", "memory"], &collector.variables()).await
}

/// A command against it, whose spans are collected too.
async fn command(wire: Wire, collector: &SpanCollector, served: &Served, line: &[&str]) -> Output {
    let mut command = program();
    command.args(line).args(["-a", served.url(), "--transport", &wire.to_string()]);
    command.env("A2ACLI_API_KEY", ALICE).envs(collector.variables());
    let ended = soon("the command ends", command.stdin(Stdio::null()).output()).await;
    ended.expect("the program starts")
}

fn is(kind: SpanKind, method: &str) -> impl Fn(&Seen) -> bool {
    move |span: &Seen| span.kind == kind && span.name == method
}

// ---------------------------------------------------------------------------------------------------
// Callers in other languages

/// What a caller in another language has recorded of its calls: Python over Cap'n Proto, JavaScript over Cap'n Web. None
/// where there is no Node.
async fn foreign_caller(wire: Wire, served: &Served) -> Option<Vec<Value>> {
    let mut command = match wire {
        Wire::Capnp | Wire::Pipes => {
            let mut command = peers::python("traced_caller.py").unwrap_or_else(|why| panic!("{why}"));
            command.args(["--key", ALICE, "--url", &format!("{}/capnp", served.url().replace("http", "ws"))]);
            tokio::process::Command::from(command)
        }
        Wire::Capnweb => {
            if !capnweb_node::is_here("a caller in Node") {
                return None;
            }
            let mut command = tokio::process::Command::new("node");
            command.arg(capnweb_node::directory().join("traced-caller.mjs"));
            command.args([&format!("{}/capnweb", served.url()), ALICE]);
            command
        }
    };
    let ended =
        soon("the caller ends", command.kill_on_drop(true).output()).await.expect("the caller starts");
    let said = String::from_utf8_lossy(&ended.stdout);
    let records = serde_json::from_str(&said);
    Some(records.unwrap_or_else(|_| panic!("{said}\n{}", String::from_utf8_lossy(&ended.stderr))))
}

async fn ak_o02_a_server_is_in_the_trace_of_a_caller_in_another_language(wire: Wire) {
    let collector = SpanCollector::start().await;
    let served = served(&collector, "echo").await;
    let Some(records) = foreign_caller(wire, &served).await else { return };
    assert_eq!(records.len(), 2);
    for record in &records {
        let own = record["span"].as_str().unwrap();
        let server = collector.span("the caller's child", |span| span.parent == own).await;
        assert_eq!(server.trace, record["trace"]);
        assert_eq!((server.kind, &*server.name), (SpanKind::Server, record["name"].as_str().unwrap()));
    }
}

async fn ak_o06_a_failed_call_of_another_language_is_an_error_with_its_exception_at_both_ends(wire: Wire) {
    let collector = SpanCollector::start().await;
    let served = served(&collector, "echo").await;
    let Some(records) = foreign_caller(wire, &served).await else { return };
    for (record, is_error) in records.iter().zip([false, true]) {
        assert_eq!(record["status"] == "ERROR", is_error, "{record}");
        let own = record["span"].as_str().unwrap();
        let server = collector.span("the caller's child", |span| span.parent == own).await;
        assert_eq!(server.is_error, is_error);
        let types: Vec<_> = server.exceptions.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(types, Vec::from_iter(record["exception"].as_str()), "of its own and the server's record");
    }
}

// ---------------------------------------------------------------------------------------------------
// Who is whose child

async fn ak_o04_the_server_its_agents_turn_and_the_program_are_each_the_child_of_the_one_before(wire: Wire) {
    let collector = SpanCollector::start().await;
    let served = served(&collector, "exec:printenv TRACEPARENT TRACESTATE").await;
    let session = wire.connect(served.url()).await.authenticate(ALICE);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let parameters = ServiceParameters::from_pairs([("traceparent", &*parent), ("tracestate", "vendor=x")]);
    let session = session.with_parameters(parameters.unwrap());
    soon("an answer", session.send(SendMessageRequest::text("go"))).await.unwrap();
    let server =
        collector.span("the caller's child", |span| span.parent == CALLER && span.name != "GetTask").await;
    let turn = collector.span("the turn", |span| span.parent == server.id).await;
    assert_eq!((turn.kind, &*turn.name), (SpanKind::Internal, "turn"));
    assert_eq!((&*server.trace, &*turn.trace), (TRACE, TRACE));
    let id = turn.attribute("a2a.task.id");
    assert!(!id.is_empty() && id == server.attribute("a2a.task.id"));
    for (name, value) in
        [("agent.name", "default"), ("message.role", "user"), ("message.content_length", "2")]
    {
        assert_eq!(server.attribute(name), value, "{name}");
    }
    let task = soon("the task", session.task(id).get(None)).await.unwrap();
    let said = task.artifacts[0].parts[0].as_text().unwrap();
    assert_eq!(said, format!("00-{TRACE}-{}-01\nvendor=x\n", turn.id), "what the program is told");
}

async fn ak_o04_each_span_over_two_hops_is_the_child_of_the_one_before(wire: Wire) {
    let collector = SpanCollector::start().await;
    let last = served(&collector, "echo").await;
    let script = format!(
        "#!/bin/sh\nexport A2ACLI_API_KEY=\"{ALICE}\"\nexec {} send -a {} --svc-param \"traceparent:$TRACEPARENT\" hop\n",
        env!("CARGO_BIN_EXE_a2a-webcap"),
        last.url()
    );
    let (_scratch, directory) = files(&[("hop.sh", &script)]);
    let first = served(&collector, &format!("exec:{}", directory.join("hop.sh").display())).await;
    let sent = command(wire, &collector, &first, &["send", "go"]).await;
    assert!(sent.status.success(), "{sent:?}");

    let root =
        collector.span("the command", |span| span.name == "a2a-webcap send" && span.parent.is_empty()).await;
    let mut parent = root.clone();
    for (kind, name) in [
        (SpanKind::Client, "SendStreamingMessage"),
        (SpanKind::Server, "SendStreamingMessage"),
        (SpanKind::Internal, "turn"),
        (SpanKind::Client, "SendStreamingMessage"),
        (SpanKind::Server, "SendStreamingMessage"),
        (SpanKind::Internal, "turn"),
    ] {
        let is_next = |span: &Seen| span.parent == parent.id && is(kind, name)(span);
        let next = collector.span("the next hop", is_next).await;
        assert_eq!(next.trace, root.trace);
        parent = next;
    }
}

#[tokio::test]
async fn a_command_is_in_the_trace_that_its_environment_names() {
    let collector = SpanCollector::start().await;
    let served = served(&collector, "echo").await;
    let mut command = program();
    command
        .args(["task", "list", "-a", served.url()])
        .env("A2ACLI_API_KEY", ALICE)
        .envs(collector.variables());
    command.env("TRACEPARENT", format!("00-{TRACE}-{CALLER}-01"));
    assert!(soon("the command ends", command.output()).await.unwrap().status.success());
    let whole = collector.span("the command", |span| span.name == "a2a-webcap task").await;
    assert_eq!((&*whole.trace, &*whole.parent), (TRACE, CALLER));
    let call = collector.span("its call", is(SpanKind::Client, "ListTasks")).await;
    assert_eq!(call.parent, whole.id);
}

// ---------------------------------------------------------------------------------------------------
// What spans say

async fn ak_o05_both_ends_say_the_same_of_agent_and_message(wire: Wire) {
    let collector = SpanCollector::start().await;
    let served = served(&collector, "echo").await;
    let metadata =
        r#"{"tier": "gold", "weight": 1.5, "count": 3, "urgent": true, "nested": {"a": 1}, "none": null}"#;
    let sent = command(wire, &collector, &served, &["send", "grüß dich", "--metadata", metadata]).await;
    assert!(sent.status.success(), "{sent:?}");
    let client = collector.span("the caller's", is(SpanKind::Client, "SendStreamingMessage")).await;
    let server = collector.span("the server's", is(SpanKind::Server, "SendStreamingMessage")).await;
    for (name, value) in [
        ("agent.name", "default"),
        ("message.role", "user"),
        ("message.content_length", "9"),
        ("message.metadata.tier", "gold"),
        ("message.metadata.weight", "1.5"),
        ("message.metadata.count", "3"),
        ("message.metadata.urgent", "true"),
        ("message.metadata.nested", ""),
        ("message.metadata.none", ""),
        ("rpc.system", "a2a"),
        ("rpc.method", "SendStreamingMessage"),
        ("a2a.outcome", "ok"),
    ] {
        assert_eq!((client.attribute(name), server.attribute(name)), (value, value), "{name}");
    }
    assert_eq!((&*client.service, &*server.service), ("a2a-webcap", "a2a-webcap"));
}

async fn what_a_caller_puts_into_a_span_is_bounded(wire: Wire) {
    let collector = SpanCollector::start().await;
    let served = served(&collector, "echo").await;
    let many = (0..100).map(|number| (format!("key-{number:03}"), Value::from("é".repeat(500))));
    let long = [("k".repeat(65), Value::from("x"))];
    let metadata = Value::Object(many.chain(long).collect()).to_string();
    let sent = command(wire, &collector, &served, &["send", "go", "--metadata", &metadata]).await;
    assert!(sent.status.success(), "{sent:?}");
    for kind in [SpanKind::Client, SpanKind::Server] {
        let span = collector.span("it", is(kind, "SendStreamingMessage")).await;
        let of_metadata = span.attributes.iter().filter(|(name, _)| name.starts_with("message.metadata."));
        let lengths: Vec<_> = of_metadata.map(|(_, value)| value.chars().count()).collect();
        assert_eq!(lengths, [256; 16]);
    }
}

async fn a_turn_says_in_which_state_it_has_left_its_task(wire: Wire) {
    let collector = SpanCollector::start().await;
    let served = served(&collector, "demo").await;
    let session = wire.connect(served.url()).await.authenticate(ALICE);
    for (text, state) in [
        ("hello", TaskState::Completed),
        ("fail hush", TaskState::Failed),
        ("reject", TaskState::Rejected),
        ("ask", TaskState::InputRequired),
    ] {
        let message = Message::user(text).in_context(text.replace(' ', "-"));
        soon("an answer", session.send(message)).await.unwrap();
        let is_it =
            |span: &Seen| span.name == "turn" && span.attribute("a2a.context.id") == text.replace(' ', "-");
        let turn = collector.span(text, is_it).await;
        assert_eq!(turn.attribute("a2a.task.state"), state.to_string(), "{text}");
        assert_eq!(turn.is_error, state == TaskState::Failed, "{text}");
        let words = "the agent failed; the task's status says why";
        let told = turn.is_error.then(|| ("TASK_FAILED".to_owned(), words.to_owned()));
        assert_eq!(turn.exceptions, Vec::from_iter(told), "and nothing of the agent's own");
    }
    soon("an answer", session.send(Message::user("message hello").in_context("plain"))).await.unwrap();
    let plain = collector
        .span("answered without a task", |span| {
            span.name == "turn" && span.attribute("a2a.context.id") == "plain"
        })
        .await;
    assert_eq!((plain.attribute("a2a.task.state"), plain.is_error), ("", false));
}

async fn ak_o06_a_failed_call_is_an_error_with_the_same_exception_at_both_ends(wire: Wire) {
    let collector = SpanCollector::start().await;
    let served = served(&collector, "echo").await;
    let failed = command(wire, &collector, &served, &["task", "get", "no-such-task"]).await;
    assert!(!failed.status.success());
    let mut said = Vec::new();
    for kind in [SpanKind::Client, SpanKind::Server] {
        let span = collector.span("it", is(kind, "GetTask")).await;
        assert!(span.is_error);
        assert_eq!(span.attribute("error.type"), "TASK_NOT_FOUND");
        assert_eq!(span.attribute("a2a.task.id"), "no-such-task");
        assert_eq!(span.exceptions.len(), 1);
        said.push(span.exceptions);
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0][0].0, "TASK_NOT_FOUND");
}

// ---------------------------------------------------------------------------------------------------
// Agreement of both ends, and with the metrics

/// `a2a_calls_total` by method and outcome.
async fn counted(served: &Served) -> BTreeMap<(String, String), u64> {
    let address = served.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("the metrics", stream.read_to_string(&mut answer)).await.unwrap();
    let counted = answer.lines().filter_map(|line| {
        let (labels, count) = line.strip_prefix("a2a_calls_total{method=\"")?.split_once("\"} ")?;
        let (method, outcome) = labels.split_once("\",outcome=\"")?;
        Some(((method.to_owned(), outcome.to_owned()), count.parse().unwrap()))
    });
    counted.collect()
}

/// The calls that were seen at one end.
fn calls(spans: &[Seen], kind: SpanKind) -> BTreeMap<(String, String), u64> {
    let mut calls = BTreeMap::new();
    for span in spans.iter().filter(|span| span.kind == kind) {
        *calls.entry(span.call()).or_default() += 1;
    }
    calls
}

async fn ak_o08_caller_server_and_metrics_count_the_same_calls_by_outcome(wire: Wire) {
    let collector = SpanCollector::start().await;
    let served = served(&collector, "demo").await;
    let sent = command(wire, &collector, &served, &["send", "-o", "json", "hello"]).await;
    let sent: Value = serde_json::from_slice(&sent.stdout).unwrap();
    for line in [
        &["task", "delete", sent["task"]["id"].as_str().unwrap()][..],
        &["send", "--stream", "stream 3 1ms"],
        &["send", "--async", "--context", "kept", "hello"],
        &["task", "list"],
        &["task", "get", "no-such-task"],
        &["task", "cancel", "no-such-task"],
        &["task", "get", "another"],
    ] {
        command(wire, &collector, &served, line).await;
    }
    let counted = counted(&served).await;
    let total: u64 = counted.values().sum();
    let total = usize::try_from(total).unwrap();
    collector.count("the server's spans", total, |span| span.kind == SpanKind::Server).await;
    let spans = collector.spans();
    assert_eq!(calls(&spans, SpanKind::Server), counted);
    assert_eq!(calls(&spans, SpanKind::Client), counted);
    let of = |method: &str, outcome: &str| counted.get(&(method.to_owned(), outcome.to_owned())).copied();
    assert_eq!(of("GetTask", "task_not_found"), Some(2));
    assert_eq!(of("CancelTask", "task_not_found"), Some(1));
    assert_eq!(of("DeleteTask", "ok"), Some(1));
    assert_eq!(of("authenticate", "ok"), Some(8));
}

async fn ak_o09_a_call_takes_its_caller_as_long_as_the_server_and_little_longer(wire: Wire) {
    let collector = SpanCollector::start().await;
    // The demo agent may answer with a message, and a streaming send to such an agent is answered before it is in the log.
    let served = served(&collector, "echo").await;
    for line in [&["send", "--async", "stream 5 10ms"][..], &["send", "hello"], &["task", "list"]] {
        assert!(command(wire, &collector, &served, line).await.status.success());
    }
    collector.count("the server's spans", 7, |span| span.kind == SpanKind::Server).await;
    let spans = collector.spans();
    let mut compared = 0;
    for server in spans.iter().filter(|span| span.kind == SpanKind::Server) {
        let client = spans.iter().find(|span| span.id == server.parent).expect("its caller's span");
        let longer = client.took.checked_sub(server.took);
        let longer = longer.unwrap_or_else(|| panic!("the caller was faster: {client:?} {server:?}"));
        assert!(longer < Duration::from_secs(5), "{longer:?}: {client:?} {server:?}");
        compared += 1;
    }
    assert!(compared >= 7, "{spans:#?}");
}
