//! A disk that is filled up and freed again and again, under load.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use a2a_webcap::client::{Cursor, SendCall};
use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::model::{ListTasksRequest, Message, SendMessageResponse, TaskState, fresh_id};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::agent::Count;
use crate::audit::audit;
use crate::ledger::Ledger;
use crate::link::{Ear, Heard, LONGEST_WAIT, Link};
use crate::process::{Scratch, Served, Settings};
use crate::random::{Rng, is_long};
use crate::storm::open_tasks;
use crate::{local, one_at_a_time};

/// Bytes of the disk.
const DISK: u64 = 32 << 20;
/// Free bytes below which nothing new is accepted.
const RESERVE: u64 = 2 << 20;
/// Tasks that run all the while.
const RUNNING: usize = 4;

/// A small disk in memory. Gone with this.
struct Disk(PathBuf);

impl Disk {
    /// None where this is not allowed.
    fn mount(dir: PathBuf) -> Option<Self> {
        fs::create_dir(&dir).expect("a directory");
        let size = format!("size={DISK},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&dir).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }

    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.0).expect("it is mounted");
        disk.f_bavail * disk.f_frsize
    }

    fn fill_file(&self) -> PathBuf {
        self.0.join("fill")
    }

    /// Takes what is free, but for so many bytes.
    fn fill(&self, but: u64) {
        let mut file = File::create(self.fill_file()).expect("a file");
        for bytes in [1_usize << 20, 4 << 10] {
            let zeros = vec![0; bytes];
            while self.free() >= but + bytes as u64 {
                if file.write_all(&zeros).is_err() {
                    break;
                }
            }
        }
    }

    fn clear(&self) {
        fs::remove_file(self.fill_file()).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// The server, and those who use it.
struct Bench<'a> {
    settings: Settings,
    disk: &'a Disk,
    served: Option<Served>,
    link: Rc<Link>,
    ledger: Ledger,
    /// Tasks that were finished before anything was filled.
    finished: Vec<String>,
    running: Vec<String>,
    followers: Vec<JoinHandle<()>>,
}

impl<'a> Bench<'a> {
    async fn new(scratch: &Path, disk: &'a Disk) -> Self {
        let mut settings = Settings::new(scratch);
        settings.dir = disk.0.join("store");
        settings.limits.store.segment_bytes = 256 << 10;
        settings.limits.store.reserve_bytes = RESERVE;
        settings.limits.store.catalog_memory_bytes = 128 << 10;
        let served = settings.start();
        settings.listen = served.address;
        let (link, ledger) = (Rc::new(Link::to(served.address)), Ledger::new());
        let short = Count { to: 100, pace: Duration::ZERO, padding: 100, asks: false };
        let finished = open_tasks(&link, &ledger, 10, short).await;
        let long = Count { to: 1_000_000, pace: Duration::from_millis(20), padding: 300, asks: false };
        let running = open_tasks(&link, &ledger, RUNNING, long).await;
        let served = Some(served);
        let mut bench =
            Self { settings, disk, served, link, ledger, finished, running, followers: Vec::new() };
        for task in bench.running.clone().iter().chain(&bench.finished.clone()) {
            let follow = follow(Rc::clone(&bench.link), task.clone(), bench.ledger.clone());
            bench.followers.push(tokio::task::spawn_local(follow));
        }
        bench
            .until("the short tasks finish", |bench| {
                bench.finished.iter().all(|id| {
                    bench.ledger.task(id).is_some_and(|seen| seen.state == Some(TaskState::Completed))
                })
            })
            .await;
        bench
    }

    /// A send, and what it comes to. Each opens a short task.
    fn send(&self) -> impl Future<Output = Result<(), Fault>> + use<> {
        let (link, ledger) = (Rc::clone(&self.link), self.ledger.clone());
        async move {
            let count = Count { to: 2, pace: Duration::ZERO, padding: 0, asks: false };
            let context = fresh_id();
            let open = link.open().await;
            let call = SendCall::from(Message::user(count.text()).in_context(context.clone()));
            let SendMessageResponse::Task(task) = open.session(0).send(call.return_immediately()).await?
            else {
                panic!("the agent makes tasks")
            };
            ledger.sends(&context, 0);
            ledger.acked(&context, Some(&task.id));
            Ok(())
        }
    }

