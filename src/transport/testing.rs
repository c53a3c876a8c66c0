//! A test bench: an object with a few telling methods, without a schema, and peers to call it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;

use bytes::Bytes;
use capnp::any_pointer;
use capnp::capability::{
    Client, DispatchCallResult, FromClientHook, FromServer, Params, Promise, Results, Server,
};
use capnp::message::{Builder, Reader};
use capnp::private::capability::ClientHook;
use capnp::serialize::OwnedSegments;
use capnp_rpc::rpc_capnp::message as rpc;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::{CloseReason, ConnectionHandle, WebSocket, accept, connect, message};
use crate::limits::WireLimits;

/// The interface id of [`Bench`].
pub(crate) const BENCH: u64 = 0xbe9c_0000_0000_0001;

/// The methods of [`Bench`].
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(crate) enum Method {
    /// Data → the same data.
    Echo,
    /// Never answers.
    Never,
    /// → a new bench.
    Make,
    /// Eight bytes, a size → that many bytes.
    Blob,
    /// Panics.
    Panic,
    /// A capability, which is kept.
    Keep,
    /// Eight bytes, a count: streams as many [`Sink`](Method::Sink) calls of 256 bytes to what is kept.
    Stream,
    /// Data, streaming.
    Sink,
    /// → what was kept last: an object of the caller's own, maybe.
    Give,
    /// Calls what was kept last, and does not wait for the answer.
    Poke,
}

/// An object to be called.
pub(crate) struct Bench {
    pub(crate) world: Rc<World>,
}

/// What all benches of a test share.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) alive: Cell<usize>,
    pub(crate) sunk: Cell<usize>,
    pub(crate) kept: RefCell<Vec<Client>>,
}

impl Bench {
    pub(crate) fn client(world: &Rc<World>) -> Client {
        world.alive.set(world.alive.get() + 1);
        let client: BenchClient = capnp_rpc::new_client(Bench { world: world.clone() });
        client.0
    }

    async fn run(
        self: Rc<Self>,
        method: u16,
        params: Params<any_pointer::Owned>,
        mut results: Results<any_pointer::Owned>,
    ) -> capnp::Result<()> {
        match method {
            m if m == Method::Echo as u16 => {
                let data: capnp::data::Reader<'_> = params.get()?.get_as()?;
                results.get().set_as::<capnp::data::Owned>(data)?;
            }
            m if m == Method::Never as u16 => std::future::pending().await,
            m if m == Method::Make as u16 => {
                results.get().set_as_capability(Bench::client(&self.world).hook);
            }
            m if m == Method::Blob as u16 => {
                results.get().initn_as::<capnp::data::Builder<'_>>(number(&params)? as u32);
            }
            m if m == Method::Panic as u16 => panic!("as asked"),
            m if m == Method::Keep as u16 => {
                let kept: Client = params.get()?.get_as_capability()?;
                self.world.kept.borrow_mut().push(kept);
            }
            m if m == Method::Stream as u16 => {
                let sink = self.kept()?;
                for _ in 0..number(&params)? {
                    sink_call(&sink, 256).await?;
                }
            }
            m if m == Method::Sink as u16 => {
                let data: capnp::data::Reader<'_> = params.get()?.get_as()?;
                self.world.sunk.set(self.world.sunk.get() + data.len());
            }
            m if m == Method::Give as u16 => {
                results.get().set_as_capability(self.kept()?.hook);
            }
            m if m == Method::Poke as u16 => {
                let kept = self.kept()?;
                tokio::task::spawn_local(async move { call(&kept, Method::Echo, b"poke").await });
            }
            _ => return Err(capnp::Error::unimplemented("no such method".to_owned())),
        }
        Ok(())
    }

    fn kept(&self) -> capnp::Result<Client> {
        let kept = self.world.kept.borrow().last().cloned();
        kept.ok_or_else(|| capnp::Error::failed("nothing is kept".to_owned()))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.world.alive.set(self.world.alive.get() - 1);
    }
}

fn number(params: &Params<any_pointer::Owned>) -> capnp::Result<u64> {
    let data: capnp::data::Reader<'_> = params.get()?.get_as()?;
    let bytes = data.try_into().map_err(|_| capnp::Error::failed("eight bytes are a number".to_owned()))?;
    Ok(u64::from_le_bytes(bytes))
}

struct BenchClient(Client);

impl FromClientHook for BenchClient {
    fn new(hook: Box<dyn ClientHook>) -> Self {
        Self(Client::new(hook))
    }
    fn into_client_hook(self) -> Box<dyn ClientHook> {
        self.0.hook
    }
    fn as_client_hook(&self) -> &dyn ClientHook {
        &*self.0.hook
    }
}

impl FromServer<Bench> for BenchClient {
    type Dispatch = Dispatch;
    fn from_server(bench: Rc<Bench>) -> Dispatch {
        Dispatch(bench)
    }
}

#[derive(Clone)]
pub(crate) struct Dispatch(Rc<Bench>);

impl Deref for Dispatch {
    type Target = Bench;
    fn deref(&self) -> &Bench {
        &self.0
    }
}

