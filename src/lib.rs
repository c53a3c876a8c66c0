//! A2A (Agent2Agent) as object capabilities, over Cap'n Proto RPC on WebSocket.

#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod authority;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod fault;
pub mod limits;
pub mod model;
#[cfg(feature = "server")]
pub mod net;
pub mod shutdown;
pub mod transport;
pub mod wire;
