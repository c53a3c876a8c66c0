//! Follows a task to the end of its stream, whatever happens to the line meanwhile.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::oneshot;

use super::event::{Cursor, TaskEvent};
use super::local::{Started, Subscription, TaskHandle, end_fault};
use super::notice::ClientNotice;
use super::observer::Sink;
use super::position::{Position, Step};
use super::retry::{Backoff, RetryPolicy, chance};
use super::send_call::SendCall;
use super::stream::{Outlet, Reader};
use super::uplink::{Live, Uplink};
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{EndReason, Id, StreamEnd, StreamResponse, SubscribeToTaskRequest, TaskState};

/// How a stream began.
pub(super) enum Origin {
    /// With a send. It ends at an interrupted state too.
    Send(Box<SendCall>),
    /// With a subscription to a task.
    Subscribe(Id, Cursor),
}

/// Whose authority a stream uses.
pub(super) enum Source {
    /// The client's own: a lost line is replaced.
    Uplink(Rc<Uplink>),
    /// A handle that came from elsewhere: it ends with its connection.
    Handle(Rc<TaskHandle>),
}

/// Feeds a stream to its end. Ends early when nobody reads it.
pub(super) async fn follow(source: Source, origin: Origin, outlet: Outlet, mut reader: Reader) {
    let relay = Relay::new(&origin, outlet.clone());
    let follower = Follower { source, origin, relay, kept: RefCell::default() };
    let ended = tokio::select! {
        ended = follower.run() => ended,
        () = reader.gone() => Ok(()),
    };
    let ended = ended.map_err(|fault| follower.left().unwrap_or(fault));
    // The server may hold on to its observers; the stream ends all the same.
    follower.relay.outlet.take();
    if let Err(fault) = ended {
        outlet.fail(fault);
    }
    drop(outlet);
    let kept = follower.kept.take();
    drop(follower);
    if kept.is_some() {
        // The send was tied to its handle, and that to this stream: it stays as long as its reader.
        reader.gone().await;
    }
}

struct Follower {
    source: Source,
    origin: Origin,
    relay: Rc<Relay>,
    /// The handle of a send that is canceled with it.
    kept: RefCell<Option<TaskHandle>>,
}

/// What an attempt came to.
enum Attempt {
    Finished,
    /// The line or the subscription was lost: go on from where it was.
    Lost(Fault),
}

impl Follower {
    async fn run(&self) -> Result<()> {
        let mut waits = Backoff::new(self.policy());
        let mut first = true;
        loop {
            self.relay.progressed.set(false);
            let lost = match self.attempt(first).await? {
                Attempt::Finished => return Ok(()),
                Attempt::Lost(fault) => fault,
            };
            if self.might_send_twice() {
                return Err(lost);
            }
            first = false;
            if self.relay.progressed.get() {
                waits.reset();
            }
            let Some(next) = waits.next(chance()) else { return Err(lost) };
            if self.line_is_lost() {
                // Getting it back has waits of its own.
                continue;
            }
            if let Source::Uplink(uplink) = &self.source {
                let (attempt, wait) = (next.attempt, next.wait);
                uplink.settings().listener.tell(ClientNotice::Reconnecting { attempt, wait, why: lost });
            }
            tokio::time::sleep(next.wait).await;
        }
    }

    /// One try. Faults that a further try would meet again are errors.
    async fn attempt(&self, first: bool) -> Result<Attempt> {
        let live = match &self.source {
            Source::Uplink(uplink) => Some(uplink.live().await?),
            Source::Handle(_) => None,
        };
        let (sink, mut ended) = self.relay.sink();
        let resumption = (!first).then(|| self.resumption());
        let subscription = self.begin(live.as_ref(), sink);
        let ready = subscription.ready();
        let mut accepted = false;
        let end = loop {
            tokio::select! {
                biased;
                end = &mut ended => {
                    if end.is_ok() && !accepted {
                        self.tell(resumption);
                    }
                    break end;
                }
                answer = ready.clone(), if !accepted => match answer {
                    Ok(()) => {
                        accepted = true;
                        self.tell(resumption.clone());
                    }
                    Err(fault) => return self.refused(live.as_ref(), first, fault),
                }
            }
        };
        if let Some(fault) = self.relay.broken.take() {
            return Err(fault);
        }
        match end {
            Ok(end) => match end.reason {
                EndReason::Completed | EndReason::Interrupted => Ok(Attempt::Finished),
                EndReason::Detached | EndReason::Cut => Ok(Attempt::Lost(end_fault(end))),
                EndReason::Revoked | EndReason::Gap | EndReason::Failed => Err(end_fault(end)),
            },
            // The observer was dropped without a last word: the line is lost, or the call was refused.
            Err(_) => match ready.await {
                Ok(()) => Ok(Attempt::Lost(live.and_then(|live| live.loss()).unwrap_or_else(silent_end))),
                Err(fault) => self.refused(live.as_ref(), first, fault),
            },
        }
    }

