//! Lists: pages and totals out of tables and layers together.
//!
//! The tables are read first, with nobody held up, and what the frozen layer hides is left out at once. Then,
//! under the lock, what the active layer hides is left out too, the layers' own tasks are put between, and
//! everything belongs to one moment. Is the frozen layer another one by then, it is done once more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::Excluded;
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};

use super::keys::{self, Scope};
use super::layer::{Layer, Layers, slot};
use super::records::{Counts, Listed};
use super::tables::Scan;
use super::{Catalog, CatalogError, bad_key};
use crate::model::{Id, TaskState, Timestamp};
use crate::store::{Cursor, ListFilter, Page, PageRequest, TaskRow};

impl Catalog {
    /// One page of an owner's tasks, newest status first, then by id, newest first, and how many match in all.
    pub(crate) fn list(&self, filter: &ListFilter, page: &PageRequest) -> Result<Page, CatalogError> {
        let owner = Scope::owner(&filter.agent, &filter.owner);
        let scope = filter.context.as_ref().map_or(owner, |context| owner.context(context));
        let query = Query { filter, scope, after: page.after.as_ref(), wanted: page.size.max(1) };
        self.steadily(|| self.list_once(&query))
    }

    /// None if a flush came between.
    fn list_once(&self, query: &Query<'_>) -> Result<Option<Page>, CatalogError> {
        let (generation, frozen) = self.generation();
        let counts = self.counts_on_disk(query.scope)?;
        let mut disk = Unmasked { runs: query.runs(self, &counts)?, frozen, found: VecDeque::new() };
        let on_disk = match query.filter.status_since {
            Some(_) => Some(query.count(self, &counts, disk.frozen.as_deref())?),
            None => None,
        };
        loop {
            // One more than wanted tells whether there is a next page.
            disk.fill(query.wanted.saturating_add(1))?;
            let layers = self.settled();
            if layers.generation != generation {
                return Ok(None);
            }
            disk.found.retain(|row| !layers.active.tasks.contains_key(&row.id));
            if disk.found.len() <= query.wanted && !disk.runs.is_empty() {
                continue;
            }
            let total = match on_disk {
                Some(on_disk) => query.total_since(&layers, on_disk),
                None => query.total(&layers, &counts),
            };
            return Ok(Some(query.page(&layers, disk.found, total)));
        }
    }

    /// How many tasks there are in each state.
    pub(crate) fn counts(&self) -> Result<BTreeMap<TaskState, u64>, CatalogError> {
        let states = self.steadily(|| {
            let (generation, _) = self.generation();
            let on_disk = self.counts_on_disk(Scope::ALL)?;
            let layers = self.settled();
            let is_steady = layers.generation == generation;
            Ok(is_steady.then(|| layers.counts(Scope::ALL, on_disk).states))
        })?;
        Ok(TaskState::ALL.into_iter().zip(states).collect())
    }

    pub(super) fn counts_on_disk(&self, scope: Scope) -> Result<Counts, CatalogError> {
        let value = self.tables.get(&keys::count(scope))?;
        Ok(value.map(|value| Counts::read(&value)).transpose()?.unwrap_or_default())
    }

    pub(super) fn generation(&self) -> (u64, Option<Arc<Layer>>) {
        let layers = self.layers();
        (layers.generation, layers.frozen.clone())
    }

    /// The layers with their lists up to date.
    pub(super) fn settled(&self) -> RwLockReadGuard<'_, Layers> {
        let mut layers = self.layers_mut();
        layers.active.settle();
        RwLockWriteGuard::downgrade(layers)
    }
}

struct Query<'a> {
    filter: &'a ListFilter,
    scope: Scope,
    after: Option<&'a Cursor>,
    wanted: usize,
}

