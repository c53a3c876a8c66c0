//! The turns that a program works on, and whether there is a program to give one to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::protocol::{self, Malformed, Said, What};
use crate::agents::process::stderr::Pace;
use crate::agents::process::text::excerpt;
use crate::limits::ProcessLimits;
use crate::model::Id;

/// What the turns of an agent and the supervisor of its program share.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) name: Arc<str>,
    pub(super) limits: ProcessLimits,
    pub(super) state: watch::Sender<State>,
    pub(super) stop: CancellationToken,
    /// Something is there for the supervisor to see to.
    pub(super) changed: Notify,
    table: Mutex<Table>,
    /// Bytes of lines that were read and are not with the engine yet.
    unheard: Arc<Semaphore>,
    /// Bytes of lines that are not written yet.
    untold: Arc<Semaphore>,
}

/// Whether there is a program.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// It takes turns.
    Up(Process),
    /// It has ended, and is being started again, which has failed so many times in a row.
    Down { reason: Arc<str>, refused: u32 },
    /// There will be none any more.
    Stopped,
}

/// A program that takes turns.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// Which one after the other it is.
    pub(super) generation: u64,
    pub(super) lines: mpsc::UnboundedSender<Told>,
}

/// A line for a program.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) line: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// What a turn hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// A line, with the room that it takes until it is dropped.
    Said(Box<What>, OwnedSemaphorePermit),
    /// The program's fault.
    Failed(String),
    /// The program has ended.
    Died(Arc<str>),
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<Id, Running>,
    /// Turns that the program was told to end.
    canceled: HashMap<Id, Canceled>,
    /// The latest that are over: a program may still say something about them, and that is no fault.
    over: VecDeque<Id>,
    /// Turns that the program goes on with though it was told to end them.
    ignored: usize,
    /// Turns that this program has ended itself.
    ended: u64,
    next: u64,
}

#[derive(Debug)]
struct Running {
    number: u64,
    bytes: usize,
    heard: mpsc::UnboundedSender<Heard>,
}

#[derive(Debug)]
struct Canceled {
    until: Instant,
    _ended: oneshot::Sender<()>,
}

/// A turn that a program was given, or is about to be. Dropped before the program has ended it, it is canceled.
#[derive(Debug)]
pub(super) struct Given {
    turns: Arc<Turns>,
    task: Id,
    number: u64,
    process: Process,
    is_told: bool,
    pub(super) heard: mpsc::UnboundedReceiver<Heard>,
}

impl Turns {
    pub(super) fn new(name: Arc<str>, limits: ProcessLimits) -> Self {
        let room = || Arc::new(Semaphore::new(room_in_all(&limits)));
        let state = State::Down { reason: Arc::from("it was not started yet"), refused: 0 };
        Self {
            name,
            state: watch::Sender::new(state),
            stop: CancellationToken::new(),
            changed: Notify::new(),
            table: Mutex::default(),
            unheard: room(),
            untold: room(),
            limits,
        }
    }

