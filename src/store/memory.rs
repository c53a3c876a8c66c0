//! A store in memory: fast, bounded, and gone with the process.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::{self, BoxFuture, FutureExt as _};

use super::index::{Index, Place};
use super::{
    Append, Checkpoint, Cursor, Cut, Expired, Group, ListFilter, Page, PageRequest, PushChange, ReadLimit,
    Remembered, SendKey, Store, StoreError, Stored, TaskRow,
};
use crate::limits::{EngineLimits, Retention};
use crate::model::{Event, Id, TaskPushNotificationConfig, TaskState, Timestamp};

/// Keeps tasks in memory. Finished tasks beyond `memory_finished_tasks` are forgotten, those that finished
/// first going first; so are remembered answers beyond the same number, those that expire first going first.
/// When as many tasks are unfinished, there is no room for more.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    keep: usize,
    unfinished: usize,
    states: BTreeMap<TaskState, u64>,
    tasks: HashMap<Id, Kept>,
    owners: HashMap<Scope, Index>,
    contexts: HashMap<(Scope, Id), Index>,
    /// By the time they finished.
    finished: BTreeSet<(Timestamp, Id)>,
    remembered: HashMap<SendKey, Remembered>,
    /// What is in `remembered`, by the time that it is forgotten.
    expiries: BTreeSet<(Timestamp, [u8; 16])>,
}

/// Agent and owner: no list reaches beyond it.
type Scope = (Id, Id);

#[derive(Debug)]
struct Kept {
    row: TaskRow,
    /// The oldest number that is kept.
    oldest: u64,
    events: Vec<Arc<Event>>,
    checkpoint: Option<Checkpoint>,
    push: BTreeMap<Id, Arc<TaskPushNotificationConfig>>,
}

impl MemoryStore {
    /// An empty store within these bounds.
    pub fn new(limits: &EngineLimits) -> Self {
        Self {
            inner: Mutex::new(Inner {
                keep: limits.memory_finished_tasks,
                unfinished: 0,
                states: BTreeMap::new(),
                tasks: HashMap::new(),
                owners: HashMap::new(),
                contexts: HashMap::new(),
                finished: BTreeSet::new(),
                remembered: HashMap::new(),
                expiries: BTreeSet::new(),
            }),
        }
    }

    /// A panic while the lock was held can only have come from a failed allocation; the maps are whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn describe(&self) -> String {
        "memory: nothing survives a restart".to_owned()
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn commits_inline(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        let inner = self.lock();
        inner.unfinished < inner.keep.max(1)
    }

