//! The worker threads: each serves everything on its connections, on a runtime of its own.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::NetConfig;
use super::admission::Place;
use super::body::Bodies;
use super::counters::{NetCounters, OneMore};
use super::http::{self, Upgraded};
use super::origin::Allowed;
use super::routes::{ConnectionInfo, MalformedBatch, Routes, WorkerRoutes};
use super::socket::{Incoming, Socket};
use super::upgrade::Protocol;
use crate::fault::{Fault, FaultKind};
use crate::limits::NetLimits;
use crate::shutdown::{Permit, Shutdown};
use crate::transport::{self, CloseReason, Line, WebSocket, code};

/// What all workers share.
pub(super) struct Common {
    pub(super) config: NetConfig,
    pub(super) routes: Arc<dyn Routes>,
    pub(super) counters: Arc<NetCounters>,
    pub(super) shutdown: Shutdown,
    /// Cancelled when connections must end.
    pub(super) closing: CancellationToken,
    pub(super) bodies: Arc<Bodies>,
}

/// An accepted socket on its way to a worker.
pub(super) struct Arrival {
    pub(super) stream: Incoming,
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
}

/// A worker as the accept loop sees it. Dropped, the worker ends when its connections have.
pub(super) struct WorkerHandle {
    arrivals: mpsc::UnboundedSender<Arrival>,
    load: Arc<AtomicUsize>,
}

impl WorkerHandle {
    /// Starts a worker's thread.
    pub(super) fn start(index: usize, common: Arc<Common>) -> io::Result<(Self, JoinHandle<()>)> {
        // Bounded by the connections that admission lets in.
        let (arrivals, incoming) = mpsc::unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        let counted = load.clone();
        let name = format!("a2a-net-{index}");
        let thread = super::start_thread(
            name,
            |_| Ok(()),
            move |runtime, ()| {
                let routes = common.routes.worker();
                let worker = Rc::new(Worker { common, routes });
                LocalSet::new().block_on(&runtime, worker.run(incoming, counted));
            },
        )?;
        Ok((Self { arrivals, load }, thread))
    }

    /// Connections that this worker serves.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(super) fn give(&self, arrival: Arrival) {
        self.load.fetch_add(1, Ordering::Relaxed);
        if self.arrivals.send(arrival).is_err() {
            tracing::error!("a worker is gone; its share of connections is dropped");
        }
    }
}

/// One worker, on its own thread.
pub(super) struct Worker {
    common: Arc<Common>,
    routes: Box<dyn WorkerRoutes>,
}

impl Worker {
    pub(super) fn limits(&self) -> &NetLimits {
        &self.common.config.net
    }

    pub(super) fn routes(&self) -> &dyn Routes {
        &*self.common.routes
    }

    pub(super) fn allowed(&self) -> &Allowed {
        &self.common.config.allowed
    }

    pub(super) fn counters(&self) -> &Arc<NetCounters> {
        &self.common.counters
    }

    pub(super) fn bodies(&self) -> &Arc<Bodies> {
        &self.common.bodies
    }

    /// Permission to begin something that a stopping server waits for.
    pub(super) fn permit(&self) -> Option<Permit> {
        self.common.shutdown.permit()
    }

    /// Answers a batch of Cap'n Web messages.
    pub(super) fn batch(
        &self,
        info: ConnectionInfo,
        body: Bytes,
        deadline: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, MalformedBatch>> {
        self.routes.capnweb_batch(info, body, deadline)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.common.shutdown.is_stopping()
    }

    async fn run(self: Rc<Self>, mut arrivals: mpsc::UnboundedReceiver<Arrival>, load: Arc<AtomicUsize>) {
        let mut connections = JoinSet::new();
        let mut open = true;
        while open || !connections.is_empty() {
            tokio::select! {
                arrival = arrivals.recv(), if open => match arrival {
                    Some(arrival) => { connections.spawn_local(self.clone().serve(arrival)); }
                    None => open = false,
                },
                Some(ended) = connections.join_next() => {
                    load.fetch_sub(1, Ordering::Relaxed);
                    self.note_end(ended);
                }
            }
        }
    }

    /// A panic ended this connection's task, and nothing else.
    fn note_end(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            self.common.counters.count_panic();
            tracing::error!(%error, "a defect ended a connection");
        }
    }

