//! A table by id, fast for the small ids that honest peers use and safe with any other.

use std::collections::HashMap;

/// Values by `u32` id.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) struct IdTable<T> {
    dense: Vec<Option<T>>,
    /// Ids beyond the dense part, which a peer may choose to be anything: hashed with a random key.
    sparse: HashMap<u32, T>,
    len: usize,
}

impl<T> Default for IdTable<T> {
    fn default() -> Self {
        Self { dense: Vec::new(), sparse: HashMap::new(), len: 0 }
    }
}

impl<T> IdTable<T> {
    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, id: u32) -> Option<&T> {
        match self.dense.get(id as usize) {
            Some(Some(value)) => Some(value),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get(&id),
        }
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        match self.dense.get_mut(id as usize) {
            Some(Some(value)) => Some(value),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get_mut(&id),
        }
    }

    /// Adds a value under an id that is not in use; in use, it is replaced.
    pub(super) fn insert(&mut self, id: u32, value: T) {
        if let Some(place) = self.get_mut(id) {
            *place = value;
            return;
        }
        self.len += 1;
        let index = id as usize;
        if index >= self.dense.len() && index < self.dense.len() + GAP && index < DENSE {
            self.dense.resize_with(index + 1, || None);
        }
        match self.dense.get_mut(index) {
            Some(place) => *place = Some(value),
            None => {
                self.sparse.insert(id, value);
            }
        }
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<T> {
        let dense = self.dense.get_mut(id as usize).and_then(Option::take);
        let removed = match dense {
            None if !self.sparse.is_empty() => self.sparse.remove(&id),
            dense => dense,
        };
        if removed.is_some() {
            self.len -= 1;
            if self.len == 0 && (self.dense.len() > GAP || self.sparse.capacity() > 0) {
                *self = Self::default();
            }
        }
        removed
    }
}

/// Ids below this may have a place of their own.
const DENSE: usize = 1_024;
/// How far a new id may be ahead of the dense part and still extend it.
const GAP: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::{DENSE, IdTable};

    proptest! {
        #[test]
        fn it_behaves_like_a_map_and_an_id_chosen_by_a_peer_costs_no_more_than_its_place(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![0..200u32, any::<u32>()]), 0..400)
        ) {
            let (mut table, mut model) = (IdTable::default(), HashMap::new());
            for (step, (insert, id)) in steps.into_iter().enumerate() {
                if insert {
                    table.insert(id, step);
                    model.insert(id, step);
                } else {
                    prop_assert_eq!(table.remove(id), model.remove(&id));
                }
                prop_assert_eq!(table.get(id), model.get(&id));
                prop_assert_eq!(table.len(), model.len());
            }
            for (id, value) in &mut model {
                prop_assert_eq!(table.get_mut(*id), Some(value));
            }
            prop_assert!(table.dense.len() <= DENSE);
        }
    }
}
