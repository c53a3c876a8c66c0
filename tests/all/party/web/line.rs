//! The line: one WebSocket, one session, and what is under way on them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use a2a_webcap::fault::{Fault, FaultKind, Result};
use capnweb::{Action, CallId, Cause, Closed, Limits, Question, QuestionId, Refused, Remote, Stats};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, SplitStream};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::ear::{Ear, Told};
use super::values::{Value, fault_of};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Errand = LocalBoxFuture<'static, ()>;
type Answer = std::result::Result<Value, capnweb::Error>;

/// What the objects of a connection share. The last of them closes it.
pub(super) struct Line(Rc<Shared>);

struct Shared {
    session: RefCell<capnweb::Session<Ear>>,
    waiting: RefCell<HashMap<QuestionId, oneshot::Sender<Result<Value>>>>,
    errands: mpsc::UnboundedSender<Errand>,
    /// There may be something to do.
    changed: Rc<Notify>,
    /// Nobody holds an object any more.
    released: Cell<bool>,
    /// Bytes of calls of the server that our objects have not dealt with.
    held: Cell<usize>,
    /// How it ended.
    over: watch::Sender<Option<Fault>>,
}

/// What stands for an object, or why there is none.
#[derive(Clone)]
pub(super) struct Stub {
    pub(super) line: Rc<Line>,
    held: Result<Rc<Held>>,
}

pub(super) enum Held {
    /// What every server shows first.
    Main(Remote),
    /// The result of a call, or a part of it.
    Result(Question),
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.released.set(true);
        self.0.changed.notify_one();
    }
}

impl Line {
    /// Connects, and keeps going as long as somebody holds an object. Only in a local runtime.
    pub(super) async fn open(url: &str, patience: Duration) -> Result<Stub> {
        let gone =
            |error: &dyn std::fmt::Display| Fault::new(FaultKind::Disconnected, format!("{url}: {error}"));
        let address = format!("{}/capnweb", url.replacen("http://", "ws://", 1));
        let mut config = WebSocketConfig::default();
        config.max_frame_size = config.max_message_size;
        let dialed = tokio_tungstenite::connect_async_with_config(address, Some(config), true);
        let (socket, _) = match tokio::time::timeout(patience, dialed).await {
            Ok(dialed) => dialed.map_err(|error| gone(&error))?,
            Err(_) => return Err(gone(&"no answer")),
        };
        let mut limits = Limits::default();
        limits.unanswered_questions *= 4;
        let mut session = capnweb::Session::new(Ear::nobody(), limits);
        let changed = Rc::new(Notify::new());
        let woken = Rc::clone(&changed);
        session.set_wake(move || woken.notify_one());
        let main = session.main();
        let (errands, given) = mpsc::unbounded_channel();
        let shared = Rc::new(Shared {
            session: RefCell::new(session),
            waiting: RefCell::default(),
            errands,
            changed,
            released: Cell::new(false),
            held: Cell::new(0),
            over: watch::Sender::new(None),
        });
        tokio::task::spawn_local(Rc::clone(&shared).run(socket, given));
        Ok(Stub { line: Rc::new(Self(shared)), held: Ok(Rc::new(Held::Main(main))) })
    }

    pub(super) fn stats(&self) -> Stats {
        self.0.session.borrow().stats()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.0.held.get()
    }

    /// Waits for the end.
    pub(super) async fn closed(&self) {
        let _ = self.0.over.subscribe().wait_for(Option::is_some).await;
    }

    /// Does this, whoever waits for it, as long as there is a line.
    pub(super) fn run(&self, errand: impl Future<Output = ()> + 'static) {
        let _ = self.0.errands.send(errand.boxed_local());
    }

    /// A queue of calls of the server, and where their answers go.
    pub(super) fn calls(&self) -> (mpsc::UnboundedSender<Told>, Calls) {
        let (sender, told) = mpsc::unbounded_channel();
        (sender, Calls { told, shared: Rc::clone(&self.0) })
    }

    /// An object of ours, to be passed to the server.
    pub(super) fn object(&self, ear: Ear) -> Value {
        Value::Local(self.0.session.borrow_mut().local(ear))
    }
}

/// The calls that the objects of one observer get.
pub(super) struct Calls {
    told: mpsc::UnboundedReceiver<Told>,
    shared: Rc<Shared>,
}

impl Calls {
    /// The next; none once the server has let go of every object.
    pub(super) async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    pub(super) fn answer(&self, told: CallId, bytes: usize, result: Answer) {
        self.shared.held.update(|held| held - bytes);
        self.shared.session.borrow_mut().answer(told, result);
        self.shared.changed.notify_one();
    }
}

impl Stub {
    fn remote(&self) -> Result<&Remote> {
        match &self.held {
            Ok(held) => Ok(held.remote()),
            Err(fault) => Err(fault.clone()),
        }
    }

    /// Calls a method; the result, and what is said when it is there.
    pub(super) fn call(
        &self,
        path: &[&str],
        arguments: &[Value],
    ) -> Result<(Question, oneshot::Receiver<Result<Value>>)> {
        let remote = self.remote()?;
        let shared = &self.line.0;
        let question = shared.session.borrow_mut().call(remote, path, arguments);
        shared.asked(question)
    }

