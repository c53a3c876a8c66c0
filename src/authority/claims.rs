//! Grants that wait for somebody to claim them with a secret. In memory: a restart forgets them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use secrecy::{ExposeSecret as _, SecretString};

use super::grant::Grant;
use super::lock;
use crate::auth::{self, SecretDigest};
use crate::fault::{Fault, FaultKind};
use crate::model::Timestamp;

/// What [`Authority::share`](super::Authority::share) makes.
#[derive(Debug)]
pub struct Share {
    /// Whoever shows it first gets the grant.
    pub secret: ShareSecret,
    /// What was shared.
    pub grant: Arc<Grant>,
}

/// What [`Authority::claim`](super::Authority::claim) gets.
#[derive(Debug)]
#[non_exhaustive]
pub struct Claimed {
    /// What was shared. Its principal is the one who shared it, as it is that one's authority.
    pub grant: Arc<Grant>,
}

/// A secret that can be claimed once: `a2ashare_` and 48 characters that need no escaping in a URL.
#[derive(Clone)]
pub struct ShareSecret(SecretString);

impl ShareSecret {
    /// What every such secret begins with.
    pub const PREFIX: &str = "a2ashare_";

    pub(super) fn generate() -> Result<Self, Fault> {
        auth::mint(Self::PREFIX).map(Self)
    }

    /// The secret itself: to be handed to whom it is meant for, and kept nowhere.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub(super) fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.expose())
    }
}

impl fmt::Debug for ShareSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareSecret(redacted)")
    }
}

/// The one answer to a secret that opens nothing, whatever the reason.
pub(super) fn opens_nothing() -> Fault {
    let message =
        "this secret opens nothing: it is wrong, was used, has expired or was revoked; ask for a new one";
    Fault::new(FaultKind::Unauthenticated, message)
}

/// The unclaimed grants by the digest of their secret. An index is safe here: a secret is 256 random
/// bits, so what the time of a look-up may tell about a stored digest brings nobody nearer to it.
#[derive(Default)]
pub(super) struct Claims(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_digest: HashMap<SecretDigest, Claim>,
    /// The same, the first to expire in front.
    by_end: BTreeSet<(Timestamp, SecretDigest)>,
}

/// Keeps its grant alive. Each claim holds a derived grant, so there are never more of them under one
/// principal than `grants_per_principal`.
struct Claim {
    grant: Arc<Grant>,
    claim_by: Timestamp,
}

impl Claims {
    pub(super) fn put(&self, digest: SecretDigest, grant: Arc<Grant>, claim_by: Timestamp) {
        let mut table = lock(&self.0);
        table.by_end.insert((claim_by, digest));
        table.by_digest.insert(digest, Claim { grant, claim_by });
    }

    /// Takes what the secret opens, so that nobody else can. Under one lock: of many at once, one wins.
    pub(super) fn take(&self, digest: &SecretDigest, now: Timestamp) -> Option<Arc<Grant>> {
        let claim = lock(&self.0).remove(digest)?;
        (claim.claim_by > now).then_some(claim.grant)
    }

    pub(super) fn forget(&self, digest: &SecretDigest) {
        // Bound to a name so that the grant goes after the lock, not under it.
        let _claim = lock(&self.0).remove(digest);
    }

    /// Forgets what can no longer be claimed.
    pub(super) fn forget_expired(&self, now: Timestamp) {
        let mut expired = Vec::new();
        let mut table = lock(&self.0);
        while table.by_end.first().is_some_and(|(end, _)| *end <= now) {
            let first = table.by_end.pop_first();
            expired.extend(first.and_then(|(_, digest)| table.by_digest.remove(&digest)));
        }
        drop(table);
        drop(expired);
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.0).by_digest.len()
    }
}

impl Table {
    fn remove(&mut self, digest: &SecretDigest) -> Option<Claim> {
        let claim = self.by_digest.remove(digest)?;
        self.by_end.remove(&(claim.claim_by, *digest));
        Some(claim)
    }
}
