//! Connections: made, kept while both ends live, noticed when one does not, and made again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use a2a_webcap::Server;
use a2a_webcap::agents::{Demo, Echo};
use a2a_webcap::client::{ClientNotice, Credentials, RetryPolicy};
use a2a_webcap::limits::{Limits, WireLimits};
use a2a_webcap::model::{CancelTaskRequest, SendMessageResponse, TaskState};
use a2a_webcap::store::{MemoryStore, Store};
use futures::future::join_all;

use crate::hostile_bench::{Bench, run, settles};
use crate::hostile_peer::{Peer, Target, UPGRADE};
use crate::line::Line;
use crate::party::{Wire, on_wires};
use crate::world::{ALICE, BOB, limits, soon, until};

on_wires! {
    sockets: [
        ak_w06_reconnects_without_loss,
        ak_w07_a_client_notices_a_line_that_went_dead_and_its_stream_goes_on,
    ]
    blocking: [
        ak_w09_concurrent_clients_each_get_their_own_reply,
    ]
}

/// Times that a test can wait for: the proportions are those of the defaults.
pub(crate) fn scaled(wire: &mut WireLimits) {
    wire.ping_interval = Duration::from_millis(400);
    wire.idle_timeout = Duration::from_millis(1_200);
}

#[tokio::test]
async fn ak_w01_the_upgrade_agrees_on_the_subprotocol_and_the_first_call_succeeds() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let asked = "Sec-WebSocket-Protocol: capnp-rpc\r\n";
            let agreed = "\r\nsec-websocket-protocol: capnp-rpc\r\n";
            // Offered alone, among others, not at all, and only others.
            let offers = [
                (asked, true),
                ("Sec-WebSocket-Protocol: other, CAPNP-RPC\r\n", true),
                ("", false),
                ("Sec-WebSocket-Protocol: other\r\n", false),
            ];
            for (offer, agrees) in offers {
                let mut peer = Peer::dial(bench.address()).await;
                peer.bytes(UPGRADE.replace(asked, offer).as_bytes()).await;
                let head = soon("an answer", peer.head()).await.to_ascii_lowercase();
                assert!(head.starts_with("http/1.1 101 "), "{head}");
                assert!(
                    head.contains("\r\nsec-websocket-accept: icx+yqv66kxgm0fcwalwlflwtai=\r\n"),
                    "{head}"
                );
                assert_eq!(head.contains(agreed), agrees, "{head}");
                let service = peer.bootstrap().await;
                let asked = peer.info(Target::Answer(service, None)).await;
                let answer = peer.answer_to(asked).await.expect("an answer");
                assert!(answer.answer().expect("it is one").1.is_ok());
            }
        })
        .await;
}

async fn ak_w06_reconnects_without_loss(wire: Wire) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(&Limits::default().engine));
    let start = async |address: &str| {
        let builder = Server::builder().agent(Demo).api_key("alice", ALICE).store(Arc::clone(&store));
        builder.listen(address).workers(2).start().await.expect("the server starts")
    };
    let server = start("127.0.0.1:0").await;
    let address = server.local_addr().to_string();
    let waits = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&waits);
    let retry = RetryPolicy::default().first_wait(Duration::from_millis(50)).jitter(0.0);
    let client = wire
        .client(format!("http://{address}"))
        .credentials(Credentials::api_key(ALICE))
        .retry(retry)
        .on_event(move |notice| {
            if let ClientNotice::Reconnecting { attempt, wait, .. } = notice {
                heard.lock().unwrap().push((attempt, wait.as_millis()));
            }
        })
        .connect()
        .await
        .unwrap();

    let mut streams: Vec<_> = (0..5).map(|_| client.stream("stream 400 5ms")).collect();
    let mut seen: Vec<Vec<u64>> = vec![Vec::new(); streams.len()];
    for (stream, seen) in streams.iter_mut().zip(&mut seen) {
        while seen.len() < 10 {
            let event = soon("an event", stream.next()).await.unwrap().unwrap();
            if event.seq > 0 {
                seen.push(event.seq);
            }
        }
    }

    // Gone without a word, for long enough that the first two tries fail.
    drop(server);
    until("a second try", || waits.lock().unwrap().iter().any(|(attempt, _)| *attempt == 2)).await;
    let server = start(&address).await;

    let identity = soon("an answer", client.who_am_i()).await.unwrap();
    assert_eq!(identity.subject, "alice");
    for (attempt, wait) in &*waits.lock().unwrap() {
        assert!((1..=5).contains(attempt));
        assert_eq!(*wait, 50 << (attempt - 1), "each wait is twice the one before");
    }
    for (mut stream, mut seen) in streams.into_iter().zip(seen) {
        let id = stream.task_id().unwrap().clone();
        soon("an answer", client.cancel(CancelTaskRequest::new(id))).await.unwrap();
        let mut finals = 0;
        while let Some(event) = soon("an event", stream.next()).await {
            let event = event.unwrap();
            seen.push(event.seq);
            finals += u32::from(event.is_final);
            if event.is_final {
                assert_eq!(event.state(), Some(TaskState::Canceled));
            }
        }
        assert_eq!(finals, 1);
        assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>(), "no event lost or doubled");
    }
    drop(client);
    settles(&server).await;
}

