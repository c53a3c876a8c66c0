//! The client for ordinary programs: `Send`, cheap to clone, and back after a lost line.

use std::cell::Cell;
use std::rc::Rc;

use super::authority::{Identity, ServerInfo, SessionPolicy};
use super::builder::ClientBuilder;
use super::event::Cursor;
use super::follow::{Origin, Source, follow};
use super::grant::GrantRef;
use super::local::Pending;
use super::observe::{Observing, observe};
use super::observer::Observer;
use super::remote::Remote;
use super::send_call::SendCall;
use super::stream::TaskStream;
use super::task::TaskRef;
use super::uplink::{Live, Uplink};
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{
    AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, Id, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse, SendMessageResponse,
    StreamResponse, Task, TaskPushNotificationConfig,
};

/// A client of one server, as one principal. Clones share the connection; it closes when the last clone, and
/// every [`TaskRef`], [`GrantRef`] and [`TaskStream`] that came from it, are dropped.
///
/// A lost line is got back with the next call that needs it, and streams go on where they were, without gap
/// or repeat. Everything runs on a thread of its own, so this works in any tokio program.
#[derive(Clone)]
pub struct Client {
    uplink: Remote<Uplink>,
    window: usize,
}

impl Client {
    /// A client of the server at this address: `http://HOST:PORT`, or whatever else [`Endpoint`] reads.
    ///
    /// [`Endpoint`]: super::Endpoint
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    pub(super) fn new(uplink: Remote<Uplink>, window: usize) -> Self {
        Self { uplink, window }
    }

    pub(super) fn uplink(&self) -> &Remote<Uplink> {
        &self.uplink
    }

    /// What the server says about itself.
    pub async fn info(&self) -> Result<ServerInfo> {
        self.uplink.ask(|uplink| uplink.call(|live| Ok(live.connection.info()))).await
    }

    /// The agent's public card.
    pub async fn agent_card(&self) -> Result<AgentCard> {
        let get = |uplink: Rc<Uplink>| async move {
            let tenant = uplink.settings().tenant.clone();
            uplink.call(move |live| Ok(live.connection.agent_card(&tenant))).await
        };
        self.uplink.ask(get).await
    }

    /// The card that only authenticated callers see.
    pub async fn extended_agent_card(&self) -> Result<AgentCard> {
        let request = GetExtendedAgentCardRequest::default();
        let call = move |uplink: Rc<Uplink>| {
            uplink.call(move |live| Ok(live.operations().get_extended_agent_card(&request)))
        };
        self.uplink.ask(call).await
    }

    /// Who the client is to the server.
    pub async fn who_am_i(&self) -> Result<Identity> {
        self.uplink.ask(|uplink| uplink.call(|live| Ok(live.session()?.who_am_i()))).await
    }

    /// Sends a message and waits until the task stops, in a terminal or an interrupted state; with
    /// `return_immediately` only until there is a task. Dropping the future does not cancel the task. After a
    /// lost line the same message is sent again; the server knows it by its id. Not so without credentials: then
    /// the loss is the answer, and whether the message has arrived is not known.
    pub async fn send(&self, call: impl Into<SendCall>) -> Result<SendMessageResponse> {
        let call = call.into();
        if call.returns_immediately() {
            let send = move |uplink: Rc<Uplink>| async move {
                if uplink.may_send_again() {
                    uplink.call(move |live| Ok(live.operations().send(call.clone()))).await
                } else {
                    uplink.call_once(move |live| Ok(live.operations().send(call))).await
                }
            };
            return self.uplink.ask(send).await;
        }
        let history_length = call.history_length();
        outcome(self.stream(call), async |id| {
            self.get_task(GetTaskRequest { history_length, ..GetTaskRequest::new(id) }).await
        })
        .await
    }

    /// Sends a message and gives the events of its task. An error of the send is the stream's first item.
    pub fn stream(&self, call: impl Into<SendCall>) -> TaskStream {
        let call = Box::new(call.into());
        let (outlet, reader, stream) =
            TaskStream::new(self.window, call.request.message.task_id.clone(), None);
        self.uplink.start(move |uplink| follow(Source::Uplink(uplink), Origin::Send(call), outlet, reader));
        stream
    }

