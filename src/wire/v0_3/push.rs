//! Push notification configurations.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::ToV03;
use super::message::required;
use crate::fault::{Fault, Result};
use crate::model::{self, Id, Secret};
use crate::wire::Within as _;

/// A webhook, without the task that it is for.
#[derive(Debug, Serialize, Deserialize)]
pub struct PushNotificationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Cow<'a, Secret>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<AuthenticationInfo<'a>>,
}

/// How the server authenticates to the receiver.
#[derive(Debug, Serialize, Deserialize)]
struct AuthenticationInfo<'a> {
    /// The old protocol has several and one text of credentials for all of them: the first is taken.
    schemes: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<Cow<'a, Secret>>,
}

/// A webhook for the updates of one task.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskPushNotificationConfig<'a> {
    task_id: Id,
    push_notification_config: PushNotificationConfig<'a>,
}

impl<'a> From<&'a model::TaskPushNotificationConfig> for PushNotificationConfig<'a> {
    fn from(config: &'a model::TaskPushNotificationConfig) -> Self {
        Self {
            id: config.id.clone(),
            url: Cow::Borrowed(&config.url),
            token: config.token.as_ref().map(Cow::Borrowed),
            authentication: config.authentication.as_ref().map(|info| AuthenticationInfo {
                schemes: vec![Cow::Borrowed(&info.scheme)],
                credentials: info.credentials.as_ref().map(Cow::Borrowed),
            }),
        }
    }
}

impl TryFrom<AuthenticationInfo<'_>> for model::AuthenticationInfo {
    type Error = Fault;

    fn try_from(old: AuthenticationInfo<'_>) -> Result<Self> {
        let scheme = old.schemes.into_iter().find(|scheme| !scheme.is_empty());
        let needs = || Fault::invalid("authentication.schemes", "must have at least one element");
        Ok(Self {
            scheme: scheme.ok_or_else(needs)?.into_owned(),
            credentials: old.credentials.map(Cow::into_owned),
        })
    }
}

/// For no task yet.
impl TryFrom<PushNotificationConfig<'_>> for model::TaskPushNotificationConfig {
    type Error = Fault;

    fn try_from(old: PushNotificationConfig<'_>) -> Result<Self> {
        if old.url.is_empty() {
            return Err(Fault::invalid("url", "must not be empty"));
        }
        Ok(Self {
            tenant: None,
            id: old.id.filter(|id| !id.is_empty()),
            task_id: None,
            url: old.url.into_owned(),
            token: old.token.map(Cow::into_owned),
            authentication: old.authentication.map(model::AuthenticationInfo::try_from).transpose()?,
        })
    }
}

impl<'a> From<&'a model::TaskPushNotificationConfig> for TaskPushNotificationConfig<'a> {
    fn from(config: &'a model::TaskPushNotificationConfig) -> Self {
        let task_id = config.task_id.clone().unwrap_or_else(|| Id::from(""));
        Self { task_id, push_notification_config: config.into() }
    }
}

impl TryFrom<TaskPushNotificationConfig<'_>> for model::TaskPushNotificationConfig {
    type Error = Fault;

    fn try_from(old: TaskPushNotificationConfig<'_>) -> Result<Self> {
        let task_id = Some(required("taskId", old.task_id)?);
        let config = Self::try_from(old.push_notification_config);
        Ok(Self { task_id, ..config.within("pushNotificationConfig")? })
    }
}

impl ToV03 for model::TaskPushNotificationConfig {
    fn v0_3(&self) -> impl Serialize + '_ {
        TaskPushNotificationConfig::from(self)
    }
}

/// A list and nothing else: the old protocol has no pages here.
impl ToV03 for model::ListTaskPushNotificationConfigsResponse {
    fn v0_3(&self) -> impl Serialize + '_ {
        self.configs.iter().map(TaskPushNotificationConfig::from).collect::<Vec<_>>()
    }
}
