//! A line that a test can spoil: a TCP proxy between a client and a server.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// They arrive.
    Pass,
    /// They wait.
    Hold,
    /// After this many more the line is cut, in both directions. Once.
    CutAfter(usize),
    /// The next frame's header is spoilt. Once.
    SpoilFrame,
    /// The next frame's content is. Once.
    SpoilContent,
}

/// The proxy. It ends with the test's runtime.
pub(crate) struct Proxy {
    address: SocketAddr,
    /// From the client to the server.
    up: watch::Sender<Mode>,
    /// From the server to the client.
    down: watch::Sender<Mode>,
}

impl Proxy {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (up, down) = (watch::Sender::new(Mode::Pass), watch::Sender::new(Mode::Pass));
        let modes = (up.clone(), down.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { break };
                let (up, down) = modes.clone();
                tokio::spawn(join(client, server, up, down));
            }
        });
        Self { address, up, down }
    }

    /// What happens from now on to what the client sends.
    pub(crate) fn requests(&self, mode: Mode) {
        self.up.send_replace(mode);
    }

    /// What happens from now on to what the server sends.
    pub(crate) fn replies(&self, mode: Mode) {
        self.down.send_replace(mode);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn join(client: TcpStream, server: TcpStream, up: watch::Sender<Mode>, down: watch::Sender<Mode>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whichever ends first takes the other with it.
    tokio::select! {
        () = pump(from_client, to_server, up) => {}
        () = pump(from_server, to_client, down) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: watch::Sender<Mode>) {
    let mut buffer = vec![0; 64 << 10];
    let mut present = mode.subscribe();
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        let bytes = &mut buffer[..length];
        let now = *present.wait_for(|mode| *mode != Mode::Hold).await.unwrap();
        match now {
            Mode::Pass | Mode::Hold => {}
            Mode::CutAfter(left) if left <= length => {
                let _ = to.write_all(&bytes[..left]).await;
                mode.send_replace(Mode::Pass);
                return;
            }
            Mode::CutAfter(left) => {
                mode.send_replace(Mode::CutAfter(left - length));
            }
            Mode::SpoilFrame => {
                bytes[0] |= 0x70;
                mode.send_replace(Mode::Pass);
            }
            Mode::SpoilContent => {
                // The count of segments stands first.
                let header = match bytes[1] & 0x7f {
                    127 => 10,
                    126 => 4,
                    _ => 2,
                };
                bytes[header..header + 4].fill(0xff);
                mode.send_replace(Mode::Pass);
            }
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
