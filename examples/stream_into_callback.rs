//! Pass your own object in with a message, and let the server call it as the task goes on.
//!
//! Run it: `cargo run --example stream_into_callback`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use a2a_webcap::Server;
use a2a_webcap::agents::Demo;
use a2a_webcap::client::{At, Client, Credentials, Observer};
use a2a_webcap::fault::Result;
use a2a_webcap::model::{StreamEnd, TaskArtifactUpdateEvent, TaskStatusUpdateEvent};

/// The object: it counts what it is told.
#[derive(Default)]
struct Printer {
    chunks: usize,
}

impl Observer for Printer {
    async fn on_status_update(&mut self, update: TaskStatusUpdateEvent, at: At) -> Result<()> {
        println!("{:>3} the task is {}", at.seq, update.status.state);
        Ok(())
    }

    async fn on_artifact_update(&mut self, update: TaskArtifactUpdateEvent, at: At) -> Result<()> {
        self.chunks += 1;
        print!("{:>3} {}", at.seq, update.artifact.text_content());
        Ok(())
    }

    async fn on_end(&mut self, end: StreamEnd) {
        println!("the stream is {:?} after event {}, {} chunks", end.reason, end.last_seq, self.chunks);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let key = "a key of at least thirty-two characters";
    let server = Server::builder().agent(Demo).api_key("me", key).listen("127.0.0.1:0").start().await?;

    let url = format!("http://{}", server.local_addr());
    let client = Client::builder(url).credentials(Credentials::api_key(key)).connect().await?;
    // Dropping what this returns would end the calls; awaiting it waits for the last one.
    client.send_observed("stream 5 50ms", Printer::default()).await?;

    client.close().await;
    server.stop().await;
    Ok(())
}
