//! The integration tests: real sockets, through the public surface only.

mod authority;
mod capabilities;
mod doubles;
mod proxy;
mod raw;
mod rpc;
mod sharing;
mod streaming;
mod wire;
mod world;
