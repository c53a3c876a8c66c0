//! The configured keys, and looking one up without telling how near a guess came.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use super::secret::SecretDigest;
use super::{Identity, Permissions, Principal};
use crate::model::Timestamp;

/// One key as the configuration writes it. Several entries may name the same subject: that is how a
/// key is rotated with an overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Whose key it is.
    pub subject: String,
    /// What keeps equal subjects of different origins apart; [`Principal::DEFAULT_REALM`] if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// The SHA-256 of the key's whole text, in hexadecimal.
    pub sha256: String,
    /// The key counts from this time on; from ever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The key does not count from this time on; sessions made with it end then. Never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What the logs call the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What may be done with the key; everything if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// Which agents the key opens, by the names that they have on the server; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<String>>,
}

impl KeyEntry {
    /// An entry without an end and without restrictions.
    pub fn new(subject: &str, digest: SecretDigest) -> Self {
        Self {
            subject: subject.to_owned(),
            realm: None,
            sha256: digest.to_hex(),
            not_before: None,
            expires: None,
            label: None,
            permissions: None,
            agents: None,
        }
    }
}

/// The keys that are let in.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    digest: SecretDigest,
    identity: Identity,
    not_before: Option<Timestamp>,
}

impl KeyRing {
    /// Keys that one ring may have. Each attempt to authenticate reads all of them.
    pub const KEYS: usize = 4_096;

    /// Reads the configuration's entries. The error names the entry and what to change.
    pub fn new(entries: &[KeyEntry]) -> Result<Self, KeyRingError> {
        if let Some(entry) = entries.get(Self::KEYS) {
            let problem = format!("a server takes at most {} keys; remove some", Self::KEYS);
            return Err(KeyRingError::at(Self::KEYS, entry, problem));
        }
        let mut ring = Vec::with_capacity(entries.len());
        let mut digests = HashSet::new();
        let mut principals = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let key = read(entry, &mut principals).map_err(|p| KeyRingError::at(index, entry, p))?;
            if !digests.insert(key.digest) {
                let problem = "another entry has the same sha256; each key may stand there once";
                return Err(KeyRingError::at(index, entry, problem.to_owned()));
            }
            ring.push(key);
        }
        Ok(Self(ring))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whom this digest lets in at `now`.
    ///
    /// Every key is compared whole, whether or not an earlier one matched, so the time taken says
    /// nothing about the stored digests. An index by digest would be faster but would tell by its time
    /// how far a guess agrees with a stored digest; against a made key (256 random bits) that helps
    /// nobody, but a digest of a key that a person chose could be recovered bit by bit and then searched
    /// for offline. The ring is bounded, so reading all of it stays under 0.1 ms.
    pub(super) fn identify(&self, digest: &SecretDigest, now: Timestamp) -> Option<Identity> {
        let mut found = u32::MAX;
        for (index, key) in (0u32..).zip(&self.0) {
            found.conditional_assign(&index, key.digest.ct_eq(digest));
        }
        let key = self.0.get(usize::try_from(found).ok()?)?;
        let begun = key.not_before.is_none_or(|from| from <= now);
        let over = key.identity.expires.is_some_and(|end| end <= now);
        (begun && !over).then(|| key.identity.clone())
    }
}

fn read(entry: &KeyEntry, known: &mut HashMap<Arc<str>, Arc<Principal>>) -> Result<Key, String> {
    let Some(digest) = SecretDigest::from_hex(&entry.sha256) else {
        return Err("sha256 must be 64 hexadecimal digits: the SHA-256 of the whole key".to_owned());
    };
    if let (Some(from), Some(end)) = (entry.not_before, entry.expires)
        && end <= from
    {
        return Err("expires must be later than not_before".to_owned());
    }
    if entry.agents.as_ref().is_some_and(Vec::is_empty) {
        return Err("agents names none, so the key would open nothing; leave it out to open all".to_owned());
    }
    let realm = entry.realm.as_deref().unwrap_or(Principal::DEFAULT_REALM);
    let principal = Principal::new(realm, &entry.subject).map_err(|fault| fault.message().to_owned())?;
    let principal = Arc::clone(known.entry(principal.owner_key()).or_insert_with(|| Arc::new(principal)));
    let identity = Identity {
        permissions: entry.permissions.unwrap_or(Permissions::ALL),
        expires: entry.expires,
        credential: entry.label.as_deref().map(Arc::from),
        agents: entry.agents.as_ref().map(|names| names.iter().map(|name| Arc::from(&**name)).collect()),
        ..Identity::of(principal)
    };
    Ok(Key { digest, identity, not_before: entry.not_before })
}

/// An entry that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRingError {
    index: usize,
    subject: String,
    problem: String,
}

impl KeyRingError {
    fn at(index: usize, entry: &KeyEntry, problem: String) -> Self {
        Self { index, subject: entry.subject.clone(), problem }
    }
}

