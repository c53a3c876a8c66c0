//! The program that is killed, cut off and lied to: this test binary once more, which plays a history into a
//! store and writes into a ledger what the store has acknowledged.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use a2a_webcap::store::StoreError;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::history::History;
use crate::subject::Subject;

/// Where the program finds its order.
const ORDER: &str = "A2A_WEBCAP_DURABLE_ORDER";
/// How long a run may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the program ends when something fails, by what failed.
pub(crate) const REFUSED: i32 = 3;
pub(crate) const COMMIT_FAILED: i32 = 4;
pub(crate) const CLOSE_FAILED: i32 = 5;

/// What the program is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) subject: Subject,
    pub(crate) directory: PathBuf,
    pub(crate) ledger: PathBuf,
    /// Of the history.
    pub(crate) seed: u64,
    /// Groups that are there already.
    pub(crate) from: usize,
    /// Groups that are to be there in the end.
    pub(crate) to: usize,
    pub(crate) ending: Ending,
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// The store is closed.
    Close,
    /// The process just ends.
    Leave,
    /// It waits until it is killed.
    Stay,
}

/// What the ledger says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) is_open: bool,
    /// Groups that were acknowledged.
    pub(crate) acknowledged: usize,
    /// All of them, and the store is closed if it was to be.
    pub(crate) is_done: bool,
    /// What the program said when it gave up.
    pub(crate) failure: Option<String>,
}

impl Ledger {
    /// After these lines.
    pub(crate) fn of<'a>(from: usize, lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut ledger = Self { acknowledged: from, ..Self::default() };
        for line in lines {
            match line.split_once(' ') {
                Some(("acknowledged", number)) => ledger.acknowledged = number.parse().expect("a number"),
                Some(("failed", reason)) => ledger.failure = Some(reason.to_owned()),
                _ if line == "open" => ledger.is_open = true,
                _ if line == "done" => ledger.is_done = true,
                _ => {}
            }
        }
        ledger
    }
}

/// Appends lines to a file, each with one call of a kind that no store uses.
struct LedgerFile(File);

impl LedgerFile {
    fn say(&mut self, text: &str) {
        let line = format!("{text}\n");
        let written = self.0.write_vectored(&[IoSlice::new(line.as_bytes())]).expect("the ledger takes it");
        assert_eq!(written, line.len());
    }
}

/// No test by itself: the process that the others start.
#[test]
fn a_program_for_the_other_tests() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let order: Order = serde_json::from_str(&order).expect("an order");
    let ledger = OpenOptions::new().create(true).append(true).open(&order.ledger).expect("a ledger");
    let mut ledger = LedgerFile(ledger);
    ledger.say(&format!("process {}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (status, reason) = match runtime.block_on(play(&order, &mut ledger)) {
        Ok(()) => {
            ledger.say("done");
            if order.ending == Ending::Stay {
                // Longer than anybody waits for it.
                std::thread::sleep(PATIENCE * 2);
            }
            (0, String::new())
        }
        Err(failure) => failure,
    };
    if status != 0 {
        ledger.say(&format!("failed {}", reason.replace('\n', " ")));
        eprintln!("{reason}");
    }
    std::process::exit(status);
}

