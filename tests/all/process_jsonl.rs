//! Long-lived process agents: turns and events as JSON lines.

use std::time::Duration;

use a2a_webcap::agents::JsonLines;
use a2a_webcap::client::Cursor;
use a2a_webcap::model::{ListTasksRequest, Message, SendMessageResponse, StreamResponse, TaskState};
use serde_json::Value;

use crate::process::{
    Served, answer, ask, ask_text, files, is_alive, is_gone, limits, lines, lines_of, reason, shell,
};
use crate::world::{World, soon, until};

/// Answers each turn with its text at once.
const ECHO: &str = r#"
card
while next; do [ $kind = turn ] && chunk "$task" "$text" && status "$task" COMPLETED; done
"#;

#[tokio::test]
async fn turns_are_answered_one_after_the_other_by_the_same_program() {
    let world = lines(&ECHO.replace("$text", "$text by $$")).await;
    let (first, second) = (ask_text(&world, "hello").await, ask_text(&world, "again").await);
    assert_eq!((first.state(), second.state()), (TaskState::Completed, TaskState::Completed));
    let (first, second) = (answer(&first), answer(&second));
    assert!(first.starts_with("hello by ") && second.starts_with("again by "), "{first}, {second}");
    assert_eq!(first.rsplit(' ').next(), second.rsplit(' ').next(), "one process did both");
}

#[tokio::test]
async fn a_turn_has_what_there_is_to_know_and_its_message_as_a2a_writes_it() {
    // The program answers with the turn's own line, as data.
    let script = r#"
card
while next; do
  turn=${line#'{"turn":'}; turn=${turn%'}'}
  data "$task" "$turn"
  case $text in ask) status "$task" INPUT_REQUIRED;; *) printf '{"turnEnd":{"taskId":"%s"}}\n' "$task";; esac
done
"#;
    let world = lines(script).await;
    let client = world.alice().await;
    let said = Message::user("ask").in_context("c-1");
    let task = ask(&client, said.clone()).await;
    assert_eq!(task.state(), TaskState::InputRequired);
    let told = task.artifacts[0].parts[0].as_data().unwrap().clone();
    assert_eq!((&told["taskId"], &told["contextId"]), (&Value::from(&*task.id), &Value::from("c-1")));
    assert_eq!((&told["subject"], &told["message"]["role"]), (&"alice".into(), &"ROLE_USER".into()));
    assert_eq!(told["message"]["messageId"], *said.message_id);
    assert_eq!((told.get("resumed"), told["task"]["history"].as_array()), (None, None), "{told}");

    let task = ask(&client, Message::user("and this").in_task(task.id.clone())).await;
    assert_eq!(task.state(), TaskState::Completed);
    let told = task.artifacts[0].parts[0].as_data().unwrap();
    assert_eq!(told["task"]["history"][0]["parts"][0]["text"], "ask");
    assert_eq!(told["task"]["status"]["state"], "TASK_STATE_INPUT_REQUIRED");
}

#[tokio::test]
async fn a_state_that_says_nothing_is_refused_and_never_shown() {
    let script = "card\nwhile next; do status \"$task\" UNSPECIFIED; status \"$task\" COMPLETED; done\n";
    let world = lines(script).await;
    let client = world.alice().await;
    let task = ask_text(&world, "go").await;
    assert_eq!(task.state(), TaskState::Failed);
    assert!(reason(&task).contains("unspecified"), "{}", reason(&task));
    let mut replay = client.subscribe(task.id.clone(), Cursor::After(0));
    while let Some(event) = soon("an event", replay.next()).await {
        assert_ne!(event.unwrap().state(), Some(TaskState::Unspecified));
    }
    let any = ListTasksRequest { status: Some(TaskState::Unspecified), ..ListTasksRequest::default() };
    assert_eq!(client.list(any).await.unwrap().tasks.len(), 1, "as a filter it means any state");
}

