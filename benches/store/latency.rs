//! How long something took, counted in classes, so that many measurements need no more memory than few.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of durations.
pub(crate) struct Latency([AtomicU64; CLASSES]);

impl Default for Latency {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; CLASSES])
    }
}

impl Latency {
    pub(crate) fn add(&self, time: Duration) {
        let class = usize::try_from(time.as_micros() / CLASS_MICROS).unwrap_or(CLASSES);
        self.0[class.min(CLASSES - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// The time in microseconds that so much of all, from 0 to 1, kept within.
    pub(crate) fn micros(&self, share: f64) -> u128 {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let most = counts.iter().sum::<u64>() as f64 * share;
        let mut so_far = 0.0;
        let class = counts.iter().position(|count| {
            so_far += *count as f64;
            so_far >= most
        });
        (class.unwrap_or(CLASSES - 1) as u128 + 1) * CLASS_MICROS
    }
}

/// The last one is for everything longer, from 400 ms on.
const CLASSES: usize = 20_000;
const CLASS_MICROS: u128 = 20;
