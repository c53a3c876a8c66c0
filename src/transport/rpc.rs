//! Cap'n Proto RPC as what is spoken on a line.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Disconnector, RpcSystem};

use super::close::{CloseReason, code};
use super::line::Speaker;
use super::vat;

/// The RPC system of one connection.
pub struct Rpc {
    system: RpcSystem<Side>,
    disconnector: Disconnector<Side>,
}

impl Rpc {
    pub(super) fn new(system: RpcSystem<Side>) -> Self {
        let disconnector = system.get_disconnector();
        Self { system, disconnector }
    }
}

impl Future for Rpc {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        // It ends only after its connection was shut down.
        let _ = ready!(Pin::new(&mut self.system).poll(cx));
        Poll::Ready(CloseReason::Lost("the RPC session is over".to_owned()))
    }
}

impl Speaker for Rpc {
    fn last_words(&self, reason: &CloseReason) -> Option<Bytes> {
        match reason {
            CloseReason::Closed { code: code::NORMAL, .. } => None,
            CloseReason::Closed { .. }
            | CloseReason::Refused { .. }
            | CloseReason::Silent
            | CloseReason::Panicked => Some(vat::abort(&reason.exception())),
            CloseReason::PeerClosed { .. } | CloseReason::PeerAborted(_) | CloseReason::Lost(_) => None,
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        let _ = Pin::new(&mut self.disconnector).poll(cx);
    }
}
