//! The listener on real sockets.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use capnp::capability::Client;
use futures::future::{BoxFuture, LocalBoxFuture};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{
    ConnectionInfo, Document, Listening, MalformedBatch, NetConfig, NetCounters, Refusal, Routes,
    WorkerRoutes, listen,
};
use crate::limits::{NetLimits, WireLimits};
use crate::model::Timestamp;
use crate::shutdown::Shutdown;
use crate::transport::testing::{Bench, Method, World, any_port, call, envelope, local};
use crate::transport::texts::Parrot;
use crate::transport::{CloseReason, ConnectionHandle, Line, Speaker, WebSocket, code, connect};

/// Serves a bench to everybody.
pub(super) struct Benches {
    pub(super) authenticates: bool,
}

impl Routes for Benches {
    fn agent_card(&self, tenant: Option<&str>) -> Option<Arc<Document>> {
        let modified = Timestamp::parse("2026-01-02T03:04:05Z").expect("a time");
        tenant.is_none().then(|| Arc::new(Document::new("application/json", r#"{"name":"bench"}"#, modified)))
    }

    fn readiness(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn metrics(&self, _: Arc<NetCounters>) -> BoxFuture<'static, String> {
        Box::pin(async { "# EOF\n".to_owned() })
    }

    fn worker(&self) -> Box<dyn WorkerRoutes> {
        Box::new(Benches { authenticates: self.authenticates })
    }
}

impl WorkerRoutes for Benches {
    fn bootstrap(&self, _info: ConnectionInfo, connection: &Rc<ConnectionHandle>) -> Client {
        if self.authenticates {
            connection.authenticated();
        }
        Bench::client(&Rc::new(World::default()))
    }

    fn capnweb(&self, _info: ConnectionInfo, line: &Rc<Line>) -> Box<dyn Speaker> {
        if self.authenticates {
            line.authenticated();
        }
        Box::new(Parrot::new(line, &Rc::default()))
    }

    fn capnweb_batch(
        &self,
        _info: ConnectionInfo,
        body: Bytes,
        deadline: tokio::time::Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, MalformedBatch>> {
        Box::pin(async move {
            match &body[..] {
                b"bad" => Err(MalformedBatch(Bytes::from_static(b"that is no batch"))),
                b"late" => {
                    tokio::time::sleep_until(deadline).await;
                    Ok(Bytes::from_static(b"by then"))
                }
                b"never" => std::future::pending().await,
                b"long" => Ok(Bytes::from(vec![b'x'; LONG])),
                _ => Ok(body),
            }
        })
    }
}

/// Bytes of an answer that no socket takes at once.
pub(super) const LONG: usize = 16 << 20;

pub(super) fn start(config: NetConfig) -> (Listening, Shutdown) {
    let shutdown = Shutdown::new();
    let routes = Arc::new(Benches { authenticates: true });
    let listening = listen(any_port(), config, routes, shutdown.clone()).expect("listening");
    (listening, shutdown)
}

pub(super) fn config(net: NetLimits) -> NetConfig {
    NetConfig { net, workers: 2, ..NetConfig::default() }
}

/// One request on a connection of its own: the whole answer, up to its end.
pub(super) async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

pub(super) async fn get(address: SocketAddr, path: &str, fields: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n"))
        .await
}

pub(super) fn upgrade_request(fields: &str) -> String {
    format!(
        "GET /capnp HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

struct Connected {
    object: Client,
    handle: Rc<ConnectionHandle>,
    ended: tokio::task::JoinHandle<CloseReason>,
}

async fn connected(address: SocketAddr) -> Connected {
    let stream = TcpStream::connect(address).await.expect("connected");
    let request = format!("ws://{address}/capnp").into_client_request().expect("a request");
    let limits = WireLimits::default();
    let socket = WebSocket::client(request, stream, &limits).await.expect("upgraded");
    let (object, handle, driver) = connect(socket, Some(address), limits);
    Connected { object, handle, ended: tokio::task::spawn_local(driver) }
}

#[test]
fn the_card_is_served_to_caches_in_one_form_at_both_paths() {
    local(false, async {
        let (listening, _) = start(config(NetLimits::default()));
        let address = listening.local_addr();
        let card = get(address, "/.well-known/agent-card.json", "").await;
        assert!(card.starts_with("HTTP/1.1 200 OK\r\n"), "{card}");
        assert!(card.ends_with("\r\n\r\n{\"name\":\"bench\"}"), "{card}");
        assert!(card.contains("cache-control: public, max-age=300\r\n"), "{card}");
        assert!(card.contains("last-modified: Fri, 02 Jan 2026 03:04:05 GMT\r\n"), "{card}");
        assert!(get(address, "/.well-known/agent.json", "").await.ends_with("{\"name\":\"bench\"}"));

        let etag = card.split("etag: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a tag");
        let again =
            get(address, "/.well-known/agent.json", &format!("if-none-match: \"x\", W/{etag}\r\n")).await;
        assert!(again.starts_with("HTTP/1.1 304 ") && again.ends_with("\r\n\r\n"), "{again}");
        let head =
            "HEAD /.well-known/agent-card.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let head = ask(address, head).await;
        assert!(head.contains("content-length: 16\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    });
}

#[test]
fn what_is_not_there_or_not_so_is_said_in_json() {
    local(false, async {
        let (listening, _) = start(config(NetLimits::default()));
        let address = listening.local_addr();
        let missing = get(address, "/nothing", "").await;
        assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
        assert!(missing.contains(r#""error":{"code":404,"message":"no such path"#), "{missing}");
        let post =
            "POST /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let post = ask(address, post).await;
        assert!(
            post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD, OPTIONS\r\n"),
            "{post}"
        );
        let health = get(address, "/health", "").await;
        assert!(health.starts_with("HTTP/1.1 200 ") && health.ends_with(r#"{"status":"ok"}"#), "{health}");
    });
}

#[test]
fn an_upgrade_is_agreed_to_only_when_it_is_one() {
    local(false, async {
        let (listening, _) = start(config(NetLimits::default()));
        let address = listening.local_addr();
        let plain = get(address, "/capnp", "").await;
        assert!(plain.starts_with("HTTP/1.1 426 ") && plain.contains("upgrade: websocket\r\n"), "{plain}");
        let old = upgrade_request("connection: close\r\n").replace("version: 13", "version: 8");
        let old = ask(address, &old).await;
        assert!(old.starts_with("HTTP/1.1 426 ") && old.contains("sec-websocket-version: 13\r\n"), "{old}");
        let short = upgrade_request("connection: close\r\n").replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=");
        let short = ask(address, &short).await;
        assert!(short.starts_with("HTTP/1.1 400 "), "{short}");

        let mut stream = TcpStream::connect(address).await.expect("connected");
        let offer = upgrade_request("sec-websocket-protocol: other, capnp-rpc\r\n");
        stream.write_all(offer.as_bytes()).await.expect("sent");
        let mut answer = vec![0; 512];
        let length = stream.read(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        // The example of RFC 6455, 1.3.
        assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(answer.contains("sec-websocket-protocol: capnp-rpc\r\n"), "{answer}");
    });
}

#[test]
fn a_call_goes_through_a_real_socket() {
    local(false, async {
        let (listening, _) = start(config(NetLimits::default()));
        let peer = connected(listening.local_addr()).await;
        assert_eq!(call(&peer.object, Method::Echo, b"hello").await.expect("an answer"), b"hello");
        assert_eq!((listening.counters().sockets(), listening.counters().accepted()), (1, 1));
        peer.handle.close(code::NORMAL, "");
        assert_eq!(peer.ended.await.expect("no panic").label(), "closed");
    });
}

#[test]
fn a_message_that_came_with_the_upgrade_request_is_not_lost() {
    local(false, async {
        let (listening, _) = start(config(NetLimits::default()));
        let bootstrap = envelope(|root| root.init_bootstrap().set_question_id(0));
        let mut bytes = upgrade_request("").into_bytes();
        // Masked with zeros, which changes nothing.
        bytes.extend([0x82, 0x80 | u8::try_from(bootstrap.len()).expect("short"), 0, 0, 0, 0]);
        bytes.extend_from_slice(&bootstrap);
        let mut stream = TcpStream::connect(listening.local_addr()).await.expect("connected");
        stream.write_all(&bytes).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.windows(5).any(|end| end[..4] == *b"\r\n\r\n" && end[4] == 0x82) {
            let mut part = [0; 512];
            let length = stream.read(&mut part).await.expect("an answer");
            assert!(length > 0, "it ended: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..length]);
        }
    });
}

#[test]
fn one_connection_too_many_is_told_so_and_has_room_later() {
    local(false, async {
        for (net, refusal, status) in [
            (NetLimits { connections: 1, ..NetLimits::default() }, Refusal::Connections, "503 "),
            (
                NetLimits { connections_per_address: 1, ..NetLimits::default() },
                Refusal::ConnectionsPerAddress,
                "429 ",
            ),
        ] {
            let (listening, _) = start(config(net));
            let address = listening.local_addr();
            let first = connected(address).await;
            let refused = get(address, "/healthz", "").await;
            assert!(refused.starts_with(&format!("HTTP/1.1 {status}")), "{refused}");
            assert!(refused.contains("retry-after: 5\r\n") && refused.contains(r#"{"error":"#), "{refused}");
            assert_eq!(listening.counters().refused(refusal), 1);

            first.handle.close(code::NORMAL, "");
            first.ended.await.expect("no panic");
            while listening.counters().connections() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(get(address, "/healthz", "").await.starts_with("HTTP/1.1 200 "));
        }
    });
}

#[test]
fn a_slow_header_and_a_connection_that_asks_nothing_are_ended() {
    local(false, async {
        let header_timeout = Duration::from_millis(100);
        let net = NetLimits { header_timeout, handshake_timeout: header_timeout, ..NetLimits::default() };
        let (listening, _) = start(config(net));
        let started = Instant::now();
        for beginning in ["GET /capnp HTTP/1.1\r\nhost:", ""] {
            let answer = ask(listening.local_addr(), beginning).await;
            assert!(!answer.contains("200"), "{answer}");
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    });
}

#[test]
fn a_header_without_end_is_refused() {
    local(false, async {
        let (listening, _) = start(config(NetLimits::default()));
        let long = format!("x: {}\r\n", "y".repeat(64 << 10));
        assert!(get(listening.local_addr(), "/", &long).await.starts_with("HTTP/1.1 431 "));
        let many = "x: y\r\n".repeat(100);
        assert!(get(listening.local_addr(), "/", &many).await.starts_with("HTTP/1.1 431 "));
    });
}

#[test]
fn a_connection_that_does_not_authenticate_is_ended() {
    local(false, async {
        let authenticate_timeout = Duration::from_millis(50);
        let config = config(NetLimits { authenticate_timeout, ..NetLimits::default() });
        let routes = Arc::new(Benches { authenticates: false });
        let listening = listen(any_port(), config, routes, Shutdown::new()).expect("listening");
        let peer = connected(listening.local_addr()).await;
        let error = call(&peer.object, Method::Never, b"").await.expect_err("too late");
        assert!(error.extra.contains("A2A -31401 UNAUTHENTICATED: "), "{error}");
        assert_eq!(peer.ended.await.expect("no panic").label(), "peer_aborted");
    });
}

#[test]
fn a_defect_ends_one_connection_and_is_counted() {
    local(false, async {
        let config = NetConfig { workers: 1, ..config(NetLimits::default()) };
        let (listening, _) = start(config);
        let (one, other) = (connected(listening.local_addr()).await, connected(listening.local_addr()).await);
        call(&one.object, Method::Panic, b"").await.expect_err("a panic");
        one.ended.await.expect("no panic here");
        assert_eq!(call(&other.object, Method::Echo, b"fine").await.expect("unhurt"), b"fine");
        while listening.counters().sockets() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(listening.counters().panics(), 1);
        assert_eq!(listening.counters().closes().get("panicked"), Some(&1));
    });
}

#[test]
fn a_stop_tells_a_connection_without_work_at_once_and_waits_for_work_elsewhere() {
    local(false, async {
        let (listening, shutdown) = start(config(NetLimits::default()));
        let address = listening.local_addr();
        let peer = connected(address).await;
        call(&peer.object, Method::Echo, b"").await.expect("an answer");
        let mut asking = TcpStream::connect(address).await.expect("connected");
        asking.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
        let mut answer = vec![0; 512];
        let length = asking.read(&mut answer).await.expect("an answer");
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));

        let work = shutdown.permit().expect("nothing stops yet");
        let stopped = tokio::task::spawn_local(listening.stop());
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        asking.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
        let length = asking.read(&mut answer).await.expect("an answer");
        let text = String::from_utf8_lossy(&answer[..length]);
        assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("connection: close\r\n"), "{text}");
        let reason = peer.ended.await.expect("no panic");
        assert_eq!(reason.label(), "peer_aborted");
        assert!(reason.to_string().contains("the server stops; connect again"), "{reason}");

        assert!(!stopped.is_finished());
        drop(work);
        stopped.await.expect("it stops");
    });
}

#[test]
fn work_that_does_not_end_is_left_when_the_drain_timeout_is_over() {
    local(false, async {
        let drain_timeout = Duration::from_millis(50);
        let (listening, shutdown) = start(config(NetLimits { drain_timeout, ..NetLimits::default() }));
        let _work = shutdown.permit().expect("nothing stops yet");
        let peer = connected(listening.local_addr()).await;
        listening.stop().await;
        assert_eq!(peer.ended.await.expect("no panic").label(), "peer_aborted");
    });
}

#[test]
fn an_address_in_use_is_an_error() {
    local(false, async {
        let (listening, _) = start(config(NetLimits::default()));
        let routes = Arc::new(Benches { authenticates: true });
        let second = listen(listening.local_addr(), config(NetLimits::default()), routes, Shutdown::new());
        assert_eq!(second.expect_err("in use").kind(), std::io::ErrorKind::AddrInUse);
    });
}

/// Not run with the others, which would disturb the measurement.
#[test]
#[ignore = "measures the memory of the whole process: run it alone"]
fn a_thousand_idle_connections_take_little_memory() {
    use std::io::{Read, Write};
    let net = NetLimits { connections_per_address: 10_000, ..NetLimits::default() };
    let (listening, _) = start(config(net));
    let bootstrap = envelope(|root| root.init_bootstrap().set_question_id(0));
    let mut bytes = upgrade_request("").into_bytes();
    bytes.extend([0x82, 0x80 | u8::try_from(bootstrap.len()).expect("short"), 0, 0, 0, 0]);
    bytes.extend_from_slice(&bootstrap);
    let open = |count: usize| -> Vec<std::net::TcpStream> {
        (0..count)
            .map(|_| {
                let mut stream = std::net::TcpStream::connect(listening.local_addr()).expect("connected");
                stream.write_all(&bytes).expect("sent");
                let (mut seen, mut part) = (0, [0; 512]);
                while seen < 180 {
                    seen += stream.read(&mut part).expect("an answer");
                }
                stream
            })
            .collect()
    };
    let warm = open(100);
    let before = resident_bytes();
    let connections = open(1_000);
    let each = (resident_bytes() - before) / connections.len();
    assert_eq!(listening.counters().sockets(), warm.len() + connections.len());
    assert!(each <= 20 << 10, "{each} bytes for each idle connection");
    eprintln!("{each} bytes for each idle connection");
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux machine");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
