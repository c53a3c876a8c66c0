//! Long-lived programs that do what they should not: each time the task fails with a clear reason, the log says what
//! happened, and the server goes on.

use std::time::{Duration, Instant};

use a2a_webcap::agents::JsonLines;
use a2a_webcap::client::SendCall;
use a2a_webcap::model::{Message, SendMessageResponse, TaskState};

use crate::cli::Scratch;
use crate::process::{
    Served, WORDS, answer, ask, ask_text, files, is_gone, limits, lines, lines_of, reason, shell,
};
use crate::process_jsonl::begun;
use crate::world::soon;

/// `serve` with this as its program: what it does when it is told `go`, and for anything else it answers `fine`.
async fn served(misdeed: &str) -> (Scratch, Served) {
    served_with(misdeed, "").await
}

/// The same, with settings of `[limits.process]`.
async fn served_with(misdeed: &str, settings: &str) -> (Scratch, Served) {
    let script = format!(
        "#!/bin/sh\n{WORDS}\ncard\nwhile next; do\n[ $kind = turn ] || continue\ncase $text in go)\n{misdeed}\n;;\n\
         *) chunk \"$task\" fine; status \"$task\" COMPLETED;; esac; done\n"
    );
    let settings = format!("[limits.process]\n{settings}\n");
    let (scratch, directory) = files(&[("bad.sh", &script), ("settings.toml", &settings)]);
    let agent = format!("jsonl:{}", directory.join("bad.sh").display());
    let settings = directory.join("settings.toml").display().to_string();
    (scratch, Served::start(&agent, &["--store", "memory", "--config", &settings]).await)
}

/// What the task's failure says, and that another task runs afterwards.
async fn failure(served: &Served) -> String {
    let client = served.client().await;
    let why = reason(&ask(&client, Message::user("go")).await);
    assert_eq!(answer(&ask(&client, Message::user("other")).await), "fine", "{}", served.log());
    why
}

#[tokio::test]
async fn killed_in_the_middle_of_a_task() {
    let (_scratch, served) = served("status \"$task\" WORKING; echo 'out of ink' >&2; kill -KILL $$").await;
    assert_eq!(failure(&served).await, "the agent's program ended: killed by signal 9 (SIGKILL)");
    served.logs(&["the agent's program has ended", "SIGKILL", "out of ink"]).await;
}

#[tokio::test]
async fn a_line_about_its_task_that_is_no_event_fails_the_task() {
    let line = r#"printf '{"statusUpdate":{"taskId":"%s","status":{"state":"DONE\\u001b[2J"}}}\n' "$task""#;
    let (_scratch, served) = served(line).await;
    let why = failure(&served).await;
    assert!(why.contains("statusUpdate.status.state"), "{why}");
    let line = served.logs(&["none of the protocol", "statusUpdate.status.state"]).await;
    assert!(!line.contains('\u{1b}'));
}

#[tokio::test]
async fn garbage_that_is_about_no_task_is_logged_and_nothing_else() {
    let garbage = r#"printf 'Loading model\033[31m...\n\n[1,2]\n{"x":1}\n\377\376\n'; chunk "$task" ok; status "$task" COMPLETED"#;
    let (_scratch, served) = served(garbage).await;
    let task = ask(&served.client().await, Message::user("go")).await;
    assert_eq!((task.state(), answer(&task).as_str()), (TaskState::Completed, "ok"));
    let line = served.logs(&["none of the protocol", "Loading model"]).await;
    assert!(line.contains("\\u{1b}[31m") && !line.contains('\u{1b}'), "{line}");
    served.logs(&["no member that says what it is"]).await;
}

