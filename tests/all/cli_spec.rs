//! What the a2a-cli specification (0.2) asks of the tool, one promise each. `docs/cli.md` has the table.

use std::process::{Output, Stdio};

use a2a_webcap::client::{GrantPolicy, TaskRole};
use a2a_webcap::model::{EndReason, Message, TaskState};
use futures::future::join;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::cli::{Scratch, err, ids, json, out, program, run};
use crate::foreign::{Foreign, TASK};
use crate::world::{ALICE, World, soon, until};

/// Runs a command line as Alice, with some of the environment.
async fn run_with(world: &World, line: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = program();
    command.args(line).env("A2ACLI_AGENT_CARD", world.url()).env("A2ACLI_API_KEY", ALICE);
    command.envs(environment.iter().copied()).stdin(Stdio::null());
    soon("the command ends", command.output()).await.unwrap()
}

async fn run_with_input(world: &World, line: &[&str], input: &str) -> Output {
    let mut command = program();
    command.args(line).args(["-a", &world.url()]).env("A2ACLI_API_KEY", ALICE);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    soon("the command ends", child.wait_with_output()).await.unwrap()
}

/// The server's card in a file, changed.
async fn card_file(world: &World, scratch: &Scratch, change: impl FnOnce(&mut Value)) -> String {
    let mut card = json(&run(world, &["card", "get", "-o", "json"]).await);
    change(&mut card);
    std::fs::create_dir_all(&scratch.0).unwrap();
    let path = scratch.0.join("card.json");
    std::fs::write(&path, card.to_string()).unwrap();
    path.display().to_string()
}

fn task_id(output: &Output) -> String {
    json(output)["task"]["id"].as_str().expect("a task").to_owned()
}

#[tokio::test]
async fn cli_card_get_reads_a_host_a_url_and_a_file_and_uses_it_to_talk() {
    let (world, scratch) = (World::demo().await, Scratch::new());
    let path = card_file(&world, &scratch, |_| {}).await;
    let url = format!("{}/.well-known/agent-card.json", world.url());
    let host = world.server.local_addr().to_string();
    let file_url = format!("file://{path}");
    let mut seen = Vec::new();
    for reference in [&host, &url, &path, &file_url] {
        let output = run_with(&world, &["-a", reference, "card", "get", "-o", "json"], &[]).await;
        seen.push(json(&output));
        let sent = run_with(&world, &["-a", reference, "send", "hi"], &[]).await;
        assert!(out(&sent).contains("State: completed"), "{reference}: {}", err(&sent));
    }
    assert!(seen.iter().all(|card| *card == seen[0]), "{seen:?}");
    assert_eq!(seen[0]["supportedInterfaces"][0]["protocolVersion"], "1.0");
}

#[tokio::test]
async fn cli_card_get_shows_fields_that_this_version_does_not_know() {
    let (world, scratch) = (World::demo().await, Scratch::new());
    let path = card_file(&world, &scratch, |card| card["fromTheFuture"] = 1.into()).await;
    let output = run_with(&world, &["-a", &path, "card", "get", "--validate", "-o", "json"], &[]).await;
    assert_eq!(json(&output)["fromTheFuture"], 1);
    let valid = run_with(&world, &["-a", &path, "card", "validate"], &[]).await;
    assert_eq!((valid.status.code(), out(&valid)), (Some(0), "Valid: yes\nName: Demo\n"));
}

#[tokio::test]
async fn cli_async_gives_the_ids_at_once_and_wait_polls_or_follows_to_the_end() {
    let world = World::demo().await;
    let started = run(&world, &["send", "--async", "-o", "json", "stream 20 50ms"]).await;
    let task = &json(&started)["task"];
    assert!(task["contextId"].is_string() && task["status"]["state"] != "TASK_STATE_COMPLETED", "{task}");
    let id = task_id(&started);
    for how in [&["--poll-interval", "50ms"][..], &[]] {
        let line = [&["task", "get", "--wait", "-o", "json", &id][..], how].concat();
        assert_eq!(json(&run(&world, &line).await)["status"]["state"], "TASK_STATE_COMPLETED", "{how:?}");
    }
}