    fn commit(&self, group: &Group) -> BoxFuture<'static, Result<(), StoreError>> {
        future::ready(self.lock().commit(group)).boxed()
    }

    fn checkpoint(&self, checkpoints: &[Checkpoint]) {
        let mut inner = self.lock();
        for checkpoint in checkpoints {
            inner.checkpoint(checkpoint);
        }
    }

    async fn read(&self, task: &Id, after: u64, limit: ReadLimit) -> Result<Vec<Arc<Event>>, StoreError> {
        let inner = self.lock();
        let kept = inner.tasks.get(task).ok_or(StoreError::NotFound)?;
        let Some(from) = (after.saturating_add(1)).checked_sub(kept.oldest) else {
            return Err(StoreError::Gap { oldest: kept.oldest });
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(kept.events.len());
        let mut bytes = 0;
        let within = kept.events[from..].iter().take(limit.events.max(1)).take_while(|event| {
            let fits = bytes < limit.bytes.max(1);
            bytes += event.approximate_size();
            fits
        });
        Ok(within.cloned().collect())
    }

    async fn load(&self, task: &Id) -> Result<Option<Stored>, StoreError> {
        let inner = self.lock();
        let kept = inner.tasks.get(task);
        Ok(kept.map(|kept| Stored { row: kept.row.clone(), checkpoint: kept.checkpoint.clone() }))
    }

    async fn list(&self, filter: &ListFilter, page: &PageRequest) -> Result<Page, StoreError> {
        let inner = self.lock();
        let scope = (filter.agent.clone(), filter.owner.clone());
        let index = match &filter.context {
            None => inner.owners.get(&scope),
            Some(context) => inner.contexts.get(&(scope, context.clone())),
        };
        let Some(index) = index else { return Ok(Page { rows: Vec::new(), next: None, total: 0 }) };
        let wanted = page.size.max(1);
        // One more than wanted tells whether there is a next page.
        let one_more = wanted.saturating_add(1);
        let places = index.page(filter.state, filter.status_since, page.after.as_ref(), one_more);
        let more = places.len() > wanted;
        let ids = places.iter().take(wanted).filter_map(Place::id);
        let rows: Vec<_> = ids.filter_map(|id| inner.tasks.get(id)).map(|kept| kept.row.clone()).collect();
        let next = rows.last().filter(|_| more);
        let next = next.map(|row| Cursor { status_timestamp: row.status_timestamp, id: row.id.clone() });
        Ok(Page { rows, next, total: index.total(filter.state, filter.status_since) })
    }

    async fn remembered(&self, key: &SendKey, now: Timestamp) -> Result<Option<Remembered>, StoreError> {
        let inner = self.lock();
        Ok(inner.remembered.get(key).filter(|answer| answer.expires > now).cloned())
    }

    async fn counts(&self) -> Result<BTreeMap<TaskState, u64>, StoreError> {
        Ok(self.lock().states.clone())
    }

    async fn unfinished(&self, after: Option<&Id>, most: usize) -> Result<Vec<TaskRow>, StoreError> {
        let inner = self.lock();
        let open = inner.tasks.values().map(|kept| &kept.row).filter(|row| !row.state.is_terminal());
        let mut rows: Vec<_> = open.filter(|row| after.is_none_or(|after| row.id > *after)).collect();
        rows.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Ok(rows.into_iter().take(most).cloned().collect())
    }

    async fn expired(
        &self,
        retention: &Retention,
        now: Timestamp,
        most: usize,
    ) -> Result<Expired, StoreError> {
        Ok(self.lock().expired(retention, now, most))
    }

    async fn push_configs(&self, task: &Id) -> Result<Vec<Arc<TaskPushNotificationConfig>>, StoreError> {
        let inner = self.lock();
        Ok(inner.tasks.get(task).map_or_else(Vec::new, |kept| kept.push.values().cloned().collect()))
    }
}

impl Kept {
    /// Takes a checkpoint unless there is a newer one.
    fn renew(&mut self, checkpoint: &Checkpoint) {
        if self.checkpoint.as_ref().is_none_or(|present| present.seq <= checkpoint.seq) {
            self.checkpoint = Some(checkpoint.clone());
        }
    }
}

impl Inner {
    fn commit(&mut self, group: &Group) -> Result<(), StoreError> {
        self.check(&group.appends)?;
        group.appends.iter().for_each(|append| self.append(append));
        group.remembered.iter().for_each(|answer| self.remember(answer));
        group.push.iter().for_each(|change| self.push(change));
        group.cuts.iter().for_each(|cut| self.cut(cut));
        group.deletions.iter().for_each(|task| self.forget(task));
        self.evict();
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let Some(kept) = self.tasks.get_mut(&checkpoint.task.id) else { return };
        // One that reaches further than the log is of an earlier task with this id.
        if checkpoint.seq <= kept.row.last_seq {
            kept.renew(checkpoint);
        }
    }

    fn push(&mut self, change: &PushChange) {
        let Some(kept) = self.tasks.get_mut(&change.task) else { return };
        match &change.config {
            Some(config) => kept.push.insert(change.id.clone(), Arc::clone(config)),
            None => kept.push.remove(&change.id),
        };
    }

    fn cut(&mut self, cut: &Cut) {
        let Some(kept) = self.tasks.get_mut(&cut.checkpoint.task.id) else { return };
        let oldest = cut.oldest.min(kept.row.last_seq);
        let gone = usize::try_from(oldest.saturating_sub(kept.oldest)).unwrap_or(usize::MAX);
        kept.events.drain(..gone.min(kept.events.len()));
        kept.oldest = kept.oldest.max(oldest);
        kept.renew(&cut.checkpoint);
    }

