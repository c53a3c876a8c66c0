//! What the documents tell people to type is typed here, and the programs that stand in them are run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use a2a_webcap::model::{Message, TaskState};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::capnweb_node;
use crate::cli::{Scratch, err, json, out, program};
use crate::process::{Served, answer, ask};
use crate::process_examples::has;
use crate::world::{ALICE, World, soon};

/// What begins a command.
const BEGINNINGS: [&str; 5] = ["a2a-webcap ", "cargo ", "scripts/", "npm ", "node "];

/// Commands that are not typed here, with who does it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("scripts/test", "whoever runs this test, and CI"),
    ("cargo bench", "scripts/test runs a case of each"),
    ("cargo bench --bench rpc", "scripts/test runs a case of each"),
    ("cargo bench --bench start", "scripts/test runs it"),
    ("cargo bench --bench store", "scripts/test runs a case of each"),
    ("cargo bench --bench web", "scripts/test runs a case of each"),
    ("cargo doc --open", "it opens a browser"),
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and what it leads people to.
fn documents() -> Vec<(PathBuf, String)> {
    let docs = std::fs::read_dir(repository().join("docs")).unwrap();
    let mut paths: Vec<_> = docs.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    paths.push(repository().join("README.md"));
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    let blocks = text.split(&*begin).skip(1);
    blocks.map(|rest| rest.split_once("```").expect("the block ends").0).collect()
}

/// The commands that stand in a document: in a block of a shell's, or between backquotes.
fn commands(text: &str) -> Vec<String> {
    let lines = blocks(text, "sh").into_iter().flat_map(str::lines);
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_command = |span: &&str| BEGINNINGS.iter().any(|beginning| span.starts_with(beginning));
    let found = lines.filter(|line| !line.is_empty()).chain(spans.filter(is_command));
    found.map(|command| command.replace("cargo run --release --", "a2a-webcap")).collect()
}

/// Somebody who has cloned the project and built it.
struct Reader {
    home: Scratch,
}

impl Reader {
    fn new() -> Self {
        let home = Scratch::new();
        for directory in ["bin", "here"] {
            std::fs::create_dir_all(home.0.join(directory)).unwrap();
        }
        let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, home.0.join(to)).unwrap();
        link(Path::new(env!("CARGO_BIN_EXE_a2a-webcap")), "bin/a2a-webcap");
        // What the documents call so is of the reader's own making.
        let examples = repository().join("examples");
        link(&examples.join("agents/plain.sh"), "here/my-script.sh");
        link(&examples.join("agents/lines.py"), "here/my_agent.py");
        link(&examples, "here/examples");
        Self { home }
    }

    /// A shell that has this typed into it.
    fn types(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {line}")]).current_dir(self.home.0.join("here"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("A2A")) {
            command.env_remove(name);
        }
        command.env("HOME", &self.home.0).env_remove("XDG_STATE_HOME").env("NO_COLOR", "1");
        command.env("PATH", format!("{}:{path}", self.home.0.join("bin").display()));
        command.env("A2A_WEBCAP_LISTEN", "127.0.0.1:0").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Types this, to a server at this address, and waits until it has ended well.
    async fn runs(&self, line: &str, server: &str) -> Output {
        let output = self.types(line).env("A2ACLI_AGENT_CARD", server).output();
        let output = soon("the command ends", output).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(output.status.success(), "{line}\n{}\n{}", out(&output), err(&output));
        output
    }

    /// Types this in a terminal of its own. Returns the server's address.
    async fn serves(&self, line: &str) -> (Child, String) {
        let mut child = self.types(line).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let printed = soon("a line", lines.next_line()).await.unwrap();
            let printed = printed.unwrap_or_else(|| panic!("{line} did not start"));
            if let Some(url) = printed.strip_prefix("Listening: ") {
                let url = url.to_owned();
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return (child, url);
            }
        }
    }

    async fn stops(&self, mut server: Child) {
        let id = server.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(soon("it stops", server.wait()).await.unwrap().success());
    }
}

