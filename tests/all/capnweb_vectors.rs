//! The vectors of `crates/capnweb`, played over real sockets at our listener, by the program that plays them to the npm
//! reference.
//!
//! The objects of A2A are not those that the vectors call. So their test service stands behind the server's own accept
//! loop, HTTP, upgrade, and text line, and drives a session of the crate as `bindings/capnweb` does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::capnweb::{Action, Batch, Limits, Session};
use a2a_webcap::model::Timestamp;
use a2a_webcap::net::{
    ConnectionInfo, Document, Listening, MalformedBatch, NetConfig, NetCounters, Routes, WorkerRoutes, listen,
};
use a2a_webcap::shutdown::Shutdown;
use a2a_webcap::transport::{CloseReason, ConnectionHandle, Line, Speaker, code};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, LocalBoxFuture};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::capnweb_node;

#[path = "../../crates/capnweb/tests/reference/normal.rs"]
mod normal;
#[path = "../../crates/capnweb/tests/support/service.rs"]
mod service;
#[path = "../../crates/capnweb/tests/support/streams.rs"]
mod streams;
#[path = "../../crates/capnweb/tests/support/vectors.rs"]
#[expect(dead_code, reason = "what only the reference is held to")]
mod vectors;

use service::{Service, Thing};
use vectors::{End, Vector, Words, frames};

/// The test service behind our listener.
struct Test;

impl Routes for Test {
    fn agent_card(&self, _: Option<&str>) -> Option<Arc<Document>> {
        Some(Arc::new(Document::new("application/json", "{}", Timestamp::from_unix_nanos(0))))
    }

    fn readiness(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn metrics(&self, _: Arc<NetCounters>) -> BoxFuture<'static, String> {
        Box::pin(async { String::new() })
    }

    fn worker(&self) -> Box<dyn WorkerRoutes> {
        Box::new(Self)
    }
}

impl WorkerRoutes for Test {
    fn bootstrap(&self, _: ConnectionInfo, _: &Rc<ConnectionHandle>) -> capnp::capability::Client {
        unreachable!("nobody comes to speak Cap'n Proto")
    }

    fn capnweb(&self, _: ConnectionInfo, line: &Rc<Line>) -> Box<dyn Speaker> {
        line.authenticated();
        let session = Session::new(Thing::Service, Limits::default());
        Box::new(Speech { line: Rc::clone(line), session, service: Service::default(), last: None })
    }

    fn capnweb_batch(
        &self,
        _: ConnectionInfo,
        body: Bytes,
        _: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, MalformedBatch>> {
        let mut batch =
            Batch::new(Thing::Service, Limits::default(), String::from_utf8(body.to_vec()).unwrap());
        let mut service = Service::default();
        while let Some(action) = batch.poll() {
            match action {
                Action::Call(call) => service.call(batch.session(), call),
                Action::Dropped(thing) => service.dropped(thing),
                _ => {}
            }
        }
        let answer = batch.finish();
        let body = Bytes::from(answer.body);
        let answer = if answer.closed.is_none() { Ok(body) } else { Err(MalformedBatch(body)) };
        std::future::ready(answer).boxed_local()
    }
}

/// A session with the test service on a line.
struct Speech {
    line: Rc<Line>,
    session: Session<Thing>,
    service: Service,
    last: Option<Bytes>,
}

impl Speech {
    fn work(&mut self) -> Poll<CloseReason> {
        while let Some(action) = self.session.poll() {
            match action {
                Action::Send(frame) => {
                    self.session.flushed(frame.len());
                    if frame.starts_with("[\"abort\",") {
                        self.last = Some(Bytes::from(frame));
                    } else {
                        self.line.queue(Bytes::from(frame));
                    }
                }
                Action::Call(call) => self.service.call(&mut self.session, call),
                Action::Cancel(call) => self.service.cancel(call),
                Action::Write(write) => self.service.read(&mut self.session, write),
                Action::Dropped(thing) => self.service.dropped(thing),
                Action::Answered { question, result } => {
                    self.service.answered(&mut self.session, question, result);
                }
                Action::Closed(closed) => {
                    return Poll::Ready(CloseReason::Closed {
                        code: code::SESSION_OVER,
                        reason: closed.reason.into(),
                    });
                }
            }
        }
        Poll::Pending
    }
}

impl Future for Speech {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if let Poll::Ready(frame) = self.line.clone().poll_frame(cx) {
            let Ok(frame) = frame else { return Poll::Ready(frame.unwrap_err()) };
            self.session.receive(std::str::from_utf8(&frame).unwrap());
            cx.waker().wake_by_ref();
        }
        self.work()
    }
}

impl Speaker for Speech {
    fn last_words(&self, reason: &CloseReason) -> Option<Bytes> {
        let refused = || {
            let CloseReason::Refused { fault, .. } = reason else { return None };
            let error = json!(["abort", ["error", "Error", fault.message()]]);
            Some(Bytes::from(error.to_string()))
        };
        self.last.clone().or_else(refused)
    }

    fn end(&mut self, _: &mut Context<'_>) {
        self.session.closed();
        let _ = self.work();
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/capnweb/tests/vectors")
}

fn serve() -> Listening {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listen(address, NetConfig::default(), Arc::new(Test), Shutdown::default()).unwrap()
}

/// What came of each vector, as the player prints it.
fn played(address: SocketAddr) -> Vec<Value> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/capnweb");
    let output = Command::new("node")
        .arg(peers.join("run-vectors.mjs"))
        .arg(format!("ws://{address}/capnweb"))
        .args(vectors::paths(&directory()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn our_listener_answers_every_vector_over_a_real_socket() {
    if !capnweb_node::is_here("the vectors at our listener") {
        return;
    }
    let listening = serve();
    let played = played(listening.local_addr());
    let vectors = vectors::vectors(&directory());
    assert_eq!(played.len(), vectors.len());
    let wrong: Vec<String> =
        vectors.iter().zip(&played).filter_map(|(vector, played)| difference(vector, played)).collect();
    assert!(wrong.is_empty(), "{} vectors:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(listening.counters().panics(), 0);
}

/// What was otherwise than the file says of us.
fn difference(vector: &Vector, played: &Value) -> Option<String> {
    assert_eq!(played["name"], vector.name);
    let deviation = vector.deviation.as_ref();
    if let Some(answer) = &vector.answer {
        let expected = deviation.and_then(|deviation| deviation.answer.as_ref()).unwrap_or(answer);
        let of = |answer: &Value| {
            let list = answer["frames"].as_array().cloned().unwrap_or_default();
            frames(list.into_iter(), Words::Ours(vector))
        };
        let (said, agreed) = (of(played), of(expected));
        let alike = played["status"] == expected["status"] && said == agreed;
        return (!alike).then(|| format!("{}\n  expected {expected}\n  said     {played}", vector.name));
    }
    for i in 0..vector.steps.len() {
        let said = played["steps"][i].as_array().unwrap();
        let wrong = vectors::difference(vector, i, said.iter().cloned());
        if wrong.is_some() {
            return wrong;
        }
    }
    let expected = deviation.map_or(&vector.end, |deviation| &deviation.end);
    let end: Option<End> = serde_json::from_value(played["end"].clone()).unwrap();
    let alike = end.as_ref().map(|end| end.code) == expected.as_ref().map(|end| end.code);
    (!alike).then(|| format!("{}\n  ended {end:?}, expected {expected:?}", vector.name))
}
