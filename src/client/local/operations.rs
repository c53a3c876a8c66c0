//! A2A's eleven operations, under the authority of the object that has them.

use std::rc::Rc;

use super::super::event::Cursor;
use super::super::observer::{Observer, ObserverSink, Sink};
use super::super::send_call::SendCall;
use super::Line;
use super::call::{Pending, Ready, unreadable};
use super::grant::Subscription;
use super::inbound::{Inbound, write_features};
use super::send::{Outcome, Started, finish, write_options};
use super::task::TaskHandle;
use crate::fault::Result;
use crate::model::{
    AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse, SendMessageResponse,
    ServiceParameters, SubscribeToTaskRequest, Task, TaskPushNotificationConfig,
};
use crate::trace::Span;
use crate::wire::capnp::capability_capnp::{cursor, operations, task_handle};
use crate::wire::capnp::{Decode, Encode, encode_parameters};

/// The operations of A2A. Every call is sent when the method is called; its answer may be awaited later.
#[derive(Clone)]
pub struct Operations {
    client: operations::Client,
    line: Rc<Line>,
    /// The name that the server has the agent under.
    agent: Rc<str>,
    parameters: Rc<ServiceParameters>,
}

/// A unary operation: encodes the request, sends it, decodes one field of the answer.
macro_rules! ask {
    ($self:ident, $name:literal, $call:ident, $init:ident($value:expr), $get:ident) => {
        ask!($self, $self.span($name), $call, $init($value), $get)
    };
    ($self:ident, $span:expr, $call:ident, $init:ident($value:expr), $get:ident) => {{
        let span = $span;
        let mut call = $self.client.$call();
        let mut params = call.get();
        $value.encode(params.reborrow().$init());
        encode_parameters(&span.carried_by(&$self.parameters), |n| params.init_parameters(n));
        Pending::answer(call.send(), |results| read(results.$get())).traced(span)
    }};
}

impl Operations {
    pub(super) fn new(client: operations::Client, line: Rc<Line>, agent: Rc<str>) -> Self {
        Self { client, line, agent, parameters: Rc::default() }
    }

    pub(super) fn agent(&self) -> &Rc<str> {
        &self.agent
    }

    fn span(&self, method: &'static str) -> Span {
        self.line.span(method, &self.agent, &self.parameters)
    }

    /// The span of a call on a task.
    fn span_on(&self, method: &'static str, task: &str) -> Span {
        let span = self.span(method);
        span.task(task);
        span
    }

    pub(super) fn line(&self) -> &Rc<Line> {
        &self.line
    }

    pub(super) fn parameters(&self) -> &Rc<ServiceParameters> {
        &self.parameters
    }

    /// The same authority, with these service parameters in each call.
    pub(super) fn with(self, parameters: ServiceParameters) -> Self {
        Self { parameters: Rc::new(parameters), ..self }
    }

    /// Sends a message and waits until the task stops, in a terminal or an interrupted state; with
    /// `returnImmediately` only until there is a task. Dropping the answer does not cancel the task.
    pub fn send(&self, call: impl Into<SendCall>) -> Pending<SendMessageResponse> {
        let call = call.into();
        if call.returns_immediately() {
            return self.send_at_once(&call);
        }
        let (outcome, ended) = Outcome::new();
        let Started { task, subscription } = self.start(&call, outcome);
        finish(task, subscription, ended, call.history_length())
    }

    /// Sends a message and lets the observer see what comes of it.
    pub fn send_streaming(&self, call: impl Into<SendCall>, observer: impl Observer) -> Started {
        self.start(&call.into(), ObserverSink::new(observer))
    }

    pub(in super::super) fn start(&self, call: &SendCall, sink: impl Sink) -> Started {
        let span = self.span("SendStreamingMessage");
        span.message(&call.request.message);
        let mut request = self.client.send_streaming_message_request();
        let mut params = request.get();
        call.request.encode(params.reborrow().init_request());
        write_options(call, params.reborrow().init_options());
        write_features(&sink, params.reborrow().init_features());
        params.set_observer(Inbound::client(sink));
        encode_parameters(&span.carried_by(&self.parameters), |n| params.init_parameters(n));
        let sent = request.send();
        let (task, subscription) = (sent.pipeline.get_task(), sent.pipeline.get_subscription());
        let ready = self.ready(Pending::answer(sent, |_| Ok(())).traced(span));
        let task = self.handle(task, &ready);
        Started { task, subscription: Subscription::new(subscription, ready, self.line.clone()) }
    }

    fn send_at_once(&self, call: &SendCall) -> Pending<SendMessageResponse> {
        let span = self.span("SendMessage");
        span.message(&call.request.message);
        let mut request = self.client.send_message_request();
        let mut params = request.get();
        call.request.encode(params.reborrow().init_request());
        write_options(call, params.reborrow().init_options());
        encode_parameters(&span.carried_by(&self.parameters), |n| params.init_parameters(n));
        Pending::answer(request.send(), |results| read(results.get_response())).traced(span)
    }

