//! Grants: what a principal may do, attenuated, handed on and taken back.
//!
//! [`Authority::root`] gives an authenticated identity its grant; [`Grant::derive`] makes narrower ones;
//! [`Grant::check`] stands before every call; [`Grant::revoke`] ends a grant with everything derived from
//! it, and is answered when no call under it can start any more (promise P6; the argument is in
//! `gate.rs`). [`Authority::share`] and [`Authority::claim`] carry a grant to another connection.

mod audit;
mod claims;
mod gate;
mod grant;
mod policy;
mod registry;
mod scope;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use audit::{Audit, AuditEntry, AuditEvent};
pub use claims::{Claimed, Share, ShareSecret};
pub use grant::{EndCause, Grant, GrantId, GrantInfo, Pass, Revoker, StreamPass};
pub use policy::Policy;
pub use scope::{Role, Scope};

pub use crate::auth::{Permission, Permissions};

use crate::auth::{Identity, Principal, SecretDigest, is_well_formed};
use crate::clock::Clock;
use crate::fault::Fault;
use crate::limits::EngineLimits;
use crate::model::Timestamp;
use audit::Auditor;
use claims::Claims;
use policy::Terms;
use registry::Registry;

/// Where all grants come from. One per server, shared by all connections.
pub struct Authority {
    core: Arc<Core>,
    /// Here and not in the core: unclaimed grants are kept alive by this, and keep the core alive.
    claims: Arc<Claims>,
}

/// What every grant knows.
struct Core {
    limits: EngineLimits,
    clock: Clock,
    auditor: Auditor,
    registry: Registry,
    claims: Weak<Claims>,
}

impl Core {
    fn forget_claim(&self, digest: &SecretDigest) {
        if let Some(claims) = self.claims.upgrade() {
            claims.forget(digest);
        }
    }
}

impl Authority {
    /// An authority whose grants keep to these bounds: `grants_per_principal`, `grant_depth` and
    /// `name_bytes`.
    pub fn new(limits: EngineLimits, clock: Clock) -> Arc<Self> {
        Self::build(limits, clock, None)
    }

    /// The same, with a judge that sees every decision.
    pub fn audited(limits: EngineLimits, clock: Clock, audit: Arc<dyn Audit>) -> Arc<Self> {
        Self::build(limits, clock, Some(audit))
    }

    fn build(limits: EngineLimits, clock: Clock, audit: Option<Arc<dyn Audit>>) -> Arc<Self> {
        let claims = Arc::new(Claims::default());
        let core = Core {
            limits,
            clock,
            auditor: Auditor::new(audit),
            registry: Registry::default(),
            claims: Arc::downgrade(&claims),
        };
        Arc::new(Self { core: Arc::new(core), claims })
    }

    /// The grant of a new session: what the identity's credential allows, until that expires.
    pub fn root(&self, identity: &Identity, scope: Scope) -> Arc<Grant> {
        let terms = Terms {
            permissions: identity.permissions,
            scope,
            expires: identity.expires,
            label: None,
            revoke_on_drop: false,
        };
        Grant::root(&self.core, Arc::clone(&identity.principal), terms)
    }

    /// Derives a grant and a secret that opens it: once, and before `claim_by`. Revoking the grant kills
    /// the secret.
    ///
    /// Fails like [`Grant::derive`]; also with [`FaultKind::Forbidden`](crate::fault::FaultKind::Forbidden)
    /// if `grant` does not include [`Permission::Share`], and with
    /// [`FaultKind::InvalidParams`](crate::fault::FaultKind::InvalidParams) if `claim_by` is over.
    pub fn share(&self, grant: &Arc<Grant>, policy: &Policy, claim_by: Timestamp) -> Result<Share, Fault> {
        let now = self.core.clock.now();
        let _pass = grant.check(Permission::Share, now)?;
        if claim_by <= now {
            return Err(Fault::invalid("expires", format!("is over since {claim_by}")));
        }
        // First, since what nobody can claim any more counts against the principal's bound.
        self.claims.forget_expired(now);
        let secret = ShareSecret::generate()?;
        let digest = secret.digest();
        let shared = grant.derive_for(policy, Some(digest))?;
        self.claims.put(digest, Arc::clone(&shared), claim_by);
        // Whoever ends the grant forgets the claim after shutting the gate. If that came before `put`, then
        // the gate is seen to be shut here.
        if shared.is_ended() {
            self.claims.forget(&digest);
        }
        Ok(Share { secret, grant: shared })
    }

    /// Takes what the secret opens. Wrong, used, expired and revoked secrets fail with one and the same
    /// [`FaultKind::Unauthenticated`](crate::fault::FaultKind::Unauthenticated).
    pub fn claim(&self, secret: &str, now: Timestamp) -> Result<Claimed, Fault> {
        self.claims.forget_expired(now);
        // A malformed secret is refused before it is hashed, which tells only what everybody can compute.
        if !is_well_formed(ShareSecret::PREFIX, secret) {
            return Err(claims::opens_nothing());
        }
        let grant = self.claims.take(&SecretDigest::of(secret), now);
        match grant.filter(|grant| !grant.is_ended()) {
            Some(grant) => Ok(Claimed { grant }),
            None => Err(claims::opens_nothing()),
        }
    }

    /// The principal's grants that have not ended, the oldest first (to the millisecond).
    pub fn list(&self, principal: &Principal) -> Vec<GrantInfo> {
        let grants = self.core.registry.of(&principal.owner_key());
        grants.iter().filter(|grant| !grant.is_ended()).map(|grant| grant.info()).collect()
    }

    /// How much is alive now. Walks all grants.
    pub fn counters(&self) -> Counters {
        self.claims.forget_expired(self.core.clock.now());
        let mut counters = Counters { claims: self.claims.len(), ..Counters::default() };
        for grant in self.core.registry.all() {
            let word = grant.word();
            counters.grants += 1;
            counters.calls += word.calls();
            counters.streams += word.streams();
        }
        counters
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// How much of each is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Grants that somebody holds, ended ones included.
    pub grants: u64,
    /// Calls that are starting: [`Pass`]es.
    pub calls: u64,
    /// Streams: [`StreamPass`]es.
    pub streams: u64,
    /// Secrets that can still be claimed.
    pub claims: usize,
}

/// A lock that a panic elsewhere does not take away: what is guarded here is whole between any two
/// statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
