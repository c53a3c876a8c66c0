//! Live counters of the listener, for metrics and tests.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::admission::Refusal;
use super::origin::Foreign;

/// Live counters. Cheap to read at any time, from any thread.
#[derive(Debug, Default)]
pub struct NetCounters {
    connections: AtomicUsize,
    sockets: AtomicUsize,
    accepted: AtomicU64,
    accept_errors: AtomicU64,
    refused_total: AtomicU64,
    refused_address: AtomicU64,
    requests: AtomicUsize,
    body_bytes: AtomicUsize,
    foreign_hosts: AtomicU64,
    foreign_origins: AtomicU64,
    panics: AtomicU64,
    closes: Mutex<BTreeMap<&'static str, u64>>,
}

impl NetCounters {
    /// Connections that are open now, of any protocol.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// WebSocket connections that are open now.
    pub fn sockets(&self) -> usize {
        self.sockets.load(Ordering::Relaxed)
    }

    /// Connections accepted since the start, refused ones not among them.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Times that the system failed to accept a connection, for want of file descriptors for example.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections refused since the start, for this reason.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refusals(reason).load(Ordering::Relaxed)
    }

    /// Requests that wait for calls now.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of the bodies of requests that are being answered now.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes.load(Ordering::Relaxed)
    }

    /// Requests refused since the start because of their `Host`.
    pub fn foreign_hosts(&self) -> u64 {
        self.foreign_hosts.load(Ordering::Relaxed)
    }

    /// Requests refused since the start because of their `Origin`.
    pub fn foreign_origins(&self) -> u64 {
        self.foreign_origins.load(Ordering::Relaxed)
    }

    /// Defects that ended a connection since the start.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// How WebSocket connections ended since the start:
    /// [`CloseReason::label`](crate::transport::CloseReason::label) and how often.
    pub fn closes(&self) -> BTreeMap<&'static str, u64> {
        self.lock_closes().clone()
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self, reason: Refusal) {
        self.refusals(reason).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_foreign(&self, foreign: Foreign) {
        let counter = match foreign {
            Foreign::NoHost | Foreign::Host => &self.foreign_hosts,
            Foreign::Origin => &self.foreign_origins,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_close(&self, label: &'static str) {
        *self.lock_closes().entry(label).or_default() += 1;
    }

    pub(super) fn gauge_connections(&self) -> &AtomicUsize {
        &self.connections
    }

    pub(super) fn gauge_requests(&self) -> &AtomicUsize {
        &self.requests
    }

    pub(super) fn gauge_body_bytes(&self) -> &AtomicUsize {
        &self.body_bytes
    }

    pub(super) fn gauge_sockets(&self) -> &AtomicUsize {
        &self.sockets
    }

    fn refusals(&self, reason: Refusal) -> &AtomicU64 {
        match reason {
            Refusal::Connections => &self.refused_total,
            Refusal::ConnectionsPerAddress => &self.refused_address,
        }
    }

    fn lock_closes(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.closes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One more of something, for as long as this lives.
#[derive(Debug)]
pub(super) struct OneMore<'a>(&'a AtomicUsize);

impl<'a> OneMore<'a> {
    pub(super) fn of(gauge: &'a AtomicUsize) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for OneMore<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
