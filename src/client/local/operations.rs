//! A2A's eleven operations, under the authority of the object that has them.

use std::rc::Rc;

use super::super::event::Cursor;
use super::super::observer::{Observer, ObserverSink, Sink};
use super::super::send_call::SendCall;
use super::call::{Pending, Ready, unreadable};
use super::grant::Subscription;
use super::inbound::{Inbound, write_features};
use super::send::{Outcome, Started, finish, write_options};
use super::task::TaskHandle;
use super::{Line, On, web};
use crate::fault::Result;
use crate::model::{
    AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse, SendMessageResponse,
    ServiceParameters, SubscribeToTaskRequest, Task, TaskPushNotificationConfig,
};
use crate::trace::Span;
use crate::wire::capnp::capability_capnp::{cursor, operations, subscription, task_handle};
use crate::wire::capnp::{Decode, Encode, encode_parameters};

/// The operations of A2A. Every call is sent when the method is called; its answer may be awaited later.
#[derive(Clone)]
pub struct Operations {
    on: On<operations::Client>,
    line: Rc<Line>,
    /// The name that the server has the agent under.
    agent: Rc<str>,
    parameters: Rc<ServiceParameters>,
}

/// A unary operation over Cap'n Proto: encodes the request, sends it, decodes one field of the answer.
macro_rules! ask {
    ($call:ident, $init:ident($value:expr), $get:ident) => {
        |client, parameters| {
            let mut call = client.$call();
            let mut params = call.get();
            $value.encode(params.reborrow().$init());
            encode_parameters(parameters, |n| params.init_parameters(n));
            Pending::answer(call.send(), |results| read(results.$get()))
        }
    };
}

impl Operations {
    pub(super) fn new(on: On<operations::Client>, line: Rc<Line>, agent: Rc<str>) -> Self {
        Self { on, line, agent, parameters: Rc::default() }
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
    pub(super) fn with(self, parameters: Rc<ServiceParameters>) -> Self {
        Self { parameters, ..self }
    }

    fn call<T: 'static>(
        &self,
        span: Span,
        capnp: impl FnOnce(&operations::Client, &ServiceParameters) -> Pending<T>,
        web: impl FnOnce(&web::Stub) -> Pending<T>,
    ) -> Pending<T> {
        self.on.call(span, &self.parameters, capnp, web)
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
        let parameters = span.carried_by(&self.parameters);
        match &self.on {
            On::Capnp(client) => {
                let mut request = client.send_streaming_message_request();
                let mut params = request.get();
                call.request.encode(params.reborrow().init_request());
                write_options(call, params.reborrow().init_options());
                write_features(&sink, params.reborrow().init_features());
                params.set_observer(Inbound::client(sink));
                encode_parameters(&parameters, |n| params.init_parameters(n));
                let sent = request.send();
                let (task, subscription) = (sent.pipeline.get_task(), sent.pipeline.get_subscription());
                let accepted = Pending::answer(sent, |_| Ok(()));
                self.started(On::Capnp(task), On::Capnp(subscription), accepted.traced(span))
            }
            On::Web(voice) => {
                let stub = voice.with(&parameters);
                let [message, config] = web::send(call);
                let arguments = [message, config, web::listen(&stub, sink)];
                let begun = stub.open_parts("sendMessageStreaming", &arguments, ["task", "subscription"]);
                self.begun(begun, parameters.into_owned(), span)
            }
        }
    }

    fn send_at_once(&self, call: &SendCall) -> Pending<SendMessageResponse> {
        let span = self.span("SendMessage");
        span.message(&call.request.message);
        self.call(
            span,
            |client, parameters| {
                let mut request = client.send_message_request();
                let mut params = request.get();
                call.request.encode(params.reborrow().init_request());
                write_options(call, params.reborrow().init_options());
                encode_parameters(parameters, |n| params.init_parameters(n));
                Pending::answer(request.send(), |results| read(results.get_response()))
            },
            |stub| stub.ask("sendMessage", &web::send(call), web::read),
        )
    }

    /// The task as it stands.
    pub fn get_task(&self, request: &GetTaskRequest) -> Pending<Task> {
        let arguments = || [web::value(&request.id), web::optional(request.history_length.as_ref())];
        self.call(
            self.span_on("GetTask", &request.id),
            ask!(get_task_request, init_request(request), get_task),
            |stub| stub.ask("getTask", &arguments(), web::read),
        )
    }

    /// A page of the tasks that this authority sees, latest status first.
    pub fn list_tasks(&self, request: &ListTasksRequest) -> Pending<ListTasksResponse> {
        self.call(
            self.span("ListTasks"),
            ask!(list_tasks_request, init_request(request), get_response),
            |stub| stub.ask("listTasks", &[web::value(request)], web::read),
        )
    }

