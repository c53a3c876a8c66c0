//! A peer that says whatever it likes: its own WebSocket framing on a bare socket, and RPC messages made by
//! hand.

use std::net::SocketAddr;
use std::time::Duration;

use a2a_webcap::model::SendMessageRequest;
use a2a_webcap::wire::capnp::Encode as _;
use a2a_webcap::wire::capnp::capability_capnp::{a2a_service, operations, session};
use capnp::any_pointer;
use capnp::message::{Builder, HeapAllocator, Reader, ReaderOptions};
use capnp::serialize::OwnedSegments;
use capnp::traits::{HasTypeId, ImbueMut as _};
use capnp_rpc::rpc_capnp::{call, cap_descriptor, message, message_target, payload, resolve, return_};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::soon;

/// The operations' interface.
pub(crate) const OPERATIONS: u64 = <operations::Client as HasTypeId>::TYPE_ID;
/// The session's interface.
pub(crate) const SESSION: u64 = <session::Client as HasTypeId>::TYPE_ID;
/// The bootstrap object's interface.
pub(crate) const SERVICE: u64 = <a2a_service::Client as HasTypeId>::TYPE_ID;

/// One end of a WebSocket, without manners.
pub(crate) struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
    next_question: u32,
    /// The text of the server's `Abort`, once it came.
    abort: Option<String>,
    /// Whether it answers pings, as every honest peer does.
    pub(crate) answers_pings: bool,
}

/// How a connection ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ended {
    /// The text of the RPC `Abort`, if one came.
    pub(crate) abort: Option<String>,
    /// The close frame's code; 0 if the line ended without one.
    pub(crate) code: u16,
    /// The close frame's text.
    pub(crate) reason: String,
}

/// A received RPC message.
pub(crate) struct Rpc(Reader<OwnedSegments>);

/// On what a call is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// What the server exported under this id.
    Export(u32),
    /// What a call answered, or will answer: the pointer field of this number, or the answer's root.
    Answer(u32, Option<u16>),
}

/// A capability that travels with a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cap {
    /// The peer's own object.
    Mine(u32),
    /// The server's own.
    Yours(u32),
}

impl Rpc {
    pub(crate) fn root(&self) -> message::Reader<'_> {
        self.0.get_root().expect("the server writes messages")
    }

    /// The id and the outcome of an answer: results, or an exception's text.
    pub(crate) fn answer(&self) -> Option<(u32, Result<payload::Reader<'_>, String>)> {
        let Ok(message::Return(Ok(ret))) = self.root().which() else { return None };
        let outcome = match ret.which().expect("a known kind") {
            return_::Results(results) => Ok(results.expect("results")),
            return_::Exception(exception) => {
                Err(exception.and_then(|it| it.get_reason()).expect("a text").to_string().expect("UTF-8"))
            }
            _ => return None,
        };
        Some((ret.get_answer_id(), outcome))
    }

    /// The id of a call that the server makes.
    pub(crate) fn call(&self) -> Option<u32> {
        match self.root().which() {
            Ok(message::Call(Ok(call))) => Some(call.get_question_id()),
            _ => None,
        }
    }
}

impl Peer {
    /// After a WebSocket handshake that the server agreed to.
    pub(crate) async fn connect(server: SocketAddr) -> Self {
        let mut peer = Self::dial(server).await;
        peer.bytes(UPGRADE.as_bytes()).await;
        let head = soon("the handshake's answer", peer.head()).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        peer
    }

    /// Before anything was said.
    pub(crate) async fn dial(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.expect("the server accepts");
        stream.set_nodelay(true).expect("an option that every socket has");
        Self { stream, read: Vec::new(), next_question: 0, abort: None, answers_pings: true }
    }

