//! The servers, and how each is started and asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Outcome;

/// So many of the first contenders are ours.
pub(crate) const OURS: usize = 2;

/// A server that can be started.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// What it takes on disk.
    pub(crate) size: Size,
    /// Its command line, for this port.
    pub(crate) start: Box<dyn Fn(u16) -> Command>,
    /// Path, content type and body of the request that sends it a message.
    pub(crate) request: (&'static str, &'static str, String),
}

/// Bytes on disk, and of what.
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) what: String,
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_a2a-webcap");
const KEY: &str = "the key of a benchmark, which nobody else uses";

/// Ours, and of the others those that can be had here.
pub(crate) fn all() -> Outcome<Vec<Contender>> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/start");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/start/peers");
    let mut all = vec![ours("ours, store in memory", false)?, ours("ours, store on disk", true)?];
    all.extend(python(&installed, &sources)?);
    all.extend(node(&installed, &sources)?);
    Ok(all)
}

fn ours(name: &'static str, on_disk: bool) -> Outcome<Contender> {
    // An array of Cap'n Web's stands in another one.
    let message = json!({ "messageId": "m1", "role": "ROLE_USER", "parts": [[{ "text": "hello" }]] });
    let lines = [
        json!(["push", ["pipeline", 0, ["authenticate"], [KEY]]]),
        json!(["push", ["pipeline", 1, ["sendMessage"], [message]]]),
        json!(["pull", 2]),
    ];
    let start = move |port: u16| {
        let mut command = Command::new(PROGRAM);
        let state = std::env::temp_dir().join(format!("a2a-webcap-start-{}", std::process::id()));
        let store = if on_disk { state.join(port.to_string()) } else { PathBuf::from("memory") };
        command.args(["serve", "--agent", "echo", "--listen", &format!("127.0.0.1:{port}"), "--store"]);
        command.arg(store).env("A2A_WEBCAP_STATE_DIR", &state).env("A2A_WEBCAP_DEV_KEY", KEY);
        command
    };
    let stripped = std::env::temp_dir().join(format!("a2a-webcap-stripped-{}", std::process::id()));
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(PROGRAM).status();
    let without = strip.is_ok_and(|status| status.success()).then(|| size(&stripped)).transpose()?;
    let _ = fs::remove_file(&stripped);
    let what = without.map_or_else(
        || "one program".to_owned(),
        |bytes| format!("one program; {:.1} MB without line numbers for backtraces", bytes as f64 / 1e6),
    );
    Ok(Contender {
        name,
        size: Size { bytes: size(Path::new(PROGRAM))?, what },
        start: Box::new(start),
        request: ("/capnweb", "text/plain", lines.map(|line| line.to_string()).join("\n")),
    })
}

fn json_rpc() -> (&'static str, &'static str, String) {
    let message = json!({ "messageId": "m1", "role": "ROLE_USER", "parts": [{ "text": "hello" }] });
    let body: Value =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": { "message": message } });
    ("/", "application/json", body.to_string())
}

fn python(installed: &Path, sources: &Path) -> Outcome<Option<Contender>> {
    let venv = installed.join("venv");
    let python = venv.join("bin/python");
    if !venv.join("bin/uvicorn").exists() {
        let is_made = runs(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            && runs(
                Command::new(&python)
                    .args(["-m", "pip", "install", "-q", "-r"])
                    .arg(sources.join("requirements.txt")),
            );
        if !is_made {
            println!("a2a-sdk is left out: it needs Python 3.10 or newer with venv, and its packages");
            return Ok(None);
        }
    }
    let server = sources.join("server.py");
    let bytes = size(&venv)?;
    let start = move |port: u16| {
        let mut command = Command::new(&python);
        command.arg(&server).arg(port.to_string());
        command
    };
    let size = Size { bytes, what: "its packages, without Python itself".to_owned() };
    Ok(Some(Contender {
        name: "Python a2a-sdk 1.3.0, uvicorn",
        size,
        start: Box::new(start),
        request: json_rpc(),
    }))
}

fn node(installed: &Path, sources: &Path) -> Outcome<Option<Contender>> {
    let here = installed.join("node");
    fs::create_dir_all(&here)?;
    for file in ["package.json", "package-lock.json", "server.mjs"] {
        fs::copy(sources.join(file), here.join(file))?;
    }
    let packages = here.join("node_modules");
    let install = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
    if !packages.exists() && !runs(Command::new("npm").args(install).current_dir(&here)) {
        println!("@a2a-js/sdk is left out: it needs Node 20 or newer with npm, and its packages");
        return Ok(None);
    }
    let size = Size { bytes: size(&packages)?, what: "its packages, without Node itself".to_owned() };
    let start = move |port: u16| {
        let mut command = Command::new("node");
        command.arg(here.join("server.mjs")).arg(port.to_string());
        command
    };
    Ok(Some(Contender {
        name: "Node @a2a-js/sdk 1.3.0, express",
        size,
        start: Box::new(start),
        request: json_rpc(),
    }))
}

fn runs(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// The bytes of a file, or of all files below a directory.
fn size(path: &Path) -> Outcome<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}
