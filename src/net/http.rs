//! HTTP/1.1 on one connection: who may ask, and what is where.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::console::Console;
use super::counters::OneMore;
use super::problem::{Answer, Problem, json};
use super::progress::{Progress, Watched};
use super::routes::{ConnectionInfo, Document, MalformedBatch};
use super::upgrade::{Protocol, agree};
use super::worker::Worker;
use crate::limits::NetLimits;

/// A socket whose peer asked for WebSocket and was told yes.
pub(super) struct Upgraded<S> {
    pub(super) stream: S,
    /// Bytes that came behind the request's header.
    pub(super) read: Bytes,
    pub(super) info: ConnectionInfo,
    pub(super) protocol: Protocol,
}

/// Serves requests until the connection ends (`None`) or becomes a WebSocket.
pub(super) async fn serve<S>(worker: Rc<Worker>, stream: S, peer: SocketAddr) -> Option<Upgraded<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = worker.limits().clone();
    let progress = Progress::new();
    let exchange = Rc::new(Exchange { worker, peer, progress: progress.clone(), upgrade: Cell::new(None) });
    let service = {
        let exchange = exchange.clone();
        hyper::service::service_fn(move |request| {
            let exchange = exchange.clone();
            async move { Ok::<_, Infallible>(exchange.answer(request).await) }
        })
    };
    let stream = TokioIo::new(Watched::new(stream, progress.clone()));
    let connection = builder(&limits).serve_connection(stream, service).without_shutdown();
    let parts = tokio::select! {
        ended = connection => ended.ok()?,
        () = progress.overdue(&limits) => return None,
    };
    let (protocol, info) = exchange.upgrade.take()?;
    Some(Upgraded { stream: parts.io.into_inner().into_inner(), read: parts.read_buf, info, protocol })
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
    progress: Rc<Progress>,
    /// Set when the answer was 101.
    upgrade: Cell<Option<(Protocol, ConnectionInfo)>>,
}

/// What is where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Capnp,
    Capnweb,
    Card,
    Health,
    Ready,
    Metrics,
    Console(Console),
}

impl Route {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/capnp" => Some(Self::Capnp),
            "/capnweb" => Some(Self::Capnweb),
            "/healthz" | "/health" => Some(Self::Health),
            "/readyz" => Some(Self::Ready),
            "/metrics" => Some(Self::Metrics),
            _ if card_of(path).is_some() => Some(Self::Card),
            _ => Console::at(path).map(Self::Console),
        }
    }

    /// The methods that it takes.
    fn methods(self) -> &'static str {
        match self {
            Self::Capnp => "GET, OPTIONS",
            Self::Capnweb => "GET, POST, OPTIONS",
            Self::Card | Self::Health | Self::Ready | Self::Metrics => "GET, HEAD, OPTIONS",
            // No page from elsewhere has anything to ask of it.
            Self::Console(_) => "GET, HEAD",
        }
    }

    fn takes(self, method: &Method) -> bool {
        self.methods().split(", ").any(|name| name == method.as_str())
    }
}

impl Exchange {
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Answer {
        let _working = self.progress.working();
        let page = request.headers().get(header::ORIGIN).cloned();
        let (answered, page) = match self.check_origin(&request) {
            Ok(()) => (self.route(request).await, page),
            Err(problem) => (Err(problem), None),
        };
        let mut answer = answered.unwrap_or_else(Problem::into_answer);
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return answer;
        }
        let fields = answer.headers_mut();
        // Who may read this is a matter of the page that asked; never with its cookies.
        fields.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(page) = page {
            fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        }
        if self.worker.is_draining() {
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Answer, Problem> {
        let route = Route::at(request.uri().path()).ok_or_else(Problem::not_found)?;
        if !route.takes(request.method()) {
            return Err(Problem::method_not_allowed(route.methods()));
        }
        if request.method() == Method::OPTIONS {
            return Ok(options(route, request.headers()));
        }
        match route {
            Route::Capnp => self.upgrade(request.headers(), Protocol::Capnp),
            Route::Capnweb if request.method() == Method::POST => self.batch(request).await,
            Route::Capnweb => self.upgrade(request.headers(), Protocol::Capnweb),
            Route::Card => self.card(&request),
            Route::Health => Ok(self.health()),
            Route::Ready => Ok(self.readiness()),
            Route::Metrics => self.metrics(request.headers()).await,
            Route::Console(console) => Ok(console.answer(request.headers())),
        }
    }

    fn card(&self, request: &Request<Incoming>) -> Result<Answer, Problem> {
        let tenant = card_of(request.uri().path()).ok_or_else(Problem::not_found)?;
        let card = self.worker.routes().agent_card(tenant).ok_or_else(Problem::not_found)?;
        Ok(document(&card, request.headers()))
    }

    /// Whether the process serves: it is to be replaced only where it does not answer.
    fn health(&self) -> Answer {
        said(if self.worker.is_draining() { Err("draining") } else { Ok("ok") })
    }

    /// Whether new work may be sent here.
    fn readiness(&self) -> Answer {
        if self.worker.is_draining() {
            return said(Err("draining"));
        }
        said(self.worker.routes().readiness().map(|()| "ready"))
    }

    /// For programs on this machine only: how much is done here is nobody else's business.
    async fn metrics(&self, headers: &HeaderMap) -> Result<Answer, Problem> {
        let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
        if is_forwarded || !self.peer.ip().to_canonical().is_loopback() {
            let message =
                "metrics are for programs on the server's own machine: scrape its loopback address there";
            return Err(Problem::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message));
        }
        let text = self.worker.routes().metrics(Arc::clone(self.worker.counters())).await;
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        let fields = answer.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }

