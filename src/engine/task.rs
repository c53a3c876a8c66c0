//! Tasks in use. A task is in the [`Registry`] as long as somebody works with it: a turn, a feed, something
//! on its way to the log. All others are in the store only, so memory follows use, not the number of tasks.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

use super::counters::Counters;
use super::fold::Fold;
use super::machine::Machine;
use super::wakers::Wakers;
use crate::fault::Fault;
use crate::limits::EngineLimits;
use crate::model::{Event, Id, Message, Task, TaskState, Timestamp};
use crate::store::{ReadLimit, TaskRow};

/// Locks for the map; more than cores, so that they seldom meet.
const SHARDS: usize = 16;

/// The tasks in use.
#[derive(Debug)]
pub(super) struct Registry {
    shards: [Mutex<HashMap<Id, Arc<Place>>>; SHARDS],
    hasher: RandomState,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Place {
    id: Id,
    /// Goes from zero to one only under the shard's lock.
    users: AtomicUsize,
    core: OnceCell<Arc<Core>>,
}

/// One use of a task that may not be loaded yet.
#[derive(Debug)]
pub(super) struct Entry {
    place: Arc<Place>,
    registry: Arc<Registry>,
}

/// One use of a task.
#[derive(Clone, Debug)]
pub(super) struct Live {
    core: Arc<Core>,
    _entry: Entry,
}

/// A task in use.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) id: Id,
    pub(super) context: Id,
    pub(super) agent: Id,
    pub(super) owner: Id,
    pub(super) created: Timestamp,
    log: Mutex<Log>,
}

/// What changes of a task in use.
#[derive(Debug)]
pub(super) struct Log {
    /// With what is on its way to the store; the writer's own view.
    pub(super) machine: Machine,
    /// The turn whose updates count; the writer's own view.
    pub(super) turn: Option<CurrentTurn>,
    pub(super) wakers: Wakers,
    /// The number of the last event that is visible.
    committed: u64,
    /// The number of the last visible event that settled the task: terminal or interrupted.
    settled: u64,
    fold: Option<Fold>,
    /// Retention or the owner has taken the task; there is nothing to see any more.
    gone: bool,
    recent: VecDeque<(Arc<Event>, usize)>,
    recent_bytes: usize,
}

/// The running turn, as far as the log knows it.
#[derive(Debug)]
pub(super) struct CurrentTurn {
    pub(super) number: u64,
    pub(super) cancellation: CancellationToken,
    pub(super) inbox: Option<mpsc::Sender<Arc<Message>>>,
}