#[tokio::test]
async fn half_a_line_at_the_end() {
    let (_scratch, served) = served(r#"printf '{"statusUpdate":{"taskId":"%s","sta' "$task"; exit 0"#).await;
    assert_eq!(failure(&served).await, "the agent's program ended: exit code 0");
    served.logs(&["in the middle of a line", "bytes="]).await;
}

#[tokio::test]
async fn a_hundred_megabytes_on_one_line_fail_the_task_they_are_about_and_the_program_goes_on() {
    let long = r#"printf '{"artifactUpdate":{"taskId":"%s","artifact":{"artifactId":"a","parts":[{"text":"' "$task"; head -c 100000000 /dev/zero | tr '\0' x; echo '"}]}}}'"#;
    // Time enough to write the rest of it: a program that does not end the failed turn within the grace is ended.
    let (_scratch, served) = served_with(long, "grace = 55.0").await;
    let before = resident(&served);
    let why = failure(&served).await;
    assert!(why.contains("a line of more than 16777216 bytes"), "{why}");
    served.logs(&["none of the protocol", "more than 16777216 bytes"]).await;
    let grown = resident(&served).saturating_sub(before);
    // What it may hold of the line, twice while that grows, and less than the line.
    assert!(grown < 80 << 20, "the server has grown by {grown} bytes");
    assert!(!served.log().contains("the agent's program has ended"), "{}", served.log());
}

#[tokio::test]
async fn a_hundred_megabytes_about_no_task_end_the_program() {
    let (_scratch, served) = served("head -c 100000000 /dev/zero | tr '\\0' x; echo").await;
    let why = failure(&served).await;
    assert!(why.contains("a line of more than 16777216 bytes about nobody knows which task"), "{why}");
    served.logs(&["the agent's program has ended", "nobody knows which task"]).await;
}

#[tokio::test]
async fn a_flood_of_events_fails_its_task_at_the_bound_and_leaves_the_others_alone() {
    let script = r#"
card
while next; do
  case $kind-$text in
    turn-flood) flooded=$task; (while :; do chunk "$flooded" xxxxxxxxxxxxxxxxxxxxxxxx; done) & flood=$!;;
    turn-*) chunk "$task" fine; status "$task" COMPLETED;;
    cancel-*) kill $flood; wait $flood; status "$task" CANCELED;;
  esac
done
"#;
    let world = lines_of(shell(script), limits(|limits| limits.output_bytes = 300_000)).await;
    let client = world.alice().await;
    let (flood, others) = futures::future::join(ask(&client, Message::user("flood")), async {
        for _ in 0..5 {
            assert_eq!(answer(&ask(&client, Message::user("x")).await), "fine");
        }
    })
    .await;
    let () = others;
    assert!(reason(&flood).contains("wrote more than 300000 bytes"), "{}", reason(&flood));
    assert_eq!(answer(&ask_text(&world, "x").await), "fine");
}

#[tokio::test]
async fn events_of_tasks_that_are_not_its_own_or_over_change_nothing() {
    let foreign = r#"
chunk someone-elses stolen; status someone-elses COMPLETED
[ -z "$before" ] || { chunk "$before" late; status "$before" FAILED; }
before=$task; chunk "$task" own; status "$task" COMPLETED; chunk "$task" late; status "$task" FAILED"#;
    let (_scratch, served) = served(foreign).await;
    let client = served.client().await;
    for _ in 0..2 {
        let task = ask(&client, Message::user("go")).await;
        assert_eq!(answer(&ask(&client, Message::user("other")).await), "fine");
        let task = client.task(&*task.id).get(None).await.unwrap();
        assert_eq!((task.state(), answer(&task).as_str()), (TaskState::Completed, "own"));
    }
    served.logs(&["a task that it was not given", "someone-elses"]).await;
}

#[tokio::test]
async fn a_program_that_never_reads_is_ended_when_its_input_is_full() {
    let script = "echo '{\"card\":{}}'\n[ -e second ] && while next; do chunk \"$task\" fine; status \"$task\" COMPLETED; done\n: > second\nsleep 1000";
    let (_scratch, directory) = files(&[]);
    let bounds = limits(|limits| limits.read_timeout = Duration::from_millis(300));
    let world = lines_of(shell(script).directory(&directory), bounds).await;
    let why = reason(&ask_text(&world, &"x".repeat(1 << 20)).await);
    assert!(why.contains("it did not read its input for 300ms"), "{why}");
    assert_eq!(answer(&ask_text(&world, "x").await), "fine");
}

