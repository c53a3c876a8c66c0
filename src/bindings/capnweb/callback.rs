//! The client's callback, seen from here: an `RpcTarget`, a plain object of functions, or one function.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use ::capnweb::{Error, Remote};
use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use super::connection::Connection;
use super::reply::{Value, error, fits, record, value};
use crate::capability::Observer;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{EndReason, Event, Message, StreamEnd, Task, Update};
use crate::stream::Sink;

/// Feeds a client's callback. Each event is a `stream` frame: acknowledged when the client has handled it, and gone
/// from both tables then. At most a window of them is on its way.
pub(super) struct Callback {
    connection: Rc<Connection>,
    shape: Shape,
    deliveries: Rc<Deliveries>,
}

/// What the client has passed.
enum Shape {
    /// An `RpcTarget` or a function: on the wire they look alike, so the answer to the first event decides.
    Undecided(Remote),
    Target(Remote),
    Function(Remote),
    Members(Vec<(Method, Remote)>),
}

/// The methods of an observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Task,
    Status,
    Artifact,
    Message,
    End,
}

/// What is on its way to one callback, and what has come of it.
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
    fn acknowledge(&self, method: Method, result: Result<(), Error>) {
        self.unacknowledged.update(|count| count - 1);
        match result {
            Ok(()) => {}
            Err(error) if is_missing(&error) => self.missing.borrow_mut().push(method),
            Err(error) => {
                self.failed.borrow_mut().get_or_insert_with(|| thrown(&error));
            }
        }
        self.changed.notify_waiters();
    }

    fn lacks(&self, method: Method) -> bool {
        self.missing.borrow().contains(&method)
    }

    fn failure(&self) -> Result<()> {
        self.failed.borrow().clone().map_or(Ok(()), Err)
    }

    async fn all_acknowledged(&self) -> Result<()> {
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

impl Method {
    const ALL: [Self; 5] = [Self::Task, Self::Status, Self::Artifact, Self::Message, Self::End];

    fn name(self) -> &'static str {
        match self {
            Self::Task => "onTask",
            Self::Status => "onStatusUpdate",
            Self::Artifact => "onArtifactUpdate",
            Self::Message => "onMessage",
            Self::End => "onEnd",
        }
    }

    /// The member of a function's event that says what it is.
    fn member(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Status => "statusUpdate",
            Self::Artifact => "artifactUpdate",
            Self::Message => "message",
            Self::End => "end",
        }
    }
}

/// Something with where it stands in its stream.
#[derive(Serialize)]
struct Numbered<'a, T> {
    #[serde(flatten)]
    shown: &'a T,
    seq: u64,
    #[serde(rename = "final")]
    is_final: bool,
}

/// An element of a stream, in every form that a callback may want.
struct Element {
    method: Method,
    shown: Value,
    seq: u64,
    is_final: bool,
}

impl Element {
    fn numbered(method: Method, shown: &impl Serialize, seq: u64, is_final: bool) -> Result<Self> {
        Ok(Self { method, shown: value(&Numbered { shown, seq, is_final })?, seq, is_final })
    }

    /// As the one argument of a function.
    #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers have no more")]
    fn for_function(&self) -> Value {
        record([
            (self.method.member(), self.shown.clone()),
            ("seq", Value::Number(self.seq as f64)),
            ("final", Value::Bool(self.is_final)),
        ])
    }
}

impl Callback {
    /// Whether a value may be one.
    pub(super) fn looks_like(value: &Value) -> bool {
        match value {
            Value::Remote(_) => true,
            Value::Object(object) => object.iter().any(|(_, member)| matches!(member, Value::Remote(_))),
            _ => false,
        }
    }

