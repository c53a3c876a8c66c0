//! The program itself: started as people start it.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::world::{ALICE, World, soon, until};

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2a-webcap"));
    let ours = |name: &str| ["A2A", "OTEL_", "TRACE"].iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").env_remove("XDG_STATE_HOME").kill_on_drop(true);
    command
}

/// Runs a command line against a server, as Alice.
pub(crate) async fn run(world: &World, line: &[&str]) -> Output {
    let mut command = program();
    command.args(line).args(["-a", &world.url()]).env("A2ACLI_API_KEY", ALICE).stdin(Stdio::null());
    soon("the command ends", command.output()).await.expect("the program starts")
}

pub(crate) fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The lines of a task's ids, with which every text about it begins.
pub(crate) fn ids(text: &str) -> String {
    let ids: Vec<&str> = text.lines().take(2).collect();
    assert!(ids[0].starts_with("Task ID: ") && ids[1].starts_with("Context ID: "), "{text}");
    ids.iter().map(|line| format!("{line}\n")).collect()
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", out(output)))
}

/// A directory of the test's own, removed afterwards.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("a2a-webcap-cli-{}", a2a_webcap::model::fresh_id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `serve` on a free port, and what it printed at start.
pub(crate) async fn serve(state: &Scratch) -> (Child, Vec<String>) {
    serve_with(state, &[]).await
}

pub(crate) async fn serve_with(state: &Scratch, options: &[&str]) -> (Child, Vec<String>) {
    let mut command = program();
    command.arg("serve").env("A2A_WEBCAP_STATE_DIR", &state.0);
    if !options.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.args(options);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = Vec::new();
    while !printed.last().is_some_and(|line: &String| line.contains("--stream")) {
        printed.push(soon("a line", lines.next_line()).await.unwrap().expect("it goes on"));
    }
    (child, printed)
}

#[tokio::test]
async fn the_command_that_serve_prints_gives_a_streamed_answer_and_the_key_is_shown_once() {
    let state = Scratch::new();
    let (mut server, printed) = serve(&state).await;
    let text = printed.join("\n");
    let key = std::fs::read_to_string(state.0.join("dev-key")).unwrap();
    assert!(text.contains(key.trim()), "the first start shows the key");
    let store = state.0.join("store");
    let durable = format!("Store: {}; every answered send and every seen event is on disk", store.display());
    assert!(text.contains(&durable) && store.is_dir(), "{text}");

    let command = printed.last().unwrap().trim();
    let arguments = command.split_once(" send ").expect("a send").1;
    let arguments: Vec<_> = arguments.split_whitespace().map(|word| word.trim_matches('"')).collect();
    let output = program().arg("send").args(arguments).env("A2A_WEBCAP_STATE_DIR", &state.0).output();
    let output = soon("the command ends", output).await.unwrap();
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).contains("You said: hello"), "{}", out(&output));
    assert!(out(&output).trim_end().ends_with("State: completed"), "{}", out(&output));
    assert!(!err(&output).contains(key.trim()));
    server.kill().await.unwrap();

    let (_server, printed) = serve(&state).await;
    assert!(!printed.join("\n").contains(key.trim()), "later starts only say where it is");
}

#[tokio::test]
async fn serve_stops_in_order_when_it_is_told_to_and_its_store_is_free_then() {
    let state = Scratch::new();
    for signal in ["-TERM", "-INT"] {
        let (mut server, _) = serve(&state).await;
        let id = server.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        assert!(soon("it stops", server.wait()).await.unwrap().success(), "{signal}");
    }
    let (_server, printed) = serve(&state).await;
    assert!(!printed.iter().any(|line| line.starts_with("Recovered")), "{printed:?}");
}

#[tokio::test]
async fn a_server_says_aloud_that_memory_forgets_and_leaves_no_store_behind() {
    let state = Scratch::new();
    let (_server, printed) = serve_with(&state, &["--store", "memory"]).await;
    let memory = "Store: memory; tasks are lost when the server stops".to_owned();
    assert!(printed.contains(&memory), "{printed:?}");
    assert!(!state.0.join("store").exists());
}

