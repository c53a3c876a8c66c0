//! A WebSocket on a socket of the machine's own, through tungstenite.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::close::{CloseReason, code};
use super::frames::{FrameQueue, Frames};
use crate::fault::FaultKind;
use crate::limits::WireLimits;

/// A WebSocket after its handshake.
pub struct WebSocket<S> {
    stream: WebSocketStream<Metered<S>>,
    kind: Kind,
    /// A large frame that was just given out. Kept until the next read, so that tungstenite, finding
    /// its buffer in use, takes a new small one: else each connection would keep the largest for life.
    large: Option<Bytes>,
    message_bytes: usize,
    idle_timeout: Duration,
    ping_interval: Duration,
    last_ping: Instant,
    alarm: Pin<Box<Sleep>>,
    closing: Closing,
    /// Pings that came since this many bytes were written.
    pings: (usize, u64),
    /// Payload bytes given to tungstenite, to compare with what reached the socket.
    taken: u64,
}

/// What a message is on this connection; the other kind ends it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Binary,
    Text,
}

/// How far the end has come.
#[derive(Debug, PartialEq)]
enum Closing {
    No,
    /// What is left is being written.
    Draining,
    /// Everything is written: the peer has a moment to take it.
    Lingering,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> WebSocket<S> {
    /// The server's end. `read` holds bytes that came after the request's header.
    pub async fn server(stream: S, read: &[u8], limits: &WireLimits) -> Self {
        let stream = Metered::new(stream);
        let config = Some(config(limits));
        let stream = if read.is_empty() {
            WebSocketStream::from_raw_socket(stream, Role::Server, config).await
        } else {
            WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, config).await
        };
        Self::new(stream, limits)
    }

    /// The client's end: sends the upgrade request and checks the answer. The caller bounds the time.
    ///
    /// # Errors
    /// The server does not speak WebSocket here, or the socket failed; the text says which.
    pub async fn client(
        request: tokio_tungstenite::tungstenite::handshake::client::Request,
        stream: S,
        limits: &WireLimits,
    ) -> Result<Self, CloseReason> {
        let stream = Metered::new(stream);
        let handshake = tokio_tungstenite::client_async_with_config(request, stream, Some(config(limits)));
        let (stream, _response) = handshake.await.map_err(|error| match error {
            Error::Http(response) => CloseReason::Lost(format!("the server answered {}", response.status())),
            error => CloseReason::Lost(error.to_string()),
        })?;
        Ok(Self::new(stream, limits))
    }

