//! The integration tests: real sockets, through the public surface only.

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
mod sends;
mod sharing;
mod streaming;
mod streams;
mod wire;
mod world;
