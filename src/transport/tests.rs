//! A connection between two of our own ends.

use std::cell::Cell;
use std::rc::Rc;

use tokio_util::io::InspectWriter;

use super::testing::{
    Bench, Method, Pair, World, call, keep, local, made, make, pair, pair_on, serve_on, settle, sink_call,
};
use super::{CloseReason, Counters, code};
use crate::limits::WireLimits;

#[test]
fn a_call_is_answered() {
    local(true, async {
        let Pair { object, .. } = pair(&WireLimits::default()).await;
        assert_eq!(call(&object, Method::Echo, b"hello").await.expect("an answer"), b"hello");
    });
}

#[test]
fn a_call_on_a_promised_object_goes_out_with_the_promise() {
    local(true, async {
        let Pair { object, .. } = pair(&WireLimits::default()).await;
        let third = make(&make(&make(&object)));
        assert_eq!(call(&third, Method::Echo, b"far").await.expect("an answer"), b"far");
    });
}

#[test]
fn dropping_the_last_stub_drops_the_object_and_empties_every_table() {
    local(true, async {
        let Pair { served, object, handle, .. } = pair(&WireLimits::default()).await;
        let promised: Vec<_> = (0..100).map(|_| make(&object)).collect();
        let held: Vec<_> = futures::future::join_all((0..100).map(|_| made(&object))).await;
        settle().await;
        assert_eq!(served.world.alive.get(), 201);
        // A promised object is held through its answer, and so is the bootstrap object.
        let Counters { exports, answers, .. } = served.handle.counters();
        assert_eq!((exports, answers), (100, 101));

        drop((promised, held, object));
        settle().await;
        // The bootstrap object lives as long as its connection.
        assert_eq!(served.world.alive.get(), 1);
        assert_eq!(served.handle.counters(), Counters::default());
        assert_eq!(handle.counters(), Counters::default());
    });
}

#[test]
fn a_megabyte_goes_through_and_comes_back() {
    local(true, async {
        let Pair { object, .. } = pair(&WireLimits::default()).await;
        let data = vec![7; 1 << 20];
        assert!(call(&object, Method::Echo, &data).await.expect("an answer") == data);
    });
}

#[test]
fn a_stream_reaches_the_callers_object_whole() {
    local(true, async {
        let Pair { served, object, .. } = pair(&WireLimits::default()).await;
        let mine = Rc::new(World::default());
        keep(&object, Bench::client(&mine)).await.expect("kept");
        call(&object, Method::Stream, &10_000u64.to_le_bytes()).await.expect("streamed");
        settle().await;
        assert_eq!(mine.sunk.get(), 10_000 * 256);

        served.world.kept.borrow_mut().clear();
        settle().await;
        assert_eq!(mine.alive.get(), 0);
    });
}

#[test]
fn what_a_message_causes_in_a_stream_leaves_with_its_answer() {
    local(true, async { assert_eq!(writes_of_a_poke(true).await, 1) });
}

#[test]
fn an_answer_waits_for_nobody_where_nothing_is_under_way() {
    local(true, async { assert_eq!(writes_of_a_poke(false).await, 2) });
}

/// The server's writes for an answer, and for a call that a task of its own makes on the same occasion.
async fn writes_of_a_poke(is_under_way: bool) -> usize {
    let (limits, writes) = (WireLimits::default(), Rc::new(Cell::new(0)));
    let (line, there) = tokio::io::duplex(64 << 10);
    let counter = Rc::clone(&writes);
    let counted = InspectWriter::new(line, move |_: &[u8]| counter.update(|writes| writes + 1));
    let served = serve_on(counted, &limits).await;
    let Pair { served, object, .. } = pair_on(served, there, &limits).await;
    let mine = Rc::new(World::default());
    keep(&object, Bench::client(&mine)).await.expect("kept");
    settle().await;

    let _work = is_under_way.then(|| served.handle.line().work());
    writes.set(0);
    call(&object, Method::Poke, b"").await.expect("poked");
    writes.get()
}

#[test]
fn a_sender_stays_within_its_window() {
    local(true, async {
        let limits = WireLimits { stream_window_bytes: 4 << 10, ..WireLimits::default() };
        let Pair { object, served, .. } = pair(&limits).await;
        let blocker = make(&object);
        call(&blocker, Method::Echo, b"").await.expect("it is there");
        // The other side reads nothing: its queue is far over the send budget.
        let never = tokio::task::spawn_local({
            let sink = blocker.clone();
            async move {
                for _ in 0..100 {
                    sink_call(&sink, 1 << 10).await.expect("a sink");
                }
            }
        });
        settle().await;
        never.await.expect("it went through");
        settle().await;
        assert_eq!(served.world.sunk.get(), 100 << 10);
    });
}

#[test]
fn a_panic_in_a_method_ends_that_connection_with_a_typed_close() {
    local(true, async {
        let limits = WireLimits::default();
        let (one, other) = (pair(&limits).await, pair(&limits).await);
        let error = call(&one.object, Method::Panic, b"").await.expect_err("a panic");
        assert!(error.extra.contains("A2A -32603 INTERNAL: "), "{error}");
        assert_eq!(one.served.ended.await.expect("no panic gets out"), CloseReason::Panicked);
        assert_eq!(one.served.world.alive.get(), 0);

        assert_eq!(call(&other.object, Method::Echo, b"fine").await.expect("unhurt"), b"fine");
    });
}

#[test]
fn a_close_is_told_and_ends_calls_that_wait() {
    local(true, async {
        let Pair { served, object, ended, handle } = pair(&WireLimits::default()).await;
        let waiting = tokio::task::spawn_local(async move { call(&object, Method::Never, b"").await });
        settle().await;
        served.handle.close(code::GOING_AWAY, "the server stops; connect again");
        let error = waiting.await.expect("no panic").expect_err("the connection ended");
        assert!(error.extra.contains("A2A -31499 DISCONNECTED: "), "{error}");
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected);
        assert_eq!(served.ended.await.expect("no panic").label(), "closed");
        assert_eq!(ended.await.expect("no panic").label(), "peer_aborted");
        assert_eq!(handle.closed().await.label(), "peer_aborted");
        assert_eq!(served.world.alive.get(), 0);
    });
}

#[test]
fn a_lost_line_drops_everything() {
    local(true, async {
        let Pair { served, object, ended, .. } = pair(&WireLimits::default()).await;
        let others: Vec<_> = (0..10).map(|_| make(&object)).collect();
        call(&others[9], Method::Echo, b"").await.expect("an answer");
        ended.abort();
        settle().await;
        assert_eq!(served.ended.await.expect("no panic").label(), "lost");
        assert_eq!(served.world.alive.get(), 0);
        let error = call(&object, Method::Echo, b"").await.expect_err("gone");
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected);
    });
}
