//! The one helper that touches the API: a server on a free port, and clients of it.

use std::time::Duration;

use a2a_webcap::Server;
use a2a_webcap::client::{Client, Credentials};
use a2a_webcap::server::Builder;

pub(crate) const ALICE: &str = "alice's key, which is long enough to be one";
pub(crate) const BOB: &str = "bob's key, which is also long enough to be one";

/// A server with two principals and an agent.
pub(crate) struct World {
    pub(crate) server: Server,
}

impl World {
    /// With the demo agent.
    pub(crate) async fn demo() -> Self {
        Self::of(|builder| builder.agent(a2a_webcap::agents::Demo)).await
    }

    /// With the echo agent.
    pub(crate) async fn echo() -> Self {
        Self::of(|builder| builder.agent(a2a_webcap::agents::Echo)).await
    }

    pub(crate) async fn of(build: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Server::builder().api_key("alice", ALICE).api_key("bob", BOB).listen("127.0.0.1:0");
        let server = build(builder.workers(2)).start().await.expect("the server starts");
        Self { server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.local_addr())
    }

    pub(crate) async fn client(&self, key: &str) -> Client {
        let client = Client::builder(self.url()).credentials(Credentials::api_key(key));
        client.connect().await.expect("a connection")
    }

    pub(crate) async fn alice(&self) -> Client {
        self.client(ALICE).await
    }

    pub(crate) async fn bob(&self) -> Client {
        self.client(BOB).await
    }
}

/// Fails a test that hangs, with what it waited for.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
