//! Bindings: decode → call → encode, with no policy inside. They do not know each other.

pub mod capnp;
pub mod capnweb;
