//! What an operator does with a store: look at it, copy it, and meet its end.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::cli::{Scratch, err, json, out, program, serve, serve_with};
use crate::world::soon;

/// Runs a command that is about the store in this state directory.
async fn run(state: &Scratch, line: &[&str]) -> Output {
    let mut command = program();
    command.args(line).env("A2A_WEBCAP_STATE_DIR", &state.0).stdin(Stdio::null());
    soon("the command ends", command.output()).await.expect("the program starts")
}

/// Sends messages to a server, one after the other. The ids of their tasks.
async fn send(state: &Scratch, printed: &[String], texts: &[&str]) -> Vec<String> {
    let address = address(printed);
    let mut ids = Vec::new();
    for text in texts {
        let sent = run(state, &["send", "-o", "json", "-a", address, text]).await;
        ids.push(json(&sent)["task"]["id"].as_str().expect("a task").to_owned());
    }
    ids
}

fn address(printed: &[String]) -> &str {
    printed[0].strip_prefix("Listening: ").expect("where it listens")
}

async fn stop(mut server: Child) {
    let id = server.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(soon("it stops", server.wait()).await.unwrap().success());
}

/// The first segment of the log that holds more than this many bytes.
fn segment(store: &Path, more_than: u64) -> PathBuf {
    let entries = std::fs::read_dir(store.join("log")).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found.into_iter().find(|path| path.metadata().unwrap().len() > more_than).expect("a segment")
}

#[tokio::test]
async fn doctor_looks_at_a_store_that_a_server_uses_and_tells_no_secret() {
    let state = Scratch::new();
    std::fs::create_dir_all(&state.0).unwrap();
    let digest = "ab".repeat(32);
    let settings = state.0.join("settings.toml");
    let text = format!("agent = \"echo\"\n[[keys]]\nsubject = \"dana\"\nsha256 = \"{digest}\"\n");
    std::fs::write(&settings, text).unwrap();
    let settings = settings.to_str().unwrap();
    let absent = run(&state, &["doctor", "-o", "json"]).await;
    assert_eq!((absent.status.code(), &json(&absent)["store"]["state"]), (Some(0), &"absent".into()));
    assert!(!state.0.join("store").exists(), "it changes nothing");

    let (server, printed) = serve(&state).await;
    send(&state, &printed, &["burst 10"]).await;
    let looked = run(&state, &["doctor", "-o", "json", "--config", settings]).await;
    let report = json(&looked);
    assert_eq!((looked.status.code(), err(&looked)), (Some(0), ""), "{}", out(&looked));
    assert_eq!((&report["durability"], &report["store"]["state"]), (&"durable".into(), &"sound".into()));
    assert_eq!((&report["store"]["inUse"], &report["store"]["format"]), (&true.into(), &1.into()));
    assert!(report["store"]["frames"].as_u64() > Some(0) && report["store"]["bytes"].as_u64() > Some(0));
    assert!(report["disk"]["freeBytes"].as_u64() > report["disk"]["reserveBytes"].as_u64());
    let (median, worst) = (&report["fsync"]["medianMicros"], &report["fsync"]["worstMicros"]);
    assert!(median.as_u64().unwrap() <= worst.as_u64().unwrap() && worst.as_u64() > Some(0), "{report}");
    assert_eq!(report["settings"]["agent"], "echo");
    assert_eq!(report["settings"]["keys"][0]["subject"], "dana");
    assert_eq!(report["settings"]["limits"]["net"]["connections"], 10_000);
    assert!(!out(&looked).contains(&digest), "a digest lets a reader test guesses");

    stop(server).await;
    let text = run(&state, &["doctor"]).await;
    for line in ["In use: no", "Torn tail: none", "Store state: sound: every checksum is right"] {
        assert!(out(&text).lines().any(|shown| shown == line), "{line} is not in\n{}", out(&text));
    }
}

#[tokio::test]
async fn a_damaged_store_is_a_problem_for_doctor_and_refused_by_serve() {
    let state = Scratch::new();
    let (server, printed) = serve(&state).await;
    send(&state, &printed, &["burst 10", "burst 10"]).await;
    stop(server).await;
    let segment = segment(&state.0.join("store"), 400);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[300] ^= 0x40;
    std::fs::write(&segment, &bytes).unwrap();

    let looked = run(&state, &["doctor", "-o", "json"]).await;
    let report = json(&looked);
    assert_eq!((looked.status.code(), &report["store"]["state"]), (Some(1), &"unusable".into()));
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(report["problems"][0].as_str().unwrap().contains(name), "{report}");
    let refused = run(&state, &["serve", "--listen", "127.0.0.1:0", "-o", "json"]).await;
    let error = &json(&refused)["error"];
    assert_eq!((refused.status.code(), &error["code"]), (Some(2), &"A2A_WEBCAP_ERR_STORE".into()));
    assert!(error["message"].as_str().unwrap().contains("damaged"), "{error}");
    assert_eq!(std::fs::read(&segment).unwrap(), bytes, "nothing was changed");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_with_both_versions() {
    let state = Scratch::new();
    stop(serve(&state).await.0).await;
    let file = state.0.join("store/FORMAT");
    let text = std::fs::read_to_string(&file).unwrap().replace("format 1\n", "format 77\n");
    let (rest, _) = text.rsplit_once("\nsum ").unwrap();
    std::fs::write(&file, format!("{rest}\nsum {:08x}\n", crc32fast::hash(rest.as_bytes()))).unwrap();
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["backup", "/nonexistent/copy"]] {
        let refused = run(&state, command).await;
        assert_eq!((refused.status.code(), out(&refused)), (Some(2), ""));
        assert!(
            err(&refused).contains("format 77") && err(&refused).contains("up to 1"),
            "{}",
            err(&refused)
        );
    }
}

