//! Nothing stays behind: not in a table, not in a counter, not in memory, whatever was dropped first.

use std::cell::Cell;
use std::rc::Rc;

use a2a_webcap::agents::Demo;
use a2a_webcap::client::{At, Client, Cursor, GrantPolicy, Observer, SessionPolicy, TaskRole};
use a2a_webcap::fault::{Fault, FaultKind, Result};
use a2a_webcap::limits::Limits;
use a2a_webcap::model::{StreamEnd, TaskArtifactUpdateEvent};
use futures::future::join_all;
use serde_json::json;

use crate::hostile_bench::{alone, resident_bytes, run, settles};
use crate::hostile_peer::Peer;
use crate::party::{Session, Wire, on_wires};
use crate::web::{Web, message};
use crate::world::{ALICE, BOB, World, soon, until};

on_wires! {
    blocking: [
        a_thousand_connections_leave_nothing_behind,
        a_thousand_sessions_on_one_connection_leave_its_tables_empty,
    ]
}

/// What memory may gain from the first third of the rounds to their end.
const GROWTH: usize = 2 << 20;

/// An object of the caller's that sees how far its stream has come.
#[derive(Clone, Default)]
struct Watch {
    seen: Rc<Cell<usize>>,
    ended: Rc<Cell<bool>>,
    throws: bool,
}

impl Observer for Watch {
    async fn on_artifact_update(&mut self, _: TaskArtifactUpdateEvent, _: At) -> Result<()> {
        self.seen.set(self.seen.get() + 1);
        if self.throws { Err(Fault::new(FaultKind::Internal, "as asked")) } else { Ok(()) }
    }

    async fn on_end(&mut self, _: StreamEnd) {
        self.ended.set(true);
    }
}

impl Watch {
    async fn sees(&self, events: usize) {
        until("an event", || self.seen.get() >= events || self.ended.get()).await;
    }

    async fn ends(&self) {
        until("the end", || self.ended.get()).await;
    }
}

/// Every order in which a client can let go of what it has; the number selects.
async fn let_go(session: Session, order: usize) {
    let watch = Watch { throws: order == 8, ..Watch::default() };
    let text = if order == 9 { "message hello" } else { "stream 4 1ms" };
    match order {
        0 => {
            let started = session.send_streaming(text, watch.clone());
            watch.sees(1).await;
            drop(started.subscription);
            started.task.get(None).await.expect("the task goes on");
            drop(started.task);
            drop(session);
        }
        1 => {
            let started = session.send_streaming(text, watch.clone());
            drop(session);
            watch.sees(1).await;
            started.task.get(None).await.expect("the task needs no session");
            drop(started.task);
            watch.ends().await;
        }
        2 => {
            // Everything at once, before any answer.
            let started = session.send_streaming(text, watch);
            drop(started.task.get(None));
            drop((session, started));
        }
        3 => {
            let started = session.send_streaming(text, watch.clone());
            watch.ends().await;
            let again = Watch::default();
            let subscription = started.task.subscribe(Cursor::After(1), again.clone());
            again.ends().await;
            drop((started, subscription, session));
        }
        4 => {
            let _started = session.send_streaming(text, watch.clone());
            watch.sees(1).await;
            session.close().await.expect("closed");
            watch.ends().await;
        }
        5 => {
            let (narrow, grant) = session.attenuate(&SessionPolicy::default());
            let _started = narrow.send_streaming(text, watch.clone());
            watch.sees(1).await;
            drop(grant);
            watch.ends().await;
        }
        6 => {
            let started = session.send_streaming(text, watch.clone());
            started.ready().await.expect("a task");
            let (_secret, grant) =
                started.task.share(TaskRole::Observe, &GrantPolicy::default()).await.expect("shared");
            let (handle, narrower) = started.task.attenuate(TaskRole::Answer, &GrantPolicy::default());
            handle.get(None).await.expect("it may read");
            narrower.revoke().await.expect("revoked");
            handle.get(None).await.expect_err("it may no longer");
            drop((grant, started));
        }
        7 => {
            drop(session.send(text));
            session.send("hello").await.expect("an answer");
        }
        8 | 9 => {
            let _started = session.send_streaming(text, watch.clone());
            if order == 8 { watch.sees(1).await } else { watch.ends().await }
        }
        _ => {
            let task = session.task("nothing");
            drop(task.get(None));
            task.get(None).await.expect_err("there is none");
        }
    }
}

const ORDERS: usize = 11;
/// Connections at the same time.
const AT_ONCE: usize = 4;

