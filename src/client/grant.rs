//! The right to take back, as a `Send` handle.

use super::authority::GrantInfo;
use super::local::Grant;
use super::remote::Remote;
use crate::fault::Result;

/// The right to take back what was derived. Dropping the last clone revokes, unless the policy said
/// otherwise; so does the end of the connection.
#[derive(Clone)]
pub struct GrantRef(Remote<Grant>);

impl GrantRef {
    pub(super) fn new(grant: Remote<Grant>) -> Self {
        Self(grant)
    }

    /// What became of it.
    pub async fn info(&self) -> Result<GrantInfo> {
        self.0.ask(|grant| grant.info()).await
    }

    /// Ends everything that was derived, streams included. Once this has returned, no call through any of
    /// it starts. May be called twice.
    pub async fn revoke(&self) -> Result<()> {
        self.0.ask(|grant| grant.revoke()).await
    }
}
