//! Whether a very long stream stays as fast as it began.

use crate::Outcome;
use crate::bar::Bar;
use crate::contender::{Contender, print_ratio};
use crate::plan::Plan;
use crate::statistics::Sample;
use crate::streams::role;

/// The case: the second half's time against the first's, and the server's memory at the end.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let events: u32 = if plan.quick { 50_000 } else { 1_000_000 };
    let mut met = true;
    for kind in ["each", "batch"] {
        let (mut growth, mut rate, mut memory) = <(Sample, Sample, Sample)>::default();
        for _ in 0..RUNS {
            // A server of its own for each: the memory store keeps what it was given.
            let text = events.to_string();
            let mut ours = Contender::ours(kind, &role(kind, &text, "1", "1"))?;
            let run = ours.run("0", f64::from(events))?;
            let [_, nanos, half, ..] = run.fields[..] else { return Err("no halves".into()) };
            growth.add((nanos - half) as f64 / half as f64);
            rate.add(run.rate);
            memory.add(ours.server.resident_bytes()? as f64 / 1e6);
        }
        println!("{events} events, {kind:5}: {rate} events/s, all in order; the server has {memory} MB then");
        met &= print_ratio("second half / first half", &growth, Bar::Ceiling(1.2));
    }
    Ok(met)
}

const RUNS: usize = 3;
