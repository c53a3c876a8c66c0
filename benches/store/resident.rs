//! The server's memory after a million tasks that are all on disk.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::bar::Bar;
use crate::contender::{Contender, print_ratio};
use crate::disk::{self, Scratch};
use crate::plan::Plan;
use crate::process::{Process, SERVER_CORE};
use crate::statistics::Sample;
use crate::streams::role;
use crate::{Outcome, streams8};

/// Megabytes.
const CEILING: Bar = Bar::Ceiling(300.0);
/// Events of each task: submitted, an artifact, completed.
const EVENTS: &str = "3";
/// Milliseconds of one step.
const STEP: &str = "5000";

/// The case.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let goal: u64 = if plan.quick { 20_000 } else { 1_000_000 };
    let dir = Scratch::new("resident")?;
    let role = role("each", EVENTS, "64", "1");
    let server = Process::start(SERVER_CORE, &["server", dir.text()?, "keep", "1"])?;
    let mut ours = Contender::start("tasks".to_owned(), server, &role)?;
    let (begun, mut tasks, mut next) = (Instant::now(), 0, goal / 5);
    while tasks < goal {
        let run = ours.run(STEP, 1.0)?;
        tasks += run.fields.first().copied().unwrap_or(0);
        if tasks >= next {
            next += goal / 5;
            print(&ours, &dir, tasks, run.rate)?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    sleep(SETTLE);
    let [syncs, ..] = streams8::written(&mut ours.server)?;
    println!("{tasks} finished tasks of {EVENTS} events in {seconds:.0} s and {syncs} syncs:");
    let memory: Sample = [ours.server.resident_bytes()? as f64 / 1e6].into_iter().collect();
    Ok(print_ratio("MB of memory", &memory, CEILING))
}

fn print(ours: &Contender, dir: &Scratch, tasks: u64, rate: f64) -> Outcome<()> {
    let (memory, disk) = (ours.server.resident_bytes()?, disk::size(dir.path()));
    let (memory, disk) = (memory / 1_000_000, disk / 1_000_000);
    println!("{tasks:9} tasks, {rate:.0} of them a second: {memory} MB of memory, {disk} MB on disk");
    Ok(())
}

/// Time for what goes on behind the writes.
const SETTLE: Duration = Duration::from_secs(2);
