//! `a2a-webcap bench`: what a server answers in, as this machine sees it.

use std::time::{Duration, Instant};

use clap::Args;
use futures::future::join_all;
use serde::Serialize;

use super::Global;
use super::error::CliError;
use super::output::Output;
use super::reach::Reach;
use super::text::field;

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// How long each measurement takes
    #[arg(long, value_name = "DURATION", value_parser = super::duration, default_value = "2s")]
    time: Duration,

    /// Calls that are underway at once in the second measurement
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,

    /// Also send this, and count the events that come; of the demo agent: "burst 20000"
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    /// Calls of `whoAmI`, each awaited before the next.
    one_by_one: Calls,
    /// The same, with several underway.
    together: Calls,
    concurrency: u32,
    stream: Option<Stream>,
}

/// Calls and their answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    calls: usize,
    per_second: f64,
    median_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

/// One task's events.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stream {
    events: u64,
    per_second: f64,
    first_event_ms: f64,
}

impl Bench {
    pub(super) async fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let reach = Reach::connect(global, output).await?;
        let measured = self.measure(&reach).await;
        reach.close().await;
        let figures = measured?;
        Ok(output.document(&figures, || text(&figures))?)
    }

    async fn measure(&self, reach: &Reach) -> Result<Figures, CliError> {
        // The first call opens the session.
        reach.answer(reach.client.who_am_i()).await?;
        let one_by_one = self.calls(reach, 1).await?;
        let together = self.calls(reach, self.concurrency).await?;
        let stream = match &self.message {
            Some(message) => Some(stream(reach, message).await?),
            None => None,
        };
        Ok(Figures { one_by_one, together, concurrency: self.concurrency, stream })
    }

    async fn calls(&self, reach: &Reach, at_once: u32) -> Result<Calls, CliError> {
        let begun = Instant::now();
        let callers = (0..at_once).map(async |_| {
            let mut times = Vec::new();
            while begun.elapsed() < self.time && times.len() < MOST_CALLS {
                let asked = Instant::now();
                reach.answer(reach.client.who_am_i()).await?;
                times.push(asked.elapsed());
            }
            Ok::<_, CliError>(times)
        });
        let mut times = Vec::new();
        for caller in join_all(callers).await {
            times.extend(caller?);
        }
        Ok(summary(times, begun.elapsed()))
    }
}

async fn stream(reach: &Reach, message: &str) -> Result<Stream, CliError> {
    let begun = Instant::now();
    let mut stream = reach.client.stream(message);
    let (mut events, mut first) = (0, None);
    while let Some(event) = reach.wait(stream.next()).await? {
        event.map_err(|fault| reach.failed(&fault))?;
        first.get_or_insert_with(|| begun.elapsed());
        events += 1;
    }
    let per_second = rate(events, begun.elapsed());
    Ok(Stream { events, per_second, first_event_ms: ms(first.unwrap_or_default()) })
}

fn summary(mut times: Vec<Duration>, took: Duration) -> Calls {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let time = |percent: usize| at(percent).copied().map_or(0.0, ms);
    Calls {
        calls: times.len(),
        per_second: rate(times.len() as u64, took),
        median_ms: time(50),
        p99_ms: time(99),
        longest_ms: time(100),
    }
}

fn rate(count: u64, took: Duration) -> f64 {
    (count as f64 / took.as_secs_f64().max(1e-9)).round()
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn text(figures: &Figures) -> String {
    let mut text = String::new();
    let said = |calls: &Calls| {
        let Calls { calls, per_second, median_ms, p99_ms, longest_ms } = calls;
        format!(
            "{per_second} calls/s of {calls}; median {median_ms} ms, p99 {p99_ms} ms, longest {longest_ms} ms"
        )
    };
    field(&mut text, "One by one", &said(&figures.one_by_one));
    field(&mut text, &format!("{} at once", figures.concurrency), &said(&figures.together));
    if let Some(Stream { events, per_second, first_event_ms }) = &figures.stream {
        let said = format!("{per_second} events/s of {events}; the first after {first_event_ms} ms");
        field(&mut text, "Stream", &said);
    }
    text
}

/// Of one caller.
const MOST_CALLS: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_percentiles_of_its_times() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let calls = summary(times, Duration::from_secs(2));
        assert_eq!((calls.calls, calls.per_second), (100, 50.0));
        assert_eq!((calls.median_ms, calls.p99_ms, calls.longest_ms), (51.0, 100.0, 100.0));
        assert_eq!(summary(Vec::new(), Duration::ZERO).median_ms, 0.0);
    }
}
