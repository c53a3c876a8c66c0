//! Tasks as an engine would write them, straight into a store.

use std::sync::Arc;

use a2a_webcap::model::{
    Artifact, Cause, Event, Id, Message, Part, TaskArtifactUpdateEvent, TaskState, TaskStatus,
    TaskStatusUpdateEvent, Timestamp, Update,
};
use a2a_webcap::store::{Append, Group, Store, TaskRow};
use futures::stream::{FuturesUnordered, StreamExt as _};

use crate::Outcome;

/// What an agent says in one chunk.
pub(crate) const WORDS: &str = "some words of an answer, as ";
/// The agent of the tasks.
pub(crate) const AGENT: &str = "bench";
/// The owner of the tasks.
pub(crate) const OWNER: &str = "somebody";
/// Tasks of one conversation.
pub(crate) const CONTEXT_TASKS: u64 = 100;

/// The time of the first task's end; each next one is a millisecond later.
pub(crate) const EPOCH: i64 = 1_700_000_000_000_000_000;

/// Of the task with this number, when it finished.
pub(crate) fn finished(number: u64) -> Timestamp {
    Timestamp::from_unix_nanos(EPOCH + i64::try_from(number).unwrap_or(i64::MAX) * 1_000_000)
}

/// As long as ids that the engine gives.
pub(crate) fn task_id(number: u64) -> Id {
    format!("01975bcd-0000-7000-8000-{number:012}").into()
}

/// The conversation that the task with this number is part of.
pub(crate) fn context_id(number: u64) -> Id {
    format!("01975bcc-0000-7000-8000-{:012}", number / CONTEXT_TASKS).into()
}

/// One in ten has failed.
pub(crate) fn state(number: u64) -> TaskState {
    if number.is_multiple_of(10) { TaskState::Failed } else { TaskState::Completed }
}

/// A task from its first event to its last: submitted, chunks of an answer, finished.
pub(crate) fn task(number: u64, events: u64) -> Append {
    let (id, context, at) = (task_id(number), context_id(number), finished(number));
    let state = state(number);
    let mut log = vec![status((&id, &context), TaskState::Submitted, at)];
    log.extend((0..events - 2).map(|n| chunk((&id, &context), n > 0)));
    log.push(status((&id, &context), state, at));
    let cause = Cause::of(Message { context_id: Some(context.clone()), ..Message::user("a question") });
    let mut cause = Some(Arc::new(cause));
    let numbered = log.into_iter().zip(1..);
    let events: Vec<_> =
        numbered.map(|(update, seq)| Arc::new(Event { seq, update, cause: cause.take() })).collect();
    let last_seq = events.len() as u64;
    Append { expected: 0, events, row: row((id, context), state, at, last_seq) }
}

/// What lists know of such a task.
pub(crate) fn row((id, context): (Id, Id), state: TaskState, at: Timestamp, last_seq: u64) -> TaskRow {
    TaskRow {
        id,
        context,
        agent: AGENT.into(),
        owner: OWNER.into(),
        state,
        status_timestamp: at,
        last_seq,
        generation: 2,
        created: at,
    }
}

pub(crate) fn status((task, context): (&Id, &Id), state: TaskState, at: Timestamp) -> Update {
    Update::Status(TaskStatusUpdateEvent {
        task_id: task.clone(),
        context_id: context.clone(),
        status: TaskStatus { state, message: None, timestamp: Some(at) },
        metadata: None,
    })
}

pub(crate) fn chunk((task, context): (&Id, &Id), append: bool) -> Update {
    Update::Artifact(TaskArtifactUpdateEvent {
        task_id: task.clone(),
        context_id: context.clone(),
        artifact: Artifact::new("answer", vec![Part::text(WORDS)]),
        append,
        last_chunk: false,
        metadata: None,
    })
}

/// Commits such tasks until there are enough; several groups at a time.
pub(crate) async fn fill(
    store: &dyn Store,
    events: u64,
    mut wants_more: impl FnMut(u64) -> bool,
) -> Outcome<u64> {
    let mut flight = FuturesUnordered::new();
    let mut number = 0;
    while wants_more(number) {
        let appends = (number..number + GROUP).map(|number| task(number, events)).collect();
        flight.push(store.commit(&Group { appends, ..Group::default() }));
        number += GROUP;
        if flight.len() >= IN_FLIGHT
            && let Some(committed) = flight.next().await
        {
            committed?;
        }
    }
    while let Some(committed) = flight.next().await {
        committed?;
    }
    Ok(number)
}

/// Tasks in one group.
const GROUP: u64 = 100;
const IN_FLIGHT: usize = 8;
