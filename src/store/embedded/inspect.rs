//! Looks at a store without changing it, and at what the disk under it costs.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::frame::FORMAT;
use super::home::{OpenError, is_locked, read_format};
use super::scan::scan;
use super::upkeep::free_bytes;

/// What a store looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The version of its format.
    pub format: u32,
    /// Whether a process uses it now.
    pub in_use: bool,
    /// Files of its log.
    pub segments: u32,
    /// Groups that were committed together.
    pub frames: u64,
    /// Bytes of its log.
    pub bytes: u64,
    /// Bytes at the log's end that are half written. The next start cuts them off, unless they are just
    /// being written.
    pub torn_bytes: u64,
    /// Bytes of its catalog, which is made from the log.
    pub catalog_bytes: u64,
    /// Bytes that may still be written on its disk; none if the system does not say.
    pub free_bytes: Option<u64>,
}

/// Checks every checksum of the log in a directory, and changes nothing. While a server writes, what it is
/// writing looks like a torn end.
///
/// # Errors
/// [`OpenError`]: no store, a newer format, or damage.
pub fn inspect(dir: &Path) -> Result<Inspection, OpenError> {
    let store = read_format(dir)?.ok_or_else(|| OpenError::NotAStore { dir: dir.to_owned() })?;
    let found = settled(|| scan(&dir.join("log"), &store, 0))?;
    let (frames, bytes) = found.size();
    Ok(Inspection {
        format: FORMAT,
        in_use: is_locked(dir),
        segments: u32::try_from(found.segments.len()).unwrap_or(u32::MAX),
        frames,
        bytes,
        torn_bytes: found.torn(),
        catalog_bytes: tree_bytes(&dir.join("catalog")),
        free_bytes: free_bytes(dir),
    })
}

/// Looks again while segments go that were just listed.
fn settled<T>(mut look: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    for _ in 0..ATTEMPTS {
        match look() {
            Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    look()
}

/// How often segments may go while they are looked at.
const ATTEMPTS: usize = 20;

/// What making something durable costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsyncCost {
    /// Half of the rounds took longer.
    pub median: Duration,
    /// The slowest round.
    pub worst: Duration,
}

/// Measures what an `fdatasync` after 4 KiB costs in a directory. Writes a file there and removes it.
///
/// # Errors
/// If the file cannot be written.
pub fn measure_fsync(dir: &Path, rounds: u32) -> io::Result<FsyncCost> {
    let path = dir.join(PROBE);
    let measured = File::create(&path).and_then(|file| {
        let mut times = Vec::new();
        for round in 0..rounds.max(1) {
            file.write_all_at(&[0xA5; 4_096], u64::from(round) * 4_096)?;
            let started = Instant::now();
            file.sync_data()?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        Ok(FsyncCost { median: times[times.len() / 2], worst: times[times.len() - 1] })
    });
    let removed = fs::remove_file(&path);
    measured.and_then(|cost| removed.map(|()| cost))
}

/// What is measured with. A measurement that was killed leaves it.
pub(super) const PROBE: &str = "fsync.probe";

fn tree_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => tree_bytes(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