    pub(super) fn new(connection: &Rc<Connection>, given: Value) -> Result<Self> {
        if connection.line().is_none() {
            let message =
                "nobody can be called back in an HTTP batch: use a WebSocket, or sendMessage and getTask";
            return Err(Fault::new(FaultKind::UnsupportedOperation, message));
        }
        let shape = match given {
            Value::Remote(remote) => Shape::Undecided(remote),
            Value::Object(mut object) => {
                let member = |method: Method| match object.remove(method.name()) {
                    Some(Value::Remote(function)) => Some((method, function)),
                    _ => None,
                };
                let members: Vec<_> = Method::ALL.into_iter().filter_map(member).collect();
                if members.is_empty() {
                    let description = "has none of the functions onStatusUpdate, onArtifactUpdate, onTask, onMessage, onEnd";
                    return Err(Fault::invalid("callback", description));
                }
                Shape::Members(members)
            }
            Value::Undefined | Value::Null => {
                return Err(Fault::invalid(
                    "callback",
                    "is required: pass an RpcTarget, an object of functions, or a function",
                ));
            }
            _ => {
                return Err(Fault::invalid(
                    "callback",
                    "must be an RpcTarget, an object of functions, or a function",
                ));
            }
        };
        Ok(Self { connection: Rc::clone(connection), shape, deliveries: Rc::default() })
    }

    fn targets(&self) -> Vec<&Remote> {
        match &self.shape {
            Shape::Undecided(remote) | Shape::Target(remote) | Shape::Function(remote) => vec![remote],
            Shape::Members(members) => members.iter().map(|(_, function)| function).collect(),
        }
    }

    fn has_room(&self) -> bool {
        self.deliveries.failed.borrow().is_some()
            || (self.deliveries.unacknowledged.get() < MOST_UNACKNOWLEDGED
                && self.connection.has_room(&self.targets()))
    }

    /// Gives an element to the callback, in the form that it wants. Queued when first polled.
    async fn deliver(&mut self, element: Element) -> Result<()> {
        self.deliveries.failure()?;
        if let Shape::Undecided(remote) = &self.shape {
            let remote = remote.clone();
            return self.decide(remote, element).await;
        }
        self.send(&element)
    }

    fn send(&self, element: &Element) -> Result<()> {
        let method = element.method;
        match &self.shape {
            Shape::Undecided(remote) | Shape::Target(remote) => {
                if self.deliveries.lacks(method) {
                    return Ok(());
                }
                self.stream(remote, &[method.name()], std::slice::from_ref(&element.shown), method)
            }
            Shape::Function(remote) => self.stream(remote, &[], &[element.for_function()], method),
            Shape::Members(members) => match members.iter().find(|(name, _)| *name == method) {
                Some((_, function)) => {
                    self.stream(function, &[], std::slice::from_ref(&element.shown), method)
                }
                None => Ok(()),
            },
        }
    }

    fn stream(&self, target: &Remote, path: &[&str], arguments: &[Value], method: Method) -> Result<()> {
        let ack = Ack::Delivery(Rc::clone(&self.deliveries), method);
        self.connection.stream(target, path, arguments, ack)?;
        self.deliveries.unacknowledged.update(|count| count + 1);
        Ok(())
    }

    /// Sends the first element alone: as to an `RpcTarget`, then, if that has no such method, as to a function.
    async fn decide(&mut self, remote: Remote, element: Element) -> Result<()> {
        let shown = std::slice::from_ref(&element.shown);
        match self.first(&remote, &[element.method.name()], shown).await? {
            Ok(()) => self.shape = Shape::Target(remote),
            Err(error) if is_missing(&error) => {
                match self.first(&remote, &[], &[element.for_function()]).await? {
                    Ok(()) => self.shape = Shape::Function(remote),
                    // No function either: an object without this one method.
                    Err(error) if is_missing(&error) => {
                        self.deliveries.missing.borrow_mut().push(element.method);
                        self.shape = Shape::Target(remote);
                    }
                    Err(error) => return self.fail(thrown(&error)),
                }
            }
            Err(error) => return self.fail(thrown(&error)),
        }
        Ok(())
    }

    async fn first(&self, remote: &Remote, path: &[&str], arguments: &[Value]) -> Result<Result<(), Error>> {
        let (sender, answer) = oneshot::channel();
        self.connection.stream(remote, path, arguments, Ack::First(sender))?;
        answer.await.map_err(|_| Fault::new(FaultKind::Disconnected, "the connection is over"))
    }

