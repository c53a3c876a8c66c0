//! A client's connection that is opened anew when it is lost, and what hears a task's events on it: nothing is
//! mended or left out on the way, as the client library's own streams would.

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use a2a_webcap::client::local::{Connection, Session};
use a2a_webcap::client::{At, Credentials, Endpoint, Features, Observer, TaskEvent};
use a2a_webcap::fault::{Fault, FaultKind, Result};
use a2a_webcap::limits::WireLimits;
use a2a_webcap::model::{StreamEnd, StreamResponse, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent};
use tokio::sync::{Mutex, mpsc};

use crate::world::{ALICE, BOB};

/// Who may ask for what: the key, and the agent.
pub(crate) const WHO: [(&str, &str); 4] = [(ALICE, ""), (ALICE, "mortal"), (BOB, ""), (BOB, "mortal")];

/// Whether tasks of this one go on after a restart.
pub(crate) fn resumes(who: usize) -> bool {
    WHO[who].1.is_empty()
}

/// A connection to one address, for as long as somebody is there. Lives in a local runtime.
pub(crate) struct Link {
    address: SocketAddr,
    open: RefCell<Option<Rc<Open>>>,
    opening: Mutex<()>,
}

/// A connection that was open when it was last looked at.
pub(crate) struct Open {
    pub(crate) connection: Connection,
    /// Begun when they are first asked for.
    sessions: [OnceCell<Session>; WHO.len()],
}

impl Link {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, open: RefCell::default(), opening: Mutex::default() }
    }

    /// An open connection. Tries until there is one.
    pub(crate) async fn open(&self) -> Rc<Open> {
        let _turn = self.opening.lock().await;
        let since = Instant::now();
        loop {
            let present = self.open.borrow().clone();
            if let Some(open) = present.filter(|open| open.connection.transport().ending().is_none()) {
                return open;
            }
            match Open::new(self.address).await {
                Ok(open) => drop(self.open.replace(Some(Rc::new(open)))),
                Err(fault) => {
                    assert!(since.elapsed() < LONGEST_WAIT, "nobody answers any more: {fault}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    /// Closes the connection, if there is one.
    pub(crate) fn cut(&self) {
        if let Some(open) = self.open.take() {
            open.connection.close();
        }
    }
}

impl Open {
    pub(crate) async fn new(address: SocketAddr) -> Result<Self> {
        let endpoint: Endpoint = format!("http://{address}").parse()?;
        let open = Connection::open(&endpoint, WireLimits::default(), Duration::from_secs(10));
        Ok(Self { connection: open.await?, sessions: Default::default() })
    }

    pub(crate) fn session(&self, who: usize) -> &Session {
        let (key, tenant) = WHO[who];
        let begin = || self.connection.authenticate_to(tenant, &Credentials::api_key(key));
        self.sessions[who].get_or_init(begin)
    }
}

/// What an [`Ear`] was told.
#[derive(Debug)]
pub(crate) enum Heard {
    Event(Box<TaskEvent>),
    End(StreamEnd),
}

/// An observer that hands on what it is told, and answers when that was taken. Where nobody takes it any more,
/// it fails.
pub(crate) struct Ear {
    heard: mpsc::Sender<Heard>,
    batches: bool,
}

impl Ear {
    /// At most `ahead` events wait to be taken.
    pub(crate) fn new(ahead: usize, batches: bool) -> (Self, mpsc::Receiver<Heard>) {
        let (heard, receiver) = mpsc::channel(ahead);
        (Self { heard, batches }, receiver)
    }

    async fn hears(&self, content: StreamResponse, at: At) -> Result<()> {
        let event = TaskEvent { seq: at.seq, is_final: at.is_final, content };
        let gone = |_| Fault::new(FaultKind::Internal, "nobody listens any more");
        self.heard.send(Heard::Event(Box::new(event))).await.map_err(gone)
    }
}

impl Observer for Ear {
    fn features(&self) -> Features {
        Features { snapshots: false, messages: false, batches: self.batches }
    }

    async fn on_task(&mut self, task: Task, at: At) -> Result<()> {
        self.hears(StreamResponse::Task(task), at).await
    }

    async fn on_status_update(&mut self, update: TaskStatusUpdateEvent, at: At) -> Result<()> {
        self.hears(StreamResponse::StatusUpdate(update), at).await
    }

    async fn on_artifact_update(&mut self, update: TaskArtifactUpdateEvent, at: At) -> Result<()> {
        self.hears(StreamResponse::ArtifactUpdate(update), at).await
    }

    async fn on_end(&mut self, end: StreamEnd) {
        let _ = self.heard.send(Heard::End(end)).await;
    }
}

/// How long anything may take before it counts as hanging.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(120);
