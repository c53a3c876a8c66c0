//! A2A (Agent2Agent) as object capabilities, over Cap'n Proto RPC on WebSocket.

pub mod clock;
pub mod fault;
pub mod limits;
pub mod model;
#[cfg(feature = "server")]
pub mod net;
pub mod shutdown;
pub mod transport;
