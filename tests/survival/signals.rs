//! A server that is told to stop, or stands still, in the midst of work: nothing that was accepted is lost. And two
//! servers never share a store.

use std::time::{Duration, Instant};

use crate::audit::{audit, audit_all};
use crate::kills::{Clients, restart};
use crate::ledger::Ledger;
use crate::process::{Scratch, Settings};
use crate::random::{Rng, is_long};
use crate::{local, one_at_a_time};

/// What a stop may take: the drain timeout of these servers, and what is left to agents.
const LONGEST_STOP: Duration = Duration::from_secs(25);

#[test]
fn nothing_that_was_accepted_is_lost_when_a_server_under_load_is_told_to_stop_or_stands_still() {
    let _turn = one_at_a_time();
    let rounds = if is_long() { 100 } else { 10 };
    let mut rng = Rng::new("signals");
    let scratch = Scratch::new();
    let mut settings = Settings::new(&scratch.0);
    let ledger = Ledger::new();
    let mut longest = Duration::ZERO;
    local(async {
        let (mut served, _) = restart(&settings).await;
        settings.listen = served.address;
        let clients = Clients::start(served.address, &ledger, &mut rng);
        for round in 0..rounds {
            ledger.events(rng.between(1, 500)).await;
            if round % 5 == 0 {
                served.signal("-STOP");
                tokio::time::sleep(Duration::from_millis(rng.between(500, 3_000))).await;
                served.signal("-CONT");
                ledger.events(200).await;
            }
            served.signal("-TERM");
            let since = Instant::now();
            assert!(served.ends(LONGEST_STOP), "it says that all is well:\n{}", settings.said());
            longest = longest.max(since.elapsed());
            served = restart(&settings).await.0;
            audit(served.address, &ledger, &ledger.take_moved()).await;
            ledger.assert_right();
        }
        clients.finish();
        audit_all(served.address, &ledger).await;
        ledger.assert_right();
        settings.assert_sound();
        println!("{rounds} stops, the longest of {longest:?}: {:?}", ledger.counts());
    });
}

#[test]
fn a_second_server_on_a_store_is_refused_by_name_and_may_have_it_when_the_first_was_killed() {
    let scratch = Scratch::new();
    let settings = Settings::new(&scratch.0);
    let first = settings.start();
    let refused = settings.try_start().err().expect("it does not start");
    let reason = format!("{} is used by another process", settings.dir.display());
    assert!(refused.contains(&reason), "{refused}");
    first.kill();
    settings.start();
}
