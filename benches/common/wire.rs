//! A client with nothing between the generated code and the transport, and a count of what passes.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use a2a_webcap::limits::WireLimits;
use a2a_webcap::transport::{self, CloseReason, Driver, FrameQueue, Frames, WebSocket};
use a2a_webcap::wire::capnp::capability_capnp::{a2a_service, session};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::Outcome;

/// The key that clients show.
pub(crate) const KEY: &str = "the key of the benchmarks, which is long enough";

/// What passed on a connection since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Frames from the server.
    pub(crate) received: Cell<u64>,
    /// Bytes in them.
    pub(crate) received_bytes: Cell<u64>,
    /// Bytes to the server.
    pub(crate) sent_bytes: Cell<u64>,
}

/// Frames that are counted.
pub(crate) struct Counted<F> {
    inner: F,
    passed: Rc<Passed>,
}

impl<F: Frames> Frames for Counted<F> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, CloseReason>> {
        let frame = self.inner.poll_receive(cx);
        if let Poll::Ready(Ok(frame)) = &frame {
            self.passed.received.update(|frames| frames + 1);
            self.passed.received_bytes.update(|bytes| bytes + frame.len() as u64);
        }
        frame
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut FrameQueue) -> Poll<Result<(), CloseReason>> {
        let before = queue.bytes();
        let sent = self.inner.poll_send(cx, queue);
        let bytes = before - queue.bytes();
        self.passed.sent_bytes.update(|sent| sent + bytes as u64);
        sent
    }

    fn unwritten(&self) -> usize {
        self.inner.unwritten()
    }

    fn poll_liveness(&mut self, cx: &mut Context<'_>, paused: bool) -> Poll<CloseReason> {
        self.inner.poll_liveness(cx, paused)
    }

    fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut FrameQueue,
        close: Option<(u16, &str)>,
    ) -> Poll<()> {
        self.inner.poll_close(cx, queue, close)
    }
}

/// An open connection's bootstrap object; its driver runs as a task of the present `LocalSet`.
pub(crate) async fn connect(address: &str) -> Outcome<(a2a_service::Client, Rc<Passed>)> {
    let socket = open(address).await?;
    let passed = Rc::<Passed>::default();
    let (service, driver) = over(Counted { inner: socket, passed: passed.clone() });
    tokio::task::spawn_local(driver);
    Ok((service, passed))
}

/// A WebSocket, as soon as the server has answered 101.
pub(crate) async fn open(address: &str) -> Outcome<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!("ws://{address}/capnp").into_client_request()?;
    WebSocket::client(request, stream, &WireLimits::default())
        .await
        .map_err(|reason| reason.to_string().into())
}

/// The bootstrap object behind some frames, and what drives it.
pub(crate) fn over<F: Frames>(frames: F) -> (a2a_service::Client, Driver<F>) {
    let (service, _, driver) = transport::connect(frames, None, WireLimits::default());
    (service, driver)
}

/// A session with the benchmarks' key. Its call is sent; nothing is awaited.
pub(crate) fn authenticate(service: &a2a_service::Client) -> session::Client {
    let mut call = service.authenticate_request();
    call.get().init_credentials().set_api_key(KEY);
    call.send().pipeline.get_session()
}
