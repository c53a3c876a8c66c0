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
mod web;

use std::ops::Deref;
use std::rc::Rc;

use capnp::capability::FromClientHook as _;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

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
use super::endpoint::Binding;
use crate::fault::Result;
use crate::limits::WireLimits;
use crate::model::{AgentCard, ServiceParameters};
use crate::trace::{End, Span, Tracer};
use crate::transport::{
    self, CloseReason, ConnectionHandle, Counters, Driver, Frames, Speaker, WebSpeech, code,
};
use crate::wire::capnp::capability_capnp::{a2a_service, server_info};
use crate::wire::capnp::encode_parameters;
use call::{Errands, unreadable};
use grant::{text, texts};
use operations::read;

/// An object, over the wire that it came on.
#[derive(Clone)]
enum On<C, W = web::Voice> {
    Capnp(C),
    Web(W),
}

impl<C> On<C> {
    /// Makes a call with these service parameters, over whichever wire.
    fn call<T: 'static>(
        &self,
        span: Span,
        parameters: &ServiceParameters,
        capnp: impl FnOnce(&C, &ServiceParameters) -> Pending<T>,
        web: impl FnOnce(&web::Stub) -> Pending<T>,
    ) -> Pending<T> {
        let parameters = span.carried_by(parameters);
        let sent = match self {
            Self::Capnp(client) => capnp(client, &parameters),
            Self::Web(voice) => web(&voice.with(&parameters)),
        };
        sent.traced(span)
    }
}

/// A connection to a server, before anybody has said who they are. Has the [`Operations`] of A2A for
/// servers that allow anonymous access; elsewhere they fail with `UNAUTHENTICATED`.
///
/// It closes when it and every object that came from it are dropped.
#[derive(Clone)]
pub struct Connection {
    on: On<a2a_service::Client, web::Stub>,
    operations: Operations,
}

/// What the objects of a connection share. The last of them closes it.
struct Line {
    on: On<Rc<ConnectionHandle>, Rc<web::Talk>>,
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

    fn transport(&self) -> &Rc<transport::Line> {
        match &self.on {
            On::Capnp(handle) => handle.line(),
            On::Web(talk) => talk.line(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.transport().close(code::NORMAL, "");
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
    /// A connection over a WebSocket that is open, by this binding: binary frames for Cap'n Proto, text frames for
    /// Cap'n Web. It works as long as the future is polled, which ends with the connection and says why it ended.
    pub fn new<F: Frames>(
        frames: F,
        binding: Binding,
        limits: WireLimits,
    ) -> (Self, LocalBoxFuture<'static, CloseReason>) {
        let (errands, work) = Errands::new();
        let tracer = Tracer::default();
        let agent: Rc<str> = DEFAULT_AGENT.into();
        match binding {
            Binding::CapnProto => {
                let (client, handle, driver) =
                    transport::connect::<a2a_service::Client, F>(frames, None, limits);
                let line = Rc::new(Line { on: On::Capnp(handle), errands, tracer });
                let operations = Operations::new(On::Capnp(client.clone().cast_to()), line, agent);
                (Self { on: On::Capnp(client), operations }, running(driver, work))
            }
            Binding::CapnWeb => {
                let (talk, driver) = transport::connect_text(frames, limits, |line| {
                    let (talk, answers) = web::Talk::new(line, errands.clone());
                    (talk, WebSpeech::new(answers, line))
                });
                let main = web::Stub::main(&talk);
                let line = Rc::new(Line { on: On::Web(talk), errands, tracer });
                let operations = Operations::new(On::Web(web::Voice::main(main.clone())), line, agent);
                (Self { on: On::Web(main), operations }, running(driver, work))
            }
        }
    }

    /// The same connection, with these service parameters in each call.
    #[must_use]
    pub fn with_parameters(self, parameters: ServiceParameters) -> Self {
        Self { operations: self.operations.with(Rc::new(parameters)), ..self }
    }

    /// What the server says about itself.
    pub fn info(&self) -> Pending<ServerInfo> {
        match &self.on {
            On::Capnp(client) => Pending::plain_answer(client.info_request().send(), |results| {
                read_info(results.get_info().map_err(|error| unreadable(&error))?)
            }),
            On::Web(stub) => stub.ask("info", &[], web::read),
        }
    }

    /// The agent's public card. `tenant` selects the agent; empty for the default one.
    pub fn agent_card(&self, tenant: &str) -> Pending<AgentCard> {
        match &self.on {
            On::Capnp(client) => {
                let mut call = client.get_agent_card_request();
                let mut params = call.get();
                params.set_tenant(tenant);
                encode_parameters(self.operations.parameters(), |n| params.init_parameters(n));
                Pending::answer(call.send(), |results| read(results.get_card()))
            }
            On::Web(stub) => stub.ask("getAgentCard", &[web::text_of(tenant)], web::read),
        }
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
        let parameters = span.carried_by(self.operations.parameters());
        let (session, answer) = match &self.on {
            On::Capnp(client) => {
                let mut call = client.authenticate_request();
                let mut params = call.get();
                session::write_credentials(credentials, params.reborrow().init_credentials());
                params.set_tenant(tenant);
                encode_parameters(&parameters, |n| params.init_parameters(n));
                let sent = call.send();
                (On::Capnp(sent.pipeline.get_session()), Pending::answer(sent, |_| Ok(())))
            }
            On::Web(stub) => {
                let shown = web::credentials(credentials, &parameters);
                let (session, answer) = stub.open("authenticate", &[shown, web::text_of(tenant)]);
                (On::Web(web::Voice::new(session, Rc::new(parameters.into_owned()))), answer)
            }
        };
        let ready = self.operations.ready(answer.traced(span));
        Session::new(session, ready, self.line(), agent).with(self.operations.parameters().clone())
    }

    /// Turns the secret of [`TaskHandle::share`] into the handle. The first claim wins; every other attempt,
    /// and a wrong, expired or revoked secret, fails in the same way.
    pub fn claim(&self, secret: &str) -> TaskHandle {
        let (task, answer) = match &self.on {
            On::Capnp(client) => {
                let mut call = client.claim_request();
                call.get().set_secret(secret);
                let sent = call.send();
                (On::Capnp(sent.pipeline.get_task()), Pending::answer(sent, |_| Ok(())))
            }
            On::Web(stub) => {
                let (task, answer) = stub.open("claim", &[web::value(&secret)]);
                (On::Web(web::Voice::new(task, Rc::default())), answer)
            }
        };
        let task = TaskHandle::new(task, self.operations.ready(answer), self.line().clone());
        task.with(self.operations.parameters().clone())
    }

    /// What goes over this connection, and how it ends.
    pub fn transport(&self) -> &Rc<transport::Line> {
        self.line().transport()
    }

    /// What the connection holds at this moment.
    pub fn counters(&self) -> Counters {
        match &self.line().on {
            On::Capnp(handle) => handle.counters(),
            On::Web(talk) => talk.counters(),
        }
    }

    /// Closes, whatever objects are left; calls on them fail with `DISCONNECTED`.
    pub fn close(&self) {
        self.transport().close(code::NORMAL, "");
    }
}

/// Drives a connection and what is done besides, to the end of both.
fn running<F: Frames, S: Speaker>(
    driver: Driver<F, S>,
    work: impl Future<Output = ()> + 'static,
) -> LocalBoxFuture<'static, CloseReason> {
    async move {
        let (reason, ()) = futures::future::join(driver, work).await;
        reason
    }
    .boxed_local()
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