#[tokio::test]
async fn cli_waits_stop_when_the_agent_asks_however_they_wait() {
    let world = World::demo().await;
    for how in [&["--poll-interval", "50ms"][..], &[]] {
        let output = run(&world, &[&["send", "ask"][..], how].concat()).await;
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains("State: input-required"), "{}", out(&output));
        assert!(err(&output).contains("send --task-id "), "{}", err(&output));
    }
}

/// Runs a command line against a server that is not ours, and asks nobody who they are.
async fn run_at(foreign: &Foreign, line: &[&str]) -> Output {
    let mut command = program();
    command.args(line).args(["-a", foreign.url()]).stdin(Stdio::null());
    soon("the command ends", command.output()).await.unwrap()
}

const OFTEN: [&str; 2] = ["--poll-interval", "20ms"];

#[tokio::test(flavor = "local")]
async fn cli_a_task_in_the_unspecified_state_is_reported_as_it_is_and_waited_for() {
    let unspecified = Foreign::start(&[TaskState::Unspecified]).await;
    let seen = run_at(&unspecified, &["task", "get", TASK]).await;
    assert!(out(&seen).ends_with("State: unspecified\n"), "{}{}", out(&seen), err(&seen));
    let seen = json(&run_at(&unspecified, &["send", "--async", "-o", "json", "hi"]).await);
    assert_eq!(seen["task"]["status"]["state"], "TASK_STATE_UNSPECIFIED");

    for line in [&["send", "hi"][..], &["task", "get", "--wait", TASK]] {
        let waiting = Foreign::start(&[TaskState::Unspecified]).await;
        let late = run_at(&waiting, &[line, &OFTEN, &["--timeout", "1s", "-o", "json"]].concat()).await;
        assert_eq!(json(&late)["error"]["code"], "A2ACLI_ERR_TIMEOUT", "{line:?}");
        assert!(late.status.code() == Some(5) && waiting.looked() > 3, "{line:?}: {}", waiting.looked());

        let states = [TaskState::Unspecified, TaskState::Unspecified, TaskState::InputRequired];
        let asking = Foreign::start(&states).await;
        let asked = run_at(&asking, &[line, &OFTEN].concat()).await;
        assert!(out(&asked).contains("State: input-required\n"), "{line:?}: {}", err(&asked));
        assert!((3..=4).contains(&asking.looked()), "{line:?}: {}", asking.looked());
    }
}

#[tokio::test(flavor = "local")]
async fn cli_a_wait_whose_stream_fails_asks_for_the_state_until_the_task_stops() {
    let send = &["send", "hi", "-o", "json"][..];
    let wait = &["task", "get", "--wait", TASK, "-o", "json"][..];
    for (line, end) in [(send, EndReason::Failed), (wait, EndReason::Failed), (send, EndReason::Gap)] {
        let states = [TaskState::Working, TaskState::Completed];
        let foreign = Foreign::whose_streams_end(end, &states).await;
        let output = run_at(&foreign, line).await;
        let answer = json(&output);
        let task = answer.get("task").unwrap_or(&answer);
        assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{line:?} {end:?}: {}", err(&output));
        assert!(err(&output).ends_with("; asking for the state instead\n"), "{}", err(&output));
        assert_eq!((foreign.streams(), foreign.looked()), (1, 3), "two looks to the end, one for the answer");
    }
    let taken_back = Foreign::whose_streams_end(EndReason::Revoked, &[TaskState::Completed]).await;
    let output = run_at(&taken_back, send).await;
    assert_eq!((output.status.code(), taken_back.looked()), (Some(1), 0), "{}", out(&output));
}

