//! The integration tests: real sockets, through the public surface only.

mod streaming;
mod world;
