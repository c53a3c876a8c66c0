//! Work → events and what follows from them. Runs under the writer, before anything is durable: it may change
//! only the writer's own view of a task, and says in an [`Effect`] what is to happen afterwards.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::admission::Permit;
use super::counters::{self, Counters};
use super::machine::{Machine, Step};
use super::recover::{Recovery, RecoveryAnswer};
use super::runner::Launch;
use super::send::{Delivery, FollowUp};
use super::task::{Core, Live, Log, is_settled};
use super::turn::RunningTurn;
use super::writer::{Ending, Work};
use crate::agent::Output;
use crate::fault::{Fault, FaultKind};
use crate::model::{
    Event, Id, Message, Role, Struct, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus,
    TaskStatusUpdateEvent, Timestamp, Update, fresh_id,
};
use crate::store::{Answer, Append, Group};
use crate::trace::Span;

/// Work that has its events, which stand in the group.
pub(super) struct Prepared {
    pub(super) task: Option<Live>,
    /// Where in the group its events are.
    pub(super) append: Option<usize>,
    pub(super) effect: Effect,
    /// Whether `before` is to be filled in: the task as it was before the events.
    pub(super) wants_before: bool,
    pub(super) before: Option<Arc<Task>>,
}

/// What happens once the events are visible.
pub(super) enum Effect {
    Nothing,
    /// A send has opened a task or continued it; its turn begins if it has one to begin.
    Sent {
        answer: Answer,
        delivery: Box<Delivery>,
        superseded: Option<CancellationToken>,
    },
    /// A message goes into a running turn's inbox.
    Delivered {
        answer: Answer,
        delivery: Box<Delivery>,
        place: mpsc::OwnedPermit<Arc<Message>>,
    },
    /// A send came to nothing.
    Refused {
        delivery: Box<Delivery>,
        fault: Fault,
    },
    /// A turn's updates are in the log.
    Updated {
        turn: Arc<RunningTurn>,
        count: usize,
        is_over: bool,
    },
    /// A turn is over; the state that its task is in, unless it has gone on without it.
    Finished {
        span: Span,
        state: Option<TaskState>,
    },
    /// The task was called off.
    Canceled {
        answer: oneshot::Sender<Result<Arc<Task>, Fault>>,
        turn: Option<CancellationToken>,
    },
    NotCanceled {
        answer: oneshot::Sender<Result<Arc<Task>, Fault>>,
        fault: Fault,
    },
    /// A task that had lost its runner has one again, or has failed; or had lost none.
    Recovered {
        answer: RecoveryAnswer,
        was_cut: bool,
        launch: Option<Box<Launch>>,
    },
    /// A turn goes no further.
    CutShort(CancellationToken),
    /// Tasks are gone, or are not.
    Taken {
        answer: oneshot::Sender<Result<(), Fault>>,
        outcome: Result<(), Fault>,
    },
}

impl Prepared {
    pub(super) fn new(work: Work, now: Timestamp, group: &mut Group, counters: &Counters) -> Self {
        match work {
            Work::Open { task, delivery } => open(task, delivery, now, group),
            Work::FollowUp(follow_up) => continue_task(*follow_up, now, group, counters),
            Work::Updates { task, turn, outputs } => update(task, turn, (outputs, now), group, counters),
            Work::Finish { task, turn, ending, span } => finish(task, &turn, (ending, span, now), group),
            Work::Cancel { task, answer } => cancel(task, answer, now, group),
            Work::Recover { task, recovery, answer } => recover(task, recovery, (answer, now), group),
            Work::CutShort { task } => cut_short(&task),
            Work::Delete { id, task, answer } => delete(id, task, answer, group),
            Work::Retire { deletions, cuts, answer } => {
                group.deletions.extend(deletions);
                group.cuts.extend(cuts);
                Self::of(None, None, Effect::Taken { answer, outcome: Ok(()) })
            }
            Work::Reply { delivery, message, context } => reply(delivery, message, context, group),
        }
    }

    fn of(task: Option<Live>, append: Option<usize>, effect: Effect) -> Self {
        Self { task, append, effect, wants_before: false, before: None }
    }

