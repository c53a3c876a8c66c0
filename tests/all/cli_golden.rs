//! Exit codes and error envelopes, byte for byte: one file for each way to fail, in `cli_golden/`.
//!
//! `A2A_WEBCAP_RENEW=1` writes the files anew; what has changed is then to be looked at.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::cli::{err, json, out, program, run};
use crate::world::{ALICE, World, soon};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/all/cli_golden")
}

/// What fails, and how it is called.
struct Case {
    name: &'static str,
    line: Vec<String>,
    key: Option<&'static str>,
}

fn case(name: &'static str, line: &str) -> Case {
    Case { name, line: line.split(' ').map(str::to_owned).collect(), key: Some(ALICE) }
}

/// Runs it in the folder of the files, and compares what it prints.
async fn compare(world: &World, case: Case) {
    let address = world.server.local_addr().to_string();
    let mut command = program();
    command.args(["-o", "json"]).args(&case.line).current_dir(folder()).stdin(Stdio::null());
    if !case.line.iter().any(|word| word == "-a") {
        command.args(["-a", &address]);
    }
    if let Some(key) = case.key {
        command.env("A2ACLI_API_KEY", key);
    }
    let output = soon(case.name, command.output()).await.unwrap();
    let remarks = err(&output);
    assert_eq!(remarks, "", "{}: in json everything is in the envelope", case.name);
    assert_eq!(out(&output).lines().count(), 1, "{}: {}", case.name, out(&output));
    let envelope: Value = json(&output);
    let fields: Vec<_> = envelope["error"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["a2aCode", "code", "hint", "message"], "{}", case.name);
    let code = output.status.code().unwrap();
    let shown = without_ids(out(&output)).replace(&address, "ADDRESS");
    let shown = format!("exit {code}\n{}", without_cursor(&shown));
    let path = folder().join(format!("{}.txt", case.name));
    if std::env::var_os("A2A_WEBCAP_RENEW").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(shown, golden, "{}", case.name);
}

/// The server's ids are of no interest: each is `ID`.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let mut shown = String::new();
    let mut word = String::new();
    for c in text.chars() {
        if c.is_ascii_hexdigit() || c == '-' {
            word.push(c);
            continue;
        }
        shown.push_str(if is_id(&word) { "ID" } else { &word });
        word.clear();
        shown.push(c);
    }
    shown + &word
}

/// How far a stream had come is a matter of time.
fn without_cursor(text: &str) -> String {
    let Some((before, after)) = text.split_once("--after ") else { return text.to_owned() };
    format!("{before}--after N{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[tokio::test]
async fn cli_failures_of_the_tool_have_their_codes_exits_and_envelopes() {
    let world = World::demo().await;
    for case in [
        case("usage-unknown-flag", "send --nope hi"),
        case("usage-nothing-to-send", "send"),
        case("usage-media-type-of-nothing", "send --media-type text/plain hi"),
        case("usage-two-credentials", "send hi --api-key a --bearer b"),
        case("usage-not-an-address", "-a ftp://h card get"),
        case("card-not-found", "-a ./no-such-card.json card get"),
        case("card-not-json", "-a ./not-a-card.json card get"),
        case("card-not-sound", "-a ./unsound-card.json card validate"),
        case("unreachable", "-a 127.0.0.1:1 card get"),
        case("timeout", "send --timeout 2s long"),
        Case { key: None, ..case("credentials-missing", "send hi") },
        Case { key: Some("wrong"), ..case("credentials-wrong", "send hi") },
        case("binding-not-spoken", "-a ./jsonrpc-card.json send hi"),
        case("conformance-needs-bindings", "conformance"),
        case("login-is-not-there", "auth login"),
    ] {
        compare(&world, case).await;
    }
}

#[tokio::test]
async fn cli_failures_of_the_protocol_have_a2as_names() {
    let world = World::demo().await;
    let done = json(&run(&world, &["send", "-o", "json", "hi"]).await);
    let id = done["task"]["id"].as_str().unwrap();
    for case in [
        case("task-not-found", "task get no-such-task"),
        case("task-over", &format!("send --task-id {id} more")),
        case("task-not-cancelable", &format!("task cancel {id}")),
        case("context-of-another-task", &format!("send --task-id {id} --context-id other hi")),
        case("push-not-supported", &format!("task push-config list {id}")),
        case("version-not-supported-by-the-agent", "send --a2a-version 0.3 hi"),
        case("version-not-supported-by-the-tool", "-a ./old-card.json send hi"),
    ] {
        compare(&world, case).await;
    }
}