    /// Cancels a task that is not over; the task as it stands then.
    pub fn cancel_task(&self, request: &CancelTaskRequest) -> Pending<Task> {
        let arguments = || [web::value(&request.id), web::optional(request.metadata.as_ref())];
        self.call(
            self.span_on("CancelTask", &request.id),
            ask!(cancel_task_request, init_request(request), get_task),
            |stub| stub.ask("cancelTask", &arguments(), web::read),
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
        let parameters = span.carried_by(&self.parameters);
        match &self.on {
            On::Capnp(client) => {
                let mut call = client.subscribe_to_task_request();
                let mut params = call.get();
                request.encode(params.reborrow().init_request());
                write_features(&sink, params.reborrow().init_features());
                write_cursor(cursor, params.reborrow().init_cursor());
                params.set_observer(Inbound::client(sink));
                encode_parameters(&parameters, |n| params.init_parameters(n));
                let sent = call.send();
                let (task, subscription) = (sent.pipeline.get_task(), sent.pipeline.get_subscription());
                let accepted = Pending::answer(sent, |_| Ok(()));
                self.started(On::Capnp(task), On::Capnp(subscription), accepted.traced(span))
            }
            On::Web(voice) => {
                let stub = voice.with(&parameters);
                let arguments = [web::value(&request.id), web::listen(&stub, sink), web::cursor(cursor)];
                let begun = stub.open_parts("subscribeToTask", &arguments, ["task", "subscription"]);
                self.begun(begun, parameters.into_owned(), span)
            }
        }
    }

    /// Adds a webhook to a task.
    pub fn create_push_config(
        &self,
        config: &TaskPushNotificationConfig,
    ) -> Pending<TaskPushNotificationConfig> {
        self.call(
            self.span("CreateTaskPushNotificationConfig"),
            ask!(create_task_push_notification_config_request, init_config(config), get_config),
            |stub| stub.ask("createTaskPushNotificationConfig", &[web::value(config)], web::read),
        )
    }

    /// One webhook of a task.
    pub fn get_push_config(
        &self,
        request: &GetTaskPushNotificationConfigRequest,
    ) -> Pending<TaskPushNotificationConfig> {
        let arguments = || [web::value(&request.task_id), web::value(&request.id)];
        self.call(
            self.span("GetTaskPushNotificationConfig"),
            ask!(get_task_push_notification_config_request, init_request(request), get_config),
            |stub| stub.ask("getTaskPushNotificationConfig", &arguments(), web::read),
        )
    }

    /// A page of the webhooks of a task.
    pub fn list_push_configs(
        &self,
        request: &ListTaskPushNotificationConfigsRequest,
    ) -> Pending<ListTaskPushNotificationConfigsResponse> {
        let arguments = || [web::value(&request.task_id), web::value(request)];
        self.call(
            self.span("ListTaskPushNotificationConfigs"),
            ask!(list_task_push_notification_configs_request, init_request(request), get_response),
            |stub| stub.ask("listTaskPushNotificationConfigs", &arguments(), web::read),
        )
    }

    /// Takes a webhook off a task.
    pub fn delete_push_config(&self, request: &DeleteTaskPushNotificationConfigRequest) -> Pending<()> {
        let arguments = || [web::value(&request.task_id), web::value(&request.id)];
        self.call(
            self.span("DeleteTaskPushNotificationConfig"),
            |client, parameters| {
                let mut call = client.delete_task_push_notification_config_request();
                let mut params = call.get();
                request.encode(params.reborrow().init_request());
                encode_parameters(parameters, |n| params.init_parameters(n));
                Pending::answer(call.send(), |_| Ok(()))
            },
            |stub| stub.ask("deleteTaskPushNotificationConfig", &arguments(), web::empty),
        )
    }

    /// The card that only authenticated callers see.
    pub fn get_extended_agent_card(&self, request: &GetExtendedAgentCardRequest) -> Pending<AgentCard> {
        self.call(
            self.span("GetExtendedAgentCard"),
            ask!(get_extended_agent_card_request, init_request(request), get_card),
            |stub| stub.ask("getExtendedAgentCard", &[], web::read),
        )
    }

    /// A call over Cap'n Web has begun that gives a task and a subscription.
    fn begun(
        &self,
        ([task, subscription], accepted): ([web::Stub; 2], Pending<web::Value>),
        said: ServiceParameters,
        span: Span,
    ) -> Started {
        let task = web::Voice::new(task, Rc::new(said));
        self.started(On::Web(task), On::Web(subscription), accepted.emptied().traced(span))
    }

    fn started(
        &self,
        task: On<task_handle::Client>,
        subscription: On<subscription::Client, web::Stub>,
        accepted: Pending<()>,
    ) -> Started {
        let ready = self.ready(accepted);
        let task = TaskHandle::new(task, ready.clone(), self.line.clone());
        let task = task.of(&self.agent).with(self.parameters.clone());
        Started { task, subscription: Subscription::new(subscription, ready, self.line.clone()) }
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
