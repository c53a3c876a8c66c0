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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::capnp::capability_capnp::{session, task_handle};
    use crate::wire::capnp::from_exception;

    #[tokio::test]
    async fn calls_and_calls_pipelined_on_them_fail_with_the_first_fault() {
        let fault = Fault::task_not_found();
        let session: session::Client = Broken::new(&fault).client();
        let first = session.task_request().send();
        let second = first.pipeline.get_task().get_request().send();
        let told = |result: Result<(), capnp::Error>| from_exception(&result.unwrap_err());
        assert_eq!(told(first.promise.await.map(drop)), fault);
        assert_eq!(told(second.promise.await.map(drop)), fault);
    }

    #[tokio::test]
    async fn clients_of_different_interfaces_are_one_object() {
        let broken = Broken::new(&Fault::task_not_found());
        let (session, task): (session::Client, task_handle::Client) = (broken.client(), broken.client());
        assert_eq!(session.client.hook.get_ptr(), task.client.hook.get_ptr());
    }
}
