//! Agents that are programs: the helper of all their tests, and what holds for both kinds.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use a2a_webcap::agents::{Exec, JsonLines, Program};
use a2a_webcap::client::{Client, Credentials};
use a2a_webcap::limits::ProcessLimits;
use a2a_webcap::model::{Message, SendMessageResponse, Task, TaskState};
use tokio::process::{Child, Command};

use crate::cli::{Scratch, program};
use crate::world::{ALICE, World, soon, until};

/// What the shell programs of these tests are made of: words for the lines of the protocol.
pub(crate) const WORDS: &str = r#"
card() { printf '{"card":{},"protocol":1%s}\n' "$1"; IFS= read -r server; }
status() { printf '{"statusUpdate":{"taskId":"%s","status":{"state":"TASK_STATE_%s"}}}\n' "$1" "$2"; }
data() { printf '{"artifactUpdate":{"taskId":"%s","artifact":{"artifactId":"turn","parts":[{"data":%s}]}}}\n' "$1" "$2"; }
chunk() { printf '{"artifactUpdate":{"taskId":"%s","append":true,"artifact":{"artifactId":"a","parts":[{"text":"%s"}]}}}\n' "$1" "$2"; }
next() {
  IFS= read -r line || return 1
  task=${line#*'"taskId":"'}; task=${task%%'"'*}
  text=${line#*'"text":"'}; text=${text%%'"'*}
  kind=${line#'{"'}; kind=${kind%%'"'*}
}
"#;

/// A program in a shell, and the file that it is in for as long as this lives.
pub(crate) fn shell(body: &str) -> Program {
    Program::new("sh", ["-c", &format!("{WORDS}{body}")]).expect("there is a shell")
}

/// The world with an agent that runs this in a shell for each turn.
pub(crate) async fn exec(body: &str) -> World {
    exec_of(shell(body), ProcessLimits::default()).await
}

pub(crate) async fn exec_of(program: Program, limits: ProcessLimits) -> World {
    let agent = Exec::new(program).expect("no card file is wrong").limits(limits);
    World::of(|builder| builder.agent(agent)).await
}

/// The world with an agent that keeps this running in a shell.
pub(crate) async fn lines(body: &str) -> World {
    lines_of(shell(body), ProcessLimits::default()).await
}

pub(crate) async fn lines_of(program: Program, limits: ProcessLimits) -> World {
    let agent = soon("the program is up", JsonLines::new(program).limits(limits).start()).await;
    let agent = agent.unwrap_or_else(|error| panic!("{error}"));
    World::of(|builder| builder.tenant("default", Arc::new(agent))).await
}

/// Bounds that differ from the default ones in a few points.
pub(crate) fn limits(change: impl FnOnce(&mut ProcessLimits)) -> ProcessLimits {
    let mut limits = ProcessLimits::default();
    change(&mut limits);
    limits
}

/// Sends a message, and waits for what becomes of it.
pub(crate) async fn ask(client: &Client, said: impl Into<Message>) -> Task {
    let said: Message = said.into();
    match soon("an answer", client.send(said)).await.expect("the send is taken") {
        SendMessageResponse::Task(task) => task,
        SendMessageResponse::Message(message) => panic!("expected a task, not {message:?}"),
    }
}

pub(crate) async fn ask_text(world: &World, text: &str) -> Task {
    ask(&world.alice().await, Message::user(text)).await
}

/// What stands in a task's artifacts.
pub(crate) fn answer(task: &Task) -> String {
    task.artifacts.iter().map(|artifact| artifact.text_content()).collect()
}

/// Why a task failed.
pub(crate) fn reason(task: &Task) -> String {
    assert_eq!(task.state(), TaskState::Failed, "{task:?}");
    task.status.message.as_ref().expect("a reason").text().into_owned()
}

/// Whether a process is there. A zombie is not.
pub(crate) fn is_alive(id: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
    status.is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// Waits until a process has gone.
pub(crate) async fn is_gone(id: &str) {
    until("the process has gone", || !is_alive(id)).await;
}

/// `serve` as people start it, with its log.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) state: Scratch,
    url: String,
}

impl Served {
    /// With an agent's setting, and more options.
    pub(crate) async fn start(agent: &str, options: &[&str]) -> Self {
        Self::start_in(agent, options, &[]).await
    }

    /// The same, with these variables in its environment. The log is text if they do not say otherwise.
    pub(crate) async fn start_in(agent: &str, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let state = Scratch::new();
        std::fs::create_dir_all(&state.0).expect("a directory for the state");
        let log = std::fs::File::create(state.0.join("log")).expect("a log");
        let out = std::fs::File::create(state.0.join("out")).expect("a file for what it prints");
        let mut command: Command = program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--agent", agent]).args(options);
        command.env("A2A_WEBCAP_STATE_DIR", &state.0).env("A2A_WEBCAP_DEV_KEY", ALICE);
        command.env("A2A_WEBCAP_LOG_FORMAT", "text").envs(variables.iter().copied());
        let child = command.stdin(Stdio::null()).stdout(out).stderr(log).spawn().expect("the server starts");
        let mut served = Self { child, state, url: String::new() };
        until("it listens, or has ended", || {
            let printed = served.read("out");
            let url = printed.lines().find_map(|line| line.strip_prefix("Listening: "));
            served.url = url.unwrap_or_default().to_owned();
            !served.url.is_empty() || served.child.try_wait().is_ok_and(|status| status.is_some())
        })
        .await;
        served
    }

    pub(crate) async fn client(&self) -> Client {
        let client = Client::builder(&*self.url).credentials(Credentials::api_key(ALICE));
        client.connect().await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    /// Waits for a line of the log with all of these in it.
    pub(crate) async fn logs(&self, words: &[&str]) -> String {
        let find = || {
            let log = self.log();
            log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        };
        let mut found = None;
        let looking = async {
            while found.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                found = find();
            }
        };
        let in_time = tokio::time::timeout(std::time::Duration::from_secs(30), looking).await;
        assert!(in_time.is_ok(), "no line of the log has {words:?}:\n{}", self.log());
        found.unwrap_or_default()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read(self.state.0.join(name))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// Writes a file beside its state, and says where.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        assert!(
            std::process::Command::new("kill").args([signal, &id]).status().expect("kill is there").success()
        );
    }
}

/// A directory with files in it, made executable.
pub(crate) fn files(files: &[(&str, &str)]) -> (Scratch, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).expect("a directory");
    for (name, text) in files {
        let path = scratch.0.join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("an executable file");
    }
    let directory = scratch.0.clone();
    (scratch, directory)
}
