//! Whether a server that runs for long, and forgets what it is told to forget, stays as it is.

use crate::bar::Bar;
use crate::contender::{Contender, print_ratio};
use crate::disk::{self, Scratch};
use crate::plan::Plan;
use crate::process::{Process, SERVER_CORE};
use crate::statistics::Sample;
use crate::streams::role;
use crate::{Outcome, streams8};

/// Events of each task: submitted, chunks, completed.
const EVENTS: u64 = 8;
/// Milliseconds of one step.
const STEP: &str = "2000";

/// The server after so many events.
#[derive(Clone, Copy)]
struct Look {
    millions: f64,
    memory_mb: f64,
    disk_mb: f64,
    files: usize,
}

/// The case.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let goal = if plan.quick { 0.2 } else { 5.0 };
    let dir = Scratch::new("soak")?;
    let events = EVENTS.to_string();
    let role = role("each", &events, "32", "1");
    let server = Process::start(SERVER_CORE, &["server", dir.text()?, "retain", "1"])?;
    let mut ours = Contender::start("soak".to_owned(), server, &role)?;
    let (mut looks, mut millions, mut next) = (Vec::<Look>::new(), 0.0, 0.0);
    while millions < goal {
        let run = ours.run(STEP, 1.0)?;
        millions += run.fields.first().copied().unwrap_or(0) as f64 * EVENTS as f64 / 1e6;
        let look = Look {
            millions,
            memory_mb: ours.server.resident_bytes()? as f64 / 1e6,
            disk_mb: disk::size(dir.path()) as f64 / 1e6,
            files: ours.server.open_files()?,
        };
        looks.push(look);
        if millions >= next {
            next += goal / 10.0;
            let Look { memory_mb, disk_mb, files, .. } = look;
            println!(
                "{millions:.2} million events: {memory_mb:.0} MB of memory, {disk_mb:.0} MB on disk, {files} files"
            );
        }
    }
    let [syncs, _, _, half, most] = streams8::written(&mut ours.server)?;
    println!("{syncs} syncs; an agent waited {half} µs for the log, 99 % at most {most} µs");
    looks.retain(|look| look.millions >= goal / 5.0);
    judge(&looks)
}

/// What has changed since the warm-up.
fn judge(looks: &[Look]) -> Outcome<bool> {
    let (first, second) = looks.split_at(looks.len() / 2);
    let slope: Sample = [slope(looks)].into_iter().collect();
    let disk: Sample =
        [peak(second, |look| look.disk_mb) / peak(first, |look| look.disk_mb)].into_iter().collect();
    let files: Sample = [peak(second, |look| look.files as f64) - peak(first, |look| look.files as f64)]
        .into_iter()
        .collect();
    let met = [
        print_ratio("MB of memory more for a million events", &slope, Bar::Ceiling(1.0)),
        print_ratio("most on disk, second half / first half", &disk, Bar::Ceiling(1.25)),
        print_ratio("most open files, second half - first half", &files, Bar::Ceiling(2.0)),
    ];
    Ok(met.into_iter().all(|met| met))
}

fn peak(looks: &[Look], what: impl Fn(&Look) -> f64) -> f64 {
    looks.iter().map(what).fold(0.0, f64::max)
}

/// Megabytes for each million events, by least squares.
fn slope(looks: &[Look]) -> f64 {
    let count = looks.len() as f64;
    let mean = |what: fn(&Look) -> f64| looks.iter().map(what).sum::<f64>() / count;
    let (x, y) = (mean(|look| look.millions), mean(|look| look.memory_mb));
    let over: f64 = looks.iter().map(|look| (look.millions - x) * (look.memory_mb - y)).sum();
    let under: f64 = looks.iter().map(|look| (look.millions - x).powi(2)).sum();
    over / under
}
