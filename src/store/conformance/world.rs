//! A store with its surroundings, as a case sees it.

use std::sync::Arc;

use super::samples::{appending, at};
use super::{Bench, Mode};
use crate::limits::Retention;
use crate::model::{Event, Id, TaskPushNotificationConfig, TaskState};
use crate::store::{
    Append, Checkpoint, Expired, Group, ListFilter, Page, PageRequest, ReadLimit, Remembered, SendKey, Store,
    StoreError, Stored, TaskRow,
};

/// More than any case writes.
pub(super) const ALL: ReadLimit = ReadLimit { events: 100_000, bytes: 1 << 30 };

/// A store, and what its mode does to it. What the store may not refuse is unwrapped.
pub(crate) struct World {
    bench: Box<dyn Bench>,
    mode: Mode,
}

impl World {
    /// In the mode of this name.
    pub(crate) fn new(bench: impl Bench + 'static, mode: &str) -> Self {
        Self { bench: Box::new(bench), mode: Mode::named(mode) }
    }

    /// What the mode says happens.
    pub(super) async fn later(&mut self) {
        if matches!(self.mode, Mode::Settled | Mode::Rested) {
            self.bench.settle().await;
        }
        self.reopen().await;
    }

    /// What the mode says happens to a store that was closed.
    pub(super) async fn reopen(&mut self) {
        if self.reopens() {
            assert!(self.bench.reopen().await, "nothing survives: this mode makes no sense here");
        }
    }

    /// Whether the store is opened anew where a case says [`later`](Self::later).
    pub(super) fn reopens(&self) -> bool {
        matches!(self.mode, Mode::Reopened | Mode::Rested)
    }

    pub(super) fn bench(&mut self) -> &mut dyn Bench {
        &mut *self.bench
    }

    /// Not to be held while the world goes on.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        self.bench.store()
    }

    pub(super) async fn try_commit(&self, group: Group) -> Result<(), StoreError> {
        self.store().commit(&group).await
    }

    pub(super) async fn commit(&self, group: Group) {
        self.try_commit(group).await.unwrap();
    }

    pub(super) async fn append(&self, appends: impl IntoIterator<Item = Append>) {
        self.commit(appending(appends)).await;
    }

    /// The number that was found where another was expected.
    pub(super) async fn conflict(&self, group: Group) -> u64 {
        match self.try_commit(group).await {
            Err(StoreError::Conflict { found, .. }) => found,
            other => panic!("not a conflict: {other:?}"),
        }
    }

    /// Commits nothing of interest, and so waits for everything that was given before.
    pub(super) async fn barrier(&self) {
        self.commit(super::samples::remembering([super::samples::answer(255, i64::MIN)])).await;
    }

    pub(super) async fn read(&self, id: &str, after: u64, limit: ReadLimit) -> Vec<Arc<Event>> {
        self.store().read(&id.into(), after, limit).await.unwrap()
    }

    pub(super) async fn seqs(&self, id: &str, after: u64, limit: ReadLimit) -> Vec<u64> {
        self.read(id, after, limit).await.iter().map(|event| event.seq).collect()
    }

    pub(super) async fn load(&self, id: &str) -> Option<Stored> {
        self.store().load(&id.into()).await.unwrap()
    }

    pub(super) async fn row(&self, id: &str) -> TaskRow {
        self.load(id).await.unwrap_or_else(|| panic!("{id} is missing")).row
    }

    /// A task's checkpoint, where the task must be there.
    pub(super) async fn point(&self, id: &str) -> Option<Checkpoint> {
        self.load(id).await.unwrap_or_else(|| panic!("{id} is missing")).checkpoint
    }

    pub(super) async fn page(&self, filter: &ListFilter, request: &PageRequest) -> Page {
        self.store().list(filter, request).await.unwrap()
    }

    /// The states of which there are tasks, with how many.
    pub(super) async fn counts(&self) -> Vec<(TaskState, u64)> {
        let counts = self.store().counts().await.unwrap();
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// The tasks of a list that is one page, and its total.
    pub(super) async fn list(&self, filter: &ListFilter) -> (Vec<Id>, u64) {
        let page = self.page(filter, &PageRequest { after: None, size: 100_000 }).await;
        assert_eq!(page.next, None, "a list that fits has no next page");
        (page.rows.into_iter().map(|row| row.id).collect(), page.total)
    }

    /// All rows of a list, gathered in pages of a size. Every page has the total.
    pub(super) async fn pages(&self, filter: &ListFilter, size: usize) -> Vec<TaskRow> {
        let (mut seen, mut after) = (Vec::new(), None);
        let mut totals = Vec::new();
        loop {
            let page = self.page(filter, &PageRequest { after: after.clone(), size }).await;
            totals.push(page.total);
            assert!(page.rows.len() <= size, "{} rows on a page of {size}", page.rows.len());
            seen.extend(page.rows);
            let Some(next) = page.next else { break };
            let last: &TaskRow = seen.last().expect("a page with a next one has rows");
            assert_eq!((next.status_timestamp, &next.id), (last.status_timestamp, &last.id));
            assert_ne!(after, Some(next.clone()), "the next page begins where this one did");
            after = Some(next);
        }
        assert!(totals.iter().all(|total| *total == seen.len() as u64), "{totals:?} of {}", seen.len());
        seen
    }

    pub(super) async fn remembered(&self, key: u8, now: i64) -> Option<Remembered> {
        self.store().remembered(&SendKey([key; 16]), at(now)).await.unwrap()
    }

    pub(super) async fn unfinished(&self, after: Option<&str>, most: usize) -> Vec<Id> {
        let after = after.map(Id::from);
        let rows = self.store().unfinished(after.as_ref(), most).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    }

    pub(super) async fn expired(&self, retention: &Retention, now: i64, most: usize) -> Expired {
        self.store().expired(retention, at(now), most).await.unwrap()
    }

    pub(super) async fn hooks(&self, task: &str) -> Vec<Arc<TaskPushNotificationConfig>> {
        self.store().push_configs(&task.into()).await.unwrap()
    }

    /// The addresses of a task's webhooks, in order.
    pub(super) async fn urls(&self, task: &str) -> Vec<String> {
        self.hooks(task).await.iter().map(|config| config.url.clone()).collect()
    }
}
