//! `Grant`: the right to take back.

use serde::Serialize;

use super::reply::{Value, value};
use crate::capability::GrantHandle;
use crate::fault::Result;
use crate::model::Timestamp;

pub(super) struct GrantObject(GrantHandle);

/// What a grant would take back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    permissions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a str>,
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    live: bool,
}

impl GrantObject {
    pub(super) const METHODS: &[&str] = &["info", "revoke"];

    pub(super) fn new(handle: GrantHandle) -> Self {
        Self(handle)
    }

    pub(super) async fn call(&self, name: &str) -> Result<Value> {
        if name == "revoke" {
            self.0.revoke().await;
            return Ok(Value::Undefined);
        }
        let (info, live) = self.0.info();
        value(&Info {
            id: info.id.to_string(),
            label: info.label.as_deref(),
            permissions: info.permissions.iter().map(|permission| permission.name()).collect(),
            context_id: info.scope.context().map(|id| &**id),
            task_id: info.scope.task().map(|id| &**id),
            created: info.created,
            expires: info.expires,
            live,
        })
    }
}