impl Registry {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { shards: Default::default(), hasher: RandomState::new(), counters }
    }

    /// Uses a task that is in use already.
    pub(super) fn find(self: &Arc<Self>, id: &Id) -> Option<Live> {
        let shard = self.shard(id);
        let place = shard.get(id)?;
        let core = Arc::clone(place.core.get()?);
        place.users.fetch_add(1, Ordering::AcqRel);
        Some(Live { core, _entry: Entry { place: Arc::clone(place), registry: Arc::clone(self) } })
    }

    /// Begins to use a task; [`Entry::load`] makes it a [`Live`].
    pub(super) fn enter(self: &Arc<Self>, id: &Id) -> Entry {
        let mut shard = self.shard(id);
        let place = shard.entry(id.clone()).or_insert_with(|| {
            self.counters.live_tasks.fetch_add(1, Ordering::AcqRel);
            Arc::new(Place { id: id.clone(), users: AtomicUsize::new(0), core: OnceCell::new() })
        });
        place.users.fetch_add(1, Ordering::AcqRel);
        Entry { place: Arc::clone(place), registry: Arc::clone(self) }
    }

    /// Uses a new task, whose id is fresh.
    pub(super) fn open(self: &Arc<Self>, core: Core) -> Live {
        let core = Arc::new(core);
        let place = Arc::new(Place {
            id: core.id.clone(),
            users: AtomicUsize::new(1),
            core: OnceCell::new_with(Some(Arc::clone(&core))),
        });
        self.shard(&core.id).insert(core.id.clone(), Arc::clone(&place));
        self.counters.live_tasks.fetch_add(1, Ordering::AcqRel);
        Live { core, _entry: Entry { place, registry: Arc::clone(self) } }
    }

    /// Every task in use.
    pub(super) fn all(&self) -> Vec<Arc<Core>> {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        shards
            .flat_map(|shard| {
                shard.values().filter_map(|place| place.core.get().cloned()).collect::<Vec<_>>()
            })
            .collect()
    }

    fn shard(&self, id: &Id) -> MutexGuard<'_, HashMap<Id, Arc<Place>>> {
        let at = self.hasher.hash_one(id) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last user has gone, unless another has come in the meantime.
    fn release(&self, place: &Arc<Place>) {
        let mut shard = self.shard(&place.id);
        let is_ours = shard.get(&place.id).is_some_and(|present| Arc::ptr_eq(present, place));
        if is_ours && place.users.load(Ordering::Acquire) == 0 {
            shard.remove(&place.id);
            self.counters.live_tasks.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Entry {
    /// Loads the task, unless somebody else does or has.
    pub(super) async fn load<F>(self, load: impl FnOnce() -> F) -> Result<Live, Fault>
    where
        F: Future<Output = Result<Core, Fault>>,
    {
        let core = self.place.core.get_or_try_init(|| async { load().await.map(Arc::new) }).await?;
        Ok(Live { core: Arc::clone(core), _entry: self })
    }
}

impl Clone for Entry {
    fn clone(&self) -> Self {
        self.place.users.fetch_add(1, Ordering::AcqRel);
        Self { place: Arc::clone(&self.place), registry: Arc::clone(&self.registry) }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.place.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.registry.release(&self.place);
        }
    }
}

impl Deref for Live {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Core {
    /// A task that is about to be opened; nobody sees it before its first event is committed.
    pub(super) fn new(row: &TaskRow) -> Self {
        let machine = Machine {
            state: row.state,
            since: row.status_timestamp,
            last_seq: row.last_seq,
            generation: row.generation,
        };
        Self {
            id: row.id.clone(),
            context: row.context.clone(),
            agent: row.agent.clone(),
            owner: row.owner.clone(),
            created: row.created,
            log: Mutex::new(Log {
                machine,
                turn: None,
                wakers: Wakers::default(),
                committed: 0,
                settled: 0,
                fold: None,
                gone: false,
                recent: VecDeque::new(),
                recent_bytes: 0,
            }),
        }
    }

    /// A task from the store, folded up to its last event.
    pub(super) fn loaded(row: &TaskRow, fold: Fold) -> Self {
        let mut core = Self::new(row);
        let log = core.log.get_mut().unwrap_or_else(PoisonError::into_inner);
        log.committed = row.last_seq;
        log.settled = if is_settled(&row.state) { row.last_seq } else { 0 };
        log.fold = Some(fold);
        core
    }

    /// The row after what `machine` says.
    pub(super) fn row(&self, machine: &Machine) -> TaskRow {
        TaskRow {
            id: self.id.clone(),
            context: self.context.clone(),
            agent: self.agent.clone(),
            owner: self.owner.clone(),
            state: machine.state,
            status_timestamp: machine.since,
            last_seq: machine.last_seq,
            generation: machine.generation,
            created: self.created,
        }
    }

    /// No panic can leave a log half changed: what changes it allocates at most.
    pub(super) fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// The task as everybody may see it; none before it is opened and after it has gone.
    pub(super) fn visible(&self) -> Option<&Arc<Task>> {
        self.fold.as_ref().map(Fold::task)
    }

    /// Whether a turn runs, or an event of it is not visible yet.
    pub(super) fn is_worked_on(&self) -> bool {
        self.turn.is_some() || self.machine.last_seq > self.committed
    }

    /// The number of the last visible event.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether the task was taken away.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether what is visible is finished for good.
    pub(super) fn is_finished(&self) -> bool {
        self.visible().is_some_and(|task| task.is_finished())
    }

    /// Whether the task has settled after that number, and if so, as what it stands now.
    pub(super) fn settled_after(&self, after: u64) -> Option<&Arc<Task>> {
        self.visible().filter(|_| self.settled > after)
    }

    /// Copies visible events after a number while they are recent enough; at least one if there is one.
    pub(super) fn recent_after(&self, after: u64, most: ReadLimit, into: &mut VecDeque<Arc<Event>>) -> bool {
        let Some((first, _)) = self.recent.front() else { return false };
        let Some(skip) = (after + 1).checked_sub(first.seq) else { return false };
        let from = usize::try_from(skip).unwrap_or(usize::MAX).min(self.recent.len());
        let mut bytes = 0;
        for (event, size) in self.recent.range(from..).take(most.events) {
            if bytes >= most.bytes {
                break;
            }
            bytes += size;
            into.push_back(Arc::clone(event));
        }
        true
    }

    /// Makes committed events visible, and collects whom to wake. Returns whether they settled the task.
    pub(super) fn publish(
        &mut self,
        events: &[Arc<Event>],
        limits: &EngineLimits,
        woken: &mut Vec<Waker>,
    ) -> bool {
        let mut settled = false;
        for event in events {
            match &mut self.fold {
                Some(fold) => fold.apply(event),
                none => *none = Fold::open(event),
            }
            self.committed = event.seq;
            if event.state().as_ref().is_some_and(is_settled) {
                self.settled = event.seq;
                settled = true;
            }
            self.keep(event, limits);
        }
        self.wakers.take(settled, woken);
        settled
    }

    /// Takes the task away from everybody, and collects whom to wake.
    pub(super) fn remove(&mut self, woken: &mut Vec<Waker>) {
        self.gone = true;
        self.fold = None;
        self.recent = VecDeque::new();
        self.recent_bytes = 0;
        self.wakers.take(true, woken);
    }

    fn keep(&mut self, event: &Arc<Event>, limits: &EngineLimits) {
        let size = event.approximate_size();
        self.recent.push_back((Arc::clone(event), size));
        self.recent_bytes += size;
        while self.recent.len() > 1
            && (self.recent.len() > limits.recent_events || self.recent_bytes > limits.group_bytes)
        {
            let Some((_, size)) = self.recent.pop_front() else { break };
            self.recent_bytes -= size;
        }
    }
}

/// Whether a send's own stream and a blocking send end at this state.
pub(super) fn is_settled(state: &TaskState) -> bool {
    state.is_terminal() || state.is_interrupted()
}
