//! What is on its way to one receiver of events, and what has come of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ::capnweb::Error;
use tokio::sync::{Notify, oneshot};

use super::element::Method;
use crate::fault::{Fault, FaultKind, Result};

/// What is on its way to one receiver, and what has come of it.
#[derive(Default)]
pub(super) struct Deliveries {
    unacknowledged: Cell<usize>,
    /// Methods that the callback turned out not to have.
    missing: RefCell<Vec<Method>>,
    failed: RefCell<Option<Fault>>,
    changed: Notify,
}

/// Who waits for what the client says to a call.
pub(super) enum Ack {
    /// The first event, whose answer decides what the callback is.
    First(oneshot::Sender<Result<(), Error>>),
    /// An event or the end.
    Delivery(Rc<Deliveries>, Method),
}

impl Ack {
    pub(super) fn tell(self, result: Result<(), Error>) {
        match self {
            // Nobody may be left who wants to know.
            Self::First(sender) => drop(sender.send(result)),
            Self::Delivery(deliveries, method) => deliveries.acknowledge(method, result),
        }
    }
}

impl Deliveries {
    /// One more is on its way.
    pub(super) fn sent(&self) {
        self.unacknowledged.update(|count| count + 1);
    }

    /// How many are on their way.
    pub(super) fn unacknowledged(&self) -> usize {
        self.unacknowledged.get()
    }

    fn acknowledge(&self, method: Method, result: Result<(), Error>) {
        self.unacknowledged.update(|count| count - 1);
        match result {
            Ok(()) => {}
            Err(error) if method.may_be_missing() && is_missing(&error) => self.misses(method),
            Err(error) => self.fail(&thrown(&error)),
        }
        self.changed.notify_waiters();
    }

    /// The receiver has no such method, and is not called on it again.
    pub(super) fn misses(&self, method: Method) {
        self.missing.borrow_mut().push(method);
    }

    pub(super) fn lacks(&self, method: Method) -> bool {
        self.missing.borrow().contains(&method)
    }

    /// The receiver has failed, and is not called again. The first reason stays.
    pub(super) fn fail(&self, fault: &Fault) {
        self.failed.borrow_mut().get_or_insert_with(|| fault.clone());
        self.changed.notify_waiters();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    pub(super) fn failure(&self) -> Result<()> {
        self.failed.borrow().clone().map_or(Ok(()), Err)
    }

    /// Resolves when the receiver has failed.
    pub(super) async fn failed(&self) -> Fault {
        loop {
            let changed = self.changed.notified();
            if let Err(fault) = self.failure() {
                return fault;
            }
            changed.await;
        }
    }

    /// Resolves when everything was handled.
    pub(super) async fn all_acknowledged(&self) -> Result<()> {
        loop {
            let changed = self.changed.notified();
            self.failure()?;
            if self.unacknowledged.get() == 0 {
                return Ok(());
            }
            changed.await;
        }
    }
}

/// Whether the client says that there is no such method, or that this is no function: in the npm library's words,
/// for there is no other sign of it.
pub(super) fn is_missing(error: &Error) -> bool {
    error.name == "TypeError" && error.message.ends_with("is not a function.")
}

/// What a callback has thrown. It may hold anything: only its beginning is kept.
pub(super) fn thrown(error: &Error) -> Fault {
    let line = error.message.lines().next().unwrap_or_default();
    let short: String = line.chars().take(LONGEST_REASON).collect();
    Fault::new(FaultKind::InvalidRequest, format!("the callback has failed: {short}"))
}

const LONGEST_REASON: usize = 200;
