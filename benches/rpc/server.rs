//! The real server, as the benchmarks start it.

use a2a_webcap::Server;
use a2a_webcap::agents::Demo;
use a2a_webcap::limits::Limits;

use crate::Outcome;
use crate::process::answer;
use crate::wire::KEY;

/// Serves until nobody asks any more; says the address.
pub(crate) fn serve() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = start().await?;
        answer(&server.local_addr().to_string(), async |_| Ok(String::new())).await
    })
}

/// One worker, the memory store and the demo agent; all connections may come from one address.
pub(crate) async fn start() -> Outcome<Server> {
    let mut limits = Limits::default();
    limits.net.connections = 20_000;
    limits.net.connections_per_address = 20_000;
    let builder = Server::builder().agent(Demo).api_key("bench", KEY).workers(1).limits(limits);
    Ok(builder.listen("127.0.0.1:0").start().await?)
}
