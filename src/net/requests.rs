//! Requests that wait for an answer, pages that ask first, and sockets of text, on real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use super::tests::{Benches, LONG, ask, config, get, start};
use super::{Allowed, Listening, NetConfig, listen};
use crate::limits::NetLimits;
use crate::shutdown::Shutdown;
use crate::transport::testing::{any_port, local};

const MS: Duration = Duration::from_millis(1);

fn with(change: impl FnOnce(&mut NetLimits)) -> Listening {
    let mut net = NetLimits::default();
    change(&mut net);
    start(config(net)).0
}

async fn post(address: SocketAddr, fields: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("POST /capnweb HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}");
    ask(address, &format!("{head}content-length: {length}\r\n\r\n{body}")).await
}

#[test]
fn a_batch_is_answered_as_text_that_nobody_keeps() {
    local(false, async {
        let listening = with(|_| {});
        let answer = post(listening.local_addr(), "", "[\"pull\",1]\n[\"pull\",2]").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n[\"pull\",1]\n[\"pull\",2]"), "{answer}");
        for field in [
            "content-type: text/plain; charset=utf-8",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(answer.contains(&format!("{field}\r\n")), "{answer}");
        }
        let chunked = "transfer-encoding: chunked\r\n\r\n3\r\none\r\n4\r\n two\r\n0\r\n\r\n";
        let head = "POST /capnweb HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        let answer = ask(listening.local_addr(), &format!("{head}{chunked}")).await;
        assert!(answer.ends_with("\r\n\r\none two"), "{answer}");
        let none = post(listening.local_addr(), "", "").await;
        assert!(none.contains("content-length: 0\r\n") && none.ends_with("\r\n\r\n"), "{none}");
    });
}

#[test]
fn other_methods_are_refused_with_those_that_are_taken() {
    local(false, async {
        let listening = with(|_| {});
        for method in ["PUT", "DELETE", "HEAD", "PATCH", "TRACE", "post", "NONSENSE"] {
            let head = format!("{method} /capnweb HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let answer = ask(listening.local_addr(), &head).await;
            assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
            assert!(answer.contains("allow: GET, POST, OPTIONS\r\n"), "{answer}");
        }
        let plain = get(listening.local_addr(), "/capnweb", "").await;
        assert!(plain.starts_with("HTTP/1.1 426 ") && plain.contains("Cap'n Web client"), "{plain}");
    });
}

#[test]
fn a_listed_page_may_ask_and_read_without_cookies_and_a_foreign_one_may_not() {
    local(false, async {
        let allowed = Allowed::listening(any_port().ip()).origin("https://app.example").expect("an origin");
        let (listening, _) = start(NetConfig { allowed, ..config(NetLimits::default()) });
        let address = listening.local_addr();
        let preflight = |origin: &str| {
            format!(
                "OPTIONS /capnweb HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\norigin: {origin}\r\n\
                 access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n\r\n"
            )
        };
        let answer = ask(address, &preflight("https://app.example")).await;
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
        for field in [
            "access-control-allow-origin: https://app.example",
            "access-control-allow-methods: GET, POST, OPTIONS",
            "access-control-allow-headers: content-type",
            "access-control-max-age: 600",
            "vary: origin",
        ] {
            assert!(answer.contains(&format!("{field}\r\n")), "{field}: {answer}");
        }
        assert!(!answer.contains("credentials"), "{answer}");
        let answer = post(address, "origin: https://app.example\r\ncookie: a=b\r\n", "x").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("access-control-allow-origin: https://app.example\r\n"), "{answer}");
        assert!(!answer.contains("credentials") && !answer.contains("set-cookie"), "{answer}");

        for answer in [
            ask(address, &preflight("https://evil.example")).await,
            post(address, "origin: null\r\n", "x").await,
        ] {
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
            assert!(!answer.contains("access-control") && answer.contains("vary: origin\r\n"), "{answer}");
        }
        assert!(!post(address, "", "x").await.contains("access-control"), "who is no page needs no leave");
    });
}

