//! The upgrade of a request to a WebSocket (RFC 6455, 4.2).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::problem::{Answer, Problem};

/// What is spoken on a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Capnp,
    Capnweb,
}

impl Protocol {
    /// Echoed if offered, never required: C++ and Go clients offer none.
    fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Capnp => Some("capnp-rpc"),
            Self::Capnweb => None,
        }
    }

    fn invitation(self) -> &'static str {
        match self {
            Self::Capnp => "this is a WebSocket endpoint: connect with a Cap'n Proto client",
            Self::Capnweb => "connect to this path with a Cap'n Web client, or POST a batch to it",
        }
    }
}

/// Checks a GET request and agrees to it.
pub(super) fn agree(headers: &HeaderMap, protocol: Protocol) -> Result<Answer, Problem> {
    if !has_token(headers, header::UPGRADE, "websocket") || !has_token(headers, header::CONNECTION, "upgrade")
    {
        return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", protocol.invitation())
            .with(header::UPGRADE, "websocket")
            .with(header::CONNECTION, "upgrade"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let message = "Sec-WebSocket-Version must be 13";
        return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", message)
            .with(header::SEC_WEBSOCKET_VERSION, "13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_websocket_key(key.as_bytes()));
    let key = key.ok_or_else(|| Problem::bad_request("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 has only ASCII");
    let mut answer = Response::new(Full::<Bytes>::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = answer.headers_mut();
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(name) = protocol.subprotocol()
        && has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, name)
    {
        fields.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok(answer)
}

/// Whether a comma-separated header has this token, in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

fn is_websocket_key(key: &[u8]) -> bool {
    let mut nonce = [0; 18];
    matches!(BASE64_STANDARD.decode_slice(key, &mut nonce), Ok(16))
}
