//! Principals and identities: who calls, and on the strength of what.

use std::fmt;
use std::sync::Arc;

use super::Permissions;
use crate::fault::Fault;
use crate::model::Timestamp;

/// A subject that owns things: a person, a service, an agent. Keys and tokens are its credentials and
/// may be rotated; what it owns stays its own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    subject: Arc<str>,
    realm: Arc<str>,
    owner_key: Arc<str>,
}

impl Principal {
    /// The realm of principals whose configuration names none.
    pub const DEFAULT_REALM: &str = "default";
    /// Bytes that a subject or a realm may have.
    pub const NAME_BYTES: usize = 256;

    /// A principal. Both names must have between 1 and [`Self::NAME_BYTES`] bytes and no control
    /// characters; otherwise [`InvalidParams`](crate::fault::FaultKind::InvalidParams).
    pub fn new(realm: &str, subject: &str) -> Result<Self, Fault> {
        named("realm", realm)?;
        named("subject", subject)?;
        // The length in front makes the pair readable back, whatever characters the names contain, so
        // two principals never share a key; and no such key equals the anonymous principal's.
        let owner_key = format!("{}:{realm}:{subject}", realm.len()).into();
        Ok(Self { subject: subject.into(), realm: realm.into(), owner_key })
    }

    /// The one principal that all callers without credentials share, where they are let in.
    pub fn anonymous() -> Self {
        Self { subject: ANONYMOUS.into(), realm: "".into(), owner_key: ANONYMOUS.into() }
    }

    /// Whether this is [`Principal::anonymous`].
    pub fn is_anonymous(&self) -> bool {
        &*self.owner_key == ANONYMOUS
    }

    /// The name that the configuration or a token's issuer gave.
    pub fn subject(&self) -> &Arc<str> {
        &self.subject
    }

    /// What keeps equal subjects of different origins apart. Empty for the anonymous principal.
    pub fn realm(&self) -> &Arc<str> {
        &self.realm
    }

    /// The key under which things are owned: unique for each pair of realm and subject.
    pub fn owner_key(&self) -> Arc<str> {
        Arc::clone(&self.owner_key)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({:?} of {:?})", self.subject, self.realm)
    }
}

/// A principal as authenticated: which one, what its credential allows, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// What the credential allows.
    pub permissions: Permissions,
    /// When the credential ends, and with it everything that was made on the strength of it.
    pub expires: Option<Timestamp>,
    /// Which of the principal's credentials it was, as the configuration calls it. For logs.
    pub credential: Option<Arc<str>>,
    /// Which agents the credential opens, by name; all where there is no list.
    pub agents: Option<Arc<[Arc<str>]>>,
}

impl Identity {
    /// A principal that may do everything, without end.
    pub fn of(principal: Arc<Principal>) -> Self {
        Self { principal, permissions: Permissions::ALL, expires: None, credential: None, agents: None }
    }

    /// Whether the credential opens the agent of this name.
    pub fn opens(&self, agent: &str) -> bool {
        self.agents.as_ref().is_none_or(|names| names.iter().any(|name| **name == *agent))
    }

    /// The same, allowed only these.
    #[must_use]
    pub fn allowed(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// The same, until then.
    #[must_use]
    pub fn until(mut self, expires: Timestamp) -> Self {
        self.expires = Some(expires);
        self
    }
}

const ANONYMOUS: &str = "anonymous";

fn named(field: &str, name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.len() > Principal::NAME_BYTES || name.chars().any(char::is_control) {
        let bound = Principal::NAME_BYTES;
        return Err(Fault::invalid(field, format!("must have 1 to {bound} bytes and no control characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_look_alike_when_joined_have_different_owner_keys() {
        let key = |realm, subject| Principal::new(realm, subject).unwrap().owner_key();
        assert_ne!(key("a:b", "c"), key("a", "b:c"));
        assert_ne!(key("1:a", "b"), key("1", "a:b"));
        assert_ne!(key("default", "anonymous"), Principal::anonymous().owner_key());
    }

    #[test]
    fn empty_overlong_and_control_character_names_are_refused() {
        for name in ["", "a\nb", &"x".repeat(Principal::NAME_BYTES + 1)] {
            assert!(Principal::new("default", name).unwrap_err().message().starts_with("subject: "));
            assert!(Principal::new(name, "alice").unwrap_err().message().starts_with("realm: "));
        }
    }

    proptest! {
        #[test]
        fn owner_keys_are_equal_only_for_equal_pairs(
            a in "[a1:]{1,4}", b in "[a1:]{1,4}", c in "[a1:]{1,4}", d in "[a1:]{1,4}",
        ) {
            let one = Principal::new(&a, &b).unwrap();
            let other = Principal::new(&c, &d).unwrap();
            prop_assert_eq!(one.owner_key() == other.owner_key(), (a, b) == (c, d));
        }
    }
}
