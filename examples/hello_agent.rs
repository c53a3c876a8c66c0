//! A server with an agent of its own: the whole program.
//!
//! `cargo run --example hello_agent`, then in another terminal what it prints.

#![expect(clippy::print_stdout, reason = "an example speaks on the terminal")]

use a2a_webcap::Server;
use a2a_webcap::agent::{Agent, AgentError, Turn, Updates};
use a2a_webcap::model::{AgentCard, AgentSkill};
use async_trait::async_trait;

struct Hello;

#[async_trait]
impl Agent for Hello {
    fn card(&self) -> AgentCard {
        let skill = AgentSkill::new("greet", "Greet", "Says hello to whoever you name.");
        AgentCard::new("Hello", "An agent that greets.", "1.0.0").with_skill(skill)
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        updates.working().await?;
        for (index, word) in ["Hello, ", &turn.message.text(), "!"].into_iter().enumerate() {
            updates.chunk("greeting", word, index > 0, index == 2).await?;
        }
        Ok(()) // The task is completed now.
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = std::env::var("A2A_WEBCAP_DEV_KEY")
        .map_err(|_| "set A2A_WEBCAP_DEV_KEY to any text of at least 32 characters")?;
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8420".to_owned());
    let server = Server::builder().agent(Hello).api_key("me", &key).listen(&listen).start().await?;
    println!("listening on http://{}", server.local_addr());
    println!("try: cargo run -- send --stream world");
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    Ok(())
}
