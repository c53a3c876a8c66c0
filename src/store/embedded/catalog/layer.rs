//! What has changed since the tables were written: one layer takes changes, and while it is written down another
//! one, frozen, lies between it and the tables.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;

use super::keys::Scope;
use super::records::{Counts, Kept, STATES};
use crate::model::{Id, TaskPushNotificationConfig, TaskState, Timestamp};
use crate::store::embedded::{LogPoint, Position};
use crate::store::{Cursor, Remembered, SendKey, TaskRow};

/// All that is in memory.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// Takes the changes.
    pub(super) active: Layer,
    /// Is being written down, or waits for it.
    pub(super) frozen: Option<Arc<Layer>>,
    /// Changes whenever a layer is frozen or its contents are in the tables only. Who reads tables and layers at
    /// different times compares it.
    pub(super) generation: u64,
    /// Bytes per segment of the log that are pointed at.
    pub(super) live: Live,
    /// No task with an id after this one lies below the active layer.
    pub(super) floor: Option<Id>,
    /// Up to where the tables are complete.
    pub(super) written: LogPoint,
    /// The number of the flush that wrote them.
    pub(super) flushes: u64,
}

impl Layers {
    /// Whether a task may lie below the active layer.
    pub(super) fn may_lie_below(&self, task: &Id) -> bool {
        self.floor.as_ref().is_some_and(|floor| task <= floor)
    }

    pub(super) fn frozen_task(&self, task: &Id) -> Option<&Dirty> {
        self.frozen.as_ref()?.tasks.get(task)
    }

    /// What the layers keep of their tasks.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Kept> {
        let frozen = self.frozen.iter().flat_map(|frozen| &frozen.tasks);
        let shown = frozen.filter(|(id, _)| !self.active.tasks.contains_key(*id));
        shown.chain(&self.active.tasks).filter_map(|(_, dirty)| dirty.now.as_ref())
    }

    /// The counts of a scope, made of those on disk. The active layer must be settled.
    pub(super) fn counts(&self, scope: Scope, on_disk: Counts) -> Counts {
        let with = |counts: Counts, layer: &Layer, number| match layer.counts.get(&scope) {
            Some(changes) => counts.with(number, changes),
            None => counts,
        };
        let frozen = self.frozen.as_deref();
        let counts = frozen.map_or(on_disk, |frozen| with(on_disk, frozen, frozen.number));
        with(counts, &self.active, u64::MAX)
    }

    /// Makes the active layer the frozen one.
    pub(super) fn freeze(&mut self) -> Arc<Layer> {
        let upto = self.active.upto;
        let next = Layer { upto, ..Layer::default() };
        let mut layer = mem::replace(&mut self.active, next);
        layer.settle();
        layer.number = self.flushes + 1;
        layer.live.clone_from(&self.live.bytes);
        if let Some(greatest) = layer.greatest.take_if(|task| !self.may_lie_below(task)) {
            self.floor = Some(greatest);
        }
        let layer = Arc::new(layer);
        self.frozen = Some(Arc::clone(&layer));
        self.generation += 1;
        layer
    }

    /// The frozen layer is in the tables now. Returns it, so that it is let go outside of any lock.
    pub(super) fn thaw(&mut self) -> Option<Arc<Layer>> {
        let layer = self.frozen.take()?;
        self.written = layer.upto;
        self.flushes = layer.number;
        self.generation += 1;
        Some(layer)
    }
}

/// Bytes per segment that are pointed at.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) bytes: BTreeMap<u32, u64>,
}

impl Live {
    pub(super) fn add(&mut self, at: Position) {
        *self.bytes.entry(at.segment).or_default() += u64::from(at.bytes);
    }

    pub(super) fn remove(&mut self, at: Position) {
        if let Some(bytes) = self.bytes.get_mut(&at.segment) {
            *bytes = bytes.saturating_sub(u64::from(at.bytes));
            if *bytes == 0 {
                self.bytes.remove(&at.segment);
            }
        }
    }
}