/// `docs/process-agents.md` shows a whole conversation; here it takes place.
#[tokio::test]
async fn the_conversation_in_the_documentation_happens_as_it_is_written() {
    let document = include_str!("../../docs/process-agents.md");
    let written = |sign| document.lines().filter_map(move |line| line.strip_prefix(sign));
    let mut script = String::from("IFS= read -r hello\n");
    for (at, line) in written("< ").enumerate() {
        let line = line.replace("t-1", "'\"$task\"'");
        script.push_str(&format!("printf '%s\\n' '{line}'\n"));
        if at == 0 {
            script.push_str("next; printf '%s\\n%s\\n' \"$hello\" \"$line\" > told\n");
        }
    }
    let (_scratch, directory) = files(&[]);
    let world = lines_of(shell(&(script + "next")).directory(&directory), limits(|_| ())).await;
    let card = world.alice().await.agent_card().await.unwrap();
    assert_eq!((card.name.as_str(), card.description.as_str()), ("Weather", "Knows the weather."));
    let task = ask_text(&world, "Oslo?").await;
    assert_eq!((task.state(), answer(&task).as_str()), (TaskState::Completed, "Rain, of course."));

    let told = std::fs::read_to_string(directory.join("told")).unwrap();
    let (told, shown): (Vec<Value>, Vec<Value>) = (
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        written("> ").map(|line| serde_json::from_str(line).unwrap()).collect(),
    );
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&told[0]["server"]), names(&shown[0]["server"]));
    assert_eq!(told[0]["server"]["maxLineBytes"], shown[0]["server"]["maxLineBytes"]);
    assert_eq!(names(&shown[1]["turn"]), names(&told[1]["turn"]));
    assert_eq!(told[1]["turn"]["message"]["parts"], shown[1]["turn"]["message"]["parts"]);
    let settings = serde_json::to_value(a2a_webcap::limits::ProcessLimits::default()).unwrap();
    for setting in names(&settings) {
        assert!(document.contains(&format!("| `{setting}` |")), "{setting} is not documented");
    }
}

#[tokio::test]
async fn its_first_line_says_the_version_and_the_longest_line() {
    let script = r#"
card
server=$(printf %s "$server" | tr '"' "'")
while next; do chunk "$task" "$server"; status "$task" COMPLETED; done
"#;
    let task = ask_text(&lines(script).await, "go").await;
    let hello: Value = serde_json::from_str(&answer(&task).replace('\'', "\"")).unwrap();
    assert_eq!(
        (&hello["server"]["protocol"], &hello["server"]["maxLineBytes"]),
        (&1.into(), &(16 << 20).into())
    );
}

#[tokio::test]
async fn every_kind_of_event_reaches_the_client_as_it_was_said() {
    let script = r#"
card
while next; do
  printf '{"statusUpdate":{"taskId":"%s","status":{"state":"TASK_STATE_WORKING","message":{"parts":[{"text":"hm"}]}},"metadata":{"k":1}}}\n' "$task"
  printf '{"artifactUpdate":{"taskId":"%s","artifact":{"artifactId":"a","name":"n","parts":[{"text":"x"}]},"append":false}}\n' "$task"
  printf '{"artifactUpdate":{"taskId":"%s","artifact":{"artifactId":"a","parts":[{"text":"y"}]},"append":true,"lastChunk":true}}\n' "$task"
  status "$task" REJECTED
done
"#;
    let world = lines(script).await;
    let mut stream = world.alice().await.stream("go");
    let mut seen = Vec::new();
    while let Some(event) = soon("an event", stream.next()).await {
        seen.push(match event.unwrap().content {
            StreamResponse::StatusUpdate(update) => {
                let said = update.status.message.map(|message| message.text().into_owned());
                format!("{} {} {:?}", update.status.state, said.unwrap_or_default(), update.metadata)
            }
            StreamResponse::ArtifactUpdate(update) => {
                format!("{} {} {}", update.artifact.text_content(), update.append, update.last_chunk)
            }
            StreamResponse::Task(task) => format!("task {}", task.state()),
            StreamResponse::Message(_) => "message".to_owned(),
        });
    }
    let expected = ["working hm Some({\"k\": Number(1)})", "x false false", "y true true", "rejected  None"];
    assert_eq!(seen[seen.len() - 4..], expected);
}

#[tokio::test]
async fn a_program_that_says_so_may_answer_with_a_message_without_a_task() {
    let script = r#"
card ',"mayReply":true'
while next; do printf '{"message":{"taskId":"%s","parts":[{"text":"hi"}]}}\n' "$task"; done
"#;
    let client = lines(script).await;
    match client.alice().await.send(Message::user("go")).await.unwrap() {
        SendMessageResponse::Message(message) => assert_eq!(message.text(), "hi"),
        SendMessageResponse::Task(task) => panic!("{task:?}"),
    }
}

#[tokio::test]
async fn the_end_of_a_turn_with_an_error_fails_its_task_with_it() {
    let script = r#"
card
while next; do printf '{"turnEnd":{"taskId":"%s","error":"no paper"}}\n' "$task"; done
"#;
    assert_eq!(reason(&ask_text(&lines(script).await, "go").await), "no paper");
}

#[tokio::test]
async fn messages_to_a_running_turn_come_as_lines_if_the_program_takes_them() {
    let script = r#"
card ',"inbox":true'
while next; do
  case $kind in turn) status "$task" WORKING;; message) chunk "$task" "heard $text"; status "$task" COMPLETED;; esac
