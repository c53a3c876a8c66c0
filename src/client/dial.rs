//! Opens a WebSocket to a server, over a socket of the machine's own or over a pipe.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::endpoint::{Binding, Endpoint};
use super::local::Connection;
use super::uplink::Settings;
use crate::fault::{Fault, FaultKind, Result};
use crate::limits::WireLimits;
use crate::transport::{Frames, Tap, WebSocket};

/// Where lines come from that need no socket.
#[derive(Clone)]
pub(super) struct Dialer(Arc<dyn Fn() -> io::Result<DuplexStream> + Send + Sync>);

impl Dialer {
    pub(super) fn new(pipes: impl Fn() -> io::Result<DuplexStream> + Send + Sync + 'static) -> Self {
        Self(Arc::new(pipes))
    }

    pub(super) fn dial(&self, endpoint: &Endpoint) -> Result<DuplexStream> {
        (self.0)().map_err(|error| unreachable(endpoint, format_args!("{error}")))
    }
}

impl Connection {
    /// Opens a connection within `timeout` and keeps it going. Must be called, and polled, inside a
    /// `tokio::task::LocalSet`.
    ///
    /// # Errors
    /// `DISCONNECTED` with what went wrong; `UNSUPPORTED_OPERATION` for an encrypted line, which this
    /// version does not speak.
    pub async fn open(endpoint: &Endpoint, limits: WireLimits, timeout: Duration) -> Result<Self> {
        let opened = async { upgrade(dial(endpoint).await?, endpoint, &limits).await };
        let socket = in_time(endpoint, timeout, opened).await?;
        Ok(running(socket, endpoint.binding(), limits))
    }

    /// The same over a stream that is open already, such as a pipe to a server in this process. The endpoint says
    /// what the server is called.
    ///
    /// # Errors
    /// `DISCONNECTED` with what went wrong.
    pub async fn over<S>(
        stream: S,
        endpoint: &Endpoint,
        limits: WireLimits,
        timeout: Duration,
    ) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let socket = in_time(endpoint, timeout, upgrade(stream, endpoint, &limits)).await?;
        Ok(running(socket, endpoint.binding(), limits))
    }
}

/// Opens a connection as the settings say.
pub(super) async fn connect(settings: &Settings) -> Result<Connection> {
    let endpoint = &settings.endpoint;
    let opened = async {
        match &settings.dialer {
            None => watched(settings, dial(endpoint).await?).await,
            Some(dialer) => watched(settings, dialer.dial(endpoint)?).await,
        }
    };
    in_time(endpoint, settings.connect_timeout, opened).await
}

async fn watched<S>(settings: &Settings, stream: S) -> Result<Connection>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Settings { endpoint, limits, onlooker, .. } = settings;
    let binding = endpoint.binding();
    let socket = upgrade(stream, endpoint, limits).await?;
    Ok(match onlooker.watch(binding) {
        None => running(socket, binding, limits.clone()),
        Some(seen) => running(Tap::new(socket, seen), binding, limits.clone()),
    })
}

fn running<F: Frames>(frames: F, binding: Binding, limits: WireLimits) -> Connection {
    let (connection, running) = Connection::new(frames, binding, limits);
    tokio::task::spawn_local(running);
    connection
}

async fn in_time<T>(
    endpoint: &Endpoint,
    timeout: Duration,
    opened: impl Future<Output = Result<T>>,
) -> Result<T> {
    let opened = tokio::time::timeout(timeout, opened).await;
    opened.unwrap_or_else(|_| Err(unreachable(endpoint, format_args!("no answer within {timeout:?}"))))
}

async fn dial(endpoint: &Endpoint) -> Result<TcpStream> {
    if endpoint.is_secure() {
        let message = "TLS is not in this version: use http:// or ws://, over a tunnel if need be";
        return Err(Fault::new(FaultKind::UnsupportedOperation, message));
    }
    let stream = TcpStream::connect((endpoint.host(), endpoint.port())).await;
    let stream = stream.map_err(|error| unreachable(endpoint, format_args!("{error}")))?;
    // A call waits for its answer: it must not wait for more bytes as well.
    stream.set_nodelay(true).map_err(|error| unreachable(endpoint, format_args!("{error}")))?;
    Ok(stream)
}

async fn upgrade<S>(stream: S, endpoint: &Endpoint, limits: &WireLimits) -> Result<WebSocket<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let request = endpoint.to_string().into_client_request();
    let request = request.map_err(|error| unreachable(endpoint, format_args!("{error}")))?;
    let socket = WebSocket::client(request, stream, limits).await;
    let socket = socket.map_err(|reason| unreachable(endpoint, format_args!("{reason}")))?;
    Ok(match endpoint.binding() {
        Binding::CapnProto => socket,
        Binding::CapnWeb => socket.of_text(),
    })
}

fn unreachable(endpoint: &Endpoint, why: std::fmt::Arguments<'_>) -> Fault {
    let message =
        format!("cannot connect to {endpoint}: {why}; is the server running, and the address right?");
    Fault::new(FaultKind::Disconnected, message)
}