#[tokio::test]
async fn a_program_that_closes_its_input_or_its_output_is_ended() {
    for (closes, words) in [("exec 0<&-", "it closed its input"), ("exec 1>&-", "it closed its output")] {
        let script = format!(
            "[ -e second ] && {{ card; while next; do chunk \"$task\" fine; status \"$task\" COMPLETED; done; }}\n\
             : > second\ncard\n[ '{closes}' = 'exec 0<&-' ] || next\n{closes}\nsleep 1000"
        );
        let (_scratch, directory) = files(&[]);
        let bounds = limits(|limits| limits.grace = Duration::from_millis(200));
        let world = lines_of(shell(&script).directory(&directory), bounds).await;
        let why = reason(&ask_text(&world, "x").await);
        assert_eq!(why, format!("the agent's program ended: {words}"));
        assert_eq!(answer(&ask_text(&world, "x").await), "fine");
    }
}

#[tokio::test]
async fn a_program_that_says_nothing_about_its_turn_fails_it_at_the_deadline() {
    let world = lines(
        "card\nwhile next; do [ $text = go ] || { chunk \"$task\" fine; status \"$task\" COMPLETED; }; done",
    )
    .await;
    let client = world.alice().await;
    let call = SendCall::from("go").turn_timeout(Duration::from_millis(300));
    let SendMessageResponse::Task(task) = soon("it fails", client.send(call)).await.unwrap() else {
        panic!("a task")
    };
    assert!(reason(&task).contains("deadline"), "{}", reason(&task));
    assert_eq!(answer(&ask_text(&world, "x").await), "fine");
}

#[tokio::test]
async fn a_program_that_ignores_a_cancel_is_ended_when_nobody_else_needs_it() {
    let script = r#"
trap '' TERM
card
while next; do
  case $kind-$text in
    turn-wait) status "$task" WORKING;;
    turn-last) status "$task" WORKING; last=$task;;
    turn-end) status "$last" COMPLETED; status "$task" COMPLETED;;
    turn-*) chunk "$task" $$; status "$task" COMPLETED;;
  esac
done
"#;
    let world = lines_of(shell(script), limits(|limits| limits.grace = Duration::from_millis(200))).await;
    let client = world.alice().await;
    let first = answer(&ask_text(&world, "who").await);
    let (ignored, last) = (begun(&world, "wait").await, begun(&world, "last").await);
    let canceled = client.task(ignored.as_str()).cancel().await.unwrap();
    assert_eq!(canceled.state(), TaskState::Canceled, "at once, whatever the program does");
    // Longer than the grace: the program stays, since the last task needs it.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(answer(&ask_text(&world, "who").await), first);
    assert_eq!(ask_text(&world, "end").await.state(), TaskState::Completed);
    let task = client.task(last.as_str()).get(None).await.unwrap();
    assert_eq!(task.state(), TaskState::Completed, "the other task was not harmed");
    is_gone(&first).await;
    assert_ne!(answer(&ask_text(&world, "who").await), first);
}

#[tokio::test]
async fn a_program_that_ignores_too_many_cancels_is_ended_though_it_is_needed() {
    let script = "card\nwhile next; do case $kind-$text in turn-*) status \"$task\" WORKING;; esac; done";
    let bounds = limits(|limits| (limits.grace, limits.ignored_cancels) = (Duration::from_millis(100), 2));
    let world = lines_of(shell(script), bounds).await;
    let client = world.alice().await;
    let needed = client.stream("needed");
    begun(&world, "needed too").await;
    for _ in 0..3 {
        let id = begun(&world, "wait").await;
        client.task(id.as_str()).cancel().await.unwrap();
    }
    let mut stream = needed;
    let mut last = None;
    while let Some(event) = soon("an event", stream.next()).await {
        last = event.unwrap().task_id().map(str::to_owned).or(last);
    }
    let why = reason(&client.task(last.unwrap().as_str()).get(None).await.unwrap());
    assert!(why.contains("went on with 3 canceled tasks"), "{why}");
}