impl Query<'_> {
    fn states(&self) -> impl Iterator<Item = TaskState> {
        let wanted = self.filter.state;
        TaskState::ALL.into_iter().filter(move |state| wanted.is_none_or(|wanted| wanted == *state))
    }

    /// The entries on disk, a run per state that there are any of.
    fn runs(&self, catalog: &Catalog, counts: &Counts) -> Result<Vec<Run>, CatalogError> {
        let present = self.states().filter(|state| counts.states[slot(*state)] > 0);
        present.map(|state| Run::begin(catalog, self, state, self.after)).collect()
    }

    /// How many entries on disk are new enough and not hidden by the frozen layer.
    fn count(&self, catalog: &Catalog, counts: &Counts, frozen: Option<&Layer>) -> Result<u64, CatalogError> {
        let mut found = 0;
        for state in self.states().filter(|state| counts.states[slot(*state)] > 0) {
            for entry in self.scan(catalog, state, None)? {
                let (key, _) = entry?;
                let (_, id) = keys::list_place(&key).ok_or(bad_key())?;
                found += u64::from(frozen.is_none_or(|frozen| !frozen.tasks.contains_key(&id)));
            }
        }
        Ok(found)
    }

    fn scan(
        &self,
        catalog: &Catalog,
        state: TaskState,
        after: Option<&Cursor>,
    ) -> Result<Scan, CatalogError> {
        let mut from = keys::list_run(self.scope, state as u8);
        let mut to = from.clone();
        if let Some(cursor) = after {
            keys::put_list_place(&mut from, cursor.status_timestamp, &cursor.id);
        }
        let oldest = self.filter.status_since.unwrap_or(Timestamp::from_unix_nanos(i64::MIN));
        keys::put_list_end(&mut to, oldest);
        catalog.tables.range(Excluded(from), Excluded(to))
    }

    /// Adds up counters.
    fn total(&self, layers: &Layers, counts: &Counts) -> u64 {
        let counts = layers.counts(self.scope, *counts);
        self.states().map(|state| counts.states[slot(state)]).sum()
    }

    /// Counts what is in the layers, over what was counted on disk.
    fn total_since(&self, layers: &Layers, on_disk: u64) -> u64 {
        let frozen = layers.frozen.as_deref();
        let is_frozen = |id: &Id| frozen.is_some_and(|frozen| frozen.tasks.contains_key(id));
        let hidden = layers.active.tasks.iter().filter(|(id, dirty)| {
            let below = dirty.below.as_ref().and_then(|below| below.row.as_ref());
            below.is_some_and(|row| self.matches(row)) && !is_frozen(id)
        });
        let hidden = hidden.count() as u64;
        let runs = self.states().flat_map(|state| self.in_layers(layers, state, None));
        (on_disk + runs.count() as u64).saturating_sub(hidden)
    }

    fn matches(&self, row: &TaskRow) -> bool {
        let filter = self.filter;
        row.owner == filter.owner
            && row.agent == filter.agent
            && filter.context.as_ref().is_none_or(|context| *context == row.context)
            && filter.state.is_none_or(|state| state == row.state)
            && filter.status_since.is_none_or(|since| row.status_timestamp >= since)
    }

    /// The layers' tasks in a state: first those of the frozen one that the active one does not hide, then those
    /// of the active one.
    fn in_layers<'l>(
        &self,
        layers: &'l Layers,
        state: TaskState,
        after: Option<&Cursor>,
    ) -> impl Iterator<Item = &'l TaskRow> {
        let [frozen, active] = self.layer_runs(layers, state, after);
        frozen.chain(active)
    }

    fn layer_runs<'l>(
        &self,
        layers: &'l Layers,
        state: TaskState,
        after: Option<&Cursor>,
    ) -> [Box<dyn Iterator<Item = &'l TaskRow> + 'l>; 2] {
        let since = self.filter.status_since;
        let active = layers.active.run(self.scope, state, after, since);
        let hides = |row: &&TaskRow| !layers.active.tasks.contains_key(&row.id);
        match &layers.frozen {
            Some(frozen) => {
                let frozen = frozen.run(self.scope, state, after, since).filter(hides);
                [Box::new(frozen), Box::new(active)]
            }
            None => [Box::new(std::iter::empty()), Box::new(active)],
        }
    }

    fn page(&self, layers: &Layers, disk: VecDeque<TaskRow>, total: u64) -> Page {
        let mut runs: Vec<_> =
            self.states().flat_map(|state| self.layer_runs(layers, state, self.after)).collect();
        runs.push(Box::new(disk.iter()));
        let mut runs: Vec<_> = runs.into_iter().map(Iterator::peekable).collect();
        let mut rows = Vec::with_capacity(self.wanted.min(MOST_RESERVED));
        while rows.len() <= self.wanted {
            match newest(&mut runs, |run| run.peek().map(|row| order(row))) {
                Some(at) => rows.extend(runs[at].next().cloned()),
                None => break,
            }
        }
        let more = rows.len() > self.wanted;
        rows.truncate(self.wanted);
        let next = rows.last().filter(|_| more);
        let next = next.map(|row| Cursor { status_timestamp: row.status_timestamp, id: row.id.clone() });
        Page { rows, next, total }
    }
}

