//! What is tested: the durable store, or a toy that shows whether these tests find what they look for.

use std::path::Path;

use a2a_webcap::clock::Clock;
use a2a_webcap::store::Store;
use serde::{Deserialize, Serialize};

use crate::history::NOW;
use crate::toy::{Toy, Vice};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subject {
    /// A log that is only good enough to test the tests, and what is wrong with it. It can play only the history
    /// with this seed.
    Toy { seed: u64, vice: Vice },
}

impl Subject {
    /// Opens what is in a directory, or makes it.
    ///
    /// # Errors
    /// Why it cannot be opened, as the operator reads it.
    pub(crate) fn open(&self, directory: &Path) -> Result<Box<dyn Store>, String> {
        let _clock = Clock::standing_at(NOW);
        match self {
            Self::Toy { seed, vice } => Ok(Box::new(Toy::open(directory, *seed, *vice)?)),
        }
    }
}
