//! What is on the disk is cut short, flipped or taken away. Either the store holds everything, or it says at
//! start what is wrong; it never holds less without a word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::dice::Dice;
use crate::history::History;
use crate::program::{Ending, Order, Program};
use crate::recorded::{Recorded, order, record};
use crate::recording::{Node, What};
use crate::scratch::{Scratch, Tree};
use crate::settings::{long, setting};
use crate::subject::Subject;
use crate::verify::{MORE, Stands, Trial, for_each};

/// A store at rest, and what it holds.
struct AtRest {
    tree: Tree,
    groups: usize,
    history: History,
}

impl AtRest {
    /// After a clean stop, or a `kill -9`.
    fn after(ending: Ending, seed: u64) -> Self {
        let scratch = Scratch::new();
        let order = Order { ending, ..order(Subject::Store, seed, &scratch) };
        let groups = order.to;
        let program = Program::new(order.clone());
        let ran =
            if ending == Ending::Stay { program.kill_when(|ledger| ledger.is_done) } else { program.run() };
        assert!(ran.ledger.is_done && !ran.hung, "{ran:?}");
        assert_eq!(ran.status.success(), ending == Ending::Close, "{ran:?}");
        Self { tree: Tree::read(&order.directory), groups, history: History::of(seed, groups + MORE) }
    }

    /// How the store stands when this is on the disk instead: whole, or refused without having changed the log.
    fn stands(&self, tree: &Tree) -> Result<Stands, String> {
        let scratch = Scratch::new();
        let directory = scratch.join("store");
        tree.write(&directory);
        let subject = Subject::Store;
        let trial = Trial { subject, directory: &directory, history: &self.history, goes_on: true };
        let stands = trial.verify(self.groups..=self.groups)?;
        if let Stands::Refused(_) = &stands {
            let mut now = Tree::read(&directory);
            let mut before = tree.clone();
            for tree in [&mut now, &mut before] {
                tree.0.retain(|path, _| path.starts_with("log"));
            }
            if let Some(difference) = now.difference(&before) {
                return Err(format!("it refuses, and has changed the log: {difference}"));
            }
        }
        Ok(stands)
    }
}

/// How often the store stood in which way.
#[derive(Debug, Default)]
struct Tally(Mutex<BTreeMap<String, usize>>);

impl Tally {
    fn count(&self, what: &str, stands: &Stands) {
        let how = match stands {
            Stands::Whole(_) => "whole",
            Stands::Refused(_) => "refused",
        };
        *self.0.lock().expect("whole").entry(format!("{what}: {how}")).or_default() += 1;
    }

    fn of(&self, what: &str) -> usize {
        self.0.lock().expect("whole").get(what).copied().unwrap_or(0)
    }
}

/// What a file is for: its directory, or its name at the top.
fn kind(path: &Path) -> String {
    path.iter().next().map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
}

fn flips(ending: Ending) {
    let seed = setting("A2A_WEBCAP_DURABLE_SEED").unwrap_or(1);
    let rest = AtRest::after(ending, seed);
    let files: Vec<_> = rest.tree.files().map(|(path, bytes)| (path.to_owned(), written(bytes))).collect();
    let tally = Tally::default();
    let flipped = for_each(long(1_250, 6_000), |number| {
        let mut dice = Dice::new(seed << 32 | number as u64);
        let (path, place, bits) = flip(&files, &mut dice);
        let mut tree = rest.tree.clone();
        let Some(Some(bytes)) = tree.0.get_mut(&path) else { unreachable!("it is a file") };
        match bytes.get_mut(place) {
            Some(byte) => *byte ^= bits,
            None => bytes.push(bits),
        }
        let what = format!("seed {seed}, number {number}: {} at {place} ^ {bits:#04x}", path.display());
        let stands = rest.stands(&tree).map_err(|reason| format!("{what}: {reason}"))?;
        tally.count(&kind(&path), &stands);
        Ok(())
    });
    println!("{ending:?}: {tally:?}");
    flipped.unwrap_or_else(|reason| panic!("{reason}"));
}

/// Without the zeros at the end, but for some: the log is written over such.
fn written(bytes: &[u8]) -> usize {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.len().min(end + 64)
}

/// Any byte of all, or of any file; beyond the end of an empty one.
fn flip(files: &[(PathBuf, usize)], dice: &mut Dice) -> (PathBuf, usize, u8) {
    let (path, place) = if dice.percent(50) {
        let (path, bytes) = dice.pick(files).clone();
        (path, dice.under(bytes))
    } else {
        let mut place = dice.under(files.iter().map(|(_, bytes)| bytes).sum());
        let at = files.iter().find(|(_, bytes)| {
            let is_here = place < *bytes;
            place -= if is_here { 0 } else { *bytes };
            is_here
        });
        (at.expect("the place is in one of them").0.clone(), place)
    };
    let bits = if dice.percent(70) { 1 << dice.under(8) } else { dice.next().to_le_bytes()[0].max(1) };
    (path, place, bits)
}

