//! What every store must do, written against `dyn Store`: each implementation runs the same cases.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{
    Answer, Append, Checkpoint, Cursor, Group, ListFilter, PageRequest, ReadLimit, Remembered, SendDigest,
    SendKey, Store, StoreError, TaskRow,
};
use crate::model::{
    Event, Id, Task, TaskState, TaskStatus, TaskStatusUpdateEvent, Timestamp, Update, fresh_id,
};

type Case = for<'a> fn(&'a dyn Store) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs every case, each against a fresh store.
pub(crate) async fn run(fresh: impl Fn() -> Arc<dyn Store>) {
    let cases: [(&str, Case); 16] = [
        ("what was committed is read in order", |s| Box::pin(read_in_order(s))),
        ("a read goes on after any number", |s| Box::pin(read_after(s))),
        ("a read stays within its limits but is never empty", |s| Box::pin(read_limits(s))),
        ("a missing task is not found", |s| Box::pin(missing(s))),
        ("an unexpected version is a conflict", |s| Box::pin(conflict(s))),
        ("a group is all or nothing", |s| Box::pin(all_or_nothing(s))),
        ("several appends of one task stand in order", |s| Box::pin(appends_in_order(s))),
        ("a load gives the latest row", |s| Box::pin(latest_row(s))),
        ("a checkpoint comes back with a load", |s| Box::pin(checkpoint(s))),
        ("a checkpoint of a missing task does nothing", |s| Box::pin(stray_checkpoint(s))),
        ("lists are newest first", |s| Box::pin(newest_first(s))),
        ("pages follow each other without repeat or gap", |s| Box::pin(pages(s))),
        ("filters select, and totals count what they select", |s| Box::pin(filters(s))),
        ("a task that changes moves to the front", |s| Box::pin(moves_to_the_front(s))),
        ("an answer is remembered until it expires", |s| Box::pin(remembered(s))),
        ("a deleted task leaves nothing", |s| Box::pin(deleted(s))),
    ];
    for (name, case) in cases {
        println!("{name}");
        case(&*fresh()).await;
    }
}

/// A row of `ann`'s in a conversation of its own.
fn row(id: &str, state: TaskState, time: i64, last_seq: u64) -> TaskRow {
    TaskRow {
        id: id.into(),
        context: format!("context of {id}").into(),
        agent: "agent".into(),
        owner: "ann".into(),
        state,
        status_timestamp: Timestamp::from_unix_nanos(time),
        last_seq,
        generation: last_seq,
        created: Timestamp::from_unix_nanos(0),
    }
}

fn event(row: &TaskRow, seq: u64) -> Arc<Event> {
    let status = TaskStatus::new(row.state, row.status_timestamp);
    let (task_id, context_id) = (row.id.clone(), row.context.clone());
    let update = TaskStatusUpdateEvent { task_id, context_id, status, metadata: None };
    Arc::new(Event { seq, update: Update::Status(update), cause: None })
}

/// Appends events up to the row's last number.
fn append(expected: u64, row: TaskRow) -> Append {
    let events = (expected + 1..=row.last_seq).map(|seq| event(&row, seq)).collect();
    Append { expected, events, row }
}

async fn commit(store: &dyn Store, appends: impl IntoIterator<Item = Append>) -> Result<(), StoreError> {
    let appends = appends.into_iter().collect();
    store.commit(&Group { appends, ..Group::default() }).await
}

pub(crate) async fn open(store: &dyn Store, id: &str) {
    commit(store, [append(0, row(id, TaskState::Submitted, 1, 1))]).await.unwrap();
}

pub(crate) async fn finish(store: &dyn Store, id: &str) {
    commit(store, [append(0, row(id, TaskState::Completed, 1, 2))]).await.unwrap();
}

pub(crate) async fn delete(store: &dyn Store, id: &str) {
    store.commit(&Group { deletions: vec![id.into()], ..Group::default() }).await.unwrap();
}