    fn upgrade(&self, headers: &HeaderMap, protocol: Protocol) -> Result<Answer, Problem> {
        let answer = agree(headers, protocol)?;
        self.upgrade.set(Some((protocol, self.info(headers))));
        Ok(answer)
    }

    /// `POST /capnweb`: a whole Cap'n Web session in one request.
    async fn batch(&self, request: Request<Incoming>) -> Result<Answer, Problem> {
        let deadline = Instant::now() + self.worker.limits().request_timeout;
        let Some(_permit) = self.worker.permit() else {
            return Err(Problem::unavailable("the server stops; ask again"));
        };
        let counters = self.worker.counters();
        let _one_more = OneMore::of(counters.gauge_requests());
        if counters.requests() > self.worker.limits().requests {
            return Err(Problem::overloaded());
        }
        let (head, body) = request.into_parts();
        let body = timeout_at(deadline, self.worker.bodies().read(&head.headers, body)).await;
        let body = body.map_err(|_| {
            let message = "the body did not come within `limits.net.request-timeout`";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "DEADLINE_EXCEEDED", message)
        })??;
        let batch = self.worker.batch(self.info(&head.headers), body.bytes.clone(), deadline);
        // It answers by then itself, with what there is.
        let answered = timeout_at(deadline + self.worker.limits().write_timeout, batch).await;
        let answered = answered.map_err(|_| {
            let message = "the calls were not answered within `limits.net.request-timeout`";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED", message)
        })?;
        let (status, frames) = match answered {
            Ok(frames) => (StatusCode::OK, frames),
            Err(MalformedBatch(frames)) => (StatusCode::BAD_REQUEST, frames),
        };
        let mut answer = Response::new(Full::new(frames));
        *answer.status_mut() = status;
        let fields = answer.headers_mut();
        for (name, value) in BATCH_FIELDS {
            fields.insert(name, HeaderValue::from_static(value));
        }
        Ok(answer)
    }

    fn info(&self, headers: &HeaderMap) -> ConnectionInfo {
        ConnectionInfo { peer: self.peer, user_agent: user_agent(headers) }
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
                asked = target.map(|target| shown(target.as_bytes())),
                host = values(header::HOST).next().map(shown),
                origin = values(header::ORIGIN).next().map(shown),
                refused = ?foreign,
                "a request from elsewhere was refused"
            );
            Problem::from(foreign)
        })
    }
}

/// Whose card is at this path, if one may be: `/.well-known/agent-card.json`, or under the path of a tenant.
fn card_of(path: &str) -> Option<Option<&str>> {
    let before = WELL_KNOWN.iter().find_map(|name| path.strip_suffix(name))?;
    match before.strip_prefix('/') {
        None => before.is_empty().then_some(None),
        Some(tenant) => (!tenant.is_empty() && !tenant.contains('/')).then_some(Some(tenant)),
    }
}

/// Where a card is: in A2A 1.0, and in 0.2.
const WELL_KNOWN: [&str; 2] = ["/.well-known/agent-card.json", "/.well-known/agent.json"];

/// What may be asked for, for a page that asks first (CORS) and for others.
fn options(route: Route, asked: &HeaderMap) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let fields = answer.headers_mut();
    fields.insert(header::ALLOW, HeaderValue::from_static(route.methods()));
    if asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, route.methods()),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
        ] {
            fields.insert(name, HeaderValue::from_static(value));
        }
    }
    answer
}

fn document(document: &Document, asked: &HeaderMap) -> Answer {
    let fresh = match asked.get(header::IF_NONE_MATCH) {
        Some(tags) => is_known(tags, &document.etag),
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

/// Whether `If-None-Match` names what we have (RFC 9110, 13.1.2).
pub(super) fn is_known(tags: &HeaderValue, etag: &str) -> bool {
    tags.to_str().is_ok_and(|tags| {
        tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

/// What a peer wrote, as it can stand in a log: short, ASCII, and without the user and password that an authority may begin with.
fn shown(bytes: &[u8]) -> String {
    let host = bytes.iter().rposition(|byte| *byte == b'@').map_or(bytes, |at| &bytes[at..]);
    host[..host.len().min(SHOWN_BYTES)].escape_ascii().to_string()
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text[..text.floor_char_boundary(USER_AGENT_BYTES)].to_owned())
}

/// A batch's answer is for its caller alone, and is no page.
const BATCH_FIELDS: [(HeaderName, &str); 3] = [
    (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
];
/// For how long a page need not ask again what it may ask for.
const PREFLIGHT_SECONDS: &str = "600";
/// Header fields of one request.
const MAX_HEADERS: usize = 64;
/// Bytes of one request's header.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Bytes of a header field that are logged.
const SHOWN_BYTES: usize = 128;
/// Bytes of a `User-Agent` that are kept.
const USER_AGENT_BYTES: usize = 256;
/// A card changes with its configuration: five minutes is soon enough, and its `ETag` makes asking cheap.
const CARD_CACHE: &str = "public, max-age=300";

/// How the server is, in a word.
fn said(status: Result<&str, &str>) -> Answer {
    let (code, text) = match status {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    };
    let mut answer = json(code, &serde_json::json!({ "status": text }));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// What proxies add: behind them, everybody seems to be on this machine.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
