//! `kill -9`, again and again, in the midst of everything: what was answered or seen is there afterwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::timeout;

use crate::audit::{audit, audit_all};
use crate::ledger::{Ledger, Seen};
use crate::link::{Link, Open, WHO};
use crate::local;
use crate::one_at_a_time;
use crate::process::{Scratch, Served, Settings, kill};
use crate::random::{Rng, is_long};
use crate::slots::{Slot, UserSlot};

const WRITERS: usize = 16;
/// Of the writers, those that use the client library's own reconnects.
const USERS: usize = 4;
const TASKS: usize = 40;

/// Clients at work, on a thread of their own.
pub(crate) struct Clients {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Clients {
    /// 16 writers, which are at 40 tasks at any time.
    pub(crate) fn start(address: SocketAddr, ledger: &Ledger, rng: &mut Rng) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let (told, ledger, mut rng) = (Arc::clone(&enough), ledger.clone(), rng.fork());
        let work = move || {
            local(async {
                let links: Vec<_> = (USERS..WRITERS).map(|_| Rc::new(Link::to(address))).collect();
                let mut users = Vec::new();
                for who in 0..USERS {
                    users.push(UserSlot::client(format!("http://{address}"), who % WHO.len()).await);
                }
                let mut working = Vec::new();
                for slot in 0..TASKS {
                    let (ledger, rng, enough) = (ledger.clone(), rng.fork(), Arc::clone(&told));
                    let writer = slot % WRITERS;
                    working.push(match writer.checked_sub(USERS) {
                        Some(link) => {
                            let link = Rc::clone(&links[link]);
                            tokio::task::spawn_local(Slot { link, ledger, rng, enough }.run())
                        }
                        None => {
                            let (client, who) = (users[writer].clone(), writer % WHO.len());
                            tokio::task::spawn_local(UserSlot { client, who, ledger, rng, enough }.run())
                        }
                    });
                }
                for worked in join_all(working).await {
                    worked.expect("a client has no defect");
                }
            });
        };
        Self { enough, thread: std::thread::spawn(work) }
    }

    /// Lets each finish its task.
    pub(crate) fn finish(self) {
        self.enough.store(true, Ordering::Release);
        self.thread.join().expect("a client has no defect");
    }
}

/// Starts a server, and says how long it took until it answered.
pub(crate) async fn restart(settings: &Settings) -> (Served, Duration) {
    let since = Instant::now();
    let served = settings.start();
    let open = Open::new(served.address).await.expect("it listens");
    let answered = timeout(Duration::from_secs(60), open.session(0).who_am_i()).await;
    answered.expect("an answer").expect("it knows Alice");
    (served, since.elapsed())
}

/// A few of the tasks that were moved before a kill; the others get their turn in the end. Sometimes none, so that
/// the next kill comes soon.
fn some_of(tasks: &mut BTreeMap<String, Seen>, rng: &mut Rng) -> BTreeMap<String, Seen> {
    let most = rng.between(0, 2) * 15;
    let some = tasks.keys().filter(|_| rng.percent(30)).take(usize::try_from(most).expect("few"));
    let some: Vec<_> = some.cloned().collect();
    some.into_iter().filter_map(|id| tasks.remove_entry(&id)).collect()
}

/// The value below which 99 of 100 are.
pub(crate) fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

#[test]
fn what_was_answered_or_seen_survives_fifty_kills_in_the_midst_of_everything() {
    let _turn = one_at_a_time();
    let kills = if is_long() { 1_000 } else { 50 };
    let mut rng = Rng::new("kills");
    let scratch = Scratch::new();
    let mut settings = Settings::new(&scratch.0);
    // Small enough that segments end, are collected, and the catalog is written down, between the kills.
    settings.limits.store.segment_bytes = 256 << 10;
    settings.limits.store.catalog_memory_bytes = 64 << 10;
    let ledger = Ledger::new();
    let began = Instant::now();
    let mut times = Vec::new();
    local(async {
        let (mut served, _) = restart(&settings).await;
        settings.listen = served.address;
        let clients = Clients::start(served.address, &ledger, &mut rng);
        let mut unaudited = BTreeMap::<String, Seen>::new();
        let mut killed = 0;
        while killed < kills {
            unaudited.extend(ledger.take_moved());
            audit(served.address, &ledger, &some_of(&mut unaudited, &mut rng)).await;
            ledger.assert_right();
            // So many events, unless the server is slower than that.
            let some = ledger.events(rng.between(1, 600));
            let _ = timeout(Duration::from_millis(rng.between(1, 800)), some).await;
            served.kill();
            killed += 1;
            while rng.percent(15) {
                // In the midst of its start.
                let mut starting = settings.spawn();
                tokio::time::sleep(Duration::from_millis(rng.between(0, 60))).await;
                kill(&mut starting);
                killed += 1;
            }
            let (again, took) = restart(&settings).await;
            served = again;
            times.push(took);
        }
        clients.finish();
        audit_all(served.address, &ledger).await;
        ledger.assert_right();
        settings.assert_sound();
        served.kill();
        // And the store is as good for the next one.
        let (served, _) = restart(&settings).await;
        audit_all(served.address, &ledger).await;
        ledger.assert_right();
        println!("{killed} kills in {:?}: {:?}", began.elapsed(), ledger.counts());
    });
    let p99 = p99(&mut times);
    println!("from start to the first answer: p99 {p99:?}, median {:?}", times[times.len() / 2]);
    let counts = ledger.counts();
    assert!(counts.repeated > 0 && counts.resumed > 0 && counts.canceled > 0, "{counts:?}");
    assert!(counts.follow_ups > 0 && counts.acked > 40, "{counts:?}");
}