    async fn serve(self: Rc<Self>, arrival: Arrival) {
        let Arrival { stream, peer, place: _place } = arrival;
        let stream = match stream.settle() {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%peer, %error, "a socket was lost before it was served"),
        };
        // Boxed, so that an idle WebSocket does not keep the room that HTTP needed.
        let upgraded = Box::pin(http::serve(self.clone(), stream, peer)).await;
        if let Some(upgraded) = upgraded {
            let reason = Box::pin(self.clone().serve_rpc(upgraded)).await;
            self.common.counters.count_close(reason.label());
            if reason == CloseReason::Panicked {
                self.common.counters.count_panic();
            }
            tracing::debug!(%peer, %reason, "connection closed");
        }
    }

    async fn serve_rpc(self: Rc<Self>, upgraded: Upgraded<Socket>) -> CloseReason {
        let _one_more = OneMore::of(self.common.counters.gauge_sockets());
        let Upgraded { stream, read, info, protocol } = upgraded;
        let peer = Some(info.peer);
        let wire = self.common.config.wire.clone();
        let socket = WebSocket::server(stream, &read, &wire).await;
        drop(read);
        match protocol {
            Protocol::Capnp => {
                let (connection, driver) =
                    transport::accept(socket, peer, wire, |handle| self.routes.bootstrap(info, handle));
                self.watch(connection.line(), driver).await
            }
            Protocol::Capnweb => {
                let (line, driver) = transport::accept_text(socket.of_text(), peer, wire, |line| {
                    self.routes.capnweb(info, line)
                });
                self.watch(&line, driver).await
            }
        }
    }

    /// Drives a connection to its end, and ends it where nobody authenticates or the server stops.
    async fn watch(&self, line: &Line, mut driver: impl Future<Output = CloseReason> + Unpin) -> CloseReason {
        let mut authenticate = Some(Box::pin(sleep(self.limits().authenticate_timeout)));
        let mut leaving = Some(Box::pin(self.leaves(line)));
        loop {
            tokio::select! {
                biased;
                reason = &mut driver => return reason,
                () = elapsed(&mut authenticate) => {
                    if !line.is_authenticated() {
                        line.refuse(Fault::new(FaultKind::Unauthenticated, "authenticate sooner after connecting"));
                    }
                }
                () = elapsed(&mut leaving) => {
                    line.close(code::GOING_AWAY, "the server stops; connect again");
                }
            }
        }
    }

    /// Resolves when the server stops and has no more to do with this connection: nothing is under way there, or there is
    /// no more time. What is asked on a line that stays open while others work would wait for them, and not for the next
    /// server.
    async fn leaves(&self, line: &Line) {
        let idle = async {
            self.common.shutdown.stopping().await;
            while !line.is_idle() {
                if line.wait_until(|| line.is_idle()).await.is_err() {
                    return std::future::pending().await;
                }
                sleep(LAST_QUESTIONS).await;
            }
        };
        tokio::select! {
            () = self.common.closing.cancelled() => {}
            () = idle => {}
        }
    }
}

/// What clients of a stopping server have for calls that they make only now: whoever has just heard that a task is over
/// asks what came of it.
pub(super) const LAST_QUESTIONS: Duration = Duration::from_millis(250);

/// Waits for a future once; afterwards, for ever.
async fn elapsed<F: Future<Output = ()>>(future: &mut Option<Pin<Box<F>>>) {
    match future {
        Some(waited) => waited.await,
        None => std::future::pending().await,
    }
    *future = None;
}
