//! The exporter: OTLP over HTTP, in batches, from a thread of its own. What waits there is bounded; a collector that is
//! down, slow or wrong costs spans, and nothing else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use opentelemetry::{KeyValue, global};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{
    EnvResourceDetector, SdkProvidedResourceDetector, TelemetryResourceDetector,
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::Collector;
use crate::cli::error::CliError;
use crate::model::ServiceParameters;
use crate::trace::Tracer;

/// Exports the spans of this process. What waits when this is dropped is sent, for a moment.
pub(in super::super) struct Exporting {
    provider: Option<SdkTracerProvider>,
    serving: bool,
}

impl Exporting {
    pub(super) fn none() -> Self {
        Self { provider: None, serving: false }
    }

    pub(super) fn start(collector: Option<Collector>, serving: bool) -> Result<Self, String> {
        let Some(Collector { url, timeout }) = collector else { return Ok(Self::none()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        // Nobody waits for a command that waits for a collector.
        let retry = if serving { RetryPolicy::recommended() } else { RetryPolicy::disabled() };
        let client = Client { runtime, timeout, trouble: Mutex::default() };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).with_retry_policy(retry);
        let exporter = exporter.with_endpoint(url).with_timeout(timeout).build();
        let exporter = exporter.map_err(|error| error.to_string())?;
        let provider =
            SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
        global::set_tracer_provider(provider.clone());
        Ok(Self { provider: Some(provider), serving })
    }

    /// Runs a client's command as one span, in the trace that the environment names: its calls are one trace then.
    pub(in super::super) async fn around(
        &self,
        name: Option<&str>,
        command: impl Future<Output = Result<(), CliError>>,
    ) -> Result<(), CliError> {
        let Some(name) = name.filter(|_| self.provider.is_some() && !self.serving) else {
            return command.await;
        };
        let mut parameters = ServiceParameters::new();
        for name in ["traceparent", "tracestate"] {
            if let Ok(value) = std::env::var(name.to_ascii_uppercase()) {
                // What cannot be one is none.
                let _ = parameters.insert(name, &value);
            }
        }
        let span = Tracer::default().work(format!("a2a-webcap {name}"), &parameters);
        let result = span.scope().around(command).await;
        span.done();
        result
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH)
        {
            tracing::debug!(%error, "the last spans may not have been exported");
        }
    }
}

/// What the spans are of: as the environment says, and otherwise this program.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let detected = Resource::builder_empty().with_attribute(version).with_detectors(&[
        Box::new(TelemetryResourceDetector),
        Box::new(SdkProvidedResourceDetector),
        Box::new(EnvResourceDetector::new()),
    ]);
    let resource = detected.build();
    let name = resource.get(&"service.name".into()).map(|name| name.to_string());
    match name.is_some_and(|name| !name.starts_with("unknown_service")) {
        true => resource,
        false => Resource::builder_empty()
            .with_attributes(resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
            .with_service_name("a2a-webcap")
            .build(),
    }
}

/// Sends batches, each over a connection of its own: there are few, and none is worth keeping one open.
#[derive(Debug)]
struct Client {
    /// Driven by the exporter's thread alone.
    runtime: Runtime,
    timeout: Duration,
    trouble: Mutex<Trouble>,
}

/// What the log was told.
#[derive(Debug, Default)]
struct Trouble {
    /// Tries that failed since it was told.
    untold: u64,
    told: Option<Instant>,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.block_on(async {
            match tokio::time::timeout(self.timeout, send(request)).await {
                Ok(sent) => sent,
                Err(_) => Err(format!("no answer within {:?}", self.timeout).into()),
            }
        });
        match &sent {
            Ok(response) if response.status().is_success() => self.succeeded(),
            Ok(response) => self.failed(&format!("the collector answers {}", response.status())),
            Err(error) => self.failed(&error.to_string()),
        }
        sent
    }
}

impl Client {
    fn succeeded(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *trouble).told.is_some() {
            tracing::info!("spans are exported again");
        }
    }

    /// Tells the log, but not again for a while.
    fn failed(&self, why: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.untold += 1;
        if trouble.told.is_some_and(|told| told.elapsed() < QUIET) {
            return;
        }
        tracing::warn!(why, tries = trouble.untold, "spans are not exported, and are lost; nothing else is");
        *trouble = Trouble { untold: 0, told: Some(Instant::now()) };
    }
}

async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (mut parts, body) = request.into_parts();
    let host = parts.uri.host().ok_or("there is no host")?.trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((host, parts.uri.port_u16().unwrap_or(80))).await?;
    let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
    parts.headers.insert(HOST, HeaderValue::from_str(authority)?);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER).collect().await?.to_bytes();
    drop(connection);
    Ok(Response::from_parts(parts, body))
}

/// How long a program that ends waits for its collector.
const FLUSH: Duration = Duration::from_secs(2);
/// How long the log is not told again of what it knows.
const QUIET: Duration = Duration::from_secs(60);
/// Bytes of a collector's answer.
const LARGEST_ANSWER: usize = 64 << 10;
