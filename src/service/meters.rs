//! How calls went: how many of each method, what they came to, and how long they took.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{FaultKind, Result};
use crate::trace::{Span, outcome};

/// A method that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names are A2A's, but for `authenticate` and `DeleteTask`, which are ours"
)]
pub enum Method {
    Authenticate,
    SendMessage,
    SendStreamingMessage,
    GetTask,
    ListTasks,
    CancelTask,
    SubscribeToTask,
    DeleteTask,
    /// Any of the four operations on webhooks.
    PushNotificationConfig,
    GetExtendedAgentCard,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Authenticate,
        Self::SendMessage,
        Self::SendStreamingMessage,
        Self::GetTask,
        Self::ListTasks,
        Self::CancelTask,
        Self::SubscribeToTask,
        Self::DeleteTask,
        Self::PushNotificationConfig,
        Self::GetExtendedAgentCard,
    ];

    /// What metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::SendMessage => "SendMessage",
            Self::SendStreamingMessage => "SendStreamingMessage",
            Self::GetTask => "GetTask",
            Self::ListTasks => "ListTasks",
            Self::CancelTask => "CancelTask",
            Self::SubscribeToTask => "SubscribeToTask",
            Self::DeleteTask => "DeleteTask",
            Self::PushNotificationConfig => "TaskPushNotificationConfig",
            Self::GetExtendedAgentCard => "GetExtendedAgentCard",
        }
    }
}

/// Counters of all calls since the start. A call costs a few atomic additions.
#[derive(Debug, Default)]
pub struct Meters([Meter; Method::ALL.len()]);

/// Counters of one method.
#[derive(Debug)]
struct Meter {
    /// Those that succeeded, those that their caller gave up, then by [`FaultKind`].
    outcomes: [AtomicU64; 2 + FaultKind::ALL.len()],
    /// By [`BOUNDS`], each without those before.
    durations: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// What one method's calls came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Measured {
    /// `ok`, `abandoned` or a fault's reason in lower case, with how many; only those that there are.
    pub outcomes: Vec<(String, u64)>,
    /// Upper bounds in seconds, each with how many calls took no longer and longer than the bound before; the last one
    /// is infinite.
    pub durations: Vec<(f64, u64)>,
    /// Seconds of all calls together.
    pub seconds: f64,
}

/// Upper bounds, in seconds.
const BOUNDS: [f64; 12] = [0.0001, 0.00025, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];

impl Default for Meter {
    fn default() -> Self {
        let zeros = || AtomicU64::new(0);
        Self { outcomes: array::from_fn(|_| zeros()), durations: array::from_fn(|_| zeros()), nanos: zeros() }
    }
}

impl Meters {
    /// Does a call, counts it and ends its span. If what is returned is dropped before its end, the call counts as
    /// abandoned.
    ///
    /// Give it a large future pinned: one that is given by value has its room here twice.
    pub(super) async fn measure<T>(
        &self,
        method: Method,
        span: &Span,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut running =
            Running { meter: &self.0[method as usize], begun: Instant::now(), outcome: ABANDONED };
        let answer = call.await;
        span.end(&answer);
        running.outcome = match &answer {
            Ok(_) => OK,
            Err(fault) => FIRST_FAULT + fault.kind() as usize,
        };
        answer
    }

    /// What was counted since the start.
    pub fn read(&self, method: Method) -> Measured {
        let Meter { outcomes, durations, nanos } = &self.0[method as usize];
        let names = ["ok", "abandoned"].map(str::to_owned).into_iter();
        let names = names.chain(FaultKind::ALL.map(outcome));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        Measured {
            outcomes: names.zip(outcomes.iter().map(read)).filter(|(_, count)| *count > 0).collect(),
            durations: bounds.zip(durations.iter().map(read)).collect(),
            seconds: Duration::from_nanos(read(nanos)).as_secs_f64(),
        }
    }
}

const OK: usize = 0;
const ABANDONED: usize = 1;
const FIRST_FAULT: usize = 2;

/// A call on its way; counted when dropped.
struct Running<'a> {
    meter: &'a Meter,
    begun: Instant,
    outcome: usize,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        let seconds = took.as_secs_f64();
        let slot = BOUNDS.partition_point(|bound| *bound < seconds);
        let Meter { outcomes, durations, nanos } = self.meter;
        outcomes[self.outcome].fetch_add(1, Ordering::Relaxed);
        durations[slot].fetch_add(1, Ordering::Relaxed);
        nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    async fn after(millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_counts_by_its_outcome_and_its_time() {
        let meters = Meters::default();
        for millis in [1, 20, 70_000] {
            let call = async {
                after(millis).await;
                Ok(())
            };
            meters.measure(Method::GetTask, &Span::default(), call).await.unwrap();
        }
        let missing = async { Err::<(), _>(Fault::task_not_found()) };
        meters.measure(Method::GetTask, &Span::default(), missing).await.unwrap_err();
        let measured = meters.read(Method::GetTask);
        assert_eq!(measured.outcomes, [("ok".to_owned(), 3), ("task_not_found".to_owned(), 1)]);
        let filled: Vec<_> = measured.durations.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(filled, [(0.0001, 1), (0.001, 1), (0.025, 1), (f64::INFINITY, 1)]);
        assert!((measured.seconds - 70.021).abs() < 0.001, "{}", measured.seconds);
        assert_eq!(meters.read(Method::ListTasks).outcomes, []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_dropped_counts_as_abandoned() {
        let meters = Meters::default();
        let call = async {
            after(1_000).await;
            Ok(())
        };
        let span = Span::default();
        let call = meters.measure(Method::SendMessage, &span, call);
        tokio::time::timeout(Duration::from_millis(5), call).await.unwrap_err();
        assert_eq!(meters.read(Method::SendMessage).outcomes, [("abandoned".to_owned(), 1)]);
    }
}
