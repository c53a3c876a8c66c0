//! The integration tests: real sockets, through the public surface only.

mod doubles;
mod examples;
mod rpc;
mod streaming;
mod world;
