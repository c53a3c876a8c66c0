//! Who receives a stream of events, seen from here: the client's callback (an `RpcTarget`, a plain object of
//! functions, or one function), or a `ReadableStream` that it reads.

use std::rc::Rc;
use std::sync::Arc;

use ::capnweb::{Data, Error, Remote};
use tokio::sync::oneshot;

use super::connection::{Connection, Room};
use super::delivery::{Ack, Deliveries, is_missing, thrown};
use super::element::{Element, Method};
use super::reply::Value;
use super::voice::Voice;
use crate::capability::Observer;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{EndReason, Event, Message, StreamEnd, Task};
use crate::stream::Sink;
use crate::wire::capnweb::to_error;

/// Feeds a receiver of events. Each event is a `stream` frame: acknowledged when the client has handled it, and gone
/// from both tables then. At most a window of them is on its way.
pub(super) struct Callback {
    connection: Rc<Connection>,
    voice: Voice,
    shape: Shape,
    deliveries: Rc<Deliveries>,
}

/// What feeds a receiver, and what the call that asked for it has to answer with.
pub(super) struct Receiver {
    pub(super) callback: Callback,
    /// The reading end, where the client has passed no callback.
    pub(super) events: Option<Value>,
}

/// What the client has passed.
enum Shape {
    /// An `RpcTarget` or a function: on the wire they look alike, so the answer to the first event decides.
    Undecided(Remote),
    Target(Remote),
    Function(Remote),
    Members(Vec<(Method, Remote)>),
    /// Nothing: it reads a stream, of which this is the writing end.
    Stream(Remote),
}

impl Receiver {
    /// Feeds the callback that was given, or else a stream.
    pub(super) fn new(connection: &Rc<Connection>, voice: &Voice, given: Value) -> Result<Self> {
        if connection.line().is_none() {
            let message = "events cannot be sent in an HTTP batch, neither to a callback nor as a stream: use a \
                           WebSocket, or sendMessage and getTask";
            return Err(Fault::new(FaultKind::UnsupportedOperation, message));
        }
        let (shape, events) = if given.is_nothing() {
            let (events, writer) = connection.pipe()?;
            (Shape::Stream(writer), Some(events))
        } else {
            (Shape::of(given)?, None)
        };
        let connection = Rc::clone(connection);
        let callback = Callback { connection, voice: voice.clone(), shape, deliveries: Rc::default() };
        Ok(Self { callback, events })
    }
}

impl Shape {
    fn of(given: Value) -> Result<Self> {
        match given {
            Value::Remote(remote) => Ok(Self::Undecided(remote)),
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
                Ok(Self::Members(members))
            }
            _ => {
                let description = "must be an RpcTarget, an object of functions, or a function; without one, the \
                                   events come as a stream";
                Err(Fault::invalid("callback", description))
            }
        }
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

    fn targets(&self) -> Vec<&Remote> {
        match &self.shape {
            Shape::Undecided(remote)
            | Shape::Target(remote)
            | Shape::Function(remote)
            | Shape::Stream(remote) => vec![remote],
            Shape::Members(members) => members.iter().map(|(_, function)| function).collect(),
        }
    }

    /// Whether so much of every window is free, or nobody waits for it any more.
    fn has_room(&self, room: Room) -> bool {
        let most = room.bound(MOST_UNACKNOWLEDGED);
        self.deliveries.has_failed()
            || (self.deliveries.unacknowledged() < most && self.connection.has_room(&self.targets(), room))
    }

