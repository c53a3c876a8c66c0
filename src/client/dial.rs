//! Opens a WebSocket to a server, over a socket of the machine's own.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::endpoint::Endpoint;
use super::local::Connection;
use crate::fault::{Fault, FaultKind, Result};
use crate::limits::WireLimits;
use crate::transport::WebSocket;

impl Connection {
    /// Opens a connection within `timeout` and keeps it going. Must be called, and polled, inside a
    /// `tokio::task::LocalSet`.
    ///
    /// # Errors
    /// `DISCONNECTED` with what went wrong; `UNSUPPORTED_OPERATION` for an encrypted line, which this
    /// version does not speak.
    pub async fn open(endpoint: &Endpoint, limits: WireLimits, timeout: Duration) -> Result<Self> {
        let socket = match tokio::time::timeout(timeout, dial(endpoint, &limits)).await {
            Ok(socket) => socket?,
            Err(_) => return Err(unreachable(endpoint, format_args!("no answer within {timeout:?}"))),
        };
        let (connection, running) = Self::new(socket, limits);
        tokio::task::spawn_local(running);
        Ok(connection)
    }
}

async fn dial(endpoint: &Endpoint, limits: &WireLimits) -> Result<WebSocket<TcpStream>> {
    if endpoint.is_secure() {
        let message = "TLS is not in this version: use http:// or ws://, over a tunnel if need be";
        return Err(Fault::new(FaultKind::UnsupportedOperation, message));
    }
    let stream = TcpStream::connect((endpoint.host(), endpoint.port())).await;
    let stream = stream.map_err(|error| unreachable(endpoint, format_args!("{error}")))?;
    // A call waits for its answer: it must not wait for more bytes as well.
    stream.set_nodelay(true).map_err(|error| unreachable(endpoint, format_args!("{error}")))?;
    let request = endpoint.to_string().into_client_request();
    let request = request.map_err(|error| unreachable(endpoint, format_args!("{error}")))?;
    let socket = WebSocket::client(request, stream, limits).await;
    socket.map_err(|reason| unreachable(endpoint, format_args!("{reason}")))
}

fn unreachable(endpoint: &Endpoint, why: std::fmt::Arguments<'_>) -> Fault {
    let message =
        format!("cannot connect to {endpoint}: {why}; is the server running, and the address right?");
    Fault::new(FaultKind::Disconnected, message)
}
