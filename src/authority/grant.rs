//! One grant: what somebody may do, what was derived from it, and how it ends.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::audit::AuditEvent;
use super::gate::{Entrant, Gate, Word};
use super::policy::{Policy, Terms};
use super::scope::Scope;
use super::{Core, lock};
use crate::auth::{Permission, Permissions, Principal, SecretDigest};
use crate::fault::{Fault, FaultKind};
use crate::model::Timestamp;

/// Names a grant in lists and logs. Knowing it lets nobody do anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(Uuid);

impl GrantId {
    /// Ids of different milliseconds are ordered by time.
    fn new(now: Timestamp) -> Self {
        let nanos = u64::try_from(now.unix_nanos()).unwrap_or(0);
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let rest = u32::try_from(rest).expect("less than 10^9");
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, rest)))
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a grant no longer works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// Somebody took it, or one that it was derived from, back.
    Revoked {
        /// The subject that did.
        by: Arc<str>,
        /// The label of the grant that was taken back.
        label: Option<Arc<str>>,
    },
    /// Its time is over.
    Expired,
    /// The session or connection that it came from is over.
    Closed,
}

impl EndCause {
    /// What a call through the ended grant fails with: always [`FaultKind::Revoked`], so that no client
    /// takes it for a lost line and connects again.
    pub fn fault(&self) -> Fault {
        let (cause, message) = match self {
            Self::Revoked { by, label: None } => {
                ("revoked", format!("this capability was revoked by {by}: ask for a new one"))
            }
            Self::Revoked { by, label: Some(label) } => {
                ("revoked", format!("this capability ({label}) was revoked by {by}: ask for a new one"))
            }
            Self::Expired => (
                "expired",
                "this capability has expired: authenticate again, or ask for a new one".to_owned(),
            ),
            Self::Closed => {
                ("closed", "the session of this capability was closed: authenticate again".to_owned())
            }
        };
        Fault::new(FaultKind::Revoked, message).with("cause", cause)
    }
}

/// Authority of a principal, as attenuated. Shared by `Arc`; a grant keeps those that it was derived from
/// alive, but not those derived from it.
///
/// Two rules keep checking cheap. What a grant allows never changes, and includes the restrictions of all
/// its ancestors from the start. What ends an ancestor shuts every grant under it. So a check looks
/// at one grant only, and revoking one walks the tree.
pub struct Grant {
    id: GrantId,
    parent: Option<Arc<Grant>>,
    principal: Arc<Principal>,
    terms: Terms,
    /// When it ends at the latest, in nanoseconds; `i64::MAX` if not by itself. Begins as the terms say, and
    /// moves when a session is renewed.
    expires: AtomicI64,
    created: Timestamp,
    /// How many ancestors there are.
    depth: usize,
    /// The unclaimed secret that opens this grant, if it was made to be shared.
    claim: Option<SecretDigest>,
    core: Arc<Core>,
    gate: Gate,
    /// Set before the gate is shut, and only then.
    cause: OnceLock<EndCause>,
    /// The lock is held while the gate is shut and while a child is added: so a child is either in the
    /// list when the tree is walked, or refused because the gate is shut.
    children: Mutex<BTreeMap<GrantId, Weak<Grant>>>,
}

impl Grant {
    pub(super) fn root(core: &Arc<Core>, principal: Arc<Principal>, terms: Terms) -> Arc<Self> {
        let grant = Self::new(core, principal, terms, None, None);
        core.registry.enroll(&grant, usize::MAX).expect("only derived grants are bounded");
        grant
    }

    fn new(
        core: &Arc<Core>,
        principal: Arc<Principal>,
        terms: Terms,
        parent: Option<&Arc<Grant>>,
        claim: Option<SecretDigest>,
    ) -> Arc<Self> {
        let created = core.clock.now();
        Arc::new(Self {
            expires: AtomicI64::new(terms.expires.map_or(NEVER, Timestamp::unix_nanos)),
            id: GrantId::new(created),
            depth: parent.map_or(0, |parent| parent.depth + 1),
            parent: parent.cloned(),
            principal,
            terms,
            created,
            claim,
            core: Arc::clone(core),
            gate: Gate::default(),
            cause: OnceLock::new(),
            children: Mutex::default(),
        })
    }

    /// A grant that may do at most what this one may, and ends at the latest with it.
    ///
    /// Fails with [`FaultKind::Revoked`] if this one has ended; [`FaultKind::Forbidden`] if the policy
    /// asks for what this one lacks; [`FaultKind::InvalidParams`] if it leaves nothing, ends in the past
    /// or contains a bad name; [`FaultKind::Quota`] if the principal has `grants_per_principal` alive
    /// or this one has `grant_depth` ancestors.
    pub fn derive(self: &Arc<Self>, policy: &Policy) -> Result<Arc<Grant>, Fault> {
        self.derive_for(policy, None)
    }

