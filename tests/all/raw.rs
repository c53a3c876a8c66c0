//! The schema itself, without the client library: for what the library hides.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use a2a_webcap::limits::WireLimits;
use a2a_webcap::model::{EndReason, Id};
use a2a_webcap::transport::{self, WebSocket};
use a2a_webcap::wire::capnp::capability_capnp::{
    self, a2a_error, a2a_service, observer_features, operations, session, subscription, task_observer,
};
use capnp::capability::FromClientHook as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::world::{World, until};

/// A connection. Only in a local runtime.
pub(crate) struct Raw {
    pub(crate) service: a2a_service::Client,
}

impl Raw {
    pub(crate) async fn connect(world: &World) -> Self {
        let limits = WireLimits::default();
        let address = world.server.local_addr();
        let stream = TcpStream::connect(address).await.unwrap();
        let request = format!("ws://{address}/capnp").into_client_request().unwrap();
        let socket = WebSocket::client(request, stream, &limits).await.unwrap();
        let (service, _, driver) = transport::connect::<a2a_service::Client, _>(socket, None, limits);
        tokio::task::spawn_local(driver);
        Self { service }
    }

    /// The operations of a session, before the server has answered.
    pub(crate) fn authenticate(&self, key: &str) -> operations::Client {
        self.session(key).cast_to()
    }

    /// The session, before the server has answered.
    pub(crate) fn session(&self, key: &str) -> session::Client {
        let mut call = self.service.authenticate_request();
        call.get().init_credentials().set_api_key(key);
        let sent = call.send();
        let session = sent.pipeline.get_session();
        // An answer that is never read would keep the session.
        tokio::task::spawn_local(async move { drop(sent.promise.await) });
        session
    }
}

/// One call of an observer: its method, and the numbers of the events in it.
pub(crate) type Called = (&'static str, Vec<u64>);

/// An observer that remembers which methods were called.
#[derive(Clone, Default)]
pub(crate) struct Log {
    calls: Rc<RefCell<Vec<Called>>>,
    end: Rc<Cell<Option<EndReason>>>,
    gate: Option<Rc<Semaphore>>,
}

impl Log {
    /// One that takes an event only when [`admit`](Self::admit) lets it.
    pub(crate) fn gated() -> Self {
        Self { gate: Some(Rc::new(Semaphore::new(0))), ..Self::default() }
    }

    /// Lets this many more calls in.
    pub(crate) fn admit(&self, calls: usize) {
        self.gate.as_ref().expect("a gate").add_permits(calls);
    }

    pub(crate) fn client(&self) -> task_observer::Client {
        capnp_rpc::new_client(self.clone())
    }

    pub(crate) fn calls(&self) -> Vec<Called> {
        self.calls.borrow().clone()
    }

    /// Waits for onEnd; the calls before it.
    pub(crate) async fn ended(&self) -> Vec<Called> {
        until("onEnd", || self.end.get().is_some()).await;
        self.calls()
    }

    /// Subscribes from event 1 on, with these optional methods.
    pub(crate) async fn subscribe(
        &self,
        session: &operations::Client,
        task: &Id,
        features: impl FnOnce(observer_features::Builder<'_>),
    ) -> subscription::Client {
        let mut call = session.subscribe_to_task_request();
        let mut params = call.get();
        params.reborrow().init_request().set_id(&**task);
        params.reborrow().init_cursor().set_after(0);
        features(params.reborrow().init_features());
        params.set_observer(self.client());
        let reply = call.send().promise.await.unwrap();
        let reply = reply.get().unwrap();
        assert!(!reply.has_error(), "{:?}", reply.get_error().unwrap().get_message());
        reply.get_subscription().unwrap()
    }

    async fn take(&self, method: &'static str, numbers: Vec<u64>) {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.calls.borrow_mut().push((method, numbers));
    }
}

impl task_observer::Server for Log {
    async fn on_status_update(
        self: Rc<Self>,
        params: task_observer::OnStatusUpdateParams,
    ) -> capnp::Result<()> {
        self.take("onStatusUpdate", vec![params.get()?.get_seq()]).await;
        Ok(())
    }

    async fn on_artifact_update(
        self: Rc<Self>,
        params: task_observer::OnArtifactUpdateParams,
    ) -> capnp::Result<()> {
        self.take("onArtifactUpdate", vec![params.get()?.get_seq()]).await;
        Ok(())
    }

    async fn on_task(self: Rc<Self>, params: task_observer::OnTaskParams) -> capnp::Result<()> {
        self.take("onTask", vec![params.get()?.get_seq()]).await;
        Ok(())
    }

    async fn on_message(self: Rc<Self>, _: task_observer::OnMessageParams) -> capnp::Result<()> {
        self.take("onMessage", Vec::new()).await;
        Ok(())
    }

    async fn on_batch(self: Rc<Self>, params: task_observer::OnBatchParams) -> capnp::Result<()> {
        let numbers = params.get()?.get_events()?.iter().map(|event| event.get_seq()).collect();
        self.take("onBatch", numbers).await;
        Ok(())
    }

    async fn on_end(
        self: Rc<Self>,
        params: task_observer::OnEndParams,
        _: task_observer::OnEndResults,
    ) -> capnp::Result<()> {
        let reason = match params.get()?.get_reason()? {
            capability_capnp::EndReason::Completed => EndReason::Completed,
            capability_capnp::EndReason::Interrupted => EndReason::Interrupted,
            capability_capnp::EndReason::Detached => EndReason::Detached,
            capability_capnp::EndReason::Revoked => EndReason::Revoked,
            other => panic!("{other:?}"),
        };
        assert_eq!(self.end.replace(Some(reason)), None, "onEnd comes once");
        Ok(())
    }
}

/// An error as it stands on the wire, in the one canonical form.
pub(crate) fn bytes(error: a2a_error::Reader<'_>) -> Vec<u8> {
    let mut message = capnp::message::Builder::new_default();
    message.set_root_canonical(error).unwrap();
    capnp::serialize::write_message_to_words(&message)
}

/// What a call that must fail answers: its `error` as bytes.
macro_rules! refusal {
    ($call:expr) => {{
        let reply = $call.send().promise.await.unwrap();
        let reply = reply.get().unwrap();
        assert!(reply.has_error(), "the call must fail");
        $crate::raw::bytes(reply.get_error().unwrap())
    }};
}
pub(crate) use refusal;
