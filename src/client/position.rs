//! Where a reader stands in a task's numbered events: what has come, what comes twice, what is missing.

use crate::fault::{Fault, FaultKind};

/// Holds a stream to promise P2: 1, 2, 3, … without gap or repeat, across every reconnect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The last event that was taken, or that a snapshot contained. None before the first.
    last: Option<u64>,
    /// The last event that only a snapshot has shown.
    in_snapshot: Option<u64>,
}

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the next one.
    Take,
    /// It has been taken before.
    Skip,
}

impl Position {
    /// Right after event `seq`; 0 is before the first.
    pub(super) fn after(seq: u64) -> Self {
        Self { last: Some(seq), in_snapshot: None }
    }

    /// The last event taken; none if the stream has not begun.
    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    /// An event has come. After a snapshot of a finished task its last event comes too, so that the stream
    /// has a final one.
    pub(super) fn event(&mut self, seq: u64, is_final: bool) -> Result<Step, Fault> {
        match self.last {
            _ if seq == 0 => Err(broken("an event has the number 0")),
            Some(_) if is_final && self.in_snapshot == Some(seq) => {
                self.in_snapshot = None;
                Ok(Step::Take)
            }
            Some(last) if seq <= last => Ok(Step::Skip),
            Some(last) if seq > last.saturating_add(1) => {
                Err(broken(&format!("event {seq} follows event {last}")))
            }
            _ => {
                (self.last, self.in_snapshot) = (Some(seq), None);
                Ok(Step::Take)
            }
        }
    }

    /// A snapshot has come that contains the events up to `seq`. It is taken where it says something new.
    pub(super) fn snapshot(&mut self, seq: u64) -> Step {
        match self.last {
            Some(last) if seq <= last => Step::Skip,
            _ => {
                (self.last, self.in_snapshot) = (Some(seq), Some(seq));
                Step::Take
            }
        }
    }
}

fn broken(what: &str) -> Fault {
    let message = format!("the server broke the order of a task's events: {what}; subscribe anew");
    Fault::new(FaultKind::InvalidAgentResponse, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_in_order_and_once() {
        let mut position = Position::after(0);
        for (seq, step) in
            [(1, Step::Take), (2, Step::Take), (1, Step::Skip), (2, Step::Skip), (3, Step::Take)]
        {
            assert_eq!(position.event(seq, false), Ok(step), "{seq}");
        }
        assert_eq!(position.last(), Some(3));
    }

    #[test]
    fn a_gap_is_an_error_and_moves_nothing() {
        let mut position = Position::after(4);
        assert_eq!(position.event(6, false).unwrap_err().kind(), FaultKind::InvalidAgentResponse);
        assert_eq!(position.last(), Some(4));
        assert_eq!(position.event(u64::MAX, false).unwrap_err().kind(), FaultKind::InvalidAgentResponse);
        assert!(Position::default().event(0, false).is_err());
    }

    #[test]
    fn a_stream_without_a_snapshot_begins_wherever_its_first_event_is() {
        let mut position = Position::default();
        assert_eq!(position.event(17, false), Ok(Step::Take));
        assert_eq!(position.event(18, false), Ok(Step::Take));
    }

    #[test]
    fn events_go_on_after_a_snapshot() {
        let mut position = Position::default();
        assert_eq!(position.snapshot(0), Step::Take);
        assert_eq!(position.event(1, false), Ok(Step::Take));
        assert_eq!(position.snapshot(1), Step::Skip, "a retried send shows it again");
        assert_eq!(position.snapshot(5), Step::Take, "it contains what was missed");
        assert_eq!(position.event(6, false), Ok(Step::Take));
    }

    #[test]
    fn the_final_event_of_a_finished_task_comes_after_the_snapshot_that_contains_it() {
        let mut position = Position::default();
        assert_eq!(position.snapshot(8), Step::Take);
        assert_eq!(position.event(8, true), Ok(Step::Take));
        assert_eq!(position.event(8, true), Ok(Step::Skip), "but once");
        let mut resumed = Position::after(8);
        assert_eq!(resumed.event(8, true), Ok(Step::Skip));
    }
}