impl fmt::Display for KeyRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}] (subject {:?}): {}", self.index, self.subject, self.problem)
    }
}

impl std::error::Error for KeyRingError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Permission;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_000);

    fn entry(subject: &str, key: &str) -> KeyEntry {
        KeyEntry::new(subject, SecretDigest::of(key))
    }

    #[test]
    fn each_key_lets_its_own_subject_in_and_an_unknown_one_nobody() {
        let ring = KeyRing::new(&[entry("alice", "A"), entry("bob", "B"), entry("carol", "C")]).unwrap();
        for (key, subject) in [("A", "alice"), ("B", "bob"), ("C", "carol")] {
            let identity = ring.identify(&SecretDigest::of(key), NOW).unwrap();
            assert_eq!(&**identity.principal.subject(), subject);
            assert_eq!(identity.permissions, Permissions::ALL);
        }
        assert_eq!(ring.identify(&SecretDigest::of("D"), NOW), None);
        assert_eq!(KeyRing::default().identify(&SecretDigest::of("A"), NOW), None);
    }

    #[test]
    fn two_keys_of_one_subject_are_one_principal() {
        let ring = KeyRing::new(&[entry("alice", "old"), entry("alice", "new")]).unwrap();
        let of = |key| ring.identify(&SecretDigest::of(key), NOW).unwrap().principal;
        assert!(Arc::ptr_eq(&of("old"), &of("new")));
    }

    #[test]
    fn a_key_counts_from_not_before_until_just_before_expires() {
        let at = Timestamp::from_unix_nanos;
        let window = KeyEntry { not_before: Some(at(10)), expires: Some(at(20)), ..entry("alice", "A") };
        let ring = KeyRing::new(&[window]).unwrap();
        let seen = [9, 10, 19, 20].map(|nanos| ring.identify(&SecretDigest::of("A"), at(nanos)).is_some());
        assert_eq!(seen, [false, true, true, false]);
        assert_eq!(ring.identify(&SecretDigest::of("A"), at(10)).unwrap().expires, Some(at(20)));
    }

    #[test]
    fn a_key_opens_all_agents_or_those_that_it_names() {
        let agents = Some(vec!["support".to_owned(), "billing".to_owned()]);
        let ring = KeyRing::new(&[entry("alice", "A"), KeyEntry { agents, ..entry("bob", "B") }]).unwrap();
        let opens = |key, agent| ring.identify(&SecretDigest::of(key), NOW).unwrap().opens(agent);
        assert_eq!(["support", "billing", "sales"].map(|agent| opens("A", agent)), [true; 3]);
        assert_eq!(["support", "billing", "sales"].map(|agent| opens("B", agent)), [true, true, false]);
    }

    #[test]
    fn a_bad_entry_is_refused_by_number_and_subject() {
        let at = |nanos| Some(Timestamp::from_unix_nanos(nanos));
        let cases = [
            (KeyEntry { sha256: "abc".into(), ..entry("bob", "B") }, "64 hexadecimal digits"),
            (entry("bob", "A"), "same sha256"),
            (KeyEntry { not_before: at(2), expires: at(2), ..entry("bob", "B") }, "later than not_before"),
            (KeyEntry { realm: Some(String::new()), ..entry("bob", "B") }, "realm: must have 1"),
            (KeyEntry { agents: Some(Vec::new()), ..entry("bob", "B") }, "would open nothing"),
        ];
        for (bad, expected) in cases {
            let error = KeyRing::new(&[entry("alice", "A"), bad]).unwrap_err().to_string();
            assert!(error.starts_with(r#"keys[1] (subject "bob"): "#), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn one_key_more_than_a_ring_takes_is_refused() {
        let entries: Vec<_> = (0..=KeyRing::KEYS).map(|n| entry("alice", &n.to_string())).collect();
        assert_eq!(KeyRing::new(&entries[1..]).unwrap().len(), KeyRing::KEYS);
        assert!(KeyRing::new(&entries).unwrap_err().to_string().contains("at most 4096 keys"));
    }

    #[test]
    fn the_configuration_form_reads_and_refuses_unknown_fields() {
        let sha256 = SecretDigest::of("A").to_hex();
        let text = format!(
            r#"{{"subject": "alice", "sha256": "{sha256}", "permissions": ["read"],
                "expires": "2030-01-01T00:00:00Z", "label": "laptop"}}"#
        );
        let read: KeyEntry = serde_json::from_str(&text).unwrap();
        assert_eq!(read.permissions, Some(Permissions::of(&[Permission::Read])));
        assert_eq!(read.expires, Some(Timestamp::parse("2030-01-01T00:00:00Z").unwrap()));
        let error = serde_json::from_str::<KeyEntry>(&text.replace("label", "lable")).unwrap_err();
        assert!(error.to_string().contains("unknown field `lable`"), "{error}");
    }
}
