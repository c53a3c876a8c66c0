//! The old JSON as A2A 0.3's schema has it, and the way there and back.

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::fault::Fault;
use crate::model::arbitrary::{
    self, task_artifact_update_event, task_push_notification_config, task_status_update_event,
};
use crate::model::json::from_value;
use crate::model::{self, AuthenticationInfo, PartContent};

fn written(shown: impl Serialize) -> Value {
    serde_json::to_value(shown).expect("writing cannot fail")
}

/// Reads a value in the new form.
fn new<T: DeserializeOwned>(json: Value) -> T {
    from_value(json).expect("valid")
}

/// Reads a message in the old form.
fn message(json: Value) -> Result<model::Message, Fault> {
    model::Message::try_from(from_value::<Message<'static>>(json)?)
}

fn refused(json: Value) -> String {
    message(json).expect_err("refused").violations()[0].field.clone()
}

fn pair() -> (Value, Value) {
    let old = json!({
        "kind": "message",
        "messageId": "m-1",
        "role": "agent",
        "contextId": "c-1",
        "taskId": "t-1",
        "referenceTaskIds": ["t-0"],
        "extensions": ["https://x.example/ext"],
        "metadata": {"k": [1]},
        "parts": [
            {"kind": "text", "text": "Grüße", "metadata": {"lang": "de"}},
            {"kind": "file", "file": {"name": "a.bin", "mimeType": "a/b", "bytes": "AAEC/w=="}},
            {"kind": "file", "file": {"mimeType": "image/png", "uri": "https://x.example/a.png"}},
            {"kind": "data", "data": {"n": [1, null]}},
            {"kind": "data", "data": {"value": [1, 2]}, "metadata": {"data_part_compat": true}},
        ],
    });
    let new = json!({
        "messageId": "m-1",
        "role": "ROLE_AGENT",
        "contextId": "c-1",
        "taskId": "t-1",
        "referenceTaskIds": ["t-0"],
        "extensions": ["https://x.example/ext"],
        "metadata": {"k": [1]},
        "parts": [
            {"text": "Grüße", "metadata": {"lang": "de"}},
            {"raw": "AAEC/w==", "filename": "a.bin", "mediaType": "a/b"},
            {"url": "https://x.example/a.png", "mediaType": "image/png"},
            {"data": {"n": [1, null]}},
            {"data": [1, 2]},
        ],
    });
    (old, new)
}

#[test]
fn a_message_is_the_same_in_both_forms() {
    let (old, new_form) = pair();
    let read = message(old.clone()).expect("valid");
    assert_eq!(read, new::<model::Message>(new_form));
    assert_eq!(written(read.v0_3()), old);
}

#[test]
fn a_message_that_breaks_a_rule_is_refused_at_its_field() {
    let with = |change: fn(&mut Value)| {
        let (mut old, _) = pair();
        change(&mut old);
        refused(old)
    };
    assert_eq!(with(|old| old["kind"] = "task".into()), "kind");
    assert_eq!(with(|old| old["role"] = "ROLE_USER".into()), "role");
    assert_eq!(with(|old| old["messageId"] = "".into()), "messageId");
    assert_eq!(with(|old| old["parts"] = json!([])), "parts");
    assert_eq!(with(|old| old["parts"][1]["kind"] = "picture".into()), "parts[1].kind");
    assert_eq!(with(|old| old["parts"][1]["file"]["uri"] = "u".into()), "parts[1].file");
    assert_eq!(with(|old| old["parts"][1]["file"]["bytes"] = "%".into()), "parts[1].file.bytes");
    assert!(with(|old| old["parts"][3]["data"] = json!([])).starts_with("parts[3]"));
    assert_eq!(
        with(|old| {
            old.as_object_mut().map(|old| old.remove("role"));
        }),
        "role"
    );
}

#[test]
fn a_task_says_its_kind_and_its_state_in_small_letters() {
    let task: model::Task = new(json!({
        "id": "t-1",
        "contextId": "c-1",
        "status": {"state": "TASK_STATE_INPUT_REQUIRED", "timestamp": "2026-01-02T03:04:05Z"},
        "artifacts": [{"artifactId": "a", "parts": [{"text": "x"}]}],
    }));
    let old = written(task.v0_3());
    assert_eq!(
        old,
        json!({
            "kind": "task",
            "id": "t-1",
            "contextId": "c-1",
            "status": {"state": "input-required", "timestamp": old["status"]["timestamp"]},
            "artifacts": [{"artifactId": "a", "parts": [{"kind": "text", "text": "x"}]}],
        })
    );
    for state in model::TaskState::ALL {
        assert_eq!(state_from_name(state.short_name()).expect("known"), state);
    }
    for unknown in ["unknown", "TASK_STATE_WORKING", ""] {
        let error = state_from_name(unknown).expect_err("unknown").to_string();
        assert!(
            error.ends_with("working, completed, failed, canceled, input-required, rejected, auth-required")
        );
    }
}

#[test]
fn the_unspecified_state_is_the_old_unknown() {
    let task: model::Task = new(json!({"id": "t", "contextId": "c", "status": {"state": 0}}));
    let old = written(task.v0_3());
    assert_eq!(old["status"]["state"], "unknown");
    let read: Task<'_> = serde_json::from_value(old).expect("a task");
    assert_eq!(model::Task::try_from(read).expect("a task"), task);
}

#[test]
fn events_say_their_kind_and_status_events_whether_they_are_the_last() {
    let status: model::TaskStatusUpdateEvent =
        new(json!({"taskId": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}));
    for is_final in [false, true] {
        assert_eq!(
            written(TaskStatusUpdateEvent::new(&status, is_final)),
            json!({
                "kind": "status-update", "taskId": "t", "contextId": "c",
                "status": {"state": "completed"}, "final": is_final,
            })
        );
    }
    let artifact: model::TaskArtifactUpdateEvent = new(json!({
        "taskId": "t", "contextId": "c", "artifact": {"artifactId": "a", "parts": [{"text": "x"}]}, "append": true,
    }));
    assert_eq!(
        written(artifact.v0_3()),
        json!({
            "kind": "artifact-update", "taskId": "t", "contextId": "c", "append": true, "lastChunk": false,
            "artifact": {"artifactId": "a", "parts": [{"kind": "text", "text": "x"}]},
        })
    );
}

#[test]
fn the_answer_to_a_send_is_the_object_itself() {
    let task = new(json!({"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}}}));
    assert_eq!(written(model::SendMessageResponse::v0_3(&task))["kind"], "task");
    let reply = new(json!({"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "x"}]}}));
    assert_eq!(written(model::SendMessageResponse::v0_3(&reply))["kind"], "message");
}

#[test]
fn a_send_waits_unless_blocking_is_false() {
    let read = |json| -> Result<model::SendMessageConfiguration, Fault> {
        from_value::<MessageSendConfiguration<'static>>(json)?.try_into()
    };
    for (old, immediately) in
        [(json!({}), false), (json!({"blocking": true}), false), (json!({"blocking": false}), true)]
    {
        assert_eq!(read(old.clone()).expect("valid").return_immediately, immediately, "{old}");
    }
    let webhook = json!({
        "acceptedOutputModes": ["text/plain"],
        "historyLength": 3,
        "pushNotificationConfig": {
            "url": "https://x.example/hook", "token": "t", "authentication": {"schemes": ["Bearer", "Basic"], "credentials": "c"},
        },
    });
    let read_webhook = read(webhook).expect("valid");
    assert_eq!(
        (read_webhook.history_length, &*read_webhook.accepted_output_modes[0]),
        (Some(3), "text/plain")
    );
    let config = read_webhook.task_push_notification_config.expect("a webhook");
    let info = AuthenticationInfo { scheme: "Bearer".into(), credentials: Some("c".into()) };
    assert_eq!((config.url.as_str(), config.authentication), ("https://x.example/hook", Some(info)));
    let fault = read(json!({"pushNotificationConfig": {"url": ""}})).expect_err("refused");
    assert_eq!(fault.violations()[0].field, "pushNotificationConfig.url");
}

#[test]
fn a_page_is_asked_for_by_the_old_names_of_states() {
    let request = ListTasksRequest::read(json!({"status": "input-required", "pageSize": 5})).expect("valid");
    assert_eq!((request.status, request.page_size), (Some(model::TaskState::InputRequired), Some(5)));
    for bad in [json!({"status": "TASK_STATE_WORKING"}), json!({"status": 5})] {
        assert_eq!(ListTasksRequest::read(bad).expect_err("refused").violations()[0].field, "status");
    }
    assert_eq!(ListTasksRequest::read(json!({"status": null})).expect("valid").status, None);
}

#[test]
fn a_card_has_the_old_members() {
    let interface = |url: &str, binding: &str, version: &str| json!({"url": url, "protocolBinding": binding, "protocolVersion": version});
    let card: model::AgentCard = new(json!({
        "name": "n", "description": "d", "version": "7",
        "supportedInterfaces": [interface("u1", "https://x.example/b", "1.0"), interface("u2", "JSONRPC", "0.3")],
        "capabilities": {"streaming": true, "extendedAgentCard": true},
        "securitySchemes": {
            "key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}},
            "http": {"httpAuthSecurityScheme": {"scheme": "Bearer", "bearerFormat": "JWT"}},
            "oauth": {"oauth2SecurityScheme": {"flows": {"clientCredentials": {"tokenUrl": "t", "scopes": {"a": "b"}}}}},
            "open": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "o"}},
            "tls": {"mtlsSecurityScheme": {}},
        },
        "securityRequirements": [{"schemes": {"key": {"list": ["a"]}}}],
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "s", "name": "s", "description": "s", "tags": ["s"], "securityRequirements": [{"schemes": {"tls": {}}}]}],
    }));
    assert_eq!(
        written(card.v0_3()),
        json!({
            "protocolVersion": "0.3.0", "name": "n", "description": "d", "version": "7",
            "url": "u2", "preferredTransport": "JSONRPC",
            "additionalInterfaces": [{"url": "u1", "transport": "https://x.example/b"}, {"url": "u2", "transport": "JSONRPC"}],
            "capabilities": {"streaming": true, "pushNotifications": false},
            "supportsAuthenticatedExtendedCard": true,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
                "http": {"type": "http", "scheme": "Bearer", "bearerFormat": "JWT"},
                "oauth": {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "t", "scopes": {"a": "b"}}}},
                "open": {"type": "openIdConnect", "openIdConnectUrl": "o"},
                "tls": {"type": "mutualTLS"},
            },
            "security": [{"key": ["a"]}],
            "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
            "skills": [{"id": "s", "name": "s", "description": "s", "tags": ["s"], "security": [{"tls": []}]}],
        })
    );
}