    /// Walks over the finished tasks, of which there are no more than the store's bound.
    fn expired(&self, retention: &Retention, now: Timestamp, most: usize) -> Expired {
        let mut counts: HashMap<TaskState, u64> = HashMap::new();
        let finished = || self.finished.iter().filter_map(|(_, id)| self.tasks.get(id));
        finished().for_each(|kept| *counts.entry(kept.row.state).or_default() += 1);
        let mut expired = Expired::default();
        for kept in finished() {
            let (row, Some(keep)) = (&kept.row, retention.of(kept.row.state)) else { continue };
            if expired.deletions.len() + expired.cuts.len() >= most {
                break;
            }
            let count = counts.entry(row.state).or_default();
            if keep.is_over(row.status_timestamp, now) || keep.count.is_some_and(|most| *count > most) {
                *count -= 1;
                expired.deletions.push(row.id.clone());
            } else if keep.events_are_over(row.status_timestamp, now) && kept.oldest < row.last_seq {
                expired.cuts.push(row.id.clone());
            }
        }
        expired
    }

    /// Checks every append before the first is written, since a group is all or nothing.
    fn check(&self, appends: &[Append]) -> Result<(), StoreError> {
        let mut earlier: HashMap<&Id, u64> = HashMap::new();
        for append in appends {
            let id = &append.row.id;
            let found = match earlier.get(id) {
                Some(last) => *last,
                None => self.tasks.get(id).map_or(0, |kept| kept.row.last_seq),
            };
            if found != append.expected {
                return Err(StoreError::Conflict { task: id.clone(), expected: append.expected, found });
            }
            if appends.len() > 1 {
                earlier.insert(id, append.row.last_seq);
            }
        }
        Ok(())
    }

    fn append(&mut self, append: &Append) {
        let row = &append.row;
        let before = match self.tasks.entry(row.id.clone()) {
            Entry::Vacant(place) => {
                let events = append.events.clone();
                let push = BTreeMap::new();
                place.insert(Kept { row: row.clone(), oldest: 1, events, checkpoint: None, push });
                None
            }
            Entry::Occupied(mut kept) => {
                let kept = kept.get_mut();
                kept.events.extend_from_slice(&append.events);
                Some(std::mem::replace(&mut kept.row, row.clone()))
            }
        };
        let place = |row: &TaskRow| (row.state, row.status_timestamp);
        if before.as_ref().is_none_or(|before| place(before) != place(row)) {
            self.settle(before.as_ref(), Some(row));
        }
    }

    /// Counts a task, and moves it in every index, from where it was to where it is.
    fn settle(&mut self, before: Option<&TaskRow>, after: Option<&TaskRow>) {
        if let Some(row) = before {
            self.unfinished -= usize::from(!row.state.is_terminal());
            self.states.entry(row.state).and_modify(|count| *count -= 1);
            self.finished.remove(&(row.status_timestamp, row.id.clone()));
        }
        if let Some(row) = after {
            self.unfinished += usize::from(!row.state.is_terminal());
            *self.states.entry(row.state).or_default() += 1;
            if row.state.is_terminal() {
                self.finished.insert((row.status_timestamp, row.id.clone()));
            }
        }
        self.index(before, after);
    }

