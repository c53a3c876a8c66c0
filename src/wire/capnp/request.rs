//! What the operations are asked and, where it is not a data decode_object, what they answer.

use super::a2a_capnp::{
    cancel_task_request, delete_task_push_notification_config_request, get_extended_agent_card_request,
    get_task_push_notification_config_request, get_task_request, list_task_push_notification_configs_request,
    list_task_push_notification_configs_response, list_tasks_request, list_tasks_response,
    send_message_configuration, send_message_request, subscribe_to_task_request,
};
use super::codec::{
    Decode, Encode, count, decode_object, encode_list, encode_texts, flag, int32, json_text, list, optional,
    optional_count, optional_flag, optional_struct, required, required_struct, text, texts,
};
use super::task::{nanos, optional_time, state};
use crate::fault::Result;
use crate::model::{
    CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse, SendMessageConfiguration,
    SendMessageRequest, SubscribeToTaskRequest, TaskState,
};

impl Encode for SendMessageRequest {
    type Owned = send_message_request::Owned;

    fn encode(&self, mut builder: send_message_request::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        self.message.encode(builder.reborrow().init_message());
        if let Some(configuration) = &self.configuration {
            configuration.encode(builder.reborrow().init_configuration());
        }
        if let Some(metadata) = &self.metadata {
            builder.set_metadata(json_text(metadata));
        }
    }
}

impl Decode for SendMessageRequest {
    type Owned = send_message_request::Owned;

    fn decode(reader: send_message_request::Reader<'_>) -> Result<Self> {
        let configuration = reader.has_configuration().then(|| reader.get_configuration());
        Ok(Self {
            tenant: optional("tenant", reader.get_tenant())?,
            message: required_struct("message", reader.has_message().then(|| reader.get_message()))?,
            configuration: optional_struct("configuration", configuration)?,
            metadata: decode_object("metadata", reader.has_metadata().then(|| reader.get_metadata()))?,
        })
    }
}

impl Encode for SendMessageConfiguration {
    type Owned = send_message_configuration::Owned;

    fn encode(&self, mut builder: send_message_configuration::Builder<'_>) {
        encode_texts(&self.accepted_output_modes, |n| builder.reborrow().init_accepted_output_modes(n));
        if let Some(config) = &self.task_push_notification_config {
            config.encode(builder.reborrow().init_task_push_notification_config());
        }
        if let Some(history_length) = self.history_length {
            builder.set_history_length(int32(history_length));
        }
        builder.set_return_immediately(self.return_immediately);
    }
}

impl Decode for SendMessageConfiguration {
    type Owned = send_message_configuration::Owned;

    fn decode(reader: send_message_configuration::Reader<'_>) -> Result<Self> {
        let config =
            reader.has_task_push_notification_config().then(|| reader.get_task_push_notification_config());
        Ok(Self {
            accepted_output_modes: texts("acceptedOutputModes", reader.get_accepted_output_modes())?,
            task_push_notification_config: optional_struct("taskPushNotificationConfig", config)?,
            history_length: optional_count(reader.get_history_length()),
            return_immediately: reader.get_return_immediately(),
        })
    }
}

impl Encode for GetTaskRequest {
    type Owned = get_task_request::Owned;

    fn encode(&self, mut builder: get_task_request::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        builder.set_id(&self.id);
        if let Some(history_length) = self.history_length {
            builder.set_history_length(int32(history_length));
        }
    }
}

impl Decode for GetTaskRequest {
    type Owned = get_task_request::Owned;

    fn decode(reader: get_task_request::Reader<'_>) -> Result<Self> {
        Ok(Self {
            tenant: optional("tenant", reader.get_tenant())?,
            id: required("id", reader.get_id())?,
            history_length: optional_count(reader.get_history_length()),
        })
    }
}

impl Encode for ListTasksRequest {
    type Owned = list_tasks_request::Owned;

    fn encode(&self, mut builder: list_tasks_request::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        if let Some(context_id) = &self.context_id {
            builder.set_context_id(context_id);
        }
        if let Some(status) = self.status {
            builder.set_status(status.into());
        }
        if let Some(page_size) = self.page_size {
            builder.set_page_size(int32(page_size));
        }
        if let Some(page_token) = &self.page_token {
            builder.set_page_token(page_token);
        }
        if let Some(history_length) = self.history_length {
            builder.set_history_length(int32(history_length));
        }
        builder.set_status_timestamp_after(nanos(self.status_timestamp_after));
        builder.set_include_artifacts(flag(self.include_artifacts));
    }
}

impl Decode for ListTasksRequest {
    type Owned = list_tasks_request::Owned;

    fn decode(reader: list_tasks_request::Reader<'_>) -> Result<Self> {
        Ok(Self {
            tenant: optional("tenant", reader.get_tenant())?,
            context_id: optional("contextId", reader.get_context_id())?,
            status: Some(state("status", reader.get_status())?)
                .filter(|state| *state != TaskState::Unspecified),
            page_size: optional_count(reader.get_page_size()),
            page_token: optional("pageToken", reader.get_page_token())?,
            history_length: optional_count(reader.get_history_length()),
            status_timestamp_after: optional_time(reader.get_status_timestamp_after()),
            include_artifacts: optional_flag("includeArtifacts", reader.get_include_artifacts())?,
        })
    }
}

impl Encode for ListTasksResponse {
    type Owned = list_tasks_response::Owned;

    fn encode(&self, mut builder: list_tasks_response::Builder<'_>) {
        encode_list(&self.tasks, |n| builder.reborrow().init_tasks(n));
        builder.set_next_page_token(&self.next_page_token);
        builder.set_page_size(int32(self.page_size));
        builder.set_total_size(int32(self.total_size));
    }
}

