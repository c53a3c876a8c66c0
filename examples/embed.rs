//! The server inside somebody else's tokio program, and a client of it beside.
//!
//! `cargo run --example embed`

#![expect(clippy::print_stdout, reason = "an example speaks on the terminal")]

use a2a_webcap::Server;
use a2a_webcap::agents::Echo;
use a2a_webcap::client::{Client, Credentials};
use a2a_webcap::model::SendMessageResponse;

const KEY: &str = "any text of at least 32 characters will do";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The server has threads of its own: it neither needs nor disturbs this runtime.
    let server = Server::builder().agent(Echo).api_key("me", KEY).listen("127.0.0.1:0").start().await?;

    let url = format!("http://{}", server.local_addr());
    let client = Client::builder(url).credentials(Credentials::api_key(KEY)).connect().await?;
    let SendMessageResponse::Task(task) = client.send("hello").await? else {
        return Err("the echo agent always opens a task".into());
    };
    println!("{}: {}", task.status.state, task.artifacts[0].text_content());

    client.close().await;
    server.stop().await;
    Ok(())
}