#[tokio::test]
async fn cli_an_agent_that_does_not_stream_is_polled_and_stream_still_gives_json_lines() {
    let (world, scratch) = (World::demo().await, Scratch::new());
    let path = card_file(&world, &scratch, |card| card["capabilities"]["streaming"] = false.into()).await;
    let line = ["-a", &path, "send", "--stream", "-o", "json", "--poll-interval", "50ms", "stream 3 10ms"];
    let output = run_with(&world, &line, &[]).await;
    assert_eq!(out(&output).lines().count(), 1, "{}", out(&output));
    assert_eq!(json(&output)["task"]["status"]["state"], "TASK_STATE_COMPLETED");
    let id = task_id(&output);
    let refused = run_with(&world, &["-a", &path, "task", "subscribe", &id, "-o", "json"], &[]).await;
    assert_eq!(json(&refused)["error"]["code"], "UnsupportedOperationError");
}

#[tokio::test]
async fn cli_a_message_without_a_task_ends_a_stream_cleanly() {
    let world = World::demo().await;
    let output = run(&world, &["send", "--stream", "-o", "json", "message hi"]).await;
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(0), 1));
    assert_eq!(json(&output)["message"]["parts"][0]["text"], "hi");
}

#[tokio::test]
async fn cli_parts_are_sent_in_their_order_with_the_types_that_were_said() {
    let world = World::demo().await;
    let line = [
        "send",
        "--verbose",
        "--text",
        "one",
        "--data",
        "-",
        "--text",
        "two",
        "--media-type",
        "text/markdown",
    ];
    let output = run_with_input(&world, &line, r#"{"n": 1}"#).await;
    let stdout = out(&output);
    let expected = "Sent, part 1 (text):\none\n\nSent, part 2 (data):\n{\n  \"n\": 1\n}\n\n\
                    Sent, part 3 (text, text/markdown):\ntwo\n\n";
    assert!(stdout.contains(expected), "{stdout}\n{}", err(&output));
}

#[tokio::test]
async fn cli_a_context_groups_tasks_and_a_task_goes_on_by_its_id_alone() {
    let world = World::demo().await;
    let first = run(&world, &["send", "-o", "json", "ask"]).await;
    let (id, context) = (task_id(&first), json(&first)["task"]["contextId"].as_str().unwrap().to_owned());
    let second = json(&run(&world, &["send", "-o", "json", "--context-id", &context, "hi"]).await);
    assert_eq!(second["task"]["contextId"], context.as_str());
    assert_ne!(second["task"]["id"], id.as_str());
    let answered = json(&run(&world, &["send", "-o", "json", "--task-id", &id, "Dana"]).await);
    assert_eq!((&answered["task"]["id"], &answered["task"]["contextId"]), (&id.into(), &context.into()));
}

#[tokio::test]
async fn cli_a_rejected_task_id_starts_no_task_and_points_at_debug() {
    let world = World::demo().await;
    let output = run(&world, &["send", "-o", "json", "--task-id", "no-such-task", "hi"]).await;
    let error = &json(&output)["error"];
    assert_eq!((output.status.code(), &error["code"]), (Some(1), &"TaskNotFoundError".into()));
    assert!(error["hint"].as_str().unwrap().contains("--debug"), "{error}");
    assert_eq!(json(&run(&world, &["task", "list", "-o", "json"]).await)["totalSize"], 0);
}

#[tokio::test]
async fn cli_nothing_is_remembered_between_two_runs() {
    let (world, home) = (World::demo().await, Scratch::new());
    std::fs::create_dir_all(&home.0).unwrap();
    let home_path = home.0.to_str().unwrap();
    run_with(&world, &["send", "ask"], &[("HOME", home_path)]).await;
    assert_eq!(std::fs::read_dir(&home.0).unwrap().count(), 0, "no file is left");
}

#[tokio::test]
async fn cli_history_comes_when_asked_for_and_artifacts_always() {
    let world = World::demo().await;
    let id = task_id(&run(&world, &["send", "-o", "json", "hello"]).await);
    let without = run(&world, &["task", "get", &id]).await;
    assert!(
        out(&without).contains("Artifact answer:") && !out(&without).contains("History"),
        "{}",
        out(&without)
    );
    let with = run(&world, &["task", "get", "--history", "5", &id]).await;
    assert!(out(&with).contains("History user:\nhello\n\n"), "{}", out(&with));
}

#[tokio::test]
async fn cli_json_lines_end_with_the_error_when_a_stream_fails() {
    let world = World::demo().await;
    let output = run(&world, &["send", "--stream", "-o", "json", "--timeout", "2s", "long"]).await;
    let lines: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["error"]["code"], "A2ACLI_ERR_TIMEOUT");
    assert!(lines.len() > 1 && output.status.code() == Some(5), "{lines:?}");
}

