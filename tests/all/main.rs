//! The integration tests: real sockets, through the public surface only.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod access;
mod authority;
mod capabilities;
mod cli;
mod client;
mod doubles;
mod errors;
mod examples;
mod lifecycle;
mod line;
mod peers;
mod proxy;
mod raw;
mod rpc;
mod scenarios;
mod sends;
mod sharing;
mod streaming;
mod streams;
mod wire;
mod world;
