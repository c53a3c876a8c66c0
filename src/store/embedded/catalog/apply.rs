//! Taking changes into the active layer.
//!
//! One thread at a time applies. It first finds out, without holding anybody up, what it has to know of what lies
//! below the active layer: nothing for a new task, and nothing for a task that is in the layer already. Then it
//! takes all changes in one go, so that nobody sees half of a group.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::keys::{self, ID_BYTES};
use super::layer::{Dirty, Layer, Layers, Live};
use super::records::Kept;
use super::{Catalog, CatalogError};
use crate::model::Id;
use crate::store::embedded::{Change, LogPoint, Position};
use crate::store::{Answer, PushChange, Remembered, TaskRow};

/// Whether the changes are new, or are read again from a log whose older entries may stand behind newer ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Live,
    Replay,
}

/// What lies below the active layer, as far as the changes at hand need it.
#[derive(Default)]
struct Below {
    tasks: HashMap<Id, Option<Kept>>,
    chunks: HashMap<(Id, u64), Position>,
    /// All chunks of tasks that are cut or go.
    all_chunks: HashMap<Id, BTreeMap<u64, Position>>,
    /// The webhooks of tasks that go.
    hooks: HashMap<Id, Vec<Id>>,
}

/// Something to look up.
struct Wanted<'a> {
    change: &'a Change,
    task: &'a Id,
    /// What is known of the task; none if it is not in the active layer.
    facts: Option<Facts>,
}

/// What of a task below decides what else is to be looked up.
#[derive(Clone, Copy)]
struct Facts {
    last: u64,
    hooked: bool,
    /// The cut, in the active layer or below it.
    cut: u64,
}

impl Facts {
    fn of(below: &Kept) -> Self {
        Self { last: below.last_seq(), hooked: below.hooked, cut: below.cut }
    }
}

impl Catalog {
    pub(super) fn take(
        &self,
        changes: &mut Vec<Change>,
        upto: LogPoint,
        source: Source,
    ) -> Result<(), CatalogError> {
        let _alone = self.applying();
        let below = self.look_below(changes, source)?;
        let mut layers = self.layers_mut();
        for change in changes.drain(..) {
            layers.take(change, &below, source);
        }
        let active = &mut layers.active;
        active.upto = upto;
        if active.unsettled.len() >= MOST_UNSETTLED {
            active.settle();
        }
        self.note_bytes(active.bytes);
        Ok(())
    }

    fn look_below(&self, changes: &[Change], source: Source) -> Result<Below, CatalogError> {
        let mut below = Below::default();
        let (wanted, frozen) = {
            let layers = self.layers();
            let mut wanted = Vec::new();
            for change in changes {
                wanted.extend(layers.wanted(change)?);
            }
            (wanted, layers.frozen.clone())
        };
        let frozen = frozen.as_deref();
        let cuts = changes.iter().any(|change| matches!(change, Change::Cut { .. }));
        for Wanted { change, task, facts } in wanted {
            let facts = match facts {
                Some(facts) => facts,
                None => {
                    if !below.tasks.contains_key(task) {
                        below.tasks.insert(task.clone(), self.kept_below(frozen, task)?);
                    }
                    let Some(Some(kept)) = below.tasks.get(task) else { continue };
                    Facts::of(kept)
                }
            };
            let needs_all = match change {
                Change::Appended { first, .. } => {
                    if *first <= facts.last
                        && let Some(at) = self.chunk_below(frozen, task, *first)?
                    {
                        below.chunks.insert((task.clone(), *first), at);
                    }
                    // It may have been copied behind a cut, and tell what that has cut.
                    source == Source::Replay && (facts.cut > 1 || cuts)
                }
                Change::Cut { .. } | Change::Deleted(_) => true,
                _ => false,
            };
            if needs_all && !below.all_chunks.contains_key(task) {
                below.all_chunks.insert(task.clone(), self.chunks_below(frozen, task)?);
            }
            if facts.hooked && matches!(change, Change::Deleted(_)) {
                let hooks = self.hooks_below(frozen, task)?;
                below.hooks.insert(task.clone(), hooks.into_keys().collect());
            }
        }
        Ok(below)
    }
}

