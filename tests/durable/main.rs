//! The durable store tortured: power losses, failing system calls, torn tails and flipped bytes.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "shown when a test fails: seeds and how often what was seen"
)]

mod check;
mod crash;
mod damage;
mod dice;
mod faults;
mod history;
mod model;
mod power_loss;
mod program;
mod recorded;
mod recording;
mod scratch;
mod settings;
mod subject;
mod toy;
mod trace;
mod verify;
