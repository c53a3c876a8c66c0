//! Plain process agents: one program a turn, text in, text out, and the exit code decides.

use std::time::{Duration, Instant};

use a2a_webcap::agents::{Exec, ProcessError, Program};
use a2a_webcap::client::SendCall;
use a2a_webcap::model::{Message, Part, Role, StreamResponse, TaskState};

use crate::process::{
    Served, answer, ask, ask_text, exec, exec_of, files, is_alive, is_gone, limits, reason, shell,
};
use crate::world::{soon, until};

#[tokio::test]
async fn what_comes_on_stdin_goes_out_as_one_artifact_and_exit_code_0_completes() {
    let world = exec("cat").await;
    for said in ["hello", "a\nb €😀\u{0}", &"long ".repeat(200_000)] {
        let task = ask_text(&world, said).await;
        assert_eq!(task.state(), TaskState::Completed);
        assert_eq!(answer(&task), said);
        assert_eq!(task.artifacts.len(), 1);
        assert_eq!(&*task.artifacts[0].artifact_id, "output");
    }
    let silent = ask_text(&exec("cat > /dev/null").await, "hello").await;
    assert_eq!((silent.state(), silent.artifacts.len()), (TaskState::Completed, 0));
}

#[tokio::test]
async fn output_is_streamed_as_it_is_printed_and_the_last_piece_says_so() {
    // Each line is printed only when the one before it was seen by the client.
    let (scratch, directory) = files(&[]);
    let script = "printf one; until [ -e seen ]; do sleep 0.01; done; printf ' two'";
    let world = exec_of(shell(script).directory(&directory), limits(|_| ())).await;
    let mut stream = world.alice().await.stream("go");
    let mut pieces = Vec::new();
    while let Some(event) = soon("an event", stream.next()).await {
        if let StreamResponse::ArtifactUpdate(update) = event.unwrap().content {
            let text = update.artifact.text_content().into_owned();
            if text == "one" {
                std::fs::write(directory.join("seen"), "").unwrap();
            }
            pieces.push((text, update.append, update.last_chunk));
        }
    }
    assert_eq!(pieces, [("one".to_owned(), false, false), (" two".to_owned(), true, true)]);
    drop(scratch);
}

#[tokio::test]
async fn a_character_that_is_printed_in_two_halves_comes_whole() {
    let world = exec(r"printf 'a\342'; sleep 0.05; printf '\202\254b\377'").await;
    assert_eq!(answer(&ask_text(&world, "go").await), "a€b\u{fffd}");
}

#[tokio::test]
async fn an_exit_code_fails_the_task_with_the_end_of_stderr_and_what_was_printed_stays() {
    let world = exec(r"printf half; echo first >&2; printf 'no paper\033[31m\n' >&2; exit 3").await;
    let task = ask_text(&world, "go").await;
    assert_eq!(reason(&task), "exit code 3: first\nno paper\\u{1b}[31m");
    assert_eq!(answer(&task), "half");
    assert_eq!(reason(&ask_text(&exec("exit 7").await, "go").await), "exit code 7");
    let noisy = exec("i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1").await;
    let long = reason(&ask_text(&noisy, "go").await);
    assert!(
        long.len() < 2_100 && long.starts_with("exit code 1: line ") && long.ends_with("line 1999"),
        "{long}"
    );
}

#[tokio::test]
async fn a_program_that_is_killed_fails_its_task_with_the_signal() {
    let world = exec("kill -KILL $$").await;
    assert_eq!(reason(&ask_text(&world, "go").await), "killed by signal 9 (SIGKILL)");
}

