//! Runs of the program, recorded with all that is needed to play with them.

use std::fs;

use crate::history::History;
use crate::program::{Ending, Ledger, Order, Program};
use crate::recording::{RECORDED, Recording};
use crate::scratch::{Scratch, Tree};
use crate::subject::Subject;
use crate::verify::MORE;

/// A run as it was recorded, and all that is needed to play with it.
pub(crate) struct Recorded {
    pub(crate) order: Order,
    pub(crate) before: Tree,
    pub(crate) trace: String,
    pub(crate) recording: Recording,
    /// What the program has done of it, and a little more.
    pub(crate) history: History,
}

/// Lets the program work on what is there, and records it. The disk is slow, so that several groups wait for it.
pub(crate) fn record(order: Order, before: Tree) -> Recorded {
    let output = order.ledger.with_extension("strace");
    before.write(&order.directory);
    let slow = format!("inject=fsync,fdatasync:delay_exit={}", 500 + order.seed % 5 * 700);
    let arguments = ["-e".to_owned(), format!("trace={RECORDED}"), "-e".to_owned(), slow];
    let ran = Program::new(order.clone()).trace(&arguments, &output);
    assert!(ran.status.success() && ran.ledger.is_done, "the recorded run failed: {ran:?}");
    let trace = fs::read_to_string(&output).expect("a trace");
    let recorded = Recorded::of(order, before, trace);
    if recorded.order.ending == Ending::Close {
        let left = Tree::read(&recorded.order.directory);
        let difference = recorded.recording.tree_after().difference(&left);
        assert_eq!(difference, None, "the recording is not what was done");
    }
    recorded
}

impl Recorded {
    pub(crate) fn of(order: Order, before: Tree, trace: String) -> Self {
        let recording = Recording::of(&trace, &order.directory, &before, &order.ledger);
        let history = History::of(order.seed, order.to + MORE);
        Self { order, before, trace, recording, history }
    }

    /// Groups that were acknowledged when the trace had come to a line.
    pub(crate) fn acknowledged(&self, cut: usize) -> usize {
        let lines = self.recording.ledger.iter().filter(|(begin, _)| *begin < cut);
        Ledger::of(self.order.from, lines.map(|(_, line)| line.as_str())).acknowledged
    }
}

/// A short history, from an empty directory to a clean stop.
pub(crate) fn order(subject: Subject, seed: u64, scratch: &Scratch) -> Order {
    let (directory, ledger) = (scratch.join("store"), scratch.join("ledger"));
    Order { subject, directory, ledger, seed, from: 0, to: 120, ending: Ending::Close }
}
