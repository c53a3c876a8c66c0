//! The real server over a store on disk.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_webcap::Server;
use a2a_webcap::agent::{Agent, AgentError, Turn, Updates};
use a2a_webcap::agents::Demo;
use a2a_webcap::clock::Clock;
use a2a_webcap::limits::Limits;
use a2a_webcap::model::{AgentCard, Id};
use a2a_webcap::store::embedded::EmbeddedStore;
use async_trait::async_trait;

use crate::Outcome;
use crate::fill::WORDS;
use crate::latency::Latency;
use crate::process::answer;
use crate::wire::KEY;

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The demo agent; everything is kept.
    Keep,
    /// An agent that times the log; few tasks are kept.
    Retain,
    /// The demo agent, and nothing on disk: what all the rest costs.
    Memory,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keep" => Ok(Self::Keep),
            "retain" => Ok(Self::Retain),
            "memory" => Ok(Self::Memory),
            other => Err(format!("{other} is no kind of server")),
        }
    }
}

/// Serves until nobody asks any more; says the address. Each line is answered with what the log has written
/// (syncs, frames, bytes) and how long an agent waited for it (median, 99 %, microseconds).
pub(crate) fn serve(dir: &str, kind: Kind, workers: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let limits = limits(kind);
        let store = EmbeddedStore::open(&Path::new(dir).join("data"), &limits.store, &Clock::system())?;
        let store = Arc::new(store);
        let latency = Arc::new(Latency::default());
        let builder = Server::builder().api_key("bench", KEY).workers(workers);
        let builder = match kind {
            Kind::Memory => builder,
            _ => builder.store(Arc::clone(&store) as _),
        };
        let builder = match kind {
            Kind::Keep | Kind::Memory => builder.agent(Demo),
            Kind::Retain => builder.agent(Timed(Arc::clone(&latency))),
        };
        let server = builder.limits(limits).listen("127.0.0.1:0").start().await?;
        answer(&server.local_addr().to_string(), async |_| {
            let written = store.written();
            let (half, most) = (latency.micros(0.5), latency.micros(0.99));
            Ok(format!("{} {} {} {half} {most}", written.syncs, written.frames, written.bytes))
        })
        .await
    })
}

fn limits(kind: Kind) -> Limits {
    let mut limits = Limits::default();
    if kind == Kind::Retain {
        limits.engine.retention.completed.count = Some(RETAINED);
        limits.engine.retention_interval = Duration::from_secs(1);
        // Else a day's answers would be kept, as they should.
        limits.engine.idempotency = REMEMBERED;
    }
    limits
}

/// Finished tasks that are kept.
const RETAINED: u64 = 20_000;
/// How long answers are kept.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Streams an answer of as many chunks as the message's last word says, and measures how long the last of them
/// takes into the log.
struct Timed(Arc<Latency>);

#[async_trait]
impl Agent for Timed {
    fn card(&self) -> AgentCard {
        AgentCard::new("Timed", "Measures how long it waits for the log.", "1")
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        let text = turn.message.text();
        let count: u32 = text.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(1);
        let artifact = Id::from("answer");
        for n in 0..count {
            updates.chunk(artifact.clone(), WORDS, n > 0, n + 1 == count).await?;
        }
        let begun = Instant::now();
        updates.flush().await?;
        self.0.add(begun.elapsed());
        Ok(())
    }
}