    /// Follows a task until it is over.
    pub fn subscribe(&self, task: impl Into<Id>, cursor: Cursor) -> TaskStream {
        let task = task.into();
        let after = match cursor {
            Cursor::After(seq) => Some(seq),
            Cursor::Snapshot => None,
        };
        let (outlet, reader, stream) = TaskStream::new(self.window, Some(task.clone()), after);
        let origin = Origin::Subscribe(task, cursor);
        self.uplink.start(move |uplink| follow(Source::Uplink(uplink), origin, outlet, reader));
        stream
    }

    /// Lets your own object see a task's events until it is over, across reconnects. The object is called on
    /// the client's thread: it must not block. Dropping what this returns ends the calls.
    pub fn observe(&self, task: impl Into<Id>, cursor: Cursor, observer: impl Observer + Send) -> Observing {
        self.observe_stream(self.subscribe(task, cursor), observer)
    }

    /// Sends a message and lets your own object see what comes of it; see [`observe`](Self::observe).
    pub fn send_observed(&self, call: impl Into<SendCall>, observer: impl Observer + Send) -> Observing {
        self.observe_stream(self.stream(call), observer)
    }

    fn observe_stream(&self, stream: TaskStream, observer: impl Observer + Send) -> Observing {
        Observing::new(self.uplink.ask(move |_| observe(stream, observer)))
    }

    /// A task by its id. Nothing is asked yet.
    pub fn task(&self, id: impl Into<Id>) -> TaskRef {
        TaskRef::by_id(self.clone(), id.into())
    }

    /// The task as it stands.
    pub async fn get_task(&self, request: GetTaskRequest) -> Result<Task> {
        let get = move |uplink: Rc<Uplink>| uplink.call(move |live| Ok(live.operations().get_task(&request)));
        self.uplink.ask(get).await
    }

    /// A page of the client's tasks, latest status first.
    pub async fn list(&self, request: ListTasksRequest) -> Result<ListTasksResponse> {
        let list =
            move |uplink: Rc<Uplink>| uplink.call(move |live| Ok(live.operations().list_tasks(&request)));
        self.uplink.ask(list).await
    }

    /// Cancels a task that is not over; the task as it stands then.
    pub async fn cancel(&self, request: CancelTaskRequest) -> Result<Task> {
        let cancel =
            move |uplink: Rc<Uplink>| uplink.call(move |live| Ok(live.operations().cancel_task(&request)));
        self.uplink.ask(cancel).await
    }

    /// Deletes a finished task, with everything that is known of it: for everybody it is then as one that never
    /// was.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`; `UNSUPPORTED_OPERATION` while the task is not finished; `FORBIDDEN` if the credentials
    /// do not include it.
    pub async fn delete(&self, task: impl Into<Id>) -> Result<()> {
        let task = task.into();
        let call =
            move |uplink: Rc<Uplink>| delete(uplink, move |live| Ok(live.session()?.task(&task).delete()));
        self.uplink.ask(call).await
    }

    /// Has the server post the events of a task to a URL; the configuration as the server keeps it, with its id.
    /// The task in the configuration itself does not count.
    ///
    /// After a lost line, a configuration with an id is sent again: the server knows it by that. One without an id is
    /// not, as the server would make two of it: then the loss is the answer, and
    /// [`push_configs`](Self::push_configs) tells whether the configuration has arrived.
    ///
    /// # Errors
    /// `PUSH_NOTIFICATION_NOT_SUPPORTED` if the agent's card does not declare them; `TASK_NOT_FOUND`.
    pub async fn create_push_config(
        &self,
        task: impl Into<Id>,
        config: TaskPushNotificationConfig,
    ) -> Result<TaskPushNotificationConfig> {
        let config = TaskPushNotificationConfig { task_id: Some(task.into()), ..config };
        let create = move |uplink: Rc<Uplink>| async move {
            if config.id.as_ref().is_some_and(|id| !id.is_empty()) {
                uplink.call(move |live| Ok(live.operations().create_push_config(&config))).await
            } else {
                uplink.call_once(move |live| Ok(live.operations().create_push_config(&config))).await
            }
        };
        self.uplink.ask(create).await
    }