pub(crate) async fn remember(store: &dyn Store, n: u8) {
    let remembered = vec![answer(n, 100)];
    store.commit(&Group { remembered, ..Group::default() }).await.unwrap();
}

fn answer(n: u8, expires: i64) -> Remembered {
    Remembered {
        key: SendKey([n; 16]),
        digest: SendDigest([n; 16]),
        answer: Answer::Task { task_id: "t".into(), context_id: "c".into(), after: n.into() },
        expires: Timestamp::from_unix_nanos(expires),
    }
}

const ALL: ReadLimit = ReadLimit { events: 1_000, bytes: 1 << 20 };

async fn seqs(store: &dyn Store, id: &str, after: u64, limit: ReadLimit) -> Vec<u64> {
    let events = store.read(&id.into(), after, limit).await.unwrap();
    events.iter().map(|event| event.seq).collect()
}

async fn read_in_order(store: &dyn Store) {
    commit(store, [append(0, row("t", TaskState::Working, 1, 3))]).await.unwrap();
    commit(store, [append(3, row("t", TaskState::Completed, 2, 5))]).await.unwrap();
    assert_eq!(seqs(store, "t", 0, ALL).await, [1, 2, 3, 4, 5]);
    let last = store.read(&"t".into(), 4, ALL).await.unwrap();
    assert_eq!(*last[0], *event(&row("t", TaskState::Completed, 2, 5), 5));
}

async fn read_after(store: &dyn Store) {
    commit(store, [append(0, row("t", TaskState::Working, 1, 3))]).await.unwrap();
    assert_eq!(seqs(store, "t", 2, ALL).await, [3]);
    for beyond in [3, 4, u64::MAX] {
        assert_eq!(seqs(store, "t", beyond, ALL).await, [0; 0], "{beyond}");
    }
}

async fn read_limits(store: &dyn Store) {
    commit(store, [append(0, row("t", TaskState::Working, 1, 9))]).await.unwrap();
    assert_eq!(seqs(store, "t", 3, ReadLimit { events: 2, ..ALL }).await, [4, 5]);
    assert_eq!(seqs(store, "t", 3, ReadLimit { bytes: 1, ..ALL }).await, [4]);
    let size = event(&row("t", TaskState::Working, 1, 9), 1).approximate_size();
    assert_eq!(seqs(store, "t", 0, ReadLimit { bytes: 3 * size, ..ALL }).await, [1, 2, 3]);
}

async fn missing(store: &dyn Store) {
    let read = store.read(&"t".into(), 0, ALL).await;
    assert!(matches!(read, Err(StoreError::NotFound)), "{read:?}");
    assert!(store.load(&"t".into()).await.unwrap().is_none());
}

