//! What the listener serves, given by the layers above.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use capnp::capability::Client;
use futures::future::{BoxFuture, LocalBoxFuture};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::NetCounters;
use crate::model::Timestamp;
use crate::transport::{ConnectionHandle, Line, Speaker};

/// What stands behind the port. Shared by all workers.
pub trait Routes: Send + Sync + 'static {
    /// The public card of the tenant's agent as it stands now, or of the one that answers callers who name none; none
    /// if there is no such agent.
    fn agent_card(&self, tenant: Option<&str>) -> Option<Arc<Document>>;

    /// Whether new work is taken now; if not, why, in a word or two.
    fn readiness(&self) -> Result<(), &'static str>;

    /// All metrics as they stand now, in the text format of OpenMetrics 1.0.
    fn metrics(&self, net: Arc<NetCounters>) -> BoxFuture<'static, String>;

    /// What one worker needs; called once on each worker's own thread.
    fn worker(&self) -> Box<dyn WorkerRoutes>;
}

/// One worker's part: may hold what cannot leave its thread.
pub trait WorkerRoutes: 'static {
    /// The object that a new Cap'n Proto connection finds first.
    fn bootstrap(&self, info: ConnectionInfo, connection: &Rc<ConnectionHandle>) -> Client;

    /// What speaks on a new Cap'n Web connection.
    fn capnweb(&self, info: ConnectionInfo, line: &Rc<Line>) -> Box<dyn Speaker>;

    /// Answers a batch of Cap'n Web messages, one a line, with such messages: a session of its own. By the
    /// deadline it answers with what there is. Dropping the future gives the calls up.
    fn capnweb_batch(
        &self,
        info: ConnectionInfo,
        body: Bytes,
        deadline: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, MalformedBatch>>;
}

/// What was posted is no batch: HTTP 400 with these frames, the last of which says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedBatch(pub Bytes);

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// The `User-Agent` of the upgrade request, cut at 256 bytes; written by the peer.
    pub user_agent: Option<String>,
}

/// A document that is served as it is, with what caches ask about it.
#[derive(Debug)]
pub struct Document {
    pub(super) content_type: &'static str,
    pub(super) bytes: Bytes,
    pub(super) etag: String,
    pub(super) modified: String,
}

impl Document {
    /// A document of this media type, last changed at `modified`.
    pub fn new(content_type: &'static str, bytes: impl Into<Bytes>, modified: Timestamp) -> Self {
        let bytes = bytes.into();
        Self { content_type, etag: etag(&bytes), bytes, modified: http_date(modified) }
    }
}

/// A strong entity tag: equal for equal bytes only.
pub(super) fn etag(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// A time as HTTP writes it (RFC 9110, 5.6.7).
fn http_date(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // Every i64 of nanoseconds lies between the years 1677 and 2262.
    let at = OffsetDateTime::from_unix_timestamp_nanos(at.unix_nanos().into())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let day = DAYS[usize::from(at.weekday().number_days_from_monday())];
    let month = MONTHS[usize::from(u8::from(at.month())) - 1];
    let (hour, minute, second) = at.to_hms();
    format!("{day}, {:02} {month} {:04} {hour:02}:{minute:02}:{second:02} GMT", at.day(), at.year())
}

#[cfg(test)]
mod tests {
    use super::Document;
    use crate::model::Timestamp;

    #[test]
    fn a_document_has_a_strong_etag_and_an_http_date() {
        let modified = Timestamp::parse("1994-11-06T08:49:37.5Z").expect("a time");
        let document = Document::new("application/json", "{}", modified);
        assert_eq!(document.modified, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(document.etag, "\"44136fa355b3678a1146ad16f7e8649e\"");
    }
}
