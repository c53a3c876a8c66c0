//! Foreign implementations of Cap'n Proto in processes of their own (`tests/peers`), against the server's
//! binary and against each other. Each client runs once, for all tests, and every scenario is a test.
//!
//! They need what `scripts/setup-peers` installs, and fail without it: a peer that was not tried proves
//! nothing.

use crate::scenarios::listed;
use a2a_webcap::client::{Client, Credentials, Cursor};
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{GetTaskRequest, TaskState};
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

const KEY: &str = "a-key-for-the-foreign-peers-0123456789";
const START: Duration = Duration::from_secs(20);
const RUN: Duration = Duration::from_secs(180);
const BUILD: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_millis(20);

static PYCAPNP_CLIENT: LazyLock<Outcome> =
    LazyLock::new(|| Outcome::of("pycapnp", Server::of_this_crate, pycapnp_client));
static CXX_CLIENT: LazyLock<Outcome> =
    LazyLock::new(|| Outcome::of("cxx", Server::of_this_crate, cxx_client));

/// A test for each scenario of a client, and one that no scenario escapes.
macro_rules! scenarios {
    ($client:ident, $all:ident: $($test:ident $scenario:literal,)*) => {
        #[test]
        fn $all() {
            $client.passed_exactly(&[$($scenario),*]);
        }
        $(
            #[test]
            fn $test() {
                $client.passed($scenario);
            }
        )*
    };
}

scenarios! {
    PYCAPNP_CLIENT, foreign_pycapnp_client_passes_every_scenario:
    foreign_pycapnp_client_reads_what_is_public "public_information",
    foreign_pycapnp_client_authenticates "authenticate",
    foreign_pycapnp_client_with_a_wrong_key_gets_one_typed_answer "wrong_key",
    foreign_pycapnp_client_gets_a_typed_error "typed_error",
    foreign_pycapnp_client_recognises_the_first_error_in_a_chain "pipelined_error",
    foreign_pycapnp_client_is_told_which_field_is_wrong "invalid_message_is_named",
    foreign_pycapnp_client_pipelines_a_send "pipelined_send",
    foreign_pycapnp_client_is_called_back_in_order "callbacks",
    foreign_pycapnp_client_waits_for_a_blocking_send "blocking_send",
    foreign_pycapnp_client_sends_without_waiting "immediate_send",
    foreign_pycapnp_client_gets_a_plain_message "direct_message",
    foreign_pycapnp_client_sees_a_task_fail "failed_task",
    foreign_pycapnp_client_answers_a_question "input_required",
    foreign_pycapnp_client_gets_unicode_and_metadata_back_unharmed "unicode_and_metadata",
    foreign_pycapnp_client_lists_its_tasks "list_of_tasks",
    foreign_pycapnp_client_may_repeat_a_send "idempotent_send",
    foreign_pycapnp_client_resumes_after_n "resume_after_n",
    foreign_pycapnp_client_reads_the_rest_of_a_finished_task "resume_of_finished_task",
    foreign_pycapnp_client_subscribes_late "late_subscriber",
    foreign_pycapnp_client_drops_a_subscription "subscription_dropped",
    foreign_pycapnp_client_gets_batches_when_it_lags "batches",
    foreign_pycapnp_client_loses_only_an_observer_that_throws "throwing_observer",
    foreign_pycapnp_client_cancels "cancel",
    foreign_pycapnp_client_cancels_on_drop "cancel_on_drop",
    foreign_pycapnp_client_revokes_by_drop "revocation_by_drop",
    foreign_pycapnp_client_revokes_a_task_handle "revoked_task_handle",
    foreign_pycapnp_client_narrows_a_session_to_reading "read_only_session",
    foreign_pycapnp_client_shares_and_claims "share_and_claim",
    foreign_pycapnp_client_closes_a_session "closed_session",
    foreign_pycapnp_client_uses_many_connections "many_connections",
}

scenarios! {
    CXX_CLIENT, foreign_cxx_client_passes_every_scenario:
    foreign_cxx_client_authenticates "authenticate",
    foreign_cxx_client_with_a_wrong_key_gets_a_typed_error "wrong_key",
    foreign_cxx_client_gets_a_typed_error "typed_error",
    foreign_cxx_client_recognises_the_first_error_in_a_chain "pipelined_error",
    foreign_cxx_client_pipelines_a_send "pipelined_send",
    foreign_cxx_client_is_called_back_in_order "callbacks",
    foreign_cxx_client_answers_a_question "input_required",
    foreign_cxx_client_resumes_after_n "resume_after_n",
    foreign_cxx_client_drops_a_subscription "subscription_dropped",
    foreign_cxx_client_cancels "cancel",
    foreign_cxx_client_cancels_on_drop "cancel_on_drop",
    foreign_cxx_client_revokes_by_drop "revocation_by_drop",
    foreign_cxx_client_revokes_a_task_handle "revoked_task_handle",
    foreign_cxx_client_shares_and_claims "share_and_claim",
}

