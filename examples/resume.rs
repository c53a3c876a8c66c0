//! Cut the line in the middle of a stream: the client connects again and goes on, without gap or repeat.
//!
//! Run it: `cargo run --example resume`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use a2a_webcap::Server;
use a2a_webcap::agents::Demo;
use a2a_webcap::client::{Client, Credentials, RetryPolicy};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let key = "a key of at least thirty-two characters";
    let server = Server::builder().agent(Demo).api_key("me", key).listen("127.0.0.1:0").start().await?;
    let scissors = Arc::new(Notify::new());
    let line = bad_line(server.local_addr(), Arc::clone(&scissors)).await?;

    let client = Client::builder(format!("http://{line}"))
        .credentials(Credentials::api_key(key))
        .retry(RetryPolicy::default().first_wait(Duration::from_millis(100)))
        .on_event(|notice| println!("    {notice:?}"))
        .connect()
        .await?;

    let mut stream = client.stream("stream 30 10ms");
    let mut numbers = Vec::new();
    while let Some(event) = stream.next().await {
        let event = event?;
        if event.seq > 0 {
            numbers.push(event.seq);
            print!("{} ", event.seq);
        }
        if event.seq == 7 || event.seq == 20 {
            println!("(cut)");
            scissors.notify_waiters();
        }
    }
    println!();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "without gap or repeat");
    println!("{} events, each of them once", numbers.len());

    client.close().await;
    server.stop().await;
    Ok(())
}

/// A line to the server that can be cut.
async fn bad_line(server: SocketAddr, scissors: Arc<Notify>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let scissors = Arc::clone(&scissors);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await?;
                tokio::select! {
                    copied = copy_bidirectional(&mut near, &mut far) => copied.map(|_| ()),
                    () = scissors.notified() => Ok(()),
                }
            });
        }
    });
    Ok(address)
}