impl Server for Dispatch {
    fn dispatch_call(
        self,
        _interface: u64,
        method: u16,
        params: Params<any_pointer::Owned>,
        results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult {
        let streaming = method == Method::Sink as u16;
        DispatchCallResult::new(Promise::from_future(self.0.run(method, params, results)), streaming)
    }
    fn as_ptr(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }
}

/// Calls with data, and gives back the data of the answer.
pub(crate) async fn call(object: &Client, method: Method, data: &[u8]) -> capnp::Result<Vec<u8>> {
    let mut request = object.new_call::<any_pointer::Owned, any_pointer::Owned>(BENCH, method as u16, None);
    request.get().set_as::<capnp::data::Owned>(data)?;
    let response = request.send().promise.await?;
    let data: capnp::data::Reader<'_> = response.get()?.get_as()?;
    Ok(data.to_vec())
}

/// Makes another object. Usable at once.
pub(crate) fn make(object: &Client) -> Client {
    let request = object.new_call::<any_pointer::Owned, any_pointer::Owned>(BENCH, Method::Make as u16, None);
    let capnp::capability::RemotePromise { pipeline, .. } = request.send();
    FromClientHook::new(pipeline.as_cap())
}

/// Makes another object, and waits for it.
pub(crate) async fn made(object: &Client) -> Client {
    let request = object.new_call::<any_pointer::Owned, any_pointer::Owned>(BENCH, Method::Make as u16, None);
    let response = request.send().promise.await.expect("an answer");
    response.get().and_then(|object| object.get_as_capability()).expect("an object")
}

/// Hands over a capability.
pub(crate) async fn keep(object: &Client, kept: Client) -> capnp::Result<()> {
    let mut request =
        object.new_call::<any_pointer::Owned, any_pointer::Owned>(BENCH, Method::Keep as u16, None);
    request.get().set_as_capability(kept.hook);
    request.send().promise.await.map(drop)
}

/// One streaming call of `bytes`.
pub(crate) async fn sink_call(sink: &Client, bytes: usize) -> capnp::Result<()> {
    let mut request = sink.new_streaming_call::<any_pointer::Owned>(BENCH, Method::Sink as u16, None);
    request.get().initn_as::<capnp::data::Builder<'_>>(bytes as u32);
    request.send().await
}

/// A server on one end of a line in memory.
pub(crate) struct Served {
    pub(crate) world: Rc<World>,
    pub(crate) handle: Rc<ConnectionHandle>,
    pub(crate) ended: JoinHandle<CloseReason>,
}

/// Serves a [`Bench`] on one end of a line in memory; the other end is given back.
pub(crate) async fn serve(limits: &WireLimits) -> (Served, DuplexStream) {
    let (here, there) = tokio::io::duplex(64 << 10);
    (serve_on(here, limits).await, there)
}

/// Serves a [`Bench`] on a line.
pub(crate) async fn serve_on<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    line: S,
    limits: &WireLimits,
) -> Served {
    let world = Rc::new(World::default());
    let socket = WebSocket::server(line, &[], limits).await;
    let (handle, driver) = accept(socket, None, limits.clone(), |_| Bench::client(&world));
    let ended = tokio::task::spawn_local(driver);
    Served { world, handle, ended }
}

/// A server, and a client that is connected to it.
pub(crate) struct Pair {
    pub(crate) served: Served,
    pub(crate) object: Client,
    pub(crate) handle: Rc<ConnectionHandle>,
    pub(crate) ended: JoinHandle<CloseReason>,
}

pub(crate) async fn pair(limits: &WireLimits) -> Pair {
    let (served, line) = serve(limits).await;
    pair_on(served, line, limits).await
}

/// A client at the other end of a server's line.
pub(crate) async fn pair_on(served: Served, line: DuplexStream, limits: &WireLimits) -> Pair {
    let socket = WebSocket::assume_client(line, limits).await;
    let (object, handle, driver) = connect(socket, None, limits.clone());
    let ended = tokio::task::spawn_local(driver);
    Pair { served, object, handle, ended }
}

/// A peer that says whatever it likes.
pub(crate) struct RawPeer(pub(crate) WebSocketStream<DuplexStream>);

impl RawPeer {
    pub(crate) async fn new(line: DuplexStream) -> Self {
        let config = WebSocketConfig::default().max_frame_size(Some(64 << 20));
        Self(WebSocketStream::from_raw_socket(line, Role::Client, Some(config)).await)
    }

    pub(crate) async fn send(&mut self, build: impl FnOnce(rpc::Builder<'_>)) {
        self.send_frame(envelope(build)).await;
    }

    /// Sends; a connection that is already closed is no error here.
    pub(crate) async fn send_frame(&mut self, frame: impl Into<Bytes>) {
        let _ = self.0.send(Message::Binary(frame.into())).await;
    }

    /// The next RPC message, or how the connection ended.
    pub(crate) async fn receive(&mut self) -> Result<Reader<OwnedSegments>, (u16, String)> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(frame))) => {
                    let options = capnp::message::ReaderOptions::new();
                    return Ok(capnp::serialize::read_message(&frame[..], options).expect("framed"));
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err((frame.code.into(), frame.reason.as_str().to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err((0, error.to_string())),
                None => return Err((0, "the line ended".to_owned())),
            }
        }
    }

    /// Reads on until the connection ends: the text of the last `Abort`, and the close frame.
    pub(crate) async fn end(&mut self) -> (Option<String>, u16, String) {
        let mut abort = None;
        loop {
            match self.receive().await {
                Ok(message) => {
                    let root: rpc::Reader<'_> = message.get_root().expect("a root");
                    if let Ok(rpc::Abort(exception)) = root.which() {
                        let text = exception.expect("an exception").get_reason().expect("a text");
                        abort = Some(text.to_string().expect("UTF-8"));
                    }
                }
                Err((code, reason)) => return (abort, code, reason),
            }
        }
    }
}

/// One RPC message as a frame.
pub(crate) fn envelope(build: impl FnOnce(rpc::Builder<'_>)) -> Bytes {
    let mut message = Builder::new_default();
    build(message.init_root());
    message::write(&message)
}

/// Runs a test on a thread of its own kind: worker-local tasks, and a clock that can stand still.
pub(crate) fn local<F: Future<Output = ()>>(paused: bool, test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(paused)
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Lets everything run that can.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// An address for tests that need one.
pub(crate) fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}
