//! The objects: what each method is called on the wire, and what it takes and gives.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use a2a_webcap::client::{
    Cursor, GrantInfo, GrantPolicy, Identity, Observer, SendCall, ServerInfo, SessionPolicy, TaskRole,
};
use a2a_webcap::fault::{Fault, FaultKind, Result};
use a2a_webcap::model::{
    AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse, SendMessageResponse,
    SubscribeToTaskRequest, Task, TaskPushNotificationConfig, Timestamp,
};
use futures::FutureExt as _;
use futures::future::{Shared, ready};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::oneshot;

use super::super::{Pending, Ready, Tables};
use super::ear::listen;
use super::line::{Held, Line, Stub};
use super::values::{
    Value, cursor, grant_policy, json as of_json, optional, record, role, send, session_policy, value,
};

#[derive(Clone)]
pub(crate) struct Connection(Stub);

#[derive(Clone)]
pub(crate) struct Operations(Stub);

#[derive(Clone)]
pub(crate) struct Session(Stub, Ready);

#[derive(Clone)]
pub(crate) struct TaskHandle(Stub, Ready);

pub(crate) struct Subscription(#[expect(dead_code, reason = "its end is the message")] Stub, Ready);

#[derive(Clone)]
pub(crate) struct Grant(Stub, Ready);

pub(crate) struct Started {
    pub(crate) task: TaskHandle,
    pub(crate) subscription: Subscription,
}

/// Asks for a value.
fn ask<T: 'static>(
    stub: &Stub,
    method: &str,
    arguments: &[Value],
    read: impl FnOnce(Value) -> Result<T> + 'static,
) -> Pending<T> {
    match stub.call(&[method], arguments) {
        Ok((question, answer)) => async move {
            // Dropped before the answer, it gives the call up.
            let _question = question;
            read(answered(answer).await?)
        }
        .boxed_local(),
        Err(fault) => ready(Err(fault)).boxed_local(),
    }
}

/// The same for something of the model.
fn get<T: DeserializeOwned + 'static>(stub: &Stub, method: &str, arguments: &[Value]) -> Pending<T> {
    ask(stub, method, arguments, of_json)
}

/// The same for nothing: `undefined`.
fn done(stub: &Stub, method: &str, arguments: &[Value]) -> Pending<()> {
    ask(stub, method, arguments, |value| match value {
        Value::Undefined => Ok(()),
        other => panic!("undefined was to come, and {other:?} came"),
    })
}

async fn answered(answer: oneshot::Receiver<Result<Value>>) -> Result<Value> {
    let lost = |_| Fault::new(FaultKind::Disconnected, "the connection is over");
    answer.await.map_err(lost)?
}

/// Asks for an object.
fn open(stub: &Stub, method: &str, arguments: &[Value]) -> (Stub, Ready) {
    match stub.call(&[method], arguments) {
        Ok((question, answer)) => {
            let held = Rc::new(Held::Result(question));
            let ready = settle(&stub.line, Rc::clone(&held), answer);
            (stub.of(Ok(held)), ready)
        }
        Err(fault) => broken(stub, fault),
    }
}

/// Asks for two objects, each of which is held by itself then.
fn open_both(stub: &Stub, method: &str, arguments: &[Value], names: [&str; 2]) -> ([Stub; 2], Ready) {
    let (both, ready) = open(stub, method, arguments);
    let part = |name| match both.part(name) {
        Ok((question, answer)) => {
            let held = Rc::new(Held::Result(question));
            drop(settle(&both.line, Rc::clone(&held), answer));
            stub.of(Ok(held))
        }
        Err(fault) => stub.of(Err(fault)),
    };
    (names.map(part), ready)
}

/// Keeps a question until it is answered, whoever has let go of what it asked for: dropping it before would give the
/// call up.
fn settle(line: &Rc<Line>, held: Rc<Held>, answer: oneshot::Receiver<Result<Value>>) -> Ready {
    let settled = async move {
        let answer = answered(answer).await.map(drop);
        drop(held);
        answer
    };
    let ready: Shared<Pending<()>> = settled.boxed_local().shared();
    line.run(ready.clone().map(drop));
    ready
}

fn broken(stub: &Stub, fault: Fault) -> (Stub, Ready) {
    (stub.of(Err(fault.clone())), ready(Err(fault)).boxed_local().shared())
}

impl Connection {
    pub(crate) async fn open(url: &str, patience: Duration) -> Result<Self> {
        Line::open(url, patience).await.map(Self)
    }

    pub(crate) fn info(&self) -> Pending<ServerInfo> {
        ask(&self.0, "info", &[], |value| of_json::<Info>(value).map(ServerInfo::from))
    }

    pub(crate) fn agent_card(&self, tenant: &str) -> Pending<AgentCard> {
        get(&self.0, "getAgentCard", &[tenant_of(tenant)])
    }

    pub(crate) fn authenticate_to(&self, tenant: &str, key: &str) -> Session {
        let (stub, ready) = open(&self.0, "authenticate", &[api_key(key), tenant_of(tenant)]);
        Session(stub, ready)
    }

