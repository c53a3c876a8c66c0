//! What an idle, authenticated session costs the server.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use a2a_webcap::wire::capnp::capability_capnp::session;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::task::LocalSet;

use crate::bar::Bar;
use crate::plan::Plan;
use crate::process::{CLIENT_CORE, Process, SERVER_CORE, answer};
use crate::wire::{authenticate, connect};
use crate::{Outcome, sessions};

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

/// The case.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let server = Process::start(SERVER_CORE, &["server"])?;
    let client = Process::start(CLIENT_CORE, &["idle", &server.greeting])?;
    sessions::measure(plan, &server, client, CEILING)
}

/// Kilobytes of the server's memory for a session.
const CEILING: Bar = Bar::Ceiling(24.0);
/// Handshakes at the same time.
const AT_ONCE: usize = 50;
