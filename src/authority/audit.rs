//! What a judge of the grants sees: each decision with the server's own number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::GrantId;
use crate::auth::Permission;

/// One thing that happened to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvent {
    /// A call asked to start. If it was allowed, the number was taken while its
    /// [`Pass`](super::Pass) was held.
    Checked {
        /// What it asked for.
        permission: Permission,
        /// Whether it may start.
        allowed: bool,
    },
    /// Somebody revoked the grant: from here on new calls are refused.
    Revoked,
    /// The revoke is about to be answered: every call and stream under the grant is gone.
    RevokeAnswered,
}

/// An [`AuditEvent`] with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// 1, 2, 3, … over all grants of one [`Authority`](super::Authority). If one event was over before
    /// another began, its number is the smaller one.
    pub seq: u64,
    /// The grant that was asked, or that was revoked itself.
    pub grant: GrantId,
    /// What happened.
    pub event: AuditEvent,
}

/// Where the entries go. Called in the midst of each check, from any thread, and not always in the order
/// of the numbers: be quick, and do not call back into the authority.
pub trait Audit: Send + Sync {
    /// Takes note of an entry.
    fn record(&self, entry: AuditEntry);
}

/// The sink, if there is one, and the counter beside it. Without a sink nothing is counted.
pub(super) struct Auditor {
    sink: Option<Arc<dyn Audit>>,
    last_seq: AtomicU64,
}

impl Auditor {
    pub(super) fn new(sink: Option<Arc<dyn Audit>>) -> Self {
        Self { sink, last_seq: AtomicU64::new(0) }
    }

    pub(super) fn record(&self, grant: GrantId, event: AuditEvent) {
        if let Some(sink) = &self.sink {
            let seq = self.last_seq.fetch_add(1, Ordering::AcqRel) + 1;
            sink.record(AuditEntry { seq, grant, event });
        }
    }
}
