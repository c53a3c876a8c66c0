//! What the operations are asked and, where it is not a data object, what they answer.

use serde::{Deserialize, Serialize};

use super::fields::{count, is_blank, is_false, optional, optional_count, or_default, required, specified};
use super::{Id, Message, Struct, Task, TaskPushNotificationConfig, TaskState, Timestamp};
use crate::fault::Fault;

/// Asks the agent something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendMessageRequest {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// What is said.
    pub message: Message,
    /// How to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<SendMessageConfiguration>,
    /// Anything else, by extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

impl SendMessageRequest {
    /// Asks a text, in a message with a fresh id.
    pub fn text(text: impl Into<String>) -> Self {
        Message::user(text).into()
    }
}

impl From<Message> for SendMessageRequest {
    fn from(message: Message) -> Self {
        Self { tenant: None, message, configuration: None, metadata: None }
    }
}

/// How the client wants its send to be answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendMessageConfiguration {
    /// The media types that the client can take; empty for any.
    #[serde(
        default,
        alias = "accepted_output_modes",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub accepted_output_modes: Vec<String>,
    /// A webhook for the task, which is made along with it.
    #[serde(default, alias = "task_push_notification_config", skip_serializing_if = "Option::is_none")]
    pub task_push_notification_config: Option<TaskPushNotificationConfig>,
    /// How many of the latest messages the answered task should have: absent for all, 0 for none.
    #[serde(
        default,
        alias = "history_length",
        deserialize_with = "optional_count",
        skip_serializing_if = "Option::is_none"
    )]
    pub history_length: Option<u32>,
    /// Whether to answer as soon as there is a task, instead of when it stops.
    #[serde(
        default,
        alias = "return_immediately",
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub return_immediately: bool,
}

/// Asks for a task as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetTaskRequest {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// The task.
    #[serde(deserialize_with = "required")]
    pub id: Id,
    /// How many of the latest messages to have: absent for all, 0 for none.
    #[serde(
        default,
        alias = "history_length",
        deserialize_with = "optional_count",
        skip_serializing_if = "Option::is_none"
    )]
    pub history_length: Option<u32>,
}

impl GetTaskRequest {
    /// Asks for a task with all its messages.
    pub fn new(id: impl Into<Id>) -> Self {
        Self { tenant: None, id: id.into(), history_length: None }
    }
}

/// Asks for a page of the caller's tasks, those with the latest status first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTasksRequest {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// Only tasks of this conversation.
    #[serde(default, alias = "context_id", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub context_id: Option<Id>,
    /// Only tasks in this state; in any, if absent or unspecified.
    #[serde(default, deserialize_with = "specified", skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskState>,
    /// The most tasks to have: 1 to 100, 50 if absent.
    #[serde(
        default,
        alias = "page_size",
        deserialize_with = "optional_count",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_size: Option<u32>,
    /// Where to go on: what the page before gave.
    #[serde(default, alias = "page_token", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub page_token: Option<String>,
    /// How many of the latest messages each task should have: absent for all, 0 for none.
    #[serde(
        default,
        alias = "history_length",
        deserialize_with = "optional_count",
        skip_serializing_if = "Option::is_none"
    )]
    pub history_length: Option<u32>,
    /// Only tasks whose status is of this time or later.
    #[serde(default, alias = "status_timestamp_after", skip_serializing_if = "Option::is_none")]
    pub status_timestamp_after: Option<Timestamp>,
    /// Whether the tasks should have their artifacts; no if absent.
    #[serde(default, alias = "include_artifacts", skip_serializing_if = "Option::is_none")]
    pub include_artifacts: Option<bool>,
}

impl ListTasksRequest {
    /// The page size if the request does not say one.
    pub const DEFAULT_PAGE_SIZE: u32 = 50;
    /// The largest page size.
    pub const MAX_PAGE_SIZE: u32 = 100;

    /// Checks what the type does not.
    ///
    /// # Errors
    /// [`FaultKind::InvalidParams`](crate::fault::FaultKind::InvalidParams) if the page size is out of range.
    pub fn validate(&self) -> Result<(), Fault> {
        let max = Self::MAX_PAGE_SIZE;
        match self.page_size {
            Some(size) if !(1..=max).contains(&size) => {
                let description = format!("must be from 1 to {max}, not {size}");
                Err(Fault::invalid("pageSize", description))
            }
            _ => Ok(()),
        }
    }

    /// The page size to use.
    pub fn effective_page_size(&self) -> u32 {
        self.page_size.unwrap_or(Self::DEFAULT_PAGE_SIZE)
    }
}

