//! What ours is compared with: a loop of write and `fdatasync` at the end of a file.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{Scratch, clear};
use crate::process::{Process, answer};
use crate::statistics::Sample;
use crate::{Outcome, disk};

/// What our log wrote while something was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrote {
    pub(crate) events: f64,
    pub(crate) nanos: f64,
    pub(crate) syncs: f64,
    pub(crate) frames: f64,
    pub(crate) bytes: f64,
}

impl Wrote {
    /// Of a line with these numbers.
    pub(crate) fn parse(line: &str) -> Outcome<Self> {
        let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [events, nanos, syncs, frames, bytes] = numbers[..] else {
            return Err(format!("{line} is no measurement").into());
        };
        Ok(Self { events, nanos, syncs, frames, bytes })
    }
}

/// The loop, as a process; and what it and ours came to.
pub(crate) struct Plain {
    process: Process,
    _dir: Scratch,
    events: Sample,
    syncs: Sample,
    frames: Sample,
    events_each: Sample,
    bytes_each: Sample,
    plain: Sample,
    ratio: Sample,
}

impl Plain {
    pub(crate) fn start(core: &str) -> Outcome<Self> {
        let dir = Scratch::new("plain")?;
        let process = Process::start(core, &["plain", dir.text()?])?;
        let (events, syncs, frames, events_each, bytes_each, plain, ratio) = Default::default();
        Ok(Self { process, _dir: dir, events, syncs, frames, events_each, bytes_each, plain, ratio })
    }

    /// Does for some time what ours did, and compares.
    pub(crate) fn compare(&mut self, ours: Wrote, millis: u64) -> Outcome<()> {
        let bytes = (ours.bytes / ours.syncs).round();
        let answer = self.process.ask(&format!("{bytes} {millis}"))?;
        let (syncs, nanos) = answer.split_once(' ').ok_or("no measurement")?;
        let plain = syncs.parse::<f64>()? / nanos.parse::<f64>()? * 1e9;
        let (rate, syncs) = (ours.events / ours.nanos * 1e9, ours.syncs / ours.nanos * 1e9);
        self.events.add(rate);
        self.syncs.add(syncs);
        self.frames.add(ours.frames / ours.syncs);
        self.events_each.add(ours.events / ours.syncs);
        self.bytes_each.add(bytes);
        self.plain.add(plain);
        self.ratio.add(rate / (plain * ours.events / ours.syncs));
        Ok(())
    }

    /// Forgets what was measured.
    pub(crate) fn reset(&mut self) {
        let (events, syncs, frames, events_each, bytes_each, plain, ratio) = Default::default();
        (self.events, self.syncs, self.frames) = (events, syncs, frames);
        (self.events_each, self.bytes_each, self.plain, self.ratio) = (events_each, bytes_each, plain, ratio);
    }

    /// Prints both sides; returns the ratio of their events.
    pub(crate) fn print(&self, name: &str) -> &Sample {
        println!("{name}: {:.0} events/s, {:.0} syncs/s", self.events, self.syncs);
        println!(
            "  each of {:.0} events in {:.1} groups, {:.0} bytes; plain: {:.0} syncs/s of as many bytes",
            self.events_each, self.frames, self.bytes_each, self.plain
        );
        &self.ratio
    }
}

/// The process. Each line says how many bytes to write before each sync and for how many milliseconds; the
/// answer: syncs, nanoseconds.
pub(crate) fn run(dir: &str) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(answer("ready", async |line| {
        let (bytes, millis) = line.split_once(' ').ok_or("how many bytes, and how long?")?;
        append(Path::new(dir), bytes.parse()?, Duration::from_millis(millis.parse()?))
    }))
}

fn append(dir: &Path, bytes: usize, time: Duration) -> Outcome<String> {
    let buffer = vec![b'x'; bytes];
    let mut file = OpenOptions::new().append(true).create_new(true).open(dir.join("plain"))?;
    let (begun, mut syncs) = (Instant::now(), 0_u64);
    while begun.elapsed() < time {
        file.write_all(&buffer)?;
        file.sync_data()?;
        syncs += 1;
    }
    let nanos = begun.elapsed().as_nanos();
    drop(file);
    disk::clear(dir)?;
    Ok(format!("{syncs} {nanos}"))
}

/// Clears a directory, and runs something in it.
pub(crate) async fn cleared<T>(dir: &Path, run: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let outcome = run.await;
    clear(dir)?;
    outcome
}
