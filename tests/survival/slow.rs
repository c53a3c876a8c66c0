//! Readers that stand still cost their windows, and nobody else's time; when they go on they miss nothing.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use a2a_webcap::client::Cursor;
use a2a_webcap::model::{EndReason, TaskState};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::agent::{Count, age};
use crate::kills::p99;
use crate::ledger::Ledger;
use crate::link::{Ear, Heard, LONGEST_WAIT, Link};
use crate::process::{Scratch, Served, Settings};
use crate::proxy::{Mode, Proxy};
use crate::random::is_long;
use crate::storm::open_tasks;
use crate::{local, one_at_a_time};

const NORMAL: usize = 250;
/// Readers whose observers do not answer.
const SILENT: usize = 125;
/// Readers on lines that nobody reads.
const DEAF: usize = 125;
const TASKS: usize = 100;
/// In all tasks together 2,000 a second.
const PACE: Duration = Duration::from_millis(50);
/// What a server may gain by readers that stand still.
const GROWTH: usize = 64 << 20;

/// What the readers of one round share.
struct Round {
    ledger: Ledger,
    ages: RefCell<Vec<Duration>>,
    /// Readers that are there.
    reading: Cell<usize>,
}

/// Follows a task from its beginning to its end. Takes nothing until the gate is open; notes how old each event is,
/// if that is asked.
async fn read(
    (link, task): (Rc<Link>, String),
    round: Rc<Round>,
    mut gate: watch::Receiver<bool>,
    is_timed: bool,
) {
    let open = link.open().await;
    let (ear, mut heard) = Ear::new(1, false);
    let subscription = open.session(0).task(&task).subscribe(Cursor::After(0), ear);
    subscription.ready().await.expect("the task is there");
    round.reading.set(round.reading.get() + 1);
    gate.wait_for(|open| *open).await.expect("somebody opens it");
    let (mut last, mut state) = (0, None);
    loop {
        match timeout(LONGEST_WAIT, heard.recv()).await {
            Ok(Some(Heard::Event(event))) => {
                round.ledger.saw(&event);
                if let Some(age) = age(&event).filter(|_| is_timed) {
                    round.ages.borrow_mut().push(age);
                }
                if event.seq != last + 1 {
                    round.ledger.wrong(format!("{task}: event {} came after {last}", event.seq));
                }
                (last, state) = (event.seq, event.state().or(state));
            }
            Ok(Some(Heard::End(end))) if end.reason == EndReason::Completed => break,
            other => {
                return round.ledger.wrong(format!("{task}: after event {last} came {other:?}"));
            }
        }
    }
    if state != Some(TaskState::Completed) {
        round.ledger.wrong(format!("{task}: the end came after event {last}, {state:?}"));
    }
}

struct Bench {
    served: Served,
    ledger: Ledger,
    numbers: u64,
}

impl Bench {
    fn round(&self) -> Rc<Round> {
        let ledger = self.ledger.clone();
        Rc::new(Round { ledger, ages: RefCell::default(), reading: Cell::new(0) })
    }

    async fn tasks(&self) -> Vec<String> {
        let count = Count { to: self.numbers, pace: PACE, padding: 400, asks: false };
        open_tasks(&Link::to(self.served.address), &self.ledger, TASKS, count).await
    }

    /// Starts readers, so many on each connection.
    fn readers(
        &self,
        round: &Rc<Round>,
        links: &[Rc<Link>],
        tasks: &[String],
        (readers, gate): (usize, &watch::Sender<bool>),
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let is_timed = *gate.borrow();
        let reader = |n: usize| {
            let at = (Rc::clone(&links[n % links.len()]), tasks[n % tasks.len()].clone());
            tokio::task::spawn_local(read(at, Rc::clone(round), gate.subscribe(), is_timed))
        };
        (0..readers).map(reader).collect()
    }
}

fn links(address: SocketAddr, count: usize) -> Vec<Rc<Link>> {
    (0..count).map(|_| Rc::new(Link::to(address))).collect()
}

async fn all(readers: Vec<tokio::task::JoinHandle<()>>) {
    for read in join_all(readers).await {
        read.expect("a reader has no defect");
    }
}

#[test]
fn readers_that_stand_still_cost_little_slow_nobody_down_and_miss_nothing_when_they_go_on() {
    let _turn = one_at_a_time();
    let scratch = Scratch::new();
    let mut settings = Settings::new(&scratch.0);
    // Who stands still is no dead line here.
    settings.limits.wire.idle_timeout = Duration::from_secs(3_600);
    let numbers = if is_long() { 1_200 } else { 160 };
    let bench = Bench { served: settings.start(), ledger: Ledger::new(), numbers };
    let open = watch::Sender::new(true);
    local(async {
        let address = bench.served.address;
        let normal = links(address, 10);
        let alone = bench.round();
        let tasks = bench.tasks().await;
        all(bench.readers(&alone, &normal, &tasks, (NORMAL, &open))).await;
        let baseline = p99(&mut alone.ages.borrow_mut());

        let (round, stopped) = (bench.round(), watch::Sender::new(false));
        let mut proxies = Vec::new();
        let mut deaf = Vec::new();
        for _ in 0..25 {
            let proxy = Proxy::before(address).await;
            deaf.push(Rc::new(Link::to(proxy.url().trim_start_matches("http://").parse().unwrap())));
            proxies.push(proxy);
        }
        let before = bench.served.resident_bytes();
        let tasks = bench.tasks().await;
        let mut late = bench.readers(&round, &links(address, 5), &tasks, (SILENT, &stopped));
        late.extend(bench.readers(&round, &deaf, &tasks, (DEAF, &stopped)));
        while round.reading.get() < SILENT + DEAF {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        proxies.iter().for_each(|proxy| proxy.replies(Mode::Hold));
        all(bench.readers(&round, &normal, &tasks, (NORMAL, &open))).await;
        let beside = p99(&mut round.ages.borrow_mut());
        let grown = bench.served.resident_bytes().saturating_sub(before);

        let seen = bench.ledger.counts().events;
        stopped.send_replace(true);
        proxies.iter().for_each(|proxy| proxy.replies(Mode::Pass));
        all(late).await;
        bench.ledger.assert_right();
        settings.assert_sound();
        let caught_up = bench.ledger.counts().events - seen;
        println!(
            "p99 of {NORMAL} readers: {baseline:?} alone, {beside:?} beside {} that stand still; the server \
             grew by {} KiB; those who stood still took {caught_up} events then",
            SILENT + DEAF,
            grown >> 10
        );
        // Submitted, working, the numbers, completed.
        assert_eq!(caught_up, (SILENT + DEAF) as u64 * (numbers + 3));
        assert!(grown <= GROWTH, "{grown} bytes more");
        assert!(!is_long() || beside <= 2 * baseline, "{beside:?} instead of {baseline:?}");
    });
}
