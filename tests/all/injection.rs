//! Text that would forge a log, from wherever others' text comes in: it stays within its value.

use std::process::{Output, Stdio};

use a2a_webcap::model::{Message, fresh_id};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::cli::{Scratch, program};
use crate::evidence::exchange;
use crate::process::{Served, WORDS, ask, files};
use crate::web::{Web, message};
use crate::world::{ALICE, soon};

/// What each of them tries. `forged` is a field, `FORGED` begins a line.
fn nasty_texts() -> Vec<Vec<u8>> {
    let texts = [
        "\nFORGED a line",
        "\r\nFORGED a line",
        "\rFORGED a line",
        "\u{1b}[31mFORGED red",
        "\u{1b}]0;FORGED title\u{7}",
        "\u{9b}2JFORGED",
        "\u{85}FORGED next line",
        "\u{2028}FORGED separator",
        "\u{2029}FORGED separator",
        "\u{202e}DEGROF",
        "\u{2066}FORGED\u{2069}",
        "\u{0}FORGED\u{8}\u{8}",
        "\u{7f}FORGED",
        " level=ERROR forged=yes",
        "\" level=ERROR forged=\"yes",
        "\",\"level\":\"ERROR\",\"forged\":\"yes",
        "\\\" forged=yes \\",
        "\u{200b}\u{e0041}FORGED\u{301}\u{301}",
        "{}%s%n${jndi:ldap://forged=yes}",
        "\u{1f600}\n\n{\"level\":\"ERROR\",\"forged\":true}\n",
    ];
    let mut all: Vec<_> = texts.into_iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(b"\xff\xfe\nFORGED\xc3".to_vec());
    all.push([&b"x".repeat(20_000)[..], b"\nFORGED"].concat());
    all
}

/// Says what it is told to on stderr, or on stdout with the id of its task in it.
const AGENT: &str = r#"
card
while next; do
  bytes=${text#*:}
  case $text in
    stderr:*) printf %s "$bytes" | base64 -d >&2; echo >&2;;
    stdout:*) printf %s "$bytes" | base64 -d | sed "s/TASK/$task/"; echo;;
  esac
  status "$task" COMPLETED
done
"#;

/// A place where a peer's text may reach a log.
struct Place {
    name: &'static str,
    /// Whether the log must have it, so that it can be seen that something was tried.
    is_logged: bool,
}

const fn logged(name: &'static str) -> Place {
    Place { name, is_logged: true }
}

const fn silent(name: &'static str) -> Place {
    Place { name, is_logged: false }
}

const PLACES: &[Place] = &[
    logged("host"),
    logged("origin"),
    silent("path"),
    silent("user-agent"),
    silent("method"),
    silent("task-id"),
    silent("message-id"),
    silent("context-id"),
    silent("metadata"),
    silent("file-name"),
    silent("tenant"),
    silent("called-method"),
    logged("observer"),
    logged("abort"),
    logged("close"),
    logged("stderr"),
    logged("stdout"),
    logged("others-task"),
    silent("status"),
    silent("artifact"),
];

struct Attack {
    served: Served,
    /// A shell reads its script as it goes.
    _agent: Scratch,
    answers: Vec<(String, Vec<u8>)>,
    /// How often a command has shown something.
    shown: usize,
}

impl Attack {
    async fn new(format: &str) -> Self {
        let (scratch, directory) = files(&[("agent.sh", &format!("#!/bin/sh\n{WORDS}{AGENT}"))]);
        let agent = format!("jsonl:{}", directory.join("agent.sh").display());
        let set = ["--set", "limits.process.log-lines-per-second=100000"];
        let environment = [("A2A_WEBCAP_LOG", "trace"), ("A2A_WEBCAP_LOG_FORMAT", format)];
        let served = Served::start_in(&agent, &set, &environment).await;
        assert!(!served.url().is_empty(), "{}", served.log());
        Self { served, _agent: scratch, answers: Vec::new(), shown: 0 }
    }