fn task_of(change: &Change) -> Option<&Id> {
    match change {
        Change::Appended { row, .. } => Some(&row.id),
        Change::Checkpointed { task, .. } | Change::Cut { task, .. } | Change::Deleted(task) => Some(task),
        Change::Pushed(change) => Some(&change.task),
        Change::Remembered(_) => None,
    }
}

impl Layers {
    /// What of the layers below a change needs.
    fn wanted<'a>(&self, change: &'a Change) -> Result<Option<Wanted<'a>>, CatalogError> {
        let Some(task) = task_of(change) else { return Ok(None) };
        let hook = if let Change::Pushed(change) = change { change.id.len() } else { 0 };
        if task.len().max(hook) > ID_BYTES {
            return Err(CatalogError::Damaged(format!("an id has more than {ID_BYTES} bytes")));
        }
        if !self.may_lie_below(task) {
            return Ok(None);
        }
        let Some(dirty) = self.active.tasks.get(task) else {
            return Ok(Some(Wanted { change, task, facts: None }));
        };
        let Some(below) = &dirty.below else { return Ok(None) };
        let mut facts = Facts::of(below);
        facts.cut = dirty.now.as_ref().map_or(facts.cut, |now| now.cut);
        let is_next = match change {
            Change::Appended { first, .. } => *first > facts.last && facts.cut == 1,
            Change::Cut { .. } | Change::Deleted(_) => false,
            _ => true,
        };
        Ok((!is_next).then_some(Wanted { change, task, facts: Some(facts) }))
    }

    fn take(&mut self, change: Change, below: &Below, source: Source) {
        match change {
            Change::Appended { row, first, at } => self.append(row, (first, at), below, source),
            Change::Checkpointed { task, seq, at } => {
                let Some(dirty) = self.active.enter(&task, below, source) else { return };
                let Some(kept) = &mut dirty.now else { return };
                if kept.checkpoint.is_none_or(|(before, _)| before <= seq) {
                    if let Some((_, before)) = kept.checkpoint.replace((seq, at)) {
                        self.live.remove(before);
                    }
                    self.live.add(at);
                }
            }
            Change::Remembered(answer) => self.active.remember(answer),
            Change::Pushed(change) => self.active.push(change, below, source),
            Change::Cut { task, oldest } => {
                let Self { active, live, .. } = self;
                if let Some(dirty) = active.enter(&task, below, source) {
                    dirty.cut(oldest, below.all_chunks.get(&task), live);
                }
            }
            Change::Deleted(task) => {
                let Self { active, live, .. } = self;
                if let Some(dirty) = active.enter(&task, below, Source::Live) {
                    dirty.delete(below.all_chunks.get(&task), below.hooks.get(&task), live);
                    active.note_moved(&task);
                }
            }
        }
    }

    fn append(&mut self, row: TaskRow, (first, at): (u64, Position), below: &Below, source: Source) {
        let Self { active, live, .. } = self;
        if !active.tasks.contains_key(&row.id) {
            let kept = below.tasks.get(&row.id).cloned().flatten();
            // Without its beginning, it is a copy of an entry of a task that has gone.
            if kept.is_none() && first != 1 && source == Source::Live {
                return;
            }
            active.take_in(&row.id, kept, Some(&row));
        }
        let Some(dirty) = active.tasks.get_mut(&row.id) else { return };
        if dirty.now.is_none() {
            if first != 1 && source == Source::Live {
                return;
            }
            dirty.now = Some(Kept::NOTHING);
        }
        let Some(kept) = &mut dirty.now else { return };
        let kept_cut = kept.cut;
        let is_cut = row.last_seq < kept_cut;
        if !is_cut {
            kept.lowest = kept.lowest.min(first);
        }
        let is_newer = row.last_seq > kept.last_seq();
        let place = |row: &TaskRow| (row.state, row.status_timestamp);
        let moves = is_newer && kept.row.as_ref().map(place) != Some(place(&row));
        if moves {
            active.unsettled.note(&row.id, dirty);
        }
        let replaced = match dirty.put_chunk(first, Some(at)) {
            Some(replaced) => replaced,
            None if below.chunks.is_empty() => None,
            None => below.chunks.get(&(row.id.clone(), first)).copied(),
        };
        replaced.into_iter().for_each(|replaced| live.remove(replaced));
        if is_cut {
            dirty.drop_chunk(first);
        } else {
            live.add(at);
            if source == Source::Replay && first <= kept_cut && first > 1 {
                // What lies before it was kept by the cut only because it was not known yet.
                dirty.cut(kept_cut, below.all_chunks.get(&row.id), live);
            }
        }
        if is_newer && let Some(kept) = &mut dirty.now {
            kept.row = Some(row);
        }
        active.bytes += CHUNK_BYTES;
    }
}