async fn conflict(store: &dyn Store) {
    open(store, "t").await;
    for expected in [0, 2] {
        let row = row("t", TaskState::Working, 1, expected + 1);
        let refused = commit(store, [append(expected, row)]).await;
        let Err(StoreError::Conflict { found, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(found, 1);
    }
    assert_eq!(seqs(store, "t", 0, ALL).await, [1]);
}

async fn all_or_nothing(store: &dyn Store) {
    open(store, "t").await;
    let appends = [
        append(0, row("new", TaskState::Submitted, 1, 1)),
        append(1, row("t", TaskState::Working, 1, 2)),
        append(7, row("t", TaskState::Working, 1, 8)),
    ];
    let remembered = vec![answer(1, 100)];
    let group = Group { appends: appends.into(), remembered, ..Group::default() };
    assert!(matches!(store.commit(&group).await, Err(StoreError::Conflict { expected: 7, found: 2, .. })));
    assert!(store.load(&"new".into()).await.unwrap().is_none());
    assert_eq!(store.load(&"t".into()).await.unwrap().unwrap().row.last_seq, 1);
    assert!(store.remembered(&SendKey([1; 16]), Timestamp::default()).await.unwrap().is_none());
}

async fn appends_in_order(store: &dyn Store) {
    let rows = [(0, 1), (1, 4), (4, 5)];
    let appends = rows.map(|(expected, last)| append(expected, row("t", TaskState::Working, 1, last)));
    commit(store, appends).await.unwrap();
    assert_eq!(seqs(store, "t", 0, ALL).await, [1, 2, 3, 4, 5]);
}

async fn latest_row(store: &dyn Store) {
    open(store, "t").await;
    let latest = row("t", TaskState::InputRequired, 9, 4);
    commit(store, [append(1, latest.clone())]).await.unwrap();
    let stored = store.load(&"t".into()).await.unwrap().unwrap();
    assert_eq!(stored.row, latest);
}

async fn checkpoint(store: &dyn Store) {
    finish(store, "t").await;
    let status = TaskStatus::new(TaskState::Completed, Timestamp::from_unix_nanos(1));
    let task = Arc::new(Task::new("t", "c", status));
    store.checkpoint(&[Checkpoint { seq: 2, task: Arc::clone(&task) }]);
    let stored = store.load(&"t".into()).await.unwrap().unwrap();
    // It is a hint: a store may have none, but not another.
    if let Some(point) = stored.checkpoint {
        assert_eq!((point.seq, point.task), (2, task));
    }
}

async fn stray_checkpoint(store: &dyn Store) {
    let task = Arc::new(Task::new("t", "c", TaskStatus::new(TaskState::Completed, Timestamp::default())));
    store.checkpoint(&[Checkpoint { seq: 2, task }]);
    assert!(store.load(&"t".into()).await.unwrap().is_none());
}

fn filter() -> ListFilter {
    ListFilter { agent: "agent".into(), owner: "ann".into(), context: None, state: None, status_since: None }
}

async fn list(store: &dyn Store, filter: &ListFilter) -> (Vec<Id>, u64) {
    let page = store.list(filter, &PageRequest { after: None, size: 100 }).await.unwrap();
    assert_eq!(page.next, None);
    (page.rows.into_iter().map(|row| row.id).collect(), page.total)
}

fn ids(ids: &[&str]) -> Vec<Id> {
    ids.iter().map(|id| Id::from(*id)).collect()
}

async fn newest_first(store: &dyn Store) {
    use TaskState::{Completed, Working};
    let rows = [("a", Working, 5), ("b", Completed, 9), ("d", Working, 7), ("c", Completed, 7)];
    commit(store, rows.map(|(id, state, time)| append(0, row(id, state, time, 1)))).await.unwrap();
    assert_eq!(list(store, &filter()).await, (ids(&["b", "d", "c", "a"]), 4));
}

async fn pages(store: &dyn Store) {
    let states = [TaskState::Working, TaskState::Completed, TaskState::InputRequired];
    let mut expected = Vec::new();
    for n in 0..25_usize {
        let row = row(&fresh_id(), states[n % 3], (n / 4) as i64, 1);
        expected.push((row.status_timestamp, row.id.clone()));
        commit(store, [append(0, row)]).await.unwrap();
    }
    expected.sort();
    expected.reverse();
    for size in [1, 2, 7, 24, 25, 26] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(&filter(), &PageRequest { after, size }).await.unwrap();
            assert_eq!(page.total, 25);
            seen.extend(page.rows.into_iter().map(|row| (row.status_timestamp, row.id)));
            let Some(next) = page.next else { break };
            assert_eq!(seen.last(), Some(&(next.status_timestamp, next.id.clone())));
            after = Some(next);
        }
        assert_eq!(seen, expected, "{size}");
    }
}