    /// Gives an element to the receiver, in the form that it wants. Queued when first polled.
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
            Shape::Function(remote) => self.stream(remote, &[], &[element.by_itself()], method),
            Shape::Members(members) => match members.iter().find(|(name, _)| *name == method) {
                Some((_, function)) => {
                    self.stream(function, &[], std::slice::from_ref(&element.shown), method)
                }
                None => Ok(()),
            },
            Shape::Stream(writer) => self.stream(writer, &["write"], &[element.by_itself()], Method::Write),
        }
    }

    fn stream(&self, target: &Remote, path: &[&str], arguments: &[Value], method: Method) -> Result<()> {
        let ack = Ack::Delivery(Rc::clone(&self.deliveries), method);
        self.connection.stream(target, path, arguments, ack)?;
        self.deliveries.sent();
        Ok(())
    }

    /// Sends the first element alone: as to an `RpcTarget`, then, if that has no such method, as to a function.
    async fn decide(&mut self, remote: Remote, element: Element) -> Result<()> {
        let shown = std::slice::from_ref(&element.shown);
        match self.first(&remote, &[element.method.name()], shown).await? {
            Ok(()) => self.shape = Shape::Target(remote),
            Err(error) if is_missing(&error) => {
                match self.first(&remote, &[], &[element.by_itself()]).await? {
                    Ok(()) => self.shape = Shape::Function(remote),
                    // No function either: an object without this one method.
                    Err(error) if is_missing(&error) => {
                        self.deliveries.misses(element.method);
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
        self.deliveries.fail(&fault);
        Err(fault)
    }

    /// Says `onEnd` once everything before it was handled, for a client may handle several at once. What has failed
    /// is not called any more.
    async fn end_callback(&self, end: &StreamEnd) {
        if self.deliveries.all_acknowledged().await.is_err() {
            return;
        }
        let mut arguments = vec![Value::String(end.reason.name().to_owned())];
        #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers have no more")]
        arguments.push(Value::Number(end.last_seq as f64));
        if let Some(fault) = &end.fault {
            arguments.push(Value::Error(Box::new(to_error(fault))));
        }
        let sent = match &self.shape {
            Shape::Undecided(remote) | Shape::Target(remote) => {
                self.stream(remote, &[Method::End.name()], &arguments, Method::End)
            }
            Shape::Members(members) => match members.iter().find(|(method, _)| *method == Method::End) {
                Some((_, function)) => self.stream(function, &[], &arguments, Method::End),
                None => return,
            },
            Shape::Function(_) | Shape::Stream(_) => return,
        };
        // The stream is over whatever the client makes of it.
        if sent.is_ok() {
            let _ = self.deliveries.all_acknowledged().await;
        }
    }

    /// Closes a stream behind its final event, and breaks it off at every other end. What was taken back ends at
    /// once; otherwise what is on its way is read first, for an abort would overtake it.
    async fn end_stream(&self, writer: &Remote, end: &StreamEnd) {
        if self.deliveries.has_failed() {
            return;
        }
        let last = match end.reason {
            EndReason::Completed | EndReason::Interrupted => {
                self.stream(writer, &["close"], &[], Method::Write)
            }
            EndReason::Revoked | EndReason::Detached => self.abort(writer, end),
            EndReason::Cut | EndReason::Gap | EndReason::Failed => {
                if self.deliveries.all_acknowledged().await.is_err() {
                    return;
                }
                self.abort(writer, end)
            }
        };
        // Let go only then: to give the writing end back is to break the stream off.
        if last.is_ok() {
            let _ = self.deliveries.all_acknowledged().await;
        }
    }

    fn abort(&self, writer: &Remote, end: &StreamEnd) -> Result<()> {
        let detached = || {
            let message = "the subscription is over, and its stream has not come to its end: subscribe again after the \
                           last event that was read";
            Fault::new(FaultKind::Disconnected, message)
        };
        #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers have no more")]
        let last_seq = Data::Number(end.last_seq as f64);
        let error = to_error(&end.fault.clone().unwrap_or_else(detached))
            .with("end", Data::String(end.reason.name().to_owned()))
            .with("lastSeq", last_seq);
        self.stream(writer, &["abort"], &[Value::Error(Box::new(error))], Method::Write)
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
        if self.has_room(Room::Any) {
            return;
        }
        // Until half of the window is free: else each acknowledgement is a frame by itself, and so is each event that
        // it lets go, and both sides wake for every one. If the connection is over, so are its objects, and this
        // stream with them.
        self.connection.wait_for_room(|| self.has_room(Room::Half)).await;
    }

    async fn snapshot(&mut self, task: &Task, seq: u64) -> Result<()> {
        self.connection.limits().fits(task.approximate_size())?;
        self.deliver(Element::snapshot(&self.voice, task, seq)?).await
    }

    async fn events(&mut self, events: &[Arc<Event>], is_final: bool) -> Result<()> {
        for (index, event) in events.iter().enumerate() {
            self.connection.limits().fits(event.update.approximate_size())?;
            let is_final = is_final && index + 1 == events.len();
            self.deliver(Element::event(&self.voice, event, is_final)?).await?;
        }
        Ok(())
    }
}

impl Observer for Callback {
    async fn message(&mut self, message: &Message) -> Result<()> {
        self.connection.limits().fits(message.approximate_size())?;
        self.deliver(Element::message(&self.voice, message)?).await
    }

    fn failed(&self) -> impl Future<Output = Fault> + use<> {
        let deliveries = Rc::clone(&self.deliveries);
        async move { deliveries.failed().await }
    }

    async fn end(self, end: StreamEnd) {
        match &self.shape {
            Shape::Stream(writer) => self.end_stream(writer, &end).await,
            _ => self.end_callback(&end).await,
        }
    }
}

/// Events that a client need not have acknowledged, however small they are.
const MOST_UNACKNOWLEDGED: usize = 256;