#[tokio::test]
async fn cli_streamed_text_is_fields_and_blocks_that_never_stand_in_each_other() {
    let (world, mut stage) = World::puppet().await;
    let playing = async {
        let cue = stage.turn().await;
        cue.works().await;
        cue.says("one\u{1b}[m").await;
        cue.updates.state(TaskState::Working, None).await.unwrap();
        cue.says(" two").await;
        cue.updates.progress("half").await.unwrap();
        cue.says(" three\n").await;
        cue.updates.complete_with(Message::agent("done")).await.unwrap();
        cue.end();
    };
    let (output, ()) = join(run(&world, &["send", "--stream", "go"]), playing).await;
    let (stdout, ids) = (out(&output), ids(out(&output)));
    let expected = format!(
        "{ids}State: submitted\nState: working\nArtifact text:\none\u{fffd}[m two\n\n\
         State: working\nMessage:\nhalf\n\nArtifact text:\n three\n\n\
         {ids}State: completed\nMessage:\ndone\n\n"
    );
    assert_eq!((stdout, err(&output)), (&*expected, ""));

    let id = ids.lines().next().unwrap().strip_prefix("Task ID: ").unwrap();
    let over = run(&world, &["task", "subscribe", id]).await;
    let whole = out(&over).strip_suffix(&format!("{ids}State: completed\n")).expect("the end tells it again");
    assert_eq!(whole, out(&run(&world, &["task", "get", id]).await), "and what was said is said once");
    let last = format!("{ids}State: completed\nMessage:\ndone\n\n");
    for (after, expected) in [("6", format!("{ids}Artifact text:\n three\n\n{last}")), ("7", last.clone())] {
        assert_eq!(out(&run(&world, &["task", "subscribe", id, "--after", after]).await), expected);
    }
}

