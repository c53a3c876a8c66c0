//! What connections cost in memory: idle ones little, hostile ones a bounded lot. The server runs in a process
//! of its own.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use a2a_webcap::agents::Demo;
use a2a_webcap::limits::Limits;
use futures::future::join_all;

use crate::hostile_bench::{run, small};
use crate::hostile_peer::{Peer, SESSION, Target};
use crate::world::{ALICE, BOB, World};

/// Bytes of an idle authenticated connection.
const IDLE: usize = 24 << 10;
const CONNECTIONS: usize = 1_000;

/// A server in a process of its own, which ends with this value.
struct Served {
    child: Child,
    address: SocketAddr,
    /// Kept open: a process that cannot print ends.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Served {
    fn start(limits: &str) -> Self {
        let this = std::env::current_exe().expect("a test has a file");
        let mut child = Command::new(this)
            .args(["hostile_memory::a_server_for_the_other_tests_of_this_file", "--exact", "--nocapture"])
            .env("A2A_WEBCAP_SERVE", limits)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a test can run again");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let address = output
            .by_ref()
            .map_while(|line| line.ok())
            .find_map(|line| line.split_once("serves at ").and_then(|(_, address)| address.parse().ok()));
        Self { child, address: address.expect("it says where it serves"), _output: output }
    }

    fn resident_bytes(&self) -> usize {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("Linux");
        let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4096
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No test by itself: the process that the others start. It ends with its standard input.
#[test]
fn a_server_for_the_other_tests_of_this_file() {
    let Ok(limits) = std::env::var("A2A_WEBCAP_SERVE") else { return };
    run(async {
        let mut limits = if limits == "small" { small() } else { Limits::default() };
        limits.net.connections_per_address = 10_000;
        limits.engine.memory_finished_tasks = 300;
        let world = World::of(|builder| builder.agent(Demo).limits(limits)).await;
        println!("\nserves at {}", world.server.local_addr());
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        std::future::pending::<()>().await;
    });
}

async fn authenticated(address: SocketAddr, key: &str) -> (Peer, Target) {
    let mut peer = Peer::connect(address).await;
    let session = peer.authenticate(key).await;
    let Target::Answer(asked, _) = session else { unreachable!("it is pipelined") };
    let answer = peer.answer_to(asked).await.expect("an answer");
    assert!(answer.answer().expect("it is one").1.is_ok());
    (peer, session)
}

#[test]
fn an_idle_authenticated_connection_costs_at_most_24_kib() {
    let served = Served::start("default");
    run(async {
        // What the first connections cost is the server's own.
        drop(join_all((0..50).map(|_| authenticated(served.address, ALICE))).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = served.resident_bytes();
        let mut peers = Vec::new();
        for _ in 0..CONNECTIONS / 50 {
            peers.extend(join_all((0..50).map(|_| authenticated(served.address, ALICE))).await);
        }
        let each = (served.resident_bytes() - before) / CONNECTIONS;
        println!("{each} bytes for each of {CONNECTIONS} idle authenticated connections");
        assert!(each <= IDLE, "{each} bytes");
    });
}

/// What each attack may add while it goes on, and what all of them may leave when each has
/// come twice more.
const ATTACK: usize = 48 << 20;
const LEFT: usize = 16 << 20;
/// Connections of each attack.
const ATTACKERS: usize = 4;

#[test]
fn hostile_connections_cost_a_bounded_lot_and_leave_nothing() {
    let served = Served::start("small");
    run(async {
        let address = served.address;
        let all = async || {
            let mut most = 0;
            let costs = [
                ("unanswered calls", cost(&served, || unanswered(address)).await),
                ("long calls", cost(&served, || long_calls(address)).await),
                ("objects kept", cost(&served, || objects_kept(address)).await),
                ("streams never answered", cost(&served, || streams_never_answered(address)).await),
                ("last words never answered", cost(&served, || last_words_never_answered(address)).await),
                ("never reading", cost(&served, || never_reading(address)).await),
            ];
            for (what, bytes) in costs {
                println!("{what}: {} KiB", bytes >> 10);
                most = most.max(bytes);
            }
            assert!(most < ATTACK, "{most} bytes");
            // What they began runs on for a moment.
            tokio::time::sleep(Duration::from_millis(700)).await;
            served.resident_bytes()
        };
        // Until the store keeps as many tasks as it may.
        for _ in 0..3 {
            all().await;
        }
        let before = all().await;
        let mut after = 0;
        for _ in 0..2 {
            after = all().await;
        }
        let left = after.saturating_sub(before);
        println!("left: {} KiB", left >> 10);
        assert!(left < LEFT, "{left} bytes");
    });
}

/// How much more memory the server had, at the most, while it was attacked from many connections.
async fn cost<F: Future<Output = ()>>(served: &Served, attack: impl Fn() -> F) -> usize {
    let before = served.resident_bytes();
    let mut most = before;
    let mut attacks = Box::pin(join_all((0..ATTACKERS).map(|_| attack())));
    loop {
        tokio::select! {
            _ = &mut attacks => return most.max(served.resident_bytes()) - before,
            () = tokio::time::sleep(Duration::from_millis(5)) => most = most.max(served.resident_bytes()),
        }
    }
}

async fn unanswered(address: SocketAddr) {
    let (mut peer, session) = authenticated(address, BOB).await;
    for _ in 0..33 {
        peer.send_message(session, "stream 2 2s").await;
    }
    peer.is_open_for(Duration::from_millis(400)).await;
}

async fn long_calls(address: SocketAddr) {
    let (mut peer, session) = authenticated(address, BOB).await;
    let long = format!("stream 2 2s {}", "x".repeat(200 << 10));
    for _ in 0..6 {
        peer.send_message(session, &long).await;
    }
    peer.is_open_for(Duration::from_millis(400)).await;
}

async fn objects_kept(address: SocketAddr) {
    let (mut peer, session) = authenticated(address, BOB).await;
    for _ in 0..65 {
        peer.call(session, (SESSION, 3), &[], |_| {}).await;
    }
    peer.is_open_for(Duration::from_millis(400)).await;
}

async fn streams_never_answered(address: SocketAddr) {
    let (mut peer, session) = authenticated(address, BOB).await;
    for observer in 0..20 {
        peer.send_streaming(session, "burst 200", observer).await;
    }
    peer.is_open_for(Duration::from_millis(300)).await;
}

async fn last_words_never_answered(address: SocketAddr) {
    let (mut peer, session) = authenticated(address, BOB).await;
    for _ in 0..1_000 {
        let asked = peer.send_streaming(session, "message hello", 7).await;
        if peer.answer_to(asked).await.is_err() {
            return;
        }
        peer.finish(asked).await;
    }
    panic!("nothing bounds this");
}

async fn never_reading(address: SocketAddr) {
    let (mut peer, session) = authenticated(address, BOB).await;
    for observer in 0..5 {
        peer.send_streaming(session, "burst 500", observer).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
}