    pub(super) fn derive_for(
        self: &Arc<Self>,
        policy: &Policy,
        claim: Option<SecretDigest>,
    ) -> Result<Arc<Grant>, Fault> {
        let now = self.core.clock.now();
        if let Some(cause) = self.end_cause_at(now) {
            return Err(cause.fault());
        }
        policy.validate(self.core.limits.name_bytes, now)?;
        let terms = policy.apply(&Terms { expires: self.expires(), ..self.terms.clone() })?;
        let bound = self.core.limits.grant_depth;
        if self.depth >= bound {
            let message = format!("derived {bound} times over: derive from a wider capability instead");
            return Err(Fault::new(FaultKind::Quota, message).with("limit", bound));
        }
        let child = Self::new(&self.core, Arc::clone(&self.principal), terms, Some(self), claim);
        self.core.registry.enroll(&child, self.core.limits.grants_per_principal)?;
        if self.adopt(&child) { Ok(child) } else { Err(self.cause().fault()) }
    }

    fn adopt(&self, child: &Arc<Grant>) -> bool {
        let mut children = lock(&self.children);
        if self.gate.word().is_shut() {
            return false;
        }
        children.insert(child.id, Arc::downgrade(child));
        true
    }

    /// Asks whether a call that needs `permission` may start now. The call counts as starting until the
    /// [`Pass`] is dropped: drop it once the call has been handed to the engine, and not later.
    ///
    /// Fails with [`FaultKind::Revoked`] if this grant, or one that it was derived from, has ended, and
    /// with [`FaultKind::Forbidden`] if it does not include the permission.
    pub fn check(self: &Arc<Self>, permission: Permission, now: Timestamp) -> Result<Pass, Fault> {
        let answer = self.admit(permission, now);
        // The pass is in `answer`, so it is held while the number is taken.
        self.audit(AuditEvent::Checked { permission, allowed: answer.is_ok() });
        answer
    }

    fn admit(self: &Arc<Self>, permission: Permission, now: Timestamp) -> Result<Pass, Fault> {
        self.enter(Entrant::Call, now)?;
        let pass = Pass { grant: Arc::clone(self) };
        if !self.terms.permissions.contains(permission) {
            let message = format!("this capability does not include `{permission}`: ask for one that does");
            return Err(Fault::new(FaultKind::Forbidden, message).with("permission", permission));
        }
        Ok(pass)
    }

    /// Counts a stream, from now until the [`StreamPass`] is dropped. Fails with [`FaultKind::Revoked`]
    /// if this grant has ended.
    pub fn stream(self: &Arc<Self>) -> Result<StreamPass, Fault> {
        self.enter(Entrant::Stream, self.core.clock.now())?;
        Ok(StreamPass { grant: Arc::clone(self) })
    }

    fn enter(self: &Arc<Self>, entrant: Entrant, now: Timestamp) -> Result<(), Fault> {
        self.end_if_over(now);
        if self.gate.enter(entrant) { Ok(()) } else { Err(self.cause().fault()) }
    }

    /// Ends this grant and everything derived from it, at once: before this returns, whether or not the
    /// future is ever polled. The future resolves when no call under it is starting and no stream under
    /// it is alive, so after that none starts (promise P6). May be called again and again; the first cause
    /// stays, and each answer waits in the same way.
    ///
    /// A caller that holds a [`Pass`] or [`StreamPass`] under this grant must drop it first, as the
    /// future waits for it.
    pub fn revoke(self: &Arc<Self>, cause: EndCause) -> impl Future<Output = ()> + Send + use<> {
        let busy = self.shut_tree(&cause);
        self.audit(AuditEvent::Revoked);
        let grant = Arc::clone(self);
        async move {
            for under in busy {
                under.gate.emptied().await;
            }
            grant.audit(AuditEvent::RevokeAnswered);
        }
    }

    /// Ends this grant and everything derived from it, for those who have nobody to answer to: the end of
    /// a session or a connection.
    pub fn end(self: &Arc<Self>, cause: &EndCause) {
        self.shut_tree(cause);
    }

