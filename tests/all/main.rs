//! The integration tests: real sockets, through the public surface only.

mod doubles;
mod rpc;
mod examples;
mod peers;
mod streaming;
mod world;
