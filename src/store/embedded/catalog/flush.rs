//! Writing a layer down: one ingestion, kind by kind in the order of the keys.

use std::ops::Bound::{Excluded, Included};

use super::keys::{self, FINISHED, HEAD, WHOLE};
use super::layer::{Dirty, Layer};
use super::records::{self, Counts, Head, Kept};
use super::tables::Ingest;
use super::{Catalog, CatalogError, bad_key};
use crate::model::{Id, TaskState, Timestamp};
use crate::store::TaskRow;
use crate::store::embedded::LogPoint;

impl Catalog {
    /// Writes down what is in memory, so that a restart need not read it from the log again, and forgets the
    /// answers that have expired. Returns up to where the tables are complete. Readers and [`apply_all`](Self::apply_all)
    /// are not held up.
    ///
    /// # Errors
    /// [`CatalogError::Io`] if the disk is full, among others: then nothing is lost, and the next flush tries
    /// the same again.
    pub(crate) fn flush(&self, now: Timestamp) -> Result<LogPoint, CatalogError> {
        let _alone = self.writing();
        let _flushing = self.flushing();
        self.write_frozen(now)?;
        {
            let _applying = self.applying();
            let mut layers = self.layers_mut();
            if layers.active.is_empty() && layers.active.upto == layers.written {
                return Ok(layers.written);
            }
            layers.freeze();
            self.note_bytes(0);
        }
        self.write_frozen(now)?;
        Ok(self.written())
    }

    fn write_frozen(&self, now: Timestamp) -> Result<(), CatalogError> {
        let (_, frozen) = self.generation();
        let Some(layer) = frozen else { return Ok(()) };
        self.tables.ingest(|ingest| Flush { catalog: self, layer: &layer, now }.write(ingest))?;
        // Let go of outside the lock, since it takes a while.
        let thawed = self.layers_mut().thaw();
        drop((thawed, layer));
        Ok(())
    }
}

struct Flush<'a> {
    catalog: &'a Catalog,
    layer: &'a Layer,
    now: Timestamp,
}

/// Puts the entries of one kind of key into a run.
type Kind<'a> = fn(&Flush<'a>, &mut Run) -> Result<(), CatalogError>;

