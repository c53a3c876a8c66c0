//! `a2a-webcap demo`: a real server and real clients tell what this is about, in a few seconds.

mod line;
mod story;

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::error::CliError;
use super::output::Output;
use crate::agents;
use crate::auth::ApiKey;
use crate::config::{Config, StoreChoice};
use crate::fault::Fault;
use crate::server::Server;
use line::SlowLine;

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// How long one way of the line takes
    #[arg(long, value_name = "DURATION", value_parser = super::duration, default_value = "30ms")]
    delay: Duration,

    /// For machines: the figures as one JSON document, as -o json
    #[arg(long)]
    json: bool,
}

/// What was measured and seen.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    one_way_delay_ms: f64,
    /// An empty call and its answer.
    round_trip_ms: f64,
    /// Authenticate, send, get: written at once, until the last answer.
    one_flight_ms: f64,
    one_flight_round_trips: f64,
    /// From the same moment to the task's first event.
    first_event_ms: f64,
    /// The same calls, each awaited before the next.
    one_by_one_ms: f64,
    one_by_one_round_trips: f64,
    /// Events of the task whose line was cut; each came once.
    events: u64,
    /// The last one before the cut.
    cut_after: u64,
    resumed_after_ms: f64,
    /// What a shared task's holder was told who tried more than it may.
    beyond_the_role: String,
    /// What it was told once it was taken back.
    after_revocation: String,
    total_ms: f64,
}

/// Everything that the story is told with.
struct Stage {
    server: Server,
    line: SlowLine,
    alice: ApiKey,
    bob: ApiKey,
}

impl Stage {
    async fn open(delay: Duration) -> Result<Self, CliError> {
        let (alice, bob) = (key()?, key()?);
        let config = Config { store: Some(StoreChoice::Memory), ..Config::default() };
        let builder = Server::configured(config).agent(agents::Demo).listen("127.0.0.1:0").workers(1);
        let builder = builder.key(alice.entry("alice")).key(bob.entry("bob"));
        let server = builder.start().await.map_err(|error| CliError::internal(error.to_string()))?;
        let line = SlowLine::to(server.local_addr(), delay).await;
        let line = line.map_err(|error| CliError::internal(format!("the demo's line: {error}")))?;
        Ok(Self { server, line, alice, bob })
    }
}

impl Demo {
    pub(super) async fn run(self, output: &mut Output) -> Result<(), CliError> {
        if self.json {
            output.set_format(super::Format::Json);
        }
        let begun = Instant::now();
        let stage = Stage::open(self.delay).await?;
        let mut figures = Figures { one_way_delay_ms: ms(self.delay), ..Figures::default() };
        // The objects of a connection stay on one thread.
        let local = tokio::task::LocalSet::new();
        let told = local.run_until(story::tell(&stage, &mut figures, output));
        let told = tokio::time::timeout(LONGEST, told).await;
        told.map_err(|_| CliError::timeout(LONGEST))??;
        stage.server.stop().await;
        figures.total_ms = ms(begun.elapsed());
        if output.is_json() {
            return Ok(output.document(&figures, String::new)?);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let end = format!(
            "Done in {seconds:.1} s. The same with a server that stays:\n\
             \n  a2a-webcap serve\n  a2a-webcap send --stream \"hello\"   (in a second terminal)\n"
        );
        Ok(output.raw(&end)?)
    }
}

fn key() -> Result<ApiKey, CliError> {
    ApiKey::generate().map_err(|fault| failed(&fault))
}

/// The demo talks to itself: what fails is its own fault.
fn failed(fault: &Fault) -> CliError {
    CliError::internal(format!("the demo did not go as it should: {fault}"))
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 1e2
}

/// It is over in a few seconds, unless something hangs.
const LONGEST: Duration = Duration::from_secs(30);
