//! How soon a server answers for the first time, and what it takes up: ours beside two echo agents on the SDKs of
//! others, `a2a-sdk` (Python) and `@a2a-js/sdk` (Node), built as their documentation builds one (`peers/`).
//!
//! ```text
//! cargo bench --bench start
//! cargo bench --bench start -- --pairs 20      # rounds instead of 11
//! ```
//!
//! In each round every server is started once, on a free port, and asked in one HTTP request to send a message and wait
//! for what comes of it: theirs in JSON-RPC, ours as a Cap'n Web batch, which authenticates too. "First answer" is the
//! time from the start of its process until that answer is there, files in the page cache; its memory is looked at two
//! seconds later. Their packages are installed into `target/peers/start` at the first run, which needs Python with
//! `venv`, and Node with npm; what is not there is left out.

#![expect(clippy::print_stdout, reason = "a benchmark reports on the terminal")]

mod contenders;
#[path = "../common/plan.rs"]
mod plan;
#[path = "../common/statistics.rs"]
mod statistics;
mod trial;

use std::error::Error;

use contenders::Contender;
use plan::Plan;
use statistics::Sample;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments = plan::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    plan::run(&words, &[("start", start)])
}

/// Nothing is asked of the figures but that ours is the first.
fn start(plan: Plan) -> Outcome<bool> {
    let contenders = contenders::all()?;
    let mut answers = vec![Sample::default(); contenders.len()];
    let mut memory = vec![Sample::default(); contenders.len()];
    for _ in 0..plan.pairs {
        for (n, contender) in contenders.iter().enumerate() {
            let trial = trial::run(contender, plan)?;
            answers[n].add(trial.first_answer.as_secs_f64() * 1_000.0);
            memory[n].add(trial.resident_bytes as f64 / 1e6);
        }
    }
    let mut is_first = true;
    for (n, Contender { name, size, .. }) in contenders.iter().enumerate() {
        println!(
            "{name:34} first answer {:.0} ms   idle {:.1} MB   {:.1} MB on disk",
            answers[n],
            memory[n],
            size.bytes as f64 / 1e6
        );
        println!("{:34}   of that: {}", "", size.what);
        is_first &= n < contenders::OURS || answers[0].median() < answers[n].median();
    }
    Ok(is_first)
}
