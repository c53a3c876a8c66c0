//! What is tested: the durable store, or a toy that shows whether these tests find what they look for.

use std::path::Path;
use std::time::{Duration, Instant};

use a2a_webcap::clock::Clock;
use a2a_webcap::limits::StoreLimits;
use a2a_webcap::store::Store;
use a2a_webcap::store::embedded::EmbeddedStore;
use serde::{Deserialize, Serialize};

use crate::history::NOW;
use crate::toy::{Toy, Vice};

/// How long a lock may be held on behalf of a child.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subject {
    /// The store, with small bounds: segments are soon full, and the catalog is soon written down.
    Store,
    /// The store with large bounds: one segment, and the catalog stays in memory.
    Roomy,
    /// A log that is only good enough to test the tests, and what is wrong with it. It can play only the history
    /// with this seed.
    Toy { seed: u64, vice: Vice },
}

impl Subject {
    /// Opens what this process has had open before. A child that was started meanwhile holds the directory's lock
    /// too, until it has become another program.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_again(self, directory: &Path) -> Result<Box<dyn Store>, String> {
        let since = Instant::now();
        loop {
            match self.open(directory) {
                Err(reason) if reason.contains("used by another process") && since.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => return other,
            }
        }
    }

    /// Opens what is in a directory, or makes it.
    ///
    /// # Errors
    /// Why it cannot be opened, as the operator reads it.
    pub(crate) fn open(self, directory: &Path) -> Result<Box<dyn Store>, String> {
        match self {
            Self::Store => {
                let mut limits = roomy();
                limits.segment_bytes = 64 << 10;
                limits.catalog_memory_bytes = 64 << 10;
                limits.catalog_cache_bytes = 4 << 10;
                store(directory, &limits)
            }
            Self::Roomy => store(directory, &roomy()),
            Self::Toy { seed, vice } => Ok(Box::new(Toy::open(directory, seed, vice)?)),
        }
    }
}

fn roomy() -> StoreLimits {
    let mut limits = StoreLimits::default();
    limits.reserve_bytes = 1 << 20;
    limits.checkpoint_events = 4;
    limits
}

fn store(directory: &Path, limits: &StoreLimits) -> Result<Box<dyn Store>, String> {
    let store = EmbeddedStore::open(directory, limits, &Clock::standing_at(NOW));
    store.map(|store| Box::new(store) as Box<dyn Store>).map_err(|error| error.to_string())
}