    async fn input(&mut self, place: &'static str, nasty: &[u8]) {
        let bytes = [place.as_bytes(), b"~", nasty].concat();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match place {
            "host" | "origin" | "path" | "user-agent" | "method" => self.request(place, &bytes).await,
            "observer" => self.fail_an_observer(&text).await,
            "abort" => {
                let mut web = self.web().await;
                web.say(json!(["abort", ["error", "Error", text]])).await;
            }
            "close" => {
                let mut web = self.web().await;
                let reason = text[..text.floor_char_boundary(120)].to_owned();
                let frame = CloseFrame { code: CloseCode::Normal, reason: reason.into() };
                let _ = futures::SinkExt::send(&mut web.socket, Frame::Close(Some(frame))).await;
            }
            "stderr" | "stdout" => self.have_said(place, &bytes).await,
            "others-task" => {
                let status = json!({ "statusUpdate": { "taskId": text, "status": { "state": "TASK_STATE_WORKING" } } });
                self.have_said("stdout", status.to_string().as_bytes()).await;
            }
            "status" => {
                let said = json!({ "messageId": "m", "role": "ROLE_AGENT", "parts": [{ "text": text }] });
                let status = json!({ "state": "TASK_STATE_WORKING", "message": said });
                let update = json!({ "statusUpdate": { "taskId": "TASK", "status": status } });
                self.have_shown(update.to_string().as_bytes()).await;
            }
            "artifact" => {
                let part = json!({ "text": text, "filename": text, "mediaType": text });
                let artifact = json!({ "artifactId": "a", "name": text, "parts": [part] });
                let update = json!({ "artifactUpdate": { "taskId": "TASK", "artifact": artifact } });
                self.have_shown(update.to_string().as_bytes()).await;
            }
            _ => self.call(place, &text).await,
        }
    }

    async fn web(&self) -> Web {
        let url = self.served.url().replace("http://", "ws://") + "/capnweb";
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Web { socket, pushed: 0, heard: 0 }
    }

    async fn request(&mut self, place: &str, bytes: &[u8]) {
        let nothing: &[u8] = b"";
        let (method, path, host, other) = match place {
            "method" => (bytes, nothing, &b"HOST"[..], nothing),
            "path" => (&b"GET"[..], bytes, &b"HOST"[..], nothing),
            "host" => (&b"GET"[..], nothing, bytes, nothing),
            "origin" => (&b"GET"[..], nothing, &b"HOST"[..], &b"Origin: "[..]),
            _ => (&b"GET"[..], &b"metrics"[..], &b"HOST"[..], &b"User-Agent: "[..]),
        };
        let field = if other.is_empty() { Vec::new() } else { [other, bytes, b"\r\n"].concat() };
        let behind = &b" HTTP/1.1\r\nConnection: close\r\nHost: "[..];
        let head = [method, b" /", path, behind, host, b"\r\n", &field, b"\r\n"];
        let answer = exchange(self.served.url(), &head.concat()).await;
        self.answers.push((place.to_owned(), answer));
    }

    async fn call(&mut self, place: &str, text: &str) {
        let mut web = self.web().await;
        let session = web.authenticate(ALICE).await;
        let mut said = message(&fresh_id());
        match place {
            "message-id" => said["messageId"] = text.into(),
            "context-id" => said["contextId"] = text.into(),
            "metadata" => said["metadata"] = json!({ text: text }),
            "file-name" => said["parts"] = json!([[{ "text": "x", "filename": text, "mediaType": text }]]),
            _ => {}
        }
        let id = match place {
            "task-id" => web.push(session, "getTask", json!([text])).await,
            "tenant" => web.push(0, "getAgentCard", json!([text])).await,
            "called-method" => web.push(session, text, json!([])).await,
            _ => web.push(session, "sendMessage", json!([said])).await,
        };
        web.pull(id).await;
        let answer = web.frame().await;
        self.answers.push((place.to_owned(), answer.to_string().into_bytes()));
    }

    async fn fail_an_observer(&mut self, why: &str) {
        let mut web = self.web().await;
        let session = web.authenticate(ALICE).await;
        let send = json!([message(&fresh_id()), {}, ["export", -1]]);
        web.push(session, "sendMessageStreaming", send).await;
        let called = web.called_unanswered().await;
        web.say(json!(["reject", called.id, ["error", "Error", why]])).await;
        // What was said before this is dealt with when this is answered.
        let _ = web.ask(session, "whoAmI", json!([])).await;
    }

    /// Has the agent say something on one of its streams.
    async fn have_said(&self, stream: &str, bytes: &[u8]) {
        let client = self.served.client().await;
        ask(&client, Message::user(format!("{stream}:{}", STANDARD.encode(bytes)))).await;
        client.close().await;
    }

    /// Has the agent say something to its caller, which is a command.
    async fn have_shown(&mut self, bytes: &[u8]) {
        let text = format!("stdout:{}", STANDARD.encode(bytes));
        self.shown += 1;
        let format = if self.shown.is_multiple_of(2) { "text" } else { "json" };
        let output = self.run(&["send", "--stream", "--debug", "-o", format, &text]).await;
        check_client(&output, format);
    }

