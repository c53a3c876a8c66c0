//! The objects, each over whatever wire it came: the methods of `client::local`, so that a test reads like a program.

use std::ops::Deref;

use a2a_webcap::client::{
    Credentials, Cursor, GrantInfo, GrantPolicy, Identity, Observer, SendCall, ServerInfo, SessionPolicy,
    TaskRole, local,
};
use a2a_webcap::model::{
    AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse, SendMessageResponse,
    ServiceParameters, SubscribeToTaskRequest, Task, TaskPushNotificationConfig, Timestamp,
};
use futures::FutureExt as _;

use super::{Pending, Ready, web};

/// A connection on which nobody has said who they are. It closes with the last object that came from it.
#[derive(Clone)]
pub(crate) enum Connection {
    Capnp(local::Connection),
    Capnweb(web::Connection),
}

/// A2A's operations, under some authority.
#[derive(Clone)]
pub(crate) enum Operations {
    Capnp(local::Operations),
    Capnweb(web::Operations),
}

/// A principal's authority over an agent. Has the [`Operations`].
#[derive(Clone)]
pub(crate) struct Session {
    inner: SessionOf,
    operations: Operations,
}

#[derive(Clone)]
enum SessionOf {
    Capnp(local::Session),
    Capnweb(web::Session),
}

/// Authority over a task.
#[derive(Clone)]
pub(crate) enum TaskHandle {
    Capnp(local::TaskHandle),
    Capnweb(web::TaskHandle),
}

/// The right to be called.
pub(crate) enum Subscription {
    Capnp(local::Subscription),
    Capnweb(web::Subscription),
}

/// The right to take back.
#[derive(Clone)]
pub(crate) enum Grant {
    Capnp(local::Grant),
    Capnweb(web::Grant),
}

/// A send that is on its way, or a subscription by id.
pub(crate) struct Started {
    pub(crate) task: TaskHandle,
    pub(crate) subscription: Subscription,
}

/// What our end of a connection knows of both: theirs mirrors it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    /// Objects of the peer, and answers of it, that we hold.
    pub(crate) imports: usize,
    /// Objects of ours that the peer holds.
    pub(crate) exports: usize,
    /// Calls without an answer, both ways, and answers that are still held or were given up.
    pub(crate) calls: usize,
}

impl Tables {
    /// Whether nothing is held beyond this.
    pub(crate) fn is_within(self, other: Self) -> bool {
        self.imports <= other.imports && self.exports <= other.exports && self.calls <= other.calls
    }
}

/// The same method over every wire.
macro_rules! each {
    ($of:ident, $object:expr, $it:ident => $call:expr) => {
        match $object {
            $of::Capnp($it) => $call.boxed_local(),
            $of::Capnweb($it) => $call.boxed_local(),
        }
    };
}

macro_rules! ready {
    ($of:ident, $object:expr) => {
        match $object {
            $of::Capnp(it) => it.ready().boxed_local().shared(),
            $of::Capnweb(it) => it.ready(),
        }
    };
}

impl Connection {
    /// The object of the Rust client, for what only that has.
    pub(crate) fn capnp(&self) -> &local::Connection {
        match self {
            Self::Capnp(connection) => connection,
            Self::Capnweb(_) => panic!("this is a connection of Cap'n Web"),
        }
    }

    pub(crate) fn info(&self) -> Pending<ServerInfo> {
        each!(Self, self, it => it.info())
    }

    pub(crate) fn agent_card(&self, tenant: &str) -> Pending<AgentCard> {
        each!(Self, self, it => it.agent_card(tenant))
    }

    /// The session of an API key.
    pub(crate) fn authenticate(&self, key: &str) -> Session {
        self.authenticate_to("", key)
    }

    /// The same, for the agent that `tenant` selects.
    pub(crate) fn authenticate_to(&self, tenant: &str, key: &str) -> Session {
        match self {
            Self::Capnp(it) => it.authenticate_to(tenant, &Credentials::api_key(key)).into(),
            Self::Capnweb(it) => it.authenticate_to(tenant, key).into(),
        }
    }

    pub(crate) fn claim(&self, secret: &str) -> TaskHandle {
        match self {
            Self::Capnp(it) => TaskHandle::Capnp(it.claim(secret)),
            Self::Capnweb(it) => TaskHandle::Capnweb(it.claim(secret)),
        }
    }

    /// The operations of somebody without a name.
    pub(crate) fn operations(&self) -> Operations {
        match self {
            Self::Capnp(it) => Operations::Capnp(local::Operations::clone(it)),
            Self::Capnweb(it) => Operations::Capnweb(it.operations()),
        }
    }

    /// Waits for its end.
    pub(crate) async fn closed(&self) {
        match self {
            Self::Capnp(it) => drop(it.transport().closed().await),
            Self::Capnweb(it) => it.closed().await,
        }
    }

