//! A2A (Agent2Agent) as object capabilities, over Cap'n Proto RPC and Cap'n Web on WebSocket: a server, a client,
//! and what an agent's author needs.
//!
//! A client authenticates once and holds objects from then on: a `Session` is a principal's authority over an
//! agent, a `TaskHandle` the authority over one task, a `Grant` the right to take something back. A task's
//! events come as calls on an object of the client's own, numbered, without gap or repeat.
//!
//! ```
//! use a2a_webcap::Server;
//! use a2a_webcap::agents::Echo;
//! use a2a_webcap::client::{Client, Credentials};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = "any text of at least 32 characters will do";
//! let server = Server::builder().agent(Echo).api_key("me", key).listen("127.0.0.1:0").start().await?;
//!
//! let url = format!("http://{}", server.local_addr());
//! let client = Client::builder(url).credentials(Credentials::api_key(key)).connect().await?;
//! let mut stream = client.stream("hello");
//! let mut text = String::new();
//! while let Some(event) = stream.next().await {
//!     text.extend(event?.artifact_text().as_deref());
//! }
//! assert_eq!(text, "Echo: hello");
//! # client.close().await; server.stop().await; Ok(()) }
//! ```
//!
//! # What it is not
//! It has no TLS yet, so it listens beyond loopback only when told to; a program's own server keeps tasks in
//! memory unless it is given a directory ([`data_dir`](server::Builder::data_dir)), which `serve` does; and A2A's standard bindings (JSON-RPC, HTTP+JSON, gRPC) do not stand beside it yet.
//!
//! # Limits
//! Everything that a peer can fill has a bound, all of them in [`limits::Limits`]: a message of 16 MiB, 4,096
//! objects held in each direction and 1,024 unanswered calls on a connection, 10,000 connections, 256 of one
//! address.
//!
//! # Features
//! `client` (no server dependency; type-checks for wasm32), `server`, and `cli`, which needs both. `otel` makes spans of
//! every call through the provider that the program has set ([`trace`]); `otlp` lets the command line export them. All by
//! default.

#[cfg(feature = "server")]
pub mod agent;
#[cfg(feature = "server")]
pub mod agents;
#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod authority;
#[cfg(feature = "server")]
pub mod bindings;
#[cfg(feature = "server")]
pub mod capability;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod engine;
pub mod fault;
pub mod limits;
pub mod model;
#[cfg(feature = "server")]
pub mod net;
#[cfg(feature = "server")]
pub mod operations;
#[cfg(feature = "server")]
mod private;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod service;
pub mod shutdown;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod stream;
pub mod trace;
pub mod transport;
pub mod wire;

#[cfg(feature = "server")]
pub use server::Server;

/// The README's example is tested too.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
