//! A collector of spans: OTLP over HTTP, read with the types that are generated from its specification.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus};
use prost::Message as _;
use tokio::net::TcpListener;

use crate::world::soon;

/// A span as it was exported.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `service.name` of whoever exported it.
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) took: Duration,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) is_error: bool,
    /// Type and message of each `exception` event.
    pub(crate) exceptions: Vec<(String, String)>,
}

impl Seen {
    /// An attribute; empty if there is none.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// What metrics count it as.
    pub(crate) fn call(&self) -> (String, String) {
        (self.attribute("rpc.method").to_owned(), self.attribute("a2a.outcome").to_owned())
    }
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<Seen>,
    bytes: Vec<u8>,
    /// The `Authorization` of the last request.
    authorization: String,
}

/// The collector, for as long as it lives.
pub(crate) struct SpanCollector {
    pub(crate) url: String,
    received: Arc<Mutex<Received>>,
    _serving: tokio_util::task::AbortOnDropHandle<()>,
}

impl SpanCollector {
    pub(crate) async fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let received = Arc::<Mutex<Received>>::default();
        let into = Arc::clone(&received);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let into = Arc::clone(&into);
                let service = hyper::service::service_fn(move |request| take(Arc::clone(&into), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { url, received, _serving: tokio_util::task::AbortOnDropHandle::new(serving) }
    }

    /// What makes a process export to it, soon after each span's end.
    pub(crate) fn variables(&self) -> [(&str, &str); 2] {
        [("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url), ("OTEL_BSP_SCHEDULE_DELAY", "20")]
    }

    pub(crate) fn spans(&self) -> Vec<Seen> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// Everything that was ever sent to it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone()
    }

    pub(crate) fn authorization(&self) -> String {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).authorization.clone()
    }

    /// Waits for a span.
    pub(crate) async fn span(&self, what: &str, is_it: impl Fn(&Seen) -> bool) -> Seen {
        let looking = async {
            loop {
                if let Some(found) = self.spans().into_iter().find(&is_it) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), looking).await {
            Ok(found) => found,
            Err(_) => panic!("no span is {what}: {:#?}", self.spans()),
        }
    }

    /// Waits for so many that are alike.
    pub(crate) async fn count(&self, what: &str, number: usize, is_one: impl Fn(&Seen) -> bool) {
        let looking = async {
            while self.spans().iter().filter(|span| is_one(span)).count() < number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(what, looking).await;
    }
}

async fn take(
    received: Arc<Mutex<Received>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_ours = parts.uri.path() == "/v1/traces" && header("content-type") == "application/x-protobuf";
    let exported = ExportTraceServiceRequest::decode(&*body);
    let mut answer = Response::new(Full::new(Bytes::new()));
    match exported {
        Ok(exported) if is_ours => {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            received.spans.extend(read(exported));
            received.bytes.extend_from_slice(&body);
            received.authorization = header("authorization").to_owned();
        }
        _ => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(answer)
}

fn read(exported: ExportTraceServiceRequest) -> Vec<Seen> {
    let mut seen = Vec::new();
    for of_resource in exported.resource_spans {
        let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        seen.extend(spans.map(|span| one(service.clone(), span)));
    }
    seen
}

fn one(service: String, span: Span) -> Seen {
    let exceptions = span.events.into_iter().filter(|event| event.name == "exception");
    let exceptions = exceptions.map(|event| {
        let mut said = attributes(event.attributes);
        let mut take = |name: &str| said.remove(name).unwrap_or_default();
        (take("exception.type"), take("exception.message"))
    });
    Seen {
        service,
        kind: SpanKind::try_from(span.kind).expect("a kind"),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        took: Duration::from_nanos(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)),
        is_error: span.status.is_some_and(|status| status.code == SpanStatus::Error as i32),
        exceptions: exceptions.collect(),
        attributes: attributes(span.attributes),
        name: span.name,
    }
}

/// Each is there once: the specification has no second value of a name.
fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    for pair in pairs {
        let value = text(pair.value.unwrap_or_default());
        let before = read.insert(pair.key.clone(), value);
        assert_eq!(before, None, "{} is there twice", pair.key);
    }
    read
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        other => panic!("a value that no attribute of ours has: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
