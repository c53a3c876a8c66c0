//! The yardstick: tokio-tungstenite and nothing else.

use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::Outcome;
use crate::process::answer;

/// When frames are flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Every frame by itself.
    Each,
    /// Once for all that was there to read.
    Batch,
}

impl FromStr for Flush {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "each" => Ok(Self::Each),
            "batch" => Ok(Self::Batch),
            other => Err(format!("{other} is no way to flush")),
        }
    }
}

/// Answers each frame with one of `reply` bytes.
pub(crate) fn serve(reply: usize, flush: Flush) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(
                    async move { echo(stream, reply, flush).await.map_err(|error| error.to_string()) },
                );
            }
        });
        answer(&address, async |_| Ok(String::new())).await
    })
}

async fn echo(
    stream: TcpStream,
    reply: usize,
    flush: Flush,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    stream.set_nodelay(true)?;
    let mut socket = accept_async(stream).await?;
    let reply = Bytes::from(vec![7; reply]);
    while let Some(frame) = socket.next().await {
        if !frame?.is_binary() {
            continue;
        }
        socket.feed(Message::Binary(reply.clone())).await?;
        if flush == Flush::Batch {
            while let Some(Some(frame)) = socket.next().now_or_never() {
                if frame?.is_binary() {
                    socket.feed(Message::Binary(reply.clone())).await?;
                }
            }
        }
        socket.flush().await?;
    }
    Ok(())
}

/// Asks with frames of `ask` bytes, `window` of them on their way, as long as each line says.
pub(crate) fn ask(address: &str, ask: usize, window: usize, flush: Flush) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async(format!("ws://{address}/"), stream).await?;
        let client = std::rc::Rc::new(tokio::sync::Mutex::new(socket));
        let frame = Message::Binary(Bytes::from(vec![7; ask]));
        answer("ready", |line| {
            let (client, frame) = (client.clone(), frame.clone());
            async move {
                let time = Duration::from_millis(line.parse()?);
                let begun = Instant::now();
                let frames = run(&mut *client.lock().await, &frame, window, flush, begun + time).await?;
                Ok(format!("{frames} {}", begun.elapsed().as_nanos()))
            }
        })
        .await
    })
}

async fn run(
    socket: &mut WebSocketStream<TcpStream>,
    frame: &Message,
    window: usize,
    flush: Flush,
    until: Instant,
) -> Outcome<u64> {
    for _ in 0..window {
        socket.feed(frame.clone()).await?;
        if flush == Flush::Each {
            socket.flush().await?;
        }
    }
    socket.flush().await?;
    let (mut frames, mut waiting) = (0, window);
    while waiting > 0 {
        socket.next().await.ok_or("the echo ended")??;
        let mut came = 1;
        if flush == Flush::Batch {
            while came < waiting
                && let Some(frame) = socket.next().now_or_never()
            {
                frame.ok_or("the echo ended")??;
                came += 1;
            }
        }
        frames += came as u64;
        waiting -= came;
        if Instant::now() < until {
            for _ in 0..came {
                socket.feed(frame.clone()).await?;
            }
            waiting += came;
            socket.flush().await?;
        }
    }
    Ok(frames)
}