impl Flush<'_> {
    fn write(&self, ingest: &mut Ingest<'_>) -> Result<(), CatalogError> {
        let mut run = Run::default();
        let kinds: [Kind<'_>; 10] = [
            Self::head,
            Self::tasks,
            Self::chunks,
            Self::lists,
            Self::counts,
            Self::unfinished,
            |flush, run| flush.finished(run, FINISHED),
            |flush, run| flush.finished(run, WHOLE),
            Self::answers,
            Self::hooks,
        ];
        for kind in kinds {
            kind(self, &mut run)?;
            run.write(ingest)?;
        }
        Ok(())
    }

    fn dirty(&self) -> impl Iterator<Item = (&Id, &Dirty)> {
        self.layer.tasks.iter()
    }

    fn head(&self, run: &mut Run) -> Result<(), CatalogError> {
        let Layer { number, upto, live, .. } = self.layer;
        let head = Head { flush: *number, upto: *upto, live: live.clone() };
        run.put(|key| key.push(HEAD), |value| head.put(value));
        Ok(())
    }

    fn tasks(&self, run: &mut Run) -> Result<(), CatalogError> {
        for (id, dirty) in self.dirty() {
            match (&dirty.now, &dirty.below) {
                (Some(kept), _) => run.put(|key| keys::put_task(key, id), |value| kept.put(value)),
                (None, Some(_)) => run.remove(|key| keys::put_task(key, id)),
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn chunks(&self, run: &mut Run) -> Result<(), CatalogError> {
        for (id, dirty) in self.dirty() {
            for (first, at) in &dirty.chunks {
                match at {
                    Some(at) => run.put(
                        |key| keys::put_chunk(key, id, *first),
                        |value| records::put_position(value, *at),
                    ),
                    None => run.remove(|key| keys::put_chunk(key, id, *first)),
                }
            }
        }
        Ok(())
    }

    fn lists(&self, run: &mut Run) -> Result<(), CatalogError> {
        for (_, dirty) in self.dirty() {
            let (before, after) = rows(dirty);
            let stays = before.map(listed_at) == after.map(listed_at);
            if let Some(row) = before.filter(|_| !stays) {
                for scope in scopes(row) {
                    run.remove(|key| put_list(key, scope, row));
                }
            }
            if let Some(row) = after {
                for (scope, with_context) in scopes(row).into_iter().zip([true, false]) {
                    run.put(
                        |key| put_list(key, scope, row),
                        |value| records::put_listed(value, row, with_context),
                    );
                }
            }
        }
        Ok(())
    }

    fn counts(&self, run: &mut Run) -> Result<(), CatalogError> {
        let changed = self.layer.counts.iter().filter(|(_, changes)| changes.iter().any(|n| *n != 0));
        let mut changed: Vec<_> = changed.collect();
        // In the order of the keys, so that each block is read once.
        changed.sort_unstable_by_key(|(scope, _)| **scope);
        for (scope, changes) in changed {
            let counts = self.catalog.counts_on_disk(*scope)?.with(self.layer.number, changes);
            if counts.states == Counts::default().states {
                run.remove(|key| keys::put_count(key, *scope));
            } else {
                run.put(|key| keys::put_count(key, *scope), |value| counts.put(value));
            }
        }
        Ok(())
    }

    fn unfinished(&self, run: &mut Run) -> Result<(), CatalogError> {
        for (id, dirty) in self.dirty() {
            let is_open = |row: &&TaskRow| !row.state.is_terminal();
            let (before, after) = rows(dirty);
            match (before.filter(is_open), after.filter(is_open)) {
                (None, Some(_)) => run.put(|key| keys::put_unfinished(key, id), |_| {}),
                (Some(_), None) => run.remove(|key| keys::put_unfinished(key, id)),
                _ => {}
            }
        }
        Ok(())
    }

    fn finished(&self, run: &mut Run, kind: u8) -> Result<(), CatalogError> {
        let place = |kept: &Kept| {
            let row = kept.row.as_ref().filter(|row| row.state.is_terminal())?;
            (kind == FINISHED || kept.is_whole()).then_some((row.state, row.status_timestamp))
        };
        for (id, dirty) in self.dirty() {
            let before = dirty.below.as_deref().and_then(place);
            let after = dirty.now.as_ref().and_then(place);
            if before == after {
                continue;
            }
            if let Some((state, time)) = before {
                run.remove(|key| keys::put_finished(key, kind, state, time, id));
            }
            if let Some((state, time)) = after {
                run.put(|key| keys::put_finished(key, kind, state, time, id), |_| {});
            }
        }
        Ok(())
    }

    /// Answers and their expiries: new ones come, expired ones go.
    fn answers(&self, run: &mut Run) -> Result<(), CatalogError> {
        let is_new = |send| self.layer.answers.get(&send).is_some_and(|answer| answer.expires > self.now);
        for answer in self.layer.answers.values().filter(|answer| is_new(answer.key)) {
            let mut value = Vec::new();
            records::put_remembered(&mut value, answer)?;
            run.put(|key| keys::put_answer(key, answer.key), |out| out.extend_from_slice(&value));
            run.put(|key| keys::put_expiry(key, answer.expires, answer.key), |_| {});
        }
        let range = (Included(vec![keys::EXPIRY]), Excluded(keys::expired_end(self.now)));
        for entry in self.catalog.tables.range(range.0, range.1)?.take(MOST_FORGOTTEN) {
            let (key, _) = entry?;
            let (expires, send) = keys::expiry(&key).ok_or(bad_key())?;
            run.remove(|out| out.extend_from_slice(&key));
            // The key may have been used anew after it expired.
            let present = self.catalog.answer_on_disk(send)?;
            if !is_new(send) && present.is_some_and(|answer| answer.expires == expires) {
                run.remove(|key| keys::put_answer(key, send));
            }
        }
        Ok(())
    }

    fn hooks(&self, run: &mut Run) -> Result<(), CatalogError> {
        for (id, dirty) in self.dirty() {
            for (hook, config) in &dirty.hooks {
                match config {
                    Some(config) => {
                        let json =
                            serde_json::to_vec(&**config).map_err(|error| CatalogError::Io(error.into()))?;
                        run.put(|key| keys::put_hook(key, id, hook), |out| out.extend_from_slice(&json));
                    }
                    None => run.remove(|key| keys::put_hook(key, id, hook)),
                }
            }
        }
        Ok(())
    }
}

fn rows(dirty: &Dirty) -> (Option<&TaskRow>, Option<&TaskRow>) {
    (dirty.below.as_ref().and_then(|below| below.row.as_ref()), dirty.row())
}

/// Where a row is listed. Another task may have come under the id of one that went.
fn listed_at(row: &TaskRow) -> (TaskState, Timestamp, [&Id; 3]) {
    (row.state, row.status_timestamp, [&row.context, &row.agent, &row.owner])
}

/// An owner's, and the conversation's.
fn scopes(row: &TaskRow) -> [keys::Scope; 2] {
    let owner = keys::Scope::owner(&row.agent, &row.owner);
    [owner, owner.context(&row.context)]
}

fn put_list(key: &mut Vec<u8>, scope: keys::Scope, row: &TaskRow) {
    keys::put_list(key, scope, row.state as u8, row.status_timestamp, &row.id);
}

/// Entries on their way to the tables, in one piece of memory.
#[derive(Default)]
struct Run {
    bytes: Vec<u8>,
    entries: Vec<Piece>,
}

/// Where an entry is in a [`Run`]: its key, then its value.
struct Piece {
    start: usize,
    key_end: usize,
    /// None: it is removed.
    value_end: Option<usize>,
}

impl Run {
    fn put(&mut self, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        key(&mut self.bytes);
        let key_end = self.bytes.len();
        value(&mut self.bytes);
        self.entries.push(Piece { start, key_end, value_end: Some(self.bytes.len()) });
    }

    fn remove(&mut self, key: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        key(&mut self.bytes);
        self.entries.push(Piece { start, key_end: self.bytes.len(), value_end: None });
    }

    /// Writes the entries in order and forgets them. Of several with one key, one that puts it holds.
    fn write(&mut self, ingest: &mut Ingest<'_>) -> Result<(), CatalogError> {
        let bytes = &self.bytes;
        let key = |piece: &Piece| &bytes[piece.start..piece.key_end];
        let order = |piece: &Piece| piece.value_end.is_none();
        self.entries.sort_unstable_by(|one, other| {
            key(one).cmp(key(other)).then_with(|| order(one).cmp(&order(other)))
        });
        self.entries.dedup_by(|one, other| key(one) == key(other));
        for piece in &self.entries {
            ingest.put(key(piece), piece.value_end.map(|end| &bytes[piece.key_end..end]))?;
        }
        self.entries.clear();
        self.bytes.clear();
        Ok(())
    }
}

/// Expired answers that one flush removes: more than can have come since the last one.
const MOST_FORGOTTEN: usize = 100_000;
