//! The integration tests: real sockets, through the public surface only.

mod capabilities;
mod doubles;
mod examples;
mod fuzz;
mod fuzz_script;
mod hostile_bench;
mod hostile_frames;
mod hostile_http;
mod hostile_peer;
mod hostile_rpc;
mod peers;
mod proxy;
mod raw;
mod rpc;
mod streaming;
mod wire;
mod world;