/// A page of tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTasksResponse {
    /// The tasks; may be empty, but is always there.
    pub tasks: Vec<Task>,
    /// What to ask for the next page with; empty after the last.
    #[serde(alias = "next_page_token")]
    pub next_page_token: String,
    /// The page size that was used.
    #[serde(alias = "page_size", deserialize_with = "count")]
    pub page_size: u32,
    /// How many tasks there are on all pages.
    #[serde(alias = "total_size", deserialize_with = "count")]
    pub total_size: u32,
}

/// Calls a task off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelTaskRequest {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// The task.
    #[serde(deserialize_with = "required")]
    pub id: Id,
    /// Anything else, by extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

impl CancelTaskRequest {
    /// Calls a task off.
    pub fn new(id: impl Into<Id>) -> Self {
        Self { tenant: None, id: id.into(), metadata: None }
    }
}

/// Asks for the updates of a task from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscribeToTaskRequest {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// The task.
    #[serde(deserialize_with = "required")]
    pub id: Id,
}

impl SubscribeToTaskRequest {
    /// Asks for the updates of a task.
    pub fn new(id: impl Into<Id>) -> Self {
        Self { tenant: None, id: id.into() }
    }
}

/// Asks for the card that an authenticated caller may see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetExtendedAgentCardRequest {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
}

/// Asks for one push configuration of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetTaskPushNotificationConfigRequest {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// The task.
    #[serde(alias = "task_id", deserialize_with = "required")]
    pub task_id: Id,
    /// The configuration.
    #[serde(deserialize_with = "required")]
    pub id: Id,
}

/// Takes one push configuration off a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteTaskPushNotificationConfigRequest {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// The task.
    #[serde(alias = "task_id", deserialize_with = "required")]
    pub task_id: Id,
    /// The configuration.
    #[serde(deserialize_with = "required")]
    pub id: Id,
}

/// Asks for a page of the push configurations of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTaskPushNotificationConfigsRequest {
    /// Selects the agent, as the agent's card says.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub tenant: Option<String>,
    /// The task.
    #[serde(alias = "task_id", deserialize_with = "required")]
    pub task_id: Id,
    /// The most configurations to have; the server chooses if it is absent or 0.
    #[serde(
        default,
        alias = "page_size",
        deserialize_with = "optional_count",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_size: Option<u32>,
    /// Where to go on: what the page before gave.
    #[serde(default, alias = "page_token", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub page_token: Option<String>,
}

impl ListTaskPushNotificationConfigsRequest {
    /// Asks for the first page of a task's push configurations, as long as the server likes.
    pub fn new(task_id: impl Into<Id>) -> Self {
        Self { tenant: None, task_id: task_id.into(), page_size: None, page_token: None }
    }
}

/// A page of push configurations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTaskPushNotificationConfigsResponse {
    /// The configurations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<TaskPushNotificationConfig>,
    /// What to ask for the next page with; absent after the last.
    #[serde(
        default,
        alias = "next_page_token",
        deserialize_with = "optional",
        skip_serializing_if = "is_blank"
    )]
    pub next_page_token: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json;

    #[test]
    fn a_page_has_1_to_100_tasks() {
        let sized = |page_size| ListTasksRequest { page_size, ..ListTasksRequest::default() };
        for good in [None, Some(1), Some(100)] {
            assert_eq!(sized(good).validate(), Ok(()), "{good:?}");
        }
        for bad in [0, 101, u32::MAX] {
            let fault = sized(Some(bad)).validate().unwrap_err();
            assert_eq!(fault.message(), format!("pageSize: must be from 1 to 100, not {bad}"));
        }
    }

    #[test]
    fn counts_are_numbers_or_texts_from_0_to_the_end_of_int32() {
        let read = |length: &str| {
            let json = format!(r#"{{"id":"t","historyLength":{length}}}"#);
            json::from_slice::<GetTaskRequest>(json.as_bytes()).map(|request| request.history_length)
        };
        let good = [("0", 0), ("2147483647", 2_147_483_647), (r#""7""#, 7), ("5.0", 5), ("1e3", 1000)];
        for (text, number) in good {
            assert_eq!(read(text), Ok(Some(number)), "{text}");
        }
        assert_eq!(read("null"), Ok(None));
        for bad in
            ["-1", "2147483648", "18446744073709551615", "1.5", "-0.5", r#""-1""#, r#""x""#, "true", "[]"]
        {
            assert_eq!(read(bad).unwrap_err().violations()[0].field, "historyLength", "{bad}");
        }
    }
}
