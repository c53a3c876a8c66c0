//! Tasks: a pure state machine for each, one log with group commit, feeds with cursors, and agents' turns.
//!
//! [`Engine::send`] opens or continues a task; its agent's turn runs on the engine's own threads; what the agent
//! says goes through the [`writer`] into the store and only then to the [`Feed`]s. All of it is `Send + Sync`
//! and shared.

mod admission;
mod counters;
mod feed;
pub mod fold;
mod idempotency;
mod list;
mod load;
pub mod machine;
mod pipeline;
mod prepare;
mod recover;
mod retention;
mod runner;
mod send;
mod task;
mod turn;
mod validate;
mod wakers;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::admission::Admission;
use self::counters::Counters;
use self::feed::store_fault;
use self::fold::Fold;
use self::idempotency::Sends;
use self::retention::Retirer;
use self::task::{Core, Live, Registry};
use self::writer::{Work, Writer};
use crate::agent::Agent;
use crate::clock::Clock;
use crate::fault::{Fault, FaultKind};
use crate::limits::EngineLimits;
use crate::model::{Id, Task, TaskState};
use crate::store::{Store, Stored};
use crate::trace::Tracer;

pub use self::counters::{Counts, Lags};
pub use self::feed::{Feed, FeedKind, Outlook, Start};
pub use self::fold::trimmed;
pub use self::recover::Recovered;
pub use self::retention::Retired;
pub use self::send::{InUse, Sent, Submission, TaskTicket};

/// Whose tasks: no operation reaches beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The agent, by the name it was given to the engine under.
    pub agent: Id,
    /// The principal.
    pub owner: Owner,
}

/// The principal that tasks belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What tells principals apart; never shown to a client.
    pub key: Id,
    /// Whether it stands for everybody who has not authenticated. Message ids of different people may meet
    /// there, so repeated sends are not recognised.
    pub anonymous: bool,
}

/// The task engine. Share it behind an `Arc`.
pub struct Engine {
    store: Arc<dyn Store>,
    clock: Clock,
    limits: EngineLimits,
    agents: HashMap<Id, HostedAgent>,
    writer: Arc<Writer>,
    registry: Arc<Registry>,
    admission: Arc<Admission>,
    sends: Arc<Sends>,
    counters: Arc<Counters>,
    retirer: Arc<Retirer>,
    /// Retention's own task, while there is something for it to do.
    retiring: Mutex<Option<JoinHandle<()>>>,
    next_turn: AtomicU64,
    stopping: AtomicBool,
    runtime: Handle,
    /// None if the runtime is somebody else's.
    own_runtime: Option<Runtime>,
}

/// An agent, and what it has declared.
pub(crate) struct HostedAgent {
    name: Id,
    agent: Arc<dyn Agent>,
    may_reply: bool,
    reads_inbox: bool,
    /// Media types of files that it takes.
    input_modes: Vec<String>,
}

/// Where a task is.
enum Found {
    Live(Live),
    Finished(Stored),
}

/// Puts an engine together.
pub struct Builder {
    store: Arc<dyn Store>,
    clock: Clock,
    limits: EngineLimits,
    agents: HashMap<Id, HostedAgent>,
    turns_of: HashMap<Id, usize>,
    runtime: Option<Handle>,
    threads: Option<usize>,
}

impl Builder {
    /// Hosts an agent under a name.
    #[must_use]
    pub fn agent(mut self, name: impl Into<Id>, agent: Arc<dyn Agent>) -> Self {
        let card = agent.card();
        let of_skills = card.skills.into_iter().flat_map(|skill| skill.input_modes);
        let name = name.into();
        let hosted = HostedAgent {
            name: Id::clone(&name),
            may_reply: agent.may_reply_with_message(),
            reads_inbox: agent.reads_inbox(),
            input_modes: card.default_input_modes.into_iter().chain(of_skills).collect(),
            agent,
        };
        self.agents.insert(name, hosted);
        self
    }

    /// Bounds the turns that run at once of the agent of this name, within the bound on all of them.
    #[must_use]
    pub fn turns_of(mut self, name: impl Into<Id>, most: usize) -> Self {
        self.turns_of.insert(name.into(), most);
        self
    }

