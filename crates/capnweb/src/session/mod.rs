//! One end of a connection: frames in, actions out.

mod evaluate;
mod export;
mod invoke;
mod outgoing;
mod pipe;
mod receive;
mod remap;
mod tables;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::error::{Error, Violation};
use crate::handle::{Drops, Gone, Local, PipeId, Promise, QuestionId, Remote, Returned, Waiter, Weight};
use crate::limits::Limits;
use crate::value::{Key, Value};
pub(crate) use tables::SlabKey as Place;
use tables::{Export, Held, Import, ImportKind, Pending, Pipe, Slab, SlabKey, Work};

/// One end of a Cap'n Web connection.
///
/// It knows no socket and no clock. Give it every text frame with [`receive`](Self::receive), and after each of its
/// methods take what there is to do with [`poll`](Self::poll) until that gives nothing. Nothing in it blocks, and
/// nothing runs by itself.
///
/// `T` is the host's type of objects, made callable by [`local`](Self::local).
pub struct Session<T> {
    limits: Limits,
    phase: Phase,
    main: Remote,
    drops: Rc<Drops>,
    returned: Rc<Returned<T>>,
    exports: BTreeMap<i64, Export<T>>,
    imports: BTreeMap<i64, Import<T>>,
    /// The id of the peer's next call: both sides count, and no message says it.
    next_push: i64,
    next_export: i64,
    next_question: i64,
    /// Calls that the host has been asked for, and promises that it has made.
    calls: Slab<Pending<T>>,
    work: Slab<Work<T>>,
    pipes: BTreeMap<i64, Pipe<T>>,
    /// Streams whose reading end is on its way to the host.
    taken: usize,
    /// Results that have come, and who waited for them.
    ready: VecDeque<(Waiter, Promise<T>)>,
    actions: VecDeque<Action<T>>,
    budget: Budget,
    kept: Rc<Cell<usize>>,
    queued: usize,
    questions: usize,
    /// Values that were asked for and are not sent.
    pulls: usize,
    /// Stream calls of the peer that are not acknowledged.
    streams: usize,
    /// Whether a stream call is being read.
    in_stream: bool,
}

/// What the host has to do, in the order in which [`Session::poll`] gives it.
#[derive(Debug)]
pub enum Action<T> {
    /// Send this text frame, and report it with [`Session::flushed`] when it is out.
    Send(String),
    /// Start this call before the next action is looked at, and give its result to [`Session::answer`], at once or at
    /// any later time.
    Call(Call<T>),
    /// The peer does not want the result of this call any more, or the session has ended. It needs no answer.
    Cancel(CallId),
    /// The peer has written to a stream. Answer it when more may come: that is the back-pressure.
    Write(Write<T>),
    /// An object that was made callable is not held any more, by neither side. Each comes once.
    Dropped(T),
    /// What a call to the peer has come to.
    Answered {
        /// The call.
        question: QuestionId,
        /// Its result, in which nothing is pending.
        result: Result<Value<T>, Error>,
    },
    /// The session has ended. Close the connection when what was sent before is out. Only [`Action::Dropped`] can
    /// follow, for objects that the host itself still holds.
    Closed(Closed),
}

/// A call of the peer, or a read of a property.
#[derive(Debug)]
pub struct Call<T> {
    /// To be given to [`Session::answer`].
    pub id: CallId,
    /// What is called.
    pub target: Local<T>,
    /// The method's path below the target. Empty if the target itself is called as a function. Names that every
    /// JavaScript object has (`constructor`, `__proto__`, …) never occur.
    pub path: Vec<Key>,
    /// The arguments, in which nothing is pending; `None` if a property is read. Stubs in them belong to the call:
    /// drop them before answering, unless they are to be kept.
    pub arguments: Option<Vec<Value<T>>>,
}

/// Something that the peer wrote to a stream.
#[derive(Debug)]
pub struct Write<T> {
    /// To be given to [`Session::answer`], with `undefined` or an error.
    pub id: CallId,
    /// The stream, as [`Readable::id`](crate::Readable::id) names it.
    pub pipe: PipeId,
    /// What was written.
    pub chunk: Chunk<T>,
}

