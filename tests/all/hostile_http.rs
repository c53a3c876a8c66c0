//! Peers that never come to the point: slow, silent or senseless before and after the handshake.

use std::time::{Duration, Instant};

use a2a_webcap::limits::Limits;
use a2a_webcap::net::Refusal;

use crate::hostile_bench::Bench;
use crate::hostile_peer::{Peer, UPGRADE};
use crate::world::{BOB, soon};

/// Times that a test can wait for.
fn hasty(limits: &mut Limits) {
    limits.net.header_timeout = Duration::from_millis(400);
    limits.net.handshake_timeout = Duration::from_millis(800);
    limits.wire.idle_timeout = Duration::from_millis(2_000);
    limits.wire.ping_interval = Duration::from_millis(500);
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_shown_out() {
    Bench::with(hasty)
        .await
        .withstands(async |bench| {
            let since = Instant::now();
            let mut peer = Peer::dial(bench.address()).await;
            soon("the end of the line", peer.head()).await;
            assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
        })
        .await;
}

#[tokio::test]
async fn a_header_that_comes_byte_by_byte_is_not_waited_for() {
    Bench::with(hasty)
        .await
        .withstands(async |bench| {
            let since = Instant::now();
            let mut peer = Peer::dial(bench.address()).await;
            let mut sent = 0;
            while sent < UPGRADE.len() && since.elapsed() < Duration::from_secs(4) {
                if !peer.try_bytes(&UPGRADE.as_bytes()[sent..=sent]) {
                    break;
                }
                sent += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(sent < UPGRADE.len(), "the server waited for all of it");
        })
        .await;
}

#[tokio::test]
async fn requests_that_keep_a_line_without_ever_upgrading_are_bounded_by_their_pauses() {
    Bench::with(hasty)
        .await
        .withstands(async |bench| {
            let mut peer = Peer::dial(bench.address()).await;
            peer.bytes(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            assert!(soon("an answer", peer.head()).await.starts_with("HTTP/1.1 200 "));
            // And then nothing.
            soon("the end of the line", async { while !peer.head().await.is_empty() {} }).await;
        })
        .await;
}

#[tokio::test]
async fn garbage_in_place_of_http_is_refused() {
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(64 << 10));
    let cases: [&[u8]; 8] = [
        b"\0\0\0\0\x03\0\0\0\0\0\0\0\x01\0\x01\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a TLS hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /capnp\r\n\r\n",
        b"\r\n\r\n\r\n\r\nGET\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        many.as_bytes(),
        long.as_bytes(),
    ];
    Bench::with(hasty)
        .await
        .withstands(async |bench| {
            for bytes in cases {
                let mut peer = Peer::dial(bench.address()).await;
                peer.bytes(bytes).await;
                let head = soon("the end of the line", peer.head()).await;
                let refused = ["HTTP/1.1 400 ", "HTTP/1.1 431 ", "HTTP/1.1 414 "];
                assert!(
                    head.is_empty() || refused.iter().any(|status| head.starts_with(status)),
                    "{:?}: {head}",
                    String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
                );
            }
        })
        .await;
}

#[tokio::test]
async fn handshakes_that_are_none_are_told_why() {
    let without = |line: &str| UPGRADE.replace(line, "");
    let cases = [
        (without("Upgrade: websocket\r\n"), "HTTP/1.1 426 "),
        (without("Connection: Upgrade\r\n"), "HTTP/1.1 426 "),
        (without("Sec-WebSocket-Version: 13\r\n"), "HTTP/1.1 426 "),
        (UPGRADE.replace("AAAAAAAAAAAAAAAAAAAAAA==", "short"), "HTTP/1.1 400 "),
        (UPGRADE.replace("GET", "POST"), "HTTP/1.1 405 "),
        (UPGRADE.replace("/capnp", "/cap"), "HTTP/1.1 404 "),
    ];
    Bench::with(hasty)
        .await
        .withstands(async |bench| {
            for (request, status) in &cases {
                let mut peer = Peer::dial(bench.address()).await;
                peer.bytes(request.as_bytes()).await;
                let head = soon("an answer", peer.head()).await;
                assert!(head.starts_with(status), "{status}: {head}");
            }
        })
        .await;
}

#[tokio::test]
async fn who_never_authenticates_is_told_so_and_shown_out() {
    Bench::with(|limits| limits.net.authenticate_timeout = Duration::from_secs(1))
        .await
        .withstands(async |bench| {
            let mut honest = bench.peer().await;
            honest.authenticate(BOB).await;
            let mut silent = bench.peer().await;
            let mut wrong = bench.peer().await;
            wrong.authenticate("not a key of this server, though long enough").await;
            for peer in [&mut silent, &mut wrong] {
                peer.ended().await.is(1008, "A2A -31401 UNAUTHENTICATED: ", "authenticate sooner");
            }
            assert!(honest.is_open_for(Duration::from_millis(100)).await);
        })
        .await;
}

#[tokio::test]
async fn a_peer_that_goes_silent_is_dropped_within_its_idle_timeout() {
    Bench::with(hasty)
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            peer.authenticate(BOB).await;
            peer.answers_pings = false;
            let since = Instant::now();
            let ended = peer.ended().await;
            assert_eq!(ended.code, 1008, "{ended:?}");
            assert!(ended.reason.contains("idle timeout"), "{ended:?}");
            let waited = since.elapsed();
            assert!(waited > Duration::from_secs(1) && waited < Duration::from_secs(5), "{waited:?}");
            bench.closed("silent", 1).await;
        })
        .await;
}

#[tokio::test]
async fn connections_over_the_bound_are_refused_with_an_answer() {
    let bounds = |limits: &mut Limits| limits.net.connections_per_address = 5;
    Bench::with(bounds)
        .await
        .withstands(async |bench| {
            // The witness has the first.
            let mut peers = Vec::new();
            for _ in 0..4 {
                peers.push(bench.peer().await);
            }
            let mut late = Peer::dial(bench.address()).await;
            late.bytes(UPGRADE.as_bytes()).await;
            let head = soon("an answer", late.head()).await;
            assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("retry-after: "), "{head}");
            let refused = bench.world.server.net_counters().refused(Refusal::ConnectionsPerAddress);
            assert_eq!(refused, 1);
        })
        .await;
    let bounds = |limits: &mut Limits| limits.net.connections = 5;
    Bench::with(bounds)
        .await
        .withstands(async |bench| {
            let mut peers = Vec::new();
            for _ in 0..4 {
                peers.push(bench.peer().await);
            }
            let mut late = Peer::dial(bench.address()).await;
            late.bytes(UPGRADE.as_bytes()).await;
            let head = soon("an answer", late.head()).await;
            assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        })
        .await;
}

#[tokio::test]
async fn a_flood_of_connections_that_say_nothing_is_forgotten() {
    Bench::with(hasty)
        .await
        .withstands(async |bench| {
            let mut peers = Vec::new();
            for _ in 0..200 {
                peers.push(Peer::dial(bench.address()).await);
            }
            for peer in &mut peers {
                soon("the end of the line", peer.head()).await;
            }
        })
        .await;
}