#[tokio::test]
async fn ak_w07_an_idle_connection_whose_peer_answers_pings_stays_open() {
    Bench::with(|limits| scaled(&mut limits.wire))
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            let session = peer.authenticate(BOB).await;
            let client = bench.world.client(BOB).await;
            client.who_am_i().await.expect("an answer");
            // Five times the idle timeout, fifteen times the interval.
            assert!(peer.is_open_for(Duration::from_millis(6_000)).await);
            let Target::Answer(_, _) = session else { unreachable!("it is pipelined") };
            let before = bench.world.server.net_counters().accepted();
            client.who_am_i().await.expect("an answer");
            assert_eq!(bench.world.server.net_counters().accepted(), before, "on the same connection");
        })
        .await;
}

#[tokio::test]
async fn ak_w07_a_peer_that_stops_answering_is_dropped_within_interval_and_timeout() {
    Bench::with(|limits| scaled(&mut limits.wire))
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            peer.authenticate(BOB).await;
            assert!(peer.is_open_for(Duration::from_millis(1_500)).await);
            peer.answers_pings = false;
            let since = Instant::now();
            let ended = peer.ended().await;
            assert_eq!(ended.code, 1008);
            let waited = since.elapsed();
            // And a second for a busy machine.
            assert!(waited < Duration::from_millis(400 + 1_200 + 1_000), "{waited:?}");
        })
        .await;
}

async fn ak_w07_a_client_notices_a_line_that_went_dead_and_its_stream_goes_on(wire: Wire) {
    let world = wire.demo().await;
    let line = Arc::new(Line::to(world.server.local_addr()).await);
    let mut limits = WireLimits::default();
    scaled(&mut limits);
    let spoilt = Arc::clone(&line);
    let noticed = Arc::new(Mutex::new(None));
    let notice = Arc::clone(&noticed);
    let client = wire
        .client(line.url())
        .credentials(Credentials::api_key(ALICE))
        .limits(limits)
        .retry(RetryPolicy::default().first_wait(Duration::from_millis(20)))
        .on_event(move |event| {
            if let ClientNotice::Reconnecting { .. } = event {
                notice.lock().unwrap().get_or_insert_with(Instant::now);
                spoilt.mute(false);
            }
        })
        .connect()
        .await
        .unwrap();
    let mut stream = client.stream("stream 100 20ms");
    let mut last = 0;
    let mut muted = Instant::now();
    while let Some(event) = soon("an event", stream.next()).await {
        let event = event.unwrap();
        if event.seq == 0 {
            continue;
        }
        assert_eq!(event.seq, last + 1, "lost or doubled");
        last = event.seq;
        if last == 10 {
            // Nothing arrives any more, and nobody says so.
            line.mute(true);
            muted = Instant::now();
        }
    }
    let waited = noticed.lock().unwrap().expect("the loss was noticed") - muted;
    assert!(waited > Duration::from_millis(1_000), "{waited:?}");
    assert!(waited < Duration::from_millis(400 + 1_200 + 1_000), "{waited:?}");
    assert_eq!(last, 103);
    assert_eq!(world.server.net_counters().accepted(), 2, "a second connection took over");
    drop((client, stream));
    settles(&world.server).await;
}

fn ak_w09_concurrent_clients_each_get_their_own_reply(wire: Wire) {
    run(async {
        let limits = limits(|limits| limits.net.connections_per_address = 1_000);
        let world = wire.world(|builder| builder.agent(Echo).limits(limits)).await;
        for count in [10, 100] {
            let mut sessions = Vec::new();
            for _ in 0..count {
                sessions.push(world.session(ALICE).await);
            }
            let replies = sessions.iter().enumerate().map(|(index, session)| {
                let sent = session.send(format!("for {index} alone"));
                async move { soon("a reply", sent).await.unwrap() }
            });
            for (index, reply) in join_all(replies).await.into_iter().enumerate() {
                let SendMessageResponse::Task(task) = reply else { panic!("echo opens tasks") };
                assert_eq!(task.status.state, TaskState::Completed);
                let texts: Vec<_> = task.artifacts.iter().map(|artifact| artifact.text_content()).collect();
                assert_eq!(texts, [format!("Echo: for {index} alone")]);
            }
            assert_eq!(world.server.net_counters().sockets(), count);
            drop(sessions);
            settles(&world.server).await;
        }
    });
}
