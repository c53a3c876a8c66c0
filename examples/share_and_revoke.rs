//! Hand a task to somebody on another connection, and take it back.
//!
//! Run it: `cargo run --example share_and_revoke`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use a2a_webcap::Server;
use a2a_webcap::agents::Demo;
use a2a_webcap::client::{Client, Credentials, Cursor, GrantPolicy, TaskRole};
use a2a_webcap::fault::FaultKind;

const ALICE: &str = "alice's key, of thirty-two characters and more";
const BOB: &str = "bob's key, of thirty-two characters and more";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = Server::builder().agent(Demo).api_key("alice", ALICE).api_key("bob", BOB);
    let server = builder.listen("127.0.0.1:0").start().await?;
    let url = format!("http://{}", server.local_addr());
    let alice = Client::builder(&url).credentials(Credentials::api_key(ALICE)).connect().await?;
    let bob = Client::builder(&url).credentials(Credentials::api_key(BOB)).connect().await?;

    let mut stream = alice.stream("stream 1000 20ms");
    while stream.task_id().is_none() {
        stream.next().await.ok_or("no event")??;
    }
    let id = stream.task_id().ok_or("no task")?.clone();
    let fault = bob.task(id.clone()).get(None).await.expect_err("it is not his");
    println!("bob, by the id alone: {fault}");

    // Alice gives the right to look, and keeps the right to take it back.
    let shared = alice.task(id).share(TaskRole::Observe, GrantPolicy::labelled("for bob")).await?;
    let his = bob.claim(shared.secret.expose()).await?;
    println!("bob, with alice's secret: the task is {}", his.get(None).await?.state());
    let mut looking = his.subscribe(Cursor::After(0));
    for _ in 0..3 {
        looking.next().await.ok_or("the stream ended early")??;
    }
    let fault = his.cancel().await.expect_err("looking is not touching");
    println!("bob, trying to cancel: {fault}");

    shared.grant.revoke().await?;
    let fault = loop {
        match tokio::time::timeout(Duration::from_secs(5), looking.next()).await?.ok_or("it just ended")? {
            Ok(_) => continue, // what was on its way
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.kind(), FaultKind::Revoked);
    println!("bob's stream, after alice took it back: {fault}");
    println!("bob's handle: {}", his.get(None).await.expect_err("it is gone"));

    alice.close().await;
    bob.close().await;
    server.stop().await;
    Ok(())
}