    fn begin(&self, live: Option<&Live>, sink: RelaySink) -> Subscription {
        let last = self.relay.position.borrow().last();
        let task = self.relay.task.borrow().clone();
        let resumed = task.zip(last);
        let started = match (&self.source, live) {
            (Source::Handle(handle), _) => {
                return match (resumed, &self.origin) {
                    (Some((_, after)), _) => handle.follow(Cursor::After(after), sink),
                    (None, Origin::Send(call)) => handle.start(call, sink),
                    (None, Origin::Subscribe(_, cursor)) => handle.follow(*cursor, sink),
                };
            }
            (Source::Uplink(_), Some(live)) => match (resumed, &self.origin) {
                (Some((task, after)), _) => subscribe(live, task, Cursor::After(after), sink),
                // The server knows a repeated send by its message id.
                (None, Origin::Send(call)) => live.operations().start(call, sink),
                (None, Origin::Subscribe(task, cursor)) => subscribe(live, task.clone(), *cursor, sink),
            },
            (Source::Uplink(_), None) => unreachable!("an uplink was asked for its line"),
        };
        if let Origin::Send(call) = &self.origin
            && call.cancel_on_drop
        {
            self.kept.borrow_mut().get_or_insert(started.task);
        }
        started.subscription
    }

    /// The server did not accept the call.
    fn refused(&self, live: Option<&Live>, first: bool, fault: Fault) -> Result<Attempt> {
        let lost = live.is_some_and(|live| live.loss().is_some());
        // A server that has just come back may be too busy for a moment.
        let busy = !first && fault.kind() == FaultKind::Overloaded;
        if lost || busy { Ok(Attempt::Lost(fault)) } else { Err(fault) }
    }

    /// What is to be said if the next attempt succeeds. Asked before it begins: events may come before its
    /// answer is looked at.
    fn resumption(&self) -> ClientNotice {
        let task = self.relay.task.borrow().clone();
        match task.zip(self.relay.position.borrow().last()) {
            Some((task, after)) => ClientNotice::Resumed { task, after },
            None => ClientNotice::Repeated,
        }
    }

    fn tell(&self, notice: Option<ClientNotice>) {
        if let (Source::Uplink(uplink), Some(notice)) = (&self.source, notice) {
            uplink.settings().listener.tell(notice);
        }
    }

    /// Whether going on means to send again what may have arrived, to a server that would not notice.
    fn might_send_twice(&self) -> bool {
        let Source::Uplink(uplink) = &self.source else { return false };
        let is_unanswered = self.relay.position.borrow().last().is_none();
        matches!(self.origin, Origin::Send(_)) && is_unanswered && !uplink.may_send_again()
    }

    fn policy(&self) -> RetryPolicy {
        match &self.source {
            Source::Uplink(uplink) => uplink.settings().retry.clone(),
            Source::Handle(_) => RetryPolicy::never(),
        }
    }

    /// What a stream ends with when its client was closed, whatever the server says to that.
    fn left(&self) -> Option<Fault> {
        match &self.source {
            Source::Uplink(uplink) => uplink.closed(),
            Source::Handle(_) => None,
        }
    }

    fn line_is_lost(&self) -> bool {
        match &self.source {
            Source::Uplink(uplink) => uplink.is_lost(),
            Source::Handle(_) => false,
        }
    }
}

fn subscribe(live: &Live, task: Id, cursor: Cursor, sink: RelaySink) -> Started {
    live.operations().follow(&SubscribeToTaskRequest::new(task), cursor, sink)
}

/// What a server is told that sends to a stream which has ended, or goes on over another line.
fn over() -> Fault {
    Fault::new(FaultKind::Disconnected, "this stream is over")
}

