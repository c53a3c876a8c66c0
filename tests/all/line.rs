//! A line between a client and a server that a test can spoil.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A TCP proxy. Dropping it leaves its connections to themselves.
pub(crate) struct Line {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    scissors: Notify,
    muted: AtomicBool,
    down: AtomicBool,
    connections: AtomicUsize,
}

impl Line {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if shared.down.load(Ordering::SeqCst) {
                    continue;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(carry(near, server, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts every connection there is.
    pub(crate) fn cut(&self) {
        self.state.scissors.notify_waiters();
    }

    /// Swallows what the server says from now on, or no longer.
    pub(crate) fn mute(&self, muted: bool) {
        self.state.muted.store(muted, Ordering::SeqCst);
    }

    /// Closes every new connection at once, or no longer.
    pub(crate) fn down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
    }

    /// Connections since the beginning.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

async fn carry(near: TcpStream, server: SocketAddr, state: Arc<State>) -> std::io::Result<()> {
    let (from_client, to_client) = near.into_split();
    let (from_server, to_server) = TcpStream::connect(server).await?.into_split();
    tokio::select! {
        // What is cut carries nothing more, whatever is ready.
        biased;
        () = state.scissors.notified() => Ok(()),
        done = copy(from_client, to_server, None) => done,
        done = copy(from_server, to_client, Some(&state)) => done,
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    answers: Option<&State>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if answers.is_some_and(|state| state.muted.load(Ordering::SeqCst)) {
            continue;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