    /// Bounds; those of [`EngineLimits`] by default.
    #[must_use]
    pub fn limits(mut self, limits: EngineLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Where status times come from; the machine's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How many threads run agents; as many as there are cores by default.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Runs agents on this runtime instead of threads of the engine's own. It must have its timer enabled, and IO too
    /// if an agent does any.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Starts the engine.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn start(self) -> io::Result<Engine> {
        let (runtime, own_runtime) = match self.runtime {
            Some(handle) => (handle, None),
            None => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.thread_name("a2a-agent").enable_all();
                if let Some(threads) = self.threads {
                    builder.worker_threads(threads);
                }
                let own = builder.build()?;
                (own.handle().clone(), Some(own))
            }
        };
        let counters = Arc::new(Counters::default());
        let registry = Arc::new(Registry::new(Arc::clone(&counters)));
        let settings = (self.clock.clone(), self.limits.clone());
        let store = Arc::clone(&self.store);
        let writer =
            Writer::new(store, settings, runtime.clone(), Arc::clone(&registry), Arc::clone(&counters));
        let writer = Arc::new(writer);
        writer.start()?;
        let retirer = Arc::new(Retirer {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            limits: self.limits.clone(),
            writer: Arc::clone(&writer),
            taking: Default::default(),
        });
        let retires = !self.limits.retention.is_unlimited();
        let retiring = retires.then(|| runtime.spawn(Arc::clone(&retirer).run()));
        Ok(Engine {
            admission: Arc::new(Admission::new(&self.limits, self.turns_of, Arc::clone(&counters))),
            sends: Arc::new(Sends::new(Arc::clone(&counters))),
            store: self.store,
            clock: self.clock,
            limits: self.limits,
            agents: self.agents,
            writer,
            registry,
            counters,
            retirer,
            retiring: Mutex::new(retiring),
            next_turn: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            runtime,
            own_runtime,
        })
    }
}

impl Engine {
    /// An engine over a store.
    pub fn builder(store: Arc<dyn Store>) -> Builder {
        Builder {
            store,
            clock: Clock::system(),
            limits: EngineLimits::default(),
            agents: HashMap::new(),
            turns_of: HashMap::new(),
            runtime: None,
            threads: None,
        }
    }

    /// The agent of this name.
    pub fn agent(&self, name: &str) -> Option<&Arc<dyn Agent>> {
        self.agents.get(name).map(|hosted| &hosted.agent)
    }

    /// The names of the agents, in order.
    pub fn agent_names(&self) -> Vec<Id> {
        let mut names: Vec<_> = self.agents.keys().cloned().collect();
        names.sort();
        names
    }

    /// The task as it is now. [`trimmed`] takes history away that the caller does not want.
    ///
    /// # Errors
    /// [`FaultKind::TaskNotFound`](crate::fault::FaultKind::TaskNotFound) for a missing and a foreign task.
    pub async fn get(&self, scope: &Scope, task: &Id) -> Result<Arc<Task>, Fault> {
        match self.find(scope, task).await? {
            Found::Live(live) => live.lock().visible().cloned().ok_or_else(Fault::task_not_found),
            Found::Finished(stored) => Ok(Arc::clone(self.folded(&stored).await?.task())),
        }
    }

    /// Waits until a send's task is terminal or interrupted, and returns it as it stands then.
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    pub async fn settled(&self, scope: &Scope, ticket: &TaskTicket) -> Result<Arc<Task>, Fault> {
        match self.find(scope, &ticket.task_id).await? {
            Found::Live(live) => feed::settled(live, ticket.after, &self.writer).await,
            Found::Finished(stored) => Ok(Arc::clone(self.folded(&stored).await?.task())),
        }
    }

    /// Reads a task's events.
    ///
    /// # Errors
    /// As of [`get`](Self::get); [`FaultKind::InvalidParams`](crate::fault::FaultKind::InvalidParams) if the
    /// start lies after the last event.
    pub async fn feed(&self, scope: &Scope, task: &Id, start: Start, kind: FeedKind) -> Result<Feed, Fault> {
        let stored = match self.find(scope, task).await? {
            Found::Live(live) => return Feed::of_live(live, start, kind, &self.writer, &self.store),
            Found::Finished(stored) => stored,
        };
        let last = stored.row.last_seq;
        let feed = Feed::of_finished((task.clone(), last), start, kind, &self.writer, &self.store)?;
        if start != Start::Snapshot {
            return Ok(feed);
        }
        let snapshot = Arc::clone(self.folded(&stored).await?.task());
        Ok(feed.with(Some((snapshot, last))))
    }

    /// Calls a task off: it is canceled at once, whatever its agent does. Returns the canceled task.
    ///
    /// # Errors
    /// As of [`get`](Self::get);
    /// [`FaultKind::TaskNotCancelable`](crate::fault::FaultKind::TaskNotCancelable) if it is finished.
    pub async fn cancel(&self, scope: &Scope, task: &Id) -> Result<Arc<Task>, Fault> {
        match self.find(scope, task).await? {
            Found::Finished(stored) => {
                let message = format!("the task is {} already; there is nothing to cancel", stored.row.state);
                Err(Fault::new(FaultKind::TaskNotCancelable, message))
            }
            Found::Live(task) => {
                let (answer, answered) = oneshot::channel();
                self.writer.submit(Work::Cancel { task, answer });
                answered.await.unwrap_or_else(|_| Err(Fault::internal("a cancel was not answered")))
            }
        }
    }

    /// Where agents run; also the place for work that outlives the connection that asked for it.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Makes the spans of turns, and of what leads to them.
    pub fn tracer(&self) -> &Tracer {
        self.writer.tracer()
    }

    /// What the engine holds and has done.
    pub fn counts(&self) -> Counts {
        self.counters.read(self.writer.queued())
    }

    /// How far subscribers were behind each time that they looked for events.
    pub fn lags(&self) -> Lags {
        self.counters.lags()
    }

