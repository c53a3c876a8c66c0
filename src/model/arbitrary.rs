//! Arbitrary values of the model, for property tests of every codec: each value is one that a reader of
//! A2A JSON can produce, so that reading what was written must give the same value.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Number, Value};

use super::*;

/// Any text, the empty one and control characters included.
pub(crate) fn text() -> impl Strategy<Value = String> {
    characters(0..12)
}

/// A text that is not empty.
pub(crate) fn nonempty_text() -> impl Strategy<Value = String> {
    characters(1..12)
}

fn characters(length: Range<usize>) -> impl Strategy<Value = String> {
    vec(any::<char>(), length).prop_map(String::from_iter)
}

/// An id.
pub(crate) fn id() -> impl Strategy<Value = Id> {
    nonempty_text().prop_map(Id::from)
}

/// Any time that a [`Timestamp`] holds.
pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_unix_nanos)
}

/// A count in the range of an `int32`.
pub(crate) fn count() -> impl Strategy<Value = u32> {
    0..=i32::MAX as u32
}

/// Any JSON value, at most three levels deep.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter_map("JSON has only finite numbers", |n| Number::from_f64(n).map(Value::from)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Any JSON object, such as metadata.
pub(crate) fn structure() -> impl Strategy<Value = Struct> {
    btree_map(text(), value(), 0..3).prop_map(|entries| entries.into_iter().collect())
}

fn extensions() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

fn bytes() -> impl Strategy<Value = bytes::Bytes> {
    vec(any::<u8>(), 0..24).prop_map(bytes::Bytes::from)
}

/// Any part, each kind of content equally often.
pub(crate) fn part() -> impl Strategy<Value = Part> {
    let content = prop_oneof![
        text().prop_map(PartContent::Text),
        bytes().prop_map(PartContent::Raw),
        text().prop_map(PartContent::Url),
        value().prop_map(PartContent::Data),
    ];
    (content, of(structure()), of(nonempty_text()), of(nonempty_text())).prop_map(
        |(content, metadata, filename, media_type)| Part { content, metadata, filename, media_type },
    )
}

/// Any message.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let ids = (id(), of(id()), of(id()), vec(id(), 0..3));
    let rest = (select(&Role::ALL[..]), vec(part(), 1..4), of(structure()), extensions());
    (ids, rest).prop_map(|(ids, (role, parts, metadata, extensions))| {
        let (message_id, context_id, task_id, reference_task_ids) = ids;
        Message { message_id, context_id, task_id, role, parts, metadata, extensions, reference_task_ids }
    })
}

/// Any artifact.
pub(crate) fn artifact() -> impl Strategy<Value = Artifact> {
    let texts = (id(), of(nonempty_text()), of(nonempty_text()));
    (texts, vec(part(), 1..4), of(structure()), extensions()).prop_map(
        |((artifact_id, name, description), parts, metadata, extensions)| Artifact {
            artifact_id,
            name,
            description,
            parts,
            metadata,
            extensions,
        },
    )
}

/// Any status.
pub(crate) fn task_status() -> impl Strategy<Value = TaskStatus> {
    let state = select([&TaskState::ALL[..], &[TaskState::Unspecified]].concat());
    (state, of(message()), of(timestamp())).prop_map(|(state, message, timestamp)| TaskStatus {
        state,
        message,
        timestamp,
    })
}

/// Any task.
pub(crate) fn task() -> impl Strategy<Value = Task> {
    let lists = (vec(artifact(), 0..3), vec(message(), 0..3));
    (id(), of(id()), task_status(), lists, of(structure())).prop_map(
        |(id, context_id, status, (artifacts, history), metadata)| Task {
            id,
            context_id,
            status,
            artifacts,
            history,
            metadata,
        },
    )
}

/// Any status event.
pub(crate) fn task_status_update_event() -> impl Strategy<Value = TaskStatusUpdateEvent> {
    (id(), id(), task_status(), of(structure())).prop_map(|(task_id, context_id, status, metadata)| {
        TaskStatusUpdateEvent { task_id, context_id, status, metadata }
    })
}

/// Any artifact event.
pub(crate) fn task_artifact_update_event() -> impl Strategy<Value = TaskArtifactUpdateEvent> {
    (id(), id(), artifact(), any::<(bool, bool)>(), of(structure())).prop_map(
        |(task_id, context_id, artifact, (append, last_chunk), metadata)| TaskArtifactUpdateEvent {
            task_id,
            context_id,
            artifact,
            append,
            last_chunk,
            metadata,
        },
    )
}

/// Any element of a stream, each kind equally often.
pub(crate) fn stream_response() -> impl Strategy<Value = StreamResponse> {
    prop_oneof![
        task().prop_map(StreamResponse::Task),
        message().prop_map(StreamResponse::Message),
        task_status_update_event().prop_map(StreamResponse::StatusUpdate),
        task_artifact_update_event().prop_map(StreamResponse::ArtifactUpdate),
    ]
}

