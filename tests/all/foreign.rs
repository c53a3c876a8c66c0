//! A server that somebody else wrote: it says of its one task what a test wants, also what ours would never say.

use std::cell::Cell;
use std::rc::Rc;

use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::limits::WireLimits;
use a2a_webcap::model::{
    EndReason, SendMessageResponse, StreamEnd, Task, TaskState, TaskStatus, TaskStatusUpdateEvent, Timestamp,
};
use a2a_webcap::transport::{self, WebSocket};
use a2a_webcap::wire::capnp::Encode as _;
use a2a_webcap::wire::capnp::capability_capnp::{a2a_service, operations, subscription, task_observer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
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
        let (looked, streams) = Default::default();
        let foreign = Self(Rc::new(State { url, states: states.to_vec(), looked, end, streams }));
        let served = foreign.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
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
        let object = capnp_rpc::new_client::<a2a_service::Client, _>(self);
        let (_connection, driver) = transport::accept(socket, None, limits, |_| object.client);
        driver.await;
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
}
