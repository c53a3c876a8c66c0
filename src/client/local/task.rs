//! Authority over one task.

use std::rc::Rc;

use super::super::authority::{GrantPolicy, TaskRole};
use super::super::event::Cursor;
use super::super::observer::{Observer, ObserverSink, Sink};
use super::super::send_call::SendCall;
use super::Line;
use super::call::{Pending, Ready};
use super::grant::{Grant, Subscription, text, write_policy};
use super::inbound::{Inbound, write_features};
use super::operations::{read, write_cursor};
use super::send::{Outcome, finish, write_options};
use crate::model::{SendMessageResponse, ServiceParameters, Struct, Task};
use crate::trace::Span;
use crate::wire::capnp::capability_capnp::task_handle;
use crate::wire::capnp::{Encode as _, encode_parameters};

/// Authority over one task, as far as its role goes. Dropping it gives up that authority; the task goes
/// on, unless the send that returned it asked for `cancel_on_drop`.
#[derive(Clone)]
pub struct TaskHandle {
    client: task_handle::Client,
    ready: Ready,
    line: Rc<Line>,
    /// The name that the server has the agent under; empty if it is not known.
    agent: Rc<str>,
    parameters: Rc<ServiceParameters>,
}

impl TaskHandle {
    pub(super) fn new(client: task_handle::Client, ready: Ready, line: Rc<Line>) -> Self {
        Self { client, ready, line, agent: Rc::default(), parameters: Rc::default() }
    }

    /// Says whose task it is.
    pub(super) fn of(self, agent: &Rc<str>) -> Self {
        Self { agent: agent.clone(), ..self }
    }

    pub(super) fn with(self, parameters: Rc<ServiceParameters>) -> Self {
        Self { parameters, ..self }
    }

    /// The same authority, with these service parameters in each call.
    #[must_use]
    pub fn with_parameters(self, parameters: ServiceParameters) -> Self {
        self.with(Rc::new(parameters))
    }