fn silent_end() -> Fault {
    Fault::new(FaultKind::Disconnected, "the server let go of the stream without a word")
}

/// What the attempts of one stream share.
struct Relay {
    /// None once the stream has ended.
    outlet: RefCell<Option<Outlet>>,
    position: RefCell<Position>,
    task: RefCell<Option<Id>>,
    /// Whether an interrupted state ends the stream.
    ends_at_interruption: bool,
    /// Events of an earlier attempt no longer count.
    attempt: Cell<u64>,
    progressed: Cell<bool>,
    /// What the server did that no stream may do.
    broken: Cell<Option<Fault>>,
}

impl Relay {
    fn new(origin: &Origin, outlet: Outlet) -> Rc<Self> {
        let (task, position) = match origin {
            Origin::Send(_) => (None, Position::default()),
            Origin::Subscribe(task, Cursor::Snapshot) => (Some(task.clone()), Position::default()),
            Origin::Subscribe(task, Cursor::After(seq)) => (Some(task.clone()), Position::after(*seq)),
        };
        Rc::new(Self {
            outlet: RefCell::new(Some(outlet)),
            position: RefCell::new(position),
            task: RefCell::new(task),
            ends_at_interruption: matches!(origin, Origin::Send(_)),
            attempt: Cell::new(0),
            progressed: Cell::new(false),
            broken: Cell::new(None),
        })
    }

    /// The object for the next attempt, and how it will end.
    fn sink(self: &Rc<Self>) -> (RelaySink, oneshot::Receiver<StreamEnd>) {
        let attempt = self.attempt.get() + 1;
        self.attempt.set(attempt);
        let (ended, receiver) = oneshot::channel();
        (RelaySink { relay: self.clone(), attempt, ended: Cell::new(Some(ended)) }, receiver)
    }

    /// Whether the stream takes this event, and with it moves on.
    fn admits(&self, event: &mut TaskEvent) -> Result<bool> {
        let mut position = self.position.borrow_mut();
        let step = match &event.content {
            StreamResponse::Message(_) => Step::Take,
            StreamResponse::Task(_) => position.snapshot(event.seq),
            StreamResponse::StatusUpdate(_) | StreamResponse::ArtifactUpdate(_) => {
                position.event(event.seq, event.is_final)?
            }
        };
        if step == Step::Skip {
            return Ok(false);
        }
        self.progressed.set(true);
        if let Some(task) = event.content.task_id() {
            self.task.borrow_mut().get_or_insert_with(|| task.clone());
        }
        let interrupted = event.state().is_some_and(TaskState::is_interrupted);
        let snapshot = matches!(event.content, StreamResponse::Task(_));
        if self.ends_at_interruption && interrupted && !snapshot {
            // So that a send's stream ends in the same place after it was resumed by a subscription.
            event.is_final = true;
        }
        Ok(true)
    }
}

/// The object of one attempt that the server calls.
struct RelaySink {
    relay: Rc<Relay>,
    attempt: u64,
    /// Dropped with this object: its owner then knows that nothing more will come.
    ended: Cell<Option<oneshot::Sender<StreamEnd>>>,
}

impl RelaySink {
    fn finish(&self, end: StreamEnd) {
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(end);
        }
    }
}

impl Sink for RelaySink {
    async fn take(&self, mut event: TaskEvent, bytes: usize) -> Result<()> {
        // First the room, then the event: if the line is lost meanwhile, it has not been taken.
        let outlet = self.relay.outlet.borrow().clone().ok_or_else(over)?;
        let room = outlet.room(bytes).await;
        if self.attempt != self.relay.attempt.get() || self.relay.outlet.borrow().is_none() {
            return Err(over());
        }
        match self.relay.admits(&mut event) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(fault) => {
                self.relay.broken.set(Some(fault.clone()));
                self.ended.take();
                return Err(fault);
            }
        }
        let (seq, is_final) = (event.seq, event.is_final);
        let reason = match event.state() {
            Some(state) if state.is_interrupted() => EndReason::Interrupted,
            _ => EndReason::Completed,
        };
        outlet.put(event, room);
        if is_final {
            // There may be no onEnd any more if the line is lost now; it would say nothing new.
            self.finish(StreamEnd { reason, last_seq: seq, fault: None });
        }
        Ok(())
    }

    async fn end(&self, end: StreamEnd) {
        self.finish(end);
    }
}