/// Any answer to a send.
pub(crate) fn send_message_response() -> impl Strategy<Value = SendMessageResponse> {
    prop_oneof![task().prop_map(SendMessageResponse::Task), message().prop_map(SendMessageResponse::Message)]
}

/// Any push configuration.
pub(crate) fn task_push_notification_config() -> impl Strategy<Value = TaskPushNotificationConfig> {
    let secret = || nonempty_text().prop_map(Secret::from);
    let authentication = (nonempty_text(), of(secret()))
        .prop_map(|(scheme, credentials)| AuthenticationInfo { scheme, credentials });
    (of(nonempty_text()), of(id()), of(id()), nonempty_text(), of(secret()), of(authentication)).prop_map(
        |(tenant, id, task_id, url, token, authentication)| TaskPushNotificationConfig {
            tenant,
            id,
            task_id,
            url,
            token,
            authentication,
        },
    )
}

/// Any send.
pub(crate) fn send_message_request() -> impl Strategy<Value = SendMessageRequest> {
    let configuration = (vec(text(), 0..3), of(task_push_notification_config()), of(count()), any::<bool>())
        .prop_map(
            |(accepted_output_modes, task_push_notification_config, history_length, return_immediately)| {
                SendMessageConfiguration {
                    accepted_output_modes,
                    task_push_notification_config,
                    history_length,
                    return_immediately,
                }
            },
        );
    (of(nonempty_text()), message(), of(configuration), of(structure())).prop_map(
        |(tenant, message, configuration, metadata)| SendMessageRequest {
            tenant,
            message,
            configuration,
            metadata,
        },
    )
}

/// Any question for a page of tasks whose page size is in range.
pub(crate) fn list_tasks_request() -> impl Strategy<Value = ListTasksRequest> {
    let filter = (of(id()), of(select(&TaskState::ALL[..])), of(timestamp()));
    let page = (of(1..=ListTasksRequest::MAX_PAGE_SIZE), of(nonempty_text()));
    (of(nonempty_text()), filter, page, of(count()), of(any::<bool>())).prop_map(
        |(
            tenant,
            (context_id, status, after),
            (page_size, page_token),
            history_length,
            include_artifacts,
        )| {
            ListTasksRequest {
                tenant,
                context_id,
                status,
                page_size,
                page_token,
                history_length,
                status_timestamp_after: after,
                include_artifacts,
            }
        },
    )
}

/// Any page of tasks.
pub(crate) fn list_tasks_response() -> impl Strategy<Value = ListTasksResponse> {
    (vec(task(), 0..3), text(), count(), count()).prop_map(
        |(tasks, next_page_token, page_size, total_size)| ListTasksResponse {
            tasks,
            next_page_token,
            page_size,
            total_size,
        },
    )
}

fn scopes() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3)
}

fn oauth_flows() -> impl Strategy<Value = OAuthFlows> {
    let fields = (nonempty_text(), nonempty_text(), of(nonempty_text()), scopes(), any::<bool>());
    (0..5, fields).prop_map(|(kind, (url, token_url, refresh_url, scopes, pkce_required))| match kind {
        0 => OAuthFlows::AuthorizationCode(AuthorizationCodeOAuthFlow {
            authorization_url: url,
            token_url,
            refresh_url,
            scopes,
            pkce_required,
        }),
        1 => OAuthFlows::ClientCredentials(ClientCredentialsOAuthFlow { token_url, refresh_url, scopes }),
        2 => OAuthFlows::Implicit(ImplicitOAuthFlow { authorization_url: Some(url), refresh_url, scopes }),
        3 => OAuthFlows::Password(PasswordOAuthFlow { token_url: Some(token_url), refresh_url, scopes }),
        _ => OAuthFlows::DeviceCode(DeviceCodeOAuthFlow {
            device_authorization_url: url,
            token_url,
            refresh_url,
            scopes,
        }),
    })
}

/// Any way to authenticate.
pub(crate) fn security_scheme() -> impl Strategy<Value = SecurityScheme> {
    let place = select(&ApiKeyLocation::ALL[..]);
    prop_oneof![
        (of(nonempty_text()), place, nonempty_text()).prop_map(|(description, location, name)| {
            SecurityScheme::ApiKey(ApiKeySecurityScheme { description, location, name })
        }),
        (of(nonempty_text()), nonempty_text(), of(nonempty_text())).prop_map(
            |(description, scheme, bearer_format)| {
                SecurityScheme::HttpAuth(HttpAuthSecurityScheme { description, scheme, bearer_format })
            }
        ),
        (of(nonempty_text()), oauth_flows(), of(nonempty_text())).prop_map(
            |(description, flows, oauth2_metadata_url)| {
                SecurityScheme::OAuth2(OAuth2SecurityScheme { description, flows, oauth2_metadata_url })
            }
        ),
        (of(nonempty_text()), nonempty_text()).prop_map(|(description, open_id_connect_url)| {
            SecurityScheme::OpenIdConnect(OpenIdConnectSecurityScheme { description, open_id_connect_url })
        }),
        of(nonempty_text())
            .prop_map(|description| SecurityScheme::MutualTls(MutualTlsSecurityScheme { description })),
    ]
}

