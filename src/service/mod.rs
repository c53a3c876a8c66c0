//! A2A's operations over the engine: checks the caller's grant, then acts. One file per family.
//!
//! Every method begins with [`Grant::check`](crate::authority::Grant::check) and holds the pass until the
//! call has been handed to the engine, which is what promise P6 rests on.

mod agents;
mod authenticate;
mod card;
mod meters;
mod push;
mod send;
mod stream;
mod task;

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;

pub use agents::{Agents, DEFAULT_TENANT, interface};
pub use meters::{Measured, Meters, Method};
pub use send::Begun;

use crate::auth::Authenticator;
use crate::authority::{Authority, Pass, Permission};
use crate::clock::Clock;
use crate::engine::{Engine, Owner, Scope};
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{
    AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, Id, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse, SendMessageRequest,
    SendMessageResponse, ServiceParameters, SubscribeToTaskRequest, Task, TaskPushNotificationConfig,
};
use crate::operations::{Caller, EventStream, Service};
use crate::trace::{End, Span};

/// The A2A versions that the capability surface speaks; the first where the caller names none.
pub const VERSIONS: &[&str] = &["1.0"];

/// A server's agents, behind A2A's operations.
#[derive(Debug)]
pub struct AgentService {
    engine: Engine,
    agents: Agents,
    authority: Arc<Authority>,
    authenticator: Arc<Authenticator>,
    clock: Clock,
    meters: Meters,
}

impl AgentService {
    /// The operations on these agents, for whom the authenticator lets in.
    pub fn new(
        engine: Engine,
        agents: Agents,
        authority: Arc<Authority>,
        authenticator: Arc<Authenticator>,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self { engine, agents, authority, authenticator, clock, meters: Meters::default() })
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Where grants come from.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Who decides who a caller is.
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// The wall clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How calls went.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// The agents.
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// Settles the version and the extensions of a call. Answers with what the reply says of them.
    pub fn negotiate(&self, caller: &Caller) -> Result<ServiceParameters> {
        let parameters = &caller.parameters;
        if parameters.is_empty() && !self.agents.any_requires_extensions() {
            return Ok(ServiceParameters::new());
        }
        parameters.check_version(VERSIONS)?;
        let card = self.agents.card(caller.grant.scope().tenant())?;
        let asked = |uri: &str| parameters.extensions().any(|asked| asked == uri);
        let mut activated = Vec::new();
        for extension in &card.capabilities.extensions {
            let uri = extension.uri.as_deref().unwrap_or_default();
            if asked(uri) {
                activated.push(uri);
            } else if extension.required {
                let message = format!("this agent requires the extension {uri}: name it in A2A-Extensions");
                return Err(Fault::new(FaultKind::ExtensionSupportRequired, message).with("extension", uri));
            }
        }
        let mut reply = ServiceParameters::new();
        if !activated.is_empty() {
            reply.insert(ServiceParameters::EXTENSIONS, &activated.join(","))?;
        }
        Ok(reply)
    }

    /// Does a call of an operation, on a task if one is given: it is counted, and is a span in its caller's trace.
    async fn observe<T>(
        &self,
        method: Method,
        caller: &Caller,
        task: Option<&Id>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let span = self.span(method.name(), caller);
        if let Some(id) = task {
            span.task(id);
        }
        self.meters.measure(method, &span, pin!(call)).await
    }

    /// Begins the span of a call.
    fn span(&self, method: &'static str, caller: &Caller) -> Span {
        let span = self.engine.tracer().call(End::Server, method, &caller.parameters);
        span.agent(caller.grant.scope().tenant());
        span
    }

    fn check(&self, caller: &Caller, permission: Permission) -> Result<Pass> {
        caller.grant.check(permission, self.clock.now())
    }

    /// Whose tasks the caller reaches.
    fn scope(&self, caller: &Caller) -> Scope {
        let owner = Owner { key: caller.grant.owner_key(), anonymous: caller.principal().is_anonymous() };
        Scope { agent: Arc::clone(caller.grant.scope().tenant()), owner }
    }
}

#[async_trait]
impl Service for AgentService {
    async fn send_message(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<SendMessageResponse> {
        self.send(caller, request, None).await
    }

    async fn send_streaming_message(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<Box<dyn EventStream>> {
        self.stream(caller, request).await
    }

    async fn get_task(&self, caller: &Caller, request: GetTaskRequest) -> Result<Arc<Task>> {
        let id = Id::clone(&request.id);
        self.observe(Method::GetTask, caller, Some(&id), self.get(caller, request)).await
    }

    async fn list_tasks(&self, caller: &Caller, request: ListTasksRequest) -> Result<ListTasksResponse> {
        self.observe(Method::ListTasks, caller, None, self.list(caller, request)).await
    }

    async fn cancel_task(&self, caller: &Caller, request: CancelTaskRequest) -> Result<Arc<Task>> {
        let id = Id::clone(&request.id);
        self.observe(Method::CancelTask, caller, Some(&id), self.cancel(caller, request)).await
    }

    async fn subscribe_to_task(
        &self,
        caller: &Caller,
        request: SubscribeToTaskRequest,
    ) -> Result<Box<dyn EventStream>> {
        self.follow(caller, request).await
    }

    async fn create_push_config(
        &self,
        caller: &Caller,
        _config: TaskPushNotificationConfig,
    ) -> Result<TaskPushNotificationConfig> {
        self.no_push(caller, "CreateTaskPushNotificationConfig").await
    }

    async fn get_push_config(
        &self,
        caller: &Caller,
        _request: GetTaskPushNotificationConfigRequest,
    ) -> Result<TaskPushNotificationConfig> {
        self.no_push(caller, "GetTaskPushNotificationConfig").await
    }

    async fn list_push_configs(
        &self,
        caller: &Caller,
        _request: ListTaskPushNotificationConfigsRequest,
    ) -> Result<ListTaskPushNotificationConfigsResponse> {
        self.no_push(caller, "ListTaskPushNotificationConfigs").await
    }

    async fn delete_push_config(
        &self,
        caller: &Caller,
        _request: DeleteTaskPushNotificationConfigRequest,
    ) -> Result<()> {
        self.no_push(caller, "DeleteTaskPushNotificationConfig").await
    }

    async fn get_extended_agent_card(
        &self,
        caller: &Caller,
        _request: GetExtendedAgentCardRequest,
    ) -> Result<AgentCard> {
        let card = async { self.extended_card(caller) };
        self.observe(Method::GetExtendedAgentCard, caller, None, card).await
    }
}
