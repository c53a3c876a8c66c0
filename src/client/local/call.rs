//! A call that is on its way: what every method of the objects comes down to.

use std::pin::Pin;
use std::task::{Context, Poll};

use capnp::capability::RemotePromise;
use capnp::traits::{Owned, Pipelined};
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, Shared};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;

use crate::fault::{Fault, FaultKind, Result};
use crate::trace::Span;
use crate::wire::capnp::capability_capnp::{a2a_error, a2a_service, operations, session, task_handle};
use crate::wire::capnp::{decode_fault, from_exception};

/// The answer to a call. The call itself was sent when this was made: nothing needs to be awaited for it
/// to happen. Dropping this gives up the answer.
#[must_use = "the answer says whether the call succeeded"]
pub struct Pending<T>(LocalBoxFuture<'static, Result<T>>);

impl<T: 'static> Pending<T> {
    pub(super) fn new(answer: impl Future<Output = Result<T>> + 'static) -> Self {
        Self(answer.boxed_local())
    }

    /// The call was not made.
    pub(super) fn failed(fault: Fault) -> Self {
        Self::new(futures::future::ready(Err(fault)))
    }

    /// The same answer, of which only counts that it came.
    pub(super) fn emptied(self) -> Pending<()> {
        Pending::new(async move { self.await.map(drop) })
    }

    /// The same answer; the span ends with it.
    pub(super) fn traced(self, span: Span) -> Self {
        if !span.is_recording() {
            return self;
        }
        Self::new(async move {
            let answer = self.await;
            span.end(&answer);
            answer
        })
    }

    /// Reads the results of a call that has just been sent, unless they report an error.
    pub(super) fn answer<R, F>(call: RemotePromise<R>, read: F) -> Self
    where
        R: Owned + Pipelined + 'static,
        F: for<'a> FnOnce(R::Reader<'a>) -> Result<T> + 'static,
        R::Pipeline: 'static,
        for<'a> R::Reader<'a>: Reported,
    {
        let RemotePromise { promise, pipeline } = call;
        Self::new(async move {
            // Without the pipeline, objects that were taken from it never learn what they have become: the
            // question stays open, and the server keeps all its results, until the last of them is dropped.
            let _until_answered = pipeline;
            let response = promise.await.map_err(|error| from_exception(&error))?;
            let results = response.get().map_err(|error| unreadable(&error))?;
            if let Some(error) = results.reported() {
                return Err(decode_fault(error.map_err(|error| unreadable(&error))?));
            }
            read(results).map_err(of_the_server)
        })
    }

    /// Reads the results of a call that has no expected failures.
    pub(super) fn plain_answer<R, F>(call: RemotePromise<R>, read: F) -> Self
    where
        R: Owned + Pipelined + 'static,
        F: for<'a> FnOnce(R::Reader<'a>) -> Result<T> + 'static,
    {
        let promise = call.promise;
        Self::new(async move {
            let response = promise.await.map_err(|error| from_exception(&error))?;
            read(response.get().map_err(|error| unreadable(&error))?).map_err(of_the_server)
        })
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        self.0.as_mut().poll(cx)
    }
}

/// Whether a call that returned objects succeeded. The objects can be used before it is known; if the call
/// fails, every call on them fails with the same fault.
#[derive(Clone)]
pub struct Ready(Shared<LocalBoxFuture<'static, Result<()>>>);

impl Ready {
    pub(super) fn new(answer: Pending<()>, errands: &Errands) -> Self {
        let ready = answer.0.shared();
        // Read even if nobody asks: an unread answer would keep the objects in it alive.
        errands.run(ready.clone().map(drop));
        Self(ready)
    }

    /// Nothing was asked: the object was always there.
    pub(super) fn yes() -> Self {
        Self(futures::future::ready(Ok(())).boxed_local().shared())
    }
}

impl Future for Ready {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll_unpin(cx)
    }
}

/// What a connection does besides, without anybody waiting for it. Needs no runtime of its own.
#[derive(Clone, Debug)]
pub(super) struct Errands(mpsc::UnboundedSender<LocalBoxFuture<'static, ()>>);

impl Errands {
    /// The errands, and the future that does them. It ends when nobody can give it more.
    pub(super) fn new() -> (Self, impl Future<Output = ()> + 'static) {
        let (sender, mut errands) = mpsc::unbounded_channel();
        let work = async move {
            let mut running = FuturesUnordered::new();
            loop {
                tokio::select! {
                    errand = errands.recv() => match errand {
                        Some(errand) => running.push(errand),
                        None => break,
                    },
                    Some(()) = running.next() => {}
                }
            }
        };
        (Self(sender), work)
    }

    pub(super) fn run(&self, errand: impl Future<Output = ()> + 'static) {
        // Where the connection is over there is nothing left to do for it.
        let _ = self.0.send(errand.boxed_local());
    }
}

/// Results that have an `error`.
pub(super) trait Reported {
    /// The error; none when all is well.
    fn reported(&self) -> Option<capnp::Result<a2a_error::Reader<'_>>>;
}

macro_rules! reported {
    ($($interface:ident: $($results:ident),+;)+) => {$($(
        impl Reported for $interface::$results::Reader<'_> {
            fn reported(&self) -> Option<capnp::Result<a2a_error::Reader<'_>>> {
                self.has_error().then(|| self.get_error())
            }
        }
    )+)+};
}

reported! {
    a2a_service: get_agent_card_results, authenticate_results, claim_results;
    operations: send_message_results, send_streaming_message_results, get_task_results, list_tasks_results,
        cancel_task_results, subscribe_to_task_results, create_task_push_notification_config_results,
        get_task_push_notification_config_results, list_task_push_notification_configs_results,
        delete_task_push_notification_config_results, get_extended_agent_card_results;
    session: task_results, who_am_i_results, renew_results, attenuate_results;
    task_handle: get_results, send_results, send_streaming_results, cancel_results, subscribe_results,
        attenuate_results, share_results, delete_results;
}

/// The answer cannot be read.
pub(super) fn unreadable(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultKind::InvalidAgentResponse, format!("the server's answer cannot be read: {error}"))
}

/// What is wrong with an answer is not the caller's fault.
pub(super) fn of_the_server(fault: Fault) -> Fault {
    if fault.kind() != FaultKind::InvalidParams {
        return fault;
    }
    Fault::new(
        FaultKind::InvalidAgentResponse,
        format!("the server's answer is not A2A: {}", fault.message()),
    )
}