#[tokio::test]
async fn a_backup_that_was_made_while_a_server_writes_becomes_a_store() {
    let state = Scratch::new();
    let (mut server, printed) = serve(&state).await;
    let ids = send(&state, &printed, &["burst 100", "ask"]).await;
    let mut writing = program();
    writing.args(["send", "--async", "-a", address(&printed), "stream 100000 1ms"]);
    soon("it is sent", writing.env("A2A_WEBCAP_STATE_DIR", &state.0).output()).await.unwrap();
    let (copy, other) = (state.0.join("copy"), state.0.join("other"));
    let (copy, other) = (copy.to_str().unwrap(), other.to_str().unwrap());
    let made = run(&state, &["backup", copy, "-o", "json"]).await;
    assert_eq!(made.status.code(), Some(0), "{}", out(&made));
    assert!(json(&made)["frames"].as_u64() >= Some(4) && json(&made)["bytes"].as_u64() > Some(100));
    let again = run(&state, &["backup", copy]).await;
    assert_eq!(again.status.code(), Some(2), "the target is not empty");
    assert!(err(&again).contains("is not empty"), "{}", err(&again));
    assert_eq!(run(&state, &["restore", copy]).await.status.code(), Some(2), "nor is the store in use");
    server.kill().await.unwrap();

    let restored = run(&state, &["restore", copy, "--store", other]).await;
    assert_eq!((restored.status.code(), &fields(&restored)["From"]), (Some(0), &copy.into()));
    let (_server, printed) = serve_with(&state, &["--store", other]).await;
    for id in ids {
        let got = run(&state, &["task", "get", "-a", address(&printed), &id]).await;
        assert_eq!(got.status.code(), Some(0), "{}", err(&got));
    }
}

/// `Label: value` lines.
fn fields(output: &Output) -> Value {
    let pairs = out(output).lines().filter_map(|line| line.split_once(": "));
    pairs
        .map(|(label, value)| (label.to_owned(), Value::from(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The system refuses every write beyond a file size, as a broken disk would: there is no space to wait for.
#[tokio::test]
async fn a_server_whose_store_fails_ends_at_once_with_one_line_and_starts_again_on_what_was_answered() {
    let state = Scratch::new();
    let mut limited = Command::new("bash");
    let program_path = env!("CARGO_BIN_EXE_a2a-webcap");
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" serve --listen 127.0.0.1:0";
    limited
        .args(["-c", script, program_path])
        .env("A2A_WEBCAP_STATE_DIR", &state.0)
        .env("A2A_WEBCAP_LOG", "off");
    limited.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = limited.spawn().unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(server.stdout.take().unwrap()));
    let printed = vec![soon("a line", lines.next_line()).await.unwrap().expect("it starts")];
    let ids = send(&state, &printed, &["burst 3"]).await;
    let mut sending = program();
    sending.args(["send", "--stream", "-a", address(&printed), "burst 100000"]);
    sending.env("A2A_WEBCAP_STATE_DIR", &state.0).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let mut sending = sending.spawn().unwrap();
    let ended = soon("the server ends", server.wait_with_output()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", err(&ended));
    assert!(started.elapsed() < Duration::from_secs(15), "it does not drain");
    let said: Vec<&str> = err(&ended).lines().collect();
    assert!(said[0].starts_with("error: the store has failed"), "{said:?}");
    assert!(said.len() == 2 && said[1].starts_with("hint: "), "{said:?}");
    sending.kill().await.unwrap();

    let (_server, printed) = serve(&state).await;
    let got = run(&state, &["task", "get", "-a", address(&printed), &ids[0]]).await;
    assert_eq!(got.status.code(), Some(0), "{}", err(&got));
}

#[tokio::test]
async fn whoever_asks_for_events_that_retention_has_taken_is_told_so_and_what_to_do() {
    let state = Scratch::new();
    std::fs::create_dir_all(&state.0).unwrap();
    let settings = state.0.join("settings.toml");
    let text =
        "[limits.engine]\nretention-interval = 0.1\n[limits.engine.retention.completed]\nevents-age = 0.0\n";
    std::fs::write(&settings, text).unwrap();
    let (_server, printed) = serve_with(&state, &["--config", settings.to_str().unwrap()]).await;
    let id = send(&state, &printed, &["burst 5"]).await.remove(0);
    let subscribe =
        ["task", "subscribe", "-o", "json", "-a", address(&printed), "--after", "1", "--stream", &id];
    let told = async {
        loop {
            let told = run(&state, &subscribe).await;
            if told.status.code() != Some(0) {
                return told;
            }
        }
    };
    let told = soon("the events go", told).await;
    let error = &json(&told)["error"];
    assert_eq!((told.status.code(), &error["code"]), (Some(1), &"A2A_WEBCAP_ERR_GAP".into()));
    assert!(error["message"].as_str().unwrap().contains("not kept any more"), "{error}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("task get") && hint.contains("kept is 7: --after 6"), "{error}");
    let got = run(&state, &["task", "get", "-o", "json", "-a", address(&printed), &id]).await;
    assert_eq!(json(&got)["artifacts"][0]["parts"].as_array().unwrap().len(), 5, "the task is whole");
}

#[tokio::test]
async fn commands_about_a_store_want_one_that_is_on_disk() {
    let state = Scratch::new();
    let refused = run(&state, &["backup", "copy", "--store", "memory"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("./memory"), "{}", err(&refused));
    let missing = run(&state, &["backup", "copy"]).await;
    assert_eq!(missing.status.code(), Some(2));
    assert!(err(&missing).contains(state.0.join("store").to_str().unwrap()), "{}", err(&missing));
    assert!(!Path::new("copy").exists());
}
