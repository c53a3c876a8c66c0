//! The durable store tortured: power losses, failing system calls, torn tails and flipped bytes.
//!
//! A seeded [`history`] is played into a store by a [`program`] of its own, which writes into a ledger what was
//! acknowledged. What the store must hold is said by a [`model`]; [`verify`](mod@verify) opens what is left and
//! compares. Needs strace, and a system that lets it trace processes.
//!
//! - `A2A_WEBCAP_LONG=1`: ten times as many power losses, every system call fails once, 65,536 torn tails, 12,000
//!   flips. For itself, as it takes long: `A2A_WEBCAP_LONG=1 cargo test --test durable`.
//! - `A2A_WEBCAP_DURABLE_SEED=N`: other histories.
//! - `A2A_WEBCAP_DURABLE_REPLAY=…`: one power loss once more; a failed test says how.
//!
//! Failures of the other tests name the seed and the number of what was done. They come again with that seed, as
//! far as the store's threads do the same again.
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
mod serve;
mod settings;
mod subject;
mod toy;
mod trace;
mod verify;