    fn fail(&self, fault: Fault) -> Result<()> {
        *self.deliveries.failed.borrow_mut() = Some(fault.clone());
        Err(fault)
    }
}

impl Sink for Callback {
    fn batch(&self) -> usize {
        1
    }

    fn takes_snapshot(&self) -> bool {
        match &self.shape {
            Shape::Members(members) => members.iter().any(|(method, _)| *method == Method::Task),
            _ => !self.deliveries.lacks(Method::Task),
        }
    }

    async fn ready(&mut self) {
        if self.has_room() {
            return;
        }
        // If the connection is over, so are its objects, and this stream with them.
        self.connection.wait_for_room(|| self.has_room()).await;
    }

    async fn snapshot(&mut self, task: &Task, seq: u64) -> Result<()> {
        fits(task.approximate_size(), self.connection.limits())?;
        let element = Element::numbered(Method::Task, task, seq, false)?;
        self.deliver(element).await
    }

    async fn events(&mut self, events: &[Arc<Event>], is_final: bool) -> Result<()> {
        for (index, event) in events.iter().enumerate() {
            fits(event.update.approximate_size(), self.connection.limits())?;
            let is_final = is_final && index + 1 == events.len();
            let element = match &event.update {
                Update::Status(update) => Element::numbered(Method::Status, update, event.seq, is_final),
                Update::Artifact(update) => Element::numbered(Method::Artifact, update, event.seq, is_final),
            };
            self.deliver(element?).await?;
        }
        Ok(())
    }
}

impl Observer for Callback {
    async fn message(&mut self, message: &Message) -> Result<()> {
        fits(message.approximate_size(), self.connection.limits())?;
        let element = Element { method: Method::Message, shown: value(message)?, seq: 0, is_final: true };
        self.deliver(element).await
    }

    /// Says `onEnd` once everything before it was handled, for a client may handle several at once. What has failed
    /// is not called any more.
    async fn end(self, end: StreamEnd) {
        if self.deliveries.all_acknowledged().await.is_err() {
            return;
        }
        let mut arguments = vec![Value::String(reason(end.reason).to_owned())];
        #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers have no more")]
        arguments.push(Value::Number(end.last_seq as f64));
        if let Some(fault) = &end.fault {
            arguments.push(Value::Error(Box::new(error(fault))));
        }
        let sent = match &self.shape {
            Shape::Function(_) => return,
            Shape::Undecided(remote) | Shape::Target(remote) => {
                self.stream(remote, &[Method::End.name()], &arguments, Method::End)
            }
            Shape::Members(members) => match members.iter().find(|(method, _)| *method == Method::End) {
                Some((_, function)) => self.stream(function, &[], &arguments, Method::End),
                None => return,
            },
        };
        // The stream is over whatever the client makes of it.
        if sent.is_ok() {
            let _ = self.deliveries.all_acknowledged().await;
        }
    }
}

/// As the client reads it.
fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Completed => "completed",
        EndReason::Interrupted => "interrupted",
        EndReason::Detached => "detached",
        EndReason::Revoked => "revoked",
        EndReason::Cut => "cut",
        EndReason::Gap => "gap",
        EndReason::Failed => "failed",
    }
}

/// Whether the client says that there is no such method, or that this is no function: in the npm library's words,
/// for there is no other sign of it.
fn is_missing(error: &Error) -> bool {
    error.name == "TypeError" && error.message.ends_with("is not a function.")
}

/// What a callback has thrown. It may hold anything: only its beginning is kept.
fn thrown(error: &Error) -> Fault {
    let line = error.message.lines().next().unwrap_or_default();
    let short: String = line.chars().take(LONGEST_REASON).collect();
    Fault::new(FaultKind::InvalidRequest, format!("the callback has failed: {short}"))
}

/// Events that a client need not have acknowledged, however small they are.
const MOST_UNACKNOWLEDGED: usize = 256;

const LONGEST_REASON: usize = 200;
