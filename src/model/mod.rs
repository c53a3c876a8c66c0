//! A2A's words as Rust types.
//!
//! The serde form of these types is the canonical A2A 1.0 JSON: camelCase names (the snake_case names
//! of the protocol's schema are read too), enums and unions by name, times in RFC 3339, bytes in base64.
//! What the protocol requires is required here: a text, where no text is no answer, must not be empty, a
//! list must have an element, an enum a known value. Unknown fields are ignored, as A2A asks, and `null` is
//! read as absent. [`json`] reads bytes and says which field broke a rule.

#[cfg(test)]
pub(crate) mod arbitrary;
mod card;
mod end;
mod event;
mod fields;
#[cfg(test)]
mod golden;
pub mod json;
mod message;
mod parameters;
mod push;
mod request;
mod security;
mod size;
mod task;
mod timestamp;

use std::sync::Arc;

pub use card::{
    AgentCapabilities, AgentCard, AgentCardSignature, AgentExtension, AgentInterface, AgentProvider,
    AgentSkill,
};
pub use end::{EndReason, StreamEnd};
pub use event::{Cause, Event, Update};
pub use message::{Artifact, Message, Part, PartContent, Role};
pub use parameters::ServiceParameters;
pub use push::{AuthenticationInfo, Secret, TaskPushNotificationConfig};
pub use request::{
    CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse, SendMessageConfiguration,
    SendMessageRequest, SubscribeToTaskRequest,
};
pub use security::{
    ApiKeyLocation, ApiKeySecurityScheme, AuthorizationCodeOAuthFlow, ClientCredentialsOAuthFlow,
    DeviceCodeOAuthFlow, HttpAuthSecurityScheme, ImplicitOAuthFlow, MutualTlsSecurityScheme,
    OAuth2SecurityScheme, OAuthFlows, OpenIdConnectSecurityScheme, PasswordOAuthFlow, SecurityRequirement,
    SecurityScheme, StringList,
};
pub use task::{
    SendMessageResponse, StreamResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus,
    TaskStatusUpdateEvent, UnknownTaskState,
};
pub use timestamp::{Timestamp, TimestampError};

/// The id of a task, context, message, artifact or push configuration. Cheap to clone.
pub type Id = Arc<str>;

/// A free-form JSON object (`google.protobuf.Struct`), such as metadata.
pub type Struct = serde_json::Map<String, serde_json::Value>;

/// A new unique id: a UUID of version 7, so that ids sort by the time they were made.
pub fn fresh_id() -> Id {
    let mut text = uuid::Uuid::encode_buffer();
    Id::from(&*uuid::Uuid::now_v7().hyphenated().encode_lower(&mut text))
}
