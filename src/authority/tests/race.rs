//! Revokes that race calls, streams and derivations on several threads, judged by the server's own
//! numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Keeps what the judge needs without a lock, which would put the threads in line and hide races.
#[derive(Default)]
struct Judge {
    allowed: AtomicU64,
    refused: AtomicU64,
    last_allowed: AtomicU64,
    revoked: AtomicU64,
    answered: AtomicU64,
}

impl Audit for Judge {
    fn record(&self, entry: AuditEntry) {
        match entry.event {
            AuditEvent::Checked { allowed: true, .. } => {
                self.allowed.fetch_add(1, Ordering::SeqCst);
                self.last_allowed.fetch_max(entry.seq, Ordering::SeqCst);
            }
            AuditEvent::Checked { allowed: false, .. } => {
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
            AuditEvent::Revoked => self.revoked.store(entry.seq, Ordering::SeqCst),
            AuditEvent::RevokeAnswered => self.answered.store(entry.seq, Ordering::SeqCst),
        }
    }
}

const CALLERS: u64 = 1_000;
const STREAMS: usize = 50;
const ROUNDS: u64 = 30;

/// Calls again and again until it is refused.
async fn call_until_refused(grant: Arc<Grant>) {
    loop {
        match grant.check(Permission::Send, NOW) {
            Ok(_pass) => tokio::task::yield_now().await,
            Err(fault) => return assert_eq!(fault.kind(), FaultKind::Revoked),
        }
    }
}

/// One revoke of the root against calls through grants at every depth. Returns how many calls asked
/// between the mark and the answer, which is where the race is.
async fn race(round: u64) -> u64 {
    let judge = Arc::new(Judge::default());
    let audit = Arc::clone(&judge) as Arc<dyn Audit>;
    let authority = Authority::audited(EngineLimits::default(), Clock::standing_at(NOW), audit);
    let root = authority.root(&identity("alice"), Scope::agent(""));
    let mut grants = vec![Arc::clone(&root)];
    for _ in 0..8 {
        grants.push(grants[grants.len() - 1].derive(&Policy::default()).unwrap());
    }

    let mut tasks = tokio::task::JoinSet::new();
    for stream in grants.iter().cycle().take(STREAMS).map(|grant| grant.stream().unwrap()) {
        tasks.spawn(async move { assert_eq!(stream.ended().await, EndCause::Closed) });
    }
    for grant in grants.iter().cycle().take(usize::try_from(CALLERS).unwrap()) {
        tasks.spawn(call_until_refused(Arc::clone(grant)));
    }
    // Another moment in each round, from the very first calls to all of them in flight.
    while judge.allowed.load(Ordering::SeqCst) < round * CALLERS / 10 {
        tokio::task::yield_now().await;
    }
    root.revoke(EndCause::Closed).await;
    let live = authority.counters();
    assert_eq!((live.calls, live.streams), (0, 0), "round {round}: something is left after the answer");

    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let [last_allowed, revoked, answered] =
        [&judge.last_allowed, &judge.revoked, &judge.answered].map(|seq| seq.load(Ordering::SeqCst));
    assert!(last_allowed < answered, "round {round}: a call started after the revoke was answered");
    assert_eq!(judge.refused.load(Ordering::SeqCst), CALLERS);
    drop((root, grants));
    assert_eq!(authority.counters(), Counters::default());
    answered - revoked - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_calls_in_flight_none_starts_after_the_revoke_is_answered() {
    let mut contested = 0;
    for round in 0..ROUNDS {
        let race = tokio::spawn(race(round));
        contested +=
            tokio::time::timeout(Duration::from_secs(60), race).await.expect("a wake-up was lost").unwrap();
    }
    assert!(contested > ROUNDS, "nothing raced: {contested} calls in {ROUNDS} rounds");
}

#[test]
fn no_grant_that_is_derived_while_its_ancestor_is_revoked_escapes() {
    for _ in 0..200 {
        let world = World::with(EngineLimits { grants_per_principal: usize::MAX, ..EngineLimits::default() });
        let start = std::sync::Barrier::new(4);
        let derive = || {
            start.wait();
            let mut derived = vec![Arc::clone(&world.root)];
            for turn in 0.. {
                // Wide and deep by turns.
                let parent = &derived[if turn % 8 == 0 { 0 } else { derived.len() - 1 }];
                match parent.derive(&Policy::default()) {
                    Ok(child) => derived.push(child),
                    Err(fault) if fault.kind() == FaultKind::Revoked => break,
                    Err(fault) => panic!("{fault}"),
                }
            }
            derived
        };
        std::thread::scope(|scope| {
            let derivers: Vec<_> = (0..3).map(|_| scope.spawn(derive)).collect();
            start.wait();
            std::thread::yield_now();
            world.root.end(&EndCause::Closed);
            for derived in derivers.into_iter().map(|deriver| deriver.join().unwrap()) {
                assert!(derived.iter().all(|grant| grant.word().is_shut()), "a derived grant escaped");
            }
        });
        world.expect_nothing_left();
    }
}
