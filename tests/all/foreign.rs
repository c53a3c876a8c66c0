//! A server that somebody else wrote: it says of its one task what a test wants, also what ours would never say.

use std::cell::Cell;
use std::rc::Rc;

use a2a_webcap::limits::WireLimits;
use a2a_webcap::model::{SendMessageResponse, Task, TaskState, TaskStatus, Timestamp};
use a2a_webcap::transport::{self, WebSocket};
use a2a_webcap::wire::capnp::Encode as _;
use a2a_webcap::wire::capnp::capability_capnp::{a2a_service, operations};
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
}

impl Foreign {
    /// Begins to serve. Only in a local runtime.
    pub(crate) async fn start(states: &[TaskState]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/capnp", listener.local_addr().expect("it is bound"));
        let foreign = Self(Rc::new(State { url, states: states.to_vec(), looked: Cell::default() }));
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

    async fn serve(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a whole request"));
        }
        let request = String::from_utf8(request).expect("a request");
        let key = request.lines().filter_map(|line| line.split_once(": "));
        let key = key.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, key)| key);
        let key = derive_accept_key(key.last().expect("an upgrade").as_bytes());
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
}

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

    async fn get_task(
        self: Rc<Self>,
        _params: operations::GetTaskParams,
        mut results: operations::GetTaskResults,
    ) -> capnp::Result<()> {
        self.task().encode(results.get().init_task());
        Ok(())
    }
}