/// Newest first, whatever the state.
fn order(row: &TaskRow) -> (Reverse<Timestamp>, Reverse<Id>) {
    (Reverse(row.status_timestamp), Reverse(row.id.clone()))
}

/// Which run goes on with the newest.
fn newest<R, K: Ord>(runs: &mut [R], head: impl Fn(&mut R) -> Option<K>) -> Option<usize> {
    let heads = runs.iter_mut().enumerate().filter_map(|(at, run)| Some((head(run)?, at)));
    heads.min().map(|(_, at)| at)
}

/// The rows on disk that no layer hides, newest first.
struct Unmasked {
    /// Those that are not at their end.
    runs: Vec<Run>,
    frozen: Option<Arc<Layer>>,
    found: VecDeque<TaskRow>,
}

impl Unmasked {
    /// Reads until so many are found, or all.
    fn fill(&mut self, wanted: usize) -> Result<(), CatalogError> {
        loop {
            self.runs.retain(|run| run.head.is_some());
            if self.found.len() >= wanted {
                return Ok(());
            }
            let next = newest(&mut self.runs, |run| run.head.as_ref().map(order));
            let Some(run) = next.and_then(|at| self.runs.get_mut(at)) else { return Ok(()) };
            if let Some(row) = run.next()?
                && self.frozen.as_ref().is_none_or(|frozen| !frozen.tasks.contains_key(&row.id))
            {
                self.found.push_back(row);
            }
        }
    }
}

/// The entries of one state.
struct Run {
    scan: Scan,
    head: Option<TaskRow>,
    agent: Id,
    owner: Id,
    context: Option<Id>,
    state: TaskState,
}

impl Run {
    fn begin(
        catalog: &Catalog,
        query: &Query<'_>,
        state: TaskState,
        after: Option<&Cursor>,
    ) -> Result<Self, CatalogError> {
        let ListFilter { agent, owner, context, .. } = query.filter.clone();
        let scan = query.scan(catalog, state, after)?;
        let mut run = Self { scan, head: None, agent, owner, context, state };
        run.next()?;
        Ok(run)
    }

    /// Takes the head and reads the next one.
    fn next(&mut self) -> Result<Option<TaskRow>, CatalogError> {
        let next = match self.scan.next() {
            Some(entry) => {
                let (key, value) = entry?;
                let place = keys::list_place(&key).ok_or(bad_key())?;
                let (agent, owner) = (&self.agent, &self.owner);
                let listed = Listed { agent, owner, context: self.context.as_ref(), state: self.state };
                Some(listed.read(place, &value)?)
            }
            None => None,
        };
        Ok(std::mem::replace(&mut self.head, next))
    }
}

/// Rows that room is made for before they are found.
const MOST_RESERVED: usize = 101;