#[test]
fn no_flipped_byte_goes_unnoticed_after_a_clean_stop() {
    flips(Ending::Close);
}

#[test]
fn no_flipped_byte_goes_unnoticed_after_a_kill() {
    flips(Ending::Stay);
}

/// Where the newest segment ended, as far as it was durable, when each group was acknowledged.
fn ends(recorded: &Recorded, newest: Node) -> Vec<(usize, usize)> {
    let steps = &recorded.recording.steps;
    let durable_at = |line: usize| {
        let syncs = steps
            .iter()
            .filter(|step| step.end < line && matches!(step.what, What::Sync { node } if node == newest));
        let synced = syncs.map(|step| step.begin).max().unwrap_or(0);
        let ends = steps.iter().filter(|step| step.end < synced).filter_map(|step| match &step.what {
            // Not what makes the file longer for later.
            What::Write { node, at, bytes } if *node == newest && bytes.iter().any(|byte| *byte != 0) => {
                Some(at + bytes.len())
            }
            _ => None,
        });
        ends.max().unwrap_or(0)
    };
    let acknowledged = recorded.recording.ledger.iter().filter_map(|(line, text)| {
        let number = text.strip_prefix("acknowledged ")?.parse().ok()?;
        Some((number, durable_at(*line)))
    });
    acknowledged.collect()
}

/// Cuts the newest segment of a store at many places. Where nothing is lost that was acknowledged, it must start.
fn tear(subject: Subject, positions: usize) -> Tally {
    let seed = setting("A2A_WEBCAP_DURABLE_SEED").unwrap_or(1);
    let scratch = Scratch::new();
    let order = Order { ending: Ending::Leave, ..order(subject, seed, &scratch) };
    let recorded = record(order, Tree::default());
    let tree = Tree::read(&recorded.order.directory);
    let newest = tree.files().map(|(path, _)| path).filter(|path| path.starts_with("log")).max();
    let newest = newest.expect("there is a log").to_owned();
    let ends = ends(&recorded, recorded.recording.node_after(&newest).expect("it was recorded"));
    let whole = tree.0[&newest].clone().unwrap_or_default();
    let bytes = written(&whole);
    let (positions, tally) = (positions.min(bytes), Tally::default());
    let torn = for_each(positions, |number| {
        // Every byte of the end, and the others evenly.
        let cut = if number < positions / 2 { bytes - 1 - number } else { number * bytes / positions };
        let least = ends.iter().filter(|(_, end)| *end <= cut).map(|(number, _)| *number).max().unwrap_or(0);
        let mut left = whole[..cut].to_vec();
        if number % 2 == 0 {
            // What was to go over zeros has not.
            left.resize(whole.len(), 0);
        }
        let mut torn = tree.clone();
        torn.0.insert(newest.clone(), Some(left));
        let scratch = Scratch::new();
        let directory = scratch.join("store");
        torn.write(&directory);
        let goes_on = number % 8 == 0;
        let trial = Trial { subject, directory: &directory, history: &recorded.history, goes_on };
        let what = format!("seed {seed}: {} cut at {cut} of {bytes}", newest.display());
        match trial.verify(least..=recorded.order.to).map_err(|reason| format!("{what}: {reason}"))? {
            Stands::Refused(reason) if least == recorded.order.to => {
                Err(format!("{what}: refused: {reason}"))
            }
            stands => {
                tally.count("torn", &stands);
                Ok(())
            }
        }
    });
    println!("{positions} of {bytes} bytes: {tally:?}");
    torn.unwrap_or_else(|reason| panic!("{reason}"));
    tally
}

#[test]
fn a_torn_tail_costs_nothing_that_ends_before_it() {
    let tally = tear(Subject::Roomy, long(4_096, 65_536));
    assert_eq!(tally.of("torn: refused"), 0, "the catalog knows of nothing that could be missed");
}

#[test]
fn a_torn_tail_of_a_log_that_was_written_down_is_cut_off_or_refused() {
    tear(Subject::Store, long(512, 65_536));
}

/// After a clean stop, when the catalog knows of everything. Otherwise a first segment that is missing looks like
/// one that was collected.
#[test]
fn a_missing_file_is_noticed() {
    let seed = setting("A2A_WEBCAP_DURABLE_SEED").unwrap_or(1);
    let (rest, tally) = (AtRest::after(Ending::Close, seed), Tally::default());
    let files: Vec<_> = rest.tree.files().map(|(path, _)| path.to_owned()).collect();
    let missed = for_each(files.len(), |number| {
        let path = &files[number];
        let mut tree = rest.tree.clone();
        tree.0.remove(path);
        let stands = rest.stands(&tree);
        let stands = stands.map_err(|reason| format!("seed {seed}, without {}: {reason}", path.display()))?;
        tally.count(&kind(path), &stands);
        Ok(())
    });
    println!("{tally:?}");
    missed.unwrap_or_else(|reason| panic!("{reason}"));
}
