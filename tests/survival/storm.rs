//! Subscribers that are cut again and again while events are written: each has the exact sequence in the end.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use a2a_webcap::client::{Cursor, SendCall};
use a2a_webcap::model::{EndReason, Message, SendMessageResponse, TaskState, fresh_id};
use futures::future::join_all;
use tokio::time::timeout;

use crate::agent::Count;
use crate::ledger::Ledger;
use crate::line::Line;
use crate::link::{Ear, Heard, LONGEST_WAIT, Link};
use crate::process::{Scratch, Settings};
use crate::random::{Rng, is_long};
use crate::{local, one_at_a_time};

/// Subscribers that share connections, and drop their subscriptions.
const DROPPING: usize = 320;
/// Subscribers with connections of their own, which they drop.
const LEAVING: usize = 100;
/// Subscribers that share lines, which break under all of them.
const BREAKING: usize = 100;
const TASKS: usize = 200;
/// Numbers that each task counts.
const NUMBERS: u64 = 150;
/// Between two of them: in all tasks together 2,000 a second.
const PACE: Duration = Duration::from_millis(100);

/// How a subscriber is cut.
enum Cut {
    /// It drops the subscription.
    Subscription,
    /// It drops the connection.
    Connection,
    /// The line breaks, as soon as all who share it want that.
    Line(Rc<Shared>),
}

/// A line that breaks, and those who share it.
struct Shared {
    line: Line,
    subscribers: Cell<usize>,
    waiting: Cell<usize>,
}

impl Shared {
    /// One more waits for the line to break, or is there no more.
    fn breaks_if_all_wait(&self) {
        if self.waiting.get() >= self.subscribers.get() {
            self.waiting.set(0);
            self.line.cut();
        }
    }
}

struct Subscriber {
    link: Rc<Link>,
    cut: Cut,
    task: String,
    rng: Rng,
    ledger: Ledger,
    /// How often it is cut.
    cuts: u64,
}

impl Subscriber {
    /// Follows its task to the end, and is cut so many times on the way. Returns how many events it has seen.
    async fn run(mut self) -> u64 {
        let mut last = 0;
        let mut state = None;
        for cut in 0.. {
            let open = self.link.open().await;
            let (ear, mut heard) = Ear::new(1, self.rng.percent(10));
            let subscription = open.session(0).task(&self.task).subscribe(Cursor::After(last), ear);
            self.ledger.resumes();
            // The last time to the end.
            let mut quota = if cut < self.cuts { self.rng.between(1, 6) } else { u64::MAX };
            while quota > 0 {
                match timeout(LONGEST_WAIT, heard.recv()).await {
                    Ok(Some(Heard::Event(event))) => {
                        self.ledger.saw(&event);
                        if event.seq != last + 1 {
                            let task = &self.task;
                            self.ledger.wrong(format!("{task}: event {} came after {last}", event.seq));
                        }
                        (last, state) = (event.seq, event.state().or(state));
                        quota -= 1;
                    }
                    Ok(Some(Heard::End(end))) if end.reason == EndReason::Completed => {
                        if state != Some(TaskState::Completed) || end.last_seq != last || cut < self.cuts {
                            self.ledger.wrong(format!("ended after {last}, {cut} cuts, {state:?}: {end:?}"));
                        }
                        self.leaves_the_line();
                        return last;
                    }
                    Ok(Some(Heard::End(end))) => {
                        self.ledger.wrong(format!("a subscription ended with {end:?}"));
                        break;
                    }
                    Ok(None) => break,
                    Err(_) => {
                        self.ledger.wrong(format!("{}: nothing comes after {last}", self.task));
                        return last;
                    }
                }
            }
            match &self.cut {
                Cut::Subscription => drop(subscription),
                Cut::Connection => self.link.cut(),
                Cut::Line(shared) => {
                    if open.connection.transport().ending().is_none() {
                        shared.waiting.set(shared.waiting.get() + 1);
                        shared.breaks_if_all_wait();
                        open.connection.transport().closed().await;
                    }
                }
            }
        }
        unreachable!("the loop ends with the task")
    }