    async fn run(&self, line: &[&str]) -> Output {
        let mut command = program();
        command.args(line).env("A2ACLI_API_KEY", ALICE).env("A2ACLI_AGENT_CARD", self.served.url());
        command.env("A2A_WEBCAP_LOG", "trace").stdin(Stdio::null());
        soon("the command ends", command.output()).await.unwrap()
    }
}

/// Nothing that a terminal obeys, and no text that turns around or hides what is beside it.
fn assert_harmless(place: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{place}: {error}"));
    let obeyed = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let found: Vec<_> = text.lines().filter(|line| line.contains(obeyed)).collect();
    assert!(found.is_empty(), "{place}: {:?}", found[0]);
}

fn check_client(output: &Output, format: &str) {
    assert!(output.status.success(), "{output:?}");
    assert_harmless("standard error of a client", &output.stderr);
    let remarks = std::str::from_utf8(&output.stderr).unwrap();
    assert!(!remarks.lines().any(|line| line.starts_with("FORGED")), "{remarks}");
    if format == "text" {
        return assert_harmless("standard output of a client", &output.stdout);
    }
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        serde_json::from_slice::<Value>(line).expect("one object a line");
    }
}

/// Every line of a log in JSON, as a parser reads it: where the words of each place were seen.
fn read_json(log: &str) -> Vec<Value> {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    log.lines()
        .map(|line| {
            let record: Value = read(line);
            let forged = record.as_object().unwrap().keys().any(|name| name.contains("forged"));
            assert!(!forged && record["level"] != "ERROR", "{line}");
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
            record
        })
        .collect()
}

/// Every line of a log in text begins as a record does, and outside of quotes nothing is forged.
fn read_text(log: &str) {
    // What the server tells whoever stops it is no record.
    for line in log.lines().filter(|line| !line.starts_with("stopping: what runs has a moment")) {
        let mut words = line.split_whitespace();
        let (time, level) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        assert!(a2a_webcap::model::Timestamp::parse(time).is_ok(), "no record: {line:?}");
        assert!(matches!(level, "INFO" | "WARN" | "DEBUG" | "TRACE"), "{line:?}");
        let (mut outside, mut quoted, mut escaped) = (String::new(), false, false);
        for c in line.chars() {
            match c {
                '"' if !escaped => quoted = !quoted,
                _ if !quoted => outside.push(c),
                _ => {}
            }
            escaped = c == '\\' && !escaped;
        }
        assert!(!quoted && !outside.contains("forged="), "{line:?}");
    }
}

#[tokio::test]
async fn no_text_of_a_peer_forges_a_line_a_field_or_a_colour() {
    let texts = nasty_texts();
    assert!(texts.len() * PLACES.len() >= 400, "{} texts", texts.len());
    for format in ["json", "text"] {
        let mut attack = Attack::new(format).await;
        for place in PLACES {
            for text in &texts {
                attack.input(place.name, text).await;
            }
        }
        let metrics = exchange(
            attack.served.url(),
            b"GET /metrics HTTP/1.1\r\nConnection: close\r\nHost: HOST\r\n\r\n",
        )
        .await;
        let metrics = String::from_utf8(metrics).unwrap();
        assert!(
            metrics.contains("a2a_calls_total") && !metrics.to_lowercase().contains("forged"),
            "{metrics}"
        );
        attack.served.signal("-TERM");
        assert!(soon("it stops", attack.served.child.wait()).await.unwrap().success());
        for (place, answer) in &attack.answers {
            let text = String::from_utf8_lossy(answer);
            assert!(!text.lines().any(|line| line.starts_with("FORGED")), "{place}: {text}");
        }
        let log = attack.served.log();
        assert_harmless("the log", log.as_bytes());
        assert!(!log.lines().any(|line| line.trim_start().starts_with("FORGED")), "{log}");
        match format {
            "json" => drop(read_json(&log)),
            _ => read_text(&log),
        }
        let longest = log.lines().map(str::len).max().unwrap();
        assert!(longest < 64 << 10, "a line of {longest} bytes");
        for place in PLACES.iter().filter(|place| place.is_logged) {
            let seen = log.lines().filter(|line| line.contains(&format!("{}~", place.name))).count();
            assert!(seen * 2 >= texts.len(), "{format}: {} is in {seen} lines of the log", place.name);
        }
    }
}
