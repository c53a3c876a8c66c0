//! The client: one API, over Cap'n Proto RPC or Cap'n Web on WebSocket ([`Binding`]).
//!
//! Two layers. [`local`] is the objects of one connection as they are: worker-local, every call pipelined.
//! [`Client`] is for ordinary tokio programs: `Send`, reconnecting, each stream without gap or repeat.
//!
//! ```no_run
//! use a2a_webcap::client::{Client, Credentials};
//!
//! # async fn example() -> Result<(), a2a_webcap::fault::Fault> {
//! let client = Client::builder("http://127.0.0.1:8420").credentials(Credentials::api_key("…")).connect().await?;
//! let mut stream = client.stream("hello");
//! while let Some(event) = stream.next().await {
//!     println!("{:?}", event?);
//! }
//! # Ok(()) }
//! ```
//!
//! What is not here: TLS (a `wss` address is refused), A2A's standard bindings, and any state between two runs of
//! a program. In a browser only [`local`] works, over the page's own WebSocket.

mod authority;
mod credentials;
mod endpoint;
mod event;
pub mod local;
mod observer;
mod send_call;

#[cfg(not(target_arch = "wasm32"))]
mod builder;
#[cfg(not(target_arch = "wasm32"))]
#[expect(clippy::module_inception, reason = "the file is named after what it holds")]
mod client;
#[cfg(not(target_arch = "wasm32"))]
mod dial;
#[cfg(not(target_arch = "wasm32"))]
mod follow;
#[cfg(not(target_arch = "wasm32"))]
mod grant;
#[cfg(not(target_arch = "wasm32"))]
mod notice;
#[cfg(not(target_arch = "wasm32"))]
mod observe;
#[cfg(not(target_arch = "wasm32"))]
mod position;
#[cfg(not(target_arch = "wasm32"))]
mod remote;
#[cfg(not(target_arch = "wasm32"))]
mod retry;
#[cfg(not(target_arch = "wasm32"))]
mod stream;
#[cfg(not(target_arch = "wasm32"))]
mod task;
#[cfg(not(target_arch = "wasm32"))]
mod uplink;
#[cfg(not(target_arch = "wasm32"))]
mod wire;

pub use authority::{ContextScope, GrantInfo, GrantPolicy, Identity, ServerInfo, SessionPolicy, TaskRole};
pub use credentials::Credentials;
pub use endpoint::{Binding, Endpoint};
pub use event::{At, Cursor, TaskEvent};
pub use observer::{Features, Observer};
pub use send_call::SendCall;

#[cfg(not(target_arch = "wasm32"))]
pub use {
    builder::ClientBuilder,
    client::Client,
    grant::GrantRef,
    notice::ClientNotice,
    observe::Observing,
    retry::RetryPolicy,
    stream::TaskStream,
    task::{SharedTask, TaskRef},
    wire::{Direction, WireMessage},
};
