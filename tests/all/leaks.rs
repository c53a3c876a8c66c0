//! Connecting, streaming and dropping, over and over, leaves nothing behind.

use a2a_webcap::client::local::Connection;
use a2a_webcap::client::{Credentials, Cursor};

use crate::doubles::Collector;
use crate::world::{ALICE, World, limits};

/// Rounds that bring every table to the size that it keeps.
const WARM_UP: usize = 400;
/// Rounds that must leave nothing.
const ROUNDS: usize = 1_000;
/// What the allocator may hold more or less afterwards.
const TOLERANCE: isize = 2 << 20;

#[tokio::test(flavor = "local")]
async fn a_thousand_rounds_of_connect_stream_and_drop_leave_nothing() {
    let few = |limits: &mut a2a_webcap::limits::Limits| {
        limits.engine.memory_finished_tasks = 50;
        limits.engine.idempotency = std::time::Duration::from_millis(200);
    };
    let world = World::of(|builder| builder.agent(a2a_webcap::agents::Demo).limits(limits(few))).await;
    for number in 0..WARM_UP {
        round(world.connection().await, number).await;
    }
    world.forgets_everybody().await;
    let before = resident_bytes();
    for number in 0..ROUNDS {
        round(world.connection().await, number).await;
    }
    world.forgets_everybody().await;
    let grown = resident_bytes().cast_signed() - before.cast_signed();
    assert!(grown.abs() <= TOLERANCE, "{ROUNDS} rounds cost {grown} bytes");
}

/// One client's life, ended in one of several orders.
async fn round(connection: Connection, number: usize) {
    let session = connection.authenticate(&Credentials::api_key(ALICE));
    let observer = Collector::new();
    let started = session.send_streaming("stream 8 0ms", observer.clone());
    match number % 5 {
        // To the end, with a late subscriber.
        0 => {
            observer.wait_for_final().await;
            let late = Collector::new();
            let held = started.task.subscribe(Cursor::After(3), late.clone());
            late.end().await;
            drop(held);
        }
        // The session goes first, the stream goes on.
        1 => {
            drop(session);
            observer.end().await;
        }
        // The subscription goes in the midst.
        2 => {
            observer.has(2).await;
            drop(started);
            observer.end().await;
        }
        // Everything goes before any answer.
        3 => drop((started, session)),
        // The line is cut in the midst.
        _ => {
            observer.has(1).await;
            connection.close();
        }
    }
}

/// Memory of this process: the server and its clients.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let resident = pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    resident.expect("the second number") * 4_096
}