done
"#;
    let world = lines(script).await;
    let client = world.alice().await;
    let mut stream = client.stream("go");
    let task = loop {
        let event = soon("an event", stream.next()).await.unwrap().unwrap();
        if event.state() == Some(TaskState::Working) {
            break event.task_id().unwrap().to_owned();
        }
    };
    let task = ask(&client, Message::user("psst").in_task(task)).await;
    assert_eq!(answer(&task), "heard psst");
}

#[tokio::test]
async fn a_cancel_comes_as_a_line_and_the_program_goes_on_with_others() {
    let script = r#"
card
while next; do
  case $kind in
    turn) status "$task" WORKING; case $text in wait) ;; *) chunk "$task" "$seen"; status "$task" COMPLETED;; esac;;
    cancel) seen="canceled $task"; status "$task" CANCELED;;
  esac
done
"#;
    let world = lines(script).await;
    let client = world.alice().await;
    let id = begun(&world, "wait").await;
    let canceled = client.task(id.as_str()).cancel().await.unwrap();
    assert_eq!(canceled.state(), TaskState::Canceled);
    assert_eq!(answer(&ask_text(&world, "go").await), format!("canceled {id}"));
    client.close().await;
    world.forgets_everybody().await;
}

#[tokio::test]
async fn a_hundred_turns_run_at_once_on_one_program() {
    // No turn is ended before all have begun, so they do run at once.
    let script = r#"
card
tasks=; count=0
while next; do
  status "$task" WORKING
  tasks="$tasks $task"; count=$((count + 1))
  if [ $count = 100 ]; then for task in $tasks; do chunk "$task" "$task"; status "$task" COMPLETED; done; fi
done
"#;
    let world = lines(script).await;
    let client = world.alice().await;
    let tasks =
        futures::future::join_all((0..100).map(|n| ask(&client, Message::user(format!("turn {n}"))))).await;
    for task in &tasks {
        assert_eq!((task.state(), answer(task).as_str()), (TaskState::Completed, &*task.id));
    }
}

#[tokio::test]
async fn the_card_line_and_the_file_beside_make_the_card() {
    let script = format!(
        "{}\nprintf '{}\\n'; cat > /dev/null\n",
        "#!/bin/sh", r#"{"card":{"name":"Line","version":"7"}}"#
    );
    let (_scratch, directory) = files(&[("my.agent.sh", &script)]);
    let path = directory.join("my.agent.sh").display().to_string();
    let card = async || {
        let world = lines_of(a2a_webcap::agents::Program::parse(&path).unwrap(), limits(|_| ())).await;
        world.alice().await.agent_card().await.unwrap()
    };
    let of_line = card().await;
    assert_eq!((of_line.name.as_str(), of_line.version.as_str()), ("Line", "7"));
    std::fs::write(directory.join("my.agent.card.json"), r#"{"name": "File"}"#).unwrap();
    let of_both = card().await;
    assert_eq!((of_both.name.as_str(), of_both.version.as_str()), ("File", "7"));
}

#[tokio::test]
async fn a_program_that_dies_fails_its_tasks_with_its_exit_code_and_is_started_again() {
    let script = r#"
card
while next; do case $text in die) status "$task" WORKING; exit 9;; *) chunk "$task" $$; status "$task" COMPLETED;; esac; done
"#;
    let world = lines(script).await;
    let first = answer(&ask_text(&world, "who").await);
    let failed = ask_text(&world, "die").await;
    assert_eq!(reason(&failed), "the agent's program ended: exit code 9");
    let second = answer(&ask_text(&world, "who").await);
    assert!(first != second && !second.is_empty(), "{first}, {second}");
}

