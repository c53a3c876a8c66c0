//! How a stream ends.

use crate::fault::Fault;

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The task is in a terminal state; the event before was final.
    Completed,
    /// A send's own stream: the task waits for input or authorization.
    Interrupted,
    /// The subscription was dropped, the session closed, or the server is stopping: resume.
    Detached,
    /// The authority behind the stream was taken back or has expired: do not resume.
    Revoked,
    /// The observer failed or could not be reached in time: resume after the last seq.
    Cut,
    /// Retention has passed this reader: the events after the last seq are gone.
    Gap,
    /// The server could not go on.
    Failed,
}

impl EndReason {
    const ALL: [Self; 7] = [
        Self::Completed,
        Self::Interrupted,
        Self::Detached,
        Self::Revoked,
        Self::Cut,
        Self::Gap,
        Self::Failed,
    ];

    /// Its name, in bindings that have words for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Detached => "detached",
            Self::Revoked => "revoked",
            Self::Cut => "cut",
            Self::Gap => "gap",
            Self::Failed => "failed",
        }
    }

    /// The reason of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// The last word on a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamEnd {
    /// Why.
    pub reason: EndReason,
    /// The last event that was sent; 0 if none was.
    pub last_seq: u64,
    /// Set for [`EndReason::Revoked`], [`EndReason::Gap`] and [`EndReason::Failed`].
    pub fault: Option<Fault>,
}
