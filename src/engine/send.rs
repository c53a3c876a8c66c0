//! Sends: a message opens a task, continues one, or is answered with a message.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::admission::Permit;
use super::idempotency::{self, Claim, Claimed, Outcome, Replier};
use super::machine::Machine;
use super::recover::turn_timeout;
use super::runner::Launch;
use super::task::{Core, CurrentTurn, Live, Registry};
use super::turn::{RunningTurn, TurnTask, stopped};
use super::validate;
use super::writer::Work;
use super::{Engine, Found, HostedAgent, Scope};
use crate::agent::{Inbox, Turn};
use crate::fault::{Fault, FaultKind};
use crate::model::{Cause, Id, Message, SendMessageRequest, ServiceParameters, fresh_id};
use crate::store::{Answer, TaskRow};

/// A client's send, with what the service layer knows of the client.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Whose send, and to which agent.
    pub scope: Scope,
    /// The request.
    pub request: SendMessageRequest,
    /// The principal's name, for the agent; empty for an anonymous one.
    pub subject: Arc<str>,
    /// The service parameters of the call.
    pub parameters: Arc<ServiceParameters>,
    /// The longest that the caller wants the turn to run; narrows the configured bound.
    pub turn_timeout: Option<Duration>,
}

/// What a send has come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    /// A task was opened or continued.
    Task(TaskTicket),
    /// The agent has answered with a message.
    Message(Arc<Message>),
}

/// The task that a send has opened or continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskTicket {
    /// The task.
    pub task_id: Id,
    /// Its conversation.
    pub context_id: Id,
    /// The number before the send's first event: where its own stream begins.
    pub after: u64,
}

/// Keeps the task of a send in memory. Hold it only until the task was looked at.
#[derive(Debug)]
pub struct InUse(#[expect(dead_code, reason = "it is only held")] Option<Live>);

/// A send on its way through the writer.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) cause: Arc<Cause>,
    pub(super) replier: Replier,
    /// The turn to begin with it; none if it runs already.
    pub(super) launch: Option<Box<Launch>>,
    /// What the log is to know of that turn.
    pub(super) current: Option<CurrentTurn>,
}

/// A message to a task that there is.
#[derive(Debug)]
pub(super) struct FollowUp {
    pub(super) task: Live,
    pub(super) delivery: Box<Delivery>,
    /// Needed only if the message begins a new turn.
    pub(super) permit: Result<Permit, Fault>,
    pub(super) reads_inbox: bool,
}

/// A task that the agent's first update opens.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) delivery: Box<Delivery>,
    row: TaskRow,
    registry: Arc<Registry>,
}

impl Pending {
    pub(super) fn open(self) -> (Live, Box<Delivery>) {
        (self.registry.open(Core::new(&self.row)), self.delivery)
    }

    pub(super) fn reply(self, message: Message) -> Work {
        Work::Reply { delivery: self.delivery, message, context: self.row.context }
    }
}

/// What a send leads to, once everything that may refuse it has agreed.
enum Plan {
    Open { permit: Permit },
    Continue { task: Live, permit: Result<Permit, Fault> },
}

impl Engine {
    /// Sends a message. Returns when the task is open (or the message is in the task) and logged, or the agent
    /// has answered with a message. Dropping the future does not take the message back.
    ///
    /// # Errors
    /// [`FaultKind::TaskNotFound`] if the message names a task that is missing or somebody else's;
    /// [`FaultKind::UnsupportedOperation`] if the task takes no message now; [`FaultKind::InvalidParams`];
    /// [`FaultKind::ContentTypeNotSupported`]; [`FaultKind::Conflict`] if the message id was used with another
    /// body; [`FaultKind::Overloaded`] if too many turns run, the engine is stopping, or the store has no room (then
    /// its metadata has `resource` = `store`).
    pub async fn send(&self, submission: Submission) -> Result<Sent, Fault> {
        self.send_in_use(submission).await.map(|(sent, _)| sent)
    }

