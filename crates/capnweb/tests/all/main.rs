//! What the crate promises, tested through its public API.

mod batch;
mod calls;
mod hostile;
mod limits;
mod outgoing;
mod promises;
mod property;
mod remap;
mod streams;
mod support;
mod values;
