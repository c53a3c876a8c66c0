//! System calls of the store fail, one in each run: the program must end by itself and say so, and what it has
//! acknowledged must be there when it is started again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use crate::dice::Dice;
use crate::history::History;
use crate::program::{Order, Program, Ran};
use crate::recorded::order;
use crate::scratch::Scratch;
use crate::settings::{long, setting};
use crate::subject::Subject;
use crate::toy::Vice;
use crate::trace::{Call, calls};
use crate::verify::{MORE, Stands, Trial, for_each};

/// The calls that are made to fail.
pub(crate) const WATCHED: [&str; 17] = [
    "openat",
    "read",
    "pread64",
    "getdents64",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "mkdir",
];

/// One fault: which call fails, at which of its times in a thread, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    pub(crate) call: String,
    pub(crate) time: usize,
    pub(crate) error: &'static str,
}

impl Fault {
    /// What strace is told. Calls on other paths neither fail nor count.
    pub(crate) fn arguments(&self, paths: &BTreeSet<String>) -> Vec<String> {
        // A full disk has room again after a while; anything else happens once.
        let times = if self.error == "ENOSPC" {
            format!("{}..{}", self.time, self.time + 2)
        } else {
            self.time.to_string()
        };
        let mut arguments = watched(paths);
        arguments.push("-e".to_owned());
        arguments.push(format!("inject={}:error={}:when={times}", self.call, self.error));
        arguments
    }
}

/// Traces the calls that may fail, on these paths.
pub(crate) fn watched(paths: &BTreeSet<String>) -> Vec<String> {
    let mut arguments = vec!["-e".to_owned(), format!("trace={}", WATCHED.join(","))];
    for path in paths {
        arguments.extend(["-P".to_owned(), path.clone()]);
    }
    arguments
}

/// The paths under a directory that calls were about.
pub(crate) fn paths(calls: &[Call], directory: &Path) -> BTreeSet<String> {
    let mut paths = BTreeSet::from([directory.display().to_string()]);
    for call in calls {
        let named = (0..call.arguments.len()).filter(|index| call.arguments[*index].starts_with('"'));
        let named = named.filter(|_| names_paths(call)).map(|index| call.path(index));
        let all = named.chain(call.path_of_descriptor(0));
        paths.extend(all.filter(|path| Path::new(path).starts_with(directory)));
    }
    paths
}

/// Whether its texts are paths, and not what is read or written.
fn names_paths(call: &Call) -> bool {
    !call.name.contains("read") && !call.name.contains("write")
}

/// Every fault that a run like this one could meet.
pub(crate) fn faults(calls: &[Call]) -> Vec<Fault> {
    let mut times: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    let mut faults = BTreeSet::new();
    for call in calls.iter().filter(|call| WATCHED.contains(&call.name.as_str())) {
        let time = times.entry((&call.name, call.thread)).or_default();
        *time += 1;
        let full =
            call.name.contains("write") || ["openat", "mkdir", "fallocate"].contains(&call.name.as_str());
        for error in ["EIO"].into_iter().chain(full.then_some("ENOSPC")) {
            faults.insert(Fault { call: call.name.clone(), time: *time, error });
        }
    }
    faults.into_iter().collect()
}

/// The first and last of each kind, and some of the others.
pub(crate) fn some(faults: Vec<Fault>, most: usize, dice: &mut Dice) -> Vec<Fault> {
    let mut kinds: BTreeMap<(String, &str), Vec<Fault>> = BTreeMap::new();
    for fault in faults {
        kinds.entry((fault.call.clone(), fault.error)).or_default().push(fault);
    }
    let (mut chosen, mut others) = (Vec::new(), Vec::new());
    for mut kind in kinds.into_values() {
        let late = kind.split_off(kind.len().saturating_sub(2));
        let rest = kind.split_off(kind.len().min(4));
        chosen.extend(kind.into_iter().chain(late));
        others.extend(rest);
    }
    while chosen.len() < most && !others.is_empty() {
        chosen.push(others.swap_remove(dice.under(others.len())));
    }
    chosen
}

