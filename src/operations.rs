//! A2A's eleven operations: the service that has them, the caller that asks, and the table that bindings
//! visit. Adding an operation is one row here; a binding that forgets one does not compile or fails a test.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::Principal;
use crate::authority::{Grant, Permission};
use crate::fault::{Fault, Result};
use crate::model::{
    AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, Event,
    GetExtendedAgentCardRequest, GetTaskPushNotificationConfigRequest, GetTaskRequest,
    ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse, ListTasksRequest,
    ListTasksResponse, Message, SendMessageRequest, SendMessageResponse, ServiceParameters,
    SubscribeToTaskRequest, Task, TaskPushNotificationConfig,
};

/// Who asks, with what authority, and what accompanies the call. Built once, before routing.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The authority that this call runs under.
    pub grant: Arc<Grant>,
    /// A2A's service parameters of this call.
    pub parameters: ServiceParameters,
}

impl Caller {
    /// The configured subject behind the authority.
    pub fn principal(&self) -> &Arc<Principal> {
        self.grant.principal()
    }
}

/// What a stream carries.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamItem {
    /// The task as it stands; the events up to `seq` are contained in it.
    Snapshot {
        /// The task.
        task: Arc<Task>,
        /// The last event contained in it; 0 if it was just opened.
        seq: u64,
    },
    /// An event of the task. Exactly one event of a stream is final, and it is the last.
    Event {
        /// The event.
        event: Arc<Event>,
        /// Whether the stream ends with it.
        is_final: bool,
    },
    /// The agent answered with a message: there is no task, and the stream is over.
    Message(Message),
}

/// The events of one call. Dropping it ends the stream, never the task.
#[async_trait]
pub trait EventStream: Send {
    /// The next item; `None` after the last one. A fault ends the stream.
    async fn next(&mut self) -> Option<Result<StreamItem>>;
}

/// A2A's operations, transport-neutral. Every method first checks the caller's grant, then acts.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Sends a message; waits for a terminal or interrupted state unless asked to return at once.
    async fn send_message(&self, caller: &Caller, request: SendMessageRequest)
    -> Result<SendMessageResponse>;

    /// Sends a message and follows what comes of it.
    async fn send_streaming_message(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<Box<dyn EventStream>>;

    /// The task as it stands.
    async fn get_task(&self, caller: &Caller, request: GetTaskRequest) -> Result<Arc<Task>>;

    /// The caller's tasks, newest status first.
    async fn list_tasks(&self, caller: &Caller, request: ListTasksRequest) -> Result<ListTasksResponse>;

    /// Cancels a task that is not over.
    async fn cancel_task(&self, caller: &Caller, request: CancelTaskRequest) -> Result<Arc<Task>>;

    /// Follows a task that is not over, beginning with a snapshot.
    async fn subscribe_to_task(
        &self,
        caller: &Caller,
        request: SubscribeToTaskRequest,
    ) -> Result<Box<dyn EventStream>>;

    /// Adds a webhook to a task.
    async fn create_push_config(
        &self,
        caller: &Caller,
        config: TaskPushNotificationConfig,
    ) -> Result<TaskPushNotificationConfig>;

    /// One webhook of a task.
    async fn get_push_config(
        &self,
        caller: &Caller,
        request: GetTaskPushNotificationConfigRequest,
    ) -> Result<TaskPushNotificationConfig>;

    /// The webhooks of a task.
    async fn list_push_configs(
        &self,
        caller: &Caller,
        request: ListTaskPushNotificationConfigsRequest,
    ) -> Result<ListTaskPushNotificationConfigsResponse>;

    /// Removes a webhook from a task.
    async fn delete_push_config(
        &self,
        caller: &Caller,
        request: DeleteTaskPushNotificationConfigRequest,
    ) -> Result<()>;

    /// The card that only authenticated callers see.
    async fn get_extended_agent_card(
        &self,
        caller: &Caller,
        request: GetExtendedAgentCardRequest,
    ) -> Result<AgentCard>;
}

/// One row of the table: what an operation is called, and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name in A2A 1.0: the proto's rpc and the JSON-RPC method.
    pub name: &'static str,
    /// The JSON-RPC method of A2A 0.3, if it had one.
    pub name_v0_3: Option<&'static str>,
    /// HTTP method and path of the HTTP+JSON binding, without the tenant.
    pub http: (&'static str, &'static str),
    /// What the caller's grant must include.
    pub permission: Permission,
}

/// A unary operation as a function of the service.
pub type Unary<Q, A> = for<'a> fn(&'a dyn Service, &'a Caller, Q) -> BoxFuture<'a, Result<A>>;
/// A streaming operation as a function of the service.
pub type Streaming<Q> =
    for<'a> fn(&'a dyn Service, &'a Caller, Q) -> BoxFuture<'a, Result<Box<dyn EventStream>>>;

