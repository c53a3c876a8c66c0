//! What the operations are asked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::list;
use super::push::PushNotificationConfig;
use super::task::state_from_name;
use crate::fault::{Fault, Result};
use crate::model::{self, json};
use crate::wire::Within as _;

/// How the client wants its send to be answered.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageSendConfiguration<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_output_modes: Option<Cow<'a, [String]>>,
    /// Whether to answer when the task stops and not as soon as there is one. Yes if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocking: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    push_notification_config: Option<PushNotificationConfig<'a>>,
}

impl<'a> From<&'a model::SendMessageConfiguration> for MessageSendConfiguration<'a> {
    fn from(configuration: &'a model::SendMessageConfiguration) -> Self {
        Self {
            accepted_output_modes: super::some_list(&configuration.accepted_output_modes),
            blocking: Some(!configuration.return_immediately),
            history_length: configuration.history_length,
            push_notification_config: configuration.task_push_notification_config.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<MessageSendConfiguration<'_>> for model::SendMessageConfiguration {
    type Error = Fault;

    fn try_from(old: MessageSendConfiguration<'_>) -> Result<Self> {
        let webhook =
            old.push_notification_config.map(model::TaskPushNotificationConfig::try_from).transpose();
        Ok(Self {
            accepted_output_modes: list(old.accepted_output_modes),
            task_push_notification_config: webhook.within("pushNotificationConfig")?,
            history_length: old.history_length,
            return_immediately: old.blocking == Some(false),
        })
    }
}

/// Asks for a page of tasks. The JSON bindings of the old protocol had no such operation: it is the new one with the
/// old names of states.
#[derive(Debug)]
pub struct ListTasksRequest;

impl ListTasksRequest {
    /// Reads one.
    ///
    /// # Errors
    /// If a field has a value outside its bounds.
    pub fn read(mut request: Value) -> Result<model::ListTasksRequest> {
        if let Some(status) = request.get_mut("status").filter(|status| !status.is_null()) {
            let name = status.as_str().ok_or_else(|| Fault::invalid("status", "must be a text"))?;
            let state = state_from_name(name).map_err(|error| Fault::invalid("status", error.to_string()))?;
            *status = state.name().into();
        }
        json::from_value(request)
    }
}