    fn evict(&mut self) {
        while self.finished.len() > self.keep {
            let Some((_, oldest)) = self.finished.first().cloned() else { break };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, task: &Id) {
        let Some(kept) = self.tasks.remove(task) else { return };
        self.settle(Some(&kept.row), None);
    }

    /// Moves a task in both indexes from where it was to where it is.
    fn index(&mut self, before: Option<&TaskRow>, after: Option<&TaskRow>) {
        let Some(row) = after.or(before) else { return };
        let scope = (row.agent.clone(), row.owner.clone());
        let context = (scope.clone(), row.context.clone());
        let (before, after) = (before.map(Place::of), after.map(Place::of));
        relocate(&mut self.owners, scope, before.as_ref(), after.clone());
        relocate(&mut self.contexts, context, before.as_ref(), after);
    }

    fn remember(&mut self, answer: &Remembered) {
        if let Some(before) = self.remembered.insert(answer.key, answer.clone()) {
            self.expiries.remove(&(before.expires, before.key.0));
        }
        self.expiries.insert((answer.expires, answer.key.0));
        while self.expiries.len() > self.keep.max(1) {
            let Some((_, key)) = self.expiries.pop_first() else { break };
            self.remembered.remove(&SendKey(key));
        }
    }
}

fn relocate<K: Eq + Hash>(
    indexes: &mut HashMap<K, Index>,
    key: K,
    before: Option<&Place>,
    after: Option<Place>,
) {
    match indexes.entry(key) {
        Entry::Vacant(entry) => {
            if let Some(after) = after {
                entry.insert(Index::default()).insert(after);
            }
        }
        Entry::Occupied(mut entry) => {
            if let Some(before) = before {
                entry.get_mut().remove(before);
            }
            if let Some(after) = after {
                entry.get_mut().insert(after);
            }
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{self, Bench, answer, append, appending, remembering, row};

    struct InMemory(Arc<MemoryStore>);

    impl Bench for InMemory {
        fn store(&self) -> Arc<dyn Store> {
            Arc::clone(&self.0) as Arc<dyn Store>
        }
    }

    async fn fresh() -> impl Bench {
        InMemory(Arc::new(MemoryStore::new(&EngineLimits::default())))
    }

    conformance::suite!(fresh: plain);

    #[tokio::test]
    async fn the_oldest_finished_tasks_go_first() {
        let limits = EngineLimits { memory_finished_tasks: 2, ..EngineLimits::default() };
        let store = MemoryStore::new(&limits);
        for id in ["one", "two", "three"] {
            conformance::finish(&store, id).await;
        }
        assert!(store.load(&"one".into()).await.unwrap().is_none());
        for kept in ["two", "three"] {
            assert!(store.load(&kept.into()).await.unwrap().is_some(), "{kept}");
        }
    }

    #[tokio::test]
    async fn an_unfinished_task_is_never_forgotten() {
        let limits = EngineLimits { memory_finished_tasks: 1, ..EngineLimits::default() };
        let store = MemoryStore::new(&limits);
        conformance::open(&store, "open").await;
        for id in ["one", "two", "three"] {
            conformance::finish(&store, id).await;
        }
        assert!(store.load(&"open".into()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_task_that_works_again_is_unfinished() {
        let limits = EngineLimits { memory_finished_tasks: 1, ..EngineLimits::default() };
        let store = MemoryStore::new(&limits);
        conformance::finish(&store, "again").await;
        let again = append(2, row("again", TaskState::Working, 1, 3));
        store.commit(&appending([again])).await.unwrap();
        for id in ["one", "two"] {
            conformance::finish(&store, id).await;
        }
        assert!(store.load(&"again".into()).await.unwrap().is_some());
        assert!(store.load(&"one".into()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn no_task_is_forgotten_in_the_middle_of_a_group() {
        let limits = EngineLimits { memory_finished_tasks: 1, ..EngineLimits::default() };
        let store = MemoryStore::new(&limits);
        let steps = [("one", 0, 1), ("two", 0, 1), ("one", 1, 9)];
        let steps = steps
            .map(|(id, expected, time)| append(expected, row(id, TaskState::Completed, time, expected + 1)));
        store.commit(&appending(steps)).await.unwrap();
        let limit = ReadLimit { events: 9, bytes: 1 << 20 };
        assert_eq!(store.read(&"one".into(), 0, limit).await.unwrap().len(), 2);
        assert!(store.load(&"two".into()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_answer_that_expires_first_is_forgotten_first() {
        let limits = EngineLimits { memory_finished_tasks: 2, ..EngineLimits::default() };
        let store = MemoryStore::new(&limits);
        for (n, expires) in [(1, 100), (2, 200), (1, 300), (3, 400)] {
            store.commit(&remembering([answer(n, expires)])).await.unwrap();
        }
        for (n, expected) in [(1, true), (2, false), (3, true)] {
            let found = store.remembered(&SendKey([n; 16]), Timestamp::default()).await.unwrap();
            assert_eq!(found.is_some(), expected, "{n}");
        }
    }

    #[tokio::test]
    async fn too_many_unfinished_tasks_leave_no_room() {
        let limits = EngineLimits { memory_finished_tasks: 2, ..EngineLimits::default() };
        let store = MemoryStore::new(&limits);
        conformance::open(&store, "one").await;
        conformance::finish(&store, "two").await;
        assert!(store.has_room());
        conformance::open(&store, "three").await;
        assert!(!store.has_room());
        conformance::delete(&store, "one").await;
        assert!(store.has_room());
    }

    #[tokio::test]
    async fn remembered_answers_are_bounded() {
        let limits = EngineLimits { memory_finished_tasks: 2, ..EngineLimits::default() };
        let store = MemoryStore::new(&limits);
        for n in 0..5 {
            conformance::remember(&store, n).await;
        }
        assert_eq!(store.lock().remembered.len(), 2);
        assert_eq!(store.lock().expiries.len(), 2);
    }
}
