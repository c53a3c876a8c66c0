//! How long a start takes, for each gigabyte of log.

use std::fs;
use std::path::Path;

use a2a_webcap::clock::Clock;
use a2a_webcap::limits::StoreLimits;
use a2a_webcap::store::Store as _;
use a2a_webcap::store::embedded::EmbeddedStore;

use crate::bar::Bar;
use crate::contender::print_ratio;
use crate::disk::Scratch;
use crate::fill::fill;
use crate::plan::Plan;
use crate::process::{Process, answer};
use crate::statistics::Sample;
use crate::{BOTH_CORES, Outcome};

/// Seconds for each gigabyte of log.
const CEILING: Bar = Bar::Ceiling(2.0);
/// Starts of each kind.
const RUNS: usize = 5;

/// The case. The log was just written, so it is in the page cache: what a cold disk adds is its own speed.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let bytes: u64 = if plan.quick { 100_000_000 } else { 1_500_000_000 };
    let dir = Scratch::new("recovery")?;
    let role = ["recovery", dir.text()?, &bytes.to_string()];
    // It fills the store and is killed.
    drop(Process::start(BOTH_CORES, &role)?);
    println!("tasks of 8 events; the log is in the page cache");
    let catalog = dir.path().join("data/catalog");
    let mut met = true;
    let opened = open(&role)?;
    println!("the log has {:.2} GB in {} frames", opened.gigabytes, opened.frames);
    let killed: Sample = [opened.seconds].into_iter().collect();
    met &= print_ratio("s/GB after a kill -9", &killed, CEILING);
    let (mut closed, mut missing, mut memory) = <(Sample, Sample, Sample)>::default();
    for _ in 0..RUNS {
        closed.add(open(&role)?.seconds);
    }
    for _ in 0..RUNS {
        if catalog.exists() {
            fs::remove_dir_all(&catalog)?;
        }
        let opened = open(&role)?;
        missing.add(opened.seconds);
        memory.add(opened.resident as f64 / 1e6);
    }
    met &= print_ratio("s/GB after a stop", &closed, CEILING);
    met &= print_ratio("s/GB without a catalog", &missing, CEILING);
    println!("the process has {memory:.0} MB after a start without a catalog");
    Ok(met)
}

/// What one start was like.
struct Opened {
    /// For each gigabyte.
    seconds: f64,
    gigabytes: f64,
    frames: u64,
    resident: u64,
}

/// Starts in a process of its own, and stops in order.
fn open(role: &[&str]) -> Outcome<Opened> {
    let mut process = Process::start(BOTH_CORES, role)?;
    let numbers = process.greeting.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [nanos, bytes, frames] = numbers[..] else { return Err("it said something else".into()) };
    let resident = process.resident_bytes()?;
    process.ask("close")?;
    let gigabytes = bytes as f64 / 1e9;
    Ok(Opened { seconds: nanos as f64 / 1e9 / gigabytes, gigabytes, frames, resident })
}

/// The process. Opens the store and says how long that took (nanoseconds, bytes, frames); an empty one is filled
/// with so many bytes of log. At the first line it closes the store.
pub(crate) fn run(dir: &str, bytes: u64) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let data = Path::new(dir).join("data");
        let store = EmbeddedStore::open(&data, &StoreLimits::default(), &Clock::system())?;
        let found = store.recovery().clone();
        if found.frames == 0 {
            fill(&store, 8, |_| store.written().bytes < bytes).await?;
        }
        answer(&format!("{} {} {}", found.took.as_nanos(), found.bytes, found.frames), async |_| {
            store.close().await?;
            Ok("closed".to_owned())
        })
        .await
    })
}
