//! Your own object, called across reconnects.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt as _;

use super::event::TaskEvent;
use super::observer::{Observer, dispatch};
use super::remote::Answer;
use super::stream::TaskStream;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{EndReason, StreamEnd};

/// A stream into your own object. Await it for the end; dropping it ends the calls.
#[must_use = "dropping this ends the calls"]
pub struct Observing(Answer<StreamEnd>);

impl Observing {
    pub(super) fn new(answer: Answer<StreamEnd>) -> Self {
        Self(answer)
    }
}

/// How the stream ended, or what the observer failed with.
impl Future for Observing {
    type Output = Result<StreamEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx)
    }
}

/// Reads the stream into the observer, and tells it the end.
pub(super) async fn observe(mut stream: TaskStream, mut observer: impl Observer) -> Result<StreamEnd> {
    let mut interrupted = false;
    let fault = loop {
        match stream.next().await {
            Some(Ok(event)) => {
                interrupted = waits(&event);
                dispatch(&mut observer, event).await?;
            }
            Some(Err(fault)) => break Some(fault),
            None => break None,
        }
    };
    let reason = match &fault {
        None if interrupted => EndReason::Interrupted,
        None => EndReason::Completed,
        Some(fault) => reason_of(fault),
    };
    let end = StreamEnd { reason, last_seq: stream.last_seq().unwrap_or(0), fault };
    observer.on_end(end.clone()).await;
    Ok(end)
}

fn waits(event: &TaskEvent) -> bool {
    event.is_final && event.state().is_some_and(|state| state.is_interrupted())
}

fn reason_of(fault: &Fault) -> EndReason {
    match fault.kind() {
        FaultKind::Revoked => EndReason::Revoked,
        FaultKind::Gap => EndReason::Gap,
        FaultKind::Disconnected => EndReason::Cut,
        _ => EndReason::Failed,
    }
}
