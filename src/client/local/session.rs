//! A principal's authority over one agent.

use std::ops::Deref;

use capnp::capability::FromClientHook as _;

use super::super::authority::{ContextScope, Identity, SessionPolicy};
use super::super::credentials::{Credentials, Exposed};
use super::call::{Pending, Ready, unreadable};
use super::grant::{Grant, optional_text, text, texts, time, write_policy};
use super::operations::Operations;
use super::task::TaskHandle;
use crate::fault::Result;
use crate::model::{ServiceParameters, Timestamp};
use crate::wire::capnp::capability_capnp::{credentials, identity, session, session_policy};

/// What `authenticate` returns: no later call carries credentials. Has the [`Operations`] of A2A, under
/// its own authority. Dropping it gives up this stub only; the objects that it returned live on.
#[derive(Clone)]
pub struct Session {
    client: session::Client,
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
    /// The operations are its own.
    pub(super) fn new(client: session::Client, ready: Ready, operations: Operations) -> Self {
        Self { client, operations, ready }
    }

    /// The same session, with these service parameters in each call.
    #[must_use]
    pub fn with_parameters(self, parameters: ServiceParameters) -> Self {
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
        let mut call = self.client.task_request();
        call.get().set_id(id);
        let sent = call.send();
        let task = sent.pipeline.get_task();
        let ready = self.operations.ready(Pending::answer(sent, |_| Ok(())));
        TaskHandle::new(task, ready, self.line().clone()).of(self.agent())
    }

    /// Who this session speaks for.
    pub fn who_am_i(&self) -> Pending<Identity> {
        let call = self.client.who_am_i_request().send();
        Pending::answer(call, |results| {
            read_identity(results.get_identity().map_err(|error| unreadable(&error))?)
        })
    }

    /// Extends this session with fresh credentials of the same principal. Until when it lasts then;
    /// none: as long as the connection.
    pub fn renew(&self, credentials: &Credentials) -> Pending<Option<Timestamp>> {
        let mut call = self.client.renew_request();
        write_credentials(credentials, call.get().init_credentials());
        Pending::answer(call.send(), |results| Ok(time(results.get_expires())))
    }

    /// A session with less authority, and the right to take it back.
    pub fn attenuate(&self, policy: &SessionPolicy) -> (Session, Grant) {
        let mut call = self.client.attenuate_request();
        write_session_policy(policy, call.get().init_policy());
        let sent = call.send();
        let (session, grant) = (sent.pipeline.get_session(), sent.pipeline.get_grant());
        let ready = self.operations.ready(Pending::answer(sent, |_| Ok(())));
        let line = self.line();
        let operations = Operations::new(session.clone().cast_to(), line.clone(), self.agent().clone());
        (Session::new(session, ready.clone(), operations), Grant::new(grant, ready, line.clone()))
    }

    /// Ends this session and everything derived from it, streams included. May be called twice.
    pub fn close(&self) -> Pending<()> {
        Pending::plain_answer(self.client.close_request().send(), |_| Ok(()))
    }
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
