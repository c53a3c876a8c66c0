//! A server that somebody else wrote: it says of its one task what a test wants, also what ours would never say.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::limits::WireLimits;
use a2a_webcap::model::{
    DeleteTaskPushNotificationConfigRequest, EndReason, GetTaskPushNotificationConfigRequest, Id,
    ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse, SendMessageResponse,
    StreamEnd, Task, TaskPushNotificationConfig, TaskState, TaskStatus, TaskStatusUpdateEvent, Timestamp,
};
use a2a_webcap::server::CAPNP_BINDING;
use a2a_webcap::transport::{self, WebSocket};
use a2a_webcap::wire::capnp::capability_capnp::{a2a_service, operations, subscription, task_observer};
use a2a_webcap::wire::capnp::{Decode as _, Encode as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

pub(crate) const TASK: &str = "foreign-task";
const CONTEXT: &str = "foreign-context";

/// The server. Clones are one. It asks nobody who they are.
#[derive(Clone)]
pub(crate) struct Foreign(Rc<State>);

struct State {
    url: String,
    /// What the task is found in, each time that somebody looks; the last of them stays.
    states: Vec<TaskState>,
    looked: Cell<usize>,
    /// Why its streams end after their first event, and how many were asked for.
    end: EndReason,
    streams: Cell<usize>,
    /// How many lines there were.
    lines: Cell<usize>,
    push: Push,
}

/// Where it is to post events; it never does.
#[derive(Default)]
struct Push {
    configs: RefCell<BTreeMap<Id, TaskPushNotificationConfig>>,
    /// What came of the calls that change something: the method, and whether it found its configuration.
    changes: RefCell<Vec<(&'static str, bool)>>,
    /// Whether the next change is to lose its line before it is answered.
    cuts: Cell<bool>,
    cut: Notify,
}

impl Foreign {
    /// Begins to serve. Only in a local runtime.
    pub(crate) async fn start(states: &[TaskState]) -> Self {
        Self::whose_streams_end(EndReason::Failed, states).await
    }

    /// The same, with streams that end so when they have begun.
    pub(crate) async fn whose_streams_end(end: EndReason, states: &[TaskState]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/capnp", listener.local_addr().expect("it is bound"));
        let (looked, streams, lines, push) = Default::default();
        let states = states.to_vec();
        let foreign = Self(Rc::new(State { url, states, looked, end, streams, lines, push }));
        let served = foreign.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                served.0.lines.update(|lines| lines + 1);
                tokio::task::spawn_local(served.clone().serve(stream));
            }
        });
        foreign
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// How often somebody has looked at the task.
    pub(crate) fn looked(&self) -> usize {
        self.0.looked.get()
    }

    /// How many streams were asked for.
    pub(crate) fn streams(&self) -> usize {
        self.0.streams.get()
    }

    /// How many lines somebody has had to it.
    pub(crate) fn lines(&self) -> usize {
        self.0.lines.get()
    }

    /// Its agent's card, which says whether it sends push notifications.
    pub(crate) fn card(&self, push: Option<bool>) -> Value {
        json!({
            "name": "Foreign", "description": "An agent of somebody else.", "version": "1",
            "capabilities": { "pushNotifications": push },
            "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
            "skills": [{ "id": "s", "name": "s", "description": "s", "tags": ["s"] }],
            "supportedInterfaces": [
                { "url": self.url(), "protocolBinding": CAPNP_BINDING, "protocolVersion": "1.0" }
            ],
        })
    }

    /// The push configurations that it keeps.
    pub(crate) fn configs(&self) -> Vec<TaskPushNotificationConfig> {
        self.0.push.configs.borrow().values().cloned().collect()
    }

    /// The changes of push configurations that it has heard of: the method, and whether the configuration was there.
    pub(crate) fn changes(&self) -> Vec<(&'static str, bool)> {
        self.0.push.changes.take()
    }

    /// The next change loses its line before it is answered.
    pub(crate) fn cut_the_next_change(&self) {
        self.0.push.cuts.set(true);
    }

    async fn changed(&self, method: &'static str, found: bool) {
        let push = &self.0.push;
        push.changes.borrow_mut().push((method, found));
        if push.cuts.take() {
            push.cut.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// A configuration of the task.
    fn config(&self, task: &str, id: &str) -> Result<TaskPushNotificationConfig, Fault> {
        let found = self.0.push.configs.borrow().get(id).filter(|_| task == TASK).cloned();
        found.ok_or_else(|| Fault::new(FaultKind::TaskNotFound, "there is no such configuration"))
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a whole request"));
        }
        let request = String::from_utf8(request).expect("a request");
        let is_key = |name: &str| name.eq_ignore_ascii_case("sec-websocket-key");
        let mut headers = request.lines().filter_map(|line| line.split_once(": "));
        let (_, key) = headers.find(|(name, _)| is_key(name)).expect("an upgrade");
        let key = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {key}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.expect("it is taken");
        let limits = WireLimits::default();
        let socket = WebSocket::server(stream, &[], &limits).await;
        let object = capnp_rpc::new_client::<a2a_service::Client, _>(self.clone());
        let (_connection, driver) = transport::accept(socket, None, limits, |_| object.client);
        tokio::select! {
            _ = driver => {}
            () = self.0.push.cut.notified() => {}
        }
    }

    /// The task as it stands for whoever looks now.
    fn task(&self) -> Task {
        let looked = self.0.looked.replace(self.0.looked.get() + 1);
        let state = self.0.states[looked.min(self.0.states.len() - 1)];
        Task::new(TASK, CONTEXT, TaskStatus::new(state, Timestamp::from_unix_nanos(1)))
    }

    /// Says that the agent works, and then no more.
    async fn stream(self: Rc<Self>, observer: task_observer::Client) -> capnp::Result<()> {
        self.0.streams.update(|streams| streams + 1);
        let update = TaskStatusUpdateEvent {
            task_id: TASK.into(),
            context_id: CONTEXT.into(),
            status: TaskStatus::new(TaskState::Working, Timestamp::from_unix_nanos(1)),
            metadata: None,
        };
        let mut call = observer.on_status_update_request();
        update.encode(call.get().init_update());
        call.get().set_seq(1);
        call.send().await?;
        let kind = match self.0.end {
            EndReason::Gap => FaultKind::Gap,
            EndReason::Revoked => FaultKind::Revoked,
            _ => FaultKind::Internal,
        };
        let fault = Some(Fault::new(kind, "no event can be read"));
        let mut call = observer.on_end_request();
        StreamEnd { reason: self.0.end, last_seq: 1, fault }.encode(call.get());
        call.send().promise.await.map(drop)
    }
}

struct Nothing;

impl subscription::Server for Nothing {}

impl a2a_service::Server for Foreign {}

impl operations::Server for Foreign {
    async fn send_message(
        self: Rc<Self>,
        _params: operations::SendMessageParams,
        mut results: operations::SendMessageResults,
    ) -> capnp::Result<()> {
        SendMessageResponse::Task(self.task()).encode(results.get().init_response());
        Ok(())
    }

    async fn send_streaming_message(
        self: Rc<Self>,
        params: operations::SendStreamingMessageParams,
        mut results: operations::SendStreamingMessageResults,
    ) -> capnp::Result<()> {
        tokio::task::spawn_local(self.stream(params.get()?.get_observer()?));
        results.get().set_subscription(capnp_rpc::new_client(Nothing));
        Ok(())
    }

    async fn subscribe_to_task(
        self: Rc<Self>,
        params: operations::SubscribeToTaskParams,
        mut results: operations::SubscribeToTaskResults,
    ) -> capnp::Result<()> {
        tokio::task::spawn_local(self.stream(params.get()?.get_observer()?));
        results.get().set_subscription(capnp_rpc::new_client(Nothing));
        Ok(())
    }

    async fn get_task(
        self: Rc<Self>,
        _params: operations::GetTaskParams,
        mut results: operations::GetTaskResults,
    ) -> capnp::Result<()> {
        self.task().encode(results.get().init_task());
        Ok(())
    }

    async fn create_task_push_notification_config(
        self: Rc<Self>,
        params: operations::CreateTaskPushNotificationConfigParams,
        mut results: operations::CreateTaskPushNotificationConfigResults,
    ) -> capnp::Result<()> {
        let mut config =
            TaskPushNotificationConfig::decode(params.get()?.get_config()?).expect("one of ours");
        assert_eq!(config.task_id.as_deref(), Some(TASK));
        let made = || format!("made-{}", self.configs().len()).into();
        let id = config.id.get_or_insert_with(made).clone();
        let before = self.0.push.configs.borrow_mut().insert(id, config.clone());
        self.changed("create", before.is_some()).await;
        config.encode(results.get().init_config());
        Ok(())
    }

    async fn get_task_push_notification_config(
        self: Rc<Self>,
        params: operations::GetTaskPushNotificationConfigParams,
        mut results: operations::GetTaskPushNotificationConfigResults,
    ) -> capnp::Result<()> {
        let request = params.get()?.get_request()?;
        let request = GetTaskPushNotificationConfigRequest::decode(request).expect("one of ours");
        match self.config(&request.task_id, &request.id) {
            Ok(config) => config.encode(results.get().init_config()),
            Err(fault) => fault.encode(results.get().init_error()),
        }
        Ok(())
    }

    async fn list_task_push_notification_configs(
        self: Rc<Self>,
        params: operations::ListTaskPushNotificationConfigsParams,
        mut results: operations::ListTaskPushNotificationConfigsResults,
    ) -> capnp::Result<()> {
        let request = params.get()?.get_request()?;
        let request = ListTaskPushNotificationConfigsRequest::decode(request).expect("one of ours");
        let (all, size) = (self.configs(), request.page_size.map_or(usize::MAX, |size| size as usize));
        let start = request.page_token.map_or(0, |token| token.parse().expect("one of ours"));
        let configs: Vec<_> = all.iter().skip(start).take(size).cloned().collect();
        let end = start + configs.len();
        let next_page_token = (end < all.len()).then(|| end.to_string());
        let page = ListTaskPushNotificationConfigsResponse { configs, next_page_token };
        page.encode(results.get().init_response());
        Ok(())
    }

    async fn delete_task_push_notification_config(
        self: Rc<Self>,
        params: operations::DeleteTaskPushNotificationConfigParams,
        mut results: operations::DeleteTaskPushNotificationConfigResults,
    ) -> capnp::Result<()> {
        let request = params.get()?.get_request()?;
        let request = DeleteTaskPushNotificationConfigRequest::decode(request).expect("one of ours");
        let found = self.config(&request.task_id, &request.id);
        self.0.push.configs.borrow_mut().remove(&request.id);
        self.changed("delete", found.is_ok()).await;
        if let Err(fault) = found {
            fault.encode(results.get().init_error());
        }
        Ok(())
    }
}