#[test]
fn a_body_over_the_bound_is_refused_with_an_answer_that_arrives() {
    local(false, async {
        let listening = with(|net| net.body_bytes = 100_000);
        let address = listening.local_addr();
        assert!(post(address, "", &"x".repeat(100_000)).await.starts_with("HTTP/1.1 200 "));
        let answer = post(address, "", &"x".repeat(4_000_000)).await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body-bytes"), "{answer}");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        let head = "POST /capnweb HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        let chunks = format!("{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(20));
        let answer = ask(address, &chunks).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let answer = post(address, "content-encoding: gzip\r\n", "x").await;
        assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
        let bad = format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n");
        assert!(ask(address, &bad).await.starts_with("HTTP/1.1 400 "));
    });
}

#[test]
fn all_bodies_together_are_bounded() {
    local(false, async {
        let listening = with(|net| net.bodies_bytes = 100);
        let address = listening.local_addr();
        let mut first = TcpStream::connect(address).await.expect("connected");
        let head =
            "POST /capnweb HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 100\r\n\r\n";
        first.write_all(format!("{head}{}", "x".repeat(90)).as_bytes()).await.expect("sent");
        while listening.counters().body_bytes() < 90 {
            sleep(MS).await;
        }
        let refused = post(address, "", &"x".repeat(20)).await;
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5\r\n"), "{refused}");
        first.write_all("x".repeat(10).as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        first.read_to_end(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        assert!(
            post(address, "", &"x".repeat(100)).await.starts_with("HTTP/1.1 200 "),
            "there is room again"
        );
    });
}

#[test]
fn one_request_too_many_that_waits_is_refused_until_another_is_answered() {
    local(false, async {
        let listening = with(|net| {
            net.requests = 1;
            net.request_timeout = 500 * MS;
        });
        let address = listening.local_addr();
        let first = tokio::task::spawn_local(async move { post(address, "", "late").await });
        while listening.counters().requests() == 0 {
            sleep(MS).await;
        }
        let refused = post(address, "", "x").await;
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("UNAVAILABLE"), "{refused}");
        assert!(first.await.expect("no panic").ends_with("by then"));
        assert!(post(address, "", "x").await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn what_is_no_batch_and_what_comes_too_late_is_said() {
    local(false, async {
        let listening = with(|net| {
            net.request_timeout = 200 * MS;
            net.write_timeout = 200 * MS;
        });
        let address = listening.local_addr();
        let bad = post(address, "", "bad").await;
        assert!(bad.starts_with("HTTP/1.1 400 ") && bad.contains("that is no batch"), "{bad}");
        let late = post(address, "", "late").await;
        assert!(late.starts_with("HTTP/1.1 200 ") && late.ends_with("by then"), "{late}");
        let never = post(address, "", "never").await;
        assert!(never.starts_with("HTTP/1.1 504 ") && never.contains("DEADLINE_EXCEEDED"), "{never}");
        let head =
            "POST /capnweb HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 9\r\n\r\n";
        let slow = ask(address, &format!("{head}half")).await;
        assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    });
}

/// A socket that takes little at once, after a request for a long answer.
async fn slow_reader(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("a small buffer");
    let mut stream = socket.connect(address).await.expect("connected");
    let request =
        b"POST /capnweb HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlong";
    stream.write_all(request).await.expect("sent");
    stream
}

#[test]
fn an_answer_that_is_taken_slowly_arrives_whole() {
    local(false, async {
        let listening = with(|net| {
            net.handshake_timeout = 100 * MS;
            net.header_timeout = 100 * MS;
            net.write_timeout = 500 * MS;
        });
        let mut stream = slow_reader(listening.local_addr()).await;
        let started = Instant::now();
        let (mut read, mut part) = (0, vec![0; 1 << 20]);
        loop {
            let length = stream.read(&mut part).await.expect("it is not cut");
            if length == 0 {
                break;
            }
            read += length;
            if read < LONG / 2 {
                sleep(5 * MS).await;
            }
        }
        assert!(read > LONG, "{read}");
        assert!(started.elapsed() > 300 * MS, "that was not slow: {:?}", started.elapsed());
    });
}

#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    local(false, async {
        let listening = with(|net| net.write_timeout = 100 * MS);
        let stream = slow_reader(listening.local_addr()).await;
        let started = Instant::now();
        while listening.counters().accepted() == 0 || listening.counters().connections() > 0 {
            sleep(MS).await;
            assert!(started.elapsed() < Duration::from_secs(10), "it is still being written");
        }
        drop(stream);
    });
}

#[test]
fn a_stopping_server_finishes_what_it_was_asked_and_takes_no_more() {
    local(false, async {
        let shutdown = Shutdown::new();
        let net = NetLimits { request_timeout: 300 * MS, ..NetLimits::default() };
        let routes = Arc::new(Benches { authenticates: true });
        let listening = listen(any_port(), config(net), routes, shutdown.clone()).expect("listening");
        let address = listening.local_addr();
        let asked = tokio::task::spawn_local(async move { post(address, "", "late").await });
        let mut other = TcpStream::connect(address).await.expect("connected");
        let health = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        other.write_all(health.as_bytes()).await.expect("sent");
        let mut answer = vec![0; 1024];
        let _ = other.read(&mut answer).await.expect("an answer");
        sleep(50 * MS).await;
        let stopped = tokio::task::spawn_local(listening.stop());
        while !shutdown.is_stopping() {
            tokio::task::yield_now().await;
        }
        let request = b"POST /capnweb HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx";
        other.write_all(request).await.expect("sent");
        let length = other.read(&mut answer).await.expect("an answer");
        let text = String::from_utf8_lossy(&answer[..length]);
        assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("connection: close\r\n"), "{text}");
        let asked = asked.await.expect("no panic");
        assert!(asked.starts_with("HTTP/1.1 200 ") && asked.ends_with("by then"), "{asked}");
        stopped.await.expect("it stops");
    });
}

#[test]
fn texts_go_both_ways_over_capnweb_until_the_server_stops() {
    local(false, async {
        let listening = with(|_| {});
        let url = format!("ws://{}/capnweb", listening.local_addr());
        let (mut socket, answer) = tokio_tungstenite::connect_async(&url).await.expect("upgraded");
        assert!(!answer.headers().contains_key("sec-websocket-protocol"));
        socket.send(Message::Text("[\"pull\",1]".into())).await.expect("sent");
        let heard = socket.next().await.expect("open").expect("a frame");
        assert_eq!(heard, Message::Text("[\"pull\",1]".into()));
        assert_eq!(listening.counters().sockets(), 1);
        let stopped = tokio::task::spawn_local(listening.stop());
        let last = socket.next().await.expect("open").expect("a frame");
        assert_eq!(last, Message::Text("abort: closed".into()));
        let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!("no close frame") };
        assert_eq!(u16::from(close.code), 1001);
        stopped.await.expect("it stops");
    });
}

#[test]
fn a_text_connection_that_does_not_authenticate_is_ended() {
    local(false, async {
        let net = NetLimits { authenticate_timeout: 50 * MS, ..NetLimits::default() };
        let routes = Arc::new(Benches { authenticates: false });
        let listening = listen(any_port(), config(net), routes, Shutdown::new()).expect("listening");
        let url = format!("ws://{}/capnweb", listening.local_addr());
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.expect("upgraded");
        let last = socket.next().await.expect("open").expect("a frame");
        assert_eq!(last, Message::Text("abort: unauthenticated".into()));
        let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!("no close frame") };
        assert_eq!(u16::from(close.code), 1008);
        assert!(close.reason.contains("authenticate sooner"), "{close:?}");
    });
}