/// What is written to a stream.
#[derive(Debug)]
pub enum Chunk<T> {
    /// The next value.
    Data(Value<T>),
    /// The end.
    Close,
    /// The end before the end, with the writer's reason.
    Abort(Value<T>),
}

/// Names a call of the peer, or a promise of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(crate) SlabKey);

/// How a session ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// Who ended it, and why.
    pub cause: Cause,
    /// For the close frame of a WebSocket: at most 123 bytes.
    pub reason: String,
}

/// Who ended a session, and why.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// The peer broke the protocol, or a bound.
    Violation(Violation),
    /// The peer ended it with this error.
    Peer(Error),
    /// The host ended it with this error.
    Host(Error),
    /// The connection is gone.
    Lost,
}

/// How much a session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Entries that the peer holds, the main object included.
    pub exports: usize,
    /// Entries that the peer has given or owes, its main object not included.
    pub imports: usize,
    /// Calls of the peer that the host has not answered, and promises that it has not settled.
    pub calls: usize,
    /// Calls of the peer that wait for the results of others.
    pub waiting: usize,
    /// Calls to the peer that it has not answered.
    pub questions: usize,
    /// Streams that the peer writes.
    pub pipes: usize,
    /// Bytes of results and arguments that are kept.
    pub kept_bytes: usize,
    /// Bytes of frames that are not flushed.
    pub queued_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// An HTTP batch: nobody can be called.
    Batch,
    Ended,
}

/// What one message may still cost.
#[derive(Clone, Copy, Default)]
struct Budget {
    values: usize,
    calls: usize,
    copied_bytes: usize,
    /// Names of properties to look at.
    names: usize,
}

/// How many names of properties one message may have looked at: objects are searched from their beginning.
const SEARCHED_NAMES: usize = 1 << 26;

impl Closed {
    /// The code for the close frame of a WebSocket.
    pub const CODE: u16 = 3000;
}

impl<T> Session<T> {
    /// Begins a session that shows `main` to the peer.
    pub fn new(main: T, limits: Limits) -> Self {
        let drops = Rc::new(Drops::default());
        let returned = Returned::new(&drops);
        let local = Local::new(main, &returned);
        Self {
            limits,
            phase: Phase::Open,
            main: Remote::new(0, false, &drops),
            drops,
            returned,
            exports: BTreeMap::from([(0, Export::new(Held::Value(Value::Local(local))))]),
            imports: BTreeMap::new(),
            next_push: 1,
            next_export: -1,
            next_question: 1,
            calls: Slab::new(),
            work: Slab::new(),
            pipes: BTreeMap::new(),
            taken: 0,
            ready: VecDeque::new(),
            actions: VecDeque::new(),
            budget: Budget::default(),
            kept: Rc::default(),
            queued: 0,
            questions: 0,
            pulls: 0,
            streams: 0,
            in_stream: false,
        }
    }

    /// Begins one whose peer cannot be called.
    pub(crate) fn batch(main: T, limits: Limits) -> Self {
        let mut session = Self::new(main, limits);
        session.phase = Phase::Batch;
        session
    }

    /// The next thing to do, or nothing until something else happens.
    pub fn poll(&mut self) -> Option<Action<T>> {
        self.collect();
        self.actions.pop_front()
    }

    /// Takes one text frame. Whatever is wrong with it ends the session with [`Action::Closed`].
    pub fn receive(&mut self, frame: &str) {
        if self.phase == Phase::Ended {
            return;
        }
        self.collect();
        self.budget = self.fresh_budget(self.limits.message_bytes);
        let before = self.actions.len();
        if let Err(violation) = self.message(frame) {
            // What a broken message asked for does not begin.
            let mut index = 0;
            self.actions.retain(|action| {
                index += 1;
                index <= before || !matches!(action, Action::Call(_) | Action::Write(_))
            });
            self.end(Cause::Violation(violation));
        }
        self.run();
    }

