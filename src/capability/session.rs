//! A principal's authority over one tenant's agent.

use std::rc::Rc;
use std::sync::Arc;

use super::observer::{Observer, Subscription};
use super::task::{self, SendOptions, Started, TaskHandle};
use super::{Context, GrantHandle, LiveGuard, Serving};
use crate::auth::Credentials;
use crate::authority::{EndCause, Grant, Permissions, Policy};
use crate::engine::Start;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{Id, SendMessageRequest, SendMessageResponse, ServiceParameters, Timestamp, fresh_id};
use crate::operations::Caller;

/// Held by the client: a principal's authority over one tenant's agent, as attenuated. Dropping it gives
/// up this stub only; the objects that it returned live on.
#[derive(Debug)]
pub struct Session {
    context: Rc<Context>,
    grant: Arc<Grant>,
    _live: LiveGuard,
}

/// How a derived session is bounded.
#[derive(Clone, Debug, Default)]
pub struct SessionPolicy {
    /// Only what changes nothing.
    pub read_only: bool,
    /// Which conversations it reaches.
    pub context: ContextChoice,
    /// Expiry, label, and what dropping the grant does.
    pub grant: Policy,
}

/// Which conversations a derived session reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ContextChoice {
    /// Those of the session that it is derived from.
    #[default]
    Inherited,
    /// One new conversation, named by the server.
    Fresh,
    /// One conversation.
    Only(Id),
}

/// Who a session acts for, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The principal.
    pub subject: Arc<str>,
    /// What the principal belongs to.
    pub realm: Arc<str>,
    /// The agent.
    pub tenant: Arc<str>,
    /// What the session may do.
    pub permissions: Permissions,
    /// The one conversation that it reaches, if it is bound to one.
    pub context_id: Option<Arc<str>>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// Whether nobody showed credentials for it.
    pub anonymous: bool,
}

impl Session {
    pub(super) fn new(context: &Rc<Context>, grant: Arc<Grant>) -> Self {
        Self { context: Rc::clone(context), grant, _live: LiveGuard::session(context) }
    }

    /// The operations, for calls under this session's authority.
    pub fn service(&self) -> Serving<'_> {
        self.context.serving()
    }

    /// A caller with this session's authority.
    pub fn caller(&self, parameters: ServiceParameters) -> Caller {
        Caller { grant: Arc::clone(&self.grant), parameters }
    }

    /// Sends a message and waits for what comes of it. Where a task was opened or continued, its handle
    /// comes too.
    pub async fn send(
        &self,
        request: SendMessageRequest,
        options: SendOptions,
        parameters: ServiceParameters,
    ) -> Result<(SendMessageResponse, Option<TaskHandle>)> {
        let caller = self.caller(parameters);
        let response = self.context.send(&caller, request, options.turn_timeout).await?;
        let handle = match &response {
            SendMessageResponse::Task(sent) => {
                let mut handle = TaskHandle::new(&self.context, &self.grant, sent.id.clone());
                handle.cancels_on_drop(options.cancel_on_drop);
                Some(handle)
            }
            SendMessageResponse::Message(_) => None,
        };
        Ok((response, handle))
    }

    /// Sends a message; the observer is called with what comes of it. Answers once the send is accepted.
    pub async fn send_streaming(
        &self,
        request: SendMessageRequest,
        options: SendOptions,
        parameters: ServiceParameters,
        observer: impl Observer,
    ) -> Result<Started> {
        task::start(&self.context, self.caller(parameters), request, options, observer).await
    }

    /// Calls the observer with a task's events from `start` on.
    pub async fn subscribe(
        &self,
        id: Id,
        start: Start,
        parameters: ServiceParameters,
        observer: impl Observer,
    ) -> Result<(TaskHandle, Subscription)> {
        let handle = TaskHandle::new(&self.context, &self.grant, id);
        let subscription = handle.subscribe(start, parameters, observer).await?;
        Ok((handle, subscription))
    }

    /// A handle on one of the principal's own tasks.
    pub async fn task(&self, id: Id) -> Result<TaskHandle> {
        self.context.serving().find(&self.caller(ServiceParameters::new()), &id).await?;
        Ok(TaskHandle::new(&self.context, &self.grant, id))
    }

    /// Who this session acts for, and what it may do.
    pub fn who_am_i(&self) -> Result<Identity> {
        if let Some(cause) = self.grant.end_cause() {
            return Err(cause.fault());
        }
        let (principal, scope) = (self.grant.principal(), self.grant.scope());
        Ok(Identity {
            subject: Arc::clone(principal.subject()),
            realm: Arc::clone(principal.realm()),
            tenant: Arc::clone(scope.tenant()),
            permissions: self.grant.permissions(),
            context_id: scope.context().cloned(),
            expires: self.grant.expires(),
            anonymous: principal.is_anonymous(),
        })
    }

    /// Puts the session's end off to that of fresh credentials of the same principal, which must open the
    /// session's agent too. Answers with the new end; `None` is the end of the connection.
    pub async fn renew(&self, credentials: &Credentials) -> Result<Option<Timestamp>> {
        let identity = self.context.serving().authenticator().authenticate(credentials).await?;
        if identity.principal.owner_key() != self.grant.owner_key() {
            let message = "these credentials are somebody else's: authenticate for a session of theirs";
            return Err(Fault::new(FaultKind::Forbidden, message));
        }
        self.context.service.agents().opened_by(&identity, Some(self.grant.scope().tenant()))?;
        self.grant.extend(identity.expires)?;
        Ok(identity.expires)
    }

    /// A narrower session, and the right to take it back.
    pub fn attenuate(&self, policy: &SessionPolicy) -> Result<(Session, GrantHandle)> {
        let context = match &policy.context {
            ContextChoice::Inherited => None,
            ContextChoice::Fresh => Some(fresh_id()),
            ContextChoice::Only(id) => Some(id.clone()),
        };
        let policy = Policy { read_only: policy.read_only, context, ..policy.grant.clone() };
        let grant = self.grant.derive(&policy)?;
        let handle = GrantHandle::new(grant.revoker(), Arc::clone(self.grant.principal().subject()));
        Ok((Session::new(&self.context, grant), handle))
    }

    /// Ends this session and everything derived from it. Resolves when no call through any of it can start.
    pub async fn close(&self) {
        self.grant.revoke(EndCause::Closed).await;
    }
}
