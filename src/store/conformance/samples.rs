//! What the cases write: rows, events, groups, and arbitrary values.

use std::sync::Arc;

use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::model::{
    Event, Id, Struct, Task, TaskPushNotificationConfig, TaskState, TaskStatus, TaskStatusUpdateEvent,
    Timestamp, Update,
};
use crate::store::{
    Answer, Append, Checkpoint, Cut, Group, ListFilter, PushChange, Remembered, SendDigest, SendKey, Store,
    TaskRow,
};

/// A row of `ann`'s in a conversation of its own.
pub(crate) fn row(id: &str, state: TaskState, time: i64, last_seq: u64) -> TaskRow {
    TaskRow {
        id: id.into(),
        context: format!("context of {id}").into(),
        agent: "agent".into(),
        owner: "ann".into(),
        state,
        status_timestamp: at(time),
        last_seq,
        generation: last_seq,
        created: at(0),
    }
}

pub(super) fn at(nanos: i64) -> Timestamp {
    Timestamp::from_unix_nanos(nanos)
}

/// The event of this number: no two are alike.
pub(super) fn event(row: &TaskRow, seq: u64) -> Arc<Event> {
    let status = TaskStatus::new(row.state, row.status_timestamp);
    let (task_id, context_id) = (row.id.clone(), row.context.clone());
    let update = TaskStatusUpdateEvent { task_id, context_id, status, metadata: Some(numbered(seq)) };
    Arc::new(Event { seq, update: Update::Status(update), cause: None })
}

fn numbered(seq: u64) -> Struct {
    Struct::from_iter([("number".to_owned(), json!(seq))])
}

/// Appends events up to the row's last number.
pub(crate) fn append(expected: u64, row: TaskRow) -> Append {
    let events = (expected + 1..=row.last_seq).map(|seq| event(&row, seq)).collect();
    Append { expected, events, row }
}

/// A new task with the events that its row asks for.
pub(super) fn new(id: &str, state: TaskState, time: i64, last_seq: u64) -> Append {
    append(0, row(id, state, time, last_seq))
}

pub(crate) fn appending(appends: impl IntoIterator<Item = Append>) -> Group {
    Group { appends: appends.into_iter().collect(), ..Group::default() }
}

pub(crate) fn remembering(answers: impl IntoIterator<Item = Remembered>) -> Group {
    Group { remembered: answers.into_iter().collect(), ..Group::default() }
}

pub(super) fn pushing(changes: impl IntoIterator<Item = PushChange>) -> Group {
    Group { push: changes.into_iter().collect(), ..Group::default() }
}

pub(super) fn cutting(cuts: impl IntoIterator<Item = Cut>) -> Group {
    Group { cuts: cuts.into_iter().collect(), ..Group::default() }
}

pub(super) fn deleting<'a>(tasks: impl IntoIterator<Item = &'a str>) -> Group {
    Group { deletions: tasks.into_iter().map(Id::from).collect(), ..Group::default() }
}

pub(crate) fn answer(n: u8, expires: i64) -> Remembered {
    Remembered {
        key: SendKey([n; 16]),
        digest: SendDigest([n; 16]),
        answer: Answer::Task { task_id: "t".into(), context_id: "c".into(), after: n.into() },
        expires: at(expires),
    }
}

/// A task's fold up to a number: no two are alike.
pub(super) fn checkpoint(id: &str, seq: u64) -> Checkpoint {
    let status = TaskStatus::new(TaskState::Completed, at(1));
    let mut task = Task::new(id, format!("context of {id}"), status);
    task.metadata = Some(numbered(seq));
    Checkpoint { seq, task: Arc::new(task) }
}

/// Cuts the events before `oldest`, with the fold that stands for them.
pub(super) fn cut(id: &str, oldest: u64) -> Cut {
    Cut { checkpoint: checkpoint(id, oldest), oldest }
}

/// A webhook that comes or changes.
pub(super) fn hook(task: &str, id: &str, url: &str) -> PushChange {
    let config = TaskPushNotificationConfig { id: Some(id.into()), ..TaskPushNotificationConfig::new(url) };
    PushChange { task: task.into(), id: id.into(), config: Some(Arc::new(config)) }
}

/// A webhook that goes.
pub(super) fn unhook(task: &str, id: &str) -> PushChange {
    PushChange { task: task.into(), id: id.into(), config: None }
}

/// All of `ann`'s tasks.
pub(super) fn everything() -> ListFilter {
    ListFilter { agent: "agent".into(), owner: "ann".into(), context: None, state: None, status_since: None }
}

pub(super) fn ids(ids: &[&str]) -> Vec<Id> {
    ids.iter().map(|id| Id::from(*id)).collect()
}

/// So many arbitrary values, the same each time.
pub(super) fn arbitrary<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    let mut value = || strategy.new_tree(&mut runner).expect("no filter refuses everything").current();
    std::iter::repeat_with(&mut value).take(count).collect()
}

pub(crate) async fn open(store: &dyn Store, id: &str) {
    store.commit(&appending([new(id, TaskState::Submitted, 1, 1)])).await.unwrap();
}

pub(crate) async fn finish(store: &dyn Store, id: &str) {
    store.commit(&appending([new(id, TaskState::Completed, 1, 2)])).await.unwrap();
}

pub(crate) async fn delete(store: &dyn Store, id: &str) {
    store.commit(&deleting([id])).await.unwrap();
}

pub(crate) async fn remember(store: &dyn Store, n: u8) {
    store.commit(&remembering([answer(n, 100)])).await.unwrap();
}
