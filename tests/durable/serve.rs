//! The real program, `a2a-webcap serve --store DIR`, with clients that write down what they have seen, while a
//! system call of its store fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use a2a_webcap::client::{Client, Credentials, Cursor, RetryPolicy, TaskEvent, TaskStream};

use crate::dice::Dice;
use crate::faults::{Endings, Fault, WATCHED, faults, injected, judge_sites, paths, some};
use crate::scratch::Scratch;
use crate::settings::{long, setting};
use crate::trace::calls;
use crate::verify::for_each;

const KEY: &str = "any text of at least 32 characters will do";
const CLIENTS: usize = 4;
/// Streams of each client, one after the other.
const STREAMS: usize = 5;
/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long a server may take to end after its clients have lost it.
const MOMENT: Duration = Duration::from_secs(5);

/// A place for a server, started several times over the same store.
struct Place {
    scratch: Scratch,
    store: PathBuf,
}

/// A server that runs.
struct Served {
    child: Child,
    url: String,
    said: PathBuf,
    /// Kept open: a process that cannot print ends.
    _output: BufReader<std::process::ChildStdout>,
}

/// What clients have seen of each task.
type Seen = BTreeMap<String, Vec<TaskEvent>>;

impl Place {
    fn new() -> Self {
        let scratch = Scratch::new();
        let settings = "[limits.store]\nsegment-bytes = 65536\nreserve-bytes = 1048576\n\
                        catalog-memory-bytes = 65536\n[limits.net]\ndrain-timeout = 2.0\n";
        fs::write(scratch.join("settings.toml"), settings).expect("a new file");
        let store = scratch.join("store");
        Self { scratch, store }
    }

    fn trace(&self) -> PathBuf {
        self.scratch.join("strace")
    }

    /// By itself, or under strace with these arguments. If it ends instead of listening: how, and what it said.
    fn start(&self, strace: Option<&[String]>) -> Result<Served, (ExitStatus, String)> {
        let program = env!("CARGO_BIN_EXE_a2a-webcap");
        let mut command = match strace {
            None => Command::new(program),
            Some(arguments) => {
                let mut command = Command::new("strace");
                command.args(["--seccomp-bpf", "-f", "-y", "-xx", "-s", "16777216"]).args(arguments);
                command.arg("-o").arg(self.trace()).arg("--").arg(program);
                command
            }
        };
        // What these tests are told is none of a server's settings.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("A2A")) {
            command.env_remove(name);
        }
        let said = self.scratch.join("said");
        let child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--store"])
            .arg(&self.store)
            .arg("--config")
            .arg(self.scratch.join("settings.toml"))
            .env("A2A_WEBCAP_DEV_KEY", KEY)
            .env("A2A_WEBCAP_STATE_DIR", self.scratch.join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&said).expect("a new file"))
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("strace does not start, scripts/setup-peers installs what tests need: {error}")
        });
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while output.read_line(&mut line).expect("it prints text") > 0 {
            if let Some(url) = line.trim_end().strip_prefix("Listening: ") {
                return Ok(Served { child, url: url.to_owned(), said, _output: output });
            }
            line.clear();
        }
        let status = child.wait().expect("it is ours");
        Err((status, fs::read_to_string(said).expect("a file")))
    }
}

