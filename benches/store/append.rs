//! Durable events a second, with 256 updates in flight.

use crate::Outcome;
use crate::bar::Bar;
use crate::contender::print_ratio;
use crate::disk::Scratch;
use crate::plain::{Plain, Wrote};
use crate::plan::Plan;
use crate::process::Process;

/// Both cores: agents, the engine's writer and the disk's thread share them.
const CORES: &str = "0,1";

/// The case.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let dir = Scratch::new("append")?;
    let dir = dir.text()?;
    compare(plan, "Store::commit, 8 groups of 32 events in flight", &["commits", dir], Bar::None)?;
    let mut met = true;
    for tasks in ["16", "64"] {
        let name = format!("engine, {tasks} tasks with 256 updates in flight in all");
        met &= compare(plan, &name, &["engine", dir, tasks], Bar::Floor(0.6))?;
    }
    Ok(met)
}

fn compare(plan: Plan, name: &str, role: &[&str], bar: Bar) -> Outcome<bool> {
    let line = plan.millis.to_string();
    let mut ours = Process::start(CORES, role)?;
    let mut plain = Plain::start(CORES)?;
    plain.compare(Wrote::parse(&ours.ask(&line)?)?, plan.millis)?;
    plain.reset();
    for _ in 0..plan.pairs {
        plain.compare(Wrote::parse(&ours.ask(&line)?)?, plan.millis)?;
    }
    Ok(print_ratio("  ours / plain", plain.print(name), bar))
}