    fn leaves_the_line(&self) {
        if let Cut::Line(shared) = &self.cut {
            shared.subscribers.set(shared.subscribers.get() - 1);
            if shared.subscribers.get() > 0 {
                shared.breaks_if_all_wait();
            }
        }
    }
}

/// Opens so many tasks that count.
pub(crate) async fn open_tasks(link: &Link, ledger: &Ledger, tasks: usize, count: Count) -> Vec<String> {
    let open = link.open().await;
    let sends = (0..tasks).map(|_| async {
        let context = fresh_id();
        ledger.sends(&context, 0);
        let call = SendCall::from(Message::user(count.text()).in_context(context.clone()));
        match open.session(0).send(call.return_immediately()).await.expect("the task is opened") {
            SendMessageResponse::Task(task) => {
                ledger.acked(&context, Some(&task.id));
                task.id.to_string()
            }
            other => panic!("{other:?}"),
        }
    });
    join_all(sends).await
}

/// Everybody who is cut in one way.
async fn subscribers(
    address: SocketAddr,
    tasks: &[String],
    ledger: &Ledger,
    rng: &mut Rng,
) -> Vec<Subscriber> {
    let cuts = if is_long() { 50 } else { 20 };
    let shared_links: Vec<_> = (0..8).map(|_| Rc::new(Link::to(address))).collect();
    let mut lines = Vec::new();
    for _ in 0..10 {
        let line = Line::to(address).await;
        let link = Rc::new(Link::to(line.url().trim_start_matches("http://").parse().expect("an address")));
        let (subscribers, waiting) = (Cell::new(BREAKING / 10), Cell::new(0));
        lines.push((link, Rc::new(Shared { line, subscribers, waiting })));
    }
    let all = (0..DROPPING + LEAVING + BREAKING).map(|n| {
        let (link, cut) = if n < DROPPING {
            (Rc::clone(&shared_links[n % shared_links.len()]), Cut::Subscription)
        } else if n < DROPPING + LEAVING {
            (Rc::new(Link::to(address)), Cut::Connection)
        } else {
            let (link, shared) = &lines[n % lines.len()];
            (Rc::clone(link), Cut::Line(Rc::clone(shared)))
        };
        let (task, rng, ledger) = (tasks[n % tasks.len()].clone(), rng.fork(), ledger.clone());
        Subscriber { link, cut, task, rng, ledger, cuts }
    });
    all.collect()
}

#[test]
fn five_hundred_subscribers_cut_twenty_times_each_have_every_event_once_and_in_order() {
    let _turn = one_at_a_time();
    let mut rng = Rng::new("storm");
    let scratch = Scratch::new();
    let mut settings = Settings::new(&scratch.0);
    // What is on its way to a subscriber that is cut is work for nothing.
    settings.limits.wire.stream_window_bytes = 2 << 10;
    let served = settings.start();
    let ledger = Ledger::new();
    local(async {
        let link = Link::to(served.address);
        let began = Instant::now();
        let count = Count { to: NUMBERS, pace: PACE, padding: 100, asks: false };
        let tasks = open_tasks(&link, &ledger, TASKS, count).await;
        let subscribers = subscribers(served.address, &tasks, &ledger, &mut rng).await;
        let running = subscribers.into_iter().map(|subscriber| tokio::task::spawn_local(subscriber.run()));
        for seen in join_all(running).await {
            // Submitted, working, the numbers, completed.
            assert_eq!(seen.expect("no defect"), NUMBERS + 3);
        }
        ledger.assert_right();
        settings.assert_sound();
        let (counts, took) = (ledger.counts(), began.elapsed());
        let written = (NUMBERS + 3) * TASKS as u64;
        let rate = written as f64 / took.as_secs_f64();
        println!(
            "{} subscriptions of {} subscribers, {written} events written, {} seen, in {took:?}: {rate:.0}/s",
            counts.resumed,
            DROPPING + LEAVING + BREAKING,
            counts.events
        );
        assert!(counts.resumed as usize >= 20 * (DROPPING + LEAVING + BREAKING));
    });
}
