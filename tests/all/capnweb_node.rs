//! The off-the-shelf npm client, 0.12 and 0.5, in Node, against our server over real sockets.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::world::{ALICE, World, soon, until};

/// The newest client, and the oldest one that the server speaks with.
const VERSIONS: [&str; 2] = ["0.12", "0.5"];
const NEWEST: &str = "0.12";

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/capnweb")
}

/// Whether the client can be started. If not, says so where a test that passes is heard too; with
/// `A2A_WEBCAP_NEED_NODE=1` it fails instead.
pub(crate) fn is_here(test: &str) -> bool {
    let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let installed = ["capnweb", "capnweb-0.5", "ws"].map(|name| directory().join("node_modules").join(name));
    if node && installed.iter().all(|package| package.is_dir()) {
        return true;
    }
    let missing = if node { "its packages (run `npm ci` in tests/peers/capnweb)" } else { "node" };
    assert!(std::env::var_os("A2A_WEBCAP_NEED_NODE").is_none(), "{test} needs {missing}");
    // Not by eprintln, which a test runner keeps to itself.
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED, NOT PASSED: {test} needs {missing} ***\n");
    false
}

/// A scenario that runs in Node.
struct Page {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Page {
    fn open(world: &World, version: &str, scenario: &str) -> Self {
        let mut child = tokio::process::Command::new("node")
            .arg(directory().join("against-server.mjs"))
            .args([version, scenario, &format!("{}/capnweb", world.url()), ALICE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// What it prints when it has gone well.
    async fn says(&mut self) -> Value {
        let mut line = String::new();
        soon("a word of Node", self.output.read_line(&mut line)).await.unwrap();
        if line.is_empty() {
            let mut why = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut why).await.unwrap();
            panic!("{why}");
        }
        serde_json::from_str(&line).unwrap()
    }

    /// Lets it end.
    async fn goes(mut self) {
        let _ = self.input.write_all(b"\n").await;
        assert!(soon("the end of Node", self.child.wait()).await.unwrap().success());
    }
}

/// Plays a scenario to its end.
async fn play(version: &str, scenario: &str) -> Value {
    let world = World::demo().await;
    let mut page = Page::open(&world, version, scenario);
    let said = page.says().await;
    page.goes().await;
    world.forgets_everybody().await;
    said
}

/// Plays it with every version of the client.
async fn plays(scenario: &str) {
    if is_here(scenario) {
        for version in VERSIONS {
            play(version, scenario).await;
        }
    }
}

#[tokio::test]
async fn three_frames_leave_before_any_answer_as_in_the_recorded_trace() {
    if !is_here("the trace") {
        return;
    }
    for version in VERSIONS {
        let said = play(version, "trace").await;
        let frames = said["frames"].as_array().unwrap();
        let (ours, theirs): (Vec<_>, Vec<_>) = frames.iter().partition(|frame| frame[0] == "C");
        let sent: Vec<&Value> = frames.iter().map(|frame| &frame[1]).take(3).collect();
        assert!(frames[..3].iter().all(|frame| frame[0] == "C"), "{version}: {frames:?}");
        assert_eq!(sent[0], &json!(["push", ["pipeline", 0, ["authenticate"], [ALICE]]]));
        let call = sent[1][1].as_array().unwrap();
        assert_eq!(call[..3], [json!("pipeline"), json!(1), json!(["sendMessageStreaming"])]);
        assert_eq!(call[3][1], json!(["export", -1]), "the callback");
        assert_eq!(sent[2], &json!(["pull", 2]));
        // The server's events leave nothing in any table: each is one frame, acknowledged by one.
        let of = |list: &[&Value], kind: &str| list.iter().filter(|frame| frame[1][0] == kind).count();
        assert_eq!((of(&theirs, "stream"), of(&theirs, "push")), (8, 0), "{version}: {theirs:?}");
        assert_eq!(of(&ours, "resolve"), 8, "{version}");
        assert!(theirs.iter().any(|frame| frame[1] == json!(["release", -1, 1])), "the callback is let go");
    }
}

impl Page {
    /// A page that has disposed what it had, and whose connection is still open.
    async fn disposed(world: &World, version: &str, scenario: &str) -> Self {
        let mut page = Self::open(world, version, scenario);
        let said = page.says().await;
        assert!(said["stats"].is_object(), "{said}");
        page
    }
}

#[tokio::test]
async fn a_callback_of_every_shape_is_called() {
    plays("callbacks").await;
}

#[tokio::test]
async fn a_page_cancels_a_task_and_sees_it_in_its_stream() {
    plays("cancel").await;
}

#[tokio::test]
async fn a_page_resumes_after_a_lost_connection_without_gap_or_repeat() {
    plays("resume").await;
}

#[tokio::test]
async fn an_error_has_code_reason_and_details_where_the_client_reads_them() {
    if !is_here("errors") {
        return;
    }
    let said = play(NEWEST, "errors").await;
    let missing = json!({ "code": -32001, "reason": "TASK_NOT_FOUND", "domain": "a2a-protocol.org" });
    assert_eq!(said["thrown"], missing);
    assert_eq!(said["pipelined"], json!({ "code": -31401, "reason": "UNAUTHENTICATED" }));
    assert_eq!(said["invalid"]["code"], -32602);
    assert!(said["invalid"]["field"].as_str().unwrap().starts_with("message"), "{said}");
    // Before 0.8 the library drops what an error has beside its message.
    assert_eq!(play("0.5", "errors").await["thrown"], json!({}));
}

#[tokio::test]
async fn what_a_page_disposes_is_gone_on_both_sides_while_the_connection_lives() {
    if !is_here("disposal") {
        return;
    }
    for version in VERSIONS {
        let world = World::demo().await;
        let page = Page::disposed(&world, version, "disposal").await;
        until("no stream is left", || world.counts().feeds == 0).await;
        assert_eq!(world.server.net_counters().sockets(), 1);
        page.goes().await;
        world.forgets_everybody().await;
    }
}

#[tokio::test]
async fn results_are_mapped_at_the_server() {
    plays("map").await;
}

#[tokio::test]
async fn without_a_callback_a_page_reads_a_stream_of_events() {
    plays("stream").await;
}

#[tokio::test]
async fn a_reader_that_cancels_ends_its_subscription_and_not_its_task() {
    if !is_here("streamCancel") {
        return;
    }
    for version in VERSIONS {
        let world = World::demo().await;
        let page = Page::disposed(&world, version, "streamCancel").await;
        until("no stream is left", || world.counts().feeds == 0).await;
        assert_eq!(world.counts().turns, 1, "the task goes on");
        page.goes().await;
    }
}

#[tokio::test]
async fn a_stream_whose_authority_is_taken_back_breaks_off_with_the_reason() {
    if !is_here("streamRevoke") {
        return;
    }
    let said = play(NEWEST, "streamRevoke").await;
    assert_eq!((&said["code"], &said["reason"]), (&json!(-31410), &json!("REVOKED")), "{said}");
    assert_eq!((&said["end"], &said["called"]), (&json!("revoked"), &json!(-31410)), "{said}");
    assert!(play("0.5", "streamRevoke").await["message"].as_str().unwrap().contains("revoked by alice"));
}

#[tokio::test]
async fn calls_of_one_http_request_depend_on_each_other() {
    plays("batch").await;
}

#[tokio::test]
async fn after_a_thousand_events_the_pages_tables_are_as_before() {
    plays("thousand").await;
}

#[tokio::test]
async fn a_page_speaks_a2a_0_3_on_one_session() {
    plays("old").await;
}