async fn play(order: &Order, ledger: &mut LedgerFile) -> Result<(), (i32, String)> {
    let history = History::of(order.seed, order.to);
    let store = order.subject.open(&order.directory).map_err(|reason| (REFUSED, reason))?;
    ledger.say("open");
    let mut dice = Dice::new(order.seed ^ 0xf11);
    let mut on_their_way: VecDeque<(usize, BoxFuture<'static, Result<(), StoreError>>)> = VecDeque::new();
    let failed = |error: StoreError| (COMMIT_FAILED, error.to_string());
    for number in order.from + 1..=order.to {
        let width = 1 + dice.under(8);
        while on_their_way.len() >= width {
            let Some((number, commit)) = on_their_way.pop_front() else { break };
            commit.await.map_err(failed)?;
            ledger.say(&format!("acknowledged {number}"));
        }
        let step = &history.steps[number - 1];
        on_their_way.push_back((number, store.commit(&step.group)));
        if !step.checkpoints.is_empty() {
            store.checkpoint(&step.checkpoints);
        }
    }
    while let Some((number, commit)) = on_their_way.pop_front() {
        commit.await.map_err(failed)?;
        ledger.say(&format!("acknowledged {number}"));
    }
    if order.ending == Ending::Close {
        store.close().await.map_err(|error| (CLOSE_FAILED, error.to_string()))?;
    }
    Ok(())
}

/// The program, as it is started.
pub(crate) struct Program {
    order: Order,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) ledger: Ledger,
    /// What it said on its standard error.
    pub(crate) said: String,
    /// Whether it had to be killed because it did not end.
    pub(crate) hung: bool,
}

impl Program {
    pub(crate) fn new(order: Order) -> Self {
        Self { order }
    }

    /// By itself.
    pub(crate) fn run(&self) -> Ran {
        self.watch(Command::new(this()), |_| false)
    }

    /// Until the ledger says this.
    pub(crate) fn kill_when(&self, is_time: impl Fn(&Ledger) -> bool) -> Ran {
        self.watch(Command::new(this()), is_time)
    }

    /// Under strace, with these arguments, its trace going to a file.
    pub(crate) fn trace(&self, arguments: &[String], output: &Path) -> Ran {
        let mut strace = Command::new("strace");
        strace.args(["--seccomp-bpf", "-f", "-y", "-xx", "-s", "16777216"]).args(arguments);
        strace.arg("-o").arg(output).arg("--").arg(this());
        let ran = self.watch(strace, |_| false);
        let traced = fs::read(output).is_ok_and(|trace| !trace.is_empty());
        assert!(traced, "strace must be allowed to trace processes here: {ran:?}");
        ran
    }

    fn watch(&self, mut command: Command, is_time: impl Fn(&Ledger) -> bool) -> Ran {
        let _ = fs::remove_file(&self.order.ledger);
        let program = command.get_program().to_owned();
        let child = command
            .args(["program::a_program_for_the_other_tests", "--exact", "--nocapture", "--test-threads=1"])
            .env(ORDER, serde_json::to_string(&self.order).expect("it has a JSON form"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{program:?} does not start, scripts/setup-peers installs what tests need: {error}")
        });
        let mut stderr = child.stderr.take().expect("it is piped");
        let said = std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stderr, &mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        let (status, hung) = self.wait(&mut child, is_time);
        let said = said.join().expect("it only reads");
        Ran { status, ledger: self.ledger(), said, hung }
    }

    fn wait(&self, child: &mut Child, is_time: impl Fn(&Ledger) -> bool) -> (ExitStatus, bool) {
        let since = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("it is ours") {
                return (status, false);
            }
            let hangs = since.elapsed() > PATIENCE;
            if hangs || is_time(&self.ledger()) {
                self.kill(child);
                return (child.wait().expect("it is ours"), hangs);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The program itself: strace ends with it, but not it with strace.
    fn kill(&self, child: &mut Child) {
        let ledger = fs::read_to_string(&self.order.ledger).unwrap_or_default();
        let process = ledger.lines().find_map(|line| line.strip_prefix("process "));
        let killed = process.map(|process| Command::new("kill").args(["-9", process]).status());
        if !killed.is_some_and(|killed| killed.is_ok_and(|status| status.success())) {
            let _ = child.kill();
        }
    }

    fn ledger(&self) -> Ledger {
        let text = fs::read_to_string(&self.order.ledger).unwrap_or_default();
        // The last line may be on its way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ledger::of(self.order.from, whole.lines())
    }
}

fn this() -> PathBuf {
    std::env::current_exe().expect("a test has a file")
}
