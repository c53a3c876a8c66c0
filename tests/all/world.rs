//! The one helper that touches the API: a server on a free port, and clients of it.

use std::sync::mpsc;
use std::time::Duration;

use a2a_webcap::Server;
use a2a_webcap::auth::{ApiKey, KeyEntry};
use a2a_webcap::client::{Client, Credentials};
use a2a_webcap::clock::Clock;
use a2a_webcap::engine::Counts;
use a2a_webcap::limits::Limits;
use a2a_webcap::model::Timestamp;
use a2a_webcap::server::Builder;

use crate::doubles::{Puppet, Stage};
use crate::party::{Connection, Session, Wire};

pub(crate) const ALICE: &str = "alice's key, which is long enough to be one";
pub(crate) const BOB: &str = "bob's key, which is also long enough to be one";

/// A server with two principals and an agent.
pub(crate) struct World {
    pub(crate) server: Server,
    /// What it is spoken to over.
    pub(crate) wire: Wire,
    _watchdog: Watchdog,
}

/// Ends the run, with the name of the test, if this lives for five minutes: a call that is never answered would
/// otherwise stop it without a word. Not in processes of their own: these may be meant to take long, and look
/// for hangs themselves.
struct Watchdog(#[expect(dead_code, reason = "its end is the message")] mpsc::Sender<()>);

impl Watchdog {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        if ["A2A_WEBCAP_ALONE", "A2A_WEBCAP_SERVE"].iter().any(|name| std::env::var_os(name).is_some()) {
            return Self(sender);
        }
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::spawn(move || {
            if receiver.recv_timeout(Duration::from_secs(300)) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{test} hangs: something was awaited for five minutes");
                std::process::exit(101);
            }
        });
        Self(sender)
    }
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

    /// With the echo agent, and two keys that nobody may use: one has expired, the other is not valid yet.
    pub(crate) async fn with_untimely_keys() -> (Self, [ApiKey; 2]) {
        let noon = Timestamp::from_unix_nanos(1_000_000_000_000);
        let later = noon.saturating_add(Duration::from_secs(60));
        let (old, early) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let world = Self::of(|builder| {
            let builder = builder
                .key(KeyEntry { expires: Some(noon), ..old.entry("alice") })
                .key(KeyEntry { not_before: Some(later), ..early.entry("alice") });
            builder.agent(a2a_webcap::agents::Echo).clock(Clock::standing_at(noon))
        });
        (world.await, [old, early])
    }

    /// With an agent that does what the test says, when it says so.
    pub(crate) async fn puppet() -> (Self, Stage) {
        Self::puppet_of(Puppet::default(), |builder| builder).await
    }

    /// The same, with settings.
    pub(crate) async fn puppet_of(puppet: Puppet, build: impl FnOnce(Builder) -> Builder) -> (Self, Stage) {
        let (agent, stage) = puppet.on_stage();
        (Self::of(|builder| build(builder.agent(agent))).await, stage)
    }

    pub(crate) async fn of(build: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Server::builder().api_key("alice", ALICE).api_key("bob", BOB).listen("127.0.0.1:0");
        let server = build(builder.workers(2)).start().await.expect("the server starts");
        Self { server, wire: Wire::Capnp, _watchdog: Watchdog::new() }
    }

    /// The same, to be spoken to over this wire.
    pub(crate) fn over(self, wire: Wire) -> Self {
        Self { wire, ..self }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.local_addr())
    }

    pub(crate) async fn client(&self, key: &str) -> Client {
        let mut client = self.wire.client(self.url()).credentials(Credentials::api_key(key));
        if self.wire == Wire::Pipes {
            let door = self.server.door().clone();
            client = client.over(move || door.connect());
        }
        client.connect().await.expect("a connection")
    }

    pub(crate) async fn alice(&self) -> Client {
        self.client(ALICE).await
    }

    /// A connection on which nobody has said who they are. Only in a local runtime.
    pub(crate) async fn connection(&self) -> Connection {
        self.wire.connect_to(&self.server).await
    }

    /// A session on a connection of its own. Only in a local runtime.
    pub(crate) async fn session(&self, key: &str) -> Session {
        self.connection().await.authenticate(key)
    }

    /// What the engine holds and has done.
    pub(crate) fn counts(&self) -> Counts {
        self.server.service().engine().counts()
    }

    /// Waits until nothing is left at the server of whoever was connected and of whatever was begun.
    pub(crate) async fn forgets_everybody(&self) {
        let net = self.server.net_counters();
        until("no connection, stream, turn or grant is left", || {
            let (counts, authority) = (self.counts(), self.server.service().authority().counters());
            let held = (counts.live_tasks, counts.turns, counts.feeds, counts.open_sends);
            (net.sockets(), held, authority) == (0, (0, 0, 0, 0), Default::default())
        })
        .await;
        assert_eq!(net.panics(), 0);
    }
}

/// Limits that differ from the default ones in a few points.
pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// Fails a test that hangs, with what it waited for.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Waits for something that says of itself only whether it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(what, looking).await;
}
