//! Request bodies: read whole, within a bound for each and one for all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::{HeaderMap, StatusCode, header};
use tokio::time::timeout;

use super::counters::NetCounters;
use super::problem::Problem;
use crate::limits::NetLimits;

/// The bodies of all requests that are being answered.
#[derive(Debug)]
pub(super) struct Bodies {
    counters: Arc<NetCounters>,
    all: usize,
    one: usize,
}

/// A body, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _room: Room,
}

impl Bodies {
    pub(super) fn new(limits: &NetLimits, counters: Arc<NetCounters>) -> Arc<Self> {
        Arc::new(Self { counters, all: limits.bodies_bytes, one: limits.body_bytes })
    }

    /// Reads a body to its end. The caller bounds the time. Of one that is refused the rest is read and
    /// forgotten for a moment, for a peer that still sends would not see the answer.
    pub(super) async fn read(
        self: &Arc<Self>,
        headers: &HeaderMap,
        mut body: Incoming,
    ) -> Result<Body, Problem> {
        let read = match check(headers) {
            Ok(()) => self.read_all(&mut body).await,
            Err(problem) => Err(problem),
        };
        if read.is_err() && !body.is_end_stream() {
            tokio::task::spawn_local(timeout(DISCARD_TIME, discard(body)));
        }
        read
    }

    async fn read_all(self: &Arc<Self>, body: &mut Incoming) -> Result<Body, Problem> {
        let announced = body.size_hint().lower();
        if announced > self.one as u64 {
            return Err(too_large());
        }
        let mut room = Room { bodies: self.clone(), bytes: 0 };
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|_| Problem::bad_request("the request's body is cut off or malformed"))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > self.one {
                return Err(too_large());
            }
            room.take(data.len())?;
            bytes.extend_from_slice(&data);
        }
        Ok(Body { bytes: bytes.freeze(), _room: room })
    }
}

/// A part of what all bodies may hold.
#[derive(Debug)]
struct Room {
    bodies: Arc<Bodies>,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.bodies.counters.gauge_body_bytes().fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > self.bodies.all {
            return Err(Problem::overloaded());
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bodies.counters.gauge_body_bytes().fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn check(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "INVALID_ARGUMENT",
            "the body must not be compressed: send no Content-Encoding",
        )),
        _ => Ok(()),
    }
}

fn too_large() -> Problem {
    let message = "the body is too long: send less at once, or raise `limits.net.body-bytes`";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "INVALID_ARGUMENT", message)
}

async fn discard(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// For how long the rest of a refused body is read.
const DISCARD_TIME: Duration = Duration::from_secs(2);
