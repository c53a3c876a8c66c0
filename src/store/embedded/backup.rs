//! Backups: a copy of the log up to a frame that was durable. The catalog is made from it again.
//!
//! A backup is itself a store directory without a catalog: restoring is copying it back.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::frame::Seal;
use super::home::{OpenError, at, is_unused, read_format, write_format};
use super::scan::{Segment, damage, scan, segment_numbers};
use super::{LogPoint, segment_path};
use crate::private::{make_dir, sync_dir};

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Bytes of the log.
    pub bytes: u64,
    /// Its frames: groups that were committed together.
    pub frames: u64,
}

/// Copies the store in a directory, while a server writes to it or not. The copy holds everything that was
/// answered before this was called. `to` must be absent or empty.
///
/// # Errors
/// [`OpenError`]: there is no store, it is damaged or of a newer format, or `to` is not empty.
pub fn backup(dir: &Path, to: &Path) -> Result<BackupReport, OpenError> {
    let store = read_format(dir)?.ok_or_else(|| OpenError::NotAStore { dir: dir.to_owned() })?;
    prepare(to)?;
    let from = dir.join("log");
    // Opened before the first is copied: what is removed meanwhile stays readable.
    let segments = open_all(&from)?;
    let mut report = BackupReport::default();
    for (number, file) in segments {
        copy_segment(&from, number, file, &to.join("log"), &mut report)?;
    }
    seal_off(to, &store)?;
    Ok(report)
}

/// Puts a backup in place. `dir` must be absent or empty, and no server may use it.
///
/// # Errors
/// [`OpenError`], as of [`backup`].
pub fn restore(backup: &Path, dir: &Path) -> Result<BackupReport, OpenError> {
    self::backup(backup, dir)
}

fn prepare(to: &Path) -> Result<(), OpenError> {
    make_dir(to).map_err(at(to))?;
    if !is_unused(to).map_err(at(to))? {
        return Err(OpenError::NotAStore { dir: to.to_owned() });
    }
    let log = to.join("log");
    make_dir(&log).map_err(at(&log))
}

fn open_all(log: &Path) -> Result<VecDeque<(u32, File)>, OpenError> {
    'again: for _ in 0..ATTEMPTS {
        let mut open = VecDeque::new();
        for number in segment_numbers(log)? {
            let path = segment_path(log, number);
            match File::open(&path) {
                Ok(file) => open.push_back((number, file)),
                // Collected since it was listed: its copies are at the end of a newer list.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue 'again,
                Err(error) => return Err(at(&path)(error)),
            }
        }
        return Ok(open);
    }
    Err(at(log)(io::Error::other("the segments change too quickly; try again")))
}

/// Copies the whole frames of a segment. What is being written at its end is left out.
fn copy_segment(
    from: &Path,
    number: u32,
    mut file: File,
    to: &Path,
    report: &mut BackupReport,
) -> Result<(), OpenError> {
    let source = segment_path(from, number);
    let segment = Segment::read(&mut file).map_err(at(&source))?;
    // A segment that has just been begun may have no head yet, and nothing in it.
    let Some(head) = segment.head else { return Ok(()) };
    let LogPoint { offset, frame, chain, .. } = segment.end;
    // Only a frame that is being written may be unreadable.
    if segment.durable >= frame {
        return Err(damage(from, number, u64::from(offset), "what was durable cannot be read from here on"));
    }
    let target = segment_path(to, number);
    let copied = File::create(&target).and_then(|mut copy| {
        copy.write_all(&segment.bytes[..offset as usize])?;
        copy.write_all(&Seal { number: frame - 1, chain }.encode())?;
        copy.sync_all()
    });
    copied.map_err(at(&target))?;
    report.bytes += u64::from(offset);
    report.frames += frame - head.first_frame;
    Ok(())
}

/// Checks the copy, and declares it to be a store.
fn seal_off(to: &Path, store: &[u8; 16]) -> Result<(), OpenError> {
    let log = to.join("log");
    sync_dir(&log).map_err(at(&log))?;
    scan(&log, store, 0)?;
    write_format(to, store).map_err(at(to))?;
    if fs::exists(to.join("LOCK")).unwrap_or(false) {
        return Ok(());
    }
    File::create(to.join("LOCK")).map(drop).map_err(at(to))
}

/// How often the segments are listed anew while they change.
const ATTEMPTS: usize = 100;
