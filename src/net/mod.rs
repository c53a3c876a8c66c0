//! The listener: one port, an accept loop, and worker threads that serve everything on their connections.
//!
//! Accepted sockets are dealt to workers, least loaded first. A worker is a thread with a
//! single-threaded runtime; nothing of a connection ever leaves it. The threads are the listener's own,
//! so it can be embedded in somebody else's tokio program.
//!
//! Whose requests are answered, and by which object, is given through [`Routes`].

mod accept;
mod admission;
mod body;
mod console;
mod counters;
mod http;
mod origin;
mod problem;
mod progress;
#[cfg(test)]
mod requests;
mod routes;
mod socket;
#[cfg(test)]
mod tests;
mod upgrade;
mod worker;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::io::DuplexStream;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use admission::Refusal;
pub use counters::NetCounters;
pub use origin::{Allowed, NotAllowed};
pub use routes::{ConnectionInfo, Document, MalformedBatch, Routes, WorkerRoutes};

use crate::limits::{NetLimits, WireLimits};
use crate::shutdown::Shutdown;
use body::Bodies;
use worker::{Common, LAST_QUESTIONS, WorkerHandle};

/// How to listen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NetConfig {
    /// Bounds of the listener.
    pub net: NetLimits,
    /// Bounds of each WebSocket connection.
    pub wire: WireLimits,
    /// Worker threads, at least one. Default: one for each core.
    pub workers: usize,
    /// The names that the server goes by and the pages that may call it. Default: loopback, and nobody else's.
    pub allowed: Allowed,
}

impl Default for NetConfig {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let allowed = Allowed::listening(Ipv4Addr::LOCALHOST.into());
        Self { net: NetLimits::default(), wire: WireLimits::default(), workers, allowed }
    }
}

/// A listener at work. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    door: Door,
    counters: Arc<NetCounters>,
    shutdown: Shutdown,
    closing: CancellationToken,
    ended: watch::Receiver<bool>,
}

/// The way into a server for who is in its process: no socket, and otherwise the same, with every check and bound.
/// Clones lead to the same server.
#[derive(Clone, Debug)]
pub struct Door(mpsc::Sender<DuplexStream>);

impl Door {
    /// A connection, as a TCP socket would be one.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] if the server has stopped, or too many wait to be let in.
    pub fn connect(&self) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(socket::PIPE_BYTES);
        self.0.try_send(theirs).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(ours)
    }
}

/// Listens at `address` (port 0: any free one), or only for who comes through the [`Door`]. When `shutdown` is thrown:
/// accepts no more, closes with 1001 every connection on which nothing is [under way](crate::transport::Line::work), and
/// others as soon as that is so; waits until its permits are gone, or the drain timeout is over and those who still work
/// have been told to hand over; then closes what is left.
///
/// # Errors
/// The address cannot be bound, or a thread cannot be started.
pub fn listen(
    address: impl Into<Option<SocketAddr>>,
    config: NetConfig,
    routes: Arc<dyn Routes>,
    shutdown: Shutdown,
) -> io::Result<Listening> {
    let socket = address.into().map(accept::bind).transpose()?;
    let address = socket.as_ref().map_or(Ok(accept::INSIDE), TcpSocket::local_addr)?;
    let (door, through_door) = mpsc::channel(accept::BACKLOG as usize);
    let counters = Arc::new(NetCounters::default());
    let closing = CancellationToken::new();
    let bodies = Bodies::new(&config.net, counters.clone());
    let common = Arc::new(Common {
        config,
        routes,
        counters: counters.clone(),
        shutdown: shutdown.clone(),
        closing: closing.clone(),
        bodies,
    });
    let mut workers = Vec::new();
    let mut threads = Vec::new();
    for index in 0..common.config.workers.max(1) {
        let (worker, thread) = WorkerHandle::start(index, common.clone())?;
        workers.push(worker);
        threads.push(thread);
    }
    let ended = start_accepting((socket, through_door), common, workers, threads)?;
    Ok(Listening { address, door: Door(door), counters, shutdown, closing, ended })
}

impl Listening {
    /// Where it listens, with the port that was chosen; `127.0.0.1:0` without a socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The way in for who is in this process.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Its live counters.
    pub fn counters(&self) -> &Arc<NetCounters> {
        &self.counters
    }

    /// Stops: see [`listen`]. Done when the last connection is closed and every thread has ended.
    pub async fn stop(mut self) {
        self.shutdown.stop();
        // An error means that the sender is gone, and the thread with it.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.shutdown.stop();
        self.closing.cancel();
    }
}

/// Starts the thread that accepts, and at the end closes connections and joins the workers.
fn start_accepting(
    (socket, door): (Option<TcpSocket>, mpsc::Receiver<DuplexStream>),
    common: Arc<Common>,
    workers: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
) -> io::Result<watch::Receiver<bool>> {
    let (done, ended) = watch::channel(false);
    let prepare = move |runtime: &Runtime| {
        let _inside = runtime.enter();
        socket.map(|socket| socket.listen(accept::BACKLOG)).transpose()
    };
    start_thread("a2a-net-accept".to_owned(), prepare, move |runtime, listener| {
        runtime.block_on(async {
            accept::run(listener, door, common.clone(), workers).await;
            drain(&common).await;
        });
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
        let _ = done.send(true);
    })?;
    Ok(ended)
}

/// Starts a thread with a single-threaded runtime; `prepare` runs there first, and its error is ours.
/// The runtime is made on the thread: it could not be dropped on a thread of another runtime.
fn start_thread<T>(
    name: String,
    prepare: impl FnOnce(&Runtime) -> io::Result<T> + Send + 'static,
    run: impl FnOnce(Runtime, T) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (report, reported) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ready = runtime.and_then(|runtime| prepare(&runtime).map(|prepared| (runtime, prepared)));
        match ready {
            Ok((runtime, prepared)) => {
                let _ = report.send(Ok(()));
                run(runtime, prepared);
            }
            Err(error) => drop(report.send(Err(error))),
        }
    })?;
    reported.recv().map_err(io::Error::other)??;
    Ok(thread)
}

/// Gives what runs its time, then tells every connection to go.
async fn drain(common: &Common) {
    let drained = async || {
        tokio::select! {
            () = common.shutdown.drained() => {}
            () = common.closing.cancelled() => {}
        }
    };
    if drained().now_or_never().is_some() {
        common.closing.cancel();
        return;
    }
    if timeout(common.config.net.drain_timeout, drained()).await.is_err() {
        tracing::warn!("work was still running when the drain timeout ended");
        common.shutdown.hand_over();
        // An error means that somebody does not listen. Nothing can be done about that.
        let _ = timeout(HAND_OVER, drained()).await;
    }
    let _ = timeout(LAST_QUESTIONS, common.closing.cancelled()).await;
    common.closing.cancel();
}

/// What those who still work have to say so to their peers.
const HAND_OVER: Duration = Duration::from_secs(1);