#[tokio::test]
async fn cli_a_list_is_filtered_paged_and_given_one_task_a_line() {
    let world = World::demo().await;
    for _ in 0..3 {
        run(&world, &["send", "hi"]).await;
    }
    let page =
        json(&run(&world, &["task", "list", "-o", "json", "--limit", "2", "--status", "completed"]).await);
    let token = page["nextPageToken"].as_str().unwrap();
    assert_eq!((page["tasks"].as_array().unwrap().len(), page["totalSize"].as_u64()), (2, Some(3)));
    let mut line = vec!["task", "list", "-o", "json", "--stream", "--limit", "2", "--status", "completed"];
    line.extend(["--page-token", token]);
    let rest = run(&world, &line).await;
    assert_eq!(out(&rest).lines().count(), 1, "{}", out(&rest));
    assert_eq!(json(&rest)["status"]["state"], "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn cli_a_download_writes_each_artifact_once_and_not_over_another_file() {
    let (world, scratch) = (World::demo().await, Scratch::new());
    let id = task_id(&run(&world, &["send", "-o", "json", "stream 2 0"]).await);
    let dir = scratch.0.to_str().unwrap();
    let saved = json(&run(&world, &["task", "download", &id, "--dir", dir, "-o", "json"]).await);
    let path = saved["saved"][0]["path"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "chunk 1 of 2\nchunk 2 of 2\n");
    let again = run(&world, &["task", "download", &id, "--dir", dir]).await;
    assert_eq!(again.status.code(), Some(2));
    assert!(err(&again).contains("--force"), "{}", err(&again));
    let forced = run(&world, &["task", "download", &id, "--dir", dir, "--force"]).await;
    assert_eq!(forced.status.code(), Some(0), "{}", err(&forced));
}

#[tokio::test]
async fn cli_credentials_come_from_flags_and_variables_of_both_kinds_and_a_flag_wins() {
    let world = World::demo().await;
    let state = |line: &'static [&str], environment: &'static [(&str, &str)]| {
        let world = &world;
        async move { run_with(world, line, environment).await.status.code() }
    };
    assert_eq!(state(&["send", "hi"], &[]).await, Some(0));
    assert_eq!(state(&["send", "hi", "--bearer", ALICE], &[("A2ACLI_API_KEY", "wrong")]).await, Some(0));
    assert_eq!(state(&["send", "hi", "--api-key", "wrong"], &[]).await, Some(4));
    let help = run(&world, &["send", "--help"]).await;
    assert!(out(&help).contains("Others can see an argument: better set the variable"), "{}", out(&help));
}

#[tokio::test]
async fn cli_no_diagnostic_has_a_credential_in_it() {
    let world = World::demo().await;
    let secret = "token-that-is-a-secret-of-32-chars";
    let line = ["send", "hi", "--debug", "--verbose", "--insecure", "--svc-param", "authorization:sv-secret"];
    for environment in [
        [("A2ACLI_BEARER", secret), ("A2ACLI_API_KEY", "")],
        [("A2ACLI_API_KEY", ALICE), ("A2A_WEBCAP_LOG", "trace")],
    ] {
        let output = run_with(&world, &line, &environment).await;
        let said = format!("{}{}", out(&output), err(&output));
        assert!(!said.contains(secret) && !said.contains(ALICE) && !said.contains("sv-secret"), "{said}");
        assert!(err(&output).contains("warning: --insecure") || output.status.code() == Some(2), "{said}");
    }
}

/// The messages on the wire that `--debug` told of: which way they went, and what they said.
fn messages(output: &Output) -> Vec<(String, String)> {
    let records = err(output).lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let messages = records.filter(|record| record["target"] == "a2a_webcap::wire");
    messages.map(|message| (text(&message["message"]), text(&message["text"]))).collect()
}

#[tokio::test]
async fn cli_debug_shows_what_the_tool_does_and_every_message_on_the_wire() {
    let world = World::demo().await;
    for (transport, sent, received) in [
        (
            "capnp",
            ["A2aService.authenticate", "Operations.sendStreamingMessage", "text = \"hi there\""],
            ["TaskObserver.", "artifactUpdate = (", "final = true"],
        ),
        (
            "capnweb",
            ["[\"authenticate\"]", "[\"sendMessageStreaming\"]", "{\"text\":\"hi there\"}"],
            ["[\"onArtifactUpdate\"]", "\"artifact\":{", "\"final\":true"],
        ),
    ] {
        let line = ["send", "-o", "json", "--debug", "--transport", transport, "hi there"];
        let output = run(&world, &line).await;
        assert_eq!(
            json(&output)["task"]["status"]["state"],
            "TASK_STATE_COMPLETED",
            "results are undisturbed"
        );
        assert!(err(&output).contains("connecting"), "{}", err(&output));
        let messages = messages(&output);
        let all = |way: &str| {
            let of_way = messages.iter().filter(|(direction, _)| direction == way);
            of_way.map(|(_, text)| &**text).collect::<Vec<_>>().join("\n")
        };
        for (way, words) in [("sent", sent), ("received", received)] {
            for word in words {
                assert!(all(way).contains(word), "{transport}: {way}: {word}: {}", all(way));
            }
        }
        if transport == "capnweb" {
            let is_frame =
                |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|frame| frame.is_array());
            assert!(messages.iter().all(|(_, text)| is_frame(text)), "{messages:?}");
        }
    }
}

