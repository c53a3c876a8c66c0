//! A line between the demo's clients and its server: as long as we like, and cut when we like.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The line. Dropping it ends it.
pub(super) struct SlowLine {
    address: SocketAddr,
    scissors: Arc<Mutex<CancellationToken>>,
    _accepting: AbortOnDropHandle<()>,
}

impl SlowLine {
    /// What goes in on one side comes out on the other after this time, in order.
    pub(super) async fn to(server: SocketAddr, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let scissors = Arc::new(Mutex::new(CancellationToken::new()));
        let shared = Arc::clone(&scissors);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let cut = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        _ = carry(near, server, delay) => {}
                    }
                });
            }
        });
        Ok(Self { address, scissors, _accepting: AbortOnDropHandle::new(accepting) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection there is; new ones can be made.
    pub(super) fn cut(&self) {
        let mut scissors = self.scissors.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *scissors).cancel();
    }
}

async fn carry(near: TcpStream, server: SocketAddr, delay: Duration) -> io::Result<()> {
    let far = TcpStream::connect(server).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (from_client, to_client) = near.into_split();
    let (from_server, to_server) = far.into_split();
    tokio::try_join!(late(from_client, to_server, delay), late(from_server, to_client, delay))?;
    Ok(())
}

async fn late(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(UNDERWAY);
    let reading = async move {
        loop {
            let mut bytes = vec![0; 16 << 10];
            let read = from.read(&mut bytes).await?;
            bytes.truncate(read);
            if read == 0 || sender.send((Instant::now() + delay, bytes)).await.is_err() {
                return Ok::<_, io::Error>(());
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(|_| ())
}

/// Pieces that are on the line at once.
const UNDERWAY: usize = 256;
