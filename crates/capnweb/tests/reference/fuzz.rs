//! Random legal scripts, played against this crate and against the npm reference.
//!
//! A run plays the seeds 0 to 499; `A2A_WEBCAP_LONG=1` makes them 20,000. `A2A_WEBCAP_FUZZ_FROM` sets the first
//! one, `A2A_WEBCAP_FUZZ_SCRIPTS` how many; `A2A_WEBCAP_FUZZ_SEED` plays one and prints what was said.

use std::{env, slice};

use crate::node::{self, Reference};
use crate::play::{Outcome, Peer, difference, play};
use crate::script::Act;
use crate::support::Ours;
use crate::writer::script;

const SCRIPTS: u64 = 500;
const LONG: u64 = 20_000;
/// Scripts that are played at the same time.
const BATCH: usize = 250;

#[test]
fn no_legal_script_tells_this_crate_from_the_reference() {
    if !node::is_here("the differential fuzz") {
        return;
    }
    let mut theirs = Reference::start();
    if let Some(seed) = setting("A2A_WEBCAP_FUZZ_SEED") {
        let script = script(seed);
        let (our, their) = both(slice::from_ref(&script), &mut theirs).remove(0);
        println!("{}", told(&our));
        report(seed, &script, &our, &their, &mut theirs);
        return;
    }
    let long = env::var_os("A2A_WEBCAP_LONG").is_some();
    let first = setting("A2A_WEBCAP_FUZZ_FROM").unwrap_or(0);
    let count = setting("A2A_WEBCAP_FUZZ_SCRIPTS").unwrap_or(if long { LONG } else { SCRIPTS });
    let seeds: Vec<u64> = (first..first + count).collect();
    for seeds in seeds.chunks(BATCH) {
        let scripts: Vec<Vec<Act>> = seeds.iter().map(|seed| script(*seed)).collect();
        for ((seed, script), (our, their)) in seeds.iter().zip(&scripts).zip(both(&scripts, &mut theirs)) {
            report(*seed, script, &our, &their, &mut theirs);
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Plays scripts against both.
fn both(scripts: &[Vec<Act>], theirs: &mut Reference) -> Vec<(Outcome, Outcome)> {
    play(scripts, &mut Ours::default()).into_iter().zip(play(scripts, theirs as &mut dyn Peer)).collect()
}

/// Fails with the shortest script that shows the difference, if there is one.
fn report(seed: u64, script: &[Act], our: &Outcome, their: &Outcome, theirs: &mut Reference) {
    let Some(first) = wrong(our, their) else { return };
    let mut short = script.to_vec();
    let mut last = first;
    while let Some((shorter, difference)) = shorter(&short, theirs) {
        short = shorter;
        last = difference;
    }
    let acts: Vec<String> = short.iter().map(|act| format!("{act:?}")).collect();
    panic!("A2A_WEBCAP_FUZZ_SEED={seed}\n{}\n\n{last}", acts.join("\n"));
}

/// What is wrong with a script's outcomes: they differ, a legal script ended the session, or we keep something
/// that the client has given back.
fn wrong(our: &Outcome, their: &Outcome) -> Option<String> {
    difference(our, their).or_else(|| {
        let ended = our.said.iter().any(|said| said.ended);
        if ended {
            return Some("a legal script has ended the session".to_owned());
        }
        ((our.exports, our.imports) != (1, 0))
            .then(|| format!("left in our tables: {} exports, {} imports", our.exports, our.imports))
    })
}

/// The script with as much left out as still shows a difference, or nothing if every act is needed.
fn shorter(script: &[Act], theirs: &mut Reference) -> Option<(Vec<Act>, String)> {
    let mut size = script.len() / 2;
    while size > 0 {
        let candidates: Vec<Vec<Act>> = (0..script.len())
            .step_by(size)
            .map(|at| [&script[..at], &script[(at + size).min(script.len())..]].concat())
            .collect();
        let outcomes = both(&candidates, theirs);
        let found = candidates.into_iter().zip(outcomes).find_map(|(candidate, (our, their))| {
            wrong(&our, &their).map(|difference| (candidate, difference))
        });
        if found.is_some() {
            return found;
        }
        size /= 2;
    }
    None
}

fn told(outcome: &Outcome) -> String {
    outcome
        .sent
        .iter()
        .zip(&outcome.said)
        .map(|(sent, said)| format!("> {}\n< {}\n", sent.join("\n> "), said.frames.join("\n< ")))
        .collect()
}
