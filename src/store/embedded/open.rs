//! Opening a store, which is also its recovery: the log is checked from its first byte to its last, a torn tail
//! is cut off, and the catalog learns what it had not written down.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::catalog::{Catalog, CatalogError};
use super::frame::Frame;
use super::home::{Home, OpenError, at};
use super::log::{Log, LogSettings, START, begin_segment, is_no_space};
use super::readers::Readers;
use super::record::first_entry;
use super::scan::{Scan, damage, replay, scan};
use super::upkeep::{Upkeep, has_space};
use super::{Change, EmbeddedStore, Inner, LogPoint, Position, Recovery, Staging, frame};
use crate::clock::Clock;
use crate::limits::StoreLimits;
use crate::model::Timestamp;
use crate::private::sync_dir;

impl EmbeddedStore {
    /// Opens the store in a directory, or makes it. Reads the whole log once, so it takes its time: call it
    /// before serving.
    ///
    /// # Errors
    /// [`OpenError`]: the directory is in use, of a newer format, damaged, or not a store; or the system refused.
    pub fn open(dir: &Path, limits: &StoreLimits, clock: &Clock) -> Result<Self, OpenError> {
        let started = Instant::now();
        let home = Home::open(dir)?;
        let settings = LogSettings {
            dir: home.log(),
            store: home.store,
            segment_bytes: limits.segment_bytes.clamp(LEAST_SEGMENT, MOST_SEGMENT),
        };
        if home.is_new {
            begin_segment(&settings, START).map_err(at(&settings.dir))?;
            home.declare()?;
        }
        let (catalog, scan, catalog_rebuilt) = recover(&home, limits)?;
        let end = scan.end().ok_or_else(|| damage(&settings.dir, 1, 0, "the log is missing"))?;
        if let Some(unbegun) = scan.unbegun {
            let file = super::segment_path(&settings.dir, unbegun);
            fs::remove_file(&file).map_err(at(&file))?;
        }
        let (frames, bytes) = scan.size();
        let truncated_bytes = scan.torn();
        if truncated_bytes > 0 {
            tracing::warn!(bytes = truncated_bytes, "the log's end was half written; it was never answered");
        }
        let sizes: BTreeMap<_, _> =
            scan.segments.iter().map(|seg| (seg.head.number, u64::from(seg.end.offset))).collect();
        let durable = Arc::new(Mutex::new(VecDeque::new()));
        let told = Arc::clone(&durable);
        let on_durable = Box::new(move |frame| {
            told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_back(frame);
        });
        let log_dir = settings.dir.clone();
        let log = Log::start(settings, end, sizes, on_durable).map_err(at(&log_dir))?;
        let inner = Arc::new(Inner {
            log,
            catalog,
            clock: clock.clone(),
            limits: limits.clone(),
            staging: Mutex::new(Staging::default()),
            durable,
            applying: Mutex::new(()),
            collecting: Mutex::new(()),
            rest_until: AtomicU64::new(0),
            has_space: AtomicBool::new(has_space(&log_dir, limits)),
            frames_seen: AtomicU64::new(0),
        });
        let upkeep = Upkeep::start(Arc::clone(&inner)).map_err(at(dir))?;
        let readers = Readers::start().map_err(at(dir))?;
        let recovery = Recovery { frames, bytes, truncated_bytes, catalog_rebuilt, took: started.elapsed() };
        Ok(Self { inner, readers, upkeep, home: Mutex::new(Some(home)), recovery })
    }
}

/// The catalog as complete as the log, and the log as it was found. A catalog that is damaged is made anew.
fn recover(home: &Home, limits: &StoreLimits) -> Result<(Catalog, Scan, bool), OpenError> {
    let dir = home.catalog();
    let opened = Catalog::open(&dir, limits).and_then(|(catalog, from)| {
        catalog.verify()?;
        Ok((catalog, from))
    });
    let known = match opened {
        Ok((catalog, from)) => {
            let log = scan_durably(home, from.frame.saturating_sub(1))?;
            match catch_up(home, &catalog, &log, from) {
                Ok(()) => return Ok((catalog, log, false)),
                Err(Stop::Log(error)) => return Err(error),
                Err(Stop::Catalog(CatalogError::Io(error))) => return Err(at(&dir)(error)),
                Err(Stop::Catalog(error)) => {
                    tracing::warn!(%error, "the catalog does not fit to the log; it is made anew");
                }
            }
            log
        }
        Err(CatalogError::Io(error)) => return Err(at(&dir)(error)),
        Err(error @ CatalogError::Damaged(_)) => {
            tracing::warn!(%error, "the catalog cannot be read; it is made anew");
            scan_durably(home, 0)?
        }
    };
    fs::remove_dir_all(&dir).or_else(absent).map_err(at(&dir))?;
    let damaged = |error: CatalogError| at(&dir)(std::io::Error::other(error));
    let (catalog, from) = Catalog::open(&dir, limits).map_err(damaged)?;
    match catch_up(home, &catalog, &known, from) {
        Ok(()) => Ok((catalog, known, true)),
        Err(Stop::Log(error)) => Err(error),
        Err(Stop::Catalog(error)) => Err(damaged(error)),
    }
}