    /// Does what follows; returns the turn to begin, if any.
    pub(super) fn happen(self) -> Option<Box<Launch>> {
        match self.effect {
            Effect::Nothing => None,
            Effect::Sent { answer, mut delivery, superseded } => {
                if let Some(turn) = superseded {
                    turn.cancel();
                }
                delivery.replier.answer_about(self.task.clone(), Ok(answer));
                let mut launch = delivery.launch.take()?;
                launch.view.task = self.before;
                launch.turn.begin(self.task?);
                Some(launch)
            }
            Effect::Delivered { answer, mut delivery, place } => {
                place.send(Arc::clone(&delivery.cause.message));
                delivery.replier.answer_about(self.task, Ok(answer));
                None
            }
            Effect::Refused { mut delivery, fault } => {
                delivery.replier.answer(Err(fault));
                None
            }
            Effect::Updated { turn, count, is_over } => {
                if is_over {
                    turn.close();
                }
                turn.committed(count);
                None
            }
            Effect::Finished { span, state } => {
                span.end_turn(state);
                None
            }
            Effect::Canceled { answer, turn } => {
                if let Some(turn) = turn {
                    turn.cancel();
                }
                let task = self.task.and_then(|task| task.lock().visible().cloned());
                let _ = answer.send(task.ok_or_else(Fault::task_not_found));
                None
            }
            Effect::NotCanceled { answer, fault } => {
                let _ = answer.send(Err(fault));
                None
            }
            Effect::Recovered { answer, was_cut, launch } => {
                let _ = answer.send(Ok(was_cut));
                let launch = launch?;
                launch.turn.begin(self.task?);
                Some(launch)
            }
            Effect::CutShort(turn) => {
                turn.cancel();
                None
            }
            Effect::Taken { answer, outcome } => {
                let _ = answer.send(outcome);
                None
            }
        }
    }
}

impl Effect {
    /// What work that never gets to the store leaves to be answered.
    pub(super) fn of_unstarted(work: Work) -> Self {
        match work {
            Work::Open { delivery, .. } | Work::Reply { delivery, .. } => {
                Self::Refused { delivery, fault: super::turn::stopped() }
            }
            Work::FollowUp(follow_up) => {
                Self::Refused { delivery: follow_up.delivery, fault: super::turn::stopped() }
            }
            Work::Updates { turn, outputs, .. } => {
                Self::Updated { turn, count: outputs.len(), is_over: true }
            }
            Work::Finish { .. } => Self::Nothing,
            Work::Recover { answer, .. } => Self::Recovered { answer, was_cut: false, launch: None },
            Work::Delete { answer, .. } | Work::Retire { answer, .. } => {
                Self::Taken { answer, outcome: Ok(()) }
            }
            Work::CutShort { task } => {
                task.lock().turn.take().map_or(Self::Nothing, |turn| Self::CutShort(turn.cancellation))
            }
            Work::Cancel { answer, .. } => Self::NotCanceled { answer, fault: super::turn::stopped() },
        }
    }

    /// The events did not get into the store.
    pub(super) fn fail(self, fault: &Fault) {
        match self {
            Self::Nothing | Self::Finished { .. } => {}
            Self::Sent { mut delivery, .. }
            | Self::Delivered { mut delivery, .. }
            | Self::Refused { mut delivery, .. } => delivery.replier.answer(Err(fault.clone())),
            Self::Updated { turn, count, .. } => {
                turn.close();
                turn.committed(count);
            }
            Self::Canceled { answer, .. } | Self::NotCanceled { answer, .. } => {
                let _ = answer.send(Err(fault.clone()));
            }
            Self::Recovered { answer, .. } => {
                let _ = answer.send(Err(fault.clone()));
            }
            Self::CutShort(turn) => turn.cancel(),
            Self::Taken { answer, .. } => {
                let _ = answer.send(Err(fault.clone()));
            }
        }
    }
}

