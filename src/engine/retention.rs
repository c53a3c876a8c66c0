//! What goes: finished tasks that retention does not keep, and those that their owner deletes.
//!
//! The store finds what has expired, and the writer commits it, so that everything that happens to a task
//! is in one order. Whoever still reads a task that goes is told so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::time::MissedTickBehavior;

use super::feed::store_fault;
use super::load;
use super::writer::{Work, Writer};
use super::{Engine, Found, Scope};
use crate::clock::Clock;
use crate::fault::{Fault, FaultKind};
use crate::limits::EngineLimits;
use crate::model::Id;
use crate::store::{Checkpoint, Cut, Store};

/// What retention has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Tasks that are gone.
    pub deleted: u64,
    /// Tasks whose events are gone, but for the last one.
    pub cut: u64,
}

impl Engine {
    /// Takes what retention does not keep, now. It is done by itself every
    /// [`retention_interval`](EngineLimits::retention_interval).
    ///
    /// # Errors
    /// [`FaultKind::Internal`] if the store fails, [`FaultKind::Overloaded`] if the engine is stopping.
    pub async fn retire_now(&self) -> Result<Retired, Fault> {
        self.retirer.retire().await
    }

    /// Deletes a finished task with everything that belongs to it. Returns when that is as durable as the store
    /// makes it. Afterwards there is no such task; who reads it is told so, and a repeat of the send that opened
    /// it opens another.
    ///
    /// # Errors
    /// As of [`get`](Self::get); [`FaultKind::UnsupportedOperation`] if the task is not finished.
    pub async fn delete(&self, scope: &Scope, task: &Id) -> Result<(), Fault> {
        let live = match self.find(scope, task).await? {
            Found::Live(live) => Some(live),
            Found::Finished(_) => None,
        };
        let (answer, answered) = oneshot::channel();
        self.writer.submit(Work::Delete { id: task.clone(), task: live, answer });
        answered.await.unwrap_or_else(|_| Err(Fault::internal("a deletion was not answered")))
    }
}

/// Takes what has expired.
pub(super) struct Retirer {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) limits: EngineLimits,
    pub(super) writer: Arc<Writer>,
    /// Held while something is taken, so that nothing is taken twice.
    pub(super) taking: Mutex<()>,
}

impl Retirer {
    /// Takes what has expired again and again, until the store fails.
    pub(super) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.limits.retention_interval.max(SHORTEST_INTERVAL));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.writer.has_failed() {
            ticks.tick().await;
            match self.retire().await {
                Ok(Retired { deleted: 0, cut: 0 }) => {}
                Ok(Retired { deleted, cut }) => tracing::info!(deleted, cut, "retention took finished tasks"),
                Err(fault) => tracing::warn!(%fault, "retention was given up until the next time"),
            }
        }
    }

    /// Takes what has expired until nothing is left.
    async fn retire(&self) -> Result<Retired, Fault> {
        let mut retired = Retired::default();
        if self.limits.retention.is_unlimited() {
            return Ok(retired);
        }
        let _taking = self.taking.lock().await;
        loop {
            let expired = self.store.expired(&self.limits.retention, self.clock.now(), PAGE).await;
            let expired = expired.map_err(store_fault)?;
            let before = retired;
            if !expired.deletions.is_empty() {
                retired.deleted += expired.deletions.len() as u64;
                self.commit(expired.deletions, Vec::new()).await?;
            }
            retired.cut += self.cut(&expired.cuts).await?;
            if retired == before {
                return Ok(retired);
            }
        }
    }

    /// Cuts these tasks, a few at a time, since a cut carries the whole task.
    async fn cut(&self, tasks: &[Id]) -> Result<u64, Fault> {
        let (mut cuts, mut bytes, mut count) = (Vec::new(), 0, 0);
        for id in tasks {
            let Some(cut) = self.whole(id).await? else { continue };
            bytes += cut.checkpoint.task.approximate_size();
            cuts.push(cut);
            count += 1;
            if bytes >= self.limits.group_bytes {
                self.commit(Vec::new(), std::mem::take(&mut cuts)).await?;
                bytes = 0;
            }
        }
        if !cuts.is_empty() {
            self.commit(Vec::new(), cuts).await?;
        }
        Ok(count)
    }

    /// The cut that leaves a finished task as it is, with its last event; none if it has gone.
    async fn whole(&self, id: &Id) -> Result<Option<Cut>, Fault> {
        let Some(stored) = self.store.load(id).await.map_err(store_fault)? else { return Ok(None) };
        let last = stored.row.last_seq;
        match load::folded(&*self.store, &stored).await {
            Ok(fold) => {
                let checkpoint = Checkpoint { seq: last, task: Arc::clone(fold.task()) };
                Ok(Some(Cut { checkpoint, oldest: last }))
            }
            Err(fault) if fault.kind() == FaultKind::TaskNotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn commit(&self, deletions: Vec<Id>, cuts: Vec<Cut>) -> Result<(), Fault> {
        let (answer, answered) = oneshot::channel();
        self.writer.submit(Work::Retire { deletions, cuts, answer });
        answered.await.unwrap_or_else(|_| Err(Fault::internal("a deletion was not answered")))
    }
}

/// Tasks that are taken together.
const PAGE: usize = 256;
/// A shorter one would be a busy loop.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