/// Checks the log, and makes durable what a killed process has left in the system's memory: from here on it is
/// built upon.
fn scan_durably(home: &Home, durable: u64) -> Result<Scan, OpenError> {
    let log = home.log();
    let found = scan(&log, &home.store, durable)?;
    if let Some(last) = found.end() {
        let file = super::segment_path(&log, last.segment);
        fs::File::open(&file).and_then(|file| file.sync_all()).map_err(at(&file))?;
    }
    sync_dir(&log).map_err(at(&log))?;
    sync_dir(&home.dir).map_err(at(&home.dir))?;
    Ok(found)
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Why a catalog cannot catch up.
enum Stop {
    Log(OpenError),
    Catalog(CatalogError),
}

impl From<OpenError> for Stop {
    fn from(error: OpenError) -> Self {
        Self::Log(error)
    }
}

impl From<CatalogError> for Stop {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

/// Shows the catalog what is in the log after its own last point.
fn catch_up(home: &Home, catalog: &Catalog, log: &Scan, from: LogPoint) -> Result<(), Stop> {
    let unfit = |why: &str| Stop::Catalog(CatalogError::Damaged(why.to_owned()));
    if from.frame > 0 {
        fits(log, from).then_some(()).ok_or_else(|| unfit("its place in the log is not there"))?;
    }
    thread::scope(|scope| {
        let (flush, flushes) = mpsc::sync_channel(0);
        let writer = scope.spawn(move || flushes.iter().try_for_each(|()| write_down(catalog)));
        let replayed = replay(&home.log(), log, from, |frame, point| {
            if point.frame == from.frame && point.chain != from.chain {
                return Err(unfit("it was made from another log"));
            }
            let changes = changes(&frame, point).map_err(|why| {
                damage(&home.log(), point.segment, u64::from(point.offset), &why.to_string())
            })?;
            let end = LogPoint {
                offset: point.offset + frame.bytes() as u32,
                frame: point.frame + 1,
                chain: frame.sum,
                ..point
            };
            catalog.replay(changes, end)?;
            // The writer may be at it still; then this goes on, but not for ever.
            let has_gone = if catalog.is_full() {
                flush.send(()).is_err()
            } else {
                catalog.needs_flush() && matches!(flush.try_send(()), Err(TrySendError::Disconnected(())))
            };
            if has_gone { Err(unfit("it cannot be written down")) } else { Ok(()) }
        });
        drop(flush);
        let written = writer.join().map_err(|_| unfit("its writer has a defect"))?;
        written?;
        replayed
    })?;
    let here = |segment: &u32| log.segments.iter().any(|known| known.head.number == *segment);
    match catalog.live_bytes().iter().find(|(segment, bytes)| **bytes > 0 && !here(segment)) {
        // A catalog whose sums are right speaks of what was durable: it would be lost without a word.
        Some((segment, _)) => Err(Stop::Log(damage(
            &home.log(),
            *segment,
            0,
            "the segment is missing, and what is in it is needed",
        ))),
        None => Ok(()),
    }
}

/// Writes the catalog down. If there is no room for that, it stays in memory. Merging takes longer than all the rest,
/// so it is left to the upkeep, unless very much comes together.
fn write_down(catalog: &Catalog) -> Result<(), CatalogError> {
    let written = catalog
        .flush(Timestamp::from_unix_nanos(i64::MIN))
        .and_then(|_| if catalog.unmerged() >= MOST_UNMERGED { catalog.compact() } else { Ok(()) });
    match written {
        Err(CatalogError::Io(error)) if is_no_space(&error) => {
            tracing::warn!(%error, "the catalog could not be written down");
            Ok(())
        }
        other => other,
    }
}

/// Whether a point lies in the log, or at its end.
fn fits(log: &Scan, point: LogPoint) -> bool {
    let oldest = log.segments.first().map_or(u64::MAX, |first| first.head.first_frame);
    match log.end() {
        Some(end) if point.frame == end.frame => point.chain == end.chain,
        Some(end) => point.frame >= oldest && point.frame < end.frame,
        None => false,
    }
}

/// What the entries of a frame mean.
pub(super) fn changes(frame: &Frame<'_>, point: LogPoint) -> Result<Vec<Change>, super::record::BadRecord> {
    let mut changes = Vec::new();
    let (mut rest, mut offset) = (frame.entries, point.offset + frame::FRAME_HEAD as u32);
    while !rest.is_empty() {
        let (entry, length) = first_entry(rest)?;
        let bytes = u32::try_from(length).unwrap_or(u32::MAX);
        changes.push(entry.change(Position { segment: point.segment, offset, bytes })?);
        rest = &rest[length..];
        offset += bytes;
    }
    Ok(changes)
}

/// Flushes at a start that may wait to be merged.
const MOST_UNMERGED: usize = 32;
const LEAST_SEGMENT: u64 = 64 << 10;
const MOST_SEGMENT: u64 = 256 << 20;