// The controls: what fails above and not here is our server's fault, not a peer's.

#[test]
fn foreign_pycapnp_client_understands_the_pycapnp_server() {
    Outcome::of("pycapnp-pycapnp", Server::of_pycapnp, pycapnp_client).finished();
}

#[test]
fn foreign_cxx_client_understands_the_pycapnp_server() {
    Outcome::of("cxx-pycapnp", Server::of_pycapnp, cxx_client).finished();
}

// ---------------------------------------------------------------------------------------------------
// Clients

fn pycapnp_client() -> Result<Command, String> {
    let mut client = python("client.py")?;
    client.arg("--key").arg(KEY);
    Ok(client)
}

fn cxx_client() -> Result<Command, String> {
    static BUILT: LazyLock<Result<(), String>> = LazyLock::new(|| {
        needs(Path::new("/usr/include/capnp/compat/websocket-rpc.h"))?;
        let mut make = Command::new("make");
        make.arg("-C").arg(peers().join("cxx")).arg(format!("OUT={}", made().join("cxx").display()));
        let mut build = Process::start("cxx-build", &mut make)?;
        let success = build.wait(BUILD)?;
        if success { Ok(()) } else { Err(format!("the C++ client does not build\n{}", build.log())) }
    });
    BUILT.clone()?;
    let mut client = Command::new(made().join("cxx/client"));
    client.arg(format!("--key={KEY}"));
    Ok(client)
}

pub(crate) fn python(program: &str) -> Result<Command, String> {
    let venv = made().join("venv");
    needs(&venv.join("requirements.txt"))?;
    let mut command = Command::new(venv.join("bin/python"));
    command.arg(peers().join("python").join(program));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    Ok(command)
}

fn needs(path: &Path) -> Result<(), String> {
    if path.exists() {
        Ok(())
    } else {
        Err(format!("{} is missing: run scripts/setup-peers", path.display()))
    }
}

/// Where the peers' sources are.
fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// Where `scripts/setup-peers` and the build put things: `peers` in cargo's target directory.
fn made() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers")
}

/// What a client printed, and how it ended; or why it could not be run.
struct Outcome {
    ran: Result<(bool, String), String>,
    server_log: String,
}

impl Outcome {
    fn of(
        name: &str,
        server: fn(&str) -> Result<Server, String>,
        client: fn() -> Result<Command, String>,
    ) -> Self {
        let mut server_log = String::new();
        let ran = client().and_then(|mut client| {
            let server = server(name)?;
            client.arg(format!("--url=ws://127.0.0.1:{}/capnp", server.port));
            let mut running = Process::start(&format!("{name}-client"), &mut client)?;
            let ended = running.wait(RUN);
            server_log = server.process.log();
            let log = running.log();
            ended.map(|success| (success, log.clone())).map_err(|late| format!("{late}\n{log}"))
        });
        Self { ran, server_log }
    }

    fn finished(&self) -> &str {
        match &self.ran {
            Ok((true, log)) => log,
            Ok((false, log)) => self.fail("a scenario failed", log),
            Err(why) => self.fail("the client did not run to its end", why),
        }
    }

    fn passed(&self, scenario: &str) {
        let (_, log) = self.ran.as_ref().unwrap_or_else(|why| self.fail("the client did not run", why));
        if !log.lines().any(|line| line.strip_prefix("ok ") == Some(scenario)) {
            self.fail(&format!("{scenario} failed"), log);
        }
    }

    fn passed_exactly(&self, expected: &[&str]) {
        let (success, log) = self.ran.as_ref().unwrap_or_else(|why| self.fail("the client did not run", why));
        let passed: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
        if !success || passed != expected {
            let what = "the scenarios of the client are not the tests in this file, all passed";
            self.fail(&format!("{what}\n{}", difference(expected, &passed)), log);
        }
    }

    fn fail(&self, what: &str, client_log: &str) -> ! {
        panic!("{what}\n--- client\n{client_log}\n--- server\n{}", self.server_log)
    }
}