/// What has failed in a run: the call, and which part of the store it was about.
pub(crate) fn injected(trace: &str, directory: &Path) -> BTreeSet<String> {
    let injected = calls(trace).into_iter().filter(|call| call.injected);
    let sites = injected.map(|call| {
        let first = (0..call.arguments.len()).find(|index| call.arguments[*index].starts_with('"'));
        let named = first.filter(|_| names_paths(&call)).map(|index| call.path(index));
        let path = named.or_else(|| call.path_of_descriptor(0)).unwrap_or_default();
        let inside = Path::new(&path).strip_prefix(directory).ok();
        let part =
            inside.and_then(|inside| inside.iter().next()).map(|part| part.to_string_lossy().into_owned());
        // Making a file is something else than looking into one.
        let makes = call.says(2, "O_CREAT");
        let name = if makes { format!("{} to write", call.name) } else { call.name };
        format!("{name} on {}", part.as_deref().unwrap_or("the directory"))
    });
    sites.collect()
}

/// How runs with a fault ended, by what had failed.
#[derive(Debug, Default)]
pub(crate) struct Endings(Mutex<BTreeMap<String, [usize; 2]>>);

impl Endings {
    pub(crate) fn count(&self, site: &str, gave_up: bool) {
        self.0.lock().expect("whole").entry(site.to_owned()).or_default()[usize::from(gave_up)] += 1;
    }

    /// A line for each site.
    pub(crate) fn report(&self) -> String {
        let endings = self.0.lock().expect("whole");
        let lines = endings.iter().map(|(site, [on, up])| format!("{site}: {up} gave up, {on} went on"));
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn total(&self) -> usize {
        self.0.lock().expect("whole").values().map(|[on, up]| on + up).sum()
    }
}

/// Whether a store may go on after this has failed.
fn may_go_on(site: &str, error: &str) -> Option<&'static str> {
    let (call, part) = site.split_once(" on ")?;
    match (call, part) {
        _ if error == "ENOSPC" => Some("a full disk is waited out"),
        ("unlink" | "unlinkat", _) => Some("a file too many costs room and nothing else"),
        (_, "catalog") => Some("it is derived: what is not written down stays in memory and in the log"),
        ("openat" | "read" | "pread64", "log") => Some("what is only read for upkeep is read again"),
        _ => None,
    }
}

/// Lets a run meet a fault, and the next one not.
fn meet(subject: Subject, fault: &Fault, seed: u64, known: &Known, endings: &Endings) -> Result<(), String> {
    let scratch = Scratch::new();
    let order = Order { to: known.groups, ..order(subject, seed, &scratch) };
    let trace = scratch.join("strace");
    // The paths of the first run, as they are called here.
    let paths = known.paths.iter().map(|path| order.directory.join(path).display().to_string()).collect();
    let ran = Program::new(order.clone()).trace(&fault.arguments(&paths), &trace);
    let sites = injected(&fs::read_to_string(&trace).expect("a trace"), &order.directory);
    judge(&ran, fault, &sites, endings).map_err(|reason| format!("{reason}: {ran:?}"))?;
    let trial = Trial { subject, directory: &order.directory, history: &known.history, goes_on: true };
    match trial.verify(ran.ledger.acknowledged..=order.to) {
        Ok(Stands::Whole(_)) => Ok(()),
        Ok(Stands::Refused(reason)) => Err(format!("it does not start again: {reason}: {ran:?}")),
        Err(reason) => Err(format!("afterwards {reason}: {ran:?}")),
    }
}

fn judge(ran: &Ran, fault: &Fault, sites: &BTreeSet<String>, endings: &Endings) -> Result<(), String> {
    let gave_up = !ran.status.success();
    if ran.hung {
        return Err("it hangs".to_owned());
    }
    if ran.said.contains("panicked at") {
        return Err("it panicked".to_owned());
    }
    if gave_up && ran.ledger.failure.is_none() {
        return Err("it has not said why it ended".to_owned());
    }
    judge_sites(sites, fault, gave_up, endings)
}

