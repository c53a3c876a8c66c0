//! Flow control of one stream of calls: a window of bytes that its callee has not acknowledged.
//!
//! capnp-rpc's own controller has a fixed window of 64 KiB, spawns a task for each call, and keeps one
//! task for each stream until the connection ends. This one polls the oldest acknowledgement only (a
//! callee answers streaming calls in order) and is gone with its stream.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use capnp::Error;
use capnp::capability::Promise;
use capnp_rpc::{FlowController, OutgoingMessage};
use futures::channel::oneshot;
use futures::future::poll_fn;

/// A controller with this window, and the future that drives it.
pub(super) fn controller(window: usize) -> (Box<dyn FlowController>, Promise<(), Error>) {
    let stream = Rc::new(RefCell::new(Stream { window, ..Stream::default() }));
    let mut driven = Driven(stream.clone());
    let driver = Promise::from_future(poll_fn(move |cx| driven.poll(cx)));
    (Box::new(Controller(stream)), driver)
}

/// What the calling side holds.
struct Controller(Rc<RefCell<Stream>>);

/// What the connection polls. Dropped with the connection, which fails the stream.
struct Driven(Rc<RefCell<Stream>>);

#[derive(Default)]
struct Stream {
    window: usize,
    /// Bytes of the largest call so far.
    largest: usize,
    in_flight: usize,
    unanswered: VecDeque<(usize, Promise<(), Error>)>,
    blocked: Vec<oneshot::Sender<Result<(), Error>>>,
    emptied: Vec<oneshot::Sender<Result<(), Error>>>,
    failed: Option<Error>,
    /// Nobody will call any more.
    dropped: bool,
    /// Nobody will poll any more.
    undriven: bool,
    driver: Option<Waker>,
}

impl Stream {
    /// A message longer than the window is let through, and the next behind it, so that a round trip
    /// is not idle after each.
    fn has_room(&self) -> bool {
        self.in_flight < self.window.saturating_add(self.largest)
    }

    fn release(&mut self) {
        let state = self.state();
        if self.failed.is_some() || self.has_room() {
            for sender in self.blocked.drain(..) {
                let _ = sender.send(state.clone());
            }
        }
        if self.unanswered.is_empty() {
            for waiter in self.emptied.drain(..) {
                let _ = waiter.send(state.clone());
            }
        }
    }

    fn state(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn wake(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}

impl Driven {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            // Polled and dropped while the stream is not borrowed: an answer may hold anything.
            let oldest = self.0.borrow_mut().unanswered.pop_front();
            let Some((bytes, mut answer)) = oldest else { break };
            let polled = Pin::new(&mut answer).poll(cx);
            let mut stream = self.0.borrow_mut();
            let Poll::Ready(answered) = polled else {
                stream.unanswered.push_front((bytes, answer));
                return Poll::Pending;
            };
            stream.in_flight -= bytes;
            if let Err(error) = answered {
                stream.failed.get_or_insert(error);
            }
            stream.release();
        }
        let mut stream = self.0.borrow_mut();
        if stream.dropped {
            return Poll::Ready(Ok(()));
        }
        stream.driver = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let mut stream = self.0.borrow_mut();
        stream.undriven = true;
        stream.failed.get_or_insert_with(over);
        let unanswered = std::mem::take(&mut stream.unanswered);
        stream.release();
        drop(stream);
        drop(unanswered);
    }
}

impl FlowController for Controller {
    fn send(&mut self, message: Box<dyn OutgoingMessage>, ack: Promise<(), Error>) -> Promise<(), Error> {
        let bytes = message.size_in_words() * 8;
        // Always at once: calls must leave in the order in which they were made.
        let _ = message.send();
        let mut stream = self.0.borrow_mut();
        if stream.undriven {
            return Promise::err(over());
        }
        stream.largest = stream.largest.max(bytes);
        stream.in_flight += bytes;
        stream.unanswered.push_back((bytes, ack));
        stream.wake();
        if stream.failed.is_some() || stream.has_room() {
            return match stream.state() {
                Ok(()) => Promise::ok(()),
                Err(error) => Promise::err(error),
            };
        }
        let (sender, room) = oneshot::channel();
        stream.blocked.push(sender);
        wait(room)
    }

    fn wait_all_acked(&mut self) -> Promise<(), Error> {
        let mut stream = self.0.borrow_mut();
        if stream.unanswered.is_empty() {
            return Promise::ok(());
        }
        let (sender, emptied) = oneshot::channel();
        stream.emptied.push(sender);
        wait(emptied)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let mut stream = self.0.borrow_mut();
        stream.dropped = true;
        stream.wake();
    }
}

fn wait(signal: oneshot::Receiver<Result<(), Error>>) -> Promise<(), Error> {
    Promise::from_future(async move { signal.await.unwrap_or_else(|_| Err(over())) })
}

fn over() -> Error {
    Error::disconnected("the connection is over".to_owned())
}
