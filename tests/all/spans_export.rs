//! The exporter: what a collector that is down, slow or wrong can do (nothing), what is refused, and what no span holds.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_webcap::client::{Client, Credentials, GrantPolicy, TaskRole};
use a2a_webcap::model::{Message, Part, SendMessageResponse, ServiceParameters};
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, global};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::cli::{Scratch, err, program};
use crate::collector::SpanCollector;
use crate::hostile_bench::{alone, run};
use crate::process::{Served, answer, ask};
use crate::world::{ALICE, World, soon, until};

/// Tells it to stop, and waits.
async fn stopped(served: &mut Served) -> ExitStatus {
    served.signal("-TERM");
    soon("the server's end", served.child.wait()).await.expect("it can be waited for")
}

/// A server that exports to there, soon and with little patience.
async fn exporting(url: &str, more: &[(&str, &str)]) -> Served {
    let soon = [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let variables: Vec<_> = soon.iter().chain(more).copied().collect();
    Served::start_in("echo", &["--store", "memory"], &variables).await
}

/// It answers, tells its log once that spans are lost, and stops in good order.
async fn is_unharmed(mut served: Served) {
    for number in 0..3 {
        let client = served.client().await;
        for _ in 0..20 {
            let task = ask(&client, Message::user("hello")).await;
            assert_eq!(answer(&task), "Echo: hello", "round {number}");
        }
        served.logs(&["spans are not exported"]).await;
    }
    assert!(stopped(&mut served).await.success());
    let log = served.log();
    assert_eq!(log.matches("spans are not exported").count(), 1, "{log}");
}

#[tokio::test]
async fn a_collector_that_is_down_costs_one_line_in_the_log() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    is_unharmed(exporting(&url, &[]).await).await;
}

#[tokio::test]
async fn a_collector_that_answers_garbage_costs_one_line_in_the_log() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let garbage = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The other end may have gone.
            let _ = stream.write_all(b"\x00\xff HTTP/9 garbage\r\n\r\n\r\n").await;
        }
    });
    is_unharmed(exporting(&url, &[]).await).await;
    garbage.abort();
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_one_line_in_the_log() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    is_unharmed(exporting(&url, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "100")]).await).await;
    drop(listener);
}

#[tokio::test]
async fn a_collector_that_never_answers_does_not_keep_a_server_from_stopping() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Were it waited for, that would take a minute.
    let mut served = exporting(&url, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")]).await;
    ask(&served.client().await, Message::user("hello")).await;
    let (_stream, _) = soon("the export", listener.accept()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(40), stopped(&mut served)).await;
    assert!(ended.expect("it waits for its collector").success());
}

#[tokio::test]
async fn a_collector_that_comes_back_gets_spans_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let served = exporting(&format!("http://{address}"), &[]).await;
    let client = served.client().await;
    ask(&client, Message::user("hello")).await;
    served.logs(&["spans are not exported"]).await;
    let collector = SpanCollector::at(address).await;
    ask(&client, Message::user("hello again")).await;
    collector.span("a turn", |span| span.name == "turn").await;
    served.logs(&["spans are exported again"]).await;
}

#[tokio::test]
async fn a_collector_that_cannot_be_spoken_to_is_refused_by_a_server_and_forgone_by_a_command() {
    let state = Scratch::new();
    let variable = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318/hush");
    let mut serve = program();
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("A2A_WEBCAP_STATE_DIR", &state.0);
    serve.env(variable.0, variable.1).stdin(Stdio::null());
    let refused = soon("a refusal", serve.output()).await.unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    for words in ["OTEL_EXPORTER_OTLP_ENDPOINT", "TLS is not in this version"] {
        assert!(err(&refused).contains(words), "{}", err(&refused));
    }
    assert!(!err(&refused).contains("hush"));

    let served = Served::start("echo", &["--store", "memory"]).await;
    let mut send = program();
    send.args(["send", "hello", "-a", served.url()]).env("A2ACLI_API_KEY", ALICE).env(variable.0, variable.1);
    let sent = soon("an answer", send.stdin(Stdio::null()).output()).await.unwrap();
    assert!(sent.status.success(), "{sent:?}");
    assert!(err(&sent).contains("no spans are exported"), "{}", err(&sent));
}

#[tokio::test]
async fn what_waits_is_exported_when_a_server_stops_and_under_the_name_that_the_environment_gives() {
    let collector = SpanCollector::start().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_SERVICE_NAME", "billing"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20planted"),
    ];
    let mut served = Served::start_in("echo", &["--store", "memory"], &variables).await;
    ask(&served.client().await, Message::user("hello")).await;
    assert!(collector.spans().is_empty());
    assert!(stopped(&mut served).await.success());
    let turn = collector.span("a turn", |span| span.name == "turn").await;
    assert_eq!(turn.service, "billing");
    assert_eq!(collector.authorization(), "Bearer planted");
}