#[tokio::test]
async fn cli_messages_on_the_wire_are_shown_without_what_opens_something() {
    let world = World::demo().await;
    let client = world.alice().await;
    let sent = client.send("stream 3 1ms").await.unwrap();
    let id = sent.task().unwrap().id.to_string();
    for transport in ["capnp", "capnweb"] {
        let shared = client.task(&*id).share(TaskRole::Observe, GrantPolicy::default()).await.unwrap();
        let secret = shared.secret.expose();
        let common = ["--debug", "--transport", transport, "--svc-param", "A2A-Own:sv-secret"];
        for line in
            [[&["task", "get", &id], &common[..]].concat(), [&["claim", secret], &common[..]].concat()]
        {
            let output = run(&world, &line).await;
            assert_eq!(output.status.code(), Some(0), "{}", err(&output));
            assert!(messages(&output).len() > 3, "{}", err(&output));
            assert!(messages(&output).iter().any(|(_, text)| text.contains(&id)), "{}", err(&output));
            for hidden in [ALICE, secret, "sv-secret"] {
                assert!(!err(&output).contains(hidden), "{transport}: {}", err(&output));
            }
        }
    }
}

#[tokio::test]
async fn cli_speaks_two_bindings_and_the_caller_selects() {
    let world = World::demo().await;
    for transport in ["capnp", "capnweb"] {
        let path = format!("{}/{transport}", world.server.local_addr());
        let run = async |line: &[&str]| {
            let output = run(&world, &[line, &["--debug", "--transport", transport]].concat()).await;
            assert!(err(&output).contains(&path), "{}", err(&output));
            output
        };
        let sent = run(&["send", "--stream", "-o", "json", "stream 3 1ms"]).await;
        let events: Vec<Value> = out(&sent).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let id = events[0]["task"]["id"].as_str().unwrap();
        assert_eq!(events.len(), 7);
        assert_eq!(events[6]["statusUpdate"]["status"]["state"], "TASK_STATE_COMPLETED");
        let after = run(&["task", "subscribe", id, "--after", "4", "--stream", "-o", "json"]).await;
        assert_eq!(out(&after).lines().count(), 2);
        assert_eq!(json(&run(&["task", "get", id, "-o", "json"]).await)["id"], *id);
        let listed = json(&run(&["task", "list", "-o", "json"]).await);
        assert_eq!(listed["tasks"][0]["id"], *id);
        let over = run(&["task", "cancel", id, "-o", "json"]).await;
        assert_eq!(json(&over)["error"]["code"], "TaskNotCancelableError");
        let wrong = run(&["send", "hi", "--api-key", "wrong"]).await;
        assert_eq!(wrong.status.code(), Some(4), "{}", err(&wrong));
    }
}

