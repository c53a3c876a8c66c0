//! The npm reference, in processes of its own (`tests/peers/capnweb`).

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::play::{Heard, Peer};

/// Where the Node programs are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/capnweb")
}

/// Whether the reference can be started. If not, says so where a test that passes is heard too; with
/// `A2A_WEBCAP_NEED_NODE=1` it fails instead, so that a run which counts cannot pass without the reference.
pub(crate) fn is_here(test: &str) -> bool {
    let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let installed =
        directory().join("node_modules/capnweb").is_dir() && directory().join("node_modules/ws").is_dir();
    if node && installed {
        return true;
    }
    let missing = if node { "its packages (run `npm ci` in tests/peers/capnweb)" } else { "node" };
    assert!(env::var_os("A2A_WEBCAP_NEED_NODE").is_none(), "{test} needs {missing}");
    // Not by eprintln, which a test runner keeps to itself.
    let _ = writeln!(io::stderr(), "\n*** SKIPPED, NOT PASSED: {test} needs {missing} ***\n");
    false
}

/// Runs a program to its end and gives what it printed.
pub(crate) fn output(program: &str, arguments: &[String]) -> String {
    let output = Command::new("node")
        .arg(directory().join(program))
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .expect("node starts");
    assert!(output.status.success(), "{program}: {}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A program that answers lines with lines, and ends with its standard input.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(program: &str) -> Program {
        let mut child = Command::new("node")
            .arg(directory().join(program))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Program { child, input, output }
    }

    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open until dropped");
        writeln!(input, "{line}").expect("the program reads");
    }

    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the program writes");
        assert!(!line.is_empty(), "the program has ended: {:?}", self.child.try_wait());
        line
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// The reference with the test service, in memory.
#[derive(Debug)]
pub(crate) struct Reference(Program);

impl Reference {
    pub(crate) fn start() -> Reference {
        Reference(Program::start("fuzz-peer.mjs"))
    }
}

impl Peer for Reference {
    fn round(&mut self, said: &[(u64, Vec<String>)]) -> Vec<Heard> {
        self.0.say(&json!({ "play": said }).to_string());
        let answers: Vec<(u64, Vec<String>, bool, Value)> =
            serde_json::from_str(&self.0.hear()).expect("an answer for every session");
        assert_eq!(answers.len(), said.len());
        let size = |sizes: &Value, table: &str| {
            usize::try_from(sizes[table].as_u64().expect("a size")).expect("small")
        };
        answers
            .into_iter()
            .map(|(_, frames, ended, sizes)| Heard {
                frames,
                ended,
                exports: size(&sizes, "exports"),
                imports: size(&sizes, "imports"),
            })
            .collect()
    }

    fn forget(&mut self, sessions: &[u64]) {
        self.0.say(&json!({ "play": [], "forget": sessions }).to_string());
        self.0.hear();
    }
}