fn open(task: Live, mut delivery: Box<Delivery>, now: Timestamp, group: &mut Group) -> Prepared {
    let machine = Machine::opened(now);
    let update = status_update(&task, TaskStatus::new(machine.state, machine.since), None);
    let event = Event { seq: 1, update, cause: Some(Arc::clone(&delivery.cause)) };
    {
        let mut log = task.lock();
        log.machine = machine;
        log.turn = delivery.current.take();
    }
    let append = append(&task, vec![Arc::new(event)], &machine, group);
    let answer = Answer::Task { task_id: task.id.clone(), context_id: task.context.clone(), after: 0 };
    group.remembered.extend(delivery.replier.remember(|| answer.clone()));
    Prepared::of(Some(task), append, Effect::Sent { answer, delivery, superseded: None })
}

/// A message to a task that waits begins a new turn; one to a task that works goes to the inbox.
fn continue_task(follow_up: FollowUp, now: Timestamp, group: &mut Group, counters: &Counters) -> Prepared {
    let FollowUp { task, mut delivery, permit, reads_inbox } = follow_up;
    let mut log = task.lock();
    let after = log.machine.last_seq;
    let taken = take_message(&log, permit, reads_inbox);
    let stepped = taken.and_then(|taken| match log.machine.step(Step::Status(TaskState::Working), now) {
        Ok(machine) => Ok((taken, machine)),
        Err(refusal) => Err(Fault::new(FaultKind::UnsupportedOperation, refusal.to_string())),
    });
    let (taken, machine) = match stepped {
        Ok(stepped) => stepped,
        Err(fault) => {
            drop(log);
            return Prepared::of(Some(task), None, Effect::Refused { delivery, fault });
        }
    };
    log.machine = machine;
    let update = status_update(&task, TaskStatus::new(machine.state, machine.since), None);
    let event = Event { seq: machine.last_seq, update, cause: Some(Arc::clone(&delivery.cause)) };
    let append = append(&task, vec![Arc::new(event)], &machine, group);
    let answer = Answer::Task { task_id: task.id.clone(), context_id: task.context.clone(), after };
    group.remembered.extend(delivery.replier.remember(|| answer.clone()));
    let (effect, wants_before) = match taken {
        Taken::NewTurn(permit) => {
            let before = std::mem::replace(&mut log.turn, delivery.current.take());
            if let Some(launch) = &mut delivery.launch {
                launch.permit = Some(permit);
            }
            let superseded = before.map(|turn| turn.cancellation);
            (Effect::Sent { answer, delivery, superseded }, true)
        }
        Taken::Inbox(place) => {
            counters::add(&counters.inbox_messages, 1);
            (Effect::Delivered { answer, delivery, place }, false)
        }
    };
    drop(log);
    Prepared { wants_before, ..Prepared::of(Some(task), append, effect) }
}

enum Taken {
    NewTurn(Permit),
    Inbox(mpsc::OwnedPermit<Arc<Message>>),
}

fn take_message(log: &Log, permit: Result<Permit, Fault>, reads_inbox: bool) -> Result<Taken, Fault> {
    let unsupported = |message: &'static str| Fault::new(FaultKind::UnsupportedOperation, message);
    let state = log.machine.state;
    if state.is_terminal() {
        let message =
            format!("the task is {state} and takes no more messages; send without taskId to open one");
        return Err(Fault::new(FaultKind::UnsupportedOperation, message));
    }
    if state.is_interrupted() {
        return permit.map(Taken::NewTurn);
    }
    if !reads_inbox {
        return Err(unsupported("the agent is at work and takes messages only when it asks for them"));
    }
    let inbox = log.turn.as_ref().and_then(|turn| turn.inbox.clone());
    let inbox = inbox.ok_or_else(|| unsupported("nobody works on the task now; cancel it or wait"))?;
    inbox.try_reserve_owned().map(Taken::Inbox).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => Fault::new(
            FaultKind::Overloaded,
            "the task's inbox is full; send again when the agent has read it",
        ),
        mpsc::error::TrySendError::Closed(_) => unsupported("the agent reads no more messages in this turn"),
    })
}

