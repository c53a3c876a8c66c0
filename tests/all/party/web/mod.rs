//! A client of the objects over Cap'n Web: `crates/capnweb` in the client's role, on a real WebSocket.
//!
//! Calls leave when they are made, and what they return can be called before it is there. Every object that a call
//! returns is held as the result of a question of its own, and given back when its last clone is dropped.

mod ear;
mod line;
mod objects;
mod values;

pub(super) use objects::{Connection, Grant, Operations, Session, Started, Subscription, TaskHandle};
