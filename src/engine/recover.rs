//! What happens at start to tasks that were being worked on when the process ended.
//!
//! Such a task has no runner. If its agent [can resume](crate::agent::Agent::can_resume), the turn that was cut
//! short begins again with all that it was told and what it had said; else the task fails, with a reason for
//! the client. Tasks that wait for the client wait on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::oneshot;

use super::feed::store_fault;
use super::load::LOAD;
use super::runner::Launch;
use super::task::{Core, CurrentTurn, Live, is_settled};
use super::writer::Work;
use super::{Engine, HostedAgent};
use crate::agent::Inbox;
use crate::fault::Fault;
use crate::model::{Cause, Event};
use crate::store::{Stored, TaskRow};

/// What [`Engine::recover`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Turns that were given to their agents again.
    pub resumed: u64,
    /// Tasks that have failed because nobody can go on with them.
    pub failed: u64,
    /// Tasks that wait for their client, and were left alone.
    pub waiting: u64,
}

/// What is to become of a task without a runner.
#[derive(Debug)]
pub(super) enum Recovery {
    /// Its turn begins again.
    Resume { launch: Box<Launch>, current: CurrentTurn },
    /// It fails, with this reason.
    Fail(&'static str),
}

/// Answered with whether the task had no runner indeed.
pub(super) type RecoveryAnswer = oneshot::Sender<Result<bool, Fault>>;

impl Engine {
    /// Sees to the tasks that were being worked on when the engine before this one ended. To be called once,
    /// before the first send; a task that has a runner is left alone.
    ///
    /// A turn that is resumed counts among those that run, but is not refused if there are too many: it was
    /// admitted before. Its deadline begins anew. Finding where it began takes reading the task's events from
    /// the last time that the task waited for its client.
    ///
    /// # Errors
    /// [`FaultKind::Internal`](crate::fault::FaultKind::Internal) if the store fails, or is damaged.
    pub async fn recover(&self) -> Result<Recovered, Fault> {
        let mut recovered = Recovered::default();
        let mut past_left = PAST_BYTES_IN_ALL;
        let mut after = None;
        loop {
            let rows = self.store.unfinished(after.as_ref(), PAGE).await.map_err(store_fault)?;
            let Some(last) = rows.last() else { return Ok(recovered) };
            after = Some(last.id.clone());
            let mut answers = Vec::new();
            for row in &rows {
                if is_settled(&row.state) {
                    recovered.waiting += 1;
                } else {
                    answers.push(self.recover_task(row, &mut past_left).await?);
                }
            }
            for (resumed, answered) in join_all(answers).await {
                let was_cut =
                    answered.unwrap_or_else(|_| Err(Fault::internal("a recovery was not answered")))?;
                recovered.resumed += u64::from(was_cut && resumed);
                recovered.failed += u64::from(was_cut && !resumed);
            }
        }
    }

    /// Decides on one task. What is returned says whether it was resumed, once that is in the log.
    async fn recover_task(
        &self,
        row: &TaskRow,
        past_left: &mut usize,
    ) -> Result<
        impl Future<Output = (bool, Result<Result<bool, Fault>, oneshot::error::RecvError>)> + use<>,
        Fault,
    > {
        let stored = self.load(&row.id).await?;
        let loading = self.registry.enter(&row.id).load(|| async {
            let fold = self.folded(&stored).await?;
            Ok(Core::loaded(&stored.row, fold))
        });
        let task = loading.await?;
        let recovery = match self.agents.get(&row.agent) {
            None => Recovery::Fail(NO_AGENT),
            Some(agent) if !agent.agent.can_resume() => Recovery::Fail(RESTARTED),
            Some(agent) => match self.cut_turn(&stored, *past_left / 16).await? {
                None => Recovery::Fail(RESTARTED),
                Some(cut) => {
                    *past_left -= cut.past_bytes.min(*past_left);
                    self.resume(&task, agent, cut)
                }
            },
        };
        let resumes = matches!(recovery, Recovery::Resume { .. });
        let (answer, answered) = oneshot::channel();
        self.writer.submit(Work::Recover { task, recovery, answer });
        Ok(async move { (resumes, answered.await) })
    }