/// What was expected and is not there, and what is there and was not expected.
fn difference(expected: &[&str], seen: &[&str]) -> String {
    let missing = expected.iter().filter(|one| !seen.contains(one)).map(|one| format!("- {one}\n"));
    let more = seen.iter().filter(|one| !expected.contains(one)).map(|one| format!("+ {one}\n"));
    missing.chain(more).collect()
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn ak_i04_a_failed_peer_test_prints_both_logs_and_what_differs() {
    let mut server = Process::start("ak-i04-server", &mut shell("echo heard of two; exec sleep 60")).unwrap();
    let log = server.log.clone();
    server
        .until("say something", || fs::read_to_string(&log).ok().filter(|said| said.ends_with('\n')))
        .unwrap();
    let mut client =
        Process::start("ak-i04-client", &mut shell("echo ok one; echo not ok two; echo ok three; exit 1"))
            .unwrap();
    let ended = client.wait(RUN);
    let outcome = Outcome { ran: ended.map(|success| (success, client.log())), server_log: server.log() };
    let failed = std::panic::catch_unwind(|| outcome.passed_exactly(&["one", "two"])).unwrap_err();
    let said = failed.downcast_ref::<String>().expect("a text");
    assert!(said.contains("\n- two\n+ three\n"), "what differs: {said}");
    assert!(said.contains("--- client\nok one\nnot ok two\nok three\n"), "{said}");
    assert!(said.contains("--- server\nheard of two\n"), "{said}");
    outcome.passed("one");
}

#[test]
fn ak_i04_a_peer_that_does_not_end_is_ended_and_its_log_is_kept() {
    let mut client = Process::start("ak-i04-late", &mut shell("echo begun; exec sleep 60")).unwrap();
    assert_eq!(client.wait(Duration::from_millis(300)), Err("no end after 300ms".to_owned()));
    let (id, log) = (client.child.id(), client.log.clone());
    drop(client);
    assert!(!Path::new(&format!("/proc/{id}")).exists(), "nothing of it is left");
    assert_eq!(fs::read_to_string(log).unwrap(), "begun\n");
}

// ---------------------------------------------------------------------------------------------------
// Servers

/// A server process that accepts connections on `127.0.0.1:port`.
struct Server {
    process: Process,
    port: u16,
}

impl Server {
    fn of_this_crate(name: &str) -> Result<Self, String> {
        // Somebody else may take the port before the server does: then it is tried with another one.
        let mut last = String::new();
        for _ in 0..3 {
            let port = free_port().map_err(told)?;
            let home = made().join(format!("{name}-home"));
            fs::create_dir_all(&home).map_err(told)?;
            let mut serve = Command::new(env!("CARGO_BIN_EXE_a2a-webcap"));
            serve.args(["serve", "--store", "memory", "--agent", "demo", "--listen"]);
            serve.arg(format!("127.0.0.1:{port}")).env("A2A_WEBCAP_DEV_KEY", KEY);
            serve.current_dir(&home).env("HOME", &home).env("XDG_CONFIG_HOME", &home);
            serve.env("XDG_DATA_HOME", &home).env("XDG_STATE_HOME", &home);
            let mut process = Process::start(&format!("{name}-server"), &mut serve)?;
            match process.until("accept connections", || TcpStream::connect(("127.0.0.1", port)).ok()) {
                Ok(_) => return Ok(Self { process, port }),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    fn of_pycapnp(name: &str) -> Result<Self, String> {
        let mut process =
            Process::start(&format!("{name}-server"), python("server.py")?.arg("--key").arg(KEY))?;
        let log = process.log.clone();
        let port = process
            .until("print its port", || fs::read_to_string(&log).ok()?.split_once('\n')?.0.parse().ok())?;
        Ok(Self { process, port })
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn told(error: io::Error) -> String {
    error.to_string()
}

/// A process whose output goes to a file; it ends with this value.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(name: &str, command: &mut Command) -> Result<Self, String> {
        fs::create_dir_all(made()).map_err(told)?;
        let log = made().join(format!("{name}.log"));
        let output = File::create(&log).map_err(told)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(told)?).stderr(output);
        let child = command.spawn().map_err(|error| format!("{command:?} does not start: {error}"))?;
        Ok(Self { child, log })
    }

    /// Waits until something holds, unless the process ends before.
    fn until<T>(&mut self, what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T, String> {
        let late = Instant::now() + START;
        loop {
            let ended = self.child.try_wait().map_err(told)?;
            if let Some(value) = ready() {
                return Ok(value);
            }
            if ended.is_some() || Instant::now() > late {
                return Err(format!("the server did not {what}: {ended:?}\n{}", self.log()));
            }
            thread::sleep(STEP);
        }
    }

    /// Whether the process succeeded; an error if it has not ended in time.
    fn wait(&mut self, time: Duration) -> Result<bool, String> {
        let late = Instant::now() + time;
        while Instant::now() < late {
            if let Some(status) = self.child.try_wait().map_err(told)? {
                return Ok(status.success());
            }
            thread::sleep(STEP);
        }
        Err(format!("no end after {time:?}"))
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---------------------------------------------------------------------------------------------------
// The other way: our client, and a server that pycapnp made

/// Our client, and the pycapnp server that it talks to.
async fn our_client(name: &str) -> (Server, Client) {
    let server = Server::of_pycapnp(name).unwrap_or_else(|why| panic!("{why}"));
    let client = Client::builder(format!("http://127.0.0.1:{}", server.port));
    let client = client.credentials(Credentials::api_key(KEY)).connect().await.expect("a connection");
    (server, client)
}

#[tokio::test]
async fn our_client_streams_from_a_pycapnp_server() {
    let (_server, client) = our_client("ours-stream").await;
    let mut stream = client.stream("hello");
    let (mut numbers, mut last) = (Vec::new(), None);
    while let Some(event) = stream.next().await {
        let event = event.unwrap();
        numbers.extend((event.seq > 0).then_some(event.seq));
        last = Some((event.state(), event.is_final));
    }
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() >= 6, "submitted, working, three chunks, completed: {numbers:?}");
    assert_eq!(last, Some((Some(TaskState::Completed), true)));
}

#[tokio::test]
async fn our_client_resumes_after_n_from_a_pycapnp_server() {
    let (_server, client) = our_client("ours-resume").await;
    let mut stream = client.stream("hello");
    let mut all = Vec::new();
    while let Some(event) = stream.next().await {
        all.extend(Some(event.unwrap().seq).filter(|seq| *seq > 0));
    }
    let id = stream.task_id().expect("a task").clone();
    let mut rest = client.subscribe(id, Cursor::After(2));
    let mut seen = Vec::new();
    while let Some(event) = rest.next().await {
        seen.push(event.unwrap().seq);
    }
    assert_eq!(seen, all[2..]);
}

#[tokio::test]
async fn our_client_gets_typed_errors_from_a_pycapnp_server() {
    let (_server, client) = our_client("ours-errors").await;
    let missing = client.get_task(GetTaskRequest::new("no-such-task")).await.unwrap_err();
    assert_eq!(missing.kind(), FaultKind::TaskNotFound);
    // Pipelined on the handle of a task that there is not: the first error comes through the chain.
    let pipelined = client.task("no-such-task").get(None).await.unwrap_err();
    assert_eq!(pipelined.kind(), FaultKind::TaskNotFound);
}

#[tokio::test]
async fn our_client_cancels_on_a_pycapnp_server() {
    let (_server, client) = our_client("ours-cancel").await;
    let mut stream = client.stream("long");
    while stream.task_id().is_none() {
        stream.next().await.expect("an event").unwrap();
    }
    let task = client.task(stream.task_id().expect("it is open").clone());
    assert_eq!(task.cancel().await.unwrap().status.state, TaskState::Canceled);
    assert_eq!(task.cancel().await.unwrap_err().kind(), FaultKind::TaskNotCancelable);
}

/// How long the run takes, and that it succeeds each time, no test can say of itself.
#[test]
fn ak_i05_the_one_command_of_ci_runs_the_tests_with_every_language() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(here.join(path)).unwrap();
    let script = read("scripts/test");
    let commands: Vec<_> = script.lines().filter(|line| !line.starts_with('#')).collect();
    let at = |command: &str| commands.iter().position(|line| line.contains(command)).expect(command);
    assert!(at("scripts/setup-peers") < at("cargo test --workspace"), "what the peers need is there before");
    let skips = commands[at("cargo test --workspace")];
    assert!(!skips.contains("--skip") && !skips.contains("--lib") && !skips.contains("--test "), "{skips}");
    at("scripts/test-typescript");

    let all = listed(&[]);
    let ignored = listed(&["--ignored"]);
    let run = |prefix: &str| all.difference(&ignored).filter(|test| test.starts_with(prefix)).count();
    // Python and C++ over Cap'n Proto, JavaScript over Cap'n Web, and agents in Python, JavaScript and Go.
    let counts = [run("peers::"), run("capnweb_node::"), run("process_examples::")];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert!(counts.iter().sum::<usize>() >= 45, "{counts:?}");
}