async fn filters(store: &dyn Store) {
    use TaskState::{Completed, Working};
    let rows = [("a", Working, 1), ("b", Completed, 2), ("c", Working, 3), ("d", Completed, 4)];
    commit(store, rows.map(|(id, state, time)| append(0, row(id, state, time, 1)))).await.unwrap();
    let foreign = TaskRow { owner: "bob".into(), ..row("e", Working, 9, 1) };
    let elsewhere = TaskRow { agent: "other".into(), ..row("f", Working, 9, 1) };
    commit(store, [append(0, foreign), append(0, elsewhere)]).await.unwrap();
    let since = |nanos| Some(Timestamp::from_unix_nanos(nanos));
    let context = |id: &str| Some(Id::from(format!("context of {id}")));
    for (filter, expected) in [
        (filter(), &["d", "c", "b", "a"][..]),
        (ListFilter { state: Some(Working), ..filter() }, &["c", "a"]),
        (ListFilter { state: Some(TaskState::Failed), ..filter() }, &[]),
        (ListFilter { status_since: since(3), ..filter() }, &["d", "c"]),
        (ListFilter { status_since: since(5), ..filter() }, &[]),
        (ListFilter { status_since: since(2), state: Some(Working), ..filter() }, &["c"]),
        (ListFilter { context: context("b"), ..filter() }, &["b"]),
        (ListFilter { context: context("b"), state: Some(Working), ..filter() }, &[]),
        (ListFilter { context: context("e"), ..filter() }, &[]),
        (ListFilter { owner: "bob".into(), ..filter() }, &["e"]),
        (ListFilter { owner: "eve".into(), ..filter() }, &[]),
        (ListFilter { agent: "other".into(), ..filter() }, &["f"]),
    ] {
        assert_eq!(list(store, &filter).await, (ids(expected), expected.len() as u64), "{filter:?}");
    }
}

async fn moves_to_the_front(store: &dyn Store) {
    use TaskState::{Completed, Working};
    let rows = [("a", 1), ("b", 2), ("c", 3)];
    commit(store, rows.map(|(id, time)| append(0, row(id, Working, time, 1)))).await.unwrap();
    let first = store.list(&filter(), &PageRequest { after: None, size: 1 }).await.unwrap();
    commit(store, [append(1, row("a", Completed, 4, 2))]).await.unwrap();
    assert_eq!(list(store, &filter()).await, (ids(&["a", "c", "b"]), 3));
    let cursor = Cursor { status_timestamp: Timestamp::from_unix_nanos(3), id: "c".into() };
    assert_eq!(first.next, Some(cursor));
    let second = store.list(&filter(), &PageRequest { after: first.next, size: 9 }).await.unwrap();
    assert_eq!(second.rows.iter().map(|row| &*row.id).collect::<Vec<_>>(), ["b"]);
    assert_eq!(list(store, &ListFilter { state: Some(Working), ..filter() }).await.1, 2);
}

async fn remembered(store: &dyn Store) {
    let remembered = vec![answer(1, 100), answer(2, 200)];
    store.commit(&Group { remembered, ..Group::default() }).await.unwrap();
    for (n, now, expected) in [(1, 99, true), (1, 100, false), (2, 100, true), (3, 0, false)] {
        let found = store.remembered(&SendKey([n; 16]), Timestamp::from_unix_nanos(now)).await.unwrap();
        assert_eq!(found.map(|found| found.answer), expected.then(|| answer(n, 0).answer), "{n} at {now}");
    }
    let renewed = vec![answer(1, 300)];
    store.commit(&Group { remembered: renewed, ..Group::default() }).await.unwrap();
    let found = store.remembered(&SendKey([1; 16]), Timestamp::from_unix_nanos(250)).await.unwrap();
    assert!(found.is_some());
}

async fn deleted(store: &dyn Store) {
    finish(store, "t").await;
    delete(store, "t").await;
    missing(store).await;
    assert_eq!(list(store, &filter()).await, (Vec::new(), 0));
    let context = Some(Id::from("context of t"));
    assert_eq!(list(store, &ListFilter { context, ..filter() }).await, (Vec::new(), 0));
}
