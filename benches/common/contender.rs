//! What is measured against what: a server and a client, run in turns.

use crate::Outcome;
use crate::bar::Bar;
use crate::process::{CLIENT_CORE, Process};
use crate::statistics::Sample;

/// Something that is run again and again, and the server whose CPU it costs.
pub(crate) struct Contender {
    name: String,
    /// The process that serves.
    pub(crate) server: Process,
    client: Process,
    rate: Sample,
    /// Microseconds of the server's CPU for one.
    pub(crate) server_micros: Sample,
    client_micros: Sample,
}

/// What one run came to.
pub(crate) struct Run {
    /// Units a second.
    pub(crate) rate: f64,
    /// All that the client said.
    pub(crate) fields: Vec<u64>,
}

impl Contender {
    /// Starts this program as the server's client. The server's address goes where the role's argument is empty.
    pub(crate) fn start(name: String, server: Process, client: &[&str]) -> Outcome<Self> {
        let address = server.greeting.as_str();
        let client: Vec<&str> =
            client.iter().map(|word| if word.is_empty() { address } else { word }).collect();
        let client = Process::start(CLIENT_CORE, &client)?;
        Ok(Self::new(name, server, client))
    }

    /// Of two processes that run.
    pub(crate) fn new(name: String, server: Process, client: Process) -> Self {
        let (rate, server_micros, client_micros) = Default::default();
        Self { name, server, client, rate, server_micros, client_micros }
    }

    /// One run. Its answer begins with a count and nanoseconds; each that was counted is `units`.
    pub(crate) fn run(&mut self, line: &str, units: f64) -> Outcome<Run> {
        let before = (self.server.cpu_nanos()?, self.client.cpu_nanos()?);
        let answer = self.client.ask(line)?;
        let fields = answer.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let after = (self.server.cpu_nanos()?, self.client.cpu_nanos()?);
        let [count, nanos, ..] = fields[..] else { return Err(format!("{answer} is no measurement").into()) };
        let count = count as f64 * units;
        self.server_micros.add((after.0 - before.0) as f64 / 1e3 / count);
        self.client_micros.add((after.1 - before.1) as f64 / 1e3 / count);
        let rate = count / nanos as f64 * 1e9;
        self.rate.add(rate);
        Ok(Run { rate, fields })
    }

    /// Forgets what was measured.
    pub(crate) fn reset(&mut self) {
        (self.rate, self.server_micros, self.client_micros) = Default::default();
    }

    /// Prints what all runs came to.
    pub(crate) fn print(&self, unit: &str) {
        println!(
            "{:40} {:>28} {unit}/s   server {:>20.2} µs, client {:>20.2} µs of CPU each",
            self.name, self.rate, self.server_micros, self.client_micros
        );
    }
}

/// Prints a ratio and its bar; says whether it is met.
pub(crate) fn print_ratio(what: &str, ratio: &Sample, bar: Bar) -> bool {
    let (verdict, met) = bar.judge(ratio.median());
    println!("{what:40} {ratio:>28.3}   {verdict}");
    met
}
