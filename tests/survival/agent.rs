//! The agent of these tests: it counts, piece by piece, and goes on counting where it was cut short.

use std::time::Duration;

use a2a_webcap::agent::{Agent, AgentError, Turn, Updates};
use a2a_webcap::client::TaskEvent;
use a2a_webcap::clock::Clock;
use a2a_webcap::model::{AgentCard, Id, Task};
use async_trait::async_trait;

/// Counts up to a number. What it has said so far stands in its artifact, and that is all it knows when its turn
/// begins again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    /// Whether it goes on after a restart; else its task fails.
    pub(crate) resumes: bool,
}

/// What a message asks of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    /// The last number. In a follow-up, of the whole task.
    pub(crate) to: u64,
    /// Between two numbers.
    pub(crate) pace: Duration,
    /// Bytes with which each number is filled up.
    pub(crate) padding: usize,
    /// Whether it asks the client in the end instead of completing the task.
    pub(crate) asks: bool,
}

impl Count {
    pub(crate) fn text(&self) -> String {
        let Self { to, pace, padding, asks } = self;
        format!("{to} {} {padding} {asks}", pace.as_micros())
    }

    fn parse(text: &str) -> Option<Self> {
        let [to, pace, padding, asks] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
        Some(Self {
            to: to.parse().ok()?,
            pace: Duration::from_micros(pace.parse().ok()?),
            padding: padding.parse().ok()?,
            asks: asks.parse().ok()?,
        })
    }
}

/// The numbers that a task's artifact has, as they stand there.
pub(crate) fn counted(task: &Task) -> Vec<u64> {
    let Some(artifact) = task.artifact(ARTIFACT) else { return Vec::new() };
    let number = |text: &str| text.split(' ').next().and_then(|number| number.parse().ok());
    artifact.parts.iter().map(|part| part.as_text().and_then(number).expect("a number")).collect()
}

/// How long ago a number was said, if the event is one.
pub(crate) fn age(event: &TaskEvent) -> Option<Duration> {
    let said = event.artifact_text()?.split(' ').nth(1)?.parse::<i64>().ok()?;
    let age = Clock::system().now().unix_nanos().saturating_sub(said);
    Some(Duration::from_nanos(u64::try_from(age).unwrap_or(0)))
}

#[async_trait]
impl Agent for Counter {
    fn card(&self) -> AgentCard {
        AgentCard::new("Counter", "Counts.", "1.0")
    }

    fn can_resume(&self) -> bool {
        self.resumes
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        let text = turn.message.text();
        let count = Count::parse(&text).ok_or_else(|| AgentError::new("this is no count"))?;
        let artifact = turn.task.as_ref().and_then(|task| task.artifact(ARTIFACT));
        let said = artifact.map_or(0, |artifact| artifact.parts.len() as u64);
        let id = Id::from(ARTIFACT);
        updates.working().await?;
        for n in said + 1..=count.to {
            if !count.pace.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(count.pace) => {}
                    () = turn.cancellation.cancelled() => return Ok(()),
                }
            }
            let text = format!("{n} {} {}", Clock::system().now().unix_nanos(), ".".repeat(count.padding));
            updates.chunk(id.clone(), text, n > 1, n == count.to).await?;
        }
        match count.asks {
            true => Ok(updates.require_input("How far now?").await?),
            false => Ok(updates.complete().await?),
        }
    }
}

/// Where the numbers are.
const ARTIFACT: &str = "count";