#[tokio::test]
async fn what_the_turn_is_about_stands_in_variables_and_nothing_of_it_in_the_command_line() {
    let script = r#"printf '%s|%s|%s|%s|%s|%s' "$A2A_TASK_ID" "$A2A_CONTEXT_ID" "$A2A_MESSAGE_ID" "$A2A_SUBJECT" "$#" "$(cat)""#;
    let world = exec(script).await;
    let evil = "$(touch /tmp/x); `id` \"'; -rf";
    let said = Message::user(evil).in_context("context \"$(id)\" ; x");
    let id = said.message_id.clone();
    let task = ask(&world.alice().await, said).await;
    let context = "context \"$(id)\" ; x";
    assert_eq!(answer(&task), format!("{}|{context}|{id}|alice|0|{evil}", task.id));
}

#[tokio::test]
async fn no_variable_of_the_server_reaches_the_program() {
    let served = Served::start("exec:env", &["--store", "memory"]).await;
    let task = ask(&served.client().await, Message::user("go")).await;
    let environment = answer(&task);
    assert!(environment.contains("PATH=") && environment.contains(&format!("A2A_TASK_ID={}", task.id)));
    let ours = |line: &&str| line.starts_with("A2A_WEBCAP_") || line.starts_with("A2ACLI_");
    assert_eq!(environment.lines().find(ours), None, "A2A_WEBCAP_DEV_KEY was set for the server");
}

#[tokio::test]
async fn a_context_that_no_program_can_be_told_fails_the_task_and_says_why() {
    let task = ask(&exec("cat").await.alice().await, Message::user("go").in_context("a\0b")).await;
    assert!(reason(&task).contains("A2A_CONTEXT_ID") && reason(&task).contains("NUL"), "{}", reason(&task));
}

#[tokio::test]
async fn a_message_without_text_gives_empty_input() {
    let message = Message::new(Role::User, vec![Part::data(1)]);
    let task = ask(&exec("wc -c").await.alice().await, message).await;
    assert_eq!(answer(&task).trim(), "0");
}

#[tokio::test]
async fn a_canceled_program_is_asked_to_end_and_may_clean_up() {
    let (_scratch, directory) = files(&[]);
    let script = "trap 'echo cleaned > cleaned; exit' TERM; echo $$; while :; do sleep 0.01; done";
    let world = exec_of(shell(script).directory(&directory), limits(|_| ())).await;
    let (id, task) = printed_id(&world).await;
    world.alice().await.task(task).cancel().await.unwrap();
    is_gone(&id).await;
    until("it has cleaned up", || directory.join("cleaned").exists()).await;
    world.forgets_everybody().await;
}

#[tokio::test]
async fn a_program_that_ignores_the_signal_is_killed_with_all_that_it_has_started() {
    let script = "trap '' TERM; sleep 1000 & echo $$ $!; while :; do sleep 0.1; done";
    let world = exec_of(shell(script), limits(|limits| limits.grace = Duration::from_millis(200))).await;
    let (ids, task) = printed_id(&world).await;
    world.alice().await.task(task).cancel().await.unwrap();
    for id in ids.split_whitespace() {
        is_gone(id).await;
    }
}

#[tokio::test]
async fn what_a_program_leaves_running_ends_with_it_and_its_turn_does_not_wait() {
    let began = Instant::now();
    let task = ask_text(&exec("sleep 1000 & echo $!").await, "go").await;
    assert_eq!(task.state(), TaskState::Completed);
    assert!(began.elapsed() < Duration::from_secs(20));
    is_gone(answer(&task).trim()).await;
}

#[tokio::test]
async fn a_program_that_never_reads_its_input_loses_nothing() {
    let world = exec("echo fine").await;
    let task = ask_text(&world, &"x".repeat(1 << 20)).await;
    assert_eq!((task.state(), answer(&task).as_str()), (TaskState::Completed, "fine\n"));
}

#[tokio::test]
async fn a_turn_beyond_its_deadline_fails_and_its_program_is_ended() {
    let world = exec("echo $$; exec sleep 1000").await;
    let call = SendCall::from("go").turn_timeout(Duration::from_millis(300));
    let a2a_webcap::model::SendMessageResponse::Task(task) = world.alice().await.send(call).await.unwrap()
    else {
        panic!("a task");
    };
    assert!(reason(&task).contains("deadline"), "{}", reason(&task));
    is_gone(&answer(&task)).await;
}