    /// New work is accepted, or refused for want of space, sooner or later.
    async fn accepts(&self, accepts: bool) {
        let since = Instant::now();
        loop {
            let answered = timeout(Duration::from_millis(200), self.send()).await;
            match answered {
                Ok(Ok(())) if accepts => return,
                Ok(Err(fault)) if fault.kind() == FaultKind::Overloaded && !accepts => return,
                // It was sent a moment too early, and waits for space. Nobody waits for it.
                Err(_) | Ok(Ok(())) => {}
                Ok(Err(fault)) if matches!(fault.kind(), FaultKind::Overloaded | FaultKind::Disconnected) => {
                }
                Ok(Err(fault)) => self.ledger.wrong(format!("a send was refused: {fault}")),
            }
            assert!(since.elapsed() < LONGEST_WAIT, "accepted: {}", !accepts);
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The running tasks go on, each of them.
    async fn goes_on(&self) {
        let last = |bench: &Self| -> Vec<u64> {
            bench.running.iter().map(|id| bench.ledger.task(id).map_or(0, |seen| seen.last())).collect()
        };
        let before = last(self);
        let moved = |bench: &Self| last(bench).iter().zip(&before).all(|(now, before)| *now > before + 2);
        self.until("the running tasks go on", moved).await;
    }

    /// Nothing happens any more. What is on its way when the disk is full may still find room.
    async fn stands_still(&self) {
        let mut last = self.ledger.counts().events;
        let mut still = 0;
        while still < 3 {
            sleep(Duration::from_millis(50)).await;
            let now = self.ledger.counts().events;
            still = if now == last { still + 1 } else { 0 };
            last = now;
        }
    }

    /// Whoever only reads notices nothing.
    async fn reads_go_on(&self) {
        let open = self.link.open().await;
        let session = open.session(0);
        for id in self.finished.iter().take(3) {
            let got = timeout(LONGEST_WAIT, session.task(id).get(None)).await.expect("an answer");
            assert_eq!(got.expect("it is readable").state(), TaskState::Completed);
        }
        let page = timeout(LONGEST_WAIT, session.list_tasks(&ListTasksRequest::default())).await;
        assert!(page.expect("an answer").expect("a page").total_size >= 14);
        // Of the running ones, which grow all the time, each in its turn.
        let running = &self.running[self.ledger.counts().sends as usize % RUNNING];
        let mut known = self.ledger.tasks();
        known.retain(|id, _| self.finished.iter().take(3).any(|known| known == id) || id == running);
        let address = self.served.as_ref().expect("it runs").address;
        audit(address, &self.ledger, &known).await;
        self.ledger.assert_right();
    }

    /// Kills the server, or tells it to stop, and starts it again.
    async fn restart(&mut self, gently: bool) {
        let mut served = self.served.take().expect("it runs");
        if gently {
            served.signal("-TERM");
            served.ends(LONGEST_WAIT);
        }
        served.kill();
        self.served = Some(self.settings.start());
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !is_so(self) {
            assert!(since.elapsed() < LONGEST_WAIT, "in vain: {what}\n{}", self.settings.said());
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Below the reserve: no new work, and everything else as ever.
    async fn nearly_full(&self) {
        self.disk.fill(RESERVE - (512 << 10));
        self.accepts(false).await;
        self.goes_on().await;
        self.reads_go_on().await;
        self.disk.clear();
    }

    /// Not a byte is left: what is written meanwhile waits.
    async fn quite_full(&mut self, end: Option<bool>) {
        self.disk.fill(0);
        let early: Vec<_> = (0..4).map(|_| tokio::task::spawn_local(self.send())).collect();
        self.accepts(false).await;
        self.stands_still().await;
        self.reads_go_on().await;
        if let Some(gently) = end {
            self.restart(gently).await;
            self.accepts(false).await;
            self.reads_go_on().await;
        }
        self.disk.clear();
        for sent in early {
            match timeout(LONGEST_WAIT, sent).await.expect("an answer").expect("no defect") {
                Ok(()) => {}
                Err(fault) if fault.kind() == FaultKind::Overloaded => {}
                Err(fault) if fault.kind() == FaultKind::Disconnected && end.is_some() => {}
                Err(fault) => self.ledger.wrong(format!("a send on a full disk came to {fault}")),
            }
        }
    }
}

/// Follows a task to its end, across restarts.
async fn follow(link: Rc<Link>, task: String, ledger: Ledger) {
    let mut last = 0;
    loop {
        let open = link.open().await;
        let (ear, mut heard) = Ear::new(1, true);
        let subscription = open.session(0).task(&task).subscribe(Cursor::After(last), ear);
        while let Some(next) = heard.recv().await {
            match next {
                Heard::Event(event) => {
                    ledger.saw(&event);
                    if event.seq != last + 1 {
                        ledger.wrong(format!("{task}: event {} came after {last}", event.seq));
                    }
                    last = event.seq;
                    if event.state().is_some_and(TaskState::is_terminal) {
                        return;
                    }
                }
                Heard::End(_) => break,
            }
        }
        drop(subscription);
    }
}

#[test]
fn a_disk_that_fills_up_refuses_new_work_in_time_and_loses_nothing_fifty_times() {
    let _turn = one_at_a_time();
    let scratch = Scratch::new();
    let Some(disk) = Disk::mount(scratch.0.join("disk")) else {
        return eprintln!("SKIPPED: no file system may be mounted here, so no disk can be filled up");
    };
    let cycles = if is_long() { 200 } else { 50 };
    let mut rng = Rng::new("full");
    let began = Instant::now();
    local(async {
        let mut bench = Bench::new(&scratch.0, &disk).await;
        let (mut full, mut killed) = (0, 0);
        for _ in 0..cycles {
            bench.accepts(true).await;
            bench.goes_on().await;
            if rng.percent(40) {
                bench.nearly_full().await;
            } else {
                let end = rng.percent(25).then(|| rng.percent(30));
                (full, killed) = (full + 1, killed + u32::from(end.is_some()));
                bench.quite_full(end).await;
            }
            bench.ledger.assert_right();
        }
        bench.accepts(true).await;
        bench.goes_on().await;
        let open = bench.link.open().await;
        for id in &bench.running {
            open.session(0).task(id).cancel(None).await.expect("there is space");
            bench.ledger.canceled(id);
        }
        for follower in bench.followers.drain(..) {
            follower.await.expect("no defect");
        }
        bench.restart(false).await;
        let address = bench.served.as_ref().expect("it runs").address;
        audit_known(address, &bench).await;
        bench.ledger.assert_right();
        // What waits for space when the server is told to stop is given up, and that is said.
        bench.settings.assert_sound_but_for("No space left on device");
        let counts = bench.ledger.counts();
        println!(
            "{cycles} times, {full} of them quite full, {killed} kills, in {:?}: {counts:?}",
            began.elapsed()
        );
        assert!(full > 0);
    });
}

/// Every send that was answered, and every event that was seen. Sends that nobody waited for may have made tasks too.
async fn audit_known(address: std::net::SocketAddr, bench: &Bench<'_>) {
    audit(address, &bench.ledger, &bench.ledger.tasks()).await;
    let open = bench.link.open().await;
    for (context, sent) in bench.ledger.all_sends() {
        let task = sent.task.as_deref().expect("it was answered with a task");
        let found = open.session(sent.who).task(task).get(None).await;
        if found.is_err() {
            bench
                .ledger
                .wrong(format!("the send in {context} was answered, and its task is gone: {found:?}"));
        }
    }
}