    /// Says what a call has come to, or settles a promise. An answer to a call that was cancelled is dropped.
    ///
    /// A result may hold anything: data, objects of this side, stubs of the peer, promises.
    pub fn answer(&mut self, call: CallId, result: Result<Value<T>, Error>) {
        self.collect();
        // Less than what would end the session, which is no fault of the call that is answered.
        let room = self.limits.kept_bytes.saturating_sub(self.kept.get());
        self.budget = self.fresh_budget(room / 4 * 3);
        let Some(Pending { out, weight }) = self.calls.remove(call.0) else { return };
        drop(weight);
        let result = match result {
            Ok(value) if value.weight() > self.limits.message_bytes => {
                Err(Error::range_error("the result is too long to be sent"))
            }
            result => result,
        };
        self.settle(&out, result);
        drop(out);
        self.run();
    }

    /// Makes an object callable by the peer, once it is sent or returned.
    pub fn local(&mut self, object: T) -> Local<T> {
        Local::new(object, &self.returned)
    }

    /// Makes a promise, to be handed out before it is known what it will be, and settled by
    /// [`answer`](Self::answer). Settled with a value that holds itself, it is never freed.
    pub fn promise(&mut self) -> (CallId, Promise<T>) {
        let promise = Promise::pending();
        (self.add_call(&promise, 0), promise)
    }

    /// The peer's main object.
    pub fn main(&self) -> Remote {
        self.main.clone()
    }

    /// Ends the session and tells the peer why.
    pub fn abort(&mut self, error: Error) {
        self.end(Cause::Host(error));
    }

    /// Says that the connection is gone.
    pub fn closed(&mut self) {
        self.end(Cause::Lost);
    }

    /// Says that so many bytes of frames are out.
    pub fn flushed(&mut self, bytes: usize) {
        self.queued = self.queued.saturating_sub(bytes);
    }

    /// Sets what is called when a dropped handle has left something to poll for, at most from within the drop of a
    /// handle. It must not use the session itself.
    pub fn set_wake(&mut self, wake: impl Fn() + 'static) {
        *self.drops.wake.borrow_mut() = Some(Rc::new(wake));
    }

    /// Whether the session has ended.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// What is held.
    pub fn stats(&self) -> Stats {
        Stats {
            exports: self.exports.len(),
            imports: self.imports.len(),
            calls: self.calls.len(),
            waiting: self.work.len(),
            questions: self.questions,
            pipes: self.pipes.len(),
            kept_bytes: self.kept.get(),
            queued_bytes: self.queued,
        }
    }

    /// Whether values that the peer has asked for are not sent yet.
    pub fn owes_answers(&self) -> bool {
        self.pulls > 0
    }

    /// Whether the host has as many calls to answer as may be unanswered.
    pub(crate) fn is_busy(&self) -> bool {
        !self.calls.is_empty() && self.is_full()
    }

    /// Whether as many calls are unanswered as may be.
    fn is_full(&self) -> bool {
        if self.in_stream {
            return self.streams >= self.limits.unanswered_streams;
        }
        let calls = self.calls.len() + self.work.len();
        calls.saturating_sub(self.streams) >= self.limits.unanswered_calls
    }

    /// Nothing more will come from the peer: what it has promised will not be kept.
    pub(crate) fn end_of_input(&mut self) {
        let promises = self.imports.values().filter_map(|import| match &import.kind {
            ImportKind::Promise(promise) => promise.upgrade(),
            _ => None,
        });
        let promises: Vec<_> = promises.collect();
        for promise in promises {
            let error = Error::plain("the batch ended before this promise was settled");
            self.settle(&Promise(promise), Err(error));
        }
        let open: Vec<i64> = self.pipes.keys().copied().collect();
        for pipe in open {
            self.release_pipe(pipe);
        }
        self.run();
    }

    fn fresh_budget(&self, copied_bytes: usize) -> Budget {
        Budget { values: self.limits.values, calls: self.limits.calls, copied_bytes, names: SEARCHED_NAMES }
    }

    fn weigh(&self, bytes: usize) -> Weight {
        Weight::new(bytes, &self.kept)
    }

