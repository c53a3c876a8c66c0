//! The log of the program itself, as a machine reads it.

use a2a_webcap::model::Message;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::cli::{err, json, program, run};
use crate::process::{Served, ask, files};
use crate::world::{World, soon, until};

/// Set to nothing is not set.
const AS_IT_IS: &[(&str, &str)] = &[("A2A_WEBCAP_LOG_FORMAT", "")];

/// Every line of a log, read as JSON.
fn records(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The first record with this message, once it is there.
async fn record(served: &Served, message: &str) -> Value {
    let mut found = Value::Null;
    until(message, || {
        let log = served.log();
        // What is being written may be half there.
        let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
        found = records(whole).into_iter().find(|record| record["message"] == message).unwrap_or_default();
        !found.is_null()
    })
    .await;
    found
}

#[tokio::test]
async fn a_server_without_a_terminal_logs_json_with_the_fields_beside_the_message() {
    let (_scratch, directory) =
        files(&[("a.sh", "#!/bin/sh\nprintf 'it is\\033[31m \"red\" level=ERROR\\n' >&2\necho ok\n")]);
    let agent = format!("exec:{}", directory.join("a.sh").display());
    let served = Served::start_in(&agent, &[], AS_IT_IS).await;
    ask(&served.client().await, Message::user("go")).await;
    let seen = record(&served, "the agent's stderr").await;
    assert_eq!(
        (&seen["level"], &seen["target"]),
        (&"INFO".into(), &"a2a_webcap::agents::process::stderr".into())
    );
    assert_eq!(seen["line"], "it is\u{1b}[31m \"red\" level=ERROR");
    assert_eq!((&seen["agent"], &seen["cut"]), (&"a".into(), &0.into()));
    assert!(a2a_webcap::model::Timestamp::parse(seen["timestamp"].as_str().unwrap()).is_ok(), "{seen}");
}

#[tokio::test]
async fn remarks_of_a_server_are_records_of_its_json_log() {
    let mut served = Served::start_in("echo", &[], AS_IT_IS).await;
    served.signal("-TERM");
    assert!(soon("it stops", served.child.wait()).await.unwrap().success());
    assert!(records(&served.log()).iter().any(|record| {
        record["message"].as_str().is_some_and(|message| message.starts_with("stopping: what runs"))
    }));
}

#[tokio::test]
async fn text_is_logged_where_somebody_asks_for_it_and_keeps_a_peers_words_in_quotes() {
    let served = Served::start("echo", &[]).await;
    let mut line = TcpStream::connect(served.url().trim_start_matches("http://")).await.unwrap();
    line.write_all(b"GET / HTTP/1.1\r\nHost: x level=ERROR\x80\r\n\r\n").await.unwrap();
    let seen = served.logs(&["a request from elsewhere was refused"]).await;
    assert!(seen.contains(r#"INFO a2a_webcap::net::http: a request"#), "{seen}");
    assert!(seen.contains(r#" host="x level=ERROR\\x80""#), "{seen}");
}

#[tokio::test]
async fn a_format_that_is_none_and_a_filter_that_is_none_are_refused_by_name() {
    for (name, value) in [("A2A_WEBCAP_LOG_FORMAT", "xml"), ("A2A_WEBCAP_LOG", "=,=")] {
        let mut command = program();
        command.args(["serve", "--check", "-o", "json"]).env(name, value);
        let output = soon("it is refused", command.output()).await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", err(&output));
        assert!(json(&output)["error"]["message"].as_str().unwrap().starts_with(name), "{name}");
    }
}

#[tokio::test]
async fn a_client_logs_json_when_it_is_asked_to_debug_and_nothing_otherwise() {
    let world = World::demo().await;
    let output = run(&world, &["send", "-o", "json", "--debug", "hi"]).await;
    let connecting = records(err(&output)).into_iter().find(|record| record["message"] == "connecting");
    let connecting = connecting.expect("a record");
    assert_eq!((&connecting["level"], &connecting["authenticated"]), (&"DEBUG".into(), &true.into()));
    assert_eq!(err(&run(&world, &["send", "-o", "json", "hi"]).await), "");
}
