//! What the machine has to give: disk, clock, open files.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::text::field;
use crate::clock::Clock;
use crate::model::Timestamp;
use crate::store::embedded;

/// The first part of a path, from its end, that is there.
pub(super) fn existing(path: &Path) -> Option<&Path> {
    let here = Path::new(".");
    path.ancestors().map(|one| if one.as_os_str().is_empty() { here } else { one }).find(|one| one.is_dir())
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} bytes"),
    }
}

/// The file system that a store is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiskReport {
    pub(super) free_bytes: u64,
    pub(super) total_bytes: u64,
    /// Below this, new work is refused.
    pub(super) reserve_bytes: u64,
}

#[cfg(unix)]
pub(super) fn disk(place: &Path, reserve_bytes: u64) -> io::Result<DiskReport> {
    let found = rustix::fs::statvfs(place)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(DiskReport { free_bytes: bytes(found.f_bavail), total_bytes: bytes(found.f_blocks), reserve_bytes })
}

#[cfg(not(unix))]
pub(super) fn disk(_: &Path, _: u64) -> io::Result<DiskReport> {
    Err(io::ErrorKind::Unsupported.into())
}

impl DiskReport {
    pub(super) fn problem(&self) -> Option<String> {
        (self.free_bytes < self.reserve_bytes).then(|| {
            format!(
                "only {} are free on the disk: new work is refused until it is {} again \
                 (limits.store.reserve-bytes); make room, or delete finished tasks",
                size(self.free_bytes),
                size(self.reserve_bytes)
            )
        })
    }

    pub(super) fn write(&self, text: &mut String) {
        let free = format!("{} free of {}", size(self.free_bytes), size(self.total_bytes));
        field(text, "Disk", &format!("{free}; below {} new work is refused", size(self.reserve_bytes)));
    }
}

/// What it costs to have something on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FsyncReport {
    pub(super) rounds: u32,
    pub(super) median_micros: u128,
    pub(super) worst_micros: u128,
}

pub(super) fn fsync(place: &Path) -> io::Result<FsyncReport> {
    let cost = embedded::measure_fsync(place, ROUNDS)?;
    let (median_micros, worst_micros) = (cost.median.as_micros(), cost.worst.as_micros());
    Ok(FsyncReport { rounds: ROUNDS, median_micros, worst_micros })
}

impl FsyncReport {
    pub(super) fn hint(&self) -> Option<String> {
        (self.median_micros < SUSPICIOUS_MICROS).then(|| {
            format!(
                "an fsync takes {} µs, which no disk does: this may be a memory file system (tmpfs), or one \
                 that does not wait for its disk; then what is written does not survive a power loss",
                self.median_micros
            )
        })
    }

    pub(super) fn write(&self, text: &mut String) {
        let (median, worst) = (self.median_micros, self.worst_micros);
        field(text, "Fsync", &format!("median {median} µs, worst {worst} µs of {}", self.rounds));
    }
}

/// The two clocks, watched while something else was done.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClockReport {
    wall: Timestamp,
    resolution_nanos: u64,
    /// Whether the monotonic clock never went back.
    monotonic: bool,
    /// How far the wall clock moved against the monotonic one.
    drift_micros: i64,
    watched_micros: u64,
}

pub(super) struct ClockWatch {
    wall: Timestamp,
    monotonic: Instant,
}

impl ClockWatch {
    pub(super) fn start() -> Self {
        Self { wall: Clock::system().now(), monotonic: Instant::now() }
    }