    /// Reads a property of a result, which is held by itself then.
    pub(super) fn part(&self, name: &str) -> Result<(Question, oneshot::Receiver<Result<Value>>)> {
        let remote = self.remote()?;
        let shared = &self.line.0;
        let question = shared.session.borrow_mut().get(remote, &[name]);
        shared.asked(question)
    }

    /// What a question has asked for, as an object.
    pub(super) fn of(&self, question: Result<Rc<Held>>) -> Self {
        Self { line: Rc::clone(&self.line), held: question }
    }
}

impl Held {
    fn remote(&self) -> &Remote {
        match self {
            Self::Main(remote) => remote,
            Self::Result(question) => question.result(),
        }
    }
}

impl Shared {
    fn asked(
        &self,
        question: std::result::Result<Question, Refused>,
    ) -> Result<(Question, oneshot::Receiver<Result<Value>>)> {
        let question = question.map_err(|refused| self.refused(refused))?;
        let (sender, answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(question.id(), sender);
        self.changed.notify_one();
        Ok((question, answer))
    }

    fn refused(&self, refused: Refused) -> Fault {
        match (refused, &*self.over.borrow()) {
            (Refused::Ended, Some(fault)) => fault.clone(),
            (Refused::Ended, None) => Fault::new(FaultKind::Disconnected, "the connection is over"),
            (Refused::Unsendable(why), _) => Fault::new(FaultKind::InvalidRequest, why),
            (other, _) => Fault::new(FaultKind::Overloaded, other.to_string()),
        }
    }

    async fn run(self: Rc<Self>, socket: Socket, errands: mpsc::UnboundedReceiver<Errand>) {
        let (mut sink, stream) = socket.split();
        let (frames, mut to_write) = mpsc::unbounded_channel();
        let writing = async move {
            while let Some(frame) = to_write.recv().await {
                if sink.send(frame).await.is_err() {
                    break;
                }
            }
        };
        // Whoever has nothing more to say waits for no peer that does not read.
        let talking = self.talk(stream, errands, frames);
        futures::pin_mut!(writing);
        futures::pin_mut!(talking);
        match futures::future::select(talking, writing).await {
            futures::future::Either::Left(((), writing)) => {
                let _ = tokio::time::timeout(Duration::from_secs(5), writing).await;
            }
            futures::future::Either::Right(((), talking)) => talking.await,
        }
    }

    /// Until the end.
    async fn talk(
        &self,
        mut stream: SplitStream<Socket>,
        mut errands: mpsc::UnboundedReceiver<Errand>,
        frames: mpsc::UnboundedSender<Message>,
    ) {
        let mut running = FuturesUnordered::new();
        let mut received = 0;
        while !self.work(&frames, received) {
            received = 0;
            tokio::select! {
                // What is known already comes before what the server says next.
                biased;
                Some(errand) = errands.recv() => running.push(errand),
                Some(()) = running.next() => {}
                () = self.changed.notified() => {
                    if self.released.get() {
                        let _ = frames.send(close(1000, ""));
                        self.session.borrow_mut().closed();
                    }
                }
                frame = stream.next() => match frame {
                    Some(Ok(Message::Text(text))) => {
                        received = text.len();
                        self.session.borrow_mut().receive(&text);
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => self.session.borrow_mut().closed(),
                },
            }
        }
    }

    /// Does what the session asks for after a frame of so many bytes. Whether it has ended.
    fn work(&self, frames: &mpsc::UnboundedSender<Message>, bytes: usize) -> bool {
        let mut unanswered = Vec::new();
        loop {
            let Some(action) = self.session.borrow_mut().poll() else { return false };
            match action {
                Action::Send(frame) => {
                    self.session.borrow_mut().flushed(frame.len());
                    let _ = frames.send(Message::Text(frame.into()));
                }
                Action::Call(call) => {
                    let id = call.id;
                    let target = call.target.clone();
                    self.held.update(|held| held + bytes);
                    if let Err(error) = target.hear(Told { id, bytes, call }) {
                        self.held.update(|held| held - bytes);
                        self.session.borrow_mut().answer(id, Err(error));
                    }
                }
                Action::Answered { question, result } => {
                    let waiting = self.waiting.borrow_mut().remove(&question);
                    // Where the session has ended, its end says why.
                    if self.session.borrow().is_ended() {
                        unanswered.extend(waiting);
                    } else if let Some(waiting) = waiting {
                        let _ = waiting.send(result.map_err(fault_of));
                    }
                }
                Action::Closed(closed) => {
                    let fault = reason(&closed);
                    let _ = frames.send(close(Closed::CODE, &closed.reason));
                    self.over.send_replace(Some(fault.clone()));
                    for waiting in unanswered {
                        let _ = waiting.send(Err(fault.clone()));
                    }
                    return true;
                }
                Action::Cancel(_) | Action::Dropped(_) | Action::Write(_) => {}
            }
        }
    }
}

fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() }))
}

fn reason(closed: &Closed) -> Fault {
    match &closed.cause {
        Cause::Peer(error) if error.prop("code").is_some() => fault_of(error.clone()),
        Cause::Violation(_) => Fault::new(FaultKind::InvalidRequest, closed.reason.clone()),
        _ => Fault::new(FaultKind::Disconnected, closed.reason.clone()),
    }
}
