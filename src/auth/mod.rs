//! Credentials to [`Identity`]: who calls, and on the strength of what.
//!
//! A [`Principal`] is a configured subject; API keys (and later tokens) are credentials of it that can be
//! rotated. Whoever shows none, a wrong one or an expired one gets one and the same answer.

mod api_key;
mod dev_key;
mod keys;
mod permission;
mod principal;
mod secret;

use std::sync::Arc;

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret as _, SecretString};

pub use api_key::{ApiKey, ApiKeyError};
pub use dev_key::{DEV_KEY_FILE, DEV_KEY_VARIABLE, DevKey, DevKeyError, DevKeyOrigin};
pub use keys::{KeyEntry, KeyRing, KeyRingError};
pub use permission::{Permission, Permissions};
pub use principal::{Identity, Principal};
pub use secret::SecretDigest;
pub(crate) use secret::{is_well_formed, mint};

use crate::clock::Clock;
use crate::fault::{Fault, FaultKind};

/// Bytes that a credential may have.
pub const CREDENTIAL_BYTES: usize = 8 << 10;

/// What a caller shows to prove who it is.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// An API key.
    ApiKey(SecretString),
    /// A bearer token. An API key is accepted here too.
    Bearer(SecretString),
}

impl Credentials {
    /// An API key.
    pub fn api_key(text: impl Into<String>) -> Self {
        Self::ApiKey(SecretString::from(text.into()))
    }

    /// A bearer token.
    pub fn bearer(text: impl Into<String>) -> Self {
        Self::Bearer(SecretString::from(text.into()))
    }
}

/// Decides who a caller is. Shared by all connections.
#[derive(Debug)]
pub struct Authenticator {
    keys: ArcSwap<KeyRing>,
    anonymous: Option<Identity>,
    clock: Clock,
}

impl Authenticator {
    /// Lets in who has one of these keys.
    pub fn new(keys: KeyRing, clock: Clock) -> Self {
        Self { keys: ArcSwap::from_pointee(keys), anonymous: None, clock }
    }

    /// Lets callers without any credentials in too, as one shared principal that may do this. A wrong
    /// credential is still refused: who shows one expects to be somebody.
    #[must_use]
    pub fn with_anonymous(mut self, permissions: Permissions) -> Self {
        self.anonymous = Some(Identity::of(Arc::new(Principal::anonymous())).allowed(permissions));
        self
    }

    /// The anonymous identity, where it is let in.
    pub fn anonymous(&self) -> Option<&Identity> {
        self.anonymous.as_ref()
    }

    /// Puts other keys in place of the present ones, for whoever authenticates from now on. Sessions
    /// that exist go on until they end or their key's `expires` as it was then.
    pub fn replace_keys(&self, keys: KeyRing) {
        self.keys.store(Arc::new(keys));
    }

    /// Whose credentials these are. Missing (where nobody is anonymous), wrong, overlong, not yet valid
    /// and expired ones fail with the same [`FaultKind::Unauthenticated`], after the same work.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Identity, Fault> {
        let text = match credentials {
            Credentials::ApiKey(text) | Credentials::Bearer(text) => text.expose_secret(),
            Credentials::None => match &self.anonymous {
                Some(identity) => return Ok(identity.clone()),
                None => "",
            },
        };
        // An overlong text is not hashed; nothing is, instead, and the answer is the same. The empty
        // text is not refused early either: its digest goes the way of all the others.
        let text = if text.len() > CREDENTIAL_BYTES { "" } else { text };
        let identity = self.keys.load().identify(&SecretDigest::of(text), self.clock.now());
        identity.filter(|_| !text.is_empty()).ok_or_else(unauthenticated)
    }
}

fn unauthenticated() -> Fault {
    let message =
        "no valid credentials: authenticate with an API key that this server knows and that is valid now";
    Fault::new(FaultKind::Unauthenticated, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_000);

    fn authenticator(entries: &[KeyEntry]) -> Authenticator {
        Authenticator::new(KeyRing::new(entries).unwrap(), Clock::standing_at(NOW))
    }

    #[tokio::test]
    async fn a_key_is_accepted_as_api_key_and_as_bearer() {
        let key = ApiKey::generate().unwrap();
        let authenticator = authenticator(&[key.entry("alice")]);
        for shown in [Credentials::api_key(key.expose()), Credentials::bearer(key.expose())] {
            let identity = authenticator.authenticate(&shown).await.unwrap();
            assert_eq!(&**identity.principal.subject(), "alice");
        }
    }

    #[tokio::test]
    async fn wrong_missing_expired_and_overlong_credentials_get_the_same_answer_byte_for_byte() {
        let (expired, early) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let authenticator = authenticator(&[
            KeyEntry { expires: Some(NOW), ..expired.entry("alice") },
            KeyEntry {
                not_before: Some(NOW.saturating_add(std::time::Duration::from_nanos(1))),
                ..early.entry("bob")
            },
            // Whoever configures the digest of nothing does not let in those who show nothing.
            KeyEntry::new("carol", SecretDigest::of("")),
        ]);
        let shown = [
            Credentials::None,
            Credentials::api_key(""),
            Credentials::bearer(""),
            Credentials::api_key("wrong"),
            Credentials::bearer(ApiKey::generate().unwrap().expose()),
            Credentials::api_key(expired.expose()),
            Credentials::api_key(early.expose()),
            Credentials::bearer("x".repeat(CREDENTIAL_BYTES + 1)),
        ];
        for credentials in shown {
            let fault = authenticator.authenticate(&credentials).await.unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Unauthenticated);
            assert_eq!(format!("{fault:?}"), format!("{:?}", unauthenticated()));
            assert_eq!(fault, unauthenticated());
        }
    }

    #[tokio::test]
    async fn without_credentials_one_is_anonymous_only_where_that_is_configured() {
        let authenticator = authenticator(&[]).with_anonymous(Permissions::READ_ONLY);
        let identity = authenticator.authenticate(&Credentials::None).await.unwrap();
        assert!(identity.principal.is_anonymous());
        assert_eq!(identity.permissions, Permissions::READ_ONLY);
        let fault = authenticator.authenticate(&Credentials::api_key("wrong")).await.unwrap_err();
        assert_eq!(fault, unauthenticated());
    }

    #[tokio::test]
    async fn keys_are_rotated_while_running() {
        let (old, new) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let authenticator = authenticator(&[old.entry("alice")]);
        let old_shown = Credentials::api_key(old.expose());
        let before = authenticator.authenticate(&old_shown).await.unwrap();
        authenticator.replace_keys(KeyRing::new(&[new.entry("alice")]).unwrap());
        assert_eq!(authenticator.authenticate(&old_shown).await.unwrap_err(), unauthenticated());
        let after = authenticator.authenticate(&Credentials::api_key(new.expose())).await.unwrap();
        assert_eq!(after.principal.owner_key(), before.principal.owner_key(), "what she owns stays hers");
    }

    #[test]
    fn debug_output_of_credentials_does_not_contain_them() {
        let shown = format!("{:?} {:?}", Credentials::api_key("hush-1"), Credentials::bearer("hush-2"));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
