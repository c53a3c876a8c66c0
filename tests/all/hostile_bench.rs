//! What every test of hostile peers asks: is the server up, is everybody else unhurt, is nothing left behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use a2a_webcap::Server;
use a2a_webcap::agents::Demo;
use a2a_webcap::client::Client;
use a2a_webcap::limits::Limits;
use tokio::task::JoinHandle;

use crate::hostile_peer::{Ended, Peer};
use crate::party::Wire;
use crate::world::{World, soon};

/// A server with small bounds.
pub(crate) struct Bench {
    pub(crate) world: World,
}

/// Bounds that are soon reached.
pub(crate) fn small() -> Limits {
    let mut limits = Limits::default();
    limits.wire.message_bytes = 256 << 10;
    limits.wire.exports = 64;
    limits.wire.imports = 64;
    limits.wire.questions = 32;
    limits.wire.calls = 100;
    limits.wire.abandoned_calls = 50;
    limits.wire.send_budget_bytes = 32 << 10;
    limits.wire.stream_window_bytes = 16 << 10;
    limits.net.connections_per_address = 10_000;
    limits.engine.memory_finished_tasks = 100;
    limits
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With these changes to the small bounds.
    pub(crate) async fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = small();
        change(&mut limits);
        Self { world: World::of(|builder| builder.agent(Demo).limits(limits)).await }
    }

    /// The same, to be spoken to over this wire.
    pub(crate) fn over(self, wire: Wire) -> Self {
        Self { world: self.world.over(wire) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.world.server.local_addr()
    }

    pub(crate) async fn peer(&self) -> Peer {
        Peer::connect(self.address()).await
    }

    /// Waits until this many WebSocket connections have ended in this way.
    pub(crate) async fn closed(&self, label: &str, count: u64) {
        let closes = || self.world.server.net_counters().closes();
        let since = Instant::now();
        while closes().get(label).copied().unwrap_or(0) < count {
            assert!(since.elapsed() < Duration::from_secs(60), "{label} × {count}: {:?}", closes());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Runs an attack while a witness streams. Afterwards the witness has missed nothing, and everything is
    /// as it was before.
    pub(crate) async fn withstands(self, attack: impl AsyncFnOnce(&Self)) {
        let witness = Witness::start(self.world.alice().await);
        attack(&self).await;
        witness.finish().await;
        settles(&self.world.server).await;
    }
}

/// Streams all the while, and wants every event.
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    running: JoinHandle<()>,
}

impl Witness {
    pub(crate) fn start(client: Client) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (asked, done) = (Arc::clone(&stop), Arc::clone(&rounds));
        let running = tokio::spawn(async move {
            while !asked.load(Ordering::Acquire) {
                assert_whole(&client, "stream 20 2ms", 23).await;
                done.fetch_add(1, Ordering::AcqRel);
            }
        });
        Self { stop, rounds, running }
    }

    /// Waits until it has seen one more whole stream.
    pub(crate) async fn finish(self) {
        let before = self.rounds.load(Ordering::Acquire);
        soon("the witness", async {
            while self.rounds.load(Ordering::Acquire) <= before && !self.running.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        self.stop.store(true, Ordering::Release);
        soon("the witness", self.running).await.expect("the witness saw every event");
    }
}

/// Sends, and sees all of `events` events in order.
pub(crate) async fn assert_whole(client: &Client, text: &str, events: u64) {
    let mut stream = client.stream(text);
    let (mut last, mut finals) = (0, 0);
    while let Some(event) = soon("an event of the witness", stream.next()).await {
        let event = event.expect("the witness's stream goes on");
        if event.seq > 0 {
            assert_eq!(event.seq, last + 1, "the witness lost or doubled an event");
            last = event.seq;
        }
        finals += u32::from(event.is_final);
    }
    assert_eq!((last, finals), (events, 1), "the witness's stream");
}

/// Waits until nothing is left of any connection.
pub(crate) async fn settles(server: &Server) {
    let since = Instant::now();
    loop {
        let held = held(server);
        if held == [0; 10] {
            break;
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "left behind: [connections, sockets, grants, calls, streams, claims, tasks, turns, feeds, sends] = \
             {held:?}, {:?}",
            server.net_counters().closes()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.net_counters().panics(), 0, "defects");
}

/// What a server holds: connections, sockets, grants, calls, streams, claims, live tasks, turns, feeds, open
/// sends.
pub(crate) fn held(server: &Server) -> [u64; 10] {
    let net = server.net_counters();
    let authority = server.service().authority().counters();
    let engine = server.service().engine().counts();
    [
        net.connections() as u64,
        net.sockets() as u64,
        authority.grants,
        authority.calls,
        authority.streams,
        authority.claims as u64,
        engine.live_tasks,
        engine.turns,
        engine.feeds,
        engine.open_sends,
    ]
}

impl Ended {
    /// Asserts the close code, and that both the close frame and the `Abort` begin with the fault's name and
    /// hold this text.
    pub(crate) fn is(&self, code: u16, fault: &str, text: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.reason.contains(fault) && self.reason.contains(text), "{self:?}");
        let abort = self.abort.as_deref().unwrap_or_default();
        assert!(abort.contains(fault) && abort.contains(text), "{self:?}");
    }
}

/// Resident bytes of this process.
pub(crate) fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// Runs a test's body in a process of its own: memory is the process's, and other tests use it too.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var("A2A_WEBCAP_ALONE").is_ok_and(|alone| alone == test) {
        return body();
    }
    let this = std::env::current_exe().expect("a test has a file");
    let ran = std::process::Command::new(this)
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env("A2A_WEBCAP_ALONE", test)
        .output()
        .expect("a test can run again");
    let output = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    println!("{output}");
    assert!(ran.status.success() && output.contains("1 passed"), "{test} failed in a process of its own");
    assert!(!output.contains("panicked at"), "a defect in another thread");
}

/// Runs a future to its end, as a test does.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, future)
}