    pub(crate) fn claim(&self, secret: &str) -> TaskHandle {
        let (stub, ready) = open(&self.0, "claim", &[value(&secret)]);
        TaskHandle(stub, ready)
    }

    pub(crate) fn operations(&self) -> Operations {
        Operations(self.0.clone())
    }

    pub(crate) async fn closed(&self) {
        self.0.line.closed().await;
    }

    pub(crate) fn tables(&self) -> Tables {
        let now = self.0.line.stats();
        let calls = now.questions + now.calls + now.waiting;
        Tables { imports: now.imports, exports: now.exports, calls }
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.0.line.held_bytes()
    }
}

impl Operations {
    pub(crate) fn send(&self, call: SendCall) -> Pending<SendMessageResponse> {
        get(&self.0, "sendMessage", &send(&call))
    }

    pub(crate) fn send_streaming(&self, call: &SendCall, observer: impl Observer) -> Started {
        let [message, config] = send(call);
        self.begin("sendMessageStreaming", &[message, config, listen(&self.0.line, observer)])
    }

    pub(crate) fn get_task(&self, request: &GetTaskRequest) -> Pending<Task> {
        get(&self.0, "getTask", &[value(&request.id), optional(request.history_length.as_ref())])
    }

    pub(crate) fn list_tasks(&self, request: &ListTasksRequest) -> Pending<ListTasksResponse> {
        get(&self.0, "listTasks", &[value(request)])
    }

    pub(crate) fn cancel_task(&self, request: &CancelTaskRequest) -> Pending<Task> {
        get(&self.0, "cancelTask", &[value(&request.id), optional(request.metadata.as_ref())])
    }

    pub(crate) fn subscribe_to_task(
        &self,
        request: &SubscribeToTaskRequest,
        from: Cursor,
        observer: impl Observer,
    ) -> Started {
        let callback = listen(&self.0.line, observer);
        self.begin("subscribeToTask", &[value(&request.id), callback, cursor(from)])
    }

    fn begin(&self, method: &str, arguments: &[Value]) -> Started {
        let ([task, subscription], ready) = open_both(&self.0, method, arguments, ["task", "subscription"]);
        Started { task: TaskHandle(task, ready.clone()), subscription: Subscription(subscription, ready) }
    }

    pub(crate) fn create_push_config(
        &self,
        config: &TaskPushNotificationConfig,
    ) -> Pending<TaskPushNotificationConfig> {
        get(&self.0, "createTaskPushNotificationConfig", &[value(config)])
    }

    pub(crate) fn get_push_config(
        &self,
        request: &GetTaskPushNotificationConfigRequest,
    ) -> Pending<TaskPushNotificationConfig> {
        get(&self.0, "getTaskPushNotificationConfig", &[value(&request.task_id), value(&request.id)])
    }

    pub(crate) fn list_push_configs(
        &self,
        request: &ListTaskPushNotificationConfigsRequest,
    ) -> Pending<ListTaskPushNotificationConfigsResponse> {
        let page = json!({ "pageSize": request.page_size, "pageToken": request.page_token });
        get(&self.0, "listTaskPushNotificationConfigs", &[value(&request.task_id), value(&page)])
    }

    pub(crate) fn delete_push_config(
        &self,
        request: &DeleteTaskPushNotificationConfigRequest,
    ) -> Pending<()> {
        done(&self.0, "deleteTaskPushNotificationConfig", &[value(&request.task_id), value(&request.id)])
    }

    pub(crate) fn get_extended_agent_card(&self, _: &GetExtendedAgentCardRequest) -> Pending<AgentCard> {
        get(&self.0, "getExtendedAgentCard", &[])
    }
}

impl Session {
    pub(crate) fn operations(&self) -> Operations {
        Operations(self.0.clone())
    }

    pub(crate) fn ready(&self) -> Ready {
        self.1.clone()
    }

    pub(crate) fn with_parameters(&self, pairs: &[(&str, &str)]) -> Self {
        let pairs: BTreeMap<_, _> = pairs.iter().copied().collect();
        let (stub, ready) = open(&self.0, "withParameters", &[value(&json!({ "parameters": pairs }))]);
        Self(stub, ready)
    }

    pub(crate) fn task(&self, id: &str) -> TaskHandle {
        let (stub, ready) = open(&self.0, "task", &[value(&id)]);
        TaskHandle(stub, ready)
    }

    pub(crate) fn who_am_i(&self) -> Pending<Identity> {
        ask(&self.0, "whoAmI", &[], |value| of_json::<Who>(value).map(Identity::from))
    }

    pub(crate) fn renew(&self, key: &str) -> Pending<Option<Timestamp>> {
        ask(&self.0, "renew", &[api_key(key)], |value| Ok(of_json::<Renewed>(value)?.expires))
    }

    pub(crate) fn attenuate(&self, policy: &SessionPolicy) -> (Self, Grant) {
        let arguments = [session_policy(policy)];
        let ([session, grant], ready) = open_both(&self.0, "attenuate", &arguments, ["session", "grant"]);
        (Self(session, ready.clone()), Grant(grant, ready))
    }

