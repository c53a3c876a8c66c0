//! A server as a process of its own, which a test can kill, stop and start again.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_webcap::Server;
use a2a_webcap::clock::Clock;
use a2a_webcap::limits::Limits;
use a2a_webcap::store::embedded::EmbeddedStore;
use serde::{Deserialize, Serialize};

use crate::agent::Counter;
use crate::world::{ALICE, BOB};

/// What a server process is started with. The same settings again are the same server, restarted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Where its store is.
    pub(crate) dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) limits: Limits,
    /// Where it says what it has to say. What it says is added.
    pub(crate) log: PathBuf,
}

/// An address that no client has: clients that try again and again while the server is down could otherwise be
/// given its port, and meet themselves.
fn own_address() -> [u8; 4] {
    let [_, high, low, _] = std::process::id().to_be_bytes();
    [127, 77, high, low.max(1)]
}

/// A server process. Ends with this.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
    /// Kept open: a process that cannot print ends.
    _output: BufReader<ChildStdout>,
}

impl Settings {
    /// A store in this directory, and default limits but for the connections.
    pub(crate) fn new(scratch: &Path) -> Self {
        let mut limits = Limits::default();
        limits.net.connections_per_address = 10_000;
        limits.net.drain_timeout = Duration::from_secs(1);
        Self {
            dir: scratch.join("store"),
            listen: SocketAddr::from((own_address(), 0)),
            limits,
            log: scratch.join("server.log"),
        }
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn start(&self) -> Served {
        self.try_start().unwrap_or_else(|log| panic!("the server does not start:\n{log}"))
    }

    /// As [`start`](Self::start). If it ends instead: what it said.
    pub(crate) fn try_start(&self) -> Result<Served, String> {
        let mut child = self.spawn();
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while output.read_line(&mut line).expect("it prints text") > 0 {
            if let Some((_, address)) = line.trim_end().split_once("serves at ") {
                let address = address.parse().expect("an address");
                return Ok(Served { child, address, log: self.log.clone(), _output: output });
            }
            line.clear();
        }
        let _ = child.wait();
        Err(self.said())
    }

    /// Starts a server and waits for nothing.
    pub(crate) fn spawn(&self) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log");
        Command::new(std::env::current_exe().expect("a test has a file"))
            .args(["process::the_server_of_the_other_tests", "--exact", "--nocapture"])
            .env("A2A_WEBCAP_SERVE", serde_json::to_string(self).expect("plain settings"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("a test can run again")
    }

    /// What the servers have said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// No server of these settings has found a defect in itself, or failed to write.
    pub(crate) fn assert_sound(&self) {
        self.assert_sound_but_for("nothing else");
    }

    /// As [`assert_sound`](Self::assert_sound), but one thing may have gone wrong.
    pub(crate) fn assert_sound_but_for(&self, expected: &str) {
        let said = self.said();
        let is_bad = |line: &&str| ["panicked", "ERROR"].iter().any(|word| line.contains(word));
        let bad: Vec<_> = said.lines().filter(is_bad).filter(|line| !line.contains(expected)).collect();
        assert!(bad.is_empty(), "a server has said: {bad:#?} in\n{said}");
    }
}

impl Served {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        kill(&mut self.child);
    }

    /// Sends a signal, such as `-STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(sent.expect("there is a kill").success());
    }

    /// Waits until the process has ended by itself; whether it says that all is well.
    pub(crate) fn ends(&mut self, within: Duration) -> bool {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.success();
            }
            let said = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(since.elapsed() < within, "the server does not end:\n{}", said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn resident_bytes(&self) -> usize {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.id())).expect("Linux");
        let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4096
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

pub(crate) fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// No test by itself: the process that the others start. One agent goes on after a restart, and the one called
/// `mortal` does not. SIGTERM ends it as it ends `serve`; it does not outlive the test either.
#[test]
fn the_server_of_the_other_tests() {
    let Ok(settings) = std::env::var("A2A_WEBCAP_SERVE") else { return };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        let store = match EmbeddedStore::open(&settings.dir, &settings.limits.store, &Clock::system()) {
            Ok(store) => store,
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(2);
            }
        };
        let builder = Server::builder().api_key("alice", ALICE).api_key("bob", BOB).workers(2);
        let builder = builder.agent(Counter { resumes: true }).limits(settings.limits.clone());
        let builder = builder.tenant("mortal", Arc::new(Counter { resumes: false })).store(Arc::new(store));
        let server = match builder.listen(&settings.listen.to_string()).start().await {
            Ok(server) => server,
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(2);
            }
        };
        println!("\nserves at {}", server.local_addr());
        terminate.recv().await;
        server.stop().await;
        std::process::exit(0);
    });
}

/// A directory of a test's own, removed afterwards.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("a2a-webcap-survival-{}", a2a_webcap::model::fresh_id()));
        std::fs::create_dir(&dir).expect("a directory of its own");
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
