//! A TCP proxy that makes a line long: every byte arrives later, and none waits for another.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::Outcome;

/// Listens, and passes on to `server` what comes, `delay` later in each direction. Returns its address.
pub(crate) async fn start(server: String, delay: Duration) -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(&server).await else { continue };
            if near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).is_err() {
                continue;
            }
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            pass(near_read, far_write, delay);
            pass(far_read, near_write, delay);
        }
    });
    Ok(address)
}

/// One direction: what was read waits in a queue, each piece with the time at which it is due.
fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (queue, mut due) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
            if queue.send((Instant::now() + delay, buffer[..bytes].to_vec())).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((at, piece)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
}
