//! The integration tests: real sockets, through the public surface only.

mod cli;
mod client;
mod doubles;
mod examples;
mod line;
mod rpc;
mod streaming;
mod world;