/// Tasks and answers that have changed. Whoever is in a layer hides what lies below it.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) tasks: HashMap<Id, Dirty>,
    pub(super) answers: HashMap<SendKey, Remembered>,
    /// The tasks of this layer in listing order. Up to date once settled.
    pub(super) places: BTreeSet<Place>,
    /// By how much the counts below are to be changed. Up to date once settled.
    pub(super) counts: HashMap<Scope, [i64; STATES]>,
    /// Tasks whose place is not up to date. Lists are asked for far less often than tasks change.
    pub(super) unsettled: Unsettled,
    /// The greatest id of its tasks.
    greatest: Option<Id>,
    /// About how many bytes of memory it takes.
    pub(super) bytes: usize,
    /// What changes up to here are in it, or below.
    pub(super) upto: LogPoint,
    /// Once frozen: the number of the flush that writes it.
    pub(super) number: u64,
    /// Once frozen: the bytes that were pointed at then.
    pub(super) live: BTreeMap<u32, u64>,
}

/// A task that has changed.
#[derive(Debug)]
pub(super) struct Dirty {
    /// What lies below.
    pub(super) below: Option<Box<Kept>>,
    /// What it is now; none if it is gone.
    pub(super) now: Option<Kept>,
    /// Chunks that came, moved or went, by their first number; none for those that went.
    pub(super) chunks: Vec<(u64, Option<Position>)>,
    /// Webhooks that came, changed or went.
    pub(super) hooks: BTreeMap<Id, Option<Arc<TaskPushNotificationConfig>>>,
    /// Whether it was deleted in this layer: then nothing below shows through if its id is used again.
    pub(super) reborn: bool,
    /// Its place in the lists, as last settled.
    listed: Option<Listed>,
    settled: bool,
    queued: bool,
}

/// Tasks whose place is not up to date.
#[derive(Debug, Default)]
pub(super) struct Unsettled(Vec<Id>);

impl Unsettled {
    pub(super) fn note(&mut self, task: &Id, dirty: &mut Dirty) {
        if !mem::replace(&mut dirty.queued, true) {
            self.0.push(task.clone());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Where a task is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    owner: Scope,
    context: Scope,
    state: TaskState,
    since: Timestamp,
}

impl Listed {
    fn of(row: &TaskRow, scopes: &mut Scopes) -> Self {
        let owner = scopes.owner(row);
        let context = owner.context(&row.context);
        Self { owner, context, state: row.state, since: row.status_timestamp }
    }

    fn place(&self, scope: Scope, id: &Id) -> Place {
        let since = Reverse(self.since.unix_nanos());
        Place { scope, state: self.state as u8, since, id: Some(Reverse(id.clone())) }
    }
}

/// Remembers the last owner's scope: tasks of one owner often come together.
#[derive(Default)]
struct Scopes(Option<(Id, Id, Scope)>);

impl Scopes {
    fn owner(&mut self, row: &TaskRow) -> Scope {
        match &self.0 {
            Some((agent, owner, scope)) if *agent == row.agent && *owner == row.owner => *scope,
            _ => {
                let scope = Scope::owner(&row.agent, &row.owner);
                self.0 = Some((row.agent.clone(), row.owner.clone(), scope));
                scope
            }
        }
    }
}

/// Where a task stands in a layer's lists. Field order is sort order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    scope: Scope,
    state: u8,
    since: Reverse<i64>,
    /// `None` only in bounds: it sorts before every id.
    id: Option<Reverse<Id>>,
}

impl Place {
    pub(super) fn id(&self) -> Option<&Id> {
        self.id.as_ref().map(|Reverse(id)| id)
    }
}

impl Layer {
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.answers.is_empty()
    }

    pub(super) fn insert(&mut self, task: &Id, below: Option<Kept>) {
        let mut dirty = Dirty::over(below);
        self.unsettled.note(task, &mut dirty);
        if self.greatest.as_ref().is_none_or(|greatest| greatest < task) {
            self.greatest = Some(task.clone());
        }
        self.tasks.insert(task.clone(), dirty);
    }

