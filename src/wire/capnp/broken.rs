//! Capabilities that stand for a failure.

use capnp::capability::{Client, FromClientHook};

use super::fault::to_exception;
use crate::fault::Fault;

/// A capability of which every call, and every call pipelined on its answers, fails with one fault. It fills
/// the capability fields of a result that reports an error.
pub struct Broken(Client);

impl Broken {
    /// A capability that is broken for this reason.
    pub fn new(fault: &Fault) -> Self {
        Self(capnp_rpc::new_broken_cap(to_exception(fault)))
    }

    /// The capability as a client of any interface. All clients of one `Broken` are one object to the peer,
    /// so several fields of a result cost one export.
    pub fn client<C: FromClientHook>(&self) -> C {
        C::new(self.0.hook.add_ref())
    }
}