impl Decode for ListTasksResponse {
    type Owned = list_tasks_response::Owned;

    fn decode(reader: list_tasks_response::Reader<'_>) -> Result<Self> {
        Ok(Self {
            tasks: list("tasks", reader.get_tasks())?,
            next_page_token: text("nextPageToken", reader.get_next_page_token())?.to_owned(),
            page_size: count("pageSize", reader.get_page_size())?,
            total_size: count("totalSize", reader.get_total_size())?,
        })
    }
}

impl Encode for CancelTaskRequest {
    type Owned = cancel_task_request::Owned;

    fn encode(&self, mut builder: cancel_task_request::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        builder.set_id(&self.id);
        if let Some(metadata) = &self.metadata {
            builder.set_metadata(json_text(metadata));
        }
    }
}

impl Decode for CancelTaskRequest {
    type Owned = cancel_task_request::Owned;

    fn decode(reader: cancel_task_request::Reader<'_>) -> Result<Self> {
        Ok(Self {
            tenant: optional("tenant", reader.get_tenant())?,
            id: required("id", reader.get_id())?,
            metadata: decode_object("metadata", reader.has_metadata().then(|| reader.get_metadata()))?,
        })
    }
}

impl Encode for SubscribeToTaskRequest {
    type Owned = subscribe_to_task_request::Owned;

    fn encode(&self, mut builder: subscribe_to_task_request::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        builder.set_id(&self.id);
    }
}

impl Decode for SubscribeToTaskRequest {
    type Owned = subscribe_to_task_request::Owned;

    fn decode(reader: subscribe_to_task_request::Reader<'_>) -> Result<Self> {
        Ok(Self { tenant: optional("tenant", reader.get_tenant())?, id: required("id", reader.get_id())? })
    }
}

impl Encode for GetExtendedAgentCardRequest {
    type Owned = get_extended_agent_card_request::Owned;

    fn encode(&self, mut builder: get_extended_agent_card_request::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
    }
}

impl Decode for GetExtendedAgentCardRequest {
    type Owned = get_extended_agent_card_request::Owned;

    fn decode(reader: get_extended_agent_card_request::Reader<'_>) -> Result<Self> {
        Ok(Self { tenant: optional("tenant", reader.get_tenant())? })
    }
}

impl Encode for GetTaskPushNotificationConfigRequest {
    type Owned = get_task_push_notification_config_request::Owned;

    fn encode(&self, mut builder: get_task_push_notification_config_request::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        builder.set_task_id(&self.task_id);
        builder.set_id(&self.id);
    }
}

impl Decode for GetTaskPushNotificationConfigRequest {
    type Owned = get_task_push_notification_config_request::Owned;

    fn decode(reader: get_task_push_notification_config_request::Reader<'_>) -> Result<Self> {
        Ok(Self {
            tenant: optional("tenant", reader.get_tenant())?,
            task_id: required("taskId", reader.get_task_id())?,
            id: required("id", reader.get_id())?,
        })
    }
}

impl Encode for DeleteTaskPushNotificationConfigRequest {
    type Owned = delete_task_push_notification_config_request::Owned;

    fn encode(&self, mut builder: delete_task_push_notification_config_request::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        builder.set_task_id(&self.task_id);
        builder.set_id(&self.id);
    }
}

impl Decode for DeleteTaskPushNotificationConfigRequest {
    type Owned = delete_task_push_notification_config_request::Owned;

    fn decode(reader: delete_task_push_notification_config_request::Reader<'_>) -> Result<Self> {
        Ok(Self {
            tenant: optional("tenant", reader.get_tenant())?,
            task_id: required("taskId", reader.get_task_id())?,
            id: required("id", reader.get_id())?,
        })
    }
}

impl Encode for ListTaskPushNotificationConfigsRequest {
    type Owned = list_task_push_notification_configs_request::Owned;

    fn encode(&self, mut builder: list_task_push_notification_configs_request::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        builder.set_task_id(&self.task_id);
        builder.set_page_size(int32(self.page_size.unwrap_or_default()));
        if let Some(page_token) = &self.page_token {
            builder.set_page_token(page_token);
        }
    }
}

impl Decode for ListTaskPushNotificationConfigsRequest {
    type Owned = list_task_push_notification_configs_request::Owned;

    fn decode(reader: list_task_push_notification_configs_request::Reader<'_>) -> Result<Self> {
        Ok(Self {
            tenant: optional("tenant", reader.get_tenant())?,
            task_id: required("taskId", reader.get_task_id())?,
            // 0 and absent are the same here, in A2A as on the wire.
            page_size: Some(count("pageSize", reader.get_page_size())?).filter(|size| *size != 0),
            page_token: optional("pageToken", reader.get_page_token())?,
        })
    }
}

impl Encode for ListTaskPushNotificationConfigsResponse {
    type Owned = list_task_push_notification_configs_response::Owned;

    fn encode(&self, mut builder: list_task_push_notification_configs_response::Builder<'_>) {
        encode_list(&self.configs, |n| builder.reborrow().init_configs(n));
        if let Some(next_page_token) = &self.next_page_token {
            builder.set_next_page_token(next_page_token);
        }
    }
}

impl Decode for ListTaskPushNotificationConfigsResponse {
    type Owned = list_task_push_notification_configs_response::Owned;

    fn decode(reader: list_task_push_notification_configs_response::Reader<'_>) -> Result<Self> {
        Ok(Self {
            configs: list("configs", reader.get_configs())?,
            next_page_token: optional("nextPageToken", reader.get_next_page_token())?,
        })
    }
}