    pub(crate) fn close(&self) -> Pending<()> {
        done(&self.0, "close", &[])
    }
}

impl TaskHandle {
    pub(crate) fn ready(&self) -> Ready {
        self.1.clone()
    }

    pub(crate) fn get(&self, history_length: Option<u32>) -> Pending<Task> {
        get(&self.0, "get", &[optional(history_length.as_ref())])
    }

    pub(crate) fn send(&self, call: SendCall) -> Pending<SendMessageResponse> {
        get(&self.0, "send", &send(&call))
    }

    pub(crate) fn send_streaming(&self, call: &SendCall, observer: impl Observer) -> Subscription {
        let [message, config] = send(call);
        let callback = listen(&self.0.line, observer);
        let (stub, ready) = open(&self.0, "sendStreaming", &[message, config, callback]);
        Subscription(stub, ready)
    }

    pub(crate) fn cancel(&self) -> Pending<Task> {
        get(&self.0, "cancel", &[])
    }

    pub(crate) fn delete(&self) -> Pending<()> {
        done(&self.0, "delete", &[])
    }

    pub(crate) fn subscribe(&self, from: Cursor, observer: impl Observer) -> Subscription {
        let callback = listen(&self.0.line, observer);
        let (stub, ready) = open(&self.0, "subscribe", &[callback, cursor(from)]);
        Subscription(stub, ready)
    }

    pub(crate) fn attenuate(&self, less: TaskRole, policy: &GrantPolicy) -> (Self, Grant) {
        let arguments = [role(less), grant_policy(policy)];
        let ([task, grant], ready) = open_both(&self.0, "attenuate", &arguments, ["task", "grant"]);
        (Self(task, ready.clone()), Grant(grant, ready))
    }

    pub(crate) fn share(&self, less: TaskRole, policy: &GrantPolicy) -> Pending<(String, Grant)> {
        match self.0.call(&["share"], &[role(less), grant_policy(policy)]) {
            Ok((question, answer)) => {
                let shared = self.0.of(Ok(Rc::new(Held::Result(question))));
                async move {
                    let Value::Object(mut both) = answered(answer).await? else { panic!("no object") };
                    let secret = of_json(both.remove("secret").expect("a secret"))?;
                    // The whole answer stands for the grant in it.
                    let (question, answer) = shared.part("grant")?;
                    let grant = Rc::new(Held::Result(question));
                    let ready = settle(&shared.line, Rc::clone(&grant), answer);
                    Ok((secret, Grant(shared.of(Ok(grant)), ready)))
                }
                .boxed_local()
            }
            Err(fault) => ready(Err(fault)).boxed_local(),
        }
    }
}

impl Subscription {
    pub(crate) fn ready(&self) -> Ready {
        self.1.clone()
    }
}

impl Grant {
    pub(crate) fn ready(&self) -> Ready {
        self.1.clone()
    }

    pub(crate) fn info(&self) -> Pending<GrantInfo> {
        ask(&self.0, "info", &[], |value| of_json::<Granted>(value).map(GrantInfo::from))
    }

    pub(crate) fn revoke(&self) -> Pending<()> {
        done(&self.0, "revoke", &[])
    }
}

fn api_key(key: &str) -> Value {
    let [scheme, key] = ["ApiKey", key].map(|text| Value::String(text.to_owned()));
    record([("scheme", scheme), ("credentials", key)])
}

fn tenant_of(tenant: &str) -> Value {
    if tenant.is_empty() { Value::Undefined } else { value(&tenant) }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    revision: u32,
    software: String,
    features: Vec<String>,
    protocol_versions: Vec<String>,
    limits: BTreeMap<String, String>,
}

impl From<Info> for ServerInfo {
    fn from(info: Info) -> Self {
        let Info { revision, software, features, protocol_versions, limits } = info;
        Self { revision, software, features, protocol_versions, limits: limits.into_iter().collect() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Who {
    subject: String,
    realm: String,
    tenant: String,
    permissions: Vec<String>,
    context_id: Option<String>,
    expires: Option<Timestamp>,
    anonymous: bool,
}

impl From<Who> for Identity {
    fn from(who: Who) -> Self {
        let Who { subject, realm, tenant, permissions, context_id, expires, anonymous } = who;
        Self { subject, realm, tenant, permissions, context_id, expires, anonymous }
    }
}

#[derive(Deserialize)]
struct Renewed {
    expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    id: String,
    #[serde(default)]
    label: String,
    permissions: Vec<String>,
    context_id: Option<String>,
    task_id: Option<String>,
    created: Timestamp,
    expires: Option<Timestamp>,
    live: bool,
}

impl From<Granted> for GrantInfo {
    fn from(granted: Granted) -> Self {
        let Granted { id, label, permissions, context_id, task_id, created, expires, live } = granted;
        Self { id, label, permissions, context_id, task_id, created, expires, live }
    }
}
