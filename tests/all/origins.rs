//! Who may talk to the server from where: what a browser would say of a foreign page, on real sockets.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use a2a_webcap::agents::Echo;
use a2a_webcap::server::Builder;

use crate::world::{World, soon};

async fn server(build: impl FnOnce(Builder) -> Builder) -> World {
    World::of(|builder| build(builder.agent(Echo))).await
}

/// The whole answer to one request on a line of its own; `PORT` stands for the server's.
async fn ask(world: &World, request: &str) -> String {
    let address = world.server.local_addr();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = request.replace("PORT", &address.port().to_string());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon("the end of the answer", async {
        let mut part = [0; 4096];
        while let Ok(length) = stream.read(&mut part).await
            && length > 0
        {
            answer.extend_from_slice(&part[..length]);
            // Nothing comes behind an upgrade before something is asked.
            if answer.starts_with(b"HTTP/1.1 101 ") {
                break;
            }
        }
    })
    .await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) async fn get(world: &World, path: &str, fields: &str) -> String {
    ask(world, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n")).await
}

async fn upgrade(world: &World, fields: &str) -> String {
    let request = format!(
        "GET /capnp HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{fields}\r\n"
    );
    ask(world, &request).await
}

pub(crate) fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("")
}

#[tokio::test]
async fn a_foreign_page_opens_no_websocket() {
    let world = server(|builder| builder).await;
    let own = "Host: localhost:PORT\r\nOrigin: http://localhost:PORT\r\n";
    assert_eq!(status(&upgrade(&world, own).await), "101");
    for origin in [
        "http://evil.example",
        "https://localhost.evil.example:PORT",
        "http://localhost:PORT@evil.example",
        "http://localhost:1",
        "http://127.0.0.1:PORT",
        "null",
        "",
        "file://",
        "http://localhost:PORT/",
        "http://localhost:PORT, http://localhost:PORT",
    ] {
        let fields = format!("Host: localhost:PORT\r\nOrigin: {origin}\r\n");
        let answer = upgrade(&world, &fields).await;
        assert_eq!(status(&answer), "403", "{origin}: {answer}");
        assert!(answer.contains("add it to `allowed-origins`"), "{answer}");
    }
    let twice = "Host: localhost:PORT\r\nOrigin: http://localhost:PORT\r\nOrigin: http://evil.example\r\n";
    assert_eq!(status(&upgrade(&world, twice).await), "403");
    let counters = world.server.net_counters();
    assert_eq!((counters.foreign_origins(), counters.foreign_hosts()), (11, 0));
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_misdirected_on_every_path() {
    let world = server(|builder| builder).await;
    for path in ["/capnp", "/.well-known/agent-card.json", "/healthz", "/nothing", "/"] {
        for host in
            ["evil.example:PORT", "localhost.evil.example", "10.1.2.3:PORT", "127.0.0.1.nip.io", "127.1"]
        {
            let answer = get(&world, path, &format!("Host: {host}\r\n")).await;
            assert_eq!(status(&answer), "421", "{path} {host}: {answer}");
            assert!(answer.contains("`allowed-hosts`") && answer.contains("`public-url`"), "{answer}");
        }
    }
    let rebound = "Host: evil.example:PORT\r\nOrigin: http://evil.example:PORT\r\n";
    assert_eq!(status(&upgrade(&world, rebound).await), "421", "its own origin does not help it");
}

#[tokio::test]
async fn every_name_of_loopback_is_answered() {
    let world = server(|builder| builder).await;
    for host in
        ["localhost", "LOCALHOST:PORT", "localhost.:PORT", "127.0.0.1:PORT", "127.0.0.1", "[::1]:PORT"]
    {
        assert_eq!(status(&get(&world, "/healthz", &format!("hOsT: {host}\r\n")).await), "200", "{host}");
    }
}

#[tokio::test]
async fn a_request_without_one_host_is_a_bad_one() {
    let world = server(|builder| builder).await;
    for fields in [
        "",
        "Host:\r\n",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: localhost, evil.example\r\n",
        "Host: localhost@evil.example\r\n",
        "Host: localhost:port\r\n",
        "Host: ::1\r\n",
        "Host: http://localhost\r\n",
    ] {
        let answer = get(&world, "/healthz", fields).await;
        assert_eq!(status(&answer), "400", "{fields:?}: {answer}");
    }
    assert_eq!(status(&ask(&world, "GET /healthz HTTP/1.0\r\n\r\n").await), "200", "as of HTTP/1.0");
}

#[tokio::test]
async fn the_host_in_an_absolute_target_counts_too() {
    let world = server(|builder| builder).await;
    for (target, host, expected) in [
        ("http://localhost:PORT/healthz", "localhost:PORT", "200"),
        ("http://127.0.0.1/healthz", "localhost:PORT", "200"),
        ("http://evil.example/healthz", "localhost:PORT", "421"),
        ("http://localhost:PORT/healthz", "evil.example", "421"),
        ("http://localhost@evil.example/healthz", "localhost", "400"),
        ("http://evil@localhost/healthz", "localhost", "400"),
        ("//evil.example/healthz", "localhost", "404"),
    ] {
        let answer = get(&world, target, &format!("Host: {host}\r\n")).await;
        assert_eq!(status(&answer), expected, "{target} {host}: {answer}");
    }
}

#[tokio::test]
async fn what_is_set_is_let_in_and_nothing_beside_it() {
    let world = server(|builder| {
        builder
            .public_url("https://agent.example/base")
            .allow_host("inner.example:81")
            .allow_origin("https://app.example")
            .allow_origin("null")
    })
    .await;
    for (host, origin, expected) in [
        ("agent.example", "https://agent.example", "200"),
        ("agent.example", "http://agent.example", "403"),
        ("inner.example:81", "https://app.example", "200"),
        ("inner.example:82", "https://app.example", "421"),
        ("localhost:PORT", "https://APP.example:443", "200"),
        ("localhost:PORT", "https://x.app.example", "403"),
        ("localhost:PORT", "null", "200"),
    ] {
        let answer = get(&world, "/healthz", &format!("Host: {host}\r\nOrigin: {origin}\r\n")).await;
        assert_eq!(status(&answer), expected, "{host} {origin}: {answer}");
    }
}

#[tokio::test]
async fn a_setting_that_cannot_be_meant_stops_the_start() {
    let start = |build: fn(Builder) -> Builder| async move {
        let builder = a2a_webcap::Server::builder().agent(Echo).listen("127.0.0.1:0");
        build(builder).start().await.expect_err("it makes no sense").to_string()
    };
    let error = start(|builder| builder.allow_origin("app.example")).await;
    assert!(error.starts_with("`allowed-origins` cannot be used: \"app.example\" is not"), "{error}");
    let error = start(|builder| builder.allow_host("https://app.example")).await;
    assert!(error.starts_with("`allowed-hosts` cannot be used: "), "{error}");
    let error = start(|builder| builder.public_url("agent.example")).await;
    assert!(error.starts_with("`public-url` cannot be used: "), "{error}");
}