    /// One push configuration of a task.
    ///
    /// # Errors
    /// As [`create_push_config`](Self::create_push_config); of most servers `TASK_NOT_FOUND` also if the
    /// configuration is not there.
    pub async fn push_config(
        &self,
        task: impl Into<Id>,
        id: impl Into<Id>,
    ) -> Result<TaskPushNotificationConfig> {
        let request =
            GetTaskPushNotificationConfigRequest { tenant: None, task_id: task.into(), id: id.into() };
        let get = move |uplink: Rc<Uplink>| {
            uplink.call(move |live| Ok(live.operations().get_push_config(&request)))
        };
        self.uplink.ask(get).await
    }

    /// A page of the push configurations of a task.
    ///
    /// # Errors
    /// As [`create_push_config`](Self::create_push_config).
    pub async fn push_configs(
        &self,
        request: ListTaskPushNotificationConfigsRequest,
    ) -> Result<ListTaskPushNotificationConfigsResponse> {
        let list = move |uplink: Rc<Uplink>| {
            uplink.call(move |live| Ok(live.operations().list_push_configs(&request)))
        };
        self.uplink.ask(list).await
    }

    /// Takes a push configuration off a task.
    ///
    /// # Errors
    /// As [`push_config`](Self::push_config).
    pub async fn delete_push_config(&self, task: impl Into<Id>, id: impl Into<Id>) -> Result<()> {
        let request =
            DeleteTaskPushNotificationConfigRequest { tenant: None, task_id: task.into(), id: id.into() };
        let call = move |uplink: Rc<Uplink>| {
            delete(uplink, move |live| Ok(live.operations().delete_push_config(&request)))
        };
        self.uplink.ask(call).await
    }

    /// Turns the secret of [`TaskRef::share`] into the task. It works once, and what it gives ends with the
    /// present connection.
    pub async fn claim(&self, secret: impl Into<String>) -> Result<TaskRef> {
        let secret = secret.into();
        let claim = move |uplink: Rc<Uplink>| async move {
            let handle = uplink.live().await?.connection.claim(&secret);
            handle.ready().await?;
            Ok(Remote::house(Rc::new(handle)))
        };
        Ok(TaskRef::by_handle(self.clone(), self.uplink.ask(claim).await?))
    }

    /// A client with less authority, and the right to take it back. It ends with the present connection.
    pub async fn attenuate(&self, policy: SessionPolicy) -> Result<(Client, GrantRef)> {
        let attenuate = move |uplink: Rc<Uplink>| async move {
            let live = uplink.live().await?;
            let (session, grant) = live.session()?.attenuate(&policy);
            grant.ready().await?;
            let derived = uplink.derive(live.connection, session);
            Ok((Remote::house(derived), Remote::house(Rc::new(grant))))
        };
        let (uplink, grant) = self.uplink.ask(attenuate).await?;
        Ok((Self { uplink, window: self.window }, GrantRef::new(grant)))
    }

    /// Ends the session and the line; what is called afterwards, on any clone, fails.
    pub async fn close(self) {
        let _ = self
            .uplink
            .ask(|uplink| async move {
                uplink.close().await;
                Ok(())
            })
            .await;
    }

    pub(super) fn window(&self) -> usize {
        self.window
    }
}

/// Makes a call that deletes something, again if the line was lost under it.
async fn delete(uplink: Rc<Uplink>, call: impl Fn(&Live) -> Result<Pending<()>>) -> Result<()> {
    let tries = Cell::new(0_u32);
    let deleted = uplink.call(|live| {
        tries.set(tries.get() + 1);
        call(live)
    });
    match deleted.await {
        // The try before was cut off from its answer: it has done its work.
        Err(fault) if fault.kind() == FaultKind::TaskNotFound && tries.get() > 1 => Ok(()),
        result => result,
    }
}

/// Waits for what a send comes to.
pub(super) async fn outcome(
    mut stream: TaskStream,
    get: impl AsyncFnOnce(Id) -> Result<Task>,
) -> Result<SendMessageResponse> {
    while let Some(event) = stream.next().await {
        if let StreamResponse::Message(message) = event?.content {
            return Ok(SendMessageResponse::Message(message));
        }
    }
    let Some(task) = stream.task_id().cloned() else {
        let message = "the stream of this send ended without an event";
        return Err(Fault::new(FaultKind::InvalidAgentResponse, message));
    };
    get(task).await.map(SendMessageResponse::Task)
}
