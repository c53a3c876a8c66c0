//! The JSON of every type, written by hand from the protocol's schema, and what readers do with it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::fault::Fault;

/// One type: its JSON with every field set, and which of the fields are required.
struct Row {
    name: &'static str,
    golden: Value,
    required: &'static [&'static str],
    /// Required fields that must be there but may be empty.
    may_be_empty: &'static [&'static str],
    reread: Reread,
}

/// Reads a value as a `T` and writes it again.
fn reread<T: DeserializeOwned + Serialize>(value: Value) -> Result<Value, Fault> {
    let bytes = serde_json::to_vec(&value).unwrap();
    let read: T = json::from_slice(&bytes)?;
    Ok(serde_json::to_value(read).unwrap())
}

fn row<T: DeserializeOwned + Serialize>(golden: Value, required: &'static [&'static str]) -> Row {
    let name = std::any::type_name::<T>().rsplit("::").next().unwrap();
    Row { name, golden, required, may_be_empty: &[], reread: reread::<T> }
}

fn message() -> Value {
    json!({
        "messageId": "m-1",
        "contextId": "c-1",
        "taskId": "t-1",
        "role": "ROLE_AGENT",
        "parts": [
            {"text": "Grüße, 世界 \u{1f44b}", "metadata": {"lang": "de"}, "filename": "a.txt", "mediaType": "text/plain"},
            {"raw": "AAEC/w==", "mediaType": "application/octet-stream"},
            {"url": "https://x.example/a.png", "filename": "a.png"},
            {"data": {"n": [1, -2.5, null, true], "o": {}}},
            {"data": null},
        ],
        "metadata": {"k": {"deep": [null]}},
        "extensions": ["https://x.example/ext"],
        "referenceTaskIds": ["t-0"],
    })
}

fn artifact() -> Value {
    json!({
        "artifactId": "a-1",
        "name": "report",
        "description": "the report",
        "parts": [{"text": "one"}],
        "metadata": {},
        "extensions": ["https://x.example/ext"],
    })
}

fn status() -> Value {
    json!({"state": "TASK_STATE_INPUT_REQUIRED", "message": message(), "timestamp": "2026-01-31T12:00:00.5Z"})
}

fn task() -> Value {
    json!({
        "id": "t-1",
        "contextId": "c-1",
        "status": status(),
        "artifacts": [artifact()],
        "history": [message()],
        "metadata": {"k": 1},
    })
}

fn status_update() -> Value {
    json!({"taskId": "t-1", "contextId": "c-1", "status": status(), "metadata": {"k": 1}})
}

fn artifact_update() -> Value {
    json!({
        "taskId": "t-1",
        "contextId": "c-1",
        "artifact": artifact(),
        "append": true,
        "lastChunk": true,
        "metadata": {"k": 1},
    })
}

fn push_config() -> Value {
    json!({
        "tenant": "n",
        "id": "p-1",
        "taskId": "t-1",
        "url": "https://x.example/hook",
        "token": "tok",
        "authentication": {"scheme": "Bearer", "credentials": "abc"},
    })
}

fn skill() -> Value {
    json!({
        "id": "echo",
        "name": "Echo",
        "description": "Says it again",
        "tags": ["demo"],
        "examples": ["hi"],
        "inputModes": ["text/plain"],
        "outputModes": ["text/plain"],
        "securityRequirements": [{"schemes": {"google": {"list": ["openid"]}}}],
    })
}

fn flows() -> [Value; 5] {
    let (auth, token, refresh) =
        ("https://x.example/auth", "https://x.example/token", "https://x.example/new");
    let scopes = json!({"read": "to read"});
    [
        json!({"authorizationCode": {"authorizationUrl": auth, "tokenUrl": token, "refreshUrl": refresh, "scopes": scopes, "pkceRequired": true}}),
        json!({"clientCredentials": {"tokenUrl": token, "refreshUrl": refresh, "scopes": scopes}}),
        json!({"implicit": {"authorizationUrl": auth, "refreshUrl": refresh, "scopes": scopes}}),
        json!({"password": {"tokenUrl": token, "refreshUrl": refresh, "scopes": scopes}}),
        json!({"deviceCode": {"deviceAuthorizationUrl": auth, "tokenUrl": token, "refreshUrl": refresh, "scopes": scopes}}),
    ]
}

fn schemes() -> [Value; 5] {
    let [code, ..] = flows();
    [
        json!({"apiKeySecurityScheme": {"description": "d", "location": "header", "name": "X-Key"}}),
        json!({"httpAuthSecurityScheme": {"description": "d", "scheme": "Bearer", "bearerFormat": "JWT"}}),
        json!({"oauth2SecurityScheme": {"description": "d", "flows": code, "oauth2MetadataUrl": "https://x.example/meta"}}),
        json!({"openIdConnectSecurityScheme": {"description": "d", "openIdConnectUrl": "https://x.example/oidc"}}),
        json!({"mtlsSecurityScheme": {"description": "d"}}),
    ]
}

