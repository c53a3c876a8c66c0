//! A client's line to its server, and how it gets it back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, WeakShared};

use super::credentials::Credentials;
use super::dial::{self, Dialer};
use super::endpoint::Endpoint;
use super::local::{Connection, Operations, Pending, Session};
use super::notice::{ClientNotice, Listener};
use super::retry::{Backoff, RetryPolicy, chance};
use super::wire::Onlooker;
use crate::fault::{Fault, FaultKind, Result};
use crate::limits::WireLimits;
use crate::model::ServiceParameters;

/// How to get a line.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) endpoint: Endpoint,
    pub(super) dialer: Option<Dialer>,
    pub(super) credentials: Option<Credentials>,
    pub(super) tenant: String,
    pub(super) parameters: ServiceParameters,
    pub(super) limits: WireLimits,
    pub(super) connect_timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) listener: Listener,
    pub(super) onlooker: Onlooker,
}

/// The line of a client. Worker-local.
pub(super) struct Uplink {
    settings: Settings,
    /// A session that was derived from another: it cannot be had again.
    derived: bool,
    closed: Cell<bool>,
    live: RefCell<Option<Live>>,
    reconnecting: RefCell<Option<WeakShared<LocalBoxFuture<'static, Result<Live>>>>>,
}

/// A line that was open when it was last looked at.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) session: Option<Session>,
}

impl Live {
    /// The operations, as whoever the client is.
    pub(super) fn operations(&self) -> &Operations {
        match &self.session {
            Some(session) => session,
            None => &self.connection,
        }
    }

    /// The session, for what only a session can do.
    pub(super) fn session(&self) -> Result<&Session> {
        let message = "this needs a session: give the client credentials";
        self.session.as_ref().ok_or_else(|| Fault::new(FaultKind::Unauthenticated, message))
    }

    /// Why the line is lost, if it is.
    pub(super) fn loss(&self) -> Option<Fault> {
        self.connection.transport().ending().map(|reason| reason.fault())
    }
}

impl Uplink {
    /// Opens the line, without a second try. Does not wait until the server has accepted the credentials:
    /// what is called meanwhile travels behind them.
    pub(super) async fn open(settings: Settings) -> Result<Rc<Self>> {
        let live = connect(&settings).await?;
        Ok(Self::with(settings, live, false))
    }

    /// The line of a session that was derived from this one.
    pub(super) fn derive(&self, connection: Connection, session: Session) -> Rc<Self> {
        Self::with(self.settings.clone(), Live { connection, session: Some(session) }, true)
    }

    fn with(settings: Settings, live: Live, derived: bool) -> Rc<Self> {
        Rc::new(Self {
            settings,
            derived,
            closed: Cell::new(false),
            live: RefCell::new(Some(live)),
            reconnecting: RefCell::default(),
        })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The fault of everything that comes after [`close`](Self::close), if that was called.
    pub(super) fn closed(&self) -> Option<Fault> {
        self.closed.get().then(closed)
    }

    /// Whether the next call needs a new line.
    pub(super) fn is_lost(&self) -> bool {
        self.live.borrow().as_ref().is_none_or(|live| live.loss().is_some())
    }

    /// An open line: the present one, or a new one after as many tries as the policy has.
    pub(super) async fn live(self: &Rc<Self>) -> Result<Live> {
        if self.closed.get() {
            return Err(closed());
        }
        let present = self.live.borrow().clone();
        let loss = match present {
            Some(live) => match live.loss() {
                None => return Ok(live),
                Some(loss) => loss,
            },
            None => Fault::new(FaultKind::Disconnected, "the line is lost"),
        };
        if self.derived {
            let message = "a derived session ends with its connection; derive it anew";
            return Err(Fault::new(FaultKind::Disconnected, message));
        }
        self.live.replace(None);
        // All who find the line lost share one way back.
        let under_way = self.reconnecting.borrow().as_ref().and_then(WeakShared::upgrade);
        let reconnecting = under_way.unwrap_or_else(|| {
            let reconnecting = self.clone().reconnect(loss).boxed_local().shared();
            self.reconnecting.replace(reconnecting.downgrade());
            reconnecting
        });
        reconnecting.await
    }

    async fn reconnect(self: Rc<Self>, mut why: Fault) -> Result<Live> {
        let mut backoff = Backoff::new(self.settings.retry.clone());
        while let Some(next) = backoff.next(chance()) {
            let (attempt, wait) = (next.attempt, next.wait);
            self.settings.listener.tell(ClientNotice::Reconnecting { attempt, wait, why: why.clone() });
            tokio::time::sleep(wait).await;
            if self.closed.get() {
                return Err(closed());
            }
            match connect(&self.settings).await {
                Ok(live) => {
                    self.live.replace(Some(live.clone()));
                    return Ok(live);
                }
                Err(fault) => why = fault,
            }
        }
        Err(why)
    }

    /// Makes a call that may be made again, and makes it again if the line was lost under it.
    pub(super) async fn call<T: 'static>(
        self: Rc<Self>,
        call: impl Fn(&Live) -> Result<Pending<T>>,
    ) -> Result<T> {
        let mut losses = 0;
        loop {
            let live = self.live().await?;
            match call(&live)?.await {
                // What the server says to somebody who is leaving is no news.
                Err(_) if self.closed.get() => return Err(closed()),
                Err(_) if live.loss().is_some() && losses < self.settings.retry.tries => losses += 1,
                result => return result,
            }
        }
    }

    /// Makes a call that may not be made again.
    pub(super) async fn call_once<T: 'static>(
        self: Rc<Self>,
        call: impl FnOnce(&Live) -> Result<Pending<T>>,
    ) -> Result<T> {
        let live = self.live().await?;
        match call(&live)?.await {
            Err(_) if self.closed.get() => Err(closed()),
            result => result,
        }
    }

    /// Whether the server knows a send that comes twice by its message id: not of those who show no
    /// credentials, as the ids of different people may meet there.
    pub(super) fn may_send_again(&self) -> bool {
        self.settings.credentials.is_some()
    }

    /// Ends the session and the line; what is called afterwards fails.
    pub(super) async fn close(&self) {
        self.closed.set(true);
        let Some(live) = self.live.take() else { return };
        if let Some(session) = &live.session {
            // Only a courtesy: the end of the connection ends the session too.
            let _ = tokio::time::timeout(COURTESY, session.close()).await;
        }
        if !self.derived {
            live.connection.close();
            let _ = tokio::time::timeout(COURTESY, live.connection.transport().closed()).await;
        }
    }
}

async fn connect(settings: &Settings) -> Result<Live> {
    let connection = dial::connect(settings).await?;
    let connection = connection.with_parameters(settings.parameters.clone());
    let session = settings.credentials.as_ref();
    let session = session.map(|credentials| connection.authenticate_to(&settings.tenant, credentials));
    Ok(Live { connection, session })
}

fn closed() -> Fault {
    Fault::new(FaultKind::Disconnected, "this client was closed; make a new one")
}

/// How long to wait for a server that is being left.
const COURTESY: Duration = Duration::from_secs(1);
