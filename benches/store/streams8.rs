//! 8-event streams through real connections, each event durable before it is seen.

use crate::bar::Bar;
use crate::contender::{Contender, print_ratio};
use crate::disk::Scratch;
use crate::plain::{Plain, Wrote};
use crate::plan::Plan;
use crate::process::Process;
use crate::statistics::Sample;
use crate::streams::role;
use crate::{BOTH_CORES, Outcome};

/// Events of one stream.
const EVENTS: u32 = 8;

/// The case.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let (mut met, events) = (true, EVENTS.to_string());
    for (at_once, connections, workers, kind) in [
        ("8", "1", "1", "batch"),
        ("16", "1", "1", "batch"),
        ("32", "1", "1", "batch"),
        ("32", "1", "1", "each"),
        ("128", "1", "1", "batch"),
        ("8", "8", "1", "batch"),
        ("8", "8", "2", "batch"),
        ("32", "32", "1", "batch"),
        ("32", "32", "2", "batch"),
    ] {
        let dir = Scratch::new("streams")?;
        let name = format!("{at_once} streams, {connections} connections, {workers} workers, {kind}");
        let role = role(kind, &events, at_once, connections);
        let server = Process::start(BOTH_CORES, &["server", dir.text()?, "keep", workers])?;
        let mut ours = Contender::start(name, server, &role)?;
        let aside = Scratch::new("streams-memory")?;
        let server = Process::start(BOTH_CORES, &["server", aside.text()?, "memory", workers])?;
        let mut memory = Contender::start("  the same in memory".to_owned(), server, &role)?;
        let mut plain = Plain::start(BOTH_CORES)?;
        for _ in 0..3 {
            plain.compare(run(&mut ours, plan)?, plan.millis)?;
            memory.run(&plan.millis.to_string(), 1.0)?;
        }
        ours.reset();
        memory.reset();
        plain.reset();
        let mut to_memory = Sample::default();
        for _ in 0..plan.pairs {
            let durable = run(&mut ours, plan)?;
            plain.compare(durable, plan.millis)?;
            let streams = memory.run(&plan.millis.to_string(), 1.0)?.rate;
            to_memory.add(durable.events / durable.nanos * 1e9 / f64::from(EVENTS) / streams);
        }
        ours.print("stream");
        memory.print("stream");
        print_ratio("  ours / in memory", &to_memory, Bar::None);
        met &= print_ratio("  ours / plain", plain.print("  in the log"), Bar::Floor(0.5));
    }
    Ok(met)
}

fn run(ours: &mut Contender, plan: Plan) -> Outcome<Wrote> {
    let before = written(&mut ours.server)?;
    let run = ours.run(&plan.millis.to_string(), 1.0)?;
    let after = written(&mut ours.server)?;
    let [streams, nanos, ..] = run.fields[..] else { return Err("no measurement".into()) };
    Ok(Wrote {
        events: streams as f64 * f64::from(EVENTS),
        nanos: nanos as f64,
        syncs: (after[0] - before[0]) as f64,
        frames: (after[1] - before[1]) as f64,
        bytes: (after[2] - before[2]) as f64,
    })
}

/// Syncs, frames, bytes; median and 99 % of an agent's wait for the log, in microseconds.
pub(crate) fn written(server: &mut Process) -> Outcome<[u64; 5]> {
    let answer = server.ask("")?;
    let numbers = answer.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    Ok(numbers.try_into().map_err(|_| "the server said something else")?)
}