    /// The tasks of a scope in a state, newest status first, after a cursor, down to a time.
    pub(super) fn run<'a>(
        &'a self,
        scope: Scope,
        state: TaskState,
        after: Option<&Cursor>,
        since: Option<Timestamp>,
    ) -> impl Iterator<Item = &'a TaskRow> + use<'a> {
        use std::ops::Bound::{Excluded, Included};
        let bound = |state, since, id| Place { scope, state, since: Reverse(since), id };
        let state = state as u8;
        let lower = match after {
            None => Included(bound(state, i64::MAX, None)),
            Some(cursor) => {
                let id = Some(Reverse(cursor.id.clone()));
                Excluded(bound(state, cursor.status_timestamp.unix_nanos(), id))
            }
        };
        let oldest = since.map_or(i64::MIN, Timestamp::unix_nanos);
        let past = Excluded(bound(state + 1, i64::MAX, None));
        let places = self.places.range((lower, past)).take_while(move |place| place.since.0 >= oldest);
        places.filter_map(|place| self.tasks.get(place.id()?)?.row())
    }

    /// Brings places and counts up to date.
    pub(super) fn settle(&mut self) {
        let mut scopes = Scopes::default();
        for id in mem::take(&mut self.unsettled.0) {
            let Some(dirty) = self.tasks.get_mut(&id) else { continue };
            dirty.queued = false;
            let below = dirty.below.as_ref().and_then(|below| below.row.as_ref());
            let before =
                if dirty.settled { dirty.listed } else { below.map(|row| Listed::of(row, &mut scopes)) };
            let after = dirty.row().map(|row| Listed::of(row, &mut scopes));
            let was_placed = mem::replace(&mut dirty.settled, true);
            dirty.listed = after;
            if before != after {
                before.iter().for_each(|listed| count(&mut self.counts, listed, -1));
                after.iter().for_each(|listed| count(&mut self.counts, listed, 1));
            } else if was_placed {
                continue;
            }
            if let Some(listed) = before.filter(|_| was_placed) {
                self.places.remove(&listed.place(listed.owner, &id));
                self.places.remove(&listed.place(listed.context, &id));
            }
            if let Some(listed) = after {
                self.places.insert(listed.place(listed.owner, &id));
                self.places.insert(listed.place(listed.context, &id));
            }
        }
    }
}

fn count(counts: &mut HashMap<Scope, [i64; STATES]>, listed: &Listed, by: i64) {
    for scope in [Scope::ALL, listed.owner, listed.context] {
        counts.entry(scope).or_default()[slot(listed.state)] += by;
    }
}

/// Where a state stands among counts.
pub(super) fn slot(state: TaskState) -> usize {
    state as usize - 1
}

impl Dirty {
    fn over(below: Option<Kept>) -> Self {
        Self {
            now: below.clone(),
            below: below.map(Box::new),
            chunks: Vec::new(),
            hooks: BTreeMap::new(),
            reborn: false,
            listed: None,
            settled: false,
            queued: false,
        }
    }

    pub(super) fn row(&self) -> Option<&TaskRow> {
        self.now.as_ref()?.row.as_ref()
    }

    /// Whether chunks below count too.
    pub(super) fn shows_below(&self) -> bool {
        self.below.is_some() && !self.reborn
    }

    pub(super) fn chunk(&self, first: u64) -> Option<Option<Position>> {
        let at = self.chunks.binary_search_by_key(&first, |(first, _)| *first).ok()?;
        Some(self.chunks[at].1)
    }

    /// Puts a chunk; returns the one of this layer that it replaces.
    pub(super) fn put_chunk(&mut self, first: u64, at: Option<Position>) -> Option<Option<Position>> {
        if self.chunks.last().is_none_or(|(last, _)| *last < first) {
            self.chunks.push((first, at));
            return None;
        }
        match self.chunks.binary_search_by_key(&first, |(first, _)| *first) {
            Ok(slot) => Some(mem::replace(&mut self.chunks[slot].1, at)),
            Err(slot) => {
                self.chunks.insert(slot, (first, at));
                None
            }
        }
    }
}