fn security_requirement() -> impl Strategy<Value = SecurityRequirement> {
    let list = vec(text(), 0..3).prop_map(|list| StringList { list });
    btree_map(text(), list, 0..3).prop_map(|schemes| SecurityRequirement { schemes })
}

fn agent_skill() -> impl Strategy<Value = AgentSkill> {
    let texts = (nonempty_text(), nonempty_text(), nonempty_text());
    let lists = (vec(text(), 1..3), vec(text(), 0..3), vec(text(), 0..3), vec(text(), 0..3));
    (texts, lists, vec(security_requirement(), 0..2)).prop_map(
        |((id, name, description), (tags, examples, input_modes, output_modes), security_requirements)| {
            AgentSkill {
                id,
                name,
                description,
                tags,
                examples,
                input_modes,
                output_modes,
                security_requirements,
            }
        },
    )
}

fn agent_interface() -> impl Strategy<Value = AgentInterface> {
    (nonempty_text(), nonempty_text(), of(nonempty_text()), nonempty_text()).prop_map(
        |(url, protocol_binding, tenant, protocol_version)| AgentInterface {
            url,
            protocol_binding,
            tenant,
            protocol_version,
        },
    )
}

fn agent_capabilities() -> impl Strategy<Value = AgentCapabilities> {
    let extension = (of(nonempty_text()), of(nonempty_text()), any::<bool>(), of(structure())).prop_map(
        |(uri, description, required, params)| AgentExtension { uri, description, required, params },
    );
    (any::<[Option<bool>; 3]>(), vec(extension, 0..2)).prop_map(|(flags, extensions)| {
        let [streaming, push_notifications, extended_agent_card] = flags;
        AgentCapabilities { streaming, push_notifications, extensions, extended_agent_card }
    })
}

fn agent_card_signature() -> impl Strategy<Value = AgentCardSignature> {
    (nonempty_text(), nonempty_text(), of(structure()))
        .prop_map(|(protected, signature, header)| AgentCardSignature { protected, signature, header })
}

/// Any card.
pub(crate) fn agent_card() -> impl Strategy<Value = AgentCard> {
    let provider = (nonempty_text(), nonempty_text())
        .prop_map(|(url, organization)| AgentProvider { url, organization });
    let texts = (nonempty_text(), nonempty_text(), nonempty_text(), of(text()), of(text()));
    let what = (vec(text(), 1..3), vec(text(), 1..3), vec(agent_skill(), 1..3), agent_capabilities());
    let whence = (vec(agent_interface(), 1..3), of(provider), vec(agent_card_signature(), 0..2));
    let security = (btree_map(text(), security_scheme(), 0..3), vec(security_requirement(), 0..2));
    (texts, what, whence, security).prop_map(|(texts, what, whence, security)| {
        let (name, description, version, documentation_url, icon_url) = texts;
        let (default_input_modes, default_output_modes, skills, capabilities) = what;
        let (supported_interfaces, provider, signatures) = whence;
        let (security_schemes, security_requirements) = security;
        AgentCard {
            name,
            description,
            supported_interfaces,
            provider,
            version,
            documentation_url,
            capabilities,
            security_schemes,
            security_requirements,
            default_input_modes,
            default_output_modes,
            skills,
            signatures,
            icon_url,
        }
    })
}

mod tests {
    use std::fmt::Debug;

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;

    /// What was written is read as it was, from bytes and from memory, and written as the same bytes.
    fn survives_json<T>(value: &T) -> Result<(), TestCaseError>
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let written = serde_json::to_vec(value).unwrap();
        let read: T = json::from_slice(&written).unwrap();
        prop_assert_eq!(&read, value);
        prop_assert_eq!(serde_json::to_vec(&read).unwrap(), written);
        let in_memory = json::from_value(serde_json::to_value(value).unwrap());
        prop_assert_eq!(in_memory.as_ref(), Ok(value));
        Ok(())
    }

    proptest! {
        #[test]
        fn parts_survive_json(part in part()) {
            survives_json(&part)?;
        }

        #[test]
        fn stream_responses_survive_json(response in stream_response()) {
            survives_json(&response)?;
        }

        #[test]
        fn sends_survive_json(request in send_message_request()) {
            survives_json(&request)?;
        }

        #[test]
        fn answers_to_sends_survive_json(response in send_message_response()) {
            survives_json(&response)?;
        }

        #[test]
        fn questions_for_lists_survive_json(request in list_tasks_request()) {
            survives_json(&request)?;
            prop_assert_eq!(request.validate(), Ok(()));
        }

        #[test]
        fn lists_survive_json(response in list_tasks_response()) {
            survives_json(&response)?;
        }

        #[test]
        fn cards_survive_json(card in agent_card()) {
            survives_json(&card)?;
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..64), near in value()) {
            let _: Result<StreamResponse, _> = json::from_slice(&bytes);
            let near = serde_json::json!({"task": {"id": "t", "status": near}});
            prop_assert!(json::from_value::<StreamResponse>(near).is_err());
        }
    }
}
