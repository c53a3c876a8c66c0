//! Injected time. Nothing else in the crate asks the system what time it is.
//!
//! Two times are kept apart: wall-clock [`Timestamp`]s, which users see and which may jump, and the
//! runtime's monotonic clock (`tokio::time`), which drives every deadline and which tests can pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::Timestamp;

/// Where wall-clock time comes from.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now` until [`set`](Self::set) moves it. Clones share it.
    pub fn standing_at(now: Timestamp) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(now.unix_nanos()))))
    }

    /// Moves a standing clock. The system's clock stays as it is.
    pub fn set(&self, now: Timestamp) {
        if let Source::Set(nanos) = &self.0 {
            nanos.store(now.unix_nanos(), Ordering::SeqCst);
        }
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::from(system_now()),
            Source::Set(nanos) => Timestamp::from_unix_nanos(nanos.load(Ordering::SeqCst)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
fn system_now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
