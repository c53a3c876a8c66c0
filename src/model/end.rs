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