fn card() -> Value {
    let [key, http, oauth, oidc, mtls] = schemes();
    json!({
        "name": "Echo",
        "description": "Says it again",
        "supportedInterfaces": [{"url": "https://x.example/", "protocolBinding": "JSONRPC", "tenant": "n", "protocolVersion": "1.0"}],
        "provider": {"url": "https://x.example", "organization": "X"},
        "version": "1.2.3",
        "documentationUrl": "https://x.example/doc",
        "capabilities": {
            "streaming": true,
            "pushNotifications": false,
            "extensions": [{"uri": "https://x.example/ext", "description": "d", "required": true, "params": {"k": 1}}],
            "extendedAgentCard": true,
        },
        "securitySchemes": {"key": key, "http": http, "oauth": oauth, "oidc": oidc, "mtls": mtls},
        "securityRequirements": [{"schemes": {"oauth": {"list": ["read"]}, "key": {}}}],
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [skill()],
        "signatures": [{"protected": "eyJhbGciOiJFUzI1NiJ9", "signature": "c2ln", "header": {"kid": "1"}}],
        "iconUrl": "https://x.example/icon.png",
    })
}

/// The only member of a union's JSON.
fn member(union: &Value) -> Value {
    union.as_object().unwrap().values().next().unwrap().clone()
}

fn data_rows() -> Vec<Row> {
    vec![
        row::<Message>(message(), &["messageId", "role", "parts"]),
        row::<Artifact>(artifact(), &["artifactId", "parts"]),
        row::<TaskStatus>(status(), &["state"]),
        row::<Task>(task(), &["id", "status"]),
        row::<TaskStatusUpdateEvent>(status_update(), &["taskId", "contextId", "status"]),
        row::<TaskArtifactUpdateEvent>(artifact_update(), &["taskId", "contextId", "artifact"]),
        row::<TaskPushNotificationConfig>(push_config(), &["url"]),
        row::<AuthenticationInfo>(push_config()["authentication"].clone(), &["scheme"]),
    ]
}

fn request_rows() -> Vec<Row> {
    let configuration = json!({
        "acceptedOutputModes": ["text/plain"],
        "taskPushNotificationConfig": push_config(),
        "historyLength": 0,
        "returnImmediately": true,
    });
    let send =
        json!({"tenant": "n", "message": message(), "configuration": configuration, "metadata": {"k": 1}});
    let list = json!({
        "tenant": "n",
        "contextId": "c-1",
        "status": "TASK_STATE_WORKING",
        "pageSize": 10,
        "pageToken": "p",
        "historyLength": 3,
        "statusTimestampAfter": "2026-01-31T12:00:00Z",
        "includeArtifacts": false,
    });
    let page = json!({"tasks": [task()], "nextPageToken": "", "pageSize": 50, "totalSize": 1});
    let config_id = json!({"tenant": "n", "taskId": "t-1", "id": "p-1"});
    let configs = json!({"tenant": "n", "taskId": "t-1", "pageSize": 5, "pageToken": "p"});
    vec![
        row::<SendMessageRequest>(send, &["message"]),
        row::<SendMessageConfiguration>(configuration, &[]),
        row::<GetTaskRequest>(json!({"tenant": "n", "id": "t-1", "historyLength": 2}), &["id"]),
        row::<ListTasksRequest>(list, &[]),
        Row {
            may_be_empty: &["tasks", "nextPageToken"],
            ..row::<ListTasksResponse>(page, &["tasks", "nextPageToken", "pageSize", "totalSize"])
        },
        row::<CancelTaskRequest>(json!({"tenant": "n", "id": "t-1", "metadata": {"k": 1}}), &["id"]),
        row::<SubscribeToTaskRequest>(json!({"tenant": "n", "id": "t-1"}), &["id"]),
        row::<GetExtendedAgentCardRequest>(json!({"tenant": "n"}), &[]),
        row::<GetTaskPushNotificationConfigRequest>(config_id.clone(), &["taskId", "id"]),
        row::<DeleteTaskPushNotificationConfigRequest>(config_id, &["taskId", "id"]),
        row::<ListTaskPushNotificationConfigsRequest>(configs, &["taskId"]),
        row::<ListTaskPushNotificationConfigsResponse>(
            json!({"configs": [push_config()], "nextPageToken": "p"}),
            &[],
        ),
    ]
}