impl Layer {
    /// A task that a change is about, taken into this layer if it is below. None if it is nowhere: only a
    /// replay may still find that it exists.
    fn enter(&mut self, task: &Id, below: &Below, source: Source) -> Option<&mut Dirty> {
        if !self.tasks.contains_key(task) {
            let kept = below.tasks.get(task).cloned().flatten();
            if kept.is_none() && source == Source::Live {
                return None;
            }
            let row = kept.as_ref().and_then(|kept| kept.row.clone());
            self.take_in(task, kept, row.as_ref());
        }
        let dirty = self.tasks.get_mut(task)?;
        if dirty.now.is_none() && source == Source::Replay {
            dirty.now = Some(Kept::NOTHING);
        }
        dirty.now.is_some().then_some(dirty)
    }

    /// Takes a task in, with what lies below.
    fn take_in(&mut self, task: &Id, below: Option<Kept>, row: Option<&TaskRow>) {
        self.bytes += TASK_BYTES + if below.is_some() { BELOW_BYTES } else { 0 };
        if let Some(row) = row {
            let texts = [&row.id, &row.context, &row.agent, &row.owner];
            self.bytes += texts.iter().map(|text| TEXT_BYTES + text.len()).sum::<usize>();
        }
        self.insert(task, below);
    }

    fn note_moved(&mut self, task: &Id) {
        if let Some(dirty) = self.tasks.get_mut(task) {
            self.unsettled.note(task, dirty);
        }
    }

    fn remember(&mut self, answer: Remembered) {
        self.bytes += ANSWER_BYTES
            + match &answer.answer {
                Answer::Task { task_id, context_id, .. } => task_id.len() + context_id.len(),
                Answer::Message(message) => message.approximate_size(),
            };
        self.answers.insert(answer.key, answer);
    }

    fn push(&mut self, change: PushChange, below: &Below, source: Source) {
        let PushChange { task, id, config } = change;
        let Some(dirty) = self.enter(&task, below, source) else { return };
        if let Some(kept) = &mut dirty.now {
            kept.hooked |= config.is_some();
        }
        let bytes = HOOK_BYTES + config.as_ref().map_or(0, |config| config.url.len());
        dirty.hooks.insert(id, config);
        self.bytes += bytes;
    }
}

impl Dirty {
    /// Takes a chunk out of what this layer shows. Only what lies below needs a mark that it is gone.
    fn drop_chunk(&mut self, first: u64) {
        if self.below.is_some() {
            self.put_chunk(first, None);
        } else if let Ok(slot) = self.chunks.binary_search_by_key(&first, |(first, _)| *first) {
            self.chunks.remove(slot);
        }
    }

    /// All chunks, those of this layer over those below.
    fn view(&self, below: Option<&BTreeMap<u64, Position>>) -> BTreeMap<u64, Position> {
        let mut view = below.filter(|_| self.below.is_some()).cloned().unwrap_or_default();
        for (first, at) in &self.chunks {
            match at {
                Some(at) => view.insert(*first, *at),
                None => view.remove(first),
            };
        }
        view
    }

    fn cut(&mut self, oldest: u64, below: Option<&BTreeMap<u64, Position>>, live: &mut Live) {
        let view = self.view(below);
        let Some(kept) = &mut self.now else { return };
        kept.cut = kept.cut.max(oldest);
        let cut = kept.cut;
        // A chunk goes if the next one begins early enough; the last one stays.
        let firsts: Vec<u64> = view.keys().copied().collect();
        let gone = firsts.iter().skip(1).take_while(|next| **next <= cut).count();
        if let Some(lowest) = firsts.get(gone) {
            kept.lowest = *lowest;
        }
        for first in &firsts[..gone] {
            view.get(first).into_iter().for_each(|at| live.remove(*at));
        }
        if self.below.is_none() {
            let lowest = firsts.get(gone).copied().unwrap_or(0);
            self.chunks.retain(|(first, _)| *first >= lowest);
        } else {
            for first in &firsts[..gone] {
                self.put_chunk(*first, None);
            }
        }
    }

