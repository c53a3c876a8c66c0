//! Stop handles and permits: who is told to stop, and who must have finished before the end.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The one switch that stops a server. Clones share it.
///
/// Stopping has three steps: [`stop`](Self::stop) tells everybody to begin nothing new, [`drained`](Self::drained)
/// waits until every [`Permit`] is gone, and [`hand_over`](Self::hand_over) tells those who still have one to leave the
/// rest to the next server.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stopping: CancellationToken,
    handing_over: CancellationToken,
    work: TaskTracker,
}

/// Work that a stopping server waits for. Drop it when the work is done.
#[derive(Debug)]
pub struct Permit {
    _token: TaskTrackerToken,
}

impl Shutdown {
    /// A switch that is not thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Throws the switch. Nothing happens the second time.
    pub fn stop(&self) {
        self.stopping.cancel();
        self.work.close();
    }

    /// Whether the switch is thrown.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Waits until the switch is thrown.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Tells whoever still works to leave the rest to the next server.
    pub fn hand_over(&self) {
        self.handing_over.cancel();
    }

    /// Waits until the rest is to be left to the next server.
    pub async fn handing_over(&self) {
        self.handing_over.cancelled().await;
    }

    /// Waits until the switch is thrown and every permit is gone.
    pub async fn drained(&self) {
        self.work.wait().await;
    }

    /// Permission to begin something that a stopping server waits for; `None` once it stops.
    pub fn permit(&self) -> Option<Permit> {
        (!self.is_stopping()).then(|| Permit { _token: self.work.token() })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::Shutdown;

    #[tokio::test]
    async fn a_stop_gives_out_no_more_permits_and_waits_for_those_that_are_out() {
        let shutdown = Shutdown::new();
        let permit = shutdown.permit().expect("nothing stops yet");
        assert_eq!(shutdown.stopping().now_or_never(), None);

        shutdown.stop();
        assert!(shutdown.permit().is_none());
        assert_eq!(shutdown.drained().now_or_never(), None);

        drop(permit);
        shutdown.drained().await;
        assert_eq!(shutdown.stopping().now_or_never(), Some(()));
    }
}
