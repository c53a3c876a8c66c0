//! The calls of one connection that run: started in their order, answered in whatever order they finish.

use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll};

use ::capnweb::{Action, Call, CallId, Closed, Error, Session};
use futures::future::{AbortHandle, Abortable, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};

use super::connection::Connection;
use super::object::{self, Object};
use super::reply::Value;
use crate::transport::WebHost;

type Answer = (CallId, Result<Value, Error>);

/// Runs the calls that a session asks for.
pub(super) struct Calls {
    connection: Rc<Connection>,
    running: FuturesUnordered<Abortable<LocalBoxFuture<'static, Answer>>>,
    aborts: HashMap<CallId, AbortHandle>,
}

impl Calls {
    pub(super) fn new(connection: &Rc<Connection>) -> Self {
        Self { connection: Rc::clone(connection), running: FuturesUnordered::new(), aborts: HashMap::new() }
    }

    fn act(
        &mut self,
        action: Action<Object>,
        cx: &mut Context<'_>,
        send: &mut dyn FnMut(String),
    ) -> Result<(), Box<Closed>> {
        match action {
            Action::Send(frame) => {
                let bytes = frame.len();
                send(frame);
                self.connection.session(|session| session.flushed(bytes));
            }
            Action::Call(call) => self.start(call, cx),
            Action::Cancel(call) => {
                if let Some(abort) = self.aborts.remove(&call) {
                    abort.abort();
                }
            }
            Action::Answered { question, result } => self.connection.answered(question, result),
            // Nothing of ours takes a stream, so nothing that comes on one can be meant.
            Action::Write(write) => {
                let refusal = Error::type_error("streams are not taken here: pass plain values");
                self.connection.session(|session| session.answer(write.id, Err(refusal)));
            }
            Action::Dropped(object) => drop(object),
            Action::Closed(closed) => return Err(Box::new(closed)),
        }
        Ok(())
    }

    /// Starts a call at once, so that calls start in the order in which they came.
    fn start(&mut self, call: Call<Object>, cx: &mut Context<'_>) {
        let id = call.id;
        let connection = Rc::clone(&self.connection);
        let mut running: LocalBoxFuture<'static, Answer> =
            Box::pin(async move { (id, object::call(connection, call).await) });
        if let Poll::Ready((id, result)) = running.as_mut().poll(cx) {
            return self.connection.session(|session| session.answer(id, result));
        }
        let (abort, registration) = AbortHandle::new_pair();
        self.aborts.insert(id, abort);
        self.running.push(Abortable::new(running, registration));
    }
}

impl WebHost for Calls {
    type Object = Object;

    fn session<R>(&self, step: impl FnOnce(&mut Session<Object>) -> R) -> R {
        self.connection.session(step)
    }

    fn register(&self, cx: &mut Context<'_>) {
        self.connection.register(cx);
    }

    fn work(&mut self, cx: &mut Context<'_>, send: &mut dyn FnMut(String)) -> Result<(), Box<Closed>> {
        loop {
            while let Some(action) = self.connection.poll() {
                self.act(action, cx, send)?;
            }
            let Poll::Ready(Some(finished)) = self.running.poll_next_unpin(cx) else { return Ok(()) };
            // One that was cancelled has nothing to say.
            if let Ok((id, result)) = finished {
                self.aborts.remove(&id);
                self.connection.session(|session| session.answer(id, result));
            }
        }
    }

    fn end(&mut self) {
        self.running.clear();
        self.aborts.clear();
        while let Some(action) = self.connection.poll() {
            match action {
                Action::Answered { question, result } => self.connection.answered(question, result),
                other => drop(other),
            }
        }
    }
}