    /// Shuts this grant and all under it; returns those that still have something inside. (The others
    /// are empty for good, as nothing goes into a shut gate.)
    ///
    /// Parents before children, one lock at a time. Nothing escapes the walk: a child that is added
    /// behind it is refused (see `children`), and as a grant keeps its ancestors alive, no living one is
    /// cut off from the tree.
    fn shut_tree(self: &Arc<Self>, cause: &EndCause) -> Vec<Arc<Grant>> {
        let now = self.core.clock.now();
        let mut busy = Vec::new();
        let mut next = vec![Arc::clone(self)];
        while let Some(grant) = next.pop() {
            if !grant.shut(cause, now, &mut next).is_empty() {
                busy.push(grant);
            }
        }
        busy
    }

    fn shut(&self, cause: &EndCause, now: Timestamp, next: &mut Vec<Arc<Grant>>) -> Word {
        let before = {
            let children = lock(&self.children);
            // Fails if there is a cause already, which then stays.
            let _ = self.cause.set(if self.is_over(now) { EndCause::Expired } else { cause.clone() });
            // Into the caller's list, since the last reference to a child must not go under the lock.
            next.extend(children.values().filter_map(Weak::upgrade));
            self.gate.shut()
        };
        if !before.is_shut() {
            self.gate.announce();
            if let Some(digest) = &self.claim {
                self.core.forget_claim(digest);
            }
        }
        before
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }

    /// Once seen to be over, a grant stays so, even if the clock is set back.
    fn end_if_over(self: &Arc<Self>, now: Timestamp) {
        if self.is_over(now) && !self.gate.word().is_shut() {
            self.end(&EndCause::Expired);
        }
    }

    /// Moves the end of a session's own grant; `None` is never by itself. What was derived from it ends when
    /// it was to end.
    ///
    /// Fails with [`FaultKind::Revoked`] if it has ended, and with [`FaultKind::Forbidden`] if it was itself
    /// derived: whoever narrowed it decided on its end.
    pub fn extend(self: &Arc<Self>, expires: Option<Timestamp>) -> Result<(), Fault> {
        if let Some(cause) = self.end_cause() {
            return Err(cause.fault());
        }
        if self.parent.is_some() {
            let message = "a derived capability cannot be renewed: ask whoever gave it for another";
            return Err(Fault::new(FaultKind::Forbidden, message));
        }
        self.expires.store(expires.map_or(NEVER, Timestamp::unix_nanos), Ordering::Release);
        // Whoever waits for the end computes it anew.
        self.gate.announce();
        Ok(())
    }

    /// Whether this grant, or one that it was derived from, has ended.
    pub fn is_ended(self: &Arc<Self>) -> bool {
        self.end_cause().is_some()
    }

    /// Why it has ended, if it has.
    pub fn end_cause(self: &Arc<Self>) -> Option<EndCause> {
        self.end_cause_at(self.core.clock.now())
    }

    fn end_cause_at(self: &Arc<Self>, now: Timestamp) -> Option<EndCause> {
        self.end_if_over(now);
        self.gate.word().is_shut().then(|| self.cause())
    }

    /// Of a shut gate.
    fn cause(&self) -> EndCause {
        self.cause.get().cloned().unwrap_or(EndCause::Closed)
    }

