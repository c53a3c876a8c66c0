//! HTTP/1.1 on one connection: the router, and the upgrade to WebSocket.

use std::cell::Cell;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::origin::Foreign;
use super::routes::{ConnectionInfo, Document};
use super::worker::Worker;
use crate::limits::NetLimits;

/// A socket whose peer asked for WebSocket and was told yes.
pub(super) struct Upgraded<S> {
    pub(super) stream: S,
    /// Bytes that came behind the request's header.
    pub(super) read: Bytes,
    pub(super) info: ConnectionInfo,
}

/// Serves requests until the connection ends (`None`) or becomes a WebSocket.
pub(super) async fn serve<S>(worker: Rc<Worker>, stream: S, peer: SocketAddr) -> Option<Upgraded<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = worker.limits().clone();
    let exchange = Rc::new(Exchange { worker, peer, requests: Cell::new(0), upgrade: Cell::new(None) });
    let service = {
        let exchange = exchange.clone();
        hyper::service::service_fn(move |request| exchange.answer(&request))
    };
    let connection = builder(&limits).serve_connection(TokioIo::new(stream), service).without_shutdown();
    let parts = tokio::select! {
        ended = connection => ended.ok()?,
        () = exchange.overdue(limits.handshake_timeout) => return None,
    };
    let info = exchange.upgrade.take()?;
    Some(Upgraded { stream: parts.io.into_inner(), read: parts.read_buf, info })
}

fn builder(limits: &NetLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
}

/// The requests of one connection.
struct Exchange {
    worker: Rc<Worker>,
    peer: SocketAddr,
    requests: Cell<u64>,
    /// Set when the answer was 101.
    upgrade: Cell<Option<ConnectionInfo>>,
}

type Answer = Response<Full<Bytes>>;

impl Exchange {
    fn answer(&self, request: &Request<Incoming>) -> Ready<Result<Answer, std::convert::Infallible>> {
        self.requests.set(self.requests.get() + 1);
        let mut answer = self.route(request).unwrap_or_else(Problem::into_answer);
        if self.worker.is_draining() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        ready(Ok(answer))
    }

    fn route(&self, request: &Request<Incoming>) -> Result<Answer, Problem> {
        self.check_origin(request)?;
        match request.uri().path() {
            "/capnp" => self.upgrade(request),
            "/.well-known/agent-card.json" | "/.well-known/agent.json" => {
                only_reads(request.method())?;
                Ok(document(&self.worker.routes().agent_card(), request.headers()))
            }
            "/healthz" | "/health" => {
                only_reads(request.method())?;
                Ok(self.health())
            }
            _ => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "NOT_FOUND",
                "no such path; see /.well-known/agent-card.json",
            )),
        }
    }

    fn health(&self) -> Answer {
        let (status, text) = if self.worker.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else {
            (StatusCode::OK, "ok")
        };
        let mut answer = json(status, &serde_json::json!({ "status": text }));
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }

    /// The one place that judges who may talk to us from where, before any route.
    fn check_origin(&self, request: &Request<Incoming>) -> Result<(), Problem> {
        let headers = request.headers();
        let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let target = request.uri().authority().map(Authority::as_str);
        let needs_host = request.version() >= Version::HTTP_11;
        let judged =
            self.worker.allowed().check(target, values(header::HOST), values(header::ORIGIN), needs_host);
        judged.map_err(|foreign| {
            self.worker.counters().count_foreign(foreign);
            tracing::info!(
                peer = %self.peer,
                target = ?target.map(|target| shown(target.as_bytes())),
                host = ?values(header::HOST).next().map(shown),
                origin = ?values(header::ORIGIN).next().map(shown),
                refused = ?foreign,
                "a request from elsewhere was refused"
            );
            Problem::from(foreign)
        })
    }

    /// RFC 6455, 4.2: checks the request and agrees to it.
    fn upgrade(&self, request: &Request<Incoming>) -> Result<Answer, Problem> {
        if request.method() != Method::GET {
            return Err(Problem::method_not_allowed("GET"));
        }
        let headers = request.headers();
        if !has_token(headers, header::UPGRADE, "websocket")
            || !has_token(headers, header::CONNECTION, "upgrade")
        {
            let message = "this is a WebSocket endpoint: connect with a Cap'n Proto client";
            return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", message)
                .with(header::UPGRADE, "websocket")
                .with(header::CONNECTION, "upgrade"));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            let message = "Sec-WebSocket-Version must be 13";
            return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", message)
                .with(header::SEC_WEBSOCKET_VERSION, "13"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_websocket_key(key.as_bytes()));
        let Some(key) = key else {
            let message = "Sec-WebSocket-Key must be 16 bytes in base64";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message));
        };
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
            .expect("base64 has only characters that a header may have");
        let fields = answer.headers_mut();
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        if has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
            fields.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        self.upgrade.set(Some(ConnectionInfo { peer: self.peer, user_agent: user_agent(headers) }));
        Ok(answer)
    }

    /// Ready when a whole `timeout` has passed without a new request.
    async fn overdue(&self, timeout: Duration) {
        loop {
            let before = self.requests.get();
            sleep(timeout).await;
            if self.requests.get() == before {
                return;
            }
        }
    }
}

