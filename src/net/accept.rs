//! The accept loop: admits, or refuses with an answer, and deals sockets to workers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::admission::{Admission, Refusal};
use super::problem::{Problem, RETRY_AFTER_SECONDS};
use super::socket::Incoming;
use super::worker::{Arrival, Common, WorkerHandle};

/// Accepts until the server stops: from a socket, if there is one, and what comes through the door.
pub(super) async fn run(
    listener: Option<TcpListener>,
    mut door: mpsc::Receiver<DuplexStream>,
    common: Arc<Common>,
    workers: Vec<WorkerHandle>,
) {
    let admission = Admission::new(&common.config.net, common.counters.clone());
    let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            accepted = accept(listener.as_ref()) => accepted,
            Some(pipe) = door.recv() => Ok((Incoming::Pipe(pipe), INSIDE)),
            () = common.shutdown.stopping() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: a moment later there may be one.
                common.counters.count_accept_error();
                tracing::warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match admission.admit(peer.ip()) {
            Ok(place) => {
                turn += 1;
                least_loaded(&workers, turn).give(Arrival { stream, peer, place });
            }
            Err(refusal) => {
                tracing::debug!(%peer, ?refusal, "connection refused");
                // A flood beyond this is dropped without an answer.
                if let Ok(permit) = refusals.clone().try_acquire_owned() {
                    tokio::spawn(async move {
                        let _ = timeout(REFUSAL_TIME, refuse(stream, refusal)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(Incoming, SocketAddr)> {
    let Some(listener) = listener else { return std::future::pending().await };
    let (stream, peer) = listener.accept().await?;
    Ok((Incoming::Tcp(stream.into_std()?), peer))
}

/// The worker with the fewest connections; among equals, the next in turn.
fn least_loaded(workers: &[WorkerHandle], turn: usize) -> &WorkerHandle {
    let next = turn % workers.len();
    let (before, after) = workers.split_at(next);
    let in_turn = after.iter().chain(before);
    in_turn.min_by_key(|worker| worker.load()).expect("a listener has at least one worker")
}

/// Answers before anything was asked, then waits for the peer to take it.
async fn refuse(stream: Incoming, refusal: Refusal) -> io::Result<()> {
    let mut stream = stream.settle()?;
    let (status, word, message) = match refusal {
        Refusal::Connections => {
            (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the server has no room for more connections")
        }
        Refusal::ConnectionsPerAddress => {
            (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", "this address has too many connections")
        }
    };
    let body = Problem::new(status, word, message).body().to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: {RETRY_AFTER_SECONDS}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What the peer has sent must be read, or closing would reset the line and lose the answer.
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}

/// Binds, with an address that can be bound again at once after a restart.
pub(super) fn bind(address: SocketAddr) -> io::Result<tokio::net::TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Connections that the system keeps for us while we are busy.
pub(super) const BACKLOG: u32 = 1_024;
/// Where who is in this process counts as being.
pub(super) const INSIDE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Refused connections that are given an answer at the same time.
const REFUSALS_AT_ONCE: usize = 64;
/// Time for giving it.
const REFUSAL_TIME: Duration = Duration::from_secs(2);
