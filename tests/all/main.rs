//! The integration tests: real sockets, through the public surface only.

mod capabilities;
mod doubles;
mod examples;
mod peers;
mod proxy;
mod raw;
mod rpc;
mod streaming;
mod wire;
mod world;