#[tokio::test]
async fn a_second_server_on_the_same_store_is_refused_and_told_which_option_to_use() {
    let state = Scratch::new();
    let (_first, _) = serve(&state).await;
    let mut second = program();
    second.args(["serve", "--listen", "127.0.0.1:0", "-o", "json"]).env("A2A_WEBCAP_STATE_DIR", &state.0);
    let refused = soon("it is refused", second.output()).await.unwrap();
    let error = &json(&refused)["error"];
    assert_eq!((refused.status.code(), &error["code"]), (Some(2), &"A2A_WEBCAP_ERR_STORE".into()));
    let store = state.0.join("store").display().to_string();
    assert!(error["message"].as_str().unwrap().contains(&store), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--store DIR"), "{error}");

    let other = state.0.join("other");
    let (_other, printed) = serve_with(&state, &["--store", other.to_str().unwrap()]).await;
    assert!(printed.iter().any(|line| line.contains(other.to_str().unwrap())), "{printed:?}");
}

#[tokio::test]
async fn a_send_gives_the_protocols_own_types_in_json() {
    let world = World::demo().await;
    let one = run(&world, &["send", "-o", "json", "stream 3 0"]).await;
    assert_eq!(json(&one)["task"]["status"]["state"], "TASK_STATE_COMPLETED");
    assert_eq!(err(&one), "");

    let many = run(&world, &["send", "-o", "json", "--stream", "stream 3 0"]).await;
    let lines: Vec<Value> = out(&many).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> =
        lines.iter().map(|line| line.as_object().unwrap().keys().next().unwrap().as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "artifactUpdate").count(), 3, "{kinds:?}");
    assert_eq!(lines.last().unwrap()["statusUpdate"]["status"]["state"], "TASK_STATE_COMPLETED");

    let message = run(&world, &["send", "-o", "json", "message hi"]).await;
    assert_eq!(json(&message)["message"]["parts"][0]["text"], "hi");
}

#[tokio::test]
async fn text_has_results_on_one_stream_and_remarks_on_the_other() {
    let world = World::demo().await;
    let output = run(&world, &["send", "--stream", "stream 2 0"]).await;
    let (stdout, ids) = (out(&output), ids(out(&output)));
    let artifact = "Artifact stream:\nchunk 1 of 2\nchunk 2 of 2\n\n";
    let expected = format!("{ids}State: submitted\nState: working\n{artifact}{ids}State: completed\n");
    assert_eq!((stdout, err(&output)), (&*expected, ""));

    let asked = run(&world, &["send", "--stream", "ask"]).await;
    let (stdout, remarks) = (out(&asked), err(&asked));
    assert!(stdout.contains("State: input-required\nMessage:\n"), "{stdout}");
    assert!(remarks.starts_with("the agent asks for input: ") && remarks.lines().count() == 1, "{remarks}");
}

#[tokio::test]
async fn a_task_that_asks_is_reported_with_the_command_that_answers_it() {
    let world = World::demo().await;
    let asked = run(&world, &["send", "ask"]).await;
    assert!(asked.status.success() && out(&asked).contains("State: input-required"), "{}", out(&asked));
    let id = out(&asked).lines().next().unwrap().strip_prefix("Task ID: ").unwrap().to_owned();
    assert!(err(&asked).contains(&format!("send --task-id {id} ")), "{}", err(&asked));
    let answered = run(&world, &["send", "--task-id", &id, "Dana"]).await;
    assert!(out(&answered).contains("You said: Dana"), "{}", out(&answered));
    assert!(out(&answered).contains(&format!("Task ID: {id}\n")));
}

#[tokio::test]
async fn a_task_can_be_followed_waited_for_listed_and_canceled() {
    let world = World::demo().await;
    let started = run(&world, &["send", "--async", "-o", "json", "long"]).await;
    let task = json(&started);
    let id = task["task"]["id"].as_str().unwrap().to_owned();
    let listed = run(&world, &["task", "list", "-o", "json", "--status", "working"]).await;
    assert_eq!(json(&listed)["totalSize"], 1);
    let waiting = async { run(&world, &["task", "get", "--wait", "-o", "json", &id]).await };
    let canceling = async {
        until("somebody waits", || world.counts().feeds > 0).await;
        run(&world, &["task", "cancel", &id]).await
    };
    let (waited, canceled) = futures::future::join(waiting, canceling).await;
    assert!(out(&canceled).contains("State: canceled"), "{}", out(&canceled));
    assert_eq!(json(&waited)["status"]["state"], "TASK_STATE_CANCELED");

    let replayed = run(&world, &["task", "subscribe", &id, "--after", "0", "--stream", "-o", "json"]).await;
    let lines: Vec<&str> = out(&replayed).lines().collect();
    assert!(lines.first().unwrap().contains("TASK_STATE_SUBMITTED"), "{lines:?}");
    assert!(lines.last().unwrap().contains("TASK_STATE_CANCELED"), "{lines:?}");
}