/// Counts how a run ended, and says whether it should have ended in another way.
pub(crate) fn judge_sites(
    sites: &BTreeSet<String>,
    fault: &Fault,
    gave_up: bool,
    endings: &Endings,
) -> Result<(), String> {
    for site in sites {
        endings.count(&format!("{site}, {}", fault.error), gave_up);
    }
    let excused = sites.iter().all(|site| may_go_on(site, fault.error).is_some());
    if !gave_up && !excused {
        return Err(format!("it went on as if {sites:?} had not failed"));
    }
    if sites.is_empty() && gave_up {
        return Err("it gave up, and nothing had failed".to_owned());
    }
    Ok(())
}

/// What a run without a fault has shown.
struct Known {
    /// Relative to the store's directory.
    paths: BTreeSet<std::path::PathBuf>,
    history: History,
    faults: Vec<Fault>,
    /// Of one run.
    groups: usize,
}

impl Known {
    fn of(subject: Subject, seed: u64, groups: usize) -> Self {
        let scratch = Scratch::new();
        let order = Order { to: groups, ..order(subject, seed, &scratch) };
        let output = scratch.join("strace");
        let all = ["-e".to_owned(), format!("trace={},close", WATCHED.join(","))];
        let ran = Program::new(order.clone()).trace(&all, &output);
        assert!(ran.status.success(), "{ran:?}");
        let calls = calls(&fs::read_to_string(&output).expect("a trace"));
        let paths = paths(&calls, &order.directory);
        // Only what is about the store counts.
        let ours = |call: &Call| !self::paths(std::slice::from_ref(call), Path::new("/")).is_disjoint(&paths);
        let ours: Vec<_> = calls.into_iter().filter(ours).collect();
        let inside = |path: &String| Path::new(path).strip_prefix(&order.directory).ok().map(Path::to_owned);
        let history = History::of(seed, groups + MORE);
        Self { paths: paths.iter().filter_map(inside).collect(), history, faults: faults(&ours), groups }
    }
}

/// Lets runs meet these faults, each one of them.
fn torment(subject: Subject, seed: u64, known: &Known, chosen: &[Fault]) -> Result<Endings, String> {
    println!("{} of {} faults", chosen.len(), known.faults.len());
    let endings = Endings::default();
    let wrong = Mutex::new(Vec::new());
    for_each(chosen.len(), |number| {
        let fault = &chosen[number];
        if let Err(reason) = meet(subject, fault, seed, known, &endings) {
            wrong.lock().expect("whole").push(format!("seed {seed}, {fault:?}: {reason}"));
        }
        Ok(())
    })?;
    println!("{}", endings.report());
    let wrong = wrong.into_inner().expect("whole");
    if wrong.is_empty() { Ok(endings) } else { Err(wrong.join("\n")) }
}

#[test]
fn a_log_that_ignores_errors_is_found_out() {
    let toy = Subject::Toy { seed: 11, vice: Vice::IgnoresErrors };
    let known = Known::of(toy, 11, 60);
    let chosen = some(known.faults.clone(), 20, &mut Dice::new(11));
    let reason = torment(toy, 11, &known, &chosen).expect_err("it acknowledges what it could not write");
    assert!(reason.contains("went on as if"), "{reason}");
}

#[test]
fn no_failing_call_is_passed_over_and_the_next_start_finds_everything() {
    let seed = setting("A2A_WEBCAP_DURABLE_SEED").unwrap_or(1);
    let known = Known::of(Subject::Store, seed, 60);
    let chosen = some(known.faults.clone(), long(150, usize::MAX), &mut Dice::new(seed));
    let endings = torment(Subject::Store, seed, &known, &chosen).unwrap_or_else(|reason| panic!("{reason}"));
    assert!(endings.total() > 60, "only {} faults were met", endings.total());
}

/// In a longer run, since the catalog is not read before it has been written down.
#[test]
fn no_failing_read_of_the_catalog_loses_what_was_acknowledged() {
    let first = setting("A2A_WEBCAP_DURABLE_SEED").unwrap_or(1);
    for seed in first..first + long(1, 10) as u64 {
        let mut known = Known::of(Subject::Store, seed, 260);
        known.faults.retain(|fault| fault.call == "pread64");
        torment(Subject::Store, seed, &known, &known.faults).unwrap_or_else(|reason| panic!("{reason}"));
    }
}
