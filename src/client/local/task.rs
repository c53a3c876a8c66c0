//! Authority over one task.

use std::rc::Rc;

use serde::Deserialize;

use super::super::authority::{GrantPolicy, TaskRole};
use super::super::event::Cursor;
use super::super::observer::{Observer, ObserverSink, Sink};
use super::super::send_call::SendCall;
use super::call::{Pending, Ready};
use super::grant::{Grant, Subscription, text, write_policy};
use super::inbound::{Inbound, write_features};
use super::operations::{read, write_cursor};
use super::send::{Outcome, finish, write_options};
use super::{Line, On, web};
use crate::model::{SendMessageResponse, ServiceParameters, Struct, Task};
use crate::trace::Span;
use crate::wire::capnp::capability_capnp::{subscription, task_handle};
use crate::wire::capnp::{Encode as _, encode_parameters};

/// Authority over one task, as far as its role goes. Dropping it gives up that authority; the task goes
/// on, unless the send that returned it asked for `cancel_on_drop`.
#[derive(Clone)]
pub struct TaskHandle {
    on: On<task_handle::Client>,
    ready: Ready,
    line: Rc<Line>,
    /// The name that the server has the agent under; empty if it is not known.
    agent: Rc<str>,
    parameters: Rc<ServiceParameters>,
}

impl TaskHandle {
    pub(super) fn new(on: On<task_handle::Client>, ready: Ready, line: Rc<Line>) -> Self {
        Self { on, ready, line, agent: Rc::default(), parameters: Rc::default() }
    }

    /// Says whose task it is.
    pub(super) fn of(self, agent: &Rc<str>) -> Self {
        Self { agent: agent.clone(), ..self }
    }

    pub(super) fn with(self, parameters: Rc<ServiceParameters>) -> Self {
        Self { parameters, ..self }
    }

    /// The same handle, with these service parameters in each call.
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

    fn span(&self, method: &'static str) -> Span {
        self.line.span(method, &self.agent, &self.parameters)
    }