#[tokio::test]
async fn every_command_of_the_documents_does_what_it_says() {
    if !has("python3") {
        return;
    }
    let known = |command: &String| ELSEWHERE.iter().any(|(elsewhere, _)| command == elsewhere);
    let all: BTreeSet<String> = documents().iter().flat_map(|(_, text)| commands(text)).collect();
    for (elsewhere, why) in ELSEWHERE {
        assert!(all.contains(*elsewhere), "no document says {elsewhere:?} any more ({why})");
    }
    let reader = Reader::new();
    let all: Vec<_> = all.into_iter().filter(|command| !known(command)).collect();
    let (servers, others): (Vec<_>, Vec<_>) =
        all.iter().partition(|command| command.starts_with("a2a-webcap serve"));
    assert!(servers.len() >= 4 && others.len() >= 6, "{servers:?} {others:?}");
    for line in servers {
        let (server, url) = reader.serves(line).await;
        let said = reader.runs("a2a-webcap send --stream 'good morning'", &url).await;
        assert!(out(&said).contains("good"), "{line}: {}", out(&said));
        reader.stops(server).await;
    }

    let (server, url) = reader.serves("a2a-webcap serve").await;
    let sent = reader.runs("a2a-webcap send -o json hello", &url).await;
    let task = json(&sent)["task"]["id"].as_str().expect("a task").to_owned();
    for line in others {
        let line = match line.as_str() {
            "a2a-webcap task delete ID" => line.replace("ID", &task),
            "a2a-webcap backup TO --store DIR" => {
                line.replace("TO", "copy").replace("DIR", "$HOME/.local/state/a2a-webcap/store")
            }
            "a2a-webcap restore FROM --store DIR" => line.replace("FROM", "copy").replace("DIR", "restored"),
            line => line.to_owned(),
        };
        reader.runs(&line, &url).await;
    }
    reader.stops(server).await;
}

#[tokio::test]
async fn the_agent_in_the_readme_is_one() {
    if !has("python3") {
        return;
    }
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let [text] = blocks(&readme, "python")[..] else { panic!("one agent") };
    assert!(text.lines().count() <= 10, "it is short");
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let file = scratch.0.join("agent.py");
    std::fs::write(&file, text).unwrap();
    let served = Served::start(&format!("exec:python3 {}", file.display()), &["--store", "memory"]).await;
    let client = served.client().await;
    let mut stream = client.stream(Message::user("one two three four five six"));
    let mut pieces = Vec::new();
    while let Some(event) = soon("an event", stream.next()).await {
        pieces.extend(event.unwrap().artifact_text().map(|text| text.into_owned()));
    }
    assert!(pieces.len() >= 3, "streamed as it is printed: {pieces:?}");
    assert_eq!(pieces.concat().trim(), "one two three four five six");
    let task = ask(&client, Message::user("and again")).await;
    assert_eq!((task.state(), answer(&task).trim()), (TaskState::Completed, "and again"));
}

#[tokio::test]
async fn the_client_in_the_readme_is_one() {
    if !capnweb_node::is_here("the client in the README") {
        return;
    }
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let [text] = blocks(&readme, "js")[..] else { panic!("one client") };
    assert!(text.lines().count() <= 12, "it is short");
    let world = World::echo().await;
    let placeholder = "ws://127.0.0.1:8420/capnweb";
    assert!(text.contains(placeholder));
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let modules = repository().join("tests/peers/capnweb/node_modules");
    std::os::unix::fs::symlink(modules, scratch.0.join("node_modules")).unwrap();
    let url = world.url().replace("http", "ws") + "/capnweb";
    // What Node has had of its own since 22.
    let before = "import { WebSocket } from 'ws'; globalThis.WebSocket ??= WebSocket;\n";
    std::fs::write(scratch.0.join("client.mjs"), before.to_owned() + &text.replace(placeholder, &url))
        .unwrap();
    let mut node = Command::new("node");
    node.arg(scratch.0.join("client.mjs")).env("KEY", ALICE).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("it ends by itself", node.output()).await.unwrap();
    assert!(output.status.success() && err(&output).is_empty(), "{}", err(&output));
    let lines: Vec<_> = out(&output).lines().collect();
    let states = ["SUBMITTED", "WORKING", "COMPLETED"].map(|state| format!("TASK_STATE_{state}"));
    let [submitted, working, completed] = states.each_ref().map(String::as_str);
    let numbered = [("1", submitted), ("2", working), ("3", "Echo: good morning"), ("4", completed)];
    assert_eq!(lines, numbered.map(|(n, said)| format!("{n} {said}")));
}

#[tokio::test]
async fn settings_in_the_documents_are_sound() {
    for (path, text) in documents() {
        for (n, block) in blocks(&text, "toml").into_iter().enumerate() {
            let scratch = Scratch::new();
            std::fs::create_dir_all(&scratch.0).unwrap();
            let file = scratch.0.join("settings.toml");
            std::fs::write(&file, block).unwrap();
            let mut check = program();
            check.args(["serve", "--check", "--config"]).arg(&file).env("A2A_WEBCAP_STATE_DIR", &scratch.0);
            let output = soon("it looks", check.output()).await.unwrap();
            assert!(output.status.success(), "{} {n}: {}", path.display(), err(&output));
        }
    }
}
