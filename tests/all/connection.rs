//! The connection itself: upgrade, keep-alive, sizes, many of them.

use std::time::Duration;

use a2a_webcap::client::{Client, Credentials};
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{Message, SendMessageRequest};
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{ALICE, World, limits, soon, until};

const UPGRADE: &str = "GET /capnp HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: capnp-rpc\r\n\r\n";

#[tokio::test(flavor = "local")]
async fn ak_w01_the_upgrade_is_answered_with_101_and_the_subprotocol() {
    let world = World::echo().await;
    let mut socket = TcpStream::connect(world.server.local_addr()).await.unwrap();
    socket.write_all(UPGRADE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the answer", socket.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(head.contains("sec-websocket-protocol: capnp-rpc"), "{head}");
    // And the bootstrap object answers.
    let info = world.connection().await.info().await.unwrap();
    assert_eq!(info.protocol_versions, ["1.0"]);
}

#[tokio::test(flavor = "local")]
async fn ak_w07_a_silent_connection_stays_open_as_long_as_it_answers_pings() {
    let quick = |limits: &mut a2a_webcap::limits::Limits| {
        limits.wire.ping_interval = Duration::from_millis(100);
        limits.wire.idle_timeout = Duration::from_millis(300);
    };
    let world = World::of(|builder| builder.agent(a2a_webcap::agents::Echo).limits(limits(quick))).await;
    let session = world.session(ALICE).await;
    session.ready().await.unwrap();
    // The time must pass: what is tested is that nothing happens in it.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(&*session.who_am_i().await.unwrap().subject, "alice");

    // Another one is upgraded, and never answers a ping.
    let mut silent = TcpStream::connect(world.server.local_addr()).await.unwrap();
    silent.write_all(UPGRADE.as_bytes()).await.unwrap();
    until("both are connected", || world.server.net_counters().sockets() == 2).await;
    until("the silent one is dropped", || world.server.net_counters().sockets() == 1).await;
    assert_eq!(&*session.who_am_i().await.unwrap().subject, "alice");
}

#[tokio::test]
async fn ak_w08_ten_megabytes_are_echoed_and_seventeen_are_refused() {
    let world = World::echo().await;
    let client = world.alice().await;
    for megabytes in [1, 10] {
        let text = "x".repeat(megabytes << 20);
        let mut stream = client.stream(SendMessageRequest::from(Message::user(text.clone())));
        let mut echoed = String::new();
        while let Some(event) = soon("an event", stream.next()).await {
            echoed.extend(event.unwrap().artifact_text().as_deref());
        }
        assert!(echoed == format!("Echo: {text}"), "{megabytes} MB came back as {} bytes", echoed.len());
    }
    let once = Client::builder(world.url()).credentials(Credentials::api_key(ALICE));
    let once = once.retry(a2a_webcap::client::RetryPolicy::never()).connect().await.unwrap();
    let fault = soon("a refusal", once.send("x".repeat(17 << 20).as_str())).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::InvalidRequest, "{fault}");
    assert!(fault.message().contains("16777216"), "it names the bound: {fault}");
    // Nobody else notices.
    assert_eq!(&*client.who_am_i().await.unwrap().subject, "alice");
}

#[tokio::test]
async fn ak_w09_a_hundred_clients_each_get_their_own_reply() {
    let world = World::echo().await;
    for clients in [10, 100] {
        let ask = async |number: usize| {
            let client = world.alice().await;
            let mut stream = client.stream(format!("number {number}"));
            let mut text = String::new();
            while let Some(event) = soon("an event", stream.next()).await {
                text.extend(event.unwrap().artifact_text().as_deref());
            }
            text
        };
        let answers = join_all((0..clients).map(ask)).await;
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer, format!("Echo: number {number}"));
        }
    }
}