#[tokio::test]
async fn cli_a_flag_wins_over_the_environment_over_the_local_file_over_the_users() {
    let (world, scratch) = (World::demo().await, Scratch::new());
    let below = scratch.0.join("work/below");
    let user = scratch.0.join(".config/a2a-cli");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::create_dir_all(&user).unwrap();
    std::fs::write(user.join(".env"), "A2ACLI_TIMEOUT=1m\nA2ACLI_POLL_INTERVAL=1s\nA2ACLI_OUTPUT=json\n")
        .unwrap();
    std::fs::write(scratch.0.join("work/.env"), "A2ACLI_TIMEOUT=2m\nA2ACLI_POLL_INTERVAL=2s\n").unwrap();
    let show = async |line: &[&str], timeout: Option<&str>| {
        let mut command = program();
        command.args(line).args(["config", "show"]).env("HOME", &scratch.0).current_dir(&below);
        command.envs(timeout.map(|timeout| ("A2ACLI_TIMEOUT", timeout)));
        let shown = json(&soon("it ends", command.output()).await.unwrap());
        let setting = |name: &str| {
            let settings = shown["client"].as_array().unwrap();
            let found = settings.iter().find(|setting| setting["name"] == name).unwrap();
            (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
        };
        (setting("timeout"), setting("poll-interval"), setting("output"), setting("a2a-version"))
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    let (timeout, poll, output, version) = show(&["--timeout", "4m"], Some("3m")).await;
    let local = format!("file {}", scratch.0.join("work/.env").display());
    assert_eq!((timeout, poll), (pair("4m", "flag"), pair("2s", &local)));
    assert_eq!(output, pair("json", &format!("file {}", user.join(".env").display())));
    assert_eq!(version, pair("1.0", "default"));
    assert_eq!(show(&[], Some("3m")).await.0, pair("3m", "environment A2ACLI_TIMEOUT"));
    assert_eq!(show(&[], None).await.0, pair("2m", &local));
    let explicit = scratch.0.join("other.env");
    std::fs::write(&explicit, "A2ACLI_TIMEOUT=5m\n").unwrap();
    let explicit = explicit.to_str().unwrap();
    assert_eq!(show(&["--config", explicit], None).await.0, pair("5m", &format!("file {explicit}")));
    drop(world);
}

#[tokio::test]
async fn cli_help_shows_the_defaults_and_completion_names_the_commands() {
    let world = World::demo().await;
    let help = soon("it ends", program().arg("help").output()).await.unwrap();
    for said in [
        "[default: 127.0.0.1:8420]",
        "[default: text]",
        "[default: the card's order]",
        "1.0]",
        "[default: concise]",
    ] {
        assert!(out(&help).contains(said), "{said}: {}", out(&help));
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&world, &["completion", shell]).await;
        assert!(out(&script).contains("subscribe"), "{shell}");
    }
}

#[tokio::test]
async fn cli_a_canceled_task_is_reported_and_a_second_cancel_tells_its_state() {
    let world = World::demo().await;
    let id = task_id(&run(&world, &["send", "--async", "-o", "json", "long"]).await);
    until("it works", || world.counts().turns == 1).await;
    let canceled = run(&world, &["task", "cancel", &id]).await;
    assert!(out(&canceled).contains("State: canceled"), "{}", out(&canceled));
    let again = run(&world, &["task", "cancel", "-o", "json", &id]).await;
    assert_eq!(json(&again)["error"]["code"], "TaskNotCancelableError");
}

#[tokio::test]
async fn cli_a_preferred_binding_that_nobody_speaks_falls_back_and_says_so() {
    let world = World::demo().await;
    let output = run(&world, &["--transport", "grpc", "send", "hi"]).await;
    assert!(
        output.status.success() && err(&output).contains("using https://a2a-webcap.dev/"),
        "{}",
        err(&output)
    );
    let output = run(&world, &["--transport", "grpc", "--transport", "capnp", "send", "hi"]).await;
    assert!(output.status.success() && !err(&output).contains("using"), "{}", err(&output));
}

#[tokio::test]
async fn cli_the_tenant_of_the_chosen_interface_is_the_agent_that_answers() {
    let two = |builder: a2a_webcap::server::Builder| {
        builder
            .agent(a2a_webcap::agents::Demo)
            .tenant("parrot", std::sync::Arc::new(a2a_webcap::agents::Echo))
    };
    let (world, scratch) = (World::of(two).await, Scratch::new());
    let change = |card: &mut Value| card["supportedInterfaces"][0]["tenant"] = "parrot".into();
    let path = card_file(&world, &scratch, change).await;
    let there = run_with(&world, &["-a", &path, "send", "hi"], &[]).await;
    assert!(out(&there).contains("Echo: hi"), "{}{}", out(&there), err(&there));
    let default = run(&world, &["send", "hi"]).await;
    assert!(out(&default).contains("You said: hi"), "{}", out(&default));
}
