//! Handles on objects that live on another thread, where they must stay.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use crate::fault::{Fault, FaultKind, Result};
use crate::trace::Scope;

/// A `Send` handle on a worker-local object. The object is dropped, on its own thread, when the last handle
/// is gone and nothing runs on it any more.
pub(super) struct Remote<T> {
    jobs: mpsc::UnboundedSender<Job<T>>,
}

type Job<T> = Box<dyn FnOnce(Rc<T>) -> LocalBoxFuture<'static, ()> + Send>;

impl<T: 'static> Remote<T> {
    /// Gives the object a home on this thread, which must be inside a `LocalSet`.
    pub(super) fn house(object: Rc<T>) -> Self {
        let (jobs, mut inbox) = mpsc::unbounded_channel::<Job<T>>();
        spawn_local(async move {
            while let Some(job) = inbox.recv().await {
                spawn_local(job(object.clone()));
            }
        });
        Self { jobs }
    }

    /// Runs a job on the object's thread. It begins whether or not the answer is awaited; dropping the answer
    /// cancels it.
    pub(super) fn ask<R, F, J>(&self, job: F) -> Answer<R>
    where
        R: Send + 'static,
        F: FnOnce(Rc<T>) -> J + Send + 'static,
        J: Future<Output = Result<R>> + 'static,
    {
        let (mut reply, answer) = oneshot::channel();
        let scope = Scope::current();
        let job: Job<T> = Box::new(move |object| {
            async move {
                let result = tokio::select! {
                    result = scope.around(job(object)) => result,
                    () = reply.closed() => return,
                };
                // The caller may have gone meanwhile.
                let _ = reply.send(result);
            }
            .boxed_local()
        });
        // If the thread is gone, so is the job with its reply: the answer says so.
        let _ = self.jobs.send(job);
        Answer(answer)
    }

    /// Runs a job on the object's thread that nobody waits for.
    pub(super) fn start<F, J>(&self, job: F)
    where
        F: FnOnce(Rc<T>) -> J + Send + 'static,
        J: Future<Output = ()> + 'static,
    {
        let scope = Scope::current();
        let job: Job<T> = Box::new(move |object| scope.around(job(object)).boxed_local());
        let _ = self.jobs.send(job);
    }
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

/// What a job will have answered.
#[must_use = "dropping the answer cancels the job"]
pub(super) struct Answer<R>(oneshot::Receiver<Result<R>>);

impl<R> Future for Answer<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R>> {
        self.0.poll_unpin(cx).map(|answer| answer.unwrap_or_else(|_| Err(gone())))
    }
}

pub(super) fn gone() -> Fault {
    Fault::new(FaultKind::Internal, "the client's thread is gone; make a new client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_is_dropped_with_its_last_handle_and_not_before_its_jobs_end() {
        struct Object {
            _alive: oneshot::Sender<()>,
        }
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (alive, mut dropped) = oneshot::channel();
                let remote = Remote::house(Rc::new(Object { _alive: alive }));
                let (go, wait) = oneshot::channel::<()>();
                let answer = remote.ask(|object| async move {
                    let waited = wait.await.map_err(|_| gone());
                    drop(object);
                    waited
                });
                drop(remote);
                tokio::task::yield_now().await;
                assert!(dropped.try_recv().unwrap_err() == oneshot::error::TryRecvError::Empty, "a job runs");
                go.send(()).unwrap();
                answer.await.unwrap();
                assert!(dropped.await.is_err(), "its sender is dropped");
            })
            .await;
    }

    #[tokio::test]
    async fn dropping_the_answer_cancels_the_job() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let remote = Remote::house(Rc::new(()));
                let (alive, cancelled) = oneshot::channel::<()>();
                let answer = remote.ask(|_| async move {
                    let _alive = alive;
                    std::future::pending::<Result<()>>().await
                });
                tokio::task::yield_now().await;
                drop(answer);
                assert!(cancelled.await.is_err(), "its sender is dropped");
            })
            .await;
    }
}
