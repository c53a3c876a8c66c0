//! The integration tests: real sockets, through the public surface only.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "shown when a test fails: seeds, logs, figures"
)]

mod access;
mod authority;
mod capabilities;
mod capnweb;
mod capnweb_batch;
mod capnweb_document;
mod capnweb_node;
mod capnweb_streams;
mod capnweb_vectors;
mod capnweb_versions;
mod cli;
mod cli_golden;
mod cli_own;
mod cli_spec;
mod cli_terminal;
mod client;
#[cfg(feature = "otlp")]
mod collector;
mod console;
mod deletion;
mod documents;
mod doubles;
mod embedded;
mod errors;
mod evidence;
mod examples;
mod foreign;
mod fuzz;
mod fuzz_script;
mod fuzz_words;
mod hostile_bench;
mod hostile_frames;
mod hostile_http;
mod hostile_memory;
mod hostile_peer;
mod hostile_rpc;
mod hostile_web;
mod injection;
mod keepalive;
mod leaks;
mod lifecycle;
mod line;
mod logs;
mod operations;
mod origins;
mod parity;
mod party;
mod peers;
mod process;
mod process_examples;
mod process_exec;
mod process_hostile;
mod process_jsonl;
mod process_serve;
mod process_trace;
mod proxy;
mod push;
mod raw;
mod restart;
mod revoke;
mod rpc;
mod scenarios;
mod secrets;
mod sends;
mod sharing;
mod sizes;
#[cfg(feature = "otlp")]
mod spans;
#[cfg(feature = "otlp")]
mod spans_export;
mod streaming;
mod streams;
mod tenants;
mod tenants_serve;
mod tmux;
mod upkeep;
mod web;
mod web_client;
mod web_scenarios;
mod wire;
mod world;