    /// Waits for a program that takes turns.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn ready(&self) -> Result<Process, String> {
        let mut state = self.state.subscribe();
        let waiting = async {
            loop {
                match &*state.borrow_and_update() {
                    State::Up(process) => return Ok(process.clone()),
                    State::Stopped => return Err("the agent has stopped".to_owned()),
                    State::Down { reason, refused: 2.. } => {
                        return Err(format!("the agent's program does not come up: {reason}"));
                    }
                    State::Down { .. } => {}
                }
                if state.changed().await.is_err() {
                    return Err("the agent has stopped".to_owned());
                }
            }
        };
        let late = || format!("the agent's program did not come up within {:?}", self.limits.start_timeout);
        tokio::time::timeout(self.limits.start_timeout, waiting).await.unwrap_or_else(|_| Err(late()))
    }

    /// A turn for this program; none if it has ended in the meantime.
    pub(super) fn begin(self: &Arc<Self>, task: &Id, process: Process) -> Option<Given> {
        let (sender, heard) = mpsc::unbounded_channel();
        let mut table = self.lock();
        // Under the lock: whoever says that the program has ended looks for its turns afterwards.
        let is_up = matches!(&*self.state.borrow(), State::Up(up) if up.generation == process.generation);
        if !is_up {
            return None;
        }
        table.next += 1;
        let number = table.next;
        table.canceled.remove(task);
        table.running.insert(Arc::clone(task), Running { number, bytes: 0, heard: sender });
        drop(table);
        Some(Given {
            turns: Arc::clone(self),
            task: Arc::clone(task),
            number,
            process,
            is_told: false,
            heard,
        })
    }

    /// Takes a line of the program. Waits while too much is on its way: then the program is not read from.
    pub(super) async fn hear(&self, line: &[u8], pace: &mut Pace) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let cost = self.cost(line.len());
        let Ok(room) = Arc::clone(&self.unheard).acquire_many_owned(cost).await else { return };
        match protocol::said(line) {
            Ok(said) => self.deliver(said, line.len(), room, pace),
            Err(malformed) => self.malformed(malformed, line, pace),
        }
    }

    /// A line was longer than it may be. False if nobody knows which turn it is about.
    pub(super) fn too_long(&self, beginning: &[u8], pace: &mut Pace) -> bool {
        let most = self.limits.line_bytes;
        let why = format!("a line of more than {most} bytes, which is the most");
        let task = protocol::task_in(beginning);
        let is_known = task.as_ref().is_some_and(|task| self.knows(task));
        self.malformed(Malformed { task, why }, beginning, pace);
        is_known
    }

    fn deliver(&self, said: Said, bytes: usize, room: OwnedSemaphorePermit, pace: &mut Pace) {
        let Said { task, what } = said;
        let ends = matches!(what, What::End { .. } | What::Update { ends: true, .. });
        let mut table = self.lock();
        if let Some(turn) = table.running.get_mut(&task) {
            turn.bytes += bytes;
            let most = self.limits.output_bytes;
            let heard = match turn.bytes > most {
                true => Heard::Failed(format!("it wrote more than {most} bytes, the most in one turn")),
                false => Heard::Said(Box::new(what), room),
            };
            // Nobody may listen any more; then it is being canceled.
            let _ = turn.heard.send(heard);
            if ends {
                table.running.remove(&task);
                table.ended += 1;
                table.finish(task);
            }
        } else if table.canceled.contains_key(&task) {
            if ends {
                table.canceled.remove(&task);
                table.ended += 1;
                table.finish(task);
            }
        } else if !table.over.contains(&task) {
            drop(table);
            if let Some(left_out) = pace.step() {
                let task = excerpt(task.as_bytes());
                tracing::warn!(
                    agent = &*self.name,
                    task,
                    left_out,
                    "the agent speaks of a task that it was not given"
                );
            }
            return;
        }
        self.look(&table);
    }

    fn malformed(&self, Malformed { task, why }: Malformed, line: &[u8], pace: &mut Pace) {
        let why = excerpt(why.as_bytes());
        if let Some(left_out) = pace.step() {
            tracing::warn!(
                agent = &*self.name,
                why,
                line = excerpt(line),
                left_out,
                "the agent wrote a line that is none of the protocol"
            );
        }
        let table = self.lock();
        if let Some(turn) = task.and_then(|task| table.running.get(&task)) {
            let _ = turn
                .heard
                .send(Heard::Failed(format!("it wrote a line that is none of the protocol: {why}")));
        }
    }

    fn knows(&self, task: &Id) -> bool {
        let table = self.lock();
        table.running.contains_key(task) || table.canceled.contains_key(task)
    }

    /// Gives up waiting for turns that should have ended by now. A program that goes on with some is of no use any
    /// more if nobody else needs it, or if there are too many of them: the reason, and it takes no more turns.
    pub(super) fn sweep(&self, now: Instant) -> Option<String> {
        let mut table = self.lock();
        let late: Vec<_> = table
            .canceled
            .iter()
            .filter(|(_, one)| one.until <= now)
            .map(|(task, _)| Arc::clone(task))
            .collect();
        for task in late {
            tracing::warn!(
                agent = &*self.name,
                task = &*task,
                "the agent was told to end a task, and goes on with it"
            );
            table.canceled.remove(&task);
            table.ignored += 1;
            table.finish(task);
        }
        let is_needed = !table.running.is_empty() && table.ignored <= self.limits.ignored_cancels;
        if table.ignored == 0 || is_needed {
            return None;
        }
        let reason = format!("it was ended since it went on with {} canceled tasks", table.ignored);
        self.state.send_replace(State::Down { reason: Arc::from(&*reason), refused: 0 });
        Some(reason)
    }

    /// When [`sweep`](Self::sweep) has something to do.
    pub(super) fn next_sweep(&self) -> Option<Instant> {
        self.lock().canceled.values().map(|one| one.until).min()
    }

    /// How many turns the program has ended itself, since this was asked last.
    pub(super) fn take_ended(&self) -> u64 {
        std::mem::take(&mut self.lock().ended)
    }

    /// There is no program now: those that it worked on are told.
    pub(super) fn died(&self, reason: &str, refused: u32) {
        let reason: Arc<str> = Arc::from(reason);
        self.state.send_replace(State::Down { reason: Arc::clone(&reason), refused });
        let mut table = self.lock();
        let running: Vec<_> = table.running.drain().collect();
        for (task, turn) in running {
            let _ = turn.heard.send(Heard::Died(Arc::clone(&reason)));
            table.finish(task);
        }
        let canceled: Vec<_> = table.canceled.drain().map(|(task, _)| task).collect();
        for task in canceled {
            table.finish(task);
        }
        table.ignored = 0;
    }

    /// What a line costs of the room for all: never more than there is, so that a long one waits for all others.
    fn cost(&self, bytes: usize) -> u32 {
        let cost = bytes.clamp(LEAST_COST, room_in_all(&self.limits));
        u32::try_from(cost).expect("the room in all is less than 2^32")
    }

    fn look(&self, table: &Table) {
        if table.ignored > 0 && table.running.is_empty() {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn finish(&mut self, task: Id) {
        if self.over.len() >= REMEMBERED {
            self.over.pop_front();
        }
        self.over.push_back(task);
    }
}

impl Given {
    /// Waits for room for a line of about so many bytes, and writes it.
    pub(super) async fn tell(&mut self, about_bytes: usize, line: impl FnOnce() -> Bytes) {
        let cost = self.turns.cost(about_bytes);
        let room = Arc::clone(&self.turns.untold).acquire_many_owned(cost).await.ok();
        // Where the program has ended meanwhile, the turn hears of it.
        let _ = self.process.lines.send(Told { line: line(), _room: room });
        self.is_told = true;
    }

    /// Tells the program to end the turn, and waits until it has, as long as it may.
    pub(super) async fn cancel(mut self) {
        if let Some(ended) = self.call_off() {
            let _ = tokio::time::timeout(self.turns.limits.grace + MOMENT, ended).await;
        }
    }

    /// None if there is nothing to call off.
    fn call_off(&mut self) -> Option<oneshot::Receiver<()>> {
        let mut table = self.turns.lock();
        if table.running.get(&self.task).is_none_or(|turn| turn.number != self.number) {
            return None;
        }
        table.running.remove(&self.task);
        if !self.is_told {
            self.turns.look(&table);
            return None;
        }
        let (sender, ended) = oneshot::channel();
        let until = Instant::now() + self.turns.limits.grace;
        table.canceled.insert(Arc::clone(&self.task), Canceled { until, _ended: sender });
        drop(table);
        let _ = self.process.lines.send(Told { line: protocol::cancel(&self.task), _room: None });
        self.turns.changed.notify_one();
        Some(ended)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.call_off();
    }
}

fn room_in_all(limits: &ProcessLimits) -> usize {
    limits.waiting_bytes.clamp(LEAST_COST, MOST_ROOM)
}

/// What the shortest line costs.
const LEAST_COST: usize = 512;
/// The most that can be configured.
const MOST_ROOM: usize = 1 << 30;
/// Tasks that are remembered when they are over.
const REMEMBERED: usize = 1_024;
/// So that whoever waits for a turn's end sees it given up.
const MOMENT: Duration = Duration::from_millis(100);
