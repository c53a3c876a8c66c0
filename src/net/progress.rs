//! A socket that knows when it last moved, so that a slow peer can be told from one that is gone.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use crate::limits::NetLimits;

/// How far the HTTP requests of one connection have come.
#[derive(Debug)]
pub(super) struct Progress {
    /// Since when nothing is asked and nothing written.
    idle: Cell<Instant>,
    /// Since when a write waits for the peer.
    blocked: Cell<Option<Instant>>,
    /// Requests that are being answered. Their handlers have deadlines of their own.
    working: Cell<usize>,
}

impl Progress {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { idle: Cell::new(Instant::now()), blocked: Cell::new(None), working: Cell::new(0) })
    }

    /// A request is being answered until the guard is dropped.
    pub(super) fn working(self: &Rc<Self>) -> Working {
        self.working.update(|working| working + 1);
        Working(self.clone())
    }

    /// Ready when a peer has asked nothing for the whole handshake timeout, or taken nothing of an answer for
    /// the whole write timeout; up to half as long again after that.
    pub(super) async fn overdue(&self, limits: &NetLimits) {
        let step = limits.handshake_timeout.min(limits.write_timeout) / 2;
        loop {
            let now = Instant::now();
            let due = match (self.blocked.get(), self.working.get()) {
                (Some(since), _) => Some(since + limits.write_timeout),
                (None, 0) => Some(self.idle.get() + limits.handshake_timeout),
                (None, _) => None,
            };
            if due.is_some_and(|due| due <= now) {
                return;
            }
            sleep_until(due.map_or(now + step, |due| due.min(now + step))).await;
        }
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Ready(_) => {
                self.blocked.set(None);
                self.idle.set(Instant::now());
            }
            Poll::Pending if self.blocked.get().is_none() => self.blocked.set(Some(Instant::now())),
            Poll::Pending => {}
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Working(Rc<Progress>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.update(|working| working - 1);
        self.0.idle.set(Instant::now());
    }
}

/// A socket whose writes are watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    progress: Rc<Progress>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, progress: Rc<Progress>) -> Self {
        Self { inner, progress }
    }

    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.progress.wrote(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.progress.wrote(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, advance};

    use super::{Progress, Watched};
    use crate::limits::NetLimits;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(handshake: u32, write: u32) -> NetLimits {
        NetLimits {
            handshake_timeout: SECOND * handshake,
            write_timeout: SECOND * write,
            ..NetLimits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_asks_nothing_is_overdue_and_one_that_waits_for_an_answer_is_not() {
        let (progress, limits) = (Progress::new(), limits(4, 2));
        let started = Instant::now();
        let working = progress.working();
        assert!(progress.overdue(&limits).now_or_never().is_none());
        advance(SECOND * 100).await;
        assert!(progress.overdue(&limits).now_or_never().is_none());
        drop(working);
        progress.overdue(&limits).await;
        assert_eq!(started.elapsed(), SECOND * 104);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_slowly_is_not_cut_and_one_that_is_not_taken_is() {
        let (progress, limits) = (Progress::new(), limits(4, 2));
        let (ours, mut theirs) = duplex(10);
        let mut ours = Watched::new(ours, progress.clone());
        let writing = async move {
            let _ = ours.write_all(&[7; 200]).await;
        };
        let watch = async {
            progress.overdue(&limits).await;
            Instant::now()
        };
        let reading = async {
            let mut part = [0; 10];
            // Longer in all than any timeout, and then no more.
            for _ in 0..10 {
                tokio::time::sleep(SECOND).await;
                theirs.read_exact(&mut part).await.expect("what was written");
            }
            std::future::pending::<()>().await;
        };
        let started = Instant::now();
        let cut = tokio::select! {
            cut = watch => cut,
            () = writing => unreachable!("nobody reads that far"),
            () = reading => unreachable!("it waits for ever"),
        };
        assert_eq!(cut - started, SECOND * 12);
    }
}