fn card_rows() -> Vec<Row> {
    let [code, client, implicit, password, device] = flows().map(|flow| member(&flow));
    let [key, http, oauth, oidc, mtls] = schemes().map(|scheme| member(&scheme));
    let card = card();
    let required_in_card = &[
        "name",
        "description",
        "supportedInterfaces",
        "version",
        "capabilities",
        "defaultInputModes",
        "defaultOutputModes",
        "skills",
    ];
    vec![
        row::<AgentCard>(card.clone(), required_in_card),
        row::<AgentInterface>(
            card["supportedInterfaces"][0].clone(),
            &["url", "protocolBinding", "protocolVersion"],
        ),
        row::<AgentProvider>(card["provider"].clone(), &["url", "organization"]),
        row::<AgentCapabilities>(card["capabilities"].clone(), &[]),
        row::<AgentExtension>(card["capabilities"]["extensions"][0].clone(), &[]),
        row::<AgentSkill>(skill(), &["id", "name", "description", "tags"]),
        row::<AgentCardSignature>(card["signatures"][0].clone(), &["protected", "signature"]),
        row::<SecurityRequirement>(card["securityRequirements"][0].clone(), &[]),
        row::<StringList>(json!({"list": ["a"]}), &[]),
        row::<ApiKeySecurityScheme>(key, &["location", "name"]),
        row::<HttpAuthSecurityScheme>(http, &["scheme"]),
        row::<OAuth2SecurityScheme>(oauth, &["flows"]),
        row::<OpenIdConnectSecurityScheme>(oidc, &["openIdConnectUrl"]),
        row::<MutualTlsSecurityScheme>(mtls, &[]),
        row::<AuthorizationCodeOAuthFlow>(code, &["authorizationUrl", "tokenUrl", "scopes"]),
        row::<ClientCredentialsOAuthFlow>(client, &["tokenUrl", "scopes"]),
        row::<DeviceCodeOAuthFlow>(device, &["deviceAuthorizationUrl", "tokenUrl", "scopes"]),
        row::<ImplicitOAuthFlow>(implicit, &[]),
        row::<PasswordOAuthFlow>(password, &[]),
    ]
}

fn rows() -> impl Iterator<Item = Row> {
    data_rows().into_iter().chain(request_rows()).chain(card_rows())
}

type Reread = fn(Value) -> Result<Value, Fault>;

/// The rows and the unions, which have no fields of their own.
fn documents() -> Vec<(String, Value, Reread)> {
    let mut all: Vec<(String, Value, Reread)> =
        rows().map(|row| (row.name.to_owned(), row.golden, row.reread)).collect();
    let events = [
        json!({"task": task()}),
        json!({"message": message()}),
        json!({"statusUpdate": status_update()}),
        json!({"artifactUpdate": artifact_update()}),
    ];
    all.extend(
        events.into_iter().map(|event| ("StreamResponse".into(), event, reread::<StreamResponse> as _)),
    );
    let answers = [json!({"task": task()}), json!({"message": message()})];
    all.extend(
        answers.into_iter().map(|answer| ("answer".into(), answer, reread::<SendMessageResponse> as _)),
    );
    all.extend(flows().map(|flow| ("OAuthFlows".into(), flow, reread::<OAuthFlows> as _)));
    all.extend(schemes().map(|scheme| ("SecurityScheme".into(), scheme, reread::<SecurityScheme> as _)));
    all
}

fn with(golden: &Value, field: &str, value: Value) -> Value {
    let mut changed = golden.clone();
    changed[field] = value;
    changed
}

fn without(golden: &Value, field: &str) -> Value {
    let mut changed = golden.clone();
    changed.as_object_mut().unwrap().remove(field).unwrap();
    changed
}

/// Rewrites each object that stands for a type, but not what is free-form, nor the keys of maps.
fn rewrite(value: &Value, object: &impl Fn(Struct) -> Struct) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| rewrite(item, object)).collect(),
        Value::Object(fields) => {
            let rewritten = fields.iter().map(|(key, value)| {
                let value = match key.as_str() {
                    "metadata" | "params" | "header" | "data" | "scopes" => value.clone(),
                    "securitySchemes" | "schemes" => {
                        let entries = value.as_object().unwrap().iter();
                        entries.map(|(key, value)| (key.clone(), rewrite(value, object))).collect()
                    }
                    _ => rewrite(value, object),
                };
                (key.clone(), value)
            });
            Value::Object(object(rewritten.collect()))
        }
        other => other.clone(),
    }
}

#[test]
fn every_type_is_written_as_it_was_read() {
    for (name, golden, reread) in documents() {
        assert_eq!(reread(golden.clone()), Ok(golden), "{name}");
    }
}

#[test]
fn a_missing_required_field_is_named() {
    for row in rows() {
        for field in row.required {
            let fault = (row.reread)(without(&row.golden, field)).expect_err(row.name);
            assert_eq!(fault.message(), format!("{field}: is required"), "{}", row.name);
            assert_eq!(fault.violations()[0].field, *field, "{}", row.name);
        }
    }
}

