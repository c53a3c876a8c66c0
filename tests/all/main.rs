//! The integration tests: real sockets, through the public surface only.

mod fuzz;
mod fuzz_script;
mod hostile_bench;
mod hostile_frames;
mod hostile_http;
mod hostile_peer;
mod hostile_rpc;
mod streaming;
mod world;