#[tokio::test]
async fn a_sampler_that_takes_nothing_still_carries_the_trace_on() {
    let collector = SpanCollector::start().await;
    let mut variables = collector.variables().to_vec();
    variables.push(("OTEL_TRACES_SAMPLER", "always_off"));
    let mut served = Served::start_in("exec:printenv TRACEPARENT", &["--store", "memory"], &variables).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let parameters = ServiceParameters::from_pairs([("traceparent", &*parent)]).unwrap();
    let client =
        Client::builder(served.url()).credentials(Credentials::api_key(ALICE)).parameters(parameters);
    let task = ask(&client.connect().await.unwrap(), Message::user("go")).await;
    let told = answer(&task);
    assert!(told.starts_with(&format!("00-{trace}-")) && told.ends_with("-00\n"), "{told}");
    assert!(stopped(&mut served).await.success());
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn no_span_holds_a_secret_or_what_is_said() {
    let collector = SpanCollector::start().await;
    let mut variables = collector.variables().to_vec();
    variables.push(("OTEL_EXPORTER_OTLP_HEADERS", "x-key=planted-header"));
    variables.push(("AGENTS_OWN", "planted-environment"));
    let agent = "exec:sh -c 'cat; echo planted-stderr $AGENTS_OWN >&2; exit 3'";
    let mut served = Served::start_in(agent, &["--store", "memory"], &variables).await;
    let parameters = [("a2a-x-token", "planted-parameter")];
    let client = Client::builder(served.url()).credentials(Credentials::api_key(ALICE));
    let client =
        client.parameters(ServiceParameters::from_pairs(parameters).unwrap()).connect().await.unwrap();

    let file = Part::raw(b"planted-file".to_vec(), "text/plain");
    let mut said = Message::user("planted-text");
    said.parts.extend([file, Part::data(serde_json::json!({"planted-key": "planted-data"}))]);
    let metadata =
        r#"{"accessToken": "planted-token", "auth": {"password": "planted-password"}, "plan": "gold"}"#;
    said.metadata = serde_json::from_str(metadata).unwrap();
    let SendMessageResponse::Task(task) = client.send(said).await.unwrap() else { panic!("a task") };
    let handle = client.task(task.id.clone());
    let shared = handle.share(TaskRole::Observe, GrantPolicy::default()).await.unwrap();
    let secret = shared.secret.expose().to_owned();
    let other = served.client().await;
    other.claim(&secret).await.unwrap().get(None).await.unwrap();
    other.claim(&secret).await.err().expect("it works once");
    for wrong in [
        Credentials::api_key("planted-key-of-nobody, long enough to be one"),
        Credentials::bearer("planted-bearer"),
    ] {
        let stranger = Client::builder(served.url()).credentials(wrong).connect().await.unwrap();
        stranger.who_am_i().await.unwrap_err();
    }
    let mut send = program();
    send.args(["send", "planted-command", "-a", served.url(), "--metadata", metadata]);
    send.env("A2ACLI_API_KEY", ALICE).envs(collector.variables()).stdin(Stdio::null());
    soon("an answer", send.output()).await.unwrap();
    assert!(stopped(&mut served).await.success());

    let bytes = collector.bytes();
    let exported = String::from_utf8_lossy(&bytes);
    assert!(
        exported.contains("message.metadata.plan") && exported.contains("TASK_FAILED"),
        "it looks at spans"
    );
    assert!(collector.spans().iter().any(|span| span.attribute("error.type") == "UNAUTHENTICATED"));
    for planted in [ALICE, &secret, "planted"] {
        assert!(!exported.contains(planted), "{planted} is in a span");
    }
}

/// Keeps what a program's own provider exports.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Kept {
    /// The span of this name whose parent is that one.
    fn find(&self, name: &str, parent: opentelemetry::SpanId) -> Option<opentelemetry::SpanId> {
        let spans = self.0.lock().unwrap();
        let found = spans.iter().find(|span| span.name == name && span.parent_span_id == parent);
        found.map(|span| span.span_context.span_id())
    }
}

#[test]
fn a_program_that_sets_a_provider_has_the_spans_of_its_server_and_client_below_its_own() {
    let test =
        "spans_export::a_program_that_sets_a_provider_has_the_spans_of_its_server_and_client_below_its_own";
    alone(test, || run(own_provider()));
}

async fn own_provider() {
    let earlier = World::echo().await;
    let client = earlier.alice().await;
    ask(&client, Message::user("before")).await;
    let kept = Kept::default();
    global::set_tracer_provider(SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build());
    ask(&client, Message::user("still before")).await;
    assert!(kept.0.lock().unwrap().is_empty(), "it was decided at the first call");

    let world = World::echo().await;
    let mine = Context::new().with_span(global::tracer("a program").start("mine"));
    let id = mine.span().span_context().span_id();
    let client = world.alice().await;
    ask(&client, Message::user("hello")).with_context(mine).await;
    let calls = ["SendStreamingMessage", "SendStreamingMessage", "turn"];
    until(
        "the client's span is mine's child, the server's is the client's, and the turn is the server's",
        || calls.into_iter().try_fold(id, |parent, name| kept.find(name, parent)).is_some(),
    )
    .await;
}
