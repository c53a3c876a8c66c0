//! What an idle, authenticated session costs the server.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::bar::Bar;
use crate::plan::Plan;
use crate::process::{CLIENT_CORE, Process, SERVER_CORE, answer};
use crate::speech::{Speech, answered};
use crate::wire::KEY;
use crate::{Outcome, sessions};

/// The client: each line says how many sessions there are to be in all. They stay open.
pub(crate) fn run(address: &str, key: &str) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sessions = Rc::<RefCell<Vec<Speech>>>::default();
        answer("ready", |line| open(address, key, sessions.clone(), line)).await
    })
}

async fn open(address: &str, key: &str, sessions: Rc<RefCell<Vec<Speech>>>, line: String) -> Outcome<String> {
    let more = line.parse::<usize>()?.saturating_sub(sessions.borrow().len());
    let begun = Instant::now();
    let opened = stream::iter(0..more).map(|_| async {
        let mut speech = Speech::open(address, key).await?;
        speech.call("whoAmI").await?;
        speech.flush().await?;
        let answer = speech.hear().await?;
        speech.release(answered(&answer)?).await?;
        speech.flush().await?;
        Outcome::Ok(speech)
    });
    let opened: Vec<_> = opened.buffer_unordered(AT_ONCE).try_collect().await?;
    sessions.borrow_mut().extend(opened);
    Ok(format!("{more} {}", begun.elapsed().as_nanos()))
}

/// The case.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let server = Process::start(SERVER_CORE, &["server"])?;
    let client = Process::start(CLIENT_CORE, &["idle", &server.greeting, KEY])?;
    sessions::measure(plan, &server, client, CEILING)
}

/// Kilobytes of the server's memory for a session.
const CEILING: Bar = Bar::Ceiling(24.0);
/// Handshakes at the same time.
const AT_ONCE: usize = 50;