    /// Queues a frame.
    fn send(&mut self, frame: String) {
        self.queued += frame.len();
        self.actions.push_back(Action::Send(frame));
    }

    fn send_release(&mut self, id: i64, count: u64) {
        self.send(format!("[\"release\",{id},{count}]"));
    }

    /// Sees to what dropped handles have left.
    fn collect(&mut self) {
        if !self.drops.list.borrow().is_empty() {
            let list = std::mem::take(&mut *self.drops.list.borrow_mut());
            for gone in list {
                match gone {
                    Gone::Remote(id) => self.let_go(id),
                    Gone::Readable(pipe) => self.cancel_pipe(pipe),
                }
            }
            self.run();
        }
        if !self.returned.objects.borrow().is_empty() {
            let objects = std::mem::take(&mut *self.returned.objects.borrow_mut());
            self.actions.extend(objects.into_iter().map(Action::Dropped));
        }
    }

    /// Gives back what nobody holds here any more.
    fn let_go(&mut self, id: i64) {
        let Some(import) = self.imports.get(&id) else { return };
        // It may have been introduced again since.
        if import.handle.strong_count() > 0 {
            return;
        }
        if matches!(import.kind, ImportKind::Forwarded(_) | ImportKind::Stream(..)) {
            return;
        }
        let (introduced, unanswered) = (import.introduced, import.is_unanswered());
        self.imports.remove(&id);
        self.questions -= usize::from(unanswered);
        self.send_release(id, introduced);
    }

    /// Goes on with all work whose results have come, and looks at the bounds.
    fn run(&mut self) {
        // What comes of one value can be more than all bounds: so they are looked at on the way.
        while !self.is_over_a_bound()
            && let Some((waiter, promise)) = self.ready.pop_front()
        {
            match waiter {
                Waiter::Pull(id) => self.send_value(id),
                Waiter::Work(key) => self.resume(key, &promise),
            }
        }
        if self.phase == Phase::Ended {
            return;
        }
        if self.kept.get() > self.limits.kept_bytes {
            self.end(Cause::Violation(Violation::Limit("kept_bytes", self.limits.kept_bytes)));
        } else if self.queued > self.limits.queued_bytes {
            // Nobody reads them, and the last word should not stand behind them.
            self.actions.retain(|action| !matches!(action, Action::Send(_)));
            self.end(Cause::Violation(Violation::Limit("queued_bytes", self.limits.queued_bytes)));
        }
    }

    fn is_over_a_bound(&self) -> bool {
        self.kept.get() > self.limits.kept_bytes || self.queued > self.limits.queued_bytes
    }

    fn end(&mut self, cause: Cause) {
        if self.phase == Phase::Ended {
            return;
        }
        let error = match &cause {
            Cause::Violation(violation) => violation.error(),
            Cause::Peer(error) | Cause::Host(error) => error.clone(),
            Cause::Lost => Error::plain("the connection is gone"),
        };
        if matches!(cause, Cause::Violation(_) | Cause::Host(_)) {
            let mut frame = String::from("[\"abort\",");
            crate::encode::write_error(&mut frame, &error, 0);
            frame.push(']');
            self.send(frame);
        }
        self.phase = Phase::Ended;
        let imports = std::mem::take(&mut self.imports);
        for (id, import) in &imports {
            if let ImportKind::Question | ImportKind::Stream(..) = import.kind {
                let result = Err(error.clone());
                self.actions.push_back(Action::Answered { question: QuestionId(*id), result });
            }
        }
        for (key, _) in self.calls.drain() {
            self.actions.push_back(Action::Cancel(CallId(key)));
        }
        drop((imports, self.work.drain(), std::mem::take(&mut self.ready)));
        drop((std::mem::take(&mut self.pipes), std::mem::take(&mut self.exports)));
        (self.questions, self.pulls, self.streams) = (0, 0, 0);
        self.collect();
        let reason = cut(error.message);
        self.actions.push_back(Action::Closed(Closed { cause, reason }));
    }
}

/// As much of a text as a WebSocket's close frame takes.
fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(123));
    reason
}