#[tokio::test]
async fn a_program_that_dies_at_the_start_is_no_agent_and_its_words_are_shown() {
    for (script, words) in [
        ("echo no such module >&2; exit 4", &["before its card line", "exit code 4", "no such module"][..]),
        ("echo Loading...; cat", &["first line must be the card line", "Loading..."]),
        ("echo '{\"card\":{},\"protocol\":9}'; cat", &["version 9"]),
        ("echo '{\"card\":{\"skills\":[{\"id\":\"x\"}]}}'; cat", &["skills[0]"]),
        ("head -c 300000 /dev/zero | tr '\\0' x; cat", &["more than 100000 bytes"]),
        ("sleep 1000", &["no card line within 300ms"]),
    ] {
        let bounds =
            limits(|limits| (limits.start_timeout, limits.line_bytes) = (Duration::from_secs(20), 100_000));
        let quick = limits(|limits| limits.start_timeout = Duration::from_millis(300));
        let bounds = if script.starts_with("sleep") { quick } else { bounds };
        let error =
            soon("it refuses", JsonLines::new(shell(script)).limits(bounds).start()).await.unwrap_err();
        for word in words {
            assert!(error.to_string().contains(word), "{script}: {error}");
        }
    }
}

#[tokio::test]
async fn a_program_that_does_not_come_up_again_fails_turns_soon_and_is_tried_with_growing_pauses() {
    let (_scratch, directory) = files(&[(
        "bad.sh",
        &format!(
            "#!/bin/sh\n{WORDS}\n[ -e broken ] && {{ echo broken >&2; exit 5; }}\ncard\nwhile next; do exit 1; done\n"
        ),
    )]);
    std::fs::write(directory.join("agent.sh"), "").unwrap();
    let script = format!("cd {}; : > tries; . ./bad.sh", directory.display());
    let (_other, other) = files(&[("up.sh", &format!("#!/bin/sh\n{script}\n"))]);
    let served =
        Served::start(&format!("jsonl:{}", other.join("up.sh").display()), &["--store", "memory"]).await;
    let client = served.client().await;
    std::fs::write(directory.join("broken"), "").unwrap();
    assert_eq!(reason(&ask(&client, Message::user("x")).await), "the agent's program ended: exit code 1");
    let began = Instant::now();
    let why = reason(&ask(&client, Message::user("x")).await);
    assert!(why.contains("does not come up"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(10), "it does not wait for ever");
    assert!(!why.contains("broken"), "what it says may be about others: {why}");
    served.logs(&["did not start", "broken", "exit code 5"]).await;
    served.logs(&["will be started again", "pause=800ms"]).await;
    std::fs::remove_file(directory.join("broken")).unwrap();
    served.logs(&["is up", "generation=2"]).await;
}

#[tokio::test]
async fn an_update_that_a2a_does_not_allow_fails_the_task_and_says_why() {
    let (_scratch, served) = served(r#"status "$task" SUBMITTED"#).await;
    let why = failure(&served).await;
    assert!(why.contains("cannot become submitted"), "{why}");
}

#[tokio::test]
async fn a_hundred_programs_worth_of_noise_on_stderr_is_bounded_in_the_log() {
    let noise = r#"i=0; while [ $i -lt 20000 ]; do printf 'noise %s\033[2J\n' $i >&2; i=$((i+1)); done; chunk "$task" ok; status "$task" COMPLETED"#;
    let (_scratch, served) = served(noise).await;
    assert_eq!(answer(&ask(&served.client().await, Message::user("go")).await), "ok");
    served.logs(&["stderr", "noise 0"]).await;
    let log = served.log();
    assert!(log.lines().count() < 5_000 && !log.contains('\u{1b}'), "{} lines", log.lines().count());
}

/// Bytes of memory that the server has, in pages that are there.
fn resident(served: &Served) -> usize {
    let path = format!("/proc/{}/status", served.child.id().expect("it runs"));
    let status = std::fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().expect("a number") << 10
}