    /// The head of an HTTP answer; empty or cut off at the end of the line.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).expect("ASCII");
            }
            if !self.more().await {
                return String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned();
            }
        }
    }

    /// Writes bytes as they are. A line that the server has cut is no error here.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Writes as much as the socket takes at once; whether that was all.
    pub(crate) fn try_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.try_write(bytes).is_ok_and(|wrote| wrote == bytes.len())
    }

    /// One binary frame.
    pub(crate) async fn frame(&mut self, payload: &[u8]) {
        let frame = frame(BINARY | FIN, payload);
        self.bytes(&frame).await;
    }

    /// One RPC message.
    pub(crate) async fn send(&mut self, build: impl FnOnce(message::Builder<'_>)) {
        let bytes = rpc(build);
        self.frame(&bytes).await;
    }

    /// A number for the next call.
    pub(crate) fn question(&mut self) -> u32 {
        self.next_question += 1;
        self.next_question - 1
    }

    /// Asks for the bootstrap object; the number of the question.
    pub(crate) async fn bootstrap(&mut self) -> u32 {
        let id = self.question();
        self.send(|message| message.init_bootstrap().set_question_id(id)).await;
        id
    }

    /// Calls a method; the number of the question.
    pub(crate) async fn call(
        &mut self,
        target: Target,
        (interface, method): (u64, u16),
        caps: &[Cap],
        params: impl FnOnce(any_pointer::Builder<'_>),
    ) -> u32 {
        let id = self.question();
        self.send(|message| {
            let call = message.init_call();
            write_call(call, id, target, (interface, method), caps, params);
        })
        .await;
        id
    }

    /// Asks for a session with this key; what calls on it are made on.
    pub(crate) async fn authenticate(&mut self, key: &str) -> Target {
        let service = self.bootstrap().await;
        let target = Target::Answer(service, None);
        let authenticated = self
            .call(target, (SERVICE, 2), &[], |params| {
                let params = params.init_as::<a2a_service::authenticate_params::Builder<'_>>();
                params.init_credentials().set_api_key(key);
            })
            .await;
        Target::Answer(authenticated, Some(0))
    }

    /// Asks the bootstrap object about the server.
    pub(crate) async fn info(&mut self, service: Target) -> u32 {
        self.call(service, (SERVICE, 0), &[], |_| {}).await
    }

    /// A blocking send.
    pub(crate) async fn send_message(&mut self, session: Target, text: &str) -> u32 {
        self.call(session, (OPERATIONS, 0), &[], |params| {
            let params = params.init_as::<operations::send_message_params::Builder<'_>>();
            SendMessageRequest::text(text).encode(params.init_request());
        })
        .await
    }

    /// A streaming send, into an object of the peer's.
    pub(crate) async fn send_streaming(&mut self, session: Target, text: &str, observer: u32) -> u32 {
        self.call(session, (OPERATIONS, 1), &[Cap::Mine(observer)], |params| {
            let mut params = params.init_as::<operations::send_streaming_message_params::Builder<'_>>();
            SendMessageRequest::text(text).encode(params.reborrow().init_request());
            params.set_observer(some_cap());
        })
        .await
    }

    pub(crate) async fn finish(&mut self, id: u32) {
        self.send(|message| {
            let mut finish = message.init_finish();
            finish.set_question_id(id);
            finish.set_release_result_caps(true);
        })
        .await;
    }

    /// Gives one reference to an object back.
    pub(crate) async fn release(&mut self, id: u32) {
        self.send(|message| {
            let mut release = message.init_release();
            release.set_id(id);
            release.set_reference_count(1);
        })
        .await;
    }

    /// The next RPC message, or how the connection ended. Pings are answered on the way, and objects that
    /// promises resolve to are given back.
    pub(crate) async fn receive(&mut self) -> Result<Rpc, Ended> {
        loop {
            let Some((opcode, payload)) = self.next_frame().await else {
                return Err(Ended { abort: self.abort.take(), ..Ended::default() });
            };
            match opcode {
                BINARY => {
                    let message =
                        capnp::serialize::read_message(&payload[..], ReaderOptions::new()).expect("framed");
                    let message = Rpc(message);
                    match message.root().which() {
                        Ok(message::Abort(exception)) => {
                            let text = exception.and_then(|it| it.get_reason()).expect("a text");
                            self.abort = Some(text.to_string().expect("UTF-8"));
                        }
                        Ok(message::Resolve(Ok(resolve))) => {
                            if let Ok(resolve::Cap(Ok(descriptor))) = resolve.which()
                                && let Ok(
                                    cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id),
                                ) = descriptor.which()
                            {
                                self.release(id).await;
                            }
                        }
                        _ => return Ok(message),
                    }
                }
                CLOSE => {
                    let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                    return Err(Ended { abort: self.abort.take(), code, reason });
                }
                PING if self.answers_pings => {
                    let pong = frame(PONG | FIN, &payload);
                    self.bytes(&pong).await;
                }
                _ => {}
            }
        }
    }

    /// Waits for the answer to a question; other messages are passed over.
    pub(crate) async fn answer_to(&mut self, id: u32) -> Result<Rpc, Ended> {
        loop {
            let message = soon("an answer", self.receive()).await?;
            if message.answer().is_some_and(|(answered, _)| answered == id) {
                return Ok(message);
            }
        }
    }

    /// Reads on until the connection ends.
    pub(crate) async fn ended(&mut self) -> Ended {
        let ended = async {
            loop {
                if let Err(ended) = self.receive().await {
                    return ended;
                }
            }
        };
        soon("the end of the connection", ended).await
    }

    /// Whether nothing but silence comes for this long.
    pub(crate) async fn is_open_for(&mut self, time: Duration) -> bool {
        let end = tokio::time::Instant::now() + time;
        loop {
            match tokio::time::timeout_at(end, self.receive()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return false,
                Err(_) => return true,
            }
        }
    }

    async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((opcode, start, end)) = self.whole_frame() {
                let payload = self.read[start..end].to_vec();
                self.read.drain(..end);
                return Some((opcode, payload));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Opcode and place of the payload of the first frame, if it is there.
    fn whole_frame(&self) -> Option<(u8, usize, usize)> {
        let [first, second, ..] = self.read[..] else { return None };
        assert_eq!(second & MASKED, 0, "a server does not mask");
        let (start, length) = match second {
            127 => (10, u64::from_be_bytes(self.read.get(2..10)?.try_into().expect("eight")) as usize),
            126 => (4, usize::from(u16::from_be_bytes(self.read.get(2..4)?.try_into().expect("two")))),
            short => (2, usize::from(short)),
        };
        (self.read.len() >= start + length).then_some((first & 0x0f, start, start + length))
    }

    async fn more(&mut self) -> bool {
        self.read.reserve(16 << 10);
        matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }
}

/// Fills in a call.
#[expect(clippy::too_many_arguments, reason = "a call has that many parts")]
pub(crate) fn write_call(
    mut call: call::Builder<'_>,
    id: u32,
    target: Target,
    (interface, method): (u64, u16),
    caps: &[Cap],
    params: impl FnOnce(any_pointer::Builder<'_>),
) {
    call.set_question_id(id);
    call.set_interface_id(interface);
    call.set_method_id(method);
    write_target(call.reborrow().init_target(), target);
    let mut payload = call.init_params();
    let mut table = payload.reborrow().init_cap_table(u32::try_from(caps.len()).expect("few"));
    for (index, cap) in (0..).zip(caps) {
        let mut descriptor = table.reborrow().get(index);
        match *cap {
            Cap::Mine(id) => descriptor.set_sender_hosted(id),
            Cap::Yours(id) => descriptor.set_receiver_hosted(id),
        }
    }
    // Capability pointers in the parameters are numbered as they are set; what hides behind them is ours.
    let mut hooks = Vec::new();
    let mut content = payload.reborrow().get_content();
    content.imbue_mut(&mut hooks);
    params(content);
}

pub(crate) fn write_target(mut target: message_target::Builder<'_>, on: Target) {
    match on {
        Target::Export(id) => target.set_imported_cap(id),
        Target::Answer(id, field) => {
            let mut answer = target.init_promised_answer();
            answer.set_question_id(id);
            if let Some(field) = field {
                answer.init_transform(1).get(0).set_get_pointer_field(field);
            }
        }
    }
}

/// A stand-in for whatever the capability table says.
pub(crate) fn some_cap<C: capnp::capability::FromClientHook>() -> C {
    C::new(capnp_rpc::new_broken_cap(capnp::Error::failed(String::new())).hook)
}

/// One RPC message, with its segment table.
pub(crate) fn rpc(build: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
    let mut message = Builder::new(HeapAllocator::new());
    build(message.init_root());
    capnp::serialize::write_message_to_words(&message)
}

/// One frame, masked with zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64, true);
    frame.extend_from_slice(payload);
    frame
}

/// The head of a frame.
pub(crate) fn head(first: u8, length: u64, masked: bool) -> Vec<u8> {
    let mask = if masked { MASKED } else { 0 };
    let mut head = vec![first];
    match length {
        0..=125 => head.push(mask | u8::try_from(length).expect("short")),
        126..=0xffff => {
            head.push(mask | 126);
            head.extend_from_slice(&u16::try_from(length).expect("two bytes").to_be_bytes());
        }
        _ => {
            head.push(mask | 127);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    if masked {
        head.extend_from_slice(&[0; 4]);
    }
    head
}

/// The request of an honest handshake.
pub(crate) const UPGRADE: &str = "GET /capnp HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
    Sec-WebSocket-Protocol: capnp-rpc\r\n\r\n";

/// The last frame of its message.
pub(crate) const FIN: u8 = 0x80;
/// Opcodes.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
const MASKED: u8 = 0x80;
