//! What may be done: a small closed set, of which a principal, a key and a grant each hold a subset.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One thing that a holder of authority may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Get and list tasks, subscribe to them.
    Read,
    /// Send messages: open tasks and continue them. Includes [`Permission::Answer`].
    Send,
    /// Send messages into a task only while it is interrupted (input or authentication required).
    Answer,
    /// Cancel tasks.
    Cancel,
    /// Delete finished tasks, with everything that is known of them.
    Delete,
    /// Set, read and delete push notification configurations.
    Push,
    /// Hand authority on to somebody on another connection.
    Share,
    /// Read the agent's extended card.
    ExtendedCard,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Permission; 8] = {
        use Permission::*;
        [Read, Send, Answer, Cancel, Delete, Push, Share, ExtendedCard]
    };

    /// The name that the configuration and messages to callers use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Answer => "answer",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
            Self::Push => "push",
            Self::Share => "share",
            Self::ExtendedCard => "extended-card",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`Permission`]s. Whoever holds `Send` holds `Answer` too, in every set, so that "may do
/// less" is plain set inclusion. In the configuration a list of names.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

impl Permissions {
    /// Nothing at all.
    pub const NONE: Permissions = Permissions(0);
    /// Everything.
    pub const ALL: Permissions = Self::of(&Permission::ALL);
    /// Looking, and nothing that another could notice.
    pub const READ_ONLY: Permissions = Self::of(&[Permission::Read, Permission::ExtendedCard]);

    /// The set of these.
    pub const fn of(permissions: &[Permission]) -> Self {
        let (mut set, mut next) = (Self::NONE, 0);
        while next < permissions.len() {
            set = set.with(permissions[next]);
            next += 1;
        }
        set
    }

    /// This set and one more.
    #[must_use]
    pub const fn with(self, permission: Permission) -> Self {
        let implied = match permission {
            Permission::Send => Permission::Answer.bit(),
            _ => 0,
        };
        Self(self.0 | permission.bit() | implied)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether this one is in the set.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether everything in this set is in the other too.
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in the set, in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Permission>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_brings_answer_and_not_the_other_way_round() {
        assert!(Permissions::of(&[Permission::Send]).contains(Permission::Answer));
        assert!(!Permissions::of(&[Permission::Answer]).contains(Permission::Send));
    }

    #[test]
    fn the_configuration_form_is_a_list_of_names() {
        let read: Permissions = serde_json::from_str(r#"["extended-card", "read"]"#).unwrap();
        assert_eq!(read, Permissions::READ_ONLY);
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"["read","extended-card"]"#);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = serde_json::from_str::<Permissions>(r#"["write"]"#).unwrap_err().to_string();
        assert!(error.contains("`write`") && error.contains("`read`"), "{error}");
    }

    #[test]
    fn every_name_is_its_configuration_form() {
        for permission in Permission::ALL {
            assert_eq!(serde_json::to_value(permission).unwrap(), permission.name());
        }
    }
}
