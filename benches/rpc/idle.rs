//! What an idle, authenticated session costs the server.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use a2a_webcap::wire::capnp::capability_capnp::session;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::task::LocalSet;

use crate::Outcome;
use crate::plan::Plan;
use crate::process::{CLIENT_CORE, Process, SERVER_CORE, answer};
use crate::statistics::Bar;
use crate::wire::{authenticate, connect};

/// The client: each line says how many sessions there are to be in all. They stay open.
pub(crate) fn run(address: &str) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let sessions = Rc::<RefCell<Vec<session::Client>>>::default();
        answer("ready", |line| open(address, sessions.clone(), line)).await
    })
}

async fn open(address: &str, sessions: Rc<RefCell<Vec<session::Client>>>, line: String) -> Outcome<String> {
    let more = line.parse::<usize>()?.saturating_sub(sessions.borrow().len());
    let begun = Instant::now();
    let opened = stream::iter(0..more).map(|_| async {
        let (service, _) = connect(address).await?;
        let session = authenticate(&service);
        if session.who_am_i_request().send().promise.await?.get()?.has_error() {
            return Err("the session was refused".into());
        }
        Outcome::Ok(session)
    });
    let opened: Vec<_> = opened.buffer_unordered(AT_ONCE).try_collect().await?;
    sessions.borrow_mut().extend(opened);
    Ok(format!("{more} {}", begun.elapsed().as_nanos()))
}

/// The case: opens sessions and looks at the server's memory.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let server = Process::start(SERVER_CORE, &["server"])?;
    let mut client = Process::start(CLIENT_CORE, &["idle", &server.greeting])?;
    // What the first connections allocate once and for all is not theirs.
    client.ask("10")?;
    sleep(SETTLE);
    let empty = server.resident_bytes()?;
    let mut met = true;
    let counts: [u32; 2] = if plan.quick { [100, 500] } else { [1_000, 10_000] };
    for count in counts {
        client.ask(&(count + 10).to_string())?;
        sleep(SETTLE);
        met &= print(&server, empty, count, "just opened")?;
        if !plan.quick {
            sleep(PINGED);
            met &= print(&server, empty, count, "after two pings")?;
        }
    }
    Ok(met)
}

fn print(server: &Process, empty: u64, count: u32, when: &str) -> Outcome<bool> {
    let resident = server.resident_bytes()?;
    let kilobytes = resident.saturating_sub(empty) as f64 / f64::from(count) / 1e3;
    let (verdict, met) = CEILING.judge(kilobytes);
    let total = resident as f64 / 1e6;
    println!("{count:6} idle sessions, {when:15} {kilobytes:6.1} KB each, {total:.0} MB in all   {verdict}");
    Ok(met)
}

/// Kilobytes of the server's memory for a session.
const CEILING: Bar = Bar::Ceiling(24.0);
/// Handshakes at the same time.
const AT_ONCE: usize = 50;
/// Time for what a connection needed only while it was opened to go away.
const SETTLE: Duration = Duration::from_secs(2);
/// Two ping intervals.
const PINGED: Duration = Duration::from_secs(45);