fn only_reads(method: &Method) -> Result<(), Problem> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Problem::method_not_allowed("GET, HEAD")),
    }
}

fn document(document: &Document, asked: &HeaderMap) -> Answer {
    let fresh = match asked.get(header::IF_NONE_MATCH).map(HeaderValue::to_str) {
        Some(Ok(tags)) => tags.split(',').any(|tag| {
            let tag = tag.trim();
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == document.etag
        }),
        Some(Err(_)) => false,
        None => asked.get(header::IF_MODIFIED_SINCE).is_some_and(|since| *since == *document.modified),
    };
    let body = if fresh { Bytes::new() } else { document.bytes.clone() };
    let mut answer = Response::new(Full::new(body));
    let fields = answer.headers_mut();
    if !fresh {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.content_type));
    }
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(CARD_CACHE));
    for (name, text) in [(header::ETAG, &document.etag), (header::LAST_MODIFIED, &document.modified)] {
        let value = HeaderValue::try_from(text).expect("hex and dates have only ASCII");
        fields.insert(name, value);
    }
    if fresh {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    answer
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

/// What a peer wrote, as it can stand in a log: short, and without control characters.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii().to_string()
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text[..text.floor_char_boundary(USER_AGENT_BYTES)].to_owned())
}

/// An answer that is not what was asked for, in the shape of `google.rpc.Status`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    word: &'static str,
    message: &'static str,
    fields: Vec<(HeaderName, &'static str)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, word: &'static str, message: &'static str) -> Self {
        Self { status, word, message, fields: Vec::new() }
    }

    fn method_not_allowed(allow: &'static str) -> Self {
        let message = "this path does not take that method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message).with(header::ALLOW, allow)
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.fields.push((name, value));
        self
    }

    /// The body: `{"error":{"code":404,"status":"NOT_FOUND","message":"..."}}`.
    pub(super) fn body(&self) -> serde_json::Value {
        let error = serde_json::json!({
            "code": self.status.as_u16(),
            "status": self.word,
            "message": self.message,
        });
        serde_json::json!({ "error": error })
    }

    fn into_answer(self) -> Answer {
        let mut answer = json(self.status, &self.body());
        for (name, value) in self.fields {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

impl From<Foreign> for Problem {
    fn from(foreign: Foreign) -> Self {
        let (status, word, message) = match foreign {
            Foreign::NoHost => {
                (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "one Host field with a host name is required")
            }
            Foreign::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "FAILED_PRECONDITION",
                "this server does not go by the name in Host: add it to `allowed-hosts`, or set `public-url`",
            ),
            Foreign::Origin => (
                StatusCode::FORBIDDEN,
                "PERMISSION_DENIED",
                "pages of this Origin may not call this server: add it to `allowed-origins`",
            ),
        };
        Self::new(status, word, message)
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Header fields of one request.
const MAX_HEADERS: usize = 64;
/// Bytes of one request's header.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Bytes of a header field that are logged.
const SHOWN_BYTES: usize = 128;
/// Bytes of a `User-Agent` that are kept.
const USER_AGENT_BYTES: usize = 256;
/// Echoed if offered, never required: C++ and Go clients offer none.
const SUBPROTOCOL: &str = "capnp-rpc";
/// A card changes with its configuration: five minutes is soon enough, and its `ETag` makes asking cheap.
const CARD_CACHE: &str = "public, max-age=300";
