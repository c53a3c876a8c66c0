//! Arguments, formats and golden output; nothing here opens a socket.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use super::*;
use crate::model::{Artifact, Id, ListTasksResponse, Message, Part, Task, TaskState, TaskStatus, Timestamp};

/// A stream whose bytes the test keeps.
#[derive(Clone, Default)]
struct Paper(Rc<RefCell<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a command line: its exit code, its standard output and its standard error.
fn execute_line(line: &str) -> (u8, String, String) {
    let (results, remarks) = (Paper::default(), Paper::default());
    let mut output = Output::new(Box::new(results.clone()), Box::new(remarks.clone()));
    let arguments = std::iter::once("a2a-webcap").chain(line.split_whitespace()).map(Into::into).collect();
    let code = run(arguments, &mut output);
    (code, results.text(), remarks.text())
}

fn parse(line: &str) -> Cli {
    let arguments = std::iter::once("a2a-webcap").chain(line.split_whitespace());
    Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_command_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn flags_are_understood_before_and_after_the_command() {
    for line in ["-o json --api-key k send hello", "send hello -o json --api-key k"] {
        let cli = parse(line);
        assert_eq!((cli.global.output, cli.global.api_key.as_deref()), (Format::Json, Some("k")), "{line}");
    }
}

#[test]
fn the_canonical_names_and_their_aliases_are_understood() {
    for line in ["send --task-id t --context-id c x", "send --task t --context c x"] {
        let Command::Send(send) = parse(line).command else { panic!("{line}") };
        let debug = format!("{send:?}");
        assert!(
            debug.contains(r#"task_id: Some("t")"#) && debug.contains(r#"context_id: Some("c")"#),
            "{debug}"
        );
    }
    for line in ["send --async x", "send --no-wait x", "send --return-immediately x"] {
        assert!(format!("{:?}", parse(line).command).contains("async: true"), "{line}");
    }
}

#[test]
fn a_usage_error_is_an_envelope_in_json_and_a_sentence_in_text() {
    let (code, results, remarks) = execute_line("send --stream --async hello -o json");
    assert_eq!((code, remarks.as_str()), (2, ""));
    let envelope: serde_json::Value = serde_json::from_str(&results).unwrap();
    assert_eq!(envelope["error"]["code"], "A2ACLI_ERR_USAGE");
    assert_eq!(envelope["error"]["a2aCode"], serde_json::Value::Null);
    assert!(results.starts_with(r#"{"error":{"code":"#), "{results}");

    let (code, results, remarks) = execute_line("send");
    assert_eq!((code, results.as_str()), (2, ""));
    assert!(remarks.starts_with("error: there is nothing to send"), "{remarks}");
}

#[test]
fn help_and_version_are_results() {
    let (code, results, remarks) = execute_line("--version");
    assert_eq!((code, remarks.as_str()), (0, ""));
    assert_eq!(results, format!("a2a-webcap {}\n", env!("CARGO_PKG_VERSION")));
    let (code, results, _) = execute_line("send --help");
    assert!(code == 0 && results.contains("--stream") && !results.contains('\u{1b}'), "{results}");
}

#[test]
fn an_address_that_is_none_is_a_usage_error() {
    let (code, _, remarks) = execute_line("-a http://user:hunter2@example.org card get");
    assert_eq!(code, 2);
    assert!(!remarks.contains("hunter2"), "{remarks}");
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let (code, results, _) = execute_line("-o json -a 127.0.0.1:1 --api-key k card get");
    let envelope: serde_json::Value = serde_json::from_str(&results).unwrap();
    assert_eq!((code, &envelope["error"]["code"]), (3, &serde_json::json!("A2ACLI_ERR_UNREACHABLE")));
    assert!(!results.contains("\"k\""), "{results}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut output = Output::new(Box::new(Closed), Box::new(io::sink()));
    assert_eq!(run(vec!["a2a-webcap".into(), "--version".into()], &mut output), 0);
}

#[test]
fn durations_have_units_and_bounds() {
    for (text, millis) in [("500ms", 500), ("30s", 30_000), ("2m", 120_000), ("1h", 3_600_000), ("7", 7_000)]
    {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for wrong in ["", "s", "0", "-1s", "1d", "9999999h", "99999999999999999999s"] {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn parts_come_in_the_order_of_their_flags() {
    let line = [
        "a2a-webcap",
        "send",
        "--text",
        "a",
        "--media-type",
        "text/markdown",
        "--file",
        "http://h/x.pdf",
        "--text",
        "b",
    ];
    let matches = Cli::command().try_get_matches_from(line).unwrap();
    let parts = parts::read(matches.subcommand_matches("send").unwrap()).unwrap();
    let mut first = Part::text("a");
    first.media_type = Some("text/markdown".to_owned());
    let mut second = Part::url("http://h/x.pdf", "application/pdf");
    second.filename = Some("x.pdf".to_owned());
    assert_eq!(parts, [first, second, Part::text("b")]);
}

#[test]
fn a_task_is_shown_as_fields_and_blocks_without_control_characters() {
    let since = Timestamp::from_unix_nanos(0);
    let asked = Message::agent("Which one?\u{1b}[2J");
    let mut task =
        Task::new("t-1", "c\n1", TaskStatus::new(TaskState::InputRequired, since).with_message(asked));
    let mut artifact = Artifact::text("a-1", "some text");
    artifact.parts.push(Part::data(serde_json::json!({"n": 1})));
    artifact.parts.push(Part::raw(vec![0; 3], "image/png"));
    task.artifacts.push(artifact);
    let expected = "Task ID: t-1\nContext ID: c 1\nState: input-required\nMessage:\nWhich one?\u{fffd}[2J\n\n\
                    Artifact a-1:\nsome text\n{\n  \"n\": 1\n}\n[file unnamed, image/png, 3 bytes]\n\n";
    assert_eq!(text::task(&task), expected);
}

#[test]
fn a_page_of_tasks_says_how_to_go_on() {
    let task = Task::new(
        Id::from("t"),
        "c",
        TaskStatus { state: TaskState::Working, message: None, timestamp: None },
    );
    let page = ListTasksResponse {
        tasks: vec![task],
        next_page_token: "more".to_owned(),
        page_size: 1,
        total_size: 3,
    };
    let expected = "Task ID: t\nContext ID: c\nState: working\n\nTasks: 1 of 3\nNext page: more\n";
    assert_eq!(text::tasks(&page), expected);
}
