//! What goes on behind the writes: the catalog is written down, the log's oldest segments are collected, and
//! the free space of the disk is watched.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Inner;
use crate::limits::StoreLimits;
use crate::store::StoreError;

/// The thread that does it.
pub(super) struct Upkeep {
    stop: Arc<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Upkeep {
    pub(super) fn start(inner: Arc<Inner>) -> io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new().name("a2a-upkeep".to_owned());
        let thread = thread.spawn(move || {
            while !told.wait(ROUND) {
                inner.round(&told);
            }
        })?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Lets the thread end after what it is at.
    pub(super) fn tell_to_stop(&self) {
        *self.stop.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
    }

    /// Ends the thread, and waits for that.
    pub(super) fn stop(&self) {
        self.tell_to_stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's upkeep has a defect");
        }
    }
}

impl Stop {
    /// Waits; returns whether it is over.
    fn wait(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopped, time, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn round(&self, stop: &Stop) {
        self.watch_space();
        let Err(error) = self.tidy(stop) else { return };
        // Nothing is lost: it stays in memory and in the log, and is tried again.
        tracing::warn!(%error, "the catalog could not be written down");
        if self.catalog.is_overfull() && self.has_space.load(Ordering::Acquire) {
            tracing::error!("the catalog cannot be written; a restart makes it anew if it is damaged");
            self.log.give_up(&error);
        }
        // Not again at once.
        stop.wait(AFTER_FAILURE);
    }

    fn watch_space(&self) {
        let has_space = has_space(self.log.dir(), &self.limits);
        if self.has_space.swap(has_space, Ordering::AcqRel) != has_space {
            tracing::warn!(has_space, "the free space on the disk has crossed the reserve");
        }
    }

    fn tidy(&self, stop: &Stop) -> Result<(), StoreError> {
        // Even if nobody asks: what is durable must not pile up.
        self.absorb()?;
        // Also if the log has gone far ahead, since what is not written down holds up the making of room.
        let last = self.log.sizes().last_key_value().map_or(0, |(last, _)| *last);
        if self.catalog.needs_flush() || last > self.catalog.written().segment + 1 {
            self.catalog.flush(self.clock.now())?;
        }
        if self.catalog.unmerged() >= if self.is_quiet() { 1 } else { MOST_UNMERGED } {
            self.catalog.compact()?;
        }
        while !stop.is_stopped() && self.collect_oldest()? {
            self.watch_space();
        }
        Ok(())
    }

    /// Whether nothing was written since this was last asked.
    fn is_quiet(&self) -> bool {
        let frames = self.log.written().frames;
        self.frames_seen.swap(frames, Ordering::Relaxed) == frames
    }
}

/// Whether the disk has more free bytes than are held in reserve. If that cannot be told, it has.
pub(super) fn has_space(dir: &Path, limits: &StoreLimits) -> bool {
    free_bytes(dir).is_none_or(|free| free >= limits.reserve_bytes)
}

/// Bytes that this process may still write on the disk of a directory.
pub(super) fn free_bytes(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// How often it looks whether there is something to do.
const ROUND: Duration = Duration::from_millis(50);
/// Flushes of the catalog that may wait to be merged while much is written: merging many at once costs less.
const MOST_UNMERGED: usize = 16;
/// How long it waits after something failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