/// What the old protocol cannot say.
fn without_the_unsayable(parts: &mut [model::Part]) {
    for part in parts {
        if matches!(part.content, PartContent::Text(_) | PartContent::Data(_)) {
            (part.filename, part.media_type) = (None, None);
        }
        if matches!(&part.content, PartContent::Data(data) if !data.is_object()) {
            part.metadata = part.metadata.take().filter(|metadata| !metadata.is_empty());
        }
    }
}

fn reread<T, O>(value: &T) -> T
where
    T: ToV03 + TryFrom<O, Error = Fault>,
    O: DeserializeOwned,
{
    from_value::<O>(written(value.v0_3())).expect("readable").try_into().expect("valid")
}

proptest! {
    #[test]
    fn what_was_written_is_read_as_the_same(
        mut message in arbitrary::message(),
        mut task in arbitrary::task(),
        mut artifact in task_artifact_update_event(),
        mut status in task_status_update_event(),
        mut config in task_push_notification_config(),
    ) {
        without_the_unsayable(&mut message.parts);
        prop_assert_eq!(&reread::<_, Message<'static>>(&message), &message);

        task.context_id.get_or_insert_with(|| task.id.clone());
        for parts in task.artifacts.iter_mut().map(|artifact| &mut artifact.parts)
            .chain(task.history.iter_mut().map(|message| &mut message.parts))
            .chain(task.status.message.iter_mut().map(|message| &mut message.parts))
        {
            without_the_unsayable(parts);
        }
        prop_assert_eq!(&reread::<_, Task<'static>>(&task), &task);

        without_the_unsayable(&mut artifact.artifact.parts);
        prop_assert_eq!(&reread::<_, TaskArtifactUpdateEvent<'static>>(&artifact), &artifact);

        status.status.message.iter_mut().for_each(|message| without_the_unsayable(&mut message.parts));
        let old: TaskStatusUpdateEvent<'static> =
            from_value(written(TaskStatusUpdateEvent::new(&status, true))).expect("readable");
        prop_assert!(old.is_final());
        prop_assert_eq!(&model::TaskStatusUpdateEvent::try_from(old).expect("valid"), &status);

        config.tenant = None;
        config.task_id.get_or_insert_with(|| "t".into());
        prop_assert_eq!(&reread::<_, TaskPushNotificationConfig<'static>>(&config), &config);
    }
}
