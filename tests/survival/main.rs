//! What survives: servers that are killed, stopped, cut off or out of space, over a store on disk.
//!
//! `A2A_WEBCAP_SEED` plays a run again; `A2A_WEBCAP_LONG=1` makes the long ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "shown when a test fails: seeds, logs, figures"
)]

mod agent;
mod audit;
mod full;
mod kills;
mod ledger;
mod link;
mod process;
mod random;
mod scenarios;
mod signals;
mod slots;
mod slow;
mod storm;

#[expect(dead_code, reason = "shared with the other integration tests")]
#[path = "../all/doubles.rs"]
mod doubles;
#[expect(dead_code, reason = "shared with the other integration tests")]
#[path = "../all/line.rs"]
mod line;
#[expect(dead_code, unused_imports, reason = "shared with the other integration tests")]
#[path = "../all/party/mod.rs"]
mod party;
#[expect(dead_code, reason = "shared with the other integration tests")]
#[path = "../all/proxy.rs"]
mod proxy;
#[path = "../all/scenarios.rs"]
mod rows;
#[expect(dead_code, reason = "shared with the other integration tests")]
#[path = "../all/world.rs"]
mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Those of these tests that need the whole machine take turns.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a future to its end in a local runtime.
fn local<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, future)
}
