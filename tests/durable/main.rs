//! The durable store tortured: power losses, failing system calls, torn tails and flipped bytes.
#![cfg(all(feature = "server", target_os = "linux"))]

mod check;
mod crash;
mod dice;
mod history;
mod model;
mod power_loss;
mod program;
mod recording;
mod scratch;
mod settings;
mod subject;
mod toy;
mod trace;
mod verify;
