//! Four dependent calls, written before any of them is answered: they cost one round trip.
//!
//! Run it: `cargo run --example pipeline`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::{Duration, Instant};

use a2a_webcap::Server;
use a2a_webcap::agents::Demo;
use a2a_webcap::client::local::Connection;
use a2a_webcap::client::{At, Credentials, Endpoint, Observer};
use a2a_webcap::fault::{FaultKind, Result};
use a2a_webcap::limits::WireLimits;
use a2a_webcap::model::TaskStatusUpdateEvent;

struct Printer(Instant);

impl Observer for Printer {
    async fn on_status_update(&mut self, update: TaskStatusUpdateEvent, at: At) -> Result<()> {
        println!("event {} ({}) after {:?}", at.seq, update.status.state, self.0.elapsed());
        Ok(())
    }
}

const KEY: &str = "a key of at least thirty-two characters";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder().agent(Demo).api_key("me", KEY).listen("127.0.0.1:0").start().await?;
    let endpoint: Endpoint = server.local_addr().to_string().parse()?;
    // The objects of a connection stay on one thread.
    tokio::task::LocalSet::new().run_until(talk(&endpoint)).await?;
    server.stop().await;
    Ok(())
}

async fn talk(endpoint: &Endpoint) -> Result<()> {
    let connection = Connection::open(endpoint, WireLimits::default(), Duration::from_secs(5)).await?;

    let begun = Instant::now();
    let session = connection.authenticate(&Credentials::api_key(KEY)); // nothing is awaited here,
    let started = session.send_streaming("stream 3 20ms", Printer(begun)); // nor here,
    let task = started.task.get(None); // nor here:
    println!("three calls are on their way after {:?}", begun.elapsed());
    let task = task.await?; // only here, once, for all of them
    println!("task {} is {} after {:?}", task.id, task.state(), begun.elapsed());
    tokio::time::sleep(Duration::from_millis(200)).await;

    // If the first call of a chain fails, the last one fails with the same error.
    let nobody = connection.authenticate(&Credentials::api_key("the wrong key, but long enough to be one"));
    let fault = nobody.task(&task.id).get(None).await.expect_err("nobody has no tasks");
    assert_eq!(fault.kind(), FaultKind::Unauthenticated);
    println!("and with a wrong key: {fault}");
    Ok(())
}
