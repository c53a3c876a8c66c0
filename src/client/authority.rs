//! The words of authority: who one is, what a derived object may do, who holds what.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::Timestamp;

/// What a holder of a task may do. Each includes reading; none can be raised again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskRole {
    /// Get and subscribe.
    Observe,
    /// And send, while the task waits for input or authorization.
    Answer,
    /// And send at any time, and cancel.
    Control,
    /// And delete, attenuate and share.
    Owner,
}

/// How a derived object is bounded, beside its role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantPolicy {
    /// When it ends. None: with the object that it is derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// For people: shown in [`GrantInfo`]. At most 128 bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Whether the derived object outlives the [`Grant`](super::local::Grant). By default dropping the last
    /// stub of the grant revokes.
    pub keep_on_drop: bool,
}

impl GrantPolicy {
    /// A policy that shows this to people.
    pub fn labelled(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }
}

/// What a derived session may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPolicy {
    /// Only get, list, subscribe, and the extended card.
    pub read_only: bool,
    /// Which conversations it sees.
    #[serde(skip_serializing_if = "ContextScope::is_every")]
    pub context: ContextScope,
    /// How it is bounded in time.
    #[serde(flatten)]
    pub grant: GrantPolicy,
}

/// Which conversations a derived session sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ContextScope {
    /// Every one of the session that it is derived from.
    #[default]
    Every,
    /// One new one, which the server names.
    Fresh,
    /// This one.
    Only(String),
}

impl ContextScope {
    fn is_every(&self) -> bool {
        *self == Self::Every
    }
}

/// What became of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantInfo {
    /// Its name at the server.
    pub id: String,
    /// What its maker called it.
    #[serde(default)]
    pub label: String,
    /// What it allows.
    pub permissions: Vec<String>,
    /// The conversation that it is bound to.
    pub context_id: Option<String>,
    /// The task that it is bound to.
    pub task_id: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// False once revoked or expired.
    pub live: bool,
}

/// Who a session speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The configured subject.
    pub subject: String,
    /// What isolates principals from each other.
    pub realm: String,
    /// The agent that the session is for; empty for the default one.
    pub tenant: String,
    /// What it may do.
    pub permissions: Vec<String>,
    /// The conversation that it is bound to.
    pub context_id: Option<String>,
    /// When it ends. None: with the connection.
    pub expires: Option<Timestamp>,
    /// Whether nobody in particular.
    pub anonymous: bool,
}

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// The revision of the schema that it speaks.
    pub revision: u32,
    /// Its software and version.
    pub software: String,
    /// What it can do beyond the minimum.
    pub features: Vec<String>,
    /// The versions of A2A that it speaks.
    pub protocol_versions: Vec<String>,
    /// The bounds that a client should know, by name.
    #[serde(deserialize_with = "pairs")]
    pub limits: Vec<(String, String)>,
}

/// The members of an object, by their names.
fn pairs<'de, D: Deserializer<'de>>(object: D) -> Result<Vec<(String, String)>, D::Error> {
    let members = BTreeMap::<String, String>::deserialize(object)?;
    Ok(members.into_iter().collect())
}
