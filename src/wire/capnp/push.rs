//! Push notification configurations.

use super::a2a_capnp::{authentication_info, task_push_notification_config};
use super::codec::{Decode, Encode, optional, optional_struct, required};
use crate::fault::Result;
use crate::model::{AuthenticationInfo, TaskPushNotificationConfig};

impl Encode for TaskPushNotificationConfig {
    type Owned = task_push_notification_config::Owned;

    fn encode(&self, mut builder: task_push_notification_config::Builder<'_>) {
        if let Some(tenant) = &self.tenant {
            builder.set_tenant(tenant);
        }
        if let Some(id) = &self.id {
            builder.set_id(id);
        }
        if let Some(task_id) = &self.task_id {
            builder.set_task_id(task_id);
        }
        builder.set_url(&self.url);
        if let Some(token) = &self.token {
            builder.set_token(token.expose());
        }
        if let Some(authentication) = &self.authentication {
            authentication.encode(builder.init_authentication());
        }
    }
}

impl Decode for TaskPushNotificationConfig {
    type Owned = task_push_notification_config::Owned;

    fn decode(reader: task_push_notification_config::Reader<'_>) -> Result<Self> {
        let authentication = reader.has_authentication().then(|| reader.get_authentication());
        Ok(Self {
            tenant: optional("tenant", reader.get_tenant())?,
            id: optional("id", reader.get_id())?,
            task_id: optional("taskId", reader.get_task_id())?,
            url: required("url", reader.get_url())?,
            token: optional("token", reader.get_token())?,
            authentication: optional_struct("authentication", authentication)?,
        })
    }
}

impl Encode for AuthenticationInfo {
    type Owned = authentication_info::Owned;

    fn encode(&self, mut builder: authentication_info::Builder<'_>) {
        builder.set_scheme(&self.scheme);
        if let Some(credentials) = &self.credentials {
            builder.set_credentials(credentials.expose());
        }
    }
}

impl Decode for AuthenticationInfo {
    type Owned = authentication_info::Owned;

    fn decode(reader: authentication_info::Reader<'_>) -> Result<Self> {
        Ok(Self {
            scheme: required("scheme", reader.get_scheme())?,
            credentials: optional("credentials", reader.get_credentials())?,
        })
    }
}