    fn call<T: 'static>(
        &self,
        span: Span,
        capnp: impl FnOnce(&task_handle::Client, &ServiceParameters) -> Pending<T>,
        web: impl FnOnce(&web::Stub) -> Pending<T>,
    ) -> Pending<T> {
        self.on.call(span, &self.parameters, capnp, web)
    }

    /// The task as it stands, with this many of its latest messages; with all if not said.
    pub fn get(&self, history_length: Option<u32>) -> Pending<Task> {
        self.call(
            self.span("GetTask"),
            |client, parameters| {
                let mut call = client.get_request();
                let mut params = call.get();
                let length = history_length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX));
                params.set_history_length(length);
                encode_parameters(parameters, |n| params.init_parameters(n));
                Pending::answer(call.send(), |results| read(results.get_task()))
            },
            |stub| stub.ask("get", &[web::optional(history_length.as_ref())], web::read),
        )
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
        self.call(
            span,
            |client, parameters| {
                let mut request = client.send_request();
                let mut params = request.get();
                call.request.encode(params.reborrow().init_request());
                write_options(&call, params.reborrow().init_options());
                encode_parameters(parameters, |n| params.init_parameters(n));
                Pending::answer(request.send(), |results| read(results.get_response()))
            },
            |stub| stub.ask("send", &web::send(&call), web::read),
        )
    }

    /// Sends a message into this task and lets the observer see what comes of it.
    pub fn send_streaming(&self, call: impl Into<SendCall>, observer: impl Observer) -> Subscription {
        self.start(&call.into(), ObserverSink::new(observer))
    }

    pub(in super::super) fn start(&self, call: &SendCall, sink: impl Sink) -> Subscription {
        let span = self.span("SendStreamingMessage");
        span.message(&call.request.message);
        let parameters = span.carried_by(&self.parameters);
        let (subscription, accepted) = match &self.on {
            On::Capnp(client) => {
                let mut request = client.send_streaming_request();
                let mut params = request.get();
                call.request.encode(params.reborrow().init_request());
                write_options(call, params.reborrow().init_options());
                write_features(&sink, params.reborrow().init_features());
                params.set_observer(Inbound::client(sink));
                encode_parameters(&parameters, |n| params.init_parameters(n));
                let sent = request.send();
                (On::Capnp(sent.pipeline.get_subscription()), Pending::answer(sent, |_| Ok(())))
            }
            On::Web(voice) => {
                let stub = voice.with(&parameters);
                let [message, config] = web::send(call);
                let arguments = [message, config, web::listen(&stub, sink)];
                let (subscription, accepted) = stub.open("sendStreaming", &arguments);
                (On::Web(subscription), accepted)
            }
        };
        self.subscribed(subscription, accepted.traced(span))
    }

    /// Cancels the task; as it stands then.
    pub fn cancel(&self, metadata: Option<&Struct>) -> Pending<Task> {
        self.call(
            self.span("CancelTask"),
            |client, parameters| {
                let mut call = client.cancel_request();
                let mut params = call.get();
                if let Some(metadata) = metadata {
                    let json = serde_json::to_string(metadata).expect("a JSON object has texts for keys");
                    params.set_metadata(&json);
                }
                encode_parameters(parameters, |n| params.init_parameters(n));
                Pending::answer(call.send(), |results| read(results.get_task()))
            },
            |stub| stub.ask("cancel", &[web::optional(metadata)], web::read),
        )
    }

    /// Deletes the task, which has to be finished. Nothing is left of it then, and nothing of this handle's
    /// worth.
    pub fn delete(&self) -> Pending<()> {
        self.call(
            self.span("DeleteTask"),
            |client, _| Pending::answer(client.delete_request().send(), |_| Ok(())),
            |stub| stub.ask("delete", &[], web::empty),
        )
    }

    /// Follows the task until it is over.
    pub fn subscribe(&self, cursor: Cursor, observer: impl Observer) -> Subscription {
        self.follow(cursor, ObserverSink::new(observer))
    }

    pub(in super::super) fn follow(&self, cursor: Cursor, sink: impl Sink) -> Subscription {
        let span = self.span("SubscribeToTask");
        let parameters = span.carried_by(&self.parameters);
        let (subscription, accepted) = match &self.on {
            On::Capnp(client) => {
                let mut call = client.subscribe_request();
                let mut params = call.get();
                write_features(&sink, params.reborrow().init_features());
                write_cursor(cursor, params.reborrow().init_cursor());
                params.set_observer(Inbound::client(sink));
                encode_parameters(&parameters, |n| params.init_parameters(n));
                let sent = call.send();
                (On::Capnp(sent.pipeline.get_subscription()), Pending::answer(sent, |_| Ok(())))
            }
            On::Web(voice) => {
                let stub = voice.with(&parameters);
                let arguments = [web::listen(&stub, sink), web::cursor(cursor)];
                let (subscription, accepted) = stub.open("subscribe", &arguments);
                (On::Web(subscription), accepted)
            }
        };
        self.subscribed(subscription, accepted.traced(span))
    }

    fn subscribed(
        &self,
        subscription: On<subscription::Client, web::Stub>,
        accepted: Pending<()>,
    ) -> Subscription {
        let ready = Ready::new(accepted, &self.line.errands);
        Subscription::new(subscription, ready, self.line.clone())
    }

    /// A handle with less authority, and the right to take it back.
    pub fn attenuate(&self, role: TaskRole, policy: &GrantPolicy) -> (TaskHandle, Grant) {
        let (task, grant, answer) = match &self.on {
            On::Capnp(client) => {
                let mut call = client.attenuate_request();
                let mut params = call.get();
                params.set_role(role.into());
                write_policy(policy, params.init_policy());
                let sent = call.send();
                let (task, grant) = (sent.pipeline.get_task(), sent.pipeline.get_grant());
                (On::Capnp(task), On::Capnp(grant), Pending::answer(sent, |_| Ok(())))
            }
            On::Web(voice) => {
                let arguments = [web::value(&role), web::value(policy)];
                let ([task, grant], answer) =
                    voice.stub().open_parts("attenuate", &arguments, ["task", "grant"]);
                let task = web::Voice::new(task, voice.said().clone());
                (On::Web(task), On::Web(grant), answer.emptied())
            }
        };
        let ready = Ready::new(answer, &self.line.errands);
        let handle = TaskHandle::new(task, ready.clone(), self.line.clone());
        let handle = handle.of(&self.agent).with(self.parameters.clone());
        (handle, Grant::new(grant, ready, self.line.clone()))
    }

    /// A secret that somebody on another connection turns into a handle, once; see
    /// [`Connection::claim`](super::Connection::claim). Whoever has it has the authority: pass it on as you
    /// would a password.
    pub fn share(&self, role: TaskRole, policy: &GrantPolicy) -> Pending<(String, Grant)> {
        let (grant, secret) = match &self.on {
            On::Capnp(client) => {
                let mut call = client.share_request();
                let mut params = call.get();
                params.set_role(role.into());
                write_policy(policy, params.init_policy());
                let sent = call.send();
                let grant = On::Capnp(sent.pipeline.get_grant());
                (grant, Pending::answer(sent, |results| text(results.get_secret())))
            }
            On::Web(voice) => {
                let arguments = [web::value(&role), web::value(policy)];
                let ([grant], rest) = voice.stub().open_parts("share", &arguments, ["grant"]);
                let secret =
                    Pending::new(async move { web::read::<Shared>(rest.await?).map(|shared| shared.secret) });
                (On::Web(grant), secret)
            }
        };
        let line = self.line.clone();
        Pending::new(async move { Ok((secret.await?, Grant::new(grant, Ready::yes(), line))) })
    }
}

/// What `share` answers over Cap'n Web, beside the grant.
#[derive(Deserialize)]
struct Shared {
    secret: String,
}
