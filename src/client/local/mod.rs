//! The objects of one connection, as they are: worker-local (`!Send`), and pipelined.
//!
//! Every method sends its call at once. One that returns objects returns them at once too: they can be used
//! before the server has answered, so a chain of calls costs one round trip. Whether the first of them
//! succeeded is what `ready()` tells; a call on an object that never came to be fails with the first error.
//!
//! ```no_run
//! # use a2a_webcap::client::{Credentials, Observer, local::Connection};
//! # struct Mine; impl Observer for Mine {}
//! # async fn example(connection: Connection) -> Result<(), a2a_webcap::fault::Fault> {
//! let session = connection.authenticate(&Credentials::api_key("…"));
//! let started = session.send_streaming("hello", Mine);
//! let task = started.task.get(None).await?; // the first wait: all of it went out in one flight
//! # drop(task); Ok(())
//! # }
//! ```
//!
//! Everything here lives on one thread, inside a `tokio::task::LocalSet` or whatever else polls the
//! connection's driver. There is no reconnecting: that is [`Client`](super::Client)'s.

mod call;
mod grant;
mod inbound;
mod operations;
mod send;
mod session;
mod task;

use std::ops::Deref;
use std::rc::Rc;

use capnp::capability::FromClientHook as _;

pub use call::{Pending, Ready};
pub use grant::{Grant, Subscription};
pub use operations::Operations;
pub use send::Started;
pub use session::Session;
pub use task::TaskHandle;

#[cfg(not(target_arch = "wasm32"))]
pub(super) use send::end_fault;

use super::authority::ServerInfo;
use super::credentials::Credentials;
use crate::fault::Result;
use crate::limits::WireLimits;
use crate::model::{AgentCard, ServiceParameters};
use crate::trace::{End, Span, Tracer};
use crate::transport::{CloseReason, ConnectionHandle, Frames, code};
use crate::wire::capnp::capability_capnp::{a2a_service, server_info};
use crate::wire::capnp::encode_parameters;
use call::{Errands, unreadable};
use grant::{text, texts};
use operations::read;

/// A connection to a server, before anybody has said who they are. Has the [`Operations`] of A2A for
/// servers that allow anonymous access; elsewhere they fail with `UNAUTHENTICATED`.
///
/// It closes when it and every object that came from it are dropped.
#[derive(Clone)]
pub struct Connection {
    client: a2a_service::Client,
    operations: Operations,
}

/// What the objects of a connection share. The last of them closes it.
#[derive(Debug)]
struct Line {
    handle: Rc<ConnectionHandle>,
    errands: Errands,
    tracer: Tracer,
}

impl Line {
    /// Begins the span of a call to an agent; the agent is empty where it is not known.
    fn span(&self, method: &'static str, agent: &str, parameters: &ServiceParameters) -> Span {
        let span = self.tracer.call(End::Client, method, parameters);
        if !agent.is_empty() {
            span.agent(agent);
        }
        span
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.handle.close(code::NORMAL, "");
    }
}

/// The schema's `extends`.
impl Deref for Connection {
    type Target = Operations;

    fn deref(&self) -> &Operations {
        &self.operations
    }
}

impl Connection {
    /// A connection over a WebSocket that is open. It works as long as the future is polled, which ends
    /// with the connection and says why it ended.
    pub fn new<F: Frames>(
        frames: F,
        limits: WireLimits,
    ) -> (Self, impl Future<Output = CloseReason> + 'static) {
        let (client, handle, driver) =
            crate::transport::connect::<a2a_service::Client, F>(frames, None, limits);
        let (errands, work) = Errands::new();
        let line = Rc::new(Line { handle, errands, tracer: Tracer::default() });
        let operations = Operations::new(client.clone().cast_to(), line, DEFAULT_AGENT.into());
        let running = async move {
            let (reason, ()) = futures::future::join(driver, work).await;
            reason
        };
        (Self { client, operations }, running)
    }

    /// The same connection, with these service parameters in each call.
    #[must_use]
    pub fn with_parameters(self, parameters: ServiceParameters) -> Self {
        Self { operations: self.operations.with(parameters), ..self }
    }

    /// What the server says about itself.
    pub fn info(&self) -> Pending<ServerInfo> {
        let call = self.client.info_request().send();
        Pending::plain_answer(call, |results| {
            read_info(results.get_info().map_err(|error| unreadable(&error))?)
        })
    }

    /// The agent's public card. `tenant` selects the agent; empty for the default one.
    pub fn agent_card(&self, tenant: &str) -> Pending<AgentCard> {
        let mut call = self.client.get_agent_card_request();
        let mut params = call.get();
        params.set_tenant(tenant);
        encode_parameters(self.operations.parameters(), |n| params.init_parameters(n));
        Pending::answer(call.send(), |results| read(results.get_card()))
    }

    /// Says who one is, to the default agent.
    pub fn authenticate(&self, credentials: &Credentials) -> Session {
        self.authenticate_to("", credentials)
    }

    /// Says who one is, to the agent that `tenant` selects. May be called again, for another principal or
    /// tenant: the sessions are independent.
    pub fn authenticate_to(&self, tenant: &str, credentials: &Credentials) -> Session {
        let agent: Rc<str> = if tenant.is_empty() { DEFAULT_AGENT } else { tenant }.into();
        let span = self.line().span("authenticate", &agent, self.operations.parameters());
        let mut call = self.client.authenticate_request();
        let mut params = call.get();
        session::write_credentials(credentials, params.reborrow().init_credentials());
        params.set_tenant(tenant);
        encode_parameters(&span.carried_by(self.operations.parameters()), |n| params.init_parameters(n));
        let sent = call.send();
        let session = sent.pipeline.get_session();
        let ready = self.operations.ready(Pending::answer(sent, |_| Ok(())).traced(span));
        let operations = Operations::new(session.clone().cast_to(), self.line().clone(), agent);
        Session::new(session, ready, operations.with(ServiceParameters::clone(self.operations.parameters())))
    }

    /// Turns the secret of [`TaskHandle::share`] into the handle. The first claim wins; every other attempt,
    /// and a wrong, expired or revoked secret, fails in the same way.
    pub fn claim(&self, secret: &str) -> TaskHandle {
        let mut call = self.client.claim_request();
        call.get().set_secret(secret);
        let sent = call.send();
        let task = sent.pipeline.get_task();
        let ready = self.operations.ready(Pending::answer(sent, |_| Ok(())));
        TaskHandle::new(task, ready, self.line().clone())
    }

    /// The transport: its counters, its end.
    pub fn transport(&self) -> &Rc<ConnectionHandle> {
        &self.line().handle
    }

    /// Closes, whatever objects are left; calls on them fail with `DISCONNECTED`.
    pub fn close(&self) {
        self.transport().close(code::NORMAL, "");
    }
}

/// What servers call the agent of those who name none.
const DEFAULT_AGENT: &str = "default";

fn read_info(wire: server_info::Reader<'_>) -> Result<ServerInfo> {
    let limits = wire.get_limits().map_err(|error| unreadable(&error))?;
    let limits = limits.iter().map(|pair| Ok((text(pair.get_name())?, text(pair.get_value())?)));
    Ok(ServerInfo {
        revision: wire.get_revision(),
        software: text(wire.get_software())?,
        features: texts(wire.get_features())?,
        protocol_versions: texts(wire.get_protocol_versions())?,
        limits: limits.collect::<Result<_>>()?,
    })
}
