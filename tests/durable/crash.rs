//! What a power loss may leave of a recorded run.
//!
//! What was on the disk by a sync that had ended is there. Of everything else the dice decide: files and
//! names are kept or lost in the order of a journal, or each for itself; writes are there, absent, torn, or there
//! in some blocks and not in others; a file may have its new length and zeros, or what some other file held,
//! where its bytes should be.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::dice::Dice;
use crate::recording::{Content, Node, ROOT, Recording, Step, What, overwrite};
use crate::scratch::Tree;

/// Makes the states that power losses may leave of one recording.
pub(crate) struct Losses<'a> {
    recording: &'a Recording,
    /// The steps that change each file's content.
    of_file: HashMap<Node, Vec<usize>>,
    /// The steps that change names.
    names: Vec<usize>,
    /// When each node was synced: begin and end.
    syncs: HashMap<Node, Vec<(usize, usize)>>,
}

/// One state, and whether it is one that was seen before.
pub(crate) struct Left {
    pub(crate) tree: Tree,
    /// Two states with the same number are the same.
    pub(crate) fingerprint: u64,
    /// What the disk was like, for those who look into a failure.
    pub(crate) disk: String,
}

impl<'a> Losses<'a> {
    pub(crate) fn of(recording: &'a Recording) -> Self {
        let (mut of_file, mut syncs) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        let mut names = Vec::new();
        for (index, step) in recording.steps.iter().enumerate() {
            match &step.what {
                What::Write { node, .. } | What::Resize { node, .. } => {
                    of_file.entry(*node).or_default().push(index);
                }
                What::Make { .. } | What::Rename { .. } | What::Remove { .. } => names.push(index),
                What::Sync { node } => syncs.entry(*node).or_default().push((step.begin, step.end)),
            }
        }
        Self { recording, of_file, names, syncs }
    }

    /// What is left if the power goes when the trace has come to line `cut`.
    pub(crate) fn at(&self, cut: usize, seed: u64) -> Left {
        let mut dice = Dice::new(seed ^ (cut as u64) << 32);
        let ended = |spans: &Vec<(usize, usize)>| {
            spans.iter().filter(|(_, end)| *end < cut).map(|(begin, _)| *begin).max().unwrap_or(0)
        };
        let disk = Disk {
            losses: self,
            cut,
            synced: self.syncs.iter().map(|(node, spans)| (*node, ended(spans))).collect(),
            is_journal: dice.percent(40),
            stale: dice.percent(8),
            granule: if dice.percent(50) { 512 } else { 4096 },
            chance: *dice.pick(&[0, 10, 50, 90, 100]),
        };
        disk.left(&mut dice)
    }
}

/// A disk after a power loss.
struct Disk<'a> {
    losses: &'a Losses<'a>,
    cut: usize,
    /// When the last sync of each node began that had ended before the cut.
    synced: HashMap<Node, usize>,
    /// Whether names and lengths are kept in the order in which they changed.
    is_journal: bool,
    /// Whether a place that was never written may hold what another file held.
    stale: bool,
    /// The bytes that are written as a whole.
    granule: usize,
    /// The chance of what is not synced to be there, in percent.
    chance: usize,
}

/// The names that were kept.
struct Names<'a> {
    directories: HashMap<Node, BTreeMap<&'a str, Node>>,
    /// The last step that a journal has kept.
    journal: usize,
}

/// The bytes of one file that were kept, and how they came about.
struct Kept {
    bytes: Vec<u8>,
    /// How long the file must be at least, and how long it was.
    sizes: (usize, usize),
    fingerprint: u64,
}

