//! A2A (Agent2Agent) as object capabilities, over Cap'n Proto RPC on WebSocket.

#[cfg(feature = "server")]
pub mod agent;
#[cfg(feature = "server")]
pub mod agents;
pub mod clock;
#[cfg(feature = "server")]
pub mod engine;
pub mod fault;
pub mod limits;
pub mod model;
#[cfg(feature = "server")]
pub mod store;
pub mod wire;