    pub(crate) fn tables(&self) -> Tables {
        match self {
            Self::Capnp(it) => {
                let now = it.transport().counters();
                let calls = now.questions + now.answers + now.abandoned + now.calls;
                Tables { imports: now.imports, exports: now.exports, calls }
            }
            Self::Capnweb(it) => it.tables(),
        }
    }

    /// Bytes of what has been received and not been dealt with.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Capnp(it) => it.transport().counters().held_bytes,
            Self::Capnweb(it) => it.held_bytes(),
        }
    }
}

impl Operations {
    pub(crate) fn send(&self, call: impl Into<SendCall>) -> Pending<SendMessageResponse> {
        let call = call.into();
        each!(Self, self, it => it.send(call))
    }

    pub(crate) fn send_streaming(&self, call: impl Into<SendCall>, observer: impl Observer) -> Started {
        match self {
            Self::Capnp(it) => it.send_streaming(call, observer).into(),
            Self::Capnweb(it) => it.send_streaming(&call.into(), observer).into(),
        }
    }

    pub(crate) fn get_task(&self, request: &GetTaskRequest) -> Pending<Task> {
        each!(Self, self, it => it.get_task(request))
    }

    pub(crate) fn list_tasks(&self, request: &ListTasksRequest) -> Pending<ListTasksResponse> {
        each!(Self, self, it => it.list_tasks(request))
    }

    pub(crate) fn cancel_task(&self, request: &CancelTaskRequest) -> Pending<Task> {
        each!(Self, self, it => it.cancel_task(request))
    }

    pub(crate) fn subscribe_to_task(
        &self,
        request: &SubscribeToTaskRequest,
        cursor: Cursor,
        observer: impl Observer,
    ) -> Started {
        match self {
            Self::Capnp(it) => it.subscribe_to_task(request, cursor, observer).into(),
            Self::Capnweb(it) => it.subscribe_to_task(request, cursor, observer).into(),
        }
    }

    pub(crate) fn create_push_config(
        &self,
        config: &TaskPushNotificationConfig,
    ) -> Pending<TaskPushNotificationConfig> {
        each!(Self, self, it => it.create_push_config(config))
    }

    pub(crate) fn get_push_config(
        &self,
        request: &GetTaskPushNotificationConfigRequest,
    ) -> Pending<TaskPushNotificationConfig> {
        each!(Self, self, it => it.get_push_config(request))
    }

    pub(crate) fn list_push_configs(
        &self,
        request: &ListTaskPushNotificationConfigsRequest,
    ) -> Pending<ListTaskPushNotificationConfigsResponse> {
        each!(Self, self, it => it.list_push_configs(request))
    }

    pub(crate) fn delete_push_config(
        &self,
        request: &DeleteTaskPushNotificationConfigRequest,
    ) -> Pending<()> {
        each!(Self, self, it => it.delete_push_config(request))
    }

    pub(crate) fn get_extended_agent_card(
        &self,
        request: &GetExtendedAgentCardRequest,
    ) -> Pending<AgentCard> {
        each!(Self, self, it => it.get_extended_agent_card(request))
    }
}

impl Deref for Session {
    type Target = Operations;

    fn deref(&self) -> &Operations {
        &self.operations
    }
}

impl Session {
    /// The object of the Rust client, for what only that has.
    pub(crate) fn capnp(&self) -> &local::Session {
        match &self.inner {
            SessionOf::Capnp(session) => session,
            SessionOf::Capnweb(_) => panic!("this session came over Cap'n Web"),
        }
    }

    pub(crate) fn ready(&self) -> Ready {
        ready!(SessionOf, &self.inner)
    }

    /// The same session, with these service parameters in each call.
    pub(crate) fn with_parameters(&self, pairs: &[(&str, &str)]) -> Self {
        match &self.inner {
            SessionOf::Capnp(it) => {
                let parameters = ServiceParameters::from_pairs(pairs.iter().copied());
                it.clone().with_parameters(parameters.expect("they are few and short")).into()
            }
            SessionOf::Capnweb(it) => it.with_parameters(pairs).into(),
        }
    }

    pub(crate) fn task(&self, id: &str) -> TaskHandle {
        match &self.inner {
            SessionOf::Capnp(it) => TaskHandle::Capnp(it.task(id)),
            SessionOf::Capnweb(it) => TaskHandle::Capnweb(it.task(id)),
        }
    }

    pub(crate) fn who_am_i(&self) -> Pending<Identity> {
        each!(SessionOf, &self.inner, it => it.who_am_i())
    }