fn update(
    task: Live,
    turn: Arc<RunningTurn>,
    (outputs, now): (Vec<Output>, Timestamp),
    group: &mut Group,
    counters: &Counters,
) -> Prepared {
    let count = outputs.len();
    let mut log = task.lock();
    let mut events = Vec::with_capacity(count);
    let mut machine = log.machine;
    let mut is_over = log.turn.as_ref().is_none_or(|current| current.number != turn.number);
    for output in outputs {
        if is_over {
            counters::add(&counters.dropped_updates, 1);
            continue;
        }
        let step = match &output {
            Output::Status { status, .. } => Step::Status(status.state),
            Output::Artifact(_) => Step::Artifact,
            Output::Reply(_) => Step::Status(TaskState::Completed),
        };
        match machine.step(step, now) {
            Ok(next) => {
                machine = next;
                let update = update_of(&task, output, machine.since);
                events.push(Arc::new(Event { seq: machine.last_seq, update, cause: None }));
                is_over = machine.state.is_terminal();
            }
            Err(refusal) => {
                counters::add(&counters.refused_updates, 1);
                turn.refuse(refusal.to_string());
            }
        }
    }
    log.machine = machine;
    if machine.state.is_terminal() && log.turn.as_ref().is_some_and(|current| current.number == turn.number) {
        log.turn = None;
    }
    drop(log);
    let append = append(&task, events, &machine, group);
    Prepared::of(Some(task), append, Effect::Updated { turn, count, is_over })
}

fn finish(
    task: Live,
    turn: &RunningTurn,
    (ending, span, now): (Ending, Span, Timestamp),
    group: &mut Group,
) -> Prepared {
    let log = task.lock();
    let state = log.machine.state;
    if log.turn.as_ref().is_none_or(|current| current.number != turn.number) {
        drop(log);
        let state = Some(state).filter(|state| state.is_terminal());
        return Prepared::of(Some(task), None, Effect::Finished { span, state });
    }
    drop(log);
    let (to, message) = match ending {
        Ending::Returned if state.is_interrupted() => (None, None),
        Ending::Returned => (Some(TaskState::Completed), None),
        Ending::Failed(reason) => (Some(TaskState::Failed), Some(Message::agent(reason))),
        Ending::Abandoned => (None, None),
    };
    let append = to.and_then(|to| take_state(&task, to, (message, now), group));
    // Only now: a task without a turn whose last state is still to come would look as if nobody worked on it.
    task.lock().turn = None;
    let state = Some(append.and(to).unwrap_or(state));
    Prepared::of(Some(task), append, Effect::Finished { span, state })
}

/// A task without a runner gets one, or fails. One that has a runner, or needs none, is left alone.
fn recover(
    task: Live,
    recovery: Recovery,
    (answer, now): (RecoveryAnswer, Timestamp),
    group: &mut Group,
) -> Prepared {
    let mut log = task.lock();
    if log.turn.is_some() || is_settled(&log.machine.state) {
        drop(log);
        return Prepared::of(Some(task), None, Effect::Recovered { answer, was_cut: false, launch: None });
    }
    let (append, launch) = match recovery {
        Recovery::Resume { launch, current } => {
            log.turn = Some(current);
            drop(log);
            (None, Some(launch))
        }
        Recovery::Fail(reason) => {
            drop(log);
            let message = Some(Message::agent(reason));
            (take_state(&task, TaskState::Failed, (message, now), group), None)
        }
    };
    Prepared::of(Some(task), append, Effect::Recovered { answer, was_cut: true, launch })
}

/// Updates that come later are dropped, and so is the end of the turn: at the next start it is cut, and not over.
fn cut_short(task: &Core) -> Prepared {
    let turn = task.lock().turn.take();
    let effect = turn.map_or(Effect::Nothing, |turn| Effect::CutShort(turn.cancellation));
    Prepared::of(None, None, effect)
}