    /// The turn to begin again.
    fn resume(&self, task: &Live, agent: &HostedAgent, cut: CutTurn) -> Recovery {
        let ids = (task.id.clone(), task.context.clone());
        let (mut launch, mut current) = self.turn(agent, &cut.cause, ids);
        let later = cut.past.iter().filter_map(|event| event.cause.as_ref());
        let later: Vec<_> = later.filter(|cause| !Arc::ptr_eq(cause, &cut.cause)).collect();
        if agent.reads_inbox {
            let (sender, inbox) = Inbox::bounded(self.limits.inbox.max(later.len()));
            for cause in later {
                // There is a place for each.
                let _ = sender.try_send(Arc::clone(&cause.message));
            }
            launch.view.inbox = inbox;
            current.inbox = Some(sender);
        }
        launch.permit = Some(self.admission.readmit(&task.agent, &task.owner));
        launch.view.resumed = true;
        launch.view.task = task.lock().visible().cloned();
        launch.view.past = cut.past.into();
        Recovery::Resume { launch, current }
    }

    /// Finds the turn that was running at the end of a task's log. It began with the message that opened the
    /// task, or with the first after the task had waited for one; later messages went to its inbox.
    pub(super) async fn cut_turn(
        &self,
        stored: &Stored,
        past_bytes: usize,
    ) -> Result<Option<CutTurn>, Fault> {
        let Stored { row, checkpoint } = stored;
        let waiting = checkpoint.as_ref().filter(|checkpoint| checkpoint.task.state().is_interrupted());
        let mut seq = waiting.map_or(0, |checkpoint| checkpoint.seq);
        let (mut begins, mut turn) = (true, None::<CutTurn>);
        let most = past_bytes.min(PAST_BYTES);
        while seq < row.last_seq {
            let events = self.store.read(&row.id, seq, LOAD).await.map_err(store_fault)?;
            let Some(last) = events.last() else { break };
            seq = last.seq;
            for event in events {
                if let Some(cause) = event.cause.as_ref().filter(|_| begins) {
                    turn = Some(CutTurn::begun_by(Arc::clone(cause)));
                }
                if let Some(state) = event.state() {
                    begins = state.is_interrupted();
                }
                if let Some(turn) = &mut turn {
                    turn.keep(event, most);
                }
            }
        }
        Ok(turn)
    }
}

/// A turn that the end of the process cut short.
#[derive(Debug)]
pub(super) struct CutTurn {
    pub(super) cause: Arc<Cause>,
    pub(super) past: VecDeque<Arc<Event>>,
    past_bytes: usize,
}

impl CutTurn {
    fn begun_by(cause: Arc<Cause>) -> Self {
        Self { cause, past: VecDeque::new(), past_bytes: 0 }
    }

    /// Adds an event; the oldest go when there are too many.
    fn keep(&mut self, event: Arc<Event>, most_bytes: usize) {
        self.past_bytes += event.approximate_size();
        self.past.push_back(event);
        while self.past.len() > PAST_EVENTS || self.past_bytes > most_bytes {
            let Some(gone) = self.past.pop_front() else { break };
            self.past_bytes -= gone.approximate_size();
        }
    }
}

/// How long the caller lets a turn run, within the bound.
pub(super) fn turn_timeout(cause: &Cause, most: Duration) -> Duration {
    cause.turn_timeout_ms.map_or(most, |asked| Duration::from_millis(asked).min(most))
}

/// Tasks that are looked at together.
const PAGE: usize = 256;
/// The most events of [`Turn::past`](crate::agent::Turn::past).
const PAST_EVENTS: usize = 10_000;
/// The most bytes of it.
const PAST_BYTES: usize = 16 << 20;
/// The most bytes that all resumed turns together are given: each has at most a sixteenth of what is left, so
/// that many long turns do not fill the memory of a server at every start.
const PAST_BYTES_IN_ALL: usize = 16 * PAST_BYTES;

const RESTARTED: &str = "The server was restarted while the agent worked on this, and the agent cannot go on in the \
                         middle. What it had made until then is kept. Send the request as a new message, \
                         without taskId, to start anew.";
const NO_AGENT: &str = "The server was restarted, and the agent that worked on this is not hosted by it any more. \
                        What it had made until then is kept.";