    fn delete(&mut self, below: Option<&BTreeMap<u64, Position>>, hooks: Option<&Vec<Id>>, live: &mut Live) {
        let Some(kept) = self.now.take() else { return };
        let view = self.view(below);
        self.reborn = true;
        view.values().for_each(|at| live.remove(*at));
        kept.checkpoint.iter().for_each(|(_, at)| live.remove(*at));
        if self.below.is_none() {
            self.chunks = Vec::new();
            self.hooks.clear();
            return;
        }
        let old = below.into_iter().flat_map(BTreeMap::keys).chain(view.keys()).copied();
        let mut gone: Vec<_> = old.chain(self.chunks.iter().map(|(first, _)| *first)).collect();
        gone.sort_unstable();
        gone.dedup();
        self.chunks = gone.into_iter().map(|first| (first, None)).collect();
        self.hooks.values_mut().for_each(|config| *config = None);
        self.hooks.extend(hooks.into_iter().flatten().map(|hook| (hook.clone(), None)));
    }
}

impl Catalog {
    /// What lies below the active layer of a task.
    fn kept_below(&self, frozen: Option<&Layer>, task: &Id) -> Result<Option<Kept>, CatalogError> {
        match frozen.and_then(|frozen| frozen.tasks.get(task)) {
            Some(dirty) => Ok(dirty.now.clone()),
            None => self.kept_on_disk(task),
        }
    }

    fn chunk_below(
        &self,
        frozen: Option<&Layer>,
        task: &Id,
        first: u64,
    ) -> Result<Option<Position>, CatalogError> {
        match frozen.and_then(|frozen| frozen.tasks.get(task)).and_then(|dirty| dirty.chunk(first)) {
            Some(at) => Ok(at),
            None => self.chunk_on_disk(task, first),
        }
    }

    fn chunks_below(
        &self,
        frozen: Option<&Layer>,
        task: &Id,
    ) -> Result<BTreeMap<u64, Position>, CatalogError> {
        let mut chunks = BTreeMap::new();
        let mut prefix = keys::chunk(task, 0);
        prefix.truncate(prefix.len() - 8);
        for entry in self.tables.prefix(&prefix)? {
            let (key, value) = entry?;
            let first = keys::chunk_first(&key).ok_or(super::bad_key())?;
            chunks.insert(first, super::records::position(&value)?);
        }
        let dirty = frozen.and_then(|frozen| frozen.tasks.get(task));
        for (first, at) in dirty.iter().flat_map(|dirty| &dirty.chunks) {
            match at {
                Some(at) => chunks.insert(*first, *at),
                None => chunks.remove(first),
            };
        }
        Ok(chunks)
    }

    pub(super) fn hooks_below(
        &self,
        frozen: Option<&Layer>,
        task: &Id,
    ) -> Result<super::find::Hooks, CatalogError> {
        let mut hooks = self.hooks_on_disk(task)?;
        let dirty = frozen.and_then(|frozen| frozen.tasks.get(task));
        for (id, config) in dirty.iter().flat_map(|dirty| &dirty.hooks) {
            match config {
                Some(config) => hooks.insert(id.clone(), Arc::clone(config)),
                None => hooks.remove(id),
            };
        }
        Ok(hooks)
    }
}

/// Tasks that may wait to be put into the lists: it bounds how long a list has to wait for that.
const MOST_UNSETTLED: usize = 1_024;

// About how many bytes of memory each takes, with what the maps need around it and what the flush adds.
const TASK_BYTES: usize = 600;
const BELOW_BYTES: usize = 200;
const TEXT_BYTES: usize = 16;
const CHUNK_BYTES: usize = 32;
const ANSWER_BYTES: usize = 220;
const HOOK_BYTES: usize = 400;
