//! The state machine of one task: pure, without IO and without a clock.
//!
//! A step either gives the next machine or a [`Refusal`], and then nothing has changed. Which state may follow
//! which is [`TaskState::can_become`]'s to say; an artifact may come as long as the task is not finished.

use std::fmt;

use crate::model::{TaskState, Timestamp};

/// Where a task stands: the fold of its log without the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its state.
    pub state: TaskState,
    /// Since when.
    pub since: Timestamp,
    /// The number of its last event.
    pub last_seq: u64,
    /// How often what a client sees of it has changed.
    pub generation: u64,
}

/// What is about to happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It takes a state.
    Status(TaskState),
    /// It gets an artifact, or a piece of one.
    Artifact,
}

/// Why a step is not legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The task is finished for good.
    Finished(TaskState),
    /// The one state may not follow the other.
    Illegal {
        /// The present state.
        from: TaskState,
        /// The state that was to follow.
        to: TaskState,
    },
}

impl Machine {
    /// A task after its first event, which is always `submitted`.
    pub fn opened(now: Timestamp) -> Self {
        Self { state: TaskState::Submitted, since: now, last_seq: 1, generation: 1 }
    }

    /// The task after one more event. Its time does not go back when the clock does.
    ///
    /// # Errors
    /// [`Refusal`], if the step is not legal.
    pub fn step(self, step: Step, now: Timestamp) -> Result<Self, Refusal> {
        if self.state.is_terminal() {
            return Err(Refusal::Finished(self.state));
        }
        let (state, since) = match step {
            Step::Artifact => (self.state, self.since),
            Step::Status(to) if self.state.can_become(to) => (to, now.max(self.since)),
            Step::Status(to) => return Err(Refusal::Illegal { from: self.state, to }),
        };
        Ok(Self { state, since, last_seq: self.last_seq + 1, generation: self.generation + 1 })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished(state) => write!(f, "the task is {state}, which is final"),
            Self::Illegal { from, to } => write!(f, "a task that is {from} cannot become {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_nanos(10);

    fn standing_in(state: TaskState) -> Machine {
        Machine { state, ..Machine::opened(NOW) }
    }

    #[test]
    fn every_pair_of_states_steps_as_the_model_says() {
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                let machine = standing_in(from);
                let stepped = machine.step(Step::Status(to), NOW);
                assert_eq!(stepped.is_ok(), from.can_become(to), "{from} -> {to}");
                match stepped {
                    Ok(next) => assert_eq!((next.state, next.last_seq), (to, 2)),
                    Err(Refusal::Finished(state)) => assert!(state.is_terminal()),
                    Err(refusal) => assert_eq!(refusal, Refusal::Illegal { from, to }),
                }
            }
        }
    }

    #[test]
    fn artifacts_come_until_the_task_is_finished() {
        for state in TaskState::ALL {
            let stepped = standing_in(state).step(Step::Artifact, NOW);
            assert_eq!(stepped.is_ok(), !state.is_terminal(), "{state}");
        }
    }

    #[test]
    fn time_does_not_go_back() {
        let earlier = Timestamp::from_unix_nanos(3);
        let next = Machine::opened(NOW).step(Step::Status(TaskState::Working), earlier).unwrap();
        assert_eq!(next.since, NOW);
    }

    #[test]
    fn an_artifact_leaves_state_and_time() {
        let later = Timestamp::from_unix_nanos(99);
        let next = Machine::opened(NOW).step(Step::Artifact, later).unwrap();
        assert_eq!((next.state, next.since, next.generation), (TaskState::Submitted, NOW, 2));
    }
}