    pub(super) fn stop(self) -> ClockReport {
        let monotonic = never_goes_back();
        let resolution_nanos = resolution();
        let (wall, watched) = (Clock::system().now(), self.monotonic.elapsed());
        let micros = |nanos: i64| nanos / 1_000;
        let passed = wall.unix_nanos().saturating_sub(self.wall.unix_nanos());
        let watched_nanos = i64::try_from(watched.as_nanos()).unwrap_or(i64::MAX);
        ClockReport {
            wall,
            resolution_nanos,
            monotonic,
            drift_micros: micros(passed.saturating_sub(watched_nanos)),
            watched_micros: u64::try_from(watched.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl ClockReport {
    pub(super) fn problem(&self) -> Option<String> {
        if self.wall < Timestamp::from_unix_nanos(EARLIEST_NANOS) {
            return Some(format!(
                "the wall clock says {}: set it; the ends of keys and of retention go by it",
                self.wall
            ));
        }
        let backwards = || "the monotonic clock went back: timeouts cannot be relied on".to_owned();
        (!self.monotonic).then(backwards)
    }

    /// No problem in itself: the two clocks are not read in one moment, and a busy machine may come between.
    pub(super) fn hint(&self) -> Option<String> {
        (self.drift_micros.unsigned_abs() > JUMP_MICROS).then(|| {
            format!("the wall clock jumped by {} ms just now: see what sets it", self.drift_micros / 1_000)
        })
    }

    pub(super) fn write(&self, text: &mut String) {
        let wall = format!("{}, resolution {} ns", self.wall, self.resolution_nanos);
        let monotonic = if self.monotonic { "does not go back" } else { "GOES BACK" };
        let watched = format!("{} µs apart after {} µs", self.drift_micros, self.watched_micros);
        field(text, "Clock", &format!("{wall}; monotonic clock {monotonic}; the two are {watched}"));
    }
}

fn never_goes_back() -> bool {
    let mut last = Instant::now();
    (0..LOOKS).all(|_| {
        let now = Instant::now();
        let is_later = now >= last;
        last = now;
        is_later
    })
}

/// The smallest step that the wall clock was seen to make; 0 if it made none.
fn resolution() -> u64 {
    let clock = Clock::system();
    let mut last = clock.now();
    let steps = (0..LOOKS).filter_map(|_| {
        let now = clock.now();
        let step = now.saturating_since(last);
        last = now;
        (step > Duration::ZERO).then_some(step)
    });
    steps.min().map_or(0, |step| u64::try_from(step.as_nanos()).unwrap_or(u64::MAX))
}

/// How many files and sockets the process may have open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FilesReport {
    /// None: as many as it likes.
    pub(super) soft: Option<u64>,
    pub(super) hard: Option<u64>,
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is no such limit")]
pub(super) fn open_files() -> Option<FilesReport> {
    let found = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Some(FilesReport { soft: found.current, hard: found.maximum })
}

#[cfg(not(unix))]
pub(super) fn open_files() -> Option<FilesReport> {
    None
}

impl FilesReport {
    /// What to do if so many connections cannot be had.
    pub(super) fn hint(&self, connections: usize) -> Option<String> {
        let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(FILES_BESIDE);
        let soft = self.soft.filter(|soft| *soft < wanted)?;
        Some(format!(
            "{connections} connections are allowed (limits.net.connections), but the system lets this process \
             open only {soft} files: `ulimit -n {wanted}`, or allow fewer connections"
        ))
    }

    pub(super) fn write(&self, text: &mut String) {
        let shown =
            |limit: Option<u64>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        field(text, "Open files", &format!("{}, at most {}", shown(self.soft), shown(self.hard)));
    }
}

/// How often an fsync is tried.
const ROUNDS: u32 = 64;

/// An fsync that is faster reached no disk.
const SUSPICIOUS_MICROS: u128 = 20;

/// How often each clock is looked at.
const LOOKS: usize = 10_000;

/// 2025-01-01: no clock that is set is before this program was written.
const EARLIEST_NANOS: i64 = 1_735_689_600_000_000_000;

/// A wall clock that is being slewed stays within this while the doctor looks.
const JUMP_MICROS: u64 = 100_000;

/// Files that a server has open beside its connections.
const FILES_BESIDE: u64 = 256;
