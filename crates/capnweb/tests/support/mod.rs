//! The test service as a host of this crate, for raw frames.

mod service;
mod streams;

use std::collections::BTreeMap;

use capnweb::{Action, Batch, BatchAnswer, Closed, Limits, Session};

use crate::play::{Heard, Peer};
use service::{Service, Thing};

/// One session with the test service.
pub(crate) struct Host {
    session: Session<Thing>,
    service: Service,
    said: Vec<String>,
    ended: Option<Closed>,
}

impl Host {
    pub(crate) fn new() -> Host {
        Host::within(Limits::default())
    }

    pub(crate) fn within(limits: Limits) -> Host {
        let session = Session::new(Thing::Service, limits);
        Host { session, service: Service::default(), said: Vec::new(), ended: None }
    }

    /// Gives the session a frame, and does what it asks for.
    pub(crate) fn receive(&mut self, frame: &str) {
        self.session.receive(frame);
        self.act();
    }

    /// What was said since the last time.
    pub(crate) fn settle(&mut self) -> Heard {
        self.act();
        Heard {
            frames: std::mem::take(&mut self.said),
            ended: self.ended.is_some(),
            exports: self.exports(),
            imports: self.imports(),
        }
    }

    /// How the session has ended.
    pub(crate) fn ended(&self) -> Option<&Closed> {
        self.ended.as_ref()
    }

    /// Entries that the peer holds, the main object included.
    pub(crate) fn exports(&self) -> usize {
        self.session.stats().exports
    }

    /// Entries that the peer has given or owes.
    pub(crate) fn imports(&self) -> usize {
        self.session.stats().imports
    }

    /// Bytes that the session keeps for the peer.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.session.stats().kept_bytes
    }

    fn act(&mut self) {
        while let Some(action) = self.session.poll() {
            match action {
                Action::Send(frame) => {
                    self.session.flushed(frame.len());
                    self.said.push(frame);
                }
                Action::Call(call) => self.service.call(&mut self.session, call),
                Action::Cancel(call) => self.service.cancel(call),
                Action::Write(write) => self.service.read(&mut self.session, write),
                Action::Dropped(thing) => self.service.dropped(thing),
                Action::Answered { question, result } => {
                    self.service.answered(&mut self.session, question, result);
                }
                Action::Closed(closed) => self.ended = Some(closed),
            }
        }
    }
}

/// Serves an HTTP batch as far as it goes, and says whether that was to its end.
pub(crate) fn batch(body: &str) -> (BatchAnswer, bool) {
    let mut batch = Batch::new(Thing::Service, Limits::default(), body);
    let mut service = Service::default();
    while let Some(action) = batch.poll() {
        match action {
            Action::Call(call) => service.call(batch.session(), call),
            Action::Dropped(thing) => service.dropped(thing),
            _ => {}
        }
    }
    let done = batch.is_done();
    (batch.finish(), done)
}

/// This crate as one end of many sessions.
#[derive(Default)]
pub(crate) struct Ours(BTreeMap<u64, Host>);

impl Peer for Ours {
    fn round(&mut self, said: &[(u64, Vec<String>)]) -> Vec<Heard> {
        said.iter()
            .map(|(id, frames)| {
                let host = self.0.entry(*id).or_insert_with(Host::new);
                for frame in frames {
                    host.receive(frame);
                }
                host.settle()
            })
            .collect()
    }

    fn forget(&mut self, sessions: &[u64]) {
        for id in sessions {
            self.0.remove(id);
        }
    }
}