fn quickly(limits: &mut Limits) {
    limits.engine.memory_finished_tasks = 100;
    limits.net.connections_per_address = 10_000;
}

async fn world() -> World {
    let mut limits = Limits::default();
    quickly(&mut limits);
    World::of(|builder| builder.agent(Demo).limits(limits)).await
}

/// A peer that is cut off in the midst of its stream.
async fn cut(world: &World) {
    if world.wire == Wire::Capnweb {
        let mut web = Web::connect(world).await;
        let session = web.authenticate(ALICE).await;
        web.push(session, "sendMessageStreaming", json!([message("stream 4 1ms"), null, ["export", -1]]))
            .await;
        web.called_unanswered().await;
        return;
    }
    let mut peer = Peer::connect(world.server.local_addr()).await;
    let session = peer.authenticate(ALICE).await;
    peer.send_streaming(session, "stream 4 1ms", 0).await;
    let seen = soon("a call", peer.receive()).await;
    assert!(seen.is_ok());
}

/// A connection of its own, and one of the ways to end it.
async fn connect_and_let_go(world: &World, round: usize) {
    match round % (ORDERS + 2) {
        ORDERS => cut(world).await,
        order if order > ORDERS => {
            // Wrong credentials, and a call on what they did not open.
            let session = world.session("a wrong key that is long enough, all the same").await;
            let task = session.send_streaming("stream 2 1ms", Watch::default());
            task.ready().await.expect_err("nobody in particular");
        }
        order => let_go(world.session(ALICE).await, order).await,
    }
}

fn a_thousand_connections_leave_nothing_behind(wire: Wire) {
    alone(&format!("leaks::over_{wire}::a_thousand_connections_leave_nothing_behind"), || {
        run(async {
            let world = world().await.over(wire);
            let mut before = 0;
            for rounds in 0..1_000 / AT_ONCE {
                let rounds = rounds * AT_ONCE..(rounds + 1) * AT_ONCE;
                join_all(rounds.clone().map(|round| connect_and_let_go(&world, round))).await;
                if rounds.end % 200 == 0 {
                    settles(&world.server).await;
                }
                if rounds.contains(&333) {
                    before = resident_bytes();
                }
            }
            settles(&world.server).await;
            let grown = resident_bytes().saturating_sub(before);
            println!("1000 connections: {} KiB more than after 333", grown >> 10);
            assert!(grown < GROWTH, "{grown} bytes more");
        });
    });
}

fn a_thousand_sessions_on_one_connection_leave_its_tables_empty(wire: Wire) {
    alone(
        &format!("leaks::over_{wire}::a_thousand_sessions_on_one_connection_leave_its_tables_empty"),
        || {
            run(async {
                let world = world().await.over(wire);
                let connection = world.connection().await;
                connection.info().await.unwrap();
                let empty = connection.tables();
                let mut before = 0;
                for round in 0..1_000 {
                    // What is given up unanswered is counted for the connection's life: see `abandoned`.
                    let order = [0, 1, 3, 5, 6, 8, 9, 10][round % 8];
                    let_go(connection.authenticate(BOB), order).await;
                    if round == 333 {
                        before = resident_bytes();
                    }
                }
                until("the tables are empty", || connection.tables().is_within(empty)).await;
                let grown = resident_bytes().saturating_sub(before);
                println!("1000 sessions: {} KiB more than after 333", grown >> 10);
                assert!(grown < GROWTH, "{grown} bytes more");
                drop(connection);
                settles(&world.server).await;
            });
        },
    );
}

#[test]
fn clients_and_servers_that_are_dropped_take_their_threads_with_them() {
    alone("leaks::clients_and_servers_that_are_dropped_take_their_threads_with_them", || {
        run(async {
            let threads = || std::fs::read_dir("/proc/self/task").expect("Linux").count();
            let before = threads();
            let mut bytes = 0;
            for round in 0..30 {
                let world = world().await;
                let client = world.alice().await;
                let mut stream = client.stream("stream 3 1ms");
                soon("an event", stream.next()).await;
                let other: Client = client.clone();
                drop((client, stream));
                other.who_am_i().await.expect("a clone keeps the line");
                drop(other);
                if round % 2 == 0 {
                    settles(&world.server).await;
                    world.server.stop().await;
                } else {
                    drop(world);
                }
                if round == 10 {
                    until("the threads end", || threads() == before).await;
                    bytes = resident_bytes();
                }
            }
            until("the threads end", || threads() == before).await;
            let grown = resident_bytes().saturating_sub(bytes);
            println!("20 servers: {} KiB more", grown >> 10);
            assert!(grown < GROWTH, "{grown} bytes more");
        });
    });
}
