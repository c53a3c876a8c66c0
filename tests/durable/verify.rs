//! Opens what some disaster has left, in this process, and says what is wrong with it.

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use crate::check::{compare, groups_held};
use crate::history::History;
use crate::subject::Subject;

/// How long one state may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(180);
/// Groups that are committed on top of what was left.
pub(crate) const MORE: usize = 3;

/// How a store stands after a disaster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    /// It holds this many groups, and has gone on from there.
    Whole(usize),
    /// It does not start, and says why.
    Refused(String),
}

/// What is done with a store after a disaster.
#[derive(Clone, Copy)]
pub(crate) struct Trial<'a> {
    pub(crate) subject: Subject,
    pub(crate) directory: &'a Path,
    pub(crate) history: &'a History,
    /// Whether it must also take more groups, stop, and start once more.
    pub(crate) goes_on: bool,
}

impl Trial<'_> {
    /// Opens the store, asks it everything, and lets it go on.
    ///
    /// # Errors
    /// What is wrong: it holds no number of whole groups within `may`, or does not go on.
    pub(crate) fn verify(&self, may: RangeInclusive<usize>) -> Result<Stands, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(self.stands(may)))).unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("it panicked: {}", said.unwrap_or_default()))
        })
    }

    async fn stands(&self, may: RangeInclusive<usize>) -> Result<Stands, String> {
        let store = match self.subject.open(self.directory) {
            Ok(store) => store,
            Err(reason) if reason.trim().is_empty() => return Err("it refuses without a reason".to_owned()),
            Err(reason) => return Ok(Stands::Refused(reason)),
        };
        let held = groups_held(&*store, self.history, may).await?;
        if !self.goes_on {
            return Ok(Stands::Whole(held));
        }
        let more = (held + MORE).min(self.history.steps.len());
        for number in held + 1..=more {
            let done = store.commit(&self.history.steps[number - 1].group).await;
            done.map_err(|error| format!("after {held} groups it does not take group {number}: {error}"))?;
        }
        store.close().await.map_err(|error| format!("it does not close: {error}"))?;
        drop(store);
        let again = self.subject.open_again(self.directory);
        let again = again.map_err(|error| format!("it does not open again: {error}"))?;
        let same = compare(&*again, self.history, more).await;
        same.map_err(|reason| format!("after {more} groups and a stop: {reason}"))?;
        again.close().await.map_err(|error| format!("it does not close again: {error}"))?;
        Ok(Stands::Whole(held))
    }
}

/// Does something with each number below `count`, on all cores. The first failure ends it; a hang or a panic in a
/// thread of the store's own is one.
///
/// # Errors
/// The first failure.
pub(crate) fn for_each(
    count: usize,
    work: impl Fn(usize) -> Result<(), String> + Sync,
) -> Result<(), String> {
    let panics = panics();
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let running: Vec<_> = (0..workers).map(|_| Mutex::new(None::<(usize, Instant)>)).collect();
    thread::scope(|scope| {
        let (next, failure, work) = (&next, &failure, &work);
        let workers = running.iter().map(|mine| {
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || failure.lock().expect("whole").is_some() {
                        return;
                    }
                    *mine.lock().expect("whole") = Some((number, Instant::now()));
                    if let Err(reason) = work(number) {
                        failure.lock().expect("whole").get_or_insert(reason);
                    }
                    *mine.lock().expect("whole") = None;
                }
            })
        });
        let workers: Vec<_> = workers.collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            for mine in &running {
                let Some((number, since)) = *mine.lock().expect("whole") else { continue };
                if since.elapsed() > PATIENCE {
                    // A thread that hangs cannot be ended by itself.
                    eprintln!("number {number} of {:?} hangs", thread::current().name());
                    std::process::exit(101);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let failure = failure.into_inner().expect("whole");
    failure.map_or(Ok(()), Err)?;
    let more = self::panics() - panics;
    if more > 0 { Err(format!("{more} panics in threads of the store")) } else { Ok(()) }
}

/// How many threads have panicked that are no test's own.
fn panics() -> usize {
    static HOOK: Once = Once::new();
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !thread::current().name().is_some_and(|name| name.contains("::")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}