#[tokio::test]
async fn a_finished_task_can_be_deleted_and_is_gone_then() {
    let world = World::demo().await;
    let asked = json(&run(&world, &["send", "-o", "json", "ask"]).await);
    let id = asked["task"]["id"].as_str().unwrap();
    let early = run(&world, &["task", "delete", "-o", "json", id]).await;
    assert_eq!(
        (early.status.code(), &json(&early)["error"]["code"]),
        (Some(1), &"UnsupportedOperationError".into())
    );
    run(&world, &["task", "cancel", id]).await;
    let deleted = run(&world, &["task", "delete", id]).await;
    assert_eq!((deleted.status.code(), out(&deleted)), (Some(0), &*format!("Deleted: {id}\n")));
    let again = run(&world, &["task", "delete", "-o", "json", id]).await;
    assert_eq!(json(&again)["error"]["code"], "TaskNotFoundError");
    assert_eq!(json(&run(&world, &["task", "list", "-o", "json"]).await)["totalSize"], 0);
}

#[tokio::test]
async fn failures_have_codes_and_envelopes() {
    let world = World::demo().await;
    let missing = run(&world, &["-o", "json", "task", "get", "no-such-task"]).await;
    assert_eq!(
        (missing.status.code(), &json(&missing)["error"]["code"]),
        (Some(1), &"TaskNotFoundError".into())
    );
    assert_eq!(json(&missing)["error"]["a2aCode"], -32001);

    let rejected = run(&world, &["-o", "json", "--api-key", "wrong", "send", "hello"]).await;
    assert_eq!(rejected.status.code(), Some(4));
    assert_eq!(json(&rejected)["error"]["code"], "A2ACLI_ERR_AUTH_FAILED");

    let late = run(&world, &["-o", "json", "send", "--timeout", "2s", "long"]).await;
    assert_eq!((late.status.code(), &json(&late)["error"]["code"]), (Some(5), &"A2ACLI_ERR_TIMEOUT".into()));
    assert!(json(&late)["error"]["hint"].as_str().unwrap().contains("task subscribe"), "{}", out(&late));

    let failed = run(&world, &["send", "fail no paper"]).await;
    assert_eq!(failed.status.code(), Some(0), "what the agent decides is no failure of the tool");
    assert!(err(&failed).contains("warning: the task is failed"), "{}", err(&failed));
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let world = World::demo().await;
    let mut command = program();
    command.args(["send", "--stream", "-o", "json", "burst 50000", "-a", &world.url()]);
    let mut child =
        command.env("A2ACLI_API_KEY", ALICE).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 64];
    child.stdout.take().unwrap().read_exact(&mut first).await.unwrap();
    let output = soon("it ends", child.wait_with_output()).await.unwrap();
    assert_eq!((output.status.code(), err(&output)), (Some(0), ""));
}

#[tokio::test]
async fn ctrl_c_cancels_nothing_and_says_how_to_go_on() {
    let world = World::demo().await;
    let mut command = program();
    command.args(["send", "--stream", "long", "-a", &world.url()]).env("A2ACLI_API_KEY", ALICE);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("the agent works", || world.counts().events >= 2 && world.counts().feeds == 1).await;
    // The first events are on their way to it; it has to have read one to know the task.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = soon("it ends", child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(
        err(&output).contains("task subscribe ") && err(&output).contains("--after "),
        "{}",
        err(&output)
    );
    let stdout = out(&output);
    let last = format!("{}State: working\n", ids(stdout));
    assert!(stdout.len() > last.len() && stdout.ends_with(&last), "the end tells it again: {stdout}");
    assert_eq!(world.counts().turns, 1, "the task goes on");
}
