//! Runs an agent's turn: its deadline, its cancellation, and what its end means for the task.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::admission::Permit;
use super::turn::{Polled, RunningTurn, TurnSink};
use super::writer::Ending;
use crate::agent::{Agent, AgentError, Turn, Updates};
use crate::model::Id;

/// How long an agent may clean up after its turn was canceled or ran out of time; then it is dropped.
const GRACE: Duration = Duration::from_secs(5);

/// A turn that is about to begin.
pub(super) struct Launch {
    /// The agent's name.
    pub(super) name: Id,
    pub(super) agent: Arc<dyn Agent>,
    pub(super) view: Turn,
    pub(super) turn: Arc<RunningTurn>,
    pub(super) permit: Option<Permit>,
    pub(super) timeout: Duration,
}

/// Runs the turn to its end.
pub(super) async fn run(launch: Box<Launch>) {
    let Launch { name, agent, mut view, turn, permit, timeout } = *launch;
    // Dropped in reverse: the agent, then what finishes the turn if this future is dropped, then the permit.
    let _permit = permit;
    let _finish = AbandonOnDrop(Arc::clone(&turn));
    turn.trace(&name, &mut view);
    let updates = Updates::new(Arc::new(TurnSink(Arc::clone(&turn))));
    let agent = Box::pin(async move { agent.execute(view, updates).await });
    let mut polled = Polled { turn: Arc::clone(&turn), agent };
    tokio::select! {
        biased;
        // An agent that returns because it was told to has not completed anything.
        ended = &mut polled => return turn.finish(match turn.cancellation.is_cancelled() {
            true => Ending::Abandoned,
            false => ending(ended),
        }),
        () = turn.cancellation.cancelled() => {}
        () = tokio::time::sleep(timeout) => {
            turn.finish(Ending::Failed(format!("the turn exceeded its deadline of {timeout:?}")));
            turn.cancellation.cancel();
        }
    }
    if tokio::time::timeout(GRACE, &mut polled).await.is_err() {
        tracing::warn!(turn = turn.number, "an agent ignored its cancellation and was dropped");
    }
    turn.finish(Ending::Abandoned);
}

fn ending(ended: Result<Result<(), AgentError>, Box<dyn Any + Send>>) -> Ending {
    match ended {
        Ok(Ok(())) => Ending::Returned,
        Ok(Err(error)) => Ending::Failed(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            tracing::error!(reason = text, "an agent panicked");
            // What it says may hold anything: it is for the log.
            Ending::Failed("the agent has a defect; it is in the server's log".to_owned())
        }
    }
}

/// The runtime may drop a turn when it stops.
struct AbandonOnDrop(Arc<RunningTurn>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.finish(Ending::Abandoned);
    }
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch").field("turn", &self.turn.number).finish_non_exhaustive()
    }
}