    /// Extends it with another API key of the same principal.
    pub(crate) fn renew(&self, key: &str) -> Pending<Option<Timestamp>> {
        match &self.inner {
            SessionOf::Capnp(it) => it.renew(&Credentials::api_key(key)).boxed_local(),
            SessionOf::Capnweb(it) => it.renew(key),
        }
    }

    pub(crate) fn attenuate(&self, policy: &SessionPolicy) -> (Self, Grant) {
        match &self.inner {
            SessionOf::Capnp(it) => {
                let (session, grant) = it.attenuate(policy);
                (session.into(), Grant::Capnp(grant))
            }
            SessionOf::Capnweb(it) => {
                let (session, grant) = it.attenuate(policy);
                (session.into(), Grant::Capnweb(grant))
            }
        }
    }

    pub(crate) fn close(&self) -> Pending<()> {
        each!(SessionOf, &self.inner, it => it.close())
    }
}

impl TaskHandle {
    pub(crate) fn ready(&self) -> Ready {
        ready!(Self, self)
    }

    pub(crate) fn get(&self, history_length: Option<u32>) -> Pending<Task> {
        each!(Self, self, it => it.get(history_length))
    }

    pub(crate) fn send(&self, call: impl Into<SendCall>) -> Pending<SendMessageResponse> {
        let call = call.into();
        each!(Self, self, it => it.send(call))
    }

    pub(crate) fn send_streaming(&self, call: impl Into<SendCall>, observer: impl Observer) -> Subscription {
        match self {
            Self::Capnp(it) => Subscription::Capnp(it.send_streaming(call, observer)),
            Self::Capnweb(it) => Subscription::Capnweb(it.send_streaming(&call.into(), observer)),
        }
    }

    pub(crate) fn cancel(&self) -> Pending<Task> {
        match self {
            Self::Capnp(it) => it.cancel(None).boxed_local(),
            Self::Capnweb(it) => it.cancel(),
        }
    }

    pub(crate) fn delete(&self) -> Pending<()> {
        each!(Self, self, it => it.delete())
    }

    pub(crate) fn subscribe(&self, cursor: Cursor, observer: impl Observer) -> Subscription {
        match self {
            Self::Capnp(it) => Subscription::Capnp(it.subscribe(cursor, observer)),
            Self::Capnweb(it) => Subscription::Capnweb(it.subscribe(cursor, observer)),
        }
    }

    pub(crate) fn attenuate(&self, role: TaskRole, policy: &GrantPolicy) -> (Self, Grant) {
        match self {
            Self::Capnp(it) => {
                let (task, grant) = it.attenuate(role, policy);
                (Self::Capnp(task), Grant::Capnp(grant))
            }
            Self::Capnweb(it) => {
                let (task, grant) = it.attenuate(role, policy);
                (Self::Capnweb(task), Grant::Capnweb(grant))
            }
        }
    }

    pub(crate) fn share(&self, role: TaskRole, policy: &GrantPolicy) -> Pending<(String, Grant)> {
        match self {
            Self::Capnp(it) => {
                let shared = it.share(role, policy);
                async move { shared.await.map(|(secret, grant)| (secret, Grant::Capnp(grant))) }.boxed_local()
            }
            Self::Capnweb(it) => {
                let shared = it.share(role, policy);
                async move { shared.await.map(|(secret, grant)| (secret, Grant::Capnweb(grant))) }
                    .boxed_local()
            }
        }
    }
}

impl Subscription {
    pub(crate) fn ready(&self) -> Ready {
        ready!(Self, self)
    }
}

impl Started {
    pub(crate) fn ready(&self) -> Ready {
        self.subscription.ready()
    }
}

impl Grant {
    pub(crate) fn ready(&self) -> Ready {
        ready!(Self, self)
    }

    pub(crate) fn info(&self) -> Pending<GrantInfo> {
        each!(Self, self, it => it.info())
    }

    pub(crate) fn revoke(&self) -> Pending<()> {
        each!(Self, self, it => it.revoke())
    }
}

impl From<local::Session> for Session {
    fn from(session: local::Session) -> Self {
        let operations = Operations::Capnp(local::Operations::clone(&session));
        Self { inner: SessionOf::Capnp(session), operations }
    }
}

impl From<web::Session> for Session {
    fn from(session: web::Session) -> Self {
        let operations = Operations::Capnweb(session.operations());
        Self { inner: SessionOf::Capnweb(session), operations }
    }
}

impl From<local::Started> for Started {
    fn from(local::Started { task, subscription }: local::Started) -> Self {
        Self { task: TaskHandle::Capnp(task), subscription: Subscription::Capnp(subscription) }
    }
}

impl From<web::Started> for Started {
    fn from(web::Started { task, subscription }: web::Started) -> Self {
        Self { task: TaskHandle::Capnweb(task), subscription: Subscription::Capnweb(subscription) }
    }
}
