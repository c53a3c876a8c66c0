//! A page of a list and its total, out of few tasks and out of many.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_webcap::clock::Clock;
use a2a_webcap::engine::{Engine, Owner, Scope};
use a2a_webcap::limits::StoreLimits;
use a2a_webcap::model::{Id, ListTasksRequest, TaskState};
use a2a_webcap::store::embedded::EmbeddedStore;
use a2a_webcap::store::{Cursor, ListFilter, PageRequest, Store};

use crate::Outcome;
use crate::bar::Bar;
use crate::disk::{self, Scratch};
use crate::fill::{AGENT, CONTEXT_TASKS, OWNER, context_id, fill, finished, task_id};
use crate::plan::Plan;
use crate::process::{CLIENT_CORE, Process, answer};
use crate::statistics::Sample;

/// What is asked for, its name, and the bar on the time out of many to that out of few.
const KINDS: &[(&str, &str, Bar)] = &[
    ("first", "the first page", CEILING),
    ("middle", "a page anywhere", CEILING),
    ("context", "of a conversation of 100", CEILING),
    ("state", "in a state that one in ten has", CEILING),
    ("both", "of a conversation, in a state", CEILING),
    ("since", "since a time that the newest 1,000 match", CEILING),
    ("half", "since a time that half of all match", Bar::None),
    ("list", "the first page, as tasks", CEILING),
    ("list-context", "of a conversation, as tasks", CEILING),
];

const CEILING: Bar = Bar::Ceiling(1.5);
const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;
const QUICK: u64 = 100_000;
const SIZE: u32 = 50;
/// Time for the merging of tables that the filling has left to do.
const SETTLE: Duration = Duration::from_secs(15);

/// The case.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let many = if plan.quick { QUICK } else { MANY };
    let (few_dir, many_dir) = (Scratch::new("few")?, Scratch::new("many")?);
    // On one core, in turns.
    let mut few = Process::start(CLIENT_CORE, &["pages", few_dir.text()?, &FEW.to_string()])?;
    let mut all = Process::start(CLIENT_CORE, &["pages", many_dir.text()?, &many.to_string()])?;
    println!("pages of {SIZE} with their total, out of {FEW} and out of {many} finished tasks;");
    println!(
        "the store has {} and {} MB on disk, its process {} and {} MB of memory",
        disk::size(few_dir.path()) / 1_000_000,
        disk::size(many_dir.path()) / 1_000_000,
        few.resident_bytes()? / 1_000_000,
        all.resident_bytes()? / 1_000_000
    );
    let mut met = true;
    for (kind, name, bar) in KINDS {
        let line = format!("{kind} {}", plan.millis / 10);
        let (mut few_micros, mut many_micros, mut ratio) = <(Sample, Sample, Sample)>::default();
        few.ask(&line)?;
        all.ask(&line)?;
        for _ in 0..plan.pairs {
            let (few, all) = (few.ask(&line)?.parse::<f64>()?, all.ask(&line)?.parse::<f64>()?);
            few_micros.add(few / 1e3);
            many_micros.add(all / 1e3);
            ratio.add(all / few);
        }
        let (verdict, is_met) = bar.judge(ratio.median());
        println!("{name:42} {few_micros:>22.0} µs, {many_micros:>22.0} µs {ratio:>22.2}   {verdict}");
        met &= is_met;
    }
    Ok(met)
}

/// The process. Makes so many tasks; each line says what to ask for and for how many milliseconds; the
/// answer: nanoseconds of one page.
pub(crate) fn run(dir: &str, tasks: u64) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let data = Path::new(dir).join("data");
    runtime.block_on(async {
        let open = || EmbeddedStore::open(&data, &StoreLimits::default(), &Clock::system());
        let store = open()?;
        fill(&store, 3, |number| number < tasks).await?;
        store.close().await?;
        drop(store);
        // As after a restart: everything is in tables.
        let store = Arc::new(open()?);
        tokio::time::sleep(SETTLE).await;
        let engine = Engine::builder(Arc::clone(&store) as _).threads(1).start()?;
        let asked = Asked { store, engine, tasks };
        answer("ready", async |line| asked.time(&line).await).await
    })
}

/// Who is asked.
struct Asked {
    store: Arc<EmbeddedStore>,
    engine: Engine,
    tasks: u64,
}

impl Asked {
    async fn time(&self, line: &str) -> Outcome<String> {
        let (kind, millis) = line.split_once(' ').ok_or("what, and how long?")?;
        let time = Duration::from_millis(millis.parse()?);
        let (begun, mut pages) = (Instant::now(), 0_u64);
        let mut chance = Chance(1);
        while begun.elapsed() < time || pages == 0 {
            self.page(kind, chance.below(self.tasks)).await?;
            pages += 1;
        }
        Ok((begun.elapsed().as_nanos() as u64 / pages).to_string())
    }

    /// One page; `number` is the task it is about, where it is about one.
    async fn page(&self, kind: &str, number: u64) -> Outcome<()> {
        let mut filter = ListFilter {
            agent: AGENT.into(),
            owner: OWNER.into(),
            context: None,
            state: None,
            status_since: None,
        };
        let mut page = PageRequest { after: None, size: SIZE as usize };
        let (mut total, mut rows) = (self.tasks, u64::from(SIZE));
        match kind {
            "first" => {}
            "middle" => {
                let cursor = number.max(rows);
                page.after = Some(Cursor { status_timestamp: finished(cursor), id: task_id(cursor) });
            }
            "context" => (filter.context, total) = (Some(context_id(number)), CONTEXT_TASKS),
            "state" => (filter.state, total) = (Some(TaskState::Failed), self.tasks / 10),
            "both" => {
                (filter.context, filter.state) = (Some(context_id(number)), Some(TaskState::Failed));
                (total, rows) = (CONTEXT_TASKS / 10, CONTEXT_TASKS / 10);
            }
            "since" => (filter.status_since, total) = (Some(finished(self.tasks - 1_000)), 1_000),
            "half" => (filter.status_since, total) = (Some(finished(self.tasks / 2)), self.tasks / 2),
            "list" => return self.list(None, self.tasks).await,
            "list-context" => return self.list(Some(context_id(number)), CONTEXT_TASKS).await,
            other => return Err(format!("there is no page {other}").into()),
        }
        let page = self.store.list(&filter, &page).await?;
        if (page.total, page.rows.len() as u64) != (total, rows) {
            return Err(format!("{kind}: {} rows of {}", page.rows.len(), page.total).into());
        }
        Ok(())
    }

    /// As a client would ask.
    async fn list(&self, context_id: Option<Id>, total: u64) -> Outcome<()> {
        let scope = Scope { agent: AGENT.into(), owner: Owner { key: OWNER.into(), anonymous: false } };
        let request = ListTasksRequest { context_id, page_size: Some(SIZE), ..ListTasksRequest::default() };
        let page = self.engine.list(&scope, &request).await?;
        if (u64::from(page.total_size), page.tasks.len()) != (total, SIZE as usize) {
            return Err(format!("{} tasks of {}", page.tasks.len(), page.total_size).into());
        }
        Ok(())
    }
}

/// Numbers that look random, the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
