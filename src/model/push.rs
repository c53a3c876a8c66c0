//! Where and how a server tells a client about a task over HTTP.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Id;
use super::fields::{AsText, is_blank, optional, required};

/// A webhook for the updates of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskPushNotificationConfig {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// The id of this configuration; the server makes one if it is absent.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub id: Option<Id>,
    /// The task; absent in the configuration of a send, where the task does not exist yet.
    #[serde(default, alias = "task_id", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub task_id: Option<Id>,
    /// Where the notifications are posted.
    #[serde(deserialize_with = "required")]
    pub url: String,
    /// A text that comes with every notification, by which the receiver knows it.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub token: Option<Secret>,
    /// How the server authenticates to the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<AuthenticationInfo>,
}

impl TaskPushNotificationConfig {
    /// A configuration with nothing but its address.
    pub fn new(url: impl Into<String>) -> Self {
        Self { tenant: None, id: None, task_id: None, url: url.into(), token: None, authentication: None }
    }
}

/// What goes into the `Authorization` header of a notification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationInfo {
    /// An HTTP authentication scheme by its IANA name, in any case: `Bearer`.
    #[serde(deserialize_with = "required")]
    pub scheme: String,
    /// What follows the scheme.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub credentials: Option<Secret>,
}

/// A text that stands in JSON but never in a log: its `Debug` output hides it. Not for comparing what
/// an attacker sends, since `==` takes longer the more is right.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl AsText for Secret {
    fn as_text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_token_and_credentials() {
        let mut config = TaskPushNotificationConfig::new("https://x.example/hook");
        config.token = Some("s3cret-token".into());
        let credentials = Some("s3cret-credentials".into());
        config.authentication = Some(AuthenticationInfo { scheme: "Bearer".into(), credentials });
        let shown = format!("{config:?}");
        assert!(shown.contains("x.example") && !shown.contains("s3cret"), "{shown}");
    }
}
