//! The integration tests: real sockets, through the public surface only.

mod authority;
mod capabilities;
mod doubles;
mod lifecycle;
mod proxy;
mod raw;
mod rpc;
mod sharing;
mod streaming;
mod streams;
mod wire;
mod world;
