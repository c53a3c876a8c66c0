//! What a connection comes over: a TCP socket, or a pipe within this process.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that a pipe holds in each direction.
pub(super) const PIPE_BYTES: usize = 64 << 10;

/// A connection on its way to a worker: a TCP socket belongs to no runtime meanwhile.
pub(super) enum Incoming {
    Tcp(std::net::TcpStream),
    Pipe(DuplexStream),
}

impl Incoming {
    /// Takes it into the runtime of this thread.
    pub(super) fn settle(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                Socket::Tcp(TcpStream::from_std(stream)?)
            }
            Self::Pipe(pipe) => Socket::Pipe(pipe),
        })
    }
}

/// A connection that is being served.
pub(super) enum Socket {
    Tcp(TcpStream),
    Pipe(DuplexStream),
}

/// Does with whichever it is what is said of it.
macro_rules! either {
    ($self:ident, $stream:ident => $does:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => $does,
            Self::Pipe($stream) => $does,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Pipe(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
