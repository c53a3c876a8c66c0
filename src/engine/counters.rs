//! What the engine holds and has done, as numbers. Tests for leaks read them, and so do the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The numbers while they change.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) live_tasks: AtomicU64,
    pub(super) turns: AtomicU64,
    pub(super) feeds: AtomicU64,
    pub(super) open_sends: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) dropped_updates: AtomicU64,
    pub(super) refused_updates: AtomicU64,
    pub(super) inbox_messages: AtomicU64,
    pub(super) refused_turns: AtomicU64,
    /// By [`LAGS`], each without those before.
    lags: [AtomicU64; LAGS.len() + 1],
    lag_sum: AtomicU64,
}

/// Events that a reader may be behind.
const LAGS: [u64; 7] = [0, 1, 8, 64, 512, 4_096, 32_768];

/// How far subscribers were behind each time that they looked for events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lags {
    /// Upper bounds in events, each with how many looks found no more than that and more than the bound before; the
    /// last one is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// All that was found, summed up.
    pub sum: u64,
}

/// The engine's numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that somebody uses now; the others are in the store only.
    pub live_tasks: u64,
    /// Turns that run now.
    pub turns: u64,
    /// Feeds that are held now.
    pub feeds: u64,
    /// Sends that are not answered yet and hold their message id.
    pub open_sends: u64,
    /// Events committed since the start.
    pub events: u64,
    /// Group commits since the start.
    pub commits: u64,
    /// Updates dropped since the start because their turn was over.
    pub dropped_updates: u64,
    /// Updates refused since the start because they were no legal step.
    pub refused_updates: u64,
    /// Messages put into inboxes since the start.
    pub inbox_messages: u64,
    /// Turns refused since the start because too many ran.
    pub refused_turns: u64,
    /// Pieces of work that wait for the log's writer now.
    pub queued: u64,
}

impl Counters {
    pub(super) fn read(&self, queued: usize) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        Counts {
            live_tasks: read(&self.live_tasks),
            turns: read(&self.turns),
            feeds: read(&self.feeds),
            open_sends: read(&self.open_sends),
            events: read(&self.events),
            commits: read(&self.commits),
            dropped_updates: read(&self.dropped_updates),
            refused_updates: read(&self.refused_updates),
            inbox_messages: read(&self.inbox_messages),
            refused_turns: read(&self.refused_turns),
            queued: queued as u64,
        }
    }

    /// A reader looks, and is so many events behind.
    pub(super) fn note_lag(&self, events: u64) {
        self.lags[LAGS.partition_point(|most| *most < events)].fetch_add(1, Ordering::Relaxed);
        self.lag_sum.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn lags(&self) -> Lags {
        let bounds = LAGS.into_iter().map(|most| most as f64).chain([f64::INFINITY]);
        let buckets = bounds.zip(self.lags.iter().map(|count| count.load(Ordering::Relaxed))).collect();
        Lags { buckets, sum: self.lag_sum.load(Ordering::Relaxed) }
    }
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::AcqRel);
}

/// Counts one thing for as long as it is held.
#[derive(Debug)]
pub(super) struct Held {
    counters: Arc<Counters>,
    which: fn(&Counters) -> &AtomicU64,
}

impl Held {
    pub(super) fn new(counters: &Arc<Counters>, which: fn(&Counters) -> &AtomicU64) -> Self {
        which(counters).fetch_add(1, Ordering::AcqRel);
        Self { counters: Arc::clone(counters), which }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.which)(&self.counters).fetch_sub(1, Ordering::AcqRel);
    }
}
