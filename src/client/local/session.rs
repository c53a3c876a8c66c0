//! A principal's authority over one agent.

use std::ops::Deref;
use std::rc::Rc;

use capnp::capability::FromClientHook as _;
use serde::Deserialize;

use super::super::authority::{ContextScope, Identity, SessionPolicy};
use super::super::credentials::{Credentials, Exposed};
use super::call::{Pending, Ready, unreadable};
use super::grant::{Grant, optional_text, text, texts, time, write_policy};
use super::operations::Operations;
use super::task::TaskHandle;
use super::{Line, On, web};
use crate::fault::Result;
use crate::model::{ServiceParameters, Timestamp};
use crate::wire::capnp::capability_capnp::{credentials, identity, session, session_policy};

/// What `authenticate` returns: no later call carries credentials. Has the [`Operations`] of A2A, under
/// its own authority. Dropping it gives up this stub only; the objects that it returned live on.
#[derive(Clone)]
pub struct Session {
    on: On<session::Client>,
    operations: Operations,
    ready: Ready,
}

/// The schema's `extends`.
impl Deref for Session {
    type Target = Operations;

    fn deref(&self) -> &Operations {
        &self.operations
    }
}

impl Session {
    pub(super) fn new(on: On<session::Client>, ready: Ready, line: &Rc<Line>, agent: Rc<str>) -> Self {
        let operations = match &on {
            On::Capnp(client) => On::Capnp(client.clone().cast_to()),
            On::Web(voice) => On::Web(voice.clone()),
        };
        Self { on, operations: Operations::new(operations, line.clone(), agent), ready }
    }

    /// The same session, with these service parameters in each call. What it gives out begins with the same.
    #[must_use]
    pub fn with_parameters(self, parameters: ServiceParameters) -> Self {
        self.with(Rc::new(parameters))
    }

    pub(super) fn with(self, parameters: Rc<ServiceParameters>) -> Self {
        Self { operations: self.operations.with(parameters), ..self }
    }

    /// Waits until the session exists.
    ///
    /// # Errors
    /// Why it does not: `UNAUTHENTICATED`, most often.
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// A handle on one of the principal's own tasks. A missing and a foreign task fail in the same way.
    pub fn task(&self, id: &str) -> TaskHandle {
        let (task, answer) = match &self.on {
            On::Capnp(client) => {
                let mut call = client.task_request();
                call.get().set_id(id);
                let sent = call.send();
                (On::Capnp(sent.pipeline.get_task()), Pending::answer(sent, |_| Ok(())))
            }
            On::Web(voice) => {
                let (task, answer) = voice.stub().open("task", &[web::value(&id)]);
                (On::Web(web::Voice::new(task, voice.said().clone())), answer)
            }
        };
        let task = TaskHandle::new(task, self.operations.ready(answer), self.line().clone());
        task.of(self.agent()).with(self.parameters().clone())
    }

    /// Who this session speaks for.
    pub fn who_am_i(&self) -> Pending<Identity> {
        match &self.on {
            On::Capnp(client) => Pending::answer(client.who_am_i_request().send(), |results| {
                read_identity(results.get_identity().map_err(|error| unreadable(&error))?)
            }),
            On::Web(voice) => voice.stub().ask("whoAmI", &[], web::read),
        }
    }

    /// Extends this session with fresh credentials of the same principal. Until when it lasts then;
    /// none: as long as the connection.
    pub fn renew(&self, credentials: &Credentials) -> Pending<Option<Timestamp>> {
        match &self.on {
            On::Capnp(client) => {
                let mut call = client.renew_request();
                write_credentials(credentials, call.get().init_credentials());
                Pending::answer(call.send(), |results| Ok(time(results.get_expires())))
            }
            On::Web(voice) => {
                let shown = web::credentials(credentials, &ServiceParameters::new());
                let read = |answer| web::read::<Renewed>(answer).map(|renewed| renewed.expires);
                voice.stub().ask("renew", &[shown], read)
            }
        }
    }

    /// A session with less authority, and the right to take it back.
    pub fn attenuate(&self, policy: &SessionPolicy) -> (Session, Grant) {
        let (session, grant, answer) = match &self.on {
            On::Capnp(client) => {
                let mut call = client.attenuate_request();
                write_session_policy(policy, call.get().init_policy());
                let sent = call.send();
                let (session, grant) = (sent.pipeline.get_session(), sent.pipeline.get_grant());
                (On::Capnp(session), On::Capnp(grant), Pending::answer(sent, |_| Ok(())))
            }
            On::Web(voice) => {
                let names = ["session", "grant"];
                let ([session, grant], answer) =
                    voice.stub().open_parts("attenuate", &[web::value(policy)], names);
                let session = web::Voice::new(session, voice.said().clone());
                (On::Web(session), On::Web(grant), answer.emptied())
            }
        };
        let ready = self.operations.ready(answer);
        let session = Session::new(session, ready.clone(), self.line(), self.agent().clone());
        (session.with(self.parameters().clone()), Grant::new(grant, ready, self.line().clone()))
    }

    /// Ends this session and everything derived from it, streams included. May be called twice.
    pub fn close(&self) -> Pending<()> {
        match &self.on {
            On::Capnp(client) => Pending::plain_answer(client.close_request().send(), |_| Ok(())),
            On::Web(voice) => voice.stub().ask("close", &[], web::empty),
        }
    }
}

/// What `renew` answers over Cap'n Web.
#[derive(Deserialize)]
struct Renewed {
    expires: Option<Timestamp>,
}

pub(super) fn write_credentials(credentials: &Credentials, mut wire: credentials::Builder<'_>) {
    match credentials.expose() {
        Exposed::ApiKey(key) => wire.set_api_key(key),
        Exposed::Bearer(token) => wire.set_bearer(token),
    }
}

fn write_session_policy(policy: &SessionPolicy, mut wire: session_policy::Builder<'_>) {
    wire.set_read_only(policy.read_only);
    let mut context = wire.reborrow().init_context();
    match &policy.context {
        ContextScope::Every => context.set_unset(()),
        ContextScope::Fresh => context.set_fresh(()),
        ContextScope::Only(id) => context.set_only(id),
    }
    write_policy(&policy.grant, wire.init_grant());
}

fn read_identity(wire: identity::Reader<'_>) -> Result<Identity> {
    Ok(Identity {
        subject: text(wire.get_subject())?,
        realm: text(wire.get_realm())?,
        tenant: text(wire.get_tenant())?,
        permissions: texts(wire.get_permissions())?,
        context_id: optional_text(wire.get_context_id())?,
        expires: time(wire.get_expires()),
        anonymous: wire.get_anonymous(),
    })
}
