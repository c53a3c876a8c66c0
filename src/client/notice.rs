//! What a client tells its owner besides answers.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::Fault;
use crate::model::Id;

/// Something that happened to the line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClientNotice {
    /// The line was lost; the client tries again after a wait.
    Reconnecting {
        /// 1, 2, 3, …
        attempt: u32,
        /// How long it waits first.
        wait: Duration,
        /// What went wrong last.
        why: Fault,
    },
    /// A stream goes on after a loss, without gap or repeat.
    Resumed {
        /// The task that it follows.
        task: Id,
        /// The last event that came before.
        after: u64,
    },
    /// The line is back, and the call that began a stream was made again, since no event had come yet. A send
    /// counts once all the same: the server knows it by its message id.
    Repeated,
}

/// Who is told. Called on the client's thread: it must return soon.
#[derive(Clone, Default)]
pub(super) struct Listener(Option<Arc<dyn Fn(ClientNotice) + Send + Sync>>);

impl Listener {
    pub(super) fn new(listener: impl Fn(ClientNotice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(super) fn tell(&self, notice: ClientNotice) {
        tracing::debug!(?notice, "client");
        if let Some(listener) = &self.0 {
            listener(notice);
        }
    }
}