    /// Like [`send`](Self::send), and keeps the task in memory for as long as the caller holds what is returned with
    /// it: what the caller asks of the task then need not be read from the store, even if it is finished already.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub async fn send_in_use(&self, submission: Submission) -> Result<(Sent, InUse), Fault> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(stopped());
        }
        let agent = self.hosted(&submission.scope.agent)?;
        validate::message(&submission.request.message, &self.limits, &agent.input_modes)?;
        let claim = match self.claim(&submission).await? {
            Ok(claim) => claim,
            Err(answered) => return answered.map(|answer| (Sent::from(answer), InUse(None))),
        };
        let (waiting, answered) = oneshot::channel();
        let mut replier = Replier::new(waiting, claim);
        match self.plan(&submission).await {
            Ok(plan) => self.carry_out(plan, submission, agent, replier),
            Err(fault) => replier.answer(Err(fault)),
        }
        let (outcome, task) = answered.await.map_err(|_| Fault::internal("a send was not answered"))?;
        Ok((Sent::from(outcome?), InUse(task)))
    }

    /// Claims the message id, or finds what an equal send was answered.
    async fn claim(&self, submission: &Submission) -> Result<Result<Option<Claim>, Outcome>, Fault> {
        let Scope { agent, owner } = &submission.scope;
        if owner.anonymous {
            return Ok(Ok(None));
        }
        let key = idempotency::key(agent, &owner.key, &submission.request.message.message_id);
        let digest = idempotency::digest(&submission.request)?;
        let now = self.clock.now();
        let claim = loop {
            match self.sends.claim(key, digest, now.saturating_add(self.limits.idempotency))? {
                Claimed::Ours(claim) => break claim,
                Claimed::Theirs(theirs) => {
                    // The other may have found an answer in the store, and so shall we; or its caller has gone.
                    if let Some(outcome) = idempotency::outcome_of(theirs).await {
                        return Ok(Err(outcome));
                    }
                }
            }
        };
        let Some(before) = self.store.remembered(&key, now).await.map_err(Fault::internal)? else {
            return Ok(Ok(Some(claim)));
        };
        if before.digest != digest {
            return Err(idempotency::conflict());
        }
        // A task that retention or its owner has taken since cannot be the answer any more.
        if let Some(task) = idempotency::task_of(&before.answer)
            && let Err(fault) = self.find(&submission.scope, task).await
        {
            let is_gone = fault.kind() == FaultKind::TaskNotFound;
            return if is_gone { Ok(Ok(Some(claim))) } else { Err(fault) };
        }
        Ok(Err(Ok(before.answer)))
    }

    async fn plan(&self, submission: &Submission) -> Result<Plan, Fault> {
        let message = &submission.request.message;
        let admit = || self.admission.admit(&submission.scope.agent, &submission.scope.owner.key);
        if !self.store.has_room() {
            let message = "the server's store is full and takes no new messages; tasks can still be read, canceled and \
                           deleted. Delete finished tasks that you do not need, or send again later";
            return Err(Fault::new(FaultKind::Overloaded, message).with("resource", "store"));
        }
        let Some(task_id) = &message.task_id else {
            return Ok(Plan::Open { permit: admit()? });
        };
        let (task, context) = match self.find(&submission.scope, task_id).await? {
            Found::Live(task) => {
                let context = task.context.clone();
                (Some(task), context)
            }
            Found::Finished(stored) => (None, stored.row.context),
        };
        if message.context_id.as_ref().is_some_and(|given| *given != context) {
            let description = "is not the task's; leave it out or give the task's own";
            return Err(Fault::invalid("message.contextId", description));
        }
        let Some(task) = task else {
            let message = "the task is finished and takes no more messages; send without taskId to open one";
            return Err(Fault::new(FaultKind::UnsupportedOperation, message));
        };
        Ok(Plan::Continue { task, permit: admit() })
    }

    fn carry_out(&self, plan: Plan, submission: Submission, agent: &HostedAgent, replier: Replier) {
        let configuration = submission.request.configuration.as_ref();
        let opens_at_once =
            !agent.may_reply || configuration.is_some_and(|configuration| configuration.return_immediately);
        match plan {
            Plan::Continue { task, permit } => {
                let ids = (task.id.clone(), task.context.clone());
                let delivery = self.deliver(submission, agent, ids, replier);
                let reads_inbox = agent.reads_inbox;
                let follow_up = FollowUp { task, delivery, permit, reads_inbox };
                self.writer.submit(Work::FollowUp(Box::new(follow_up)));
            }
            Plan::Open { permit } => {
                let message = &submission.request.message;
                let ids = (fresh_id(), message.context_id.clone().unwrap_or_else(fresh_id));
                let row = self.new_row(&ids, &submission.scope);
                let mut delivery = self.deliver(submission, agent, ids, replier);
                if let Some(launch) = &mut delivery.launch {
                    launch.permit = Some(permit);
                }
                if opens_at_once {
                    let task = self.registry.open(Core::new(&row));
                    self.writer.submit(Work::Open { task, delivery });
                } else {
                    self.begin_pending(delivery, row);
                }
            }
        }
    }

    /// Begins a turn before its task is open, since the agent may answer with a message.
    fn begin_pending(&self, mut delivery: Box<Delivery>, row: TaskRow) {
        let Some(launch) = delivery.launch.take() else { return };
        let registry = Arc::clone(&self.registry);
        launch.turn.expect_task(TurnTask::Pending(Box::new(Pending { delivery, row, registry })));
        self.runtime.spawn(super::runner::run(launch));
    }

    fn deliver(
        &self,
        submission: Submission,
        agent: &HostedAgent,
        (task_id, context_id): (Id, Id),
        replier: Replier,
    ) -> Box<Delivery> {
        let SendMessageRequest { mut message, configuration, metadata, .. } = submission.request;
        message.task_id = Some(task_id.clone());
        message.context_id = Some(context_id.clone());
        let cause = Arc::new(Cause {
            message: Arc::new(message),
            subject: submission.subject,
            parameters: submission.parameters,
            metadata,
            accepted_output_modes: configuration.map_or_else(Vec::new, |given| given.accepted_output_modes),
            turn_timeout_ms: submission
                .turn_timeout
                .map(|asked| asked.as_millis().try_into().unwrap_or(u64::MAX)),
        });
        let (launch, current) = self.turn(agent, &cause, (task_id, context_id));
        Box::new(Delivery { cause, replier, launch: Some(launch), current: Some(current) })
    }

    /// A turn that a message begins, and what the log is to know of it.
    pub(super) fn turn(
        &self,
        agent: &HostedAgent,
        cause: &Cause,
        (task_id, context_id): (Id, Id),
    ) -> (Box<Launch>, CurrentTurn) {
        let number = self.next_turn.fetch_add(1, Ordering::Relaxed);
        let turn = Arc::new(RunningTurn::new(number, Arc::clone(&self.writer)));
        let (inbox_sender, inbox) = agent.reads_inbox.then(|| Inbox::bounded(self.limits.inbox)).unzip();
        let current = CurrentTurn { number, cancellation: turn.cancellation.clone(), inbox: inbox_sender };
        let view = Turn {
            inbox: inbox.unwrap_or_else(Inbox::closed),
            cancellation: turn.cancellation.clone(),
            subject: Arc::clone(&cause.subject),
            parameters: Arc::clone(&cause.parameters),
            metadata: cause.metadata.clone(),
            accepted_output_modes: cause.accepted_output_modes.clone(),
            ..Turn::new(task_id, context_id, Arc::clone(&cause.message))
        };
        let timeout = turn_timeout(cause, self.limits.turn_timeout);
        let (name, agent) = (Id::clone(&agent.name), Arc::clone(&agent.agent));
        let launch = Launch { name, agent, view, turn, permit: None, timeout };
        (Box::new(launch), current)
    }

    fn new_row(&self, (id, context): &(Id, Id), scope: &Scope) -> TaskRow {
        let now = self.clock.now();
        let machine = Machine::opened(now);
        TaskRow {
            id: id.clone(),
            context: context.clone(),
            agent: scope.agent.clone(),
            owner: scope.owner.key.clone(),
            state: machine.state,
            status_timestamp: now,
            last_seq: 0,
            generation: 0,
            created: now,
        }
    }
}

impl From<Answer> for Sent {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Task { task_id, context_id, after } => {
                Self::Task(TaskTicket { task_id, context_id, after })
            }
            Answer::Message(message) => Self::Message(message),
        }
    }
}
