//! `Session`: a principal's authority over one tenant's agent.

use std::rc::Rc;

use super::grant::{self, GrantShell};
use super::operations::Authorized;
use super::reply::{fail, params, permissions, text};
use super::task::TaskShell;
use crate::auth::Credentials;
use crate::capability::{ContextChoice, Identity, Session, SessionPolicy};
use crate::fault::{Fault, Result};
use crate::model::Id;
use crate::transport::ConnectionHandle;
use crate::wire::capnp::Broken;
use crate::wire::capnp::capability_capnp::{credentials, identity, session, session_policy};

pub(super) struct SessionShell {
    session: Rc<Session>,
    connection: Rc<ConnectionHandle>,
}

impl SessionShell {
    pub(super) fn client(session: Session, connection: &Rc<ConnectionHandle>) -> session::Client {
        capnp_rpc::new_client(Self { session: Rc::new(session), connection: Rc::clone(connection) })
    }
}

impl Authorized for SessionShell {
    fn session(&self) -> Result<Rc<Session>> {
        Ok(Rc::clone(&self.session))
    }

    fn connection(&self) -> &Rc<ConnectionHandle> {
        &self.connection
    }
}

/// What a caller shows to prove who it is.
pub(super) fn credentials(reader: capnp::Result<credentials::Reader<'_>>) -> Result<Credentials> {
    Ok(match params(params(reader)?.which().map_err(Into::into))? {
        credentials::Unset(()) => Credentials::None,
        credentials::ApiKey(key) => Credentials::api_key(text("apiKey", key)?.unwrap_or_default()),
        credentials::Bearer(token) => Credentials::bearer(text("bearer", token)?.unwrap_or_default()),
    })
}

fn policy(reader: capnp::Result<session_policy::Reader<'_>>) -> Result<SessionPolicy> {
    let reader = params(reader)?;
    let context = match params(reader.get_context().which().map_err(Into::into))? {
        session_policy::context::Unset(()) => ContextChoice::Inherited,
        session_policy::context::Fresh(()) => ContextChoice::Fresh,
        session_policy::context::Only(id) => match text("policy.context.only", id)? {
            Some(id) => ContextChoice::Only(Id::from(id)),
            None => return Err(Fault::invalid("policy.context.only", "is required and must not be empty")),
        },
    };
    Ok(SessionPolicy {
        read_only: reader.get_read_only(),
        context,
        grant: grant::policy(reader.get_grant())?,
    })
}

fn encode_identity(who: &Identity, mut reply: identity::Builder<'_>) {
    reply.set_subject(&*who.subject);
    reply.set_realm(&*who.realm);
    reply.set_tenant(&*who.tenant);
    reply.set_context_id(who.context_id.as_deref().unwrap_or_default());
    reply.set_expires(who.expires.map_or(0, |expires| expires.unix_nanos()));
    reply.set_anonymous(who.anonymous);
    permissions(who.permissions, |count| reply.init_permissions(count));
}

impl session::Server for SessionShell {
    async fn task(
        self: Rc<Self>,
        params: session::TaskParams,
        mut results: session::TaskResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let id = text("id", self::params(params.get())?.get_id())?.map(Id::from);
            self.session.task(id.ok_or_else(|| Fault::invalid("id", "is required"))?).await
        };
        match answer.await {
            Ok(task) => results.get().set_task(TaskShell::client(task, &self.connection)),
            Err(fault) => {
                results.get().set_task(Broken::new(&fault).client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn who_am_i(
        self: Rc<Self>,
        _: session::WhoAmIParams,
        mut results: session::WhoAmIResults,
    ) -> capnp::Result<()> {
        match self.session.who_am_i() {
            Ok(who) => encode_identity(&who, results.get().init_identity()),
            Err(fault) => fail(&fault, results.get().init_error()),
        }
        Ok(())
    }

    async fn renew(
        self: Rc<Self>,
        params: session::RenewParams,
        mut results: session::RenewResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let shown = credentials(self::params(params.get())?.get_credentials())?;
            self.session.renew(&shown).await
        };
        match answer.await {
            Ok(expires) => results.get().set_expires(expires.map_or(0, |expires| expires.unix_nanos())),
            Err(fault) => fail(&fault, results.get().init_error()),
        }
        Ok(())
    }

    async fn attenuate(
        self: Rc<Self>,
        params: session::AttenuateParams,
        mut results: session::AttenuateResults,
    ) -> capnp::Result<()> {
        let answer = (|| self.session.attenuate(&policy(self::params(params.get())?.get_policy())?))();
        match answer {
            Ok((narrower, handle)) => {
                results.get().set_session(Self::client(narrower, &self.connection));
                results.get().set_grant(GrantShell::client(handle));
            }
            Err(fault) => {
                let broken = Broken::new(&fault);
                results.get().set_session(broken.client());
                results.get().set_grant(broken.client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn close(self: Rc<Self>, _: session::CloseParams, _: session::CloseResults) -> capnp::Result<()> {
        self.session.close().await;
        Ok(())
    }
}
