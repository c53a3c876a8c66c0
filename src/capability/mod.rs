//! The objects that a client can hold, as plain Rust: no wire words. A binding is a shell around them.
//!
//! They live on the worker of their connection and are not `Send`. Dropping one gives up what it stood
//! for: see each type.

mod grant;
mod observer;
mod service;
mod session;
mod task;

use std::cell::Cell;
use std::future::pending;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use grant::GrantHandle;
pub use observer::{Observer, Subscription};
pub use service::{ClaimedTask, PublicService};
pub use session::{ContextChoice, Identity, Session, SessionPolicy};
pub use task::{SendOptions, Started, StartedTask, TaskHandle, expiry, no_task};

use crate::clock::Clock;
use crate::fault::Result;
use crate::model::{SendMessageRequest, SendMessageResponse};
use crate::operations::Caller;
use crate::service::AgentService;
use crate::shutdown::{Permit, Shutdown};
use crate::transport::{self, Line};

/// What the objects of one connection share.
#[derive(Debug)]
pub struct Context {
    /// The operations.
    pub service: Arc<AgentService>,
    /// Says when the server stops: streams then end with `detached` when their tasks go no further.
    pub shutdown: Shutdown,
    /// None where there is a batch in place of a connection.
    line: Option<Rc<Line>>,
    live: Live,
}

/// How many objects of a connection live: zero once it is over.
#[derive(Debug, Default)]
pub struct Live {
    /// Sessions.
    pub sessions: Cell<usize>,
    /// Streams that feed an observer.
    pub streams: Cell<usize>,
}

impl Context {
    /// The objects of a new connection, or of a batch, which has no line.
    pub fn new(service: Arc<AgentService>, shutdown: Shutdown, line: Option<&Rc<Line>>) -> Rc<Self> {
        Rc::new(Self { service, shutdown, line: line.cloned(), live: Live::default() })
    }

    /// How many objects live.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Sends a message and waits for what comes of it, which a stopping server waits for too.
    async fn send(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
        turn_timeout: Option<Duration>,
    ) -> Result<SendMessageResponse> {
        let _work = self.sends().await;
        self.service.send(caller, request, turn_timeout).await
    }

    /// Resolves at once, unless the server stops: then never. Whoever sends something is told that the line is lost, when
    /// it is, and sends it again to the next server; nobody here has taken it.
    async fn sends(&self) -> Work {
        if self.shutdown.is_stopping() {
            pending::<()>().await;
        }
        self.work()
    }

    /// Says that something is under way which the peer waits for.
    fn work(&self) -> Work {
        Work { _line: self.keeps_line(), _permit: self.shutdown.permit() }
    }

    /// Keeps a stopping server from closing the line, where there is one.
    fn keeps_line(&self) -> Option<transport::Work> {
        self.line.as_ref().map(Line::work)
    }

    /// The operations, for a call.
    fn serving(&self) -> Serving<'_> {
        Serving { service: &self.service, _line: self.keeps_line() }
    }

    fn clock(&self) -> &Clock {
        self.service.clock()
    }
}

/// Something that the peer waits for. Its line is not closed meanwhile, and a server that stops waits for it, unless it
/// began after that.
#[derive(Debug)]
struct Work {
    _line: Option<transport::Work>,
    _permit: Option<Permit>,
}

/// The operations, while a call is under way. Its line is not closed meanwhile.
#[derive(Debug)]
pub struct Serving<'a> {
    service: &'a AgentService,
    _line: Option<transport::Work>,
}

impl Deref for Serving<'_> {
    type Target = AgentService;

    fn deref(&self) -> &AgentService {
        self.service
    }
}

/// Counts an object for as long as it lives.
#[derive(Debug)]
struct LiveGuard(Rc<Context>, fn(&Live) -> &Cell<usize>);

impl LiveGuard {
    fn session(context: &Rc<Context>) -> Self {
        Self::count(context, |live| &live.sessions)
    }

    fn stream(context: &Rc<Context>) -> Self {
        Self::count(context, |live| &live.streams)
    }

    fn count(context: &Rc<Context>, which: fn(&Live) -> &Cell<usize>) -> Self {
        let cell = which(&context.live);
        cell.set(cell.get() + 1);
        Self(Rc::clone(context), which)
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let cell = (self.1)(&self.0.live);
        cell.set(cell.get() - 1);
    }
}