#[tokio::test]
async fn a_flood_fails_its_task_at_the_bound_and_others_go_on() {
    let script = r#"case $(cat) in flood) yes;; *) echo fine;; esac"#;
    let world = exec_of(shell(script), limits(|limits| limits.output_bytes = 1 << 20)).await;
    let client = world.alice().await;
    let (flood, other) =
        futures::future::join(ask(&client, Message::user("flood")), ask(&client, Message::user("x"))).await;
    assert!(reason(&flood).contains("more than 1048576 bytes"), "{}", reason(&flood));
    assert!(answer(&flood).len() <= 1 << 20);
    assert_eq!(answer(&other), "fine\n");
}

#[tokio::test]
async fn a_flood_of_stderr_becomes_a_bounded_number_of_escaped_lines() {
    let line = r"printf 'a\033[2Jb %s\n' $i >&2";
    let script = format!(
        "i=0; while [ $i -lt 20000 ]; do {line}; i=$((i+1)); done; printf '%0100000d\\n' 7 >&2; echo fine"
    );
    let (_scratch, directory) = files(&[("noisy.sh", &format!("#!/bin/sh\n{script}\n"))]);
    let served =
        Served::start(&format!("exec:{}", directory.join("noisy.sh").display()), &["--store", "memory"])
            .await;
    let task = ask(&served.client().await, Message::user("go")).await;
    assert_eq!(answer(&task), "fine\n");
    let log = served.logs(&["noisy", "a\\u{1b}[2Jb 0"]).await;
    assert!(!log.contains('\u{1b}'));
    let lines = served.log().lines().count();
    assert!(lines < 3_000, "{lines} lines");
    assert!(served.log().lines().all(|line| line.len() < 4_096));
}

#[tokio::test]
async fn the_program_is_looked_up_once_and_its_absence_is_said_at_the_start() {
    let (_scratch, directory) = files(&[("plain.txt", "no program")]);
    use std::os::unix::fs::PermissionsExt as _;
    let plain = directory.join("plain.txt");
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
    for (line, words) in [
        ("exec:no-such-program-here x", &["no-such-program-here", "PATH"][..]),
        ("exec:./no/such/file", &["./no/such/file", "not there"]),
        (&format!("exec:{}", plain.display()), &["plain.txt", "chmod +x"]),
        ("exec:'half a quote", &["quote"]),
        ("exec:", &["no program"]),
        ("jsonl:no-such-program-here", &["PATH"]),
        ("nobody", &["demo", "exec:COMMAND"]),
    ] {
        let mut served = Served::start(line, &["--store", "memory"]).await;
        let status = soon("it refuses", served.child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(2), "{line}: {}", served.log());
        for word in words {
            assert!(served.log().contains(word), "{line}: {}", served.log());
        }
    }
    assert!(matches!(Program::parse("x'"), Err(ProcessError::CommandLine)));
}