fn cancel(
    task: Live,
    answer: oneshot::Sender<Result<Arc<Task>, Fault>>,
    now: Timestamp,
    group: &mut Group,
) -> Prepared {
    let mut log = task.lock();
    match log.machine.step(Step::Status(TaskState::Canceled), now) {
        Err(refusal) => {
            drop(log);
            let message = format!("{refusal}; there is nothing to cancel");
            let fault = Fault::new(FaultKind::TaskNotCancelable, message);
            Prepared::of(Some(task), None, Effect::NotCanceled { answer, fault })
        }
        Ok(machine) => {
            log.machine = machine;
            let turn = log.turn.take().map(|turn| turn.cancellation);
            drop(log);
            let update = status_update(&task, TaskStatus::new(machine.state, machine.since), None);
            let event = Event { seq: machine.last_seq, update, cause: None };
            let append = append(&task, vec![Arc::new(event)], &machine, group);
            Prepared::of(Some(task), append, Effect::Canceled { answer, turn })
        }
    }
}

/// A finished task gets no further events, so what is before it in the log is all that it will ever have.
fn delete(
    id: Id,
    task: Option<Live>,
    answer: oneshot::Sender<Result<(), Fault>>,
    group: &mut Group,
) -> Prepared {
    let state = task.as_ref().map(|task| task.lock().machine.state);
    let outcome = match state.filter(|state| !state.is_terminal()) {
        Some(state) => {
            let message = format!("the task is {state}: cancel it first, then delete it");
            Err(Fault::new(FaultKind::UnsupportedOperation, message))
        }
        None => {
            group.deletions.push(id);
            Ok(())
        }
    };
    Prepared::of(task, None, Effect::Taken { answer, outcome })
}

fn reply(delivery: Box<Delivery>, message: Message, context: Id, group: &mut Group) -> Prepared {
    let message = Message { context_id: Some(context), task_id: None, role: Role::Agent, ..message };
    let answer = Answer::Message(Arc::new(message));
    group.remembered.extend(delivery.replier.remember(|| answer.clone()));
    Prepared::of(None, None, Effect::Sent { answer, delivery, superseded: None })
}

/// The task takes a state, if that is a legal step; returns where in the group the event is.
fn take_state(
    task: &Core,
    to: TaskState,
    (message, now): (Option<Message>, Timestamp),
    group: &mut Group,
) -> Option<usize> {
    let mut log = task.lock();
    let machine = log.machine.step(Step::Status(to), now).ok()?;
    log.machine = machine;
    drop(log);
    let status = TaskStatus { state: machine.state, message, timestamp: Some(machine.since) };
    let event = Event { seq: machine.last_seq, update: status_update(task, status, None), cause: None };
    append(task, vec![Arc::new(event)], &machine, group)
}

/// Puts events into the group; returns where.
fn append(task: &Core, events: Vec<Arc<Event>>, machine: &Machine, group: &mut Group) -> Option<usize> {
    let expected = machine.last_seq - events.len() as u64;
    if events.is_empty() {
        return None;
    }
    group.appends.push(Append { expected, events, row: task.row(machine) });
    Some(group.appends.len() - 1)
}

fn update_of(task: &Core, output: Output, since: Timestamp) -> Update {
    match output {
        Output::Status { status, metadata } => {
            let status = TaskStatus { timestamp: Some(since), ..status };
            status_update(task, status, metadata)
        }
        Output::Reply(message) => {
            let state = TaskState::Completed;
            status_update(task, TaskStatus { state, message: Some(message), timestamp: Some(since) }, None)
        }
        Output::Artifact(chunk) => Update::Artifact(TaskArtifactUpdateEvent {
            task_id: task.id.clone(),
            context_id: task.context.clone(),
            artifact: chunk.artifact,
            append: chunk.append,
            last_chunk: chunk.last,
            metadata: chunk.metadata,
        }),
    }
}

fn status_update(task: &Core, mut status: TaskStatus, metadata: Option<Struct>) -> Update {
    if let Some(message) = &mut status.message {
        message.role = Role::Agent;
        message.task_id = Some(task.id.clone());
        message.context_id = Some(task.context.clone());
        if message.message_id.is_empty() {
            message.message_id = fresh_id();
        }
    }
    let (task_id, context_id) = (task.id.clone(), task.context.clone());
    Update::Status(TaskStatusUpdateEvent { task_id, context_id, status, metadata })
}