impl Served {
    /// How it has ended, if it has.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is ours")
    }

    /// Waits for its end; none if it goes on for longer.
    fn end(&mut self, within: Duration) -> Option<ExitStatus> {
        let since = Instant::now();
        loop {
            let ended = self.ended();
            if ended.is_some() || since.elapsed() >= within {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to stop as a service manager does.
    fn terminate(&self) {
        let _ = Command::new("kill").args(["-TERM", &self.process().to_string()]).status();
    }

    /// The server itself, which is strace's only child where strace is ours.
    fn process(&self) -> u32 {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().next().and_then(|child| child.parse().ok()).unwrap_or(id)
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).expect("a file")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = Command::new("kill").args(["-9", &self.process().to_string()]).status();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

async fn client(url: &str) -> Option<Client> {
    let client = Client::builder(url).credentials(Credentials::api_key(KEY)).retry(RetryPolicy::never());
    tokio::time::timeout(PATIENCE, client.connect()).await.ok()?.ok()
}

/// Adds what a stream brings until it ends or breaks. Whether it came to its end.
async fn watch(mut stream: TaskStream, seen: &mut Seen) -> bool {
    while let Ok(Some(Ok(event))) = tokio::time::timeout(PATIENCE, stream.next()).await {
        let Some(task) = event.task_id().map(str::to_owned) else { continue };
        let is_final = event.is_final;
        if event.seq > 0 {
            seen.entry(task).or_default().push(event);
        }
        if is_final {
            return true;
        }
    }
    false
}

/// Several clients, each with one stream after the other, until the server is gone.
async fn load(url: &str) -> Seen {
    let clients = (0..CLIENTS).map(|number| async move {
        let mut seen = Seen::new();
        let Some(client) = client(url).await else { return seen };
        for round in 0..STREAMS {
            let text = if (number + round) % 2 == 0 { "burst 120" } else { "stream 12 2ms" };
            if !watch(client.stream(text), &mut seen).await {
                break;
            }
        }
        seen
    });
    futures::future::join_all(clients).await.into_iter().flatten().collect()
}

/// Every task that was seen is there, with every event that was seen, and comes to its end.
async fn audit(url: &str, seen: &Seen) -> Result<(), String> {
    let client = client(url).await.ok_or("nobody can connect after the restart")?;
    for (task, events) in seen {
        let mut found = Seen::new();
        let whole = watch(client.subscribe(task.as_str(), Cursor::After(0)), &mut found).await;
        let found = found.remove(task).unwrap_or_default();
        if !whole {
            return Err(format!("{task} does not come to its end after {} events", found.len()));
        }
        let in_order = (1..).zip(&found).all(|(number, event)| event.seq == number);
        if !in_order || found.len() < events.len() || found[..events.len()] != events[..] {
            let (found, seen) = (found.len(), events.len());
            return Err(format!("{task} had {seen} events that were seen, and has {found} now, or others"));
        }
    }
    Ok(())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

/// Starts a server under strace, loads it, and stops it if it has not ended by itself.
fn serve_under(place: &Place, arguments: &[String]) -> Result<(Option<ExitStatus>, Seen, String), String> {
    match place.start(Some(arguments)) {
        Err((status, said)) => Ok((Some(status), Seen::new(), said)),
        Ok(mut served) => {
            let seen = run(load(&served.url));
            // Where the load did not come through the server ends by itself, or it has refused work for a moment.
            let finals = seen.values().filter(|events| events.last().is_some_and(|event| event.is_final));
            let moment = if finals.count() == CLIENTS * STREAMS { Duration::ZERO } else { MOMENT };
            if served.end(moment).is_none() {
                served.terminate();
            }
            let status = served.end(PATIENCE);
            Ok((status, seen, served.said()))
        }
    }
}

/// Lets the server meet a fault, and starts it again without.
fn meet(fault: &Fault, relative: &BTreeSet<PathBuf>, endings: &Endings) -> Result<(), String> {
    let place = Place::new();
    let paths = relative.iter().map(|path| place.store.join(path).display().to_string()).collect();
    let (status, seen, said) = serve_under(&place, &fault.arguments(&paths))?;
    let sites = injected(&fs::read_to_string(place.trace()).expect("a trace"), &place.store);
    let Some(status) = status else { return Err(format!("it hangs after {sites:?}: {said}")) };
    let gave_up = !status.success();
    judge_sites(&sites, fault, gave_up, endings).map_err(|reason| format!("{reason}: {said}"))?;
    if said.contains("panicked at") || (gave_up && said.trim().is_empty()) {
        return Err(format!("it ended with {status} after {sites:?} and said: {said}"));
    }
    restart(&place, &seen).map_err(|reason| format!("after {sites:?} and a restart: {reason}"))
}

fn restart(place: &Place, seen: &Seen) -> Result<(), String> {
    let mut served = place.start(None).map_err(|(status, said)| format!("{status}: {said}"))?;
    run(audit(&served.url, seen))?;
    served.terminate();
    let status = served.end(PATIENCE).ok_or("it does not stop")?;
    if status.success() { Ok(()) } else { Err(format!("it stops with {status}: {}", served.said())) }
}

/// The faults that a server can meet, and the paths that it uses.
fn known() -> (Vec<Fault>, BTreeSet<PathBuf>) {
    let place = Place::new();
    let all = ["-e".to_owned(), format!("trace={}", WATCHED.join(","))];
    let (status, seen, said) = serve_under(&place, &all).expect("it runs");
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {said}");
    assert_eq!(seen.len(), CLIENTS * STREAMS, "{said}");
    let mut calls = calls(&fs::read_to_string(place.trace()).expect("strace may trace processes here"));
    let paths = paths(&calls, &place.store);
    calls.retain(|call| !self::paths(std::slice::from_ref(call), Path::new("/")).is_disjoint(&paths));
    let inside = |path: &String| Path::new(path).strip_prefix(&place.store).ok().map(Path::to_owned);
    (faults(&calls), paths.iter().filter_map(inside).collect())
}

#[test]
fn the_server_ends_when_its_store_fails_and_comes_back_with_all_that_was_seen() {
    let seed = setting("A2A_WEBCAP_DURABLE_SEED").unwrap_or(1);
    let (faults, paths) = known();
    let count = faults.len();
    let mut dice = Dice::new(seed);
    let mut chosen = some(faults, long(0, 400), &mut dice);
    // A server takes longer than the store alone, which meets more of them.
    while chosen.len() > long(36, 400) {
        chosen.swap_remove(dice.under(chosen.len()));
    }
    println!("{} of {count} faults", chosen.len());
    let endings = Endings::default();
    let met = for_each(chosen.len(), |number| {
        let fault = &chosen[number];
        meet(fault, &paths, &endings).map_err(|reason| format!("seed {seed}, {fault:?}: {reason}"))
    });
    println!("{}", endings.report());
    met.unwrap_or_else(|reason| panic!("{reason}"));
    assert!(endings.total() > 12, "only {} faults were met", endings.total());
}

/// What a strace that fails says is of use to nobody who does not see it.
#[test]
fn strace_may_trace_processes_here() {
    let traced =
        Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stderr(Stdio::piped()).spawn();
    let mut traced = traced.unwrap_or_else(|error| panic!("no strace, run scripts/setup-peers: {error}"));
    let mut said = String::new();
    traced.stderr.take().expect("it is piped").read_to_string(&mut said).expect("text");
    assert!(
        traced.wait().expect("it is ours").success(),
        "strace must be allowed to trace processes: {said}"
    );
}