impl Disk<'_> {
    fn steps(&self) -> &[Step] {
        &self.losses.recording.steps
    }

    fn has_begun(&self, index: usize) -> bool {
        self.steps()[index].begin < self.cut
    }

    /// Whether a step is safe by a sync of a node that began after it and has ended.
    fn is_safe(&self, index: usize, node: Node) -> bool {
        self.synced.get(&node).is_some_and(|begin| self.steps()[index].end < *begin)
    }

    /// The directory whose sync makes a change of names safe.
    fn names_of(&self, index: usize) -> Node {
        match &self.steps()[index].what {
            What::Make { parent, .. } | What::Remove { parent, .. } => *parent,
            What::Rename { to, .. } => to.0,
            _ => unreachable!("not a change of names"),
        }
    }

    fn left(&self, dice: &mut Dice) -> Left {
        let begun: Vec<_> =
            self.losses.names.iter().copied().filter(|index| self.has_begun(*index)).collect();
        let safe = |index: &usize| self.is_safe(*index, self.names_of(*index));
        // In a journal's order, everything before a safe change is safe too.
        let must = begun.iter().rposition(safe).map_or(0, |last| last + 1);
        let journal = must + dice.under(begun.len() - must + 1);
        let last = begun.get(..journal).and_then(<[_]>::last).copied().unwrap_or(0);
        let mut directories: HashMap<Node, BTreeMap<&str, Node>> = HashMap::new();
        for (node, content) in self.losses.recording.before.iter().enumerate() {
            if let Content::Directory(entries) = content {
                let entries = entries.iter().map(|(name, node)| (name.as_str(), *node));
                directories.insert(node, entries.collect());
            }
        }
        for (place, index) in begun.iter().enumerate() {
            let kept =
                if self.is_journal { place < journal } else { safe(index) || dice.percent(self.chance) };
            if kept {
                self.rename(*index, &mut directories);
            }
        }
        let disk = format!(
            "journal: {}, stale: {}, blocks of {}, {} % of what was not synced",
            self.is_journal, self.stale, self.granule, self.chance
        );
        let mut left = Left { tree: Tree::default(), fingerprint: 0, disk };
        let names = Names { directories, journal: last };
        self.harvest((ROOT, Path::new("")), &names, dice, &mut left);
        left
    }

    /// Does a change of names, if it can be done: what it builds on may be lost.
    fn rename<'s>(&'s self, index: usize, directories: &mut HashMap<Node, BTreeMap<&'s str, Node>>) {
        match &self.steps()[index].what {
            What::Make { parent, name, node } => {
                directories.entry(*parent).or_default().insert(name, *node);
            }
            What::Remove { parent, name } => {
                directories.entry(*parent).or_default().remove(name.as_str());
            }
            What::Rename { from, to } => {
                if let Some(node) = directories.entry(from.0).or_default().remove(from.1.as_str()) {
                    directories.entry(to.0).or_default().insert(&to.1, node);
                }
            }
            _ => {}
        }
    }

    fn harvest(&self, (node, path): (Node, &Path), names: &Names<'_>, dice: &mut Dice, left: &mut Left) {
        for (name, node) in names.directories.get(&node).into_iter().flatten() {
            let path = path.join(name);
            left.fingerprint = mix(left.fingerprint, *node as u64);
            for byte in name.bytes() {
                left.fingerprint = mix(left.fingerprint, byte.into());
            }
            if matches!(self.losses.recording.after[*node], Content::Directory(_)) {
                left.tree.0.insert(path.clone(), None);
                self.harvest((*node, &path), names, dice, left);
            } else {
                let kept = self.content(*node, names.journal, dice);
                left.fingerprint = mix(left.fingerprint, kept.fingerprint);
                left.tree.0.insert(path, Some(kept.bytes));
            }
        }
    }

    /// A file's bytes. `journal` is the last step that a journal has kept.
    fn content(&self, node: Node, journal: usize, dice: &mut Dice) -> Kept {
        let before = match self.losses.recording.before.get(node) {
            Some(Content::File(bytes)) => bytes.clone(),
            _ => Vec::new(),
        };
        let mut kept = Kept { sizes: (before.len(), before.len()), bytes: before, fingerprint: 1 };
        let steps = self.losses.of_file.get(&node).map_or(&[][..], Vec::as_slice);
        let begun = || steps.iter().copied().filter(|index| self.has_begun(*index));
        let (safe, open): (Vec<_>, Vec<_>) = begun().partition(|index| self.is_safe(*index, node));
        for index in &safe {
            match &self.steps()[*index].what {
                What::Write { at, bytes, .. } => overwrite(&mut kept.bytes, *at, bytes),
                What::Resize { bytes, .. } => kept.bytes.resize(*bytes, 0),
                _ => {}
            }
        }
        kept.fingerprint = mix(kept.fingerprint, safe.len() as u64);
        let synced = kept.bytes.len();
        kept.sizes = (synced, synced);
        if self.is_journal || dice.percent(30) {
            self.in_order(&open, journal, &mut kept, dice);
        } else {
            self.in_disorder(&open, &mut kept, dice);
        }
        kept.bytes.resize(kept.sizes.0, 0);
        if self.stale && kept.bytes.len() > synced {
            self.dirty(node, &mut kept, synced, dice);
        }
        kept.fingerprint = mix(kept.fingerprint, kept.bytes.len() as u64);
        kept
    }

    /// Some of the writes, the last of them torn.
    fn in_order(&self, open: &[usize], journal: usize, kept: &mut Kept, dice: &mut Dice) {
        let count = if dice.percent(20) { open.len() } else { dice.under(open.len() + 1) };
        for (place, index) in open.iter().enumerate().take(count + 1) {
            match &self.steps()[*index].what {
                What::Write { at, bytes, .. } => {
                    let whole = place < count;
                    let part = if whole { bytes.len() } else { dice.under(bytes.len() + 1) };
                    let part = if whole || dice.percent(50) { part } else { part - part % self.granule };
                    if part > 0 {
                        overwrite(&mut kept.bytes, *at, &bytes[..part]);
                    }
                    kept.fingerprint = mix(kept.fingerprint, (*index as u64) << 32 | part as u64);
                }
                What::Resize { bytes, .. } if !self.is_journal || *index <= journal => {
                    kept.bytes.resize(*bytes, 0);
                    kept.fingerprint = mix(kept.fingerprint, *index as u64);
                }
                _ => {}
            }
        }
        kept.sizes = (kept.bytes.len(), kept.bytes.len());
    }

    /// Each block as it was after any of the writes that touch it.
    fn in_disorder(&self, open: &[usize], kept: &mut Kept, dice: &mut Dice) {
        let seed = dice.next();
        for index in open {
            match &self.steps()[*index].what {
                What::Write { .. } => self.scatter(*index, seed, kept),
                What::Resize { bytes, .. } if dice.percent(self.chance) => {
                    kept.bytes.resize(*bytes, 0);
                    kept.sizes = (*bytes, *bytes);
                    kept.fingerprint = mix(kept.fingerprint, *index as u64);
                }
                _ => {}
            }
        }
        let (least, most) = kept.sizes;
        kept.sizes.0 = match dice.under(3) {
            0 => least,
            1 => most,
            _ => least + dice.under(most - least + 1),
        };
    }

    fn scatter(&self, index: usize, seed: u64, kept: &mut Kept) {
        let What::Write { at, bytes, .. } = &self.steps()[index].what else { return };
        let end = at + bytes.len();
        kept.sizes.1 = kept.sizes.1.max(end);
        let mut from = *at;
        while from < end {
            let to = ((from / self.granule + 1) * self.granule).min(end);
            // One decision for a block: it was last written out after this one of the writes.
            let mut block = Dice::new(seed ^ (from / self.granule) as u64);
            let (is_there, until) = (block.percent(self.chance), block.under(self.steps().len()));
            let written_out = if block.percent(50) { is_there } else { is_there && index <= until };
            if written_out {
                overwrite(&mut kept.bytes, from, &bytes[from - at..to - at]);
                kept.sizes.0 = kept.sizes.0.max(to);
                kept.fingerprint = mix(kept.fingerprint, (index as u64) << 32 | from as u64);
            }
            from = to;
        }
    }

    /// Fills blocks of zeros beyond what was synced with what an older file holds in the same place.
    fn dirty(&self, node: Node, kept: &mut Kept, synced: usize, dice: &mut Dice) {
        // Files that are older, and were finished before.
        let is_over = |node: Node| {
            let last = self.losses.of_file.get(&node).and_then(|steps| steps.last());
            last.is_none_or(|last| self.steps()[*last].end < self.cut)
        };
        let older = self.losses.recording.after.iter().enumerate().take(node);
        let files = older.filter(|(node, _)| is_over(*node)).filter_map(|(_, content)| match content {
            Content::File(bytes) if bytes.len() > synced => Some(bytes),
            _ => None,
        });
        let files: Vec<_> = files.collect();
        if files.is_empty() {
            return;
        }
        let other = *dice.pick(&files);
        let mut from = synced.next_multiple_of(self.granule);
        while from < kept.bytes.len() {
            let to = (from + self.granule).min(kept.bytes.len());
            let is_empty = kept.bytes[from..to].iter().all(|byte| *byte == 0);
            if is_empty && to <= other.len() && dice.percent(50) {
                kept.bytes[from..to].copy_from_slice(&other[from..to]);
                kept.fingerprint = mix(kept.fingerprint, from as u64 ^ 0xd1e7);
            }
            from = to;
        }
    }
}

fn mix(state: u64, value: u64) -> u64 {
    (state ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}
