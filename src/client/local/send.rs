//! Sends, and the waiting for what comes of them.

use std::cell::RefCell;

use tokio::sync::oneshot;

use super::super::event::TaskEvent;
use super::super::observer::{Features, Sink};
use super::super::send_call::SendCall;
use super::call::{Pending, Ready};
use super::grant::Subscription;
use super::task::TaskHandle;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{EndReason, Message, SendMessageResponse, StreamEnd, StreamResponse};
use crate::wire::capnp::capability_capnp::send_options;

/// A send that is on its way: the task and the stream, usable before the server has answered.
pub struct Started {
    /// The task. If the agent answers with a message instead, every call on it fails with NO_TASK.
    pub task: TaskHandle,
    /// The stream of this send; dropping it ends the stream, not the task.
    pub subscription: Subscription,
}

impl Started {
    /// Waits until the server has accepted the send.
    ///
    /// # Errors
    /// Why it has not.
    pub fn ready(&self) -> Ready {
        self.subscription.ready()
    }
}

pub(super) fn write_options(call: &SendCall, mut wire: send_options::Builder<'_>) {
    wire.set_cancel_on_drop(call.cancel_on_drop);
    wire.set_turn_timeout_ms(call.turn_timeout_ms());
}

/// Remembers how a stream ended and what message it carried, and nothing else.
pub(super) struct Outcome {
    message: RefCell<Option<Message>>,
    ended: RefCell<Option<oneshot::Sender<Ended>>>,
}

pub(super) struct Ended {
    message: Option<Message>,
    end: StreamEnd,
}

impl Outcome {
    pub(super) fn new() -> (Self, oneshot::Receiver<Ended>) {
        let (sender, receiver) = oneshot::channel();
        (Self { message: RefCell::default(), ended: RefCell::new(Some(sender)) }, receiver)
    }
}

impl Sink for Outcome {
    fn features(&self) -> Features {
        Features { snapshots: false, messages: true, batches: true }
    }

    async fn take(&self, event: TaskEvent, _bytes: usize) -> Result<()> {
        if let StreamResponse::Message(message) = event.content {
            *self.message.borrow_mut() = Some(message);
        }
        Ok(())
    }

    async fn end(&self, end: StreamEnd) {
        if let Some(ended) = self.ended.borrow_mut().take() {
            let message = self.message.borrow_mut().take();
            let _ = ended.send(Ended { message, end });
        }
    }
}

/// Waits for the end of a send's stream, then fetches the task. The stream is given up if this is dropped:
/// nothing waits at the server, which waiting calls would.
pub(super) fn finish(
    task: TaskHandle,
    subscription: Subscription,
    ended: oneshot::Receiver<Ended>,
    history_length: Option<u32>,
) -> Pending<SendMessageResponse> {
    Pending::new(async move {
        let ready = subscription.ready();
        let ended = tokio::select! {
            ended = ended => ended,
            // Only a refusal is news: an accepted send goes on to its end.
            Err(fault) = ready.clone() => return Err(fault),
        };
        let Ok(ended) = ended else {
            ready.await?;
            return Err(unfinished());
        };
        match (ended.message, ended.end.reason) {
            (Some(message), _) => Ok(SendMessageResponse::Message(message)),
            (None, EndReason::Completed | EndReason::Interrupted) => {
                task.get(history_length).await.map(SendMessageResponse::Task)
            }
            _ => Err(end_fault(ended.end)),
        }
    })
}

/// What a stream's end means to somebody who waits for the task to stop.
pub(in super::super) fn end_fault(end: StreamEnd) -> Fault {
    end.fault.unwrap_or_else(|| match end.reason {
        EndReason::Revoked => {
            Fault::new(FaultKind::Revoked, "the authority behind this stream was taken back")
        }
        EndReason::Gap => {
            let message = format!("the events after {} are no longer kept; get the task", end.last_seq);
            Fault::new(FaultKind::Gap, message)
        }
        EndReason::Failed => Fault::new(FaultKind::Internal, "the server could not go on with this stream"),
        _ => unfinished(),
    })
}

fn unfinished() -> Fault {
    let message = "the stream ended before the task did; the task goes on: get it, or subscribe to it";
    Fault::new(FaultKind::Disconnected, message)
}