    /// Resolves when this grant, or one that it was derived from, ends. A timer for the expiry runs only
    /// while somebody waits here (and so, if there is an expiry, inside a tokio runtime with time).
    pub fn ended(self: &Arc<Self>) -> impl Future<Output = EndCause> + Send + use<> {
        let grant = Arc::clone(self);
        async move {
            let (mut expires, mut deadline) = (grant.expires(), grant.deadline());
            loop {
                let changed = grant.gate.changed();
                if let Some(cause) = grant.end_cause() {
                    return cause;
                }
                if grant.expires() != expires {
                    (expires, deadline) = (grant.expires(), grant.deadline());
                }
                let Some(deadline) = deadline else {
                    changed.await;
                    continue;
                };
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(deadline.min(Instant::now() + RECHECK)) => {
                        if Instant::now() >= deadline && grant.expires() == expires {
                            grant.end(&EndCause::Expired);
                        }
                    }
                }
            }
        }
    }

    /// When the expiry is due by the monotonic clock.
    fn deadline(&self) -> Option<Instant> {
        let left = self.expires()?.saturating_since(self.core.clock.now());
        Instant::now().checked_add(left)
    }

    fn audit(&self, event: AuditEvent) {
        self.core.auditor.record(self.id, event);
    }

    /// Its name in lists and logs.
    pub fn id(&self) -> GrantId {
        self.id
    }

    /// The grant that it was derived from; none for a session's own.
    pub fn parent(&self) -> Option<&Arc<Grant>> {
        self.parent.as_ref()
    }

    /// Whose authority it is, also in the hands of somebody else.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// [`Principal::owner_key`] of its principal.
    pub fn owner_key(&self) -> Arc<str> {
        self.principal.owner_key()
    }

    /// What it allows.
    pub fn permissions(&self) -> Permissions {
        self.terms.permissions
    }

    /// What it reaches.
    pub fn scope(&self) -> &Scope {
        &self.terms.scope
    }

    /// When it ends at the latest.
    pub fn expires(&self) -> Option<Timestamp> {
        let nanos = self.expires.load(Ordering::Acquire);
        (nanos != NEVER).then(|| Timestamp::from_unix_nanos(nanos))
    }

    /// What it is called in lists.
    pub fn label(&self) -> Option<&Arc<str>> {
        self.terms.label.as_ref()
    }

    /// The right to take it back. Give it to one holder: dropping any of them revokes, if the policy says
    /// that dropping does.
    pub fn revoker(self: &Arc<Self>) -> Revoker {
        Revoker(Arc::clone(self))
    }

    /// What a list says of it.
    pub fn info(&self) -> GrantInfo {
        GrantInfo {
            id: self.id,
            parent: self.parent.as_ref().map(|parent| parent.id),
            label: self.terms.label.clone(),
            permissions: self.terms.permissions,
            scope: self.terms.scope.clone(),
            created: self.created,
            expires: self.expires(),
        }
    }

    pub(super) fn word(&self) -> Word {
        self.gate.word()
    }

    /// How many children the tree knows of.
    #[cfg(test)]
    pub(super) fn children(&self) -> usize {
        lock(&self.children).len()
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            lock(&parent.children).remove(&self.id);
        }
        self.core.registry.withdraw(self);
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("id", &self.id)
            .field("principal", &self.principal)
            .field("terms", &self.terms)
            .field("cause", &self.cause.get())
            .finish_non_exhaustive()
    }
}

/// In `expires`.
const NEVER: i64 = i64::MAX;

/// How long a wait for an expiry sleeps before it looks at the wall clock again, which may have been set,
/// or have gone on while the machine slept.
const RECHECK: Duration = Duration::from_secs(60);

/// A call that may start. While it lives, no revoke above it is answered.
#[derive(Debug)]
#[must_use = "dropping it says that the call has been handed over"]
pub struct Pass {
    grant: Arc<Grant>,
}

impl Pass {
    /// The grant that let the call through.
    pub fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.grant.gate.leave(Entrant::Call);
    }
}

/// A stream that is alive. While it lives, no revoke above it is answered: await
/// [`ended`](Self::ended) beside the stream, and drop this when the stream has stopped.
#[derive(Debug)]
#[must_use = "dropping it says that the stream is over"]
pub struct StreamPass {
    grant: Arc<Grant>,
}

impl StreamPass {
    /// The grant under which the stream runs.
    pub fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// Resolves when the stream has to stop: see [`Grant::ended`].
    pub fn ended(&self) -> impl Future<Output = EndCause> + Send + use<> {
        self.grant.ended()
    }
}

impl Drop for StreamPass {
    fn drop(&mut self) {
        self.grant.gate.leave(Entrant::Stream);
    }
}

/// The right to take a grant back. Dropping it takes it back too, unless [`Policy::revoke_on_drop`] is
/// off.
#[derive(Debug)]
pub struct Revoker(Arc<Grant>);

impl Revoker {
    /// What it would take back.
    pub fn info(&self) -> GrantInfo {
        self.0.info()
    }

    /// Whether there is still something to take back.
    pub fn is_live(&self) -> bool {
        !self.0.is_ended()
    }

    /// Takes the grant back in the name of this subject: see [`Grant::revoke`].
    pub fn revoke(&self, by: &Arc<str>) -> impl Future<Output = ()> + Send + use<> {
        self.0.revoke(self.cause(by))
    }

    fn cause(&self, by: &Arc<str>) -> EndCause {
        EndCause::Revoked { by: Arc::clone(by), label: self.0.terms.label.clone() }
    }
}

impl Drop for Revoker {
    fn drop(&mut self) {
        if self.0.terms.revoke_on_drop {
            self.0.end(&self.cause(self.0.principal.subject()));
        }
    }
}

/// A grant as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantInfo {
    /// Its name.
    pub id: GrantId,
    /// The grant that it was derived from.
    pub parent: Option<GrantId>,
    /// What whoever derived it calls it.
    pub label: Option<Arc<str>>,
    /// What it allows.
    pub permissions: Permissions,
    /// What it reaches.
    pub scope: Scope,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends at the latest.
    pub expires: Option<Timestamp>,
}