    /// How many tasks there are in each state.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] if the store cannot be read.
    pub async fn tasks_by_state(&self) -> Result<BTreeMap<TaskState, u64>, Fault> {
        self.store.counts().await.map_err(store_fault)
    }

    /// Whether the store has room for more work.
    pub fn has_room(&self) -> bool {
        self.store.has_room()
    }

    /// Whether the store has failed. Nothing more can be written; the process should end.
    pub fn has_failed(&self) -> bool {
        self.writer.has_failed()
    }

    /// Resolves when the store has failed: see [`has_failed`](Self::has_failed). Not tied to the engine's life.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.writer.failure()
    }

    /// What the store promises, for the operator.
    pub fn describe_store(&self) -> String {
        self.store.describe()
    }

    /// Refuses new sends, gives running turns that long to end, cuts short those that have not, writes down what is
    /// queued, and closes the store.
    ///
    /// A turn that is cut short sees its cancellation, but nothing that its agent says from then on counts: the task
    /// stays as it is in the log, and [`recover`](Self::recover) sees to it at the next start. What waits for space on
    /// a full disk is not waited for: nobody was told of it.
    pub async fn stop(&self, grace: Duration) {
        self.stopping.store(true, Ordering::Release);
        let ended = async {
            while self.counts().turns > 0 {
                tokio::time::sleep(STOP_POLL).await;
            }
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            for task in self.registry.all() {
                self.writer.submit(Work::CutShort { task });
            }
        }
        if let Some(retiring) = self.take_retiring() {
            retiring.abort();
            // It may be in the middle of a read, and nothing may read what is closed.
            let _ = retiring.await;
        }
        self.writer.close();
        let written = async || {
            while !self.writer.has_ended() {
                tokio::time::sleep(STOP_POLL).await;
            }
        };
        while tokio::time::timeout(FULL_GRACE, written()).await.is_err() {
            if !self.store.has_room() {
                break;
            }
        }
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the store was not closed in good order; what was answered is safe");
        }
        // What still waited has failed now.
        written().await;
    }

    fn take_retiring(&self) -> Option<JoinHandle<()>> {
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn hosted(&self, name: &str) -> Result<&HostedAgent, Fault> {
        self.agents.get(name).ok_or_else(|| Fault::invalid("tenant", "no agent has this name"))
    }

    /// Finds a task of this scope, in use or in the store. One that is not finished is in use afterwards.
    async fn find(&self, scope: &Scope, id: &Id) -> Result<Found, Fault> {
        let is_ours = |agent: &Id, owner: &Id| *agent == scope.agent && *owner == scope.owner.key;
        if id.len() > self.limits.name_bytes {
            return Err(Fault::task_not_found());
        }
        let in_use = || {
            let live = self.registry.find(id)?;
            let is_ours = is_ours(&live.agent, &live.owner) && live.lock().visible().is_some();
            Some(if is_ours { Ok(Found::Live(live)) } else { Err(Fault::task_not_found()) })
        };
        if let Some(found) = in_use() {
            return found;
        }
        let stored = self.load(id).await?;
        if !is_ours(&stored.row.agent, &stored.row.owner) {
            return Err(Fault::task_not_found());
        }
        // A use that has begun in the meantime may have got to the store and not yet to everybody else.
        if let Some(found) = in_use() {
            return found;
        }
        if stored.row.state.is_terminal() {
            return Ok(Found::Finished(stored));
        }
        let live = self.registry.enter(id).load(|| async {
            // Read again: what was read above may be of before a use that has ended since.
            let stored = self.load(id).await?;
            Ok(Core::loaded(&stored.row, self.folded(&stored).await?))
        });
        Ok(Found::Live(live.await?))
    }

    /// The task as it is now, whoever's it is; none if there is none any more.
    async fn present(&self, id: &Id) -> Result<Option<Arc<Task>>, Fault> {
        if let Some(live) = self.registry.find(id) {
            return Ok(live.lock().visible().cloned());
        }
        let Some(stored) = self.store.load(id).await.map_err(store_fault)? else { return Ok(None) };
        match self.folded(&stored).await {
            Ok(fold) => Ok(Some(Arc::clone(fold.task()))),
            Err(fault) if fault.kind() == FaultKind::TaskNotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn load(&self, id: &Id) -> Result<Stored, Fault> {
        let stored = self.store.load(id).await.map_err(store_fault)?;
        stored.ok_or_else(Fault::task_not_found)
    }

    async fn folded(&self, stored: &Stored) -> Result<Fold, Fault> {
        load::folded(&*self.store, stored).await
    }
}

/// Agents must not keep a stopped process alive, and the runtime may not be waited for in an async context.
impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(retiring) = self.take_retiring() {
            retiring.abort();
        }
        self.writer.close();
        if let Some(runtime) = self.own_runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// How long a stopping engine waits for a full disk.
const FULL_GRACE: Duration = Duration::from_secs(1);

/// How often a stopping engine looks whether turns have ended.
const STOP_POLL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