    /// Waits until the handle exists.
    ///
    /// # Errors
    /// Why it does not.
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// The task as it stands, with this many of its latest messages; with all if not said.
    pub fn get(&self, history_length: Option<u32>) -> Pending<Task> {
        let span = self.span("GetTask");
        let mut call = self.client.get_request();
        let mut params = call.get();
        let length = history_length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX));
        params.set_history_length(length);
        encode_parameters(&span.carried_by(&self.parameters), |n| params.init_parameters(n));
        Pending::answer(call.send(), |results| read(results.get_task())).traced(span)
    }

    /// Sends a message into this task and waits until the task stops; with `returnImmediately` only until
    /// the message is accepted. The message's task id may be absent.
    pub fn send(&self, call: impl Into<SendCall>) -> Pending<SendMessageResponse> {
        let call = call.into();
        if !call.returns_immediately() {
            let (outcome, ended) = Outcome::new();
            let subscription = self.start(&call, outcome);
            return finish(self.clone(), subscription, ended, call.history_length());
        }
        let span = self.span("SendMessage");
        span.message(&call.request.message);
        let mut request = self.client.send_request();
        let mut params = request.get();
        call.request.encode(params.reborrow().init_request());
        write_options(&call, params.reborrow().init_options());
        encode_parameters(&span.carried_by(&self.parameters), |n| params.init_parameters(n));
        Pending::answer(request.send(), |results| read(results.get_response())).traced(span)
    }

    /// Sends a message into this task and lets the observer see what comes of it.
    pub fn send_streaming(&self, call: impl Into<SendCall>, observer: impl Observer) -> Subscription {
        self.start(&call.into(), ObserverSink::new(observer))
    }

    pub(in super::super) fn start(&self, call: &SendCall, sink: impl Sink) -> Subscription {
        let span = self.span("SendStreamingMessage");
        span.message(&call.request.message);
        let mut request = self.client.send_streaming_request();
        let mut params = request.get();
        call.request.encode(params.reborrow().init_request());
        write_options(call, params.reborrow().init_options());
        write_features(&sink, params.reborrow().init_features());
        params.set_observer(Inbound::client(sink));
        encode_parameters(&span.carried_by(&self.parameters), |n| params.init_parameters(n));
        let sent = request.send();
        let subscription = sent.pipeline.get_subscription();
        let ready = Ready::new(Pending::answer(sent, |_| Ok(())).traced(span), &self.line.errands);
        Subscription::new(subscription, ready, self.line.clone())
    }

    fn span(&self, method: &'static str) -> Span {
        self.line.span(method, &self.agent, &self.parameters)
    }

    /// Cancels the task; as it stands then.
    pub fn cancel(&self, metadata: Option<&Struct>) -> Pending<Task> {
        let span = self.span("CancelTask");
        let mut call = self.client.cancel_request();
        let mut params = call.get();
        if let Some(metadata) = metadata {
            let json = serde_json::to_string(metadata).expect("a JSON object has texts for keys");
            params.set_metadata(&json);
        }
        encode_parameters(&span.carried_by(&self.parameters), |n| params.init_parameters(n));
        Pending::answer(call.send(), |results| read(results.get_task())).traced(span)
    }

    /// Deletes the task, which has to be finished. Nothing is left of it then, and nothing of this handle's
    /// worth.
    pub fn delete(&self) -> Pending<()> {
        let span = self.span("DeleteTask");
        Pending::answer(self.client.delete_request().send(), |_| Ok(())).traced(span)
    }

    /// Follows the task until it is over.
    pub fn subscribe(&self, cursor: Cursor, observer: impl Observer) -> Subscription {
        self.follow(cursor, ObserverSink::new(observer))
    }

    pub(in super::super) fn follow(&self, cursor: Cursor, sink: impl Sink) -> Subscription {
        let span = self.span("SubscribeToTask");
        let mut call = self.client.subscribe_request();
        let mut params = call.get();
        write_features(&sink, params.reborrow().init_features());
        write_cursor(cursor, params.reborrow().init_cursor());
        params.set_observer(Inbound::client(sink));
        encode_parameters(&span.carried_by(&self.parameters), |n| params.init_parameters(n));
        let sent = call.send();
        let subscription = sent.pipeline.get_subscription();
        let ready = Ready::new(Pending::answer(sent, |_| Ok(())).traced(span), &self.line.errands);
        Subscription::new(subscription, ready, self.line.clone())
    }

    /// A handle with less authority, and the right to take it back.
    pub fn attenuate(&self, role: TaskRole, policy: &GrantPolicy) -> (TaskHandle, Grant) {
        let mut call = self.client.attenuate_request();
        let mut params = call.get();
        params.set_role(role.into());
        write_policy(policy, params.init_policy());
        let sent = call.send();
        let (task, grant) = (sent.pipeline.get_task(), sent.pipeline.get_grant());
        let ready = Ready::new(Pending::answer(sent, |_| Ok(())), &self.line.errands);
        let handle = TaskHandle::new(task, ready.clone(), self.line.clone()).of(&self.agent);
        (handle, Grant::new(grant, ready, self.line.clone()))
    }

    /// A secret that somebody on another connection turns into a handle, once; see
    /// [`Connection::claim`](super::Connection::claim). Whoever has it has the authority: pass it on as you
    /// would a password.
    pub fn share(&self, role: TaskRole, policy: &GrantPolicy) -> Pending<(String, Grant)> {
        let mut call = self.client.share_request();
        let mut params = call.get();
        params.set_role(role.into());
        write_policy(policy, params.init_policy());
        let sent = call.send();
        let grant = sent.pipeline.get_grant();
        let line = self.line.clone();
        let secret = Pending::answer(sent, |results| text(results.get_secret()));
        Pending::new(async move { Ok((secret.await?, Grant::new(grant, Ready::yes(), line))) })
    }
}
