//! The order that lists are made in.
//!
//! One set per owner and one per conversation, sorted by state, then newest status first. A page merges
//! the states' runs; a total adds up counters.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Cursor, TaskRow};
use crate::model::{Id, TaskState, Timestamp};

/// Tasks in listing order.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: BTreeSet<Place>,
    counts: [u32; TaskState::ALL.len()],
}

/// Where a task stands in an index. Field order is sort order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    state: u8,
    since: Reverse<i64>,
    /// `None` only in bounds: it sorts before every id.
    id: Option<Reverse<Id>>,
}

impl Place {
    pub(super) fn of(row: &TaskRow) -> Self {
        let since = Reverse(row.status_timestamp.unix_nanos());
        Self { state: row.state as u8, since, id: Some(Reverse(row.id.clone())) }
    }

    pub(super) fn id(&self) -> Option<&Id> {
        self.id.as_ref().map(|Reverse(id)| id)
    }

    /// Newest first, whatever the state.
    fn order(&self) -> (Reverse<i64>, &Option<Reverse<Id>>) {
        (self.since, &self.id)
    }
}

impl Index {
    pub(super) fn insert(&mut self, place: Place) {
        let slot = slot(place.state);
        if self.places.insert(place) {
            self.counts[slot] += 1;
        }
    }

    pub(super) fn remove(&mut self, place: &Place) {
        if self.places.remove(place) {
            self.counts[slot(place.state)] -= 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many tasks match.
    pub(super) fn total(&self, state: Option<TaskState>, since: Option<Timestamp>) -> u64 {
        states(state)
            .map(|state| match since {
                None => u64::from(self.counts[slot(state as u8)]),
                Some(_) => self.run(state, None, since).count() as u64,
            })
            .sum()
    }

    /// Matching places after a cursor, newest first, at most `size`.
    pub(super) fn page(
        &self,
        state: Option<TaskState>,
        since: Option<Timestamp>,
        after: Option<&Cursor>,
        size: usize,
    ) -> Vec<Place> {
        let mut runs: Vec<_> = states(state).map(|state| self.run(state, after, since).peekable()).collect();
        let mut page = Vec::with_capacity(size.min(self.places.len()));
        while page.len() < size {
            let heads = runs.iter_mut().enumerate();
            let newest = heads
                .filter_map(|(at, run)| run.peek().map(|place| (place.order(), at)))
                .min_by(|(one, _), (other, _)| one.cmp(other))
                .map(|(_, at)| at);
            let Some(at) = newest else { break };
            page.extend(runs[at].next().cloned());
        }
        page
    }

    fn run(
        &self,
        state: TaskState,
        after: Option<&Cursor>,
        since: Option<Timestamp>,
    ) -> impl Iterator<Item = &Place> {
        use std::ops::Bound::{Excluded, Included};
        let state = state as u8;
        let first = Place { state, since: Reverse(i64::MAX), id: None };
        let lower = match after {
            None => Included(first),
            Some(cursor) => Excluded(Place {
                state,
                since: Reverse(cursor.status_timestamp.unix_nanos()),
                id: Some(Reverse(cursor.id.clone())),
            }),
        };
        let oldest = since.map_or(i64::MIN, Timestamp::unix_nanos);
        let past = Excluded(Place { state: state + 1, since: Reverse(i64::MAX), id: None });
        self.places.range((lower, past)).take_while(move |place| place.since.0 >= oldest)
    }
}

/// The states to look at.
fn states(state: Option<TaskState>) -> impl Iterator<Item = TaskState> {
    TaskState::ALL.into_iter().filter(move |each| state.is_none_or(|state| state == *each))
}

fn slot(state: u8) -> usize {
    usize::from(state) - 1
}