    /// The task as it stands.
    pub fn get_task(&self, request: &GetTaskRequest) -> Pending<Task> {
        ask!(self, self.span_on("GetTask", &request.id), get_task_request, init_request(request), get_task)
    }

    /// A page of the tasks that this authority sees, latest status first.
    pub fn list_tasks(&self, request: &ListTasksRequest) -> Pending<ListTasksResponse> {
        ask!(self, "ListTasks", list_tasks_request, init_request(request), get_response)
    }

    /// Cancels a task that is not over; the task as it stands then.
    pub fn cancel_task(&self, request: &CancelTaskRequest) -> Pending<Task> {
        ask!(
            self,
            self.span_on("CancelTask", &request.id),
            cancel_task_request,
            init_request(request),
            get_task
        )
    }

    /// Follows a task until it is over.
    pub fn subscribe_to_task(
        &self,
        request: &SubscribeToTaskRequest,
        cursor: Cursor,
        observer: impl Observer,
    ) -> Started {
        self.follow(request, cursor, ObserverSink::new(observer))
    }

    pub(in super::super) fn follow(
        &self,
        request: &SubscribeToTaskRequest,
        cursor: Cursor,
        sink: impl Sink,
    ) -> Started {
        let span = self.span_on("SubscribeToTask", &request.id);
        let mut call = self.client.subscribe_to_task_request();
        let mut params = call.get();
        request.encode(params.reborrow().init_request());
        write_features(&sink, params.reborrow().init_features());
        write_cursor(cursor, params.reborrow().init_cursor());
        params.set_observer(Inbound::client(sink));
        encode_parameters(&span.carried_by(&self.parameters), |n| params.init_parameters(n));
        let sent = call.send();
        let (task, subscription) = (sent.pipeline.get_task(), sent.pipeline.get_subscription());
        let ready = self.ready(Pending::answer(sent, |_| Ok(())).traced(span));
        let task = self.handle(task, &ready);
        Started { task, subscription: Subscription::new(subscription, ready, self.line.clone()) }
    }

    /// Adds a webhook to a task.
    pub fn create_push_config(
        &self,
        config: &TaskPushNotificationConfig,
    ) -> Pending<TaskPushNotificationConfig> {
        ask!(
            self,
            "CreateTaskPushNotificationConfig",
            create_task_push_notification_config_request,
            init_config(config),
            get_config
        )
    }

    /// One webhook of a task.
    pub fn get_push_config(
        &self,
        request: &GetTaskPushNotificationConfigRequest,
    ) -> Pending<TaskPushNotificationConfig> {
        ask!(
            self,
            "GetTaskPushNotificationConfig",
            get_task_push_notification_config_request,
            init_request(request),
            get_config
        )
    }

    /// A page of the webhooks of a task.
    pub fn list_push_configs(
        &self,
        request: &ListTaskPushNotificationConfigsRequest,
    ) -> Pending<ListTaskPushNotificationConfigsResponse> {
        ask!(
            self,
            "ListTaskPushNotificationConfigs",
            list_task_push_notification_configs_request,
            init_request(request),
            get_response
        )
    }

    /// Takes a webhook off a task.
    pub fn delete_push_config(&self, request: &DeleteTaskPushNotificationConfigRequest) -> Pending<()> {
        let span = self.span("DeleteTaskPushNotificationConfig");
        let mut call = self.client.delete_task_push_notification_config_request();
        let mut params = call.get();
        request.encode(params.reborrow().init_request());
        encode_parameters(&span.carried_by(&self.parameters), |n| params.init_parameters(n));
        Pending::answer(call.send(), |_| Ok(())).traced(span)
    }

    /// The card that only authenticated callers see.
    pub fn get_extended_agent_card(&self, request: &GetExtendedAgentCardRequest) -> Pending<AgentCard> {
        ask!(self, "GetExtendedAgentCard", get_extended_agent_card_request, init_request(request), get_card)
    }

    /// The handle on the task of a call.
    fn handle(&self, task: task_handle::Client, ready: &Ready) -> TaskHandle {
        let handle = TaskHandle::new(task, ready.clone(), self.line.clone());
        handle.of(&self.agent).with(self.parameters.clone())
    }

    pub(super) fn ready(&self, answer: Pending<()>) -> Ready {
        Ready::new(answer, &self.line.errands)
    }
}

pub(super) fn write_cursor(cursor: Cursor, mut wire: cursor::Builder<'_>) {
    match cursor {
        Cursor::Snapshot => wire.set_unset(()),
        Cursor::After(seq) => wire.set_after(seq),
    }
}

/// Decodes a field of an answer.
pub(super) fn read<'a, T: Decode>(
    field: capnp::Result<<T::Owned as capnp::traits::OwnedStruct>::Reader<'a>>,
) -> Result<T> {
    T::decode(field.map_err(|error| unreadable(&error))?)
}
