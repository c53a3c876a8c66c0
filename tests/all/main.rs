//! The integration tests: real sockets, through the public surface only.

mod access;
mod authority;
mod capabilities;
mod doubles;
mod errors;
mod lifecycle;
mod proxy;
mod raw;
mod rpc;
mod sends;
mod sharing;
mod streaming;
mod streams;
mod wire;
mod world;