    /// The client's end of a line whose handshake nobody needs.
    #[cfg(test)]
    pub(crate) async fn assume_client(stream: S, limits: &WireLimits) -> Self {
        let stream = Metered::new(stream);
        Self::new(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config(limits))).await, limits)
    }

    /// The same, with text frames in place of binary ones. What is sent then must be UTF-8.
    #[must_use]
    pub fn of_text(self) -> Self {
        Self { kind: Kind::Text, ..self }
    }

    fn new(stream: WebSocketStream<Metered<S>>, limits: &WireLimits) -> Self {
        let now = Instant::now();
        let first = limits.ping_interval.min(limits.idle_timeout);
        Self {
            stream,
            kind: Kind::Binary,
            large: None,
            message_bytes: limits.message_bytes,
            idle_timeout: limits.idle_timeout,
            ping_interval: limits.ping_interval,
            last_ping: now,
            alarm: Box::pin(sleep_until(now + first)),
            closing: Closing::No,
            pings: (0, 0),
            taken: 0,
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|error| self.reason(error))?;
        self.taken = self.stream.get_ref().written;
        Poll::Ready(Ok(()))
    }

    fn reason(&self, error: Error) -> CloseReason {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseReason::too_big(self.message_bytes),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                CloseReason::Lost("it ended without a close frame".to_owned())
            }
            Error::Protocol(error) => CloseReason::violation(error.to_string()),
            Error::Utf8(_) if self.kind == Kind::Text => not_utf8(),
            Error::Utf8(_) => self.wrong_kind(),
            error => CloseReason::Lost(error.to_string()),
        }
    }

    fn wrong_kind(&self) -> CloseReason {
        let message = match self.kind {
            Kind::Binary => "Cap'n Proto travels in binary frames: send no text frame",
            Kind::Text => "Cap'n Web travels in text frames: send no binary frame",
        };
        CloseReason::violation(message).with_code(code::UNSUPPORTED)
    }

    /// A pong waits in memory until the peer takes it: one that sends pings and takes nothing is ended.
    fn count_ping(&mut self) -> Result<(), CloseReason> {
        let written = self.stream.get_ref().written;
        if self.pings.1 != written {
            self.pings = (0, written);
        }
        self.pings.0 += 1;
        if self.pings.0 > PINGS {
            let message = format!("{PINGS} pings came while no pong was taken: read what is sent");
            return Err(CloseReason::over(FaultKind::Overloaded, message));
        }
        Ok(())
    }

    /// Reads and forgets, so that what was written last is not lost to a reset; ready at the end of
    /// the stream.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(self.stream.get_mut()).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    fn set_alarm(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.alarm.as_mut().reset(at);
        self.alarm.as_mut().poll(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Frames for WebSocket<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, CloseReason>> {
        loop {
            let next = Pin::new(&mut self.stream).poll_next(cx);
            self.large = None;
            let message = match ready!(next) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Err(self.reason(error))),
                None => return Poll::Ready(Err(CloseReason::Lost("it was closed".to_owned()))),
            };
            let frame = match (message, self.kind) {
                (Message::Binary(bytes), Kind::Binary) => bytes,
                (Message::Text(text), Kind::Text) => text.into(),
                (Message::Binary(_) | Message::Text(_), _) => return Poll::Ready(Err(self.wrong_kind())),
                (Message::Close(frame), _) => return Poll::Ready(Err(peer_closed(frame))),
                (Message::Ping(_), _) => match self.count_ping() {
                    Ok(()) => continue,
                    Err(reason) => return Poll::Ready(Err(reason)),
                },
                (Message::Pong(_) | Message::Frame(_), _) => continue,
            };
            if frame.len() > LARGE_FRAME {
                self.large = Some(frame.clone());
            }
            return Poll::Ready(Ok(frame));
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut FrameQueue) -> Poll<Result<(), CloseReason>> {
        while !queue.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_ready(cx)).map_err(|error| self.reason(error))?;
            let Some(frame) = queue.pop() else { break };
            self.taken += frame.len() as u64;
            let message = match self.kind {
                Kind::Binary => Message::Binary(frame),
                Kind::Text => Message::Text(Utf8Bytes::try_from(frame).map_err(|_| CloseReason::Panicked)?),
            };
            let sent = Pin::new(&mut self.stream).start_send(message);
            sent.map_err(|error| self.reason(error))?;
        }
        self.poll_flush(cx)
    }

    fn unwritten(&self) -> usize {
        // Frame headers and control frames make `written` the larger: this errs to the low side by
        // a few bytes a frame, and is made exact by every complete flush.
        usize::try_from(self.taken.saturating_sub(self.stream.get_ref().written)).unwrap_or(usize::MAX)
    }

    fn poll_liveness(&mut self, cx: &mut Context<'_>, blocked: bool) -> Poll<CloseReason> {
        if blocked {
            self.stream.get_mut().count_writes();
        }
        ready!(self.alarm.as_mut().poll(cx));
        loop {
            let now = Instant::now();
            let heard = self.stream.get_ref().heard;
            if now >= heard + self.idle_timeout {
                return Poll::Ready(CloseReason::Silent);
            }
            if now >= heard.max(self.last_ping) + self.ping_interval {
                self.last_ping = now;
                // Only where the socket has room: a peer that takes nothing needs no more to take.
                if Pin::new(&mut self.stream).poll_ready(cx).is_ready() {
                    let _ = Pin::new(&mut self.stream).start_send(Message::Ping(Bytes::new()));
                    let _ = self.poll_flush(cx);
                }
            }
            let next_ping = heard.max(self.last_ping) + self.ping_interval;
            ready!(self.set_alarm(cx, next_ping.min(heard + self.idle_timeout)));
        }
    }

    fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut FrameQueue,
        close: Option<(u16, &str)>,
    ) -> Poll<()> {
        if self.closing == Closing::No {
            self.closing = Closing::Draining;
            let _ = self.set_alarm(cx, Instant::now() + CLOSING_TIME);
        }
        if self.closing == Closing::Draining {
            if self.alarm.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some((code, reason)) = close else {
                // The peer has closed: tungstenite's answer to that may still lie in its buffer.
                let _ = self.poll_flush(cx);
                return Poll::Ready(());
            };
            if ready!(self.poll_send(cx, queue)).is_err() {
                return Poll::Ready(());
            }
            let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from(reason) };
            if Pin::new(&mut self.stream).start_send(Message::Close(Some(frame))).is_err() {
                return Poll::Ready(());
            }
            self.closing = Closing::Lingering;
            let _ = self.set_alarm(cx, Instant::now() + LINGER_TIME);
        }
        if self.alarm.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match self.poll_flush(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) => {
                let _ = pin!(self.stream.get_mut()).poll_shutdown(cx);
            }
            Poll::Pending => {}
        }
        self.poll_discard(cx)
    }
}

fn config(limits: &WireLimits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits.read_buffer_bytes)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(limits.message_bytes))
        .max_frame_size(Some(limits.message_bytes))
}

fn not_utf8() -> CloseReason {
    CloseReason::violation("a text frame must be UTF-8").with_code(code::INVALID_DATA)
}

fn peer_closed(frame: Option<CloseFrame>) -> CloseReason {
    match frame {
        Some(frame) => {
            CloseReason::PeerClosed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() }
        }
        None => CloseReason::PeerClosed { code: code::NONE, reason: String::new() },
    }
}

/// A socket that counts what it wrote and knows when the peer last gave a sign of life.
struct Metered<S> {
    inner: S,
    heard: Instant,
    wrote: Instant,
    written: u64,
}

impl<S> Metered<S> {
    fn new(inner: S) -> Self {
        let now = Instant::now();
        Self { inner, heard: now, wrote: now, written: 0 }
    }

    /// Takes what was written for a sign of life: the peer made room for it.
    fn count_writes(&mut self) {
        self.heard = self.heard.max(self.wrote);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.heard = Instant::now();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.written += wrote as u64;
        self.wrote = Instant::now();
        Poll::Ready(Ok(wrote))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Pings that are answered while the peer takes nothing.
const PINGS: usize = 64;
/// Above this, tungstenite writes to the socket before it is asked to flush.
const WRITE_BUFFER: usize = 32 << 10;
/// Frames above this make tungstenite grow its read buffer for good, unless it is in use.
const LARGE_FRAME: usize = 16 << 10;
/// Time that a closing connection has to take what was still to be sent.
const CLOSING_TIME: Duration = Duration::from_secs(5);
/// Time that the peer has for its own close frame.
const LINGER_TIME: Duration = Duration::from_secs(1);