/// What a binding does with each row.
pub trait Visitor {
    /// Takes in an operation with one answer.
    fn unary<Q, A>(&mut self, row: &'static Row, call: Unary<Q, A>)
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + Send + 'static;

    /// Takes in an operation that answers with a stream.
    fn streaming<Q>(&mut self, row: &'static Row, call: Streaming<Q>)
    where
        Q: DeserializeOwned + Send + 'static;
}

/// The rows, in the order of `a2a.proto`.
pub static OPERATIONS: [Row; 11] = [
    row("SendMessage", Some("message/send"), ("POST", "/message:send"), Permission::Send),
    row("SendStreamingMessage", Some("message/stream"), ("POST", "/message:stream"), Permission::Send),
    row("GetTask", Some("tasks/get"), ("GET", "/tasks/{id}"), Permission::Read),
    row("ListTasks", None, ("GET", "/tasks"), Permission::Read),
    row("CancelTask", Some("tasks/cancel"), ("POST", "/tasks/{id}:cancel"), Permission::Cancel),
    row("SubscribeToTask", Some("tasks/resubscribe"), ("GET", "/tasks/{id}:subscribe"), Permission::Read),
    row(
        "CreateTaskPushNotificationConfig",
        Some("tasks/pushNotificationConfig/set"),
        ("POST", "/tasks/{task_id}/pushNotificationConfigs"),
        Permission::Push,
    ),
    row(
        "GetTaskPushNotificationConfig",
        Some("tasks/pushNotificationConfig/get"),
        ("GET", "/tasks/{task_id}/pushNotificationConfigs/{id}"),
        Permission::Push,
    ),
    row(
        "ListTaskPushNotificationConfigs",
        Some("tasks/pushNotificationConfig/list"),
        ("GET", "/tasks/{task_id}/pushNotificationConfigs"),
        Permission::Push,
    ),
    row(
        "DeleteTaskPushNotificationConfig",
        Some("tasks/pushNotificationConfig/delete"),
        ("DELETE", "/tasks/{task_id}/pushNotificationConfigs/{id}"),
        Permission::Push,
    ),
    row(
        "GetExtendedAgentCard",
        Some("agent/getAuthenticatedExtendedCard"),
        ("GET", "/extendedAgentCard"),
        Permission::ExtendedCard,
    ),
];

/// Shows every operation to a visitor, in the order of [`OPERATIONS`].
pub fn visit(visitor: &mut impl Visitor) {
    let [send, stream, get, list, cancel, subscribe, push @ .., extended] = &OPERATIONS;
    visitor.unary(send, |s, c, q| s.send_message(c, q));
    visitor.streaming(stream, |s, c, q| s.send_streaming_message(c, q));
    visitor.unary(get, |s, c, q| s.get_task(c, q));
    visitor.unary(list, |s, c, q| s.list_tasks(c, q));
    visitor.unary(cancel, |s, c, q| s.cancel_task(c, q));
    visitor.streaming(subscribe, |s, c, q| s.subscribe_to_task(c, q));
    let [create, get, list, delete] = push;
    visitor.unary(create, |s, c, q| s.create_push_config(c, q));
    visitor.unary(get, |s, c, q| s.get_push_config(c, q));
    visitor.unary(list, |s, c, q| s.list_push_configs(c, q));
    visitor.unary(delete, |s, c, q| s.delete_push_config(c, q));
    visitor.unary(extended, |s, c, q| s.get_extended_agent_card(c, q));
}

/// The row of this name, in either version's spelling.
pub fn find(name: &str) -> Option<&'static Row> {
    OPERATIONS.iter().find(|row| row.name == name || row.name_v0_3 == Some(name))
}

/// What an operation that an agent's card does not declare answers.
pub fn unsupported(what: &str) -> Fault {
    let message = format!("{what} is not supported by this agent; its card says what is");
    Fault::new(crate::fault::FaultKind::UnsupportedOperation, message)
}

const fn row(
    name: &'static str,
    name_v0_3: Option<&'static str>,
    http: (&'static str, &'static str),
    permission: Permission,
) -> Row {
    Row { name, name_v0_3, http, permission }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<&'static str>);

    impl Visitor for Seen {
        fn unary<Q, A>(&mut self, row: &'static Row, _: Unary<Q, A>)
        where
            Q: DeserializeOwned + Send + 'static,
            A: Serialize + Send + 'static,
        {
            self.0.push(row.name);
        }

        fn streaming<Q>(&mut self, row: &'static Row, _: Streaming<Q>)
        where
            Q: DeserializeOwned + Send + 'static,
        {
            self.0.push(row.name);
        }
    }

    #[test]
    fn a_visitor_sees_every_row_once_and_in_order() {
        let mut seen = Seen::default();
        visit(&mut seen);
        assert_eq!(seen.0, OPERATIONS.map(|row| row.name));
    }

    #[test]
    fn a_row_is_found_by_either_version_s_name() {
        assert_eq!(find("SendMessage"), Some(&OPERATIONS[0]));
        assert_eq!(find("tasks/resubscribe").map(|row| row.name), Some("SubscribeToTask"));
        assert_eq!(find("tasks/unknown"), None);
    }
}
