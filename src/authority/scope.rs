//! What a grant reaches, and the roles in which a task is handed on.

use std::sync::Arc;

use crate::auth::{Permission, Permissions};
use crate::fault::{Fault, FaultKind};

/// The part of an agent's tasks that a grant reaches. Every restriction holds at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    tenant: Arc<str>,
    context: Option<Arc<str>>,
    task: Option<Arc<str>>,
}

impl Scope {
    /// Everything of this tenant's agent.
    pub fn agent(tenant: impl Into<Arc<str>>) -> Self {
        Self { tenant: tenant.into(), context: None, task: None }
    }

    /// The tenant whose agent it is, by the name that the server knows it under.
    pub fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// The only context it reaches, if there is a restriction.
    pub fn context(&self) -> Option<&Arc<str>> {
        self.context.as_ref()
    }

    /// The only task it reaches, if there is a restriction.
    pub fn task(&self) -> Option<&Arc<str>> {
        self.task.as_ref()
    }

    /// Whether it reaches this task in this context. A call that names neither (one that opens a task,
    /// say) is reached only where nothing restricts it.
    pub fn reaches(&self, context: Option<&str>, task: Option<&str>) -> bool {
        let fits = |only: &Option<Arc<str>>, given| only.as_deref().is_none_or(|only| Some(only) == given);
        fits(&self.context, context) && fits(&self.task, task)
    }

    /// Whether everything that this reaches the other reaches too.
    pub fn is_within(&self, other: &Self) -> bool {
        self.tenant == other.tenant && other.reaches(self.context.as_deref(), self.task.as_deref())
    }

    /// This scope under further restrictions. A restriction to something else than the present one would
    /// leave nothing, and is refused.
    pub(super) fn narrowed(
        &self,
        context: Option<&Arc<str>>,
        task: Option<&Arc<str>>,
    ) -> Result<Self, Fault> {
        Ok(Self {
            tenant: Arc::clone(&self.tenant),
            context: narrower("context", self.context(), context)?,
            task: narrower("task", self.task(), task)?,
        })
    }
}

/// How much of a task is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Look at it.
    Observe,
    /// Look at it, and answer what its agent asks.
    Answer,
    /// Look at it, send messages into it, cancel it.
    Control,
    /// Everything that can be done with a task, deleting it and handing it on included.
    Owner,
}

impl Role {
    /// What the role may do.
    pub const fn permissions(self) -> Permissions {
        use Permission::{Answer, Cancel, Delete, Push, Read, Send, Share};
        match self {
            Self::Observe => Permissions::of(&[Read]),
            Self::Answer => Permissions::of(&[Read, Answer]),
            Self::Control => Permissions::of(&[Read, Send, Cancel]),
            Self::Owner => Permissions::of(&[Read, Send, Cancel, Delete, Push, Share]),
        }
    }
}

fn narrower(
    what: &str,
    present: Option<&Arc<str>>,
    wanted: Option<&Arc<str>>,
) -> Result<Option<Arc<str>>, Fault> {
    match (present, wanted) {
        (Some(present), Some(wanted)) if present != wanted => {
            let message = format!("this capability reaches one {what} only; it cannot be turned to another");
            Err(Fault::new(FaultKind::Forbidden, message))
        }
        (present, wanted) => Ok(wanted.or(present).cloned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restricted_scope_reaches_only_what_is_named_and_fits() {
        let all = Scope::agent("");
        let context = all.narrowed(Some(&"c".into()), None).unwrap();
        let task = all.narrowed(None, Some(&"t".into())).unwrap();
        let both = context.narrowed(None, Some(&"t".into())).unwrap();
        let reach = |scope: &Scope| {
            [
                (None, None),
                (Some("c"), None),
                (None, Some("t")),
                (Some("c"), Some("t")),
                (Some("d"), Some("t")),
            ]
            .map(|(context, task)| scope.reaches(context, task))
        };
        assert_eq!(reach(&all), [true; 5]);
        assert_eq!(reach(&context), [false, true, false, true, false]);
        assert_eq!(reach(&task), [false, false, true, true, true]);
        assert_eq!(reach(&both), [false, false, false, true, false]);
    }

    #[test]
    fn a_scope_cannot_be_turned_to_another_task_or_context() {
        let scope = Scope::agent("").narrowed(Some(&"c".into()), Some(&"t".into())).unwrap();
        assert_eq!(
            scope.narrowed(Some(&"c".into()), None).unwrap(),
            scope,
            "naming the same changes nothing"
        );
        for (context, task) in [(Some("d".into()), None), (None, Some("u".into()))] {
            let fault = scope.narrowed(context.as_ref(), task.as_ref()).unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Forbidden);
        }
    }

    #[test]
    fn each_role_includes_the_one_before() {
        let roles = [Role::Observe, Role::Answer, Role::Control, Role::Owner].map(Role::permissions);
        assert!(roles.windows(2).all(|pair| pair[0].is_subset_of(pair[1]) && pair[0] != pair[1]));
        for owners in [Permission::Share, Permission::Delete] {
            assert!(!roles[2].contains(owners) && roles[3].contains(owners), "{owners}");
        }
    }
}
