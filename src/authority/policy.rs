//! How a derived grant differs from the one it comes from.

use std::sync::Arc;

use super::scope::{Role, Scope};
use crate::auth::Permissions;
use crate::fault::{Fault, FaultKind};
use crate::model::Timestamp;

/// What to take away. The default takes nothing away but can be revoked by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Only these permissions; all of the parent's if absent. Asking for one that the parent lacks is
    /// refused.
    pub permissions: Option<Permissions>,
    /// Of those, only what changes nothing: [`Permissions::READ_ONLY`].
    pub read_only: bool,
    /// Only tasks of this context.
    pub context: Option<Arc<str>>,
    /// Only this task.
    pub task: Option<Arc<str>>,
    /// Not beyond this time, nor beyond the parent's.
    pub expires: Option<Timestamp>,
    /// What the grant is called in lists, and to those whose calls fail because it was revoked.
    pub label: Option<Arc<str>>,
    /// Whether dropping the [`Revoker`](super::Revoker) revokes.
    pub revoke_on_drop: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            permissions: None,
            read_only: false,
            context: None,
            task: None,
            expires: None,
            label: None,
            revoke_on_drop: true,
        }
    }
}

impl Policy {
    /// What the role may do, with this one task.
    pub fn for_task(task: impl Into<Arc<str>>, role: Role) -> Self {
        Self { permissions: Some(role.permissions()), task: Some(task.into()), ..Self::default() }
    }

    /// Refuses names that are empty, longer than `name_bytes` or contain control characters (a label
    /// goes into logs and terminals), and an end that is over.
    pub(super) fn validate(&self, name_bytes: usize, now: Timestamp) -> Result<(), Fault> {
        let names = [("context", &self.context), ("task", &self.task), ("label", &self.label)];
        for (field, name) in names {
            let Some(name) = name else { continue };
            if name.is_empty() || name.len() > name_bytes || name.chars().any(char::is_control) {
                let rule = format!("must have 1 to {name_bytes} bytes and no control characters");
                return Err(Fault::invalid(field, rule));
            }
        }
        match self.expires {
            Some(expires) if expires <= now => {
                Err(Fault::invalid("expires", format!("is over since {expires}")))
            }
            _ => Ok(()),
        }
    }

    /// What is left of the parent's terms: never more than it has.
    pub(super) fn apply(&self, parent: &Terms) -> Result<Terms, Fault> {
        let wanted = self.permissions.unwrap_or(parent.permissions);
        if let Some(missing) = wanted.iter().find(|one| !parent.permissions.contains(*one)) {
            let message =
                format!("this capability does not include `{missing}`, so nothing derived from it can");
            return Err(Fault::new(FaultKind::Forbidden, message).with("permission", missing));
        }
        let permissions = if self.read_only { wanted.intersection(Permissions::READ_ONLY) } else { wanted };
        if permissions.is_empty() {
            return Err(Fault::invalid("permissions", "nothing would be left; name at least one"));
        }
        Ok(Terms {
            permissions,
            scope: parent.scope.narrowed(self.context.as_ref(), self.task.as_ref())?,
            // `None` is no end, so later than any; in `Option`'s own order it would come first.
            expires: [parent.expires, self.expires].into_iter().flatten().min(),
            label: self.label.clone(),
            revoke_on_drop: self.revoke_on_drop,
        })
    }
}

/// What one grant allows, once it is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) permissions: Permissions,
    pub(super) scope: Scope,
    pub(super) expires: Option<Timestamp>,
    pub(super) label: Option<Arc<str>>,
    pub(super) revoke_on_drop: bool,
}
