//! The integration tests: real sockets, through the public surface only.

mod capabilities;
mod cli;
mod client;
mod doubles;
mod examples;
mod line;
mod peers;
mod proxy;
mod raw;
mod rpc;
mod streaming;
mod wire;
mod world;
