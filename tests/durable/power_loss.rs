//! A run is recorded system call by system call. Then the power goes, thousands of times, at every kind of
//! moment; what may be left is put on a disk, and the store is started on it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::crash::Losses;
use crate::dice::Dice;
use crate::program::Order;
use crate::recorded::{Recorded, order, record};
use crate::scratch::{Scratch, Tree};
use crate::settings::{long, setting};
use crate::subject::Subject;
use crate::toy::Vice;
use crate::verify::{Stands, Trial, for_each};

impl Recorded {
    /// A line of the trace at which the power goes: around a step, or when something has just been promised.
    fn cut(&self, dice: &mut Dice) -> usize {
        if dice.percent(40) {
            return dice.pick(&self.recording.ledger).0 + 1;
        }
        let step = dice.pick(&self.recording.steps);
        *dice.pick(&[step.begin, step.begin + 1, step.end + 1])
    }

    /// One power loss.
    fn lose(
        &self,
        losses: &Losses<'_>,
        (cut, seed): (usize, u64),
        scratch: &Scratch,
    ) -> Result<Stands, String> {
        let directory = scratch.join("store");
        losses.at(cut, seed).tree.write(&directory);
        let (subject, history) = (self.order.subject, &self.history);
        let trial = Trial { subject, directory: &directory, history, goes_on: true };
        match trial.verify(self.acknowledged(cut)..=self.order.to) {
            Ok(Stands::Refused(reason)) => Err(format!("it does not start: {reason}")),
            other => other,
        }
    }

    /// The store is started again on what a power loss late in the run has left, and is recorded.
    fn go_on_after_a_loss(&self, seed: u64) -> Self {
        let (losses, scratch) = (Losses::of(&self.recording), Scratch::new());
        let late = self.recording.lines - 1 - Dice::new(seed).under(self.recording.lines / 4);
        let held = match self.lose(&losses, (late, seed), &scratch) {
            Ok(Stands::Whole(held)) => held,
            other => panic!("{}", self.accuse(late, seed, &format!("{other:?}"))),
        };
        let order = Order { from: held, to: held + self.order.to / 2, ..self.order.clone() };
        record(order, losses.at(late, seed).tree)
    }

    /// Many power losses. How many different states there were, or what is wrong with one.
    fn lose_often(&self, wanted: usize, seed: u64) -> Result<usize, String> {
        let losses = Losses::of(&self.recording);
        let (seen, different) = (Mutex::new(HashSet::new()), AtomicUsize::new(0));
        for_each(wanted * 4, |number| {
            if different.load(Ordering::Relaxed) >= wanted {
                return Ok(());
            }
            let seed = seed.wrapping_add(number as u64);
            let cut = self.cut(&mut Dice::new(seed));
            let state = (losses.at(cut, seed).fingerprint, self.acknowledged(cut));
            if !seen.lock().expect("whole").insert(state) {
                return Ok(());
            }
            different.fetch_add(1, Ordering::Relaxed);
            match self.lose(&losses, (cut, seed), &Scratch::new()) {
                Ok(_) => Ok(()),
                Err(reason) => Err(self.accuse(cut, seed, &reason)),
            }
        })?;
        Ok(different.into_inner())
    }

    /// Keeps the recording, since no other run is quite the same, and says how to play the loss again.
    fn accuse(&self, cut: usize, seed: u64, reason: &str) -> String {
        let name = format!("power-loss-{:?}-{}", self.order.subject, self.order.seed);
        let name: String =
            name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        self.before.write(&kept.join("before"));
        fs::write(kept.join("trace"), &self.trace).expect("a new file");
        fs::write(kept.join("order"), serde_json::to_string(&self.order).expect("it has a JSON form"))
            .expect("a new file");
        let again = format!("A2A_WEBCAP_DURABLE_REPLAY={}:{cut}:{seed}", kept.display());
        format!(
            "{:?}, power lost at line {cut} with seed {seed}: {reason}\nonce more: {again} cargo test --test durable \
             a_power_loss_can_be_played_again -- --nocapture",
            self.order.subject
        )
    }
}

/// What is wrong with a toy that has a vice.
fn toy(vice: Vice) -> Result<usize, String> {
    let (seed, scratch) = (11, Scratch::new());
    let recorded = record(order(Subject::Toy { seed, vice }, seed, &scratch), Tree::default());
    recorded.lose_often(300, 1)
}

#[test]
fn a_log_that_syncs_before_it_acknowledges_loses_nothing() {
    let different = toy(Vice::Nothing);
    assert!(different.as_ref().is_ok_and(|different| *different > 200), "{different:?}");
}

#[test]
fn a_log_that_never_syncs_is_found_out() {
    let reason = toy(Vice::NeverSyncs).expect_err("it loses what it has acknowledged");
    assert!(reason.contains("but must hold"), "{reason}");
}

#[test]
fn a_log_that_forgets_the_names_of_its_files_is_found_out() {
    let reason = toy(Vice::ForgetsNames).expect_err("it loses whole files");
    assert!(reason.contains("but must hold"), "{reason}");
}

#[test]
fn a_log_that_takes_torn_frames_for_whole_ones_is_found_out() {
    toy(Vice::Believes).expect_err("it holds half a group");
}

#[test]
fn no_power_loss_takes_away_what_was_acknowledged() {
    let first = setting("A2A_WEBCAP_DURABLE_SEED").unwrap_or(1);
    let (runs, states) = (long(3, 10), long(2_100, 21_000));
    let mut different = 0;
    for seed in first..first + runs as u64 {
        let scratch = Scratch::new();
        let recorded = record(order(Subject::Store, seed, &scratch), Tree::default());
        // The power goes once more while the store gets over the first time and goes on.
        let again = recorded.go_on_after_a_loss(seed);
        for recorded in [recorded, again] {
            match recorded.lose_often(states / runs / 2, seed << 32) {
                Ok(more) => different += more,
                Err(reason) => panic!("{reason}"),
            }
        }
    }
    println!("{different} different states");
    assert!(different >= states * 19 / 20, "only {different} different states");
}

/// Plays one power loss of a recording that a failed test has kept.
#[test]
fn a_power_loss_can_be_played_again() {
    let Some(replay) = setting::<String>("A2A_WEBCAP_DURABLE_REPLAY") else { return };
    let mut parts = replay.rsplitn(3, ':');
    let seed = parts.next().and_then(|seed| seed.parse().ok()).expect("a seed");
    let cut = parts.next().and_then(|cut| cut.parse().ok()).expect("a line");
    let kept = PathBuf::from(parts.next().expect("a recording"));
    let order: Order =
        serde_json::from_slice(&fs::read(kept.join("order")).expect("an order")).expect("an order");
    let trace = fs::read_to_string(kept.join("trace")).expect("a trace");
    let recorded = Recorded::of(order, Tree::read(&kept.join("before")), trace);
    let (losses, scratch) = (Losses::of(&recorded.recording), Scratch::new());
    println!("{} groups were acknowledged; what is left:", recorded.acknowledged(cut));
    let left = losses.at(cut, seed);
    println!("{}", left.disk);
    for (path, bytes) in left.tree.files() {
        println!("{:>9} {}", bytes.len(), path.display());
    }
    println!("{:?}", recorded.lose(&losses, (cut, seed), &scratch));
}