#[tokio::test]
async fn words_are_split_as_in_a_shell_and_no_shell_is_there() {
    let program = Program::parse(r#"printf '%s|' 'a b' "c d" e\ f '$HOME' ';' '*'"#).unwrap();
    let task = ask_text(&exec_of(program, limits(|_| ())).await, "go").await;
    assert_eq!(answer(&task), "a b|c d|e f|$HOME|;|*|");
}

#[tokio::test]
async fn the_card_comes_from_the_file_beside_the_script() {
    let card = r#"{"name": "Weather", "description": "Knows it.", "skills": [
        {"id": "w", "name": "W", "description": "d", "tags": ["t"]}]}"#;
    let (_scratch, directory) = files(&[("weather.sh", "#!/bin/sh\ncat\n"), ("weather.card.json", card)]);
    let script = directory.join("weather.sh");
    for line in [format!("{}", script.display()), format!("sh {}", script.display())] {
        let world = exec_of(Program::parse(&line).unwrap(), limits(|_| ())).await;
        let card = world.alice().await.agent_card().await.unwrap();
        assert_eq!((card.name.as_str(), card.skills[0].id.as_str()), ("Weather", "w"));
        assert!(!card.supported_interfaces.is_empty());
    }
    std::fs::write(directory.join("weather.card.json"), "{\"skills\": 7}").unwrap();
    let error = Exec::new(Program::parse(&script.display().to_string()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("skills"), "{error}");
    std::fs::remove_file(directory.join("weather.card.json")).unwrap();
    let plain = Exec::new(Program::parse(&script.display().to_string()).unwrap()).unwrap();
    assert_eq!(a2a_webcap::agent::Agent::card(&plain).name, "weather");
}

#[tokio::test]
async fn a_program_that_has_gone_since_the_start_fails_the_turn() {
    let (_scratch, directory) = files(&[("brief.sh", "#!/bin/sh\ncat\n")]);
    let world =
        exec_of(Program::parse(&directory.join("brief.sh").display().to_string()).unwrap(), limits(|_| ()))
            .await;
    std::fs::remove_file(directory.join("brief.sh")).unwrap();
    let task = ask_text(&world, "go").await;
    assert!(reason(&task).contains("cannot be started"), "{}", reason(&task));
}

#[tokio::test]
async fn no_program_outlives_a_server_that_is_stopped_twice() {
    let (_scratch, directory) =
        files(&[("stubborn.sh", "#!/bin/sh\ntrap '' TERM\necho $$\nwhile :; do sleep 0.1; done\n")]);
    let agent = format!("exec:{}", directory.join("stubborn.sh").display());
    let mut served = Served::start(&agent, &["--store", "memory"]).await;
    let mut stream = served.client().await.stream("go");
    let mut id = None;
    while id.is_none() {
        let event = soon("an event", stream.next()).await.unwrap().unwrap();
        id = event.artifact_text().map(|text| text.trim().to_owned());
    }
    let id = id.unwrap();
    assert!(is_alive(&id));
    served.signal("-TERM");
    served.logs(&["stopping"]).await;
    served.signal("-TERM");
    soon("it ends", served.child.wait()).await.unwrap();
    is_gone(&id).await;
}

#[tokio::test]
async fn no_program_outlives_a_server_that_is_killed() {
    let script = "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $$ $!\nwhile :; do sleep 0.1; done\n";
    let (_scratch, directory) = files(&[("stubborn.sh", script)]);
    let agent = format!("exec:{}", directory.join("stubborn.sh").display());
    let mut served = Served::start(&agent, &["--store", "memory"]).await;
    let client = served.client().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut stream = client.stream("go");
        let text = loop {
            let event = soon("an event", stream.next()).await.unwrap().unwrap();
            if let Some(text) = event.artifact_text() {
                break text.into_owned();
            }
        };
        ids.extend(text.split_whitespace().map(str::to_owned));
    }
    assert!(ids.len() == 6 && ids.iter().all(|id| is_alive(id)), "{ids:?}");
    served.signal("-KILL");
    soon("it is gone", served.child.wait()).await.unwrap();
    for id in ids {
        is_gone(&id).await;
    }
}

/// Begins a turn of a program that prints its process id, and waits for that.
async fn printed_id(world: &crate::world::World) -> (String, String) {
    let mut stream = world.alice().await.stream("go");
    loop {
        let event = soon("an event", stream.next()).await.unwrap().unwrap();
        if let Some(text) = event.artifact_text() {
            assert!(is_alive(text.split_whitespace().next().unwrap()), "{text}");
            return (text.trim().to_owned(), event.task_id().unwrap().to_owned());
        }
    }
}
