//! A few threads that read from the disk, so that no connection and no agent waits for it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::store::StoreError;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when this is dropped.
pub(super) struct Readers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Readers {
    pub(super) fn start() -> io::Result<Self> {
        let readers = Self(Arc::default());
        for _ in 0..THREADS {
            let shared = Arc::clone(&readers.0);
            thread::Builder::new().name("a2a-read".to_owned()).spawn(move || shared.run())?;
        }
        Ok(readers)
    }

    /// Runs a job on one of the threads. If the future is dropped before its turn, so is the job.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.0.queue().jobs.push_back(Box::new(move || {
            if !answer.is_closed() {
                let _ = answer.send(job());
            }
        }));
        self.0.arrived.notify_one();
        answered.await.unwrap_or_else(|_| Err(StoreError::failed("a read has a defect")))
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut queue = self.queue();
            while queue.jobs.is_empty() && !queue.closed {
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(job) = queue.jobs.pop_front() else { return };
            drop(queue);
            // Whoever asked learns of a panic, since the sender is dropped; the thread goes on.
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            if ran.is_err() {
                tracing::error!("a read from the store panicked");
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.arrived.notify_all();
    }
}

/// Enough that one slow read does not hold up the others.
const THREADS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_is_done_elsewhere_and_a_panic_hurts_nobody_else() {
        let readers = Readers::start().unwrap();
        let broken = readers.run(|| -> Result<(), _> { panic!("a defect, as the test wants it") });
        assert!(broken.await.is_err());
        let here = thread::current().id();
        let there = readers.run(|| Ok(thread::current().id())).await.unwrap();
        assert_ne!(here, there);
    }
}
