//! The engine over the store: agents that stream answers, each as far ahead of the log as it may be.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_webcap::agent::{Agent, AgentError, Turn, Updates};
use a2a_webcap::clock::Clock;
use a2a_webcap::engine::{Engine, Owner, Scope, Sent, Submission};
use a2a_webcap::fault::Fault;
use a2a_webcap::limits::{EngineLimits, StoreLimits};
use a2a_webcap::model::{AgentCard, Id, SendMessageRequest};
use a2a_webcap::store::embedded::{EmbeddedStore, Written};
use async_trait::async_trait;

use crate::Outcome;
use crate::fill::{AGENT, OWNER, WORDS};
use crate::plain::cleared;
use crate::process::answer;

/// Events of one task.
pub(crate) const TASK_EVENTS: u64 = 1_000;
/// Updates that are not in the log yet, of all tasks together.
const IN_FLIGHT: usize = 256;

/// The process, with so many tasks at once. Each line says for how many milliseconds to measure; the answer is
/// one of [`Measured`].
pub(crate) fn run(dir: &str, tasks: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dir = Path::new(dir);
    runtime.block_on(answer("ready", async |line| {
        let time = Duration::from_millis(line.parse()?);
        cleared(dir, measure(dir, tasks, time)).await
    }))
}

async fn measure(dir: &Path, tasks: usize, time: Duration) -> Outcome<String> {
    let store = EmbeddedStore::open(&dir.join("data"), &StoreLimits::default(), &Clock::system())?;
    let store = Arc::new(store);
    let mut limits = EngineLimits::default();
    limits.updates_ahead = IN_FLIGHT / tasks;
    let engine = Engine::builder(Arc::clone(&store) as _).limits(limits).agent(AGENT, Arc::new(Chunks));
    let engine = Arc::new(engine.start()?);
    for _ in 0..tasks {
        let of_this = Arc::clone(&engine);
        engine.runtime().spawn(async move {
            // It ends with the engine, which refuses the next send then.
            while ask(&of_this).await.is_ok() {}
        });
    }
    tokio::time::sleep(time / 5).await;
    let measured = Measured::begin(&store, engine.counts().events);
    tokio::time::sleep(time).await;
    let line = measured.end(&store, engine.counts().events);
    engine.stop(Duration::ZERO).await;
    a2a_webcap::store::Store::close(&*store).await?;
    Ok(line)
}

/// One task, to its end.
async fn ask(engine: &Engine) -> Result<(), Fault> {
    let scope = Scope { agent: Id::from(AGENT), owner: Owner { key: Id::from(OWNER), anonymous: false } };
    let submission = Submission {
        scope: scope.clone(),
        request: SendMessageRequest::text("go on"),
        subject: Arc::from("bench"),
        parameters: Arc::default(),
        turn_timeout: None,
    };
    if let Sent::Task(ticket) = engine.send(submission).await? {
        engine.settled(&scope, &ticket).await?;
    }
    Ok(())
}

/// Streams an answer as fast as it may.
struct Chunks;

#[async_trait]
impl Agent for Chunks {
    fn card(&self) -> AgentCard {
        AgentCard::new("Chunks", "Streams an answer as fast as it may.", "1")
    }

    async fn execute(&self, _: Turn, updates: Updates) -> Result<(), AgentError> {
        let artifact = Id::from("answer");
        // Submitted, working and completed are events too.
        updates.working().await?;
        for n in 0..TASK_EVENTS - 3 {
            updates.chunk(artifact.clone(), WORDS, n > 0, n == TASK_EVENTS - 4).await?;
        }
        Ok(())
    }
}

/// A measurement that has begun: how many events were durable then, and what the log had written.
pub(crate) struct Measured {
    begun: Instant,
    events: u64,
    written: Written,
}

impl Measured {
    pub(crate) fn begin(store: &EmbeddedStore, events: u64) -> Self {
        Self { begun: Instant::now(), events, written: store.written() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Events, nanoseconds, syncs, frames and bytes since then.
    pub(crate) fn end(&self, store: &EmbeddedStore, events: u64) -> String {
        let (now, written) = (self.begun.elapsed(), store.written());
        format!(
            "{} {} {} {} {}",
            events - self.events,
            now.as_nanos(),
            written.syncs - self.written.syncs,
            written.frames - self.written.frames,
            written.bytes - self.written.bytes
        )
    }
}
