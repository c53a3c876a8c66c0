//! RPC over a WebSocket, and its bounds: the same code at both ends.
//!
//! A connection is a [`Line`], and a [`Speaker`] on it: Cap'n Proto RPC in binary frames, or a Cap'n Web session in text
//! frames ([`WebSpeech`]).
//!
//! One binary, unfragmented WebSocket message is one standard-framed Cap'n Proto message, segment
//! table included, never packed: what C++'s `WebSocketMessageStream` and go-websocket-capnp speak.
//!
//! A connection is one task, its [`Driver`]: it reads what the socket has, lets the RPC system work
//! until it is quiet, writes everything and flushes once. Every message passes a ledger of what each
//! side holds, which refuses what goes over a bound of [`WireLimits`] and what the RPC system could
//! not bear; the connection then ends with an RPC `Abort` and a close frame that say which, and so
//! does a defect. Nothing else on the worker notices.
//!
//! What is not here: the HTTP upgrade (`net`, `client`), what the objects do (`capability`), and any
//! fragmentation, compression or packing.

mod bounds;
mod close;
mod driver;
mod flow;
mod frames;
#[cfg(test)]
mod fuzz;
mod handle;
#[cfg(test)]
mod hostile;
mod ids;
mod line;
mod message;
mod quiet;
mod rpc;
mod speech;
mod tap;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod texts;
mod vat;
#[cfg(not(target_arch = "wasm32"))]
mod websocket;

use std::net::SocketAddr;
use std::rc::Rc;

use capnp::capability::{Client, FromClientHook};
use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side;

pub use close::{CloseReason, code};
pub use driver::Driver;
pub use frames::{FrameQueue, Frames};
pub use handle::{ConnectionHandle, Counters};
pub use line::{Held, Line, Speaker, Wakeup, Work};
pub use rpc::Rpc;
pub use speech::{WebHost, WebSpeech, abort, session_limits};
pub use tap::{Direction, Tap};
#[cfg(not(target_arch = "wasm32"))]
pub use websocket::WebSocket;

use crate::limits::WireLimits;

/// The serving end of a connection: `bootstrap` makes the object that the peer finds first. Poll the
/// driver; it ends with the connection.
pub fn accept<F: Frames>(
    frames: F,
    peer: Option<SocketAddr>,
    limits: WireLimits,
    bootstrap: impl FnOnce(&Rc<ConnectionHandle>) -> Client,
) -> (Rc<ConnectionHandle>, Driver<F>) {
    let handle = ConnectionHandle::new(peer, limits, true);
    let object = bootstrap(&handle);
    let system = RpcSystem::new(Box::new(vat::Vat::new(Side::Server, handle.clone())), Some(object));
    (handle.clone(), Driver::new(handle.line().clone(), frames, rpc::Rpc::new(system)))
}

/// The serving end of a connection of text frames, on which `speaker` makes what speaks. Poll the driver; it
/// ends with the connection.
pub fn accept_text<F: Frames, S: Speaker>(
    frames: F,
    peer: Option<SocketAddr>,
    limits: WireLimits,
    speaker: impl FnOnce(&Rc<Line>) -> S,
) -> (Rc<Line>, Driver<F, S>) {
    let line = Line::new(peer, limits, true);
    let speaker = speaker(&line);
    (line.clone(), Driver::new(line, frames, speaker))
}

/// The calling end of a connection of text frames, on which `speaker` makes what speaks, and what is called through it.
/// Poll the driver; it ends with the connection.
pub fn connect_text<T, F: Frames, S: Speaker>(
    frames: F,
    limits: WireLimits,
    speaker: impl FnOnce(&Rc<Line>) -> (T, S),
) -> (T, Driver<F, S>) {
    let line = Line::new(None, limits, false);
    let (called, speaker) = speaker(&line);
    (called, Driver::new(line, frames, speaker))
}

/// The calling end of a connection: the peer's first object, usable at once, before any answer. Poll
/// the driver; it ends with the connection.
pub fn connect<T: FromClientHook, F: Frames>(
    frames: F,
    peer: Option<SocketAddr>,
    limits: WireLimits,
) -> (T, Rc<ConnectionHandle>, Driver<F>) {
    let handle = ConnectionHandle::new(peer, limits, false);
    let mut system = RpcSystem::new(Box::new(vat::Vat::new(Side::Client, handle.clone())), None);
    let object = system.bootstrap(Side::Server);
    (object, handle.clone(), Driver::new(handle.line().clone(), frames, rpc::Rpc::new(system)))
}