#[test]
fn an_empty_or_null_required_field_is_named() {
    for row in rows() {
        for field in row.required {
            let empty = match row.golden[field] {
                Value::String(_) => json!(""),
                Value::Array(_) => json!([]),
                _ => Value::Null,
            };
            let allowed = row.may_be_empty.contains(field);
            for value in [(!allowed).then_some(empty), Some(Value::Null)].into_iter().flatten() {
                let fault = (row.reread)(with(&row.golden, field, value)).expect_err(row.name);
                assert_eq!(fault.violations().len(), 1, "{fault} {} {field}", row.name);
                assert_eq!(fault.violations()[0].field, *field, "{}", row.name);
            }
        }
    }
}

#[test]
fn every_other_field_may_be_absent_or_null_and_is_then_not_written() {
    for row in rows() {
        let fields = row.golden.as_object().unwrap().keys();
        for field in fields.filter(|field| !row.required.contains(&field.as_str())) {
            let absent = without(&row.golden, field);
            assert_eq!((row.reread)(absent.clone()), Ok(absent.clone()), "{} without {field}", row.name);
            let null = with(&row.golden, field, Value::Null);
            assert_eq!((row.reread)(null), Ok(absent), "{} with {field} null", row.name);
        }
    }
}

#[test]
fn an_optional_text_list_or_flag_that_is_empty_is_not_written() {
    // What Protocol Buffers call `optional` texts and numbers keeps its empty value.
    let kept = [
        "documentationUrl",
        "iconUrl",
        "includeArtifacts",
        "streaming",
        "pushNotifications",
        "extendedAgentCard",
    ];
    for row in rows() {
        for (field, value) in row.golden.as_object().unwrap() {
            let empty = match value {
                Value::String(_) => json!(""),
                Value::Array(_) => json!([]),
                Value::Bool(_) => json!(false),
                _ => continue,
            };
            let parsed_otherwise = ["status", "statusTimestampAfter", "timestamp"].contains(&field.as_str());
            if row.required.contains(&field.as_str()) || parsed_otherwise {
                continue;
            }
            let written = (row.reread)(with(&row.golden, field, empty)).unwrap();
            assert_eq!(written.get(field).is_some(), kept.contains(&field.as_str()), "{}.{field}", row.name);
        }
    }
}

#[test]
fn unknown_fields_are_ignored_in_every_object() {
    let add = |mut fields: Struct| {
        fields.insert("kind".into(), json!({"from": "elsewhere"}));
        fields
    };
    for (name, golden, reread) in documents() {
        assert_eq!(reread(rewrite(&golden, &add)), Ok(golden), "{name}");
    }
}

#[test]
fn the_names_of_the_schema_are_read_too() {
    let snake = |name: &str| {
        let mut text = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() {
                text.push('_');
            }
            text.push(letter.to_ascii_lowercase());
        }
        text
    };
    let rename = |fields: Struct| fields.into_iter().map(|(name, value)| (snake(&name), value)).collect();
    for (name, golden, reread) in documents() {
        assert_eq!(reread(rewrite(&golden, &rename)), Ok(golden), "{name}");
    }
}

#[test]
fn a_union_with_no_member_or_two_is_refused_and_told_the_choices() {
    let choices = "needs exactly one of task, message, statusUpdate, artifactUpdate; ";
    let none = reread::<StreamResponse>(json!({"other": 1, "task": null})).unwrap_err();
    assert_eq!(none.message(), format!("body: {choices}none is given"));
    let two = reread::<StreamResponse>(json!({"task": task(), "message": message()})).unwrap_err();
    assert_eq!(two.message(), format!("body: {choices}given are task, message"));
}

#[test]
fn times_are_written_in_utc() {
    let written = reread::<TaskStatus>(
        json!({"state": "TASK_STATE_WORKING", "timestamp": "2026-03-01T01:30:00.25+02:00"}),
    );
    assert_eq!(written.unwrap()["timestamp"], "2026-02-28T23:30:00.25Z");
}

#[test]
fn unicode_is_kept_as_it_is() {
    let text = "\u{0}\u{7f}é\u{301}\u{202e}\u{fffd}\u{10ffff}👩‍👩‍👧";
    let written = serde_json::to_vec(&Part::text(text)).unwrap();
    assert_eq!(json::from_slice::<Part>(&written).unwrap().as_text(), Some(text));
}

#[test]
fn a_number_is_read_to_its_last_bit() {
    let written = r#"{"data":3.778899234442565e-215}"#;
    let part: Part = json::from_slice(written.as_bytes()).unwrap();
    assert_eq!(
        part.as_data().and_then(Value::as_f64).map(f64::to_bits),
        Some(3.778_899_234_442_565e-215_f64.to_bits())
    );
    assert_eq!(serde_json::to_string(&part).unwrap(), written);
}