#[tokio::test]
async fn a_program_that_exits_after_each_turn_is_there_for_the_next() {
    let world = lines("card\nnext; chunk \"$task\" \"$text $$\"; status \"$task\" COMPLETED").await;
    for n in 0..5 {
        let answer = answer(&ask_text(&world, &format!("turn-{n}")).await);
        let (said, id) = answer.split_once(' ').unwrap();
        assert_eq!(said, format!("turn-{n}"));
        // A turn that comes before its end is seen would be given to it, and fail with it.
        until("its end was seen", || !std::path::Path::new("/proc").join(id).exists()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_program_that_resumes_is_given_its_turns_again_and_told_what_it_has_made() {
    let (_scratch, directory) = files(&[]);
    let script = r#"
card ',"resumes":true'
while next; do
  if [ -e died ]; then
    made=${line#*'"resumed":'}
    case $line in *'"resumed":'*) made=$(printf %s "$made" | tr -d '"{}');; *) made=none;; esac
    chunk "$task" "three [$made]"; status "$task" COMPLETED
  else
    chunk "$task" "one "; chunk "$task" "two "; : > died; kill -KILL $$
  fi
done
"#;
    let world = lines_of(shell(script).directory(&directory), limits(|_| ())).await;
    let task = ask_text(&world, "go").await;
    assert_eq!(task.state(), TaskState::Completed, "{task:?}");
    assert_eq!(answer(&task), "one two three [artifacts:[artifactId:a,characters:8,parts:2]]");
}

#[tokio::test]
async fn a_turn_that_always_kills_its_program_is_not_given_for_ever() {
    let script = "card ',\"resumes\":true'\nwhile next; do case $text in die) exit 1;; *) status \"$task\" COMPLETED;; esac; done";
    let world = lines_of(shell(script), limits(|limits| limits.resumes = 1)).await;
    let why = reason(&ask_text(&world, "die").await);
    assert!(why.contains("exit code 1") && why.contains("given this task 2 times"), "{why}");
    assert_eq!(ask_text(&world, "go").await.state(), TaskState::Completed);
}

#[tokio::test]
async fn a_server_that_comes_back_gives_the_turn_to_its_program_again() {
    let (_scratch, directory) = files(&[("agent.sh", "")]);
    let store = directory.join("store").display().to_string();
    let script = r#"#!/bin/sh
card ',"resumes":true'
while next; do
  case $line in
    *'"resumed":'*) chunk "$task" two; status "$task" COMPLETED;;
    *) chunk "$task" "one ";;
  esac
done
"#;
    let script = script.replace("#!/bin/sh", &format!("#!/bin/sh\n{}", crate::process::WORDS));
    std::fs::write(directory.join("agent.sh"), script).unwrap();
    let agent = format!("jsonl:{}", directory.join("agent.sh").display());
    let mut served = Served::start(&agent, &["--store", &store]).await;
    let mut stream = served.client().await.stream("go");
    let id = loop {
        let event = soon("an event", stream.next()).await.unwrap().unwrap();
        if event.artifact_text().is_some() {
            break event.task_id().unwrap().to_owned();
        }
    };
    served.signal("-KILL");
    soon("it is gone", served.child.wait()).await.unwrap();
    let served = Served::start(&agent, &["--store", &store]).await;
    let client = served.client().await;
    let mut stream = client.subscribe(id.as_str(), Cursor::After(0));
    while let Some(event) = soon("an event", stream.next()).await {
        event.unwrap();
    }
    let task = client.task(id.as_str()).get(None).await.unwrap();
    assert_eq!((task.state(), answer(&task).as_str()), (TaskState::Completed, "one two"), "{}", served.log());
}

#[tokio::test]
async fn the_end_of_its_input_tells_a_program_that_its_server_stops() {
    let (_scratch, directory) = files(&[]);
    let script =
        "card\nwhile next; do chunk \"$task\" $$; status \"$task\" COMPLETED; done\necho over > over";
    let world = lines_of(shell(script).directory(&directory), limits(|_| ())).await;
    let id = answer(&ask_text(&world, "go").await);
    assert!(is_alive(&id));
    soon("the server stops", world.server.stop()).await;
    assert!(!is_alive(&id) && directory.join("over").exists());
}

#[tokio::test]
async fn a_program_that_ignores_the_end_of_its_input_is_made_to_end_with_its_server() {
    let script = "trap '' TERM\ncard\nnext; chunk \"$task\" $$; status \"$task\" COMPLETED\nwhile :; do sleep 0.1; done";
    let world = lines_of(shell(script), limits(|limits| limits.grace = Duration::from_millis(100))).await;
    let id = answer(&ask_text(&world, "go").await);
    soon("the server stops", world.server.stop()).await;
    is_gone(&id).await;
}

#[tokio::test]
async fn dropping_the_agent_ends_its_program() {
    let (_scratch, directory) = files(&[]);
    let script = "echo $$ > id; card; while :; do sleep 0.1; done";
    let agent = JsonLines::new(shell(script).directory(&directory)).start().await.unwrap();
    let id = std::fs::read_to_string(directory.join("id")).unwrap();
    assert!(is_alive(&id));
    drop(agent);
    is_gone(&id).await;
}

/// Begins a turn, waits until the agent works, and says the task's id.
pub(crate) async fn begun(world: &World, text: &str) -> String {
    let mut stream = world.alice().await.stream(text);
    loop {
        let event = soon("an event", stream.next()).await.unwrap().unwrap();
        if event.state() == Some(TaskState::Working) {
            let id = event.task_id().unwrap().to_owned();
            until("it is known", || world.counts().turns > 0).await;
            return id;
        }
    }
}
