//! The right to take back.

use std::sync::Arc;

use crate::authority::{GrantInfo, Revoker};

/// Held by whoever attenuated or shared. Dropping the last stub of it takes back too, unless the policy
/// said otherwise.
#[derive(Debug)]
pub struct GrantHandle {
    revoker: Revoker,
    by: Arc<str>,
}

impl GrantHandle {
    pub(super) fn new(revoker: Revoker, by: Arc<str>) -> Self {
        Self { revoker, by }
    }

    /// What it would take back, and whether that still lives.
    pub fn info(&self) -> (GrantInfo, bool) {
        (self.revoker.info(), self.revoker.is_live())
    }

    /// Ends everything derived, streams included. Resolves when no call through any of it can start.
    pub async fn revoke(&self) {
        self.revoker.revoke(&self.by).await;
    }
}
