//! What every codec promises: reading gives what was written, the same as by way of JSON, and nothing that
//! a peer can write does harm.

use std::fmt::Debug;

use capnp::message::{Builder, ReaderOptions};
use capnp::serialize;
use capnp::traits::{FromPointerReader, Owned, OwnedStruct};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::a2a_capnp::{
    agent_capabilities, agent_card, agent_extension, artifact, list_tasks_request, list_tasks_response,
    message, o_auth_flow, part, send_message_request, task, task_artifact_update_event,
    task_push_notification_config, task_status, task_status_update_event,
};
use super::capability_capnp::task_observer::{on_batch_params, on_end_params};
use super::capability_capnp::{a2a_error, task_event};
use super::codec::{Decode, Encode};
use super::{decode_batch, decode_batched, decode_fault, encode_batched};
use crate::fault::{Fault, FaultKind, FieldViolation};
use crate::model::arbitrary::*;
use crate::model::*;

/// The bytes of a message whose root somebody fills.
fn bytes<O: Owned>(fill: impl FnOnce(<O as Owned>::Builder<'_>)) -> Vec<u8> {
    let mut message = Builder::new_default();
    fill(message.init_root::<<O as Owned>::Builder<'_>>());
    serialize::write_message_to_words(&message)
}

type Reader<'a, T> = <<T as Decode>::Owned as OwnedStruct>::Reader<'a>;

/// Reads the root of a message.
fn read<T>(bytes: &[u8]) -> Result<T, Fault>
where
    T: Decode,
    for<'a> Reader<'a, T>: FromPointerReader<'a>,
{
    let message = serialize::read_message_from_flat_slice(&mut &bytes[..], ReaderOptions::new())
        .map_err(|error| super::malformed(&error))?;
    let root = message.get_root::<Reader<'_, T>>();
    T::decode(root.map_err(|error| super::malformed(&error))?)
}

fn write<T>(value: &T) -> Vec<u8>
where
    T: Encode,
    for<'a> T::Owned: Owned<Builder<'a> = <T::Owned as OwnedStruct>::Builder<'a>>,
{
    bytes::<T::Owned>(|builder| value.encode(builder))
}

/// Cap'n Proto gives back what it was given, and agrees with JSON.
fn commutes<T>(value: &T) -> Result<(), TestCaseError>
where
    T: Encode + Decode<Owned = <T as Encode>::Owned> + Serialize + DeserializeOwned + PartialEq + Debug,
    for<'a> <T as Encode>::Owned: Owned<Builder<'a> = <<T as Encode>::Owned as OwnedStruct>::Builder<'a>>,
    for<'a> Reader<'a, T>: FromPointerReader<'a>,
{
    let by_capnp = read::<T>(&write(value));
    prop_assert_eq!(by_capnp.as_ref(), Ok(value));
    let by_json = json::from_slice::<T>(&serde_json::to_vec(value).unwrap());
    prop_assert_eq!(by_capnp, by_json);
    Ok(())
}

fn tenant() -> impl Strategy<Value = Option<String>> {
    of(nonempty_text())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parts_commute(value in part()) {
        commutes(&value)?;
    }

    #[test]
    fn messages_commute(value in message()) {
        commutes(&value)?;
    }

    #[test]
    fn artifacts_commute(value in artifact()) {
        commutes(&value)?;
    }

    #[test]
    fn statuses_commute(value in task_status()) {
        commutes(&value)?;
    }

    #[test]
    fn tasks_commute(value in task()) {
        commutes(&value)?;
    }

    #[test]
    fn status_events_commute(value in task_status_update_event()) {
        commutes(&value)?;
    }

    #[test]
    fn artifact_events_commute(value in task_artifact_update_event()) {
        commutes(&value)?;
    }

    #[test]
    fn sends_commute(value in send_message_request()) {
        commutes(&value)?;
        if let Some(configuration) = &value.configuration {
            commutes(configuration)?;
        }
    }

    #[test]
    fn answers_to_sends_commute(value in send_message_response()) {
        commutes(&value)?;
    }

    #[test]
    fn questions_for_lists_commute(value in list_tasks_request()) {
        commutes(&value)?;
    }

    #[test]
    fn lists_commute(value in list_tasks_response()) {
        commutes(&value)?;
    }

    #[test]
    fn questions_for_one_task_commute(
        (tenant, id, history_length, metadata) in (tenant(), id(), of(count()), of(structure()))
    ) {
        commutes(&SubscribeToTaskRequest { tenant: tenant.clone(), id: id.clone() })?;
        commutes(&GetTaskRequest { tenant: tenant.clone(), id: id.clone(), history_length })?;
        commutes(&CancelTaskRequest { tenant: tenant.clone(), id, metadata })?;
        commutes(&GetExtendedAgentCardRequest { tenant })?;
    }

    #[test]
    fn push_configurations_commute(value in task_push_notification_config()) {
        commutes(&value)?;
        if let Some(authentication) = &value.authentication {
            commutes(authentication)?;
        }
    }

    #[test]
    fn questions_for_push_configurations_commute(
        (tenant, task_id, id, page_size, page_token) in
            (tenant(), id(), id(), of(1..=i32::MAX as u32), of(nonempty_text()))
    ) {
        let tenant = || tenant.clone();
        let task_id = || task_id.clone();
        commutes(&GetTaskPushNotificationConfigRequest {
            tenant: tenant(), task_id: task_id(), id: id.clone(),
        })?;
        commutes(&DeleteTaskPushNotificationConfigRequest { tenant: tenant(), task_id: task_id(), id })?;
        commutes(&ListTaskPushNotificationConfigsRequest {
            tenant: tenant(), task_id: task_id(), page_size, page_token,
        })?;
    }

    #[test]
    fn lists_of_push_configurations_commute(
        (configs, next_page_token) in (vec(task_push_notification_config(), 0..3), of(nonempty_text()))
    ) {
        commutes(&ListTaskPushNotificationConfigsResponse { configs, next_page_token })?;
    }

    #[test]
    fn cards_commute(value in agent_card()) {
        commutes(&value)?;
    }

    #[test]
    fn security_schemes_commute(value in security_scheme()) {
        commutes(&value)?;
    }

    #[test]
    fn events_of_a_batch_are_read_as_they_were_written(
        update in prop_oneof![
            task_status_update_event().prop_map(Update::Status),
            task_artifact_update_event().prop_map(Update::Artifact),
        ],
        seq in 1..=u64::MAX,
        is_final in any::<bool>(),
    ) {
        let event = Event { seq, update, cause: None };
        let bytes = bytes::<task_event::Owned>(|builder| encode_batched(&event, is_final, builder));
        let message = serialize::read_message_from_flat_slice(&mut &bytes[..], ReaderOptions::new()).unwrap();
        prop_assert_eq!(decode_batched(message.get_root().unwrap()), Ok((event, is_final)));
    }

    #[test]
    fn damaged_messages_are_read_or_refused(
        task in task(),
        card in agent_card(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = write(&task);
        for (at, byte) in &damage {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        drop(read::<Task>(&bytes));
        let mut bytes = write(&card);
        for (at, byte) in &damage {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        drop(read::<AgentCard>(&bytes));
    }

    #[test]
    fn any_words_are_read_or_refused(words in vec(any::<u8>(), 0..128)) {
        let mut bytes = vec![0, 0, 0, 0];
        bytes.extend(u32::try_from(words.len() / 8).unwrap().to_le_bytes());
        bytes.extend(&words[..words.len() / 8 * 8]);
        drop(read::<SendMessageRequest>(&bytes));
        drop(read::<AgentCard>(&bytes));
        drop(read::<StreamEnd>(&bytes));
    }
}

/// The field that is named when a root, filled like this, is read.
fn refused<T, O>(fill: impl FnOnce(<O as Owned>::Builder<'_>)) -> String
where
    O: Owned,
    T: Decode + Debug,
    for<'a> Reader<'a, T>: FromPointerReader<'a>,
{
    let fault = read::<T>(&bytes::<O>(fill)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::InvalidParams, "{fault}");
    fault.violations()[0].field.clone()
}

fn fill_message(mut builder: message::Builder<'_>) {
    builder.set_message_id("m");
    builder.set_role(Role::User.into());
    builder.init_parts(1).get(0).get_content().set_text("hello");
}

fn fill_artifact(mut builder: artifact::Builder<'_>) {
    builder.set_artifact_id("a");
    builder.init_parts(1).get(0).get_content().set_text("hello");
}

#[test]
fn a_state_that_is_not_given_is_unspecified_and_lets_everything_pass_as_a_filter() {
    let status = read::<TaskStatus>(&bytes::<task_status::Owned>(|_| ())).unwrap();
    assert_eq!(status.state, TaskState::Unspecified);
    let list = ListTasksRequest { status: Some(TaskState::Unspecified), ..ListTasksRequest::default() };
    assert_eq!(read::<ListTasksRequest>(&write(&list)).unwrap(), ListTasksRequest::default());
}

#[test]
fn a_field_that_is_required_and_not_given_is_named() {
    let text = |text: &'static str| move |mut b: message::Builder<'_>| b.set_message_id(text);
    assert_eq!(refused::<Message, message::Owned>(text("m")), "role");
    assert_eq!(
        refused::<Message, message::Owned>(|mut b| {
            fill_message(b.reborrow());
            b.set_message_id("");
        }),
        "messageId"
    );
    assert_eq!(
        refused::<Message, message::Owned>(|mut b| {
            fill_message(b.reborrow());
            b.init_parts(0);
        }),
        "parts"
    );
    assert_eq!(
        refused::<Artifact, artifact::Owned>(|mut b| {
            fill_artifact(b.reborrow());
            b.init_parts(0);
        }),
        "parts"
    );
    assert_eq!(refused::<Artifact, artifact::Owned>(|_| ()), "artifactId");
    assert_eq!(refused::<Part, part::Owned>(|_| ()), "content");
    assert_eq!(refused::<Task, task::Owned>(|_| ()), "id");
    assert_eq!(refused::<Task, task::Owned>(|mut b| b.set_id("t")), "status");
    assert_eq!(
        refused::<TaskStatusUpdateEvent, task_status_update_event::Owned>(|mut b| {
            b.set_task_id("t");
            b.set_context_id("c");
        }),
        "status"
    );
    assert_eq!(
        refused::<TaskArtifactUpdateEvent, task_artifact_update_event::Owned>(|mut b| {
            b.set_task_id("t");
            b.set_context_id("c");
        }),
        "artifact"
    );
    assert_eq!(refused::<SendMessageRequest, send_message_request::Owned>(|_| ()), "message");
    assert_eq!(refused::<TaskPushNotificationConfig, task_push_notification_config::Owned>(|_| ()), "url");
}

#[test]
fn a_field_deep_inside_is_named_by_its_whole_path() {
    let path = refused::<SendMessageRequest, send_message_request::Owned>(|b| {
        let mut message = b.init_message();
        fill_message(message.reborrow());
        message.init_parts(3).get(0).get_content().set_text("only the first has content");
    });
    assert_eq!(path, "message.parts[1].content");
}

#[test]
fn a_card_names_what_it_lacks() {
    fn fill(mut b: agent_card::Builder<'_>) {
        b.set_name("n");
        b.set_description("d");
        b.set_version("1");
        let mut interface = b.reborrow().init_supported_interfaces(1).get(0);
        interface.set_url("u");
        interface.set_protocol_binding("JSONRPC");
        interface.set_protocol_version("1.0");
        b.reborrow().init_capabilities();
        b.reborrow().init_default_input_modes(1).set(0, "text/plain");
        b.reborrow().init_default_output_modes(1).set(0, "text/plain");
        let mut skill = b.init_skills(1).get(0);
        skill.set_id("s");
        skill.set_name("s");
        skill.set_description("s");
        skill.init_tags(1).set(0, "s");
    }
    let without = |take: fn(agent_card::Builder<'_>)| {
        refused::<AgentCard, agent_card::Owned>(|mut b| {
            fill(b.reborrow());
            take(b);
        })
    };
    assert!(read::<AgentCard>(&bytes::<agent_card::Owned>(fill)).is_ok());
    assert_eq!(without(|mut b| b.set_name("")), "name");
    assert_eq!(
        without(|b| {
            b.init_supported_interfaces(0);
        }),
        "supportedInterfaces"
    );
    assert_eq!(
        without(|b| {
            b.init_supported_interfaces(1);
        }),
        "supportedInterfaces[0].url"
    );
    assert_eq!(
        without(|b| {
            b.init_default_input_modes(0);
        }),
        "defaultInputModes"
    );
    assert_eq!(
        without(|b| {
            b.init_skills(0);
        }),
        "skills"
    );
    assert_eq!(
        without(|b| {
            b.init_security_schemes(1);
        }),
        "securitySchemes[0].scheme"
    );
    let scheme = refused::<AgentCard, agent_card::Owned>(|mut b| {
        fill(b.reborrow());
        let mut named = b.init_security_schemes(1).get(0);
        named.set_name("key");
        let mut scheme = named.init_scheme().init_api_key();
        scheme.set_name("X-Key");
        scheme.set_location("body");
    });
    assert_eq!(scheme, "securitySchemes[0].scheme.apiKey.location");
}

#[test]
fn a_name_that_comes_twice_is_refused() {
    let path = refused::<ClientCredentialsOAuthFlow, o_auth_flow::Owned>(|mut b| {
        b.set_token_url("u");
        let mut scopes = b.init_scopes(2);
        scopes.reborrow().get(0).set_name("read");
        scopes.get(1).set_name("read");
    });
    assert_eq!(path, "scopes[1].name");
}

#[test]
fn a_number_that_an_enum_does_not_have_is_refused() {
    // The number and the enum stand at the same place of their structs.
    let number = |mut b: list_tasks_response::Builder<'_>| b.set_page_size(99);
    assert_eq!(refused::<TaskStatus, list_tasks_response::Owned>(number), "state");
    assert_eq!(refused::<Message, list_tasks_response::Owned>(number), "role");
    assert_eq!(refused::<Part, list_tasks_response::Owned>(number), "content");
    assert_eq!(refused::<SecurityScheme, list_tasks_response::Owned>(number), "scheme");
    assert_eq!(refused::<SendMessageResponse, list_tasks_response::Owned>(number), "response");
    assert_eq!(refused::<ListTasksRequest, list_tasks_response::Owned>(number), "status");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let wrong = &b"caf\xe9"[..];
    assert_eq!(refused::<Task, task::Owned>(|mut b| b.set_id(capnp::text::Reader(wrong))), "id");
    let path = refused::<Message, message::Owned>(|mut b| {
        fill_message(b.reborrow());
        b.init_extensions(2).set(1, capnp::text::Reader(wrong));
    });
    assert_eq!(path, "extensions[1]");
}

#[test]
fn a_pointer_to_something_else_is_refused() {
    let path = refused::<SendMessageRequest, task::Owned>(|mut b| b.set_id("not a message"));
    assert_eq!(path, "message");
}

#[test]
fn text_that_is_no_json_is_refused() {
    let data = |json: &'static str| {
        refused::<Part, part::Owned>(move |mut b| b.reborrow().get_content().set_data(json))
    };
    assert_eq!(data(""), "data");
    assert_eq!(data("{"), "data");
    assert_eq!(data("1 2"), "data");
    let metadata = |json: &'static str| {
        refused::<Message, message::Owned>(move |mut b| {
            fill_message(b.reborrow());
            b.set_metadata(json);
        })
    };
    assert_eq!(metadata(""), "metadata");
    assert_eq!(metadata("[]"), "metadata");
    assert_eq!(metadata("null"), "metadata");
}

#[test]
fn deep_json_is_refused() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let path = refused::<Part, part::Owned>(|mut b| b.reborrow().get_content().set_data(&deep));
    assert_eq!(path, "data");
}

#[test]
fn json_null_is_a_value_of_a_data_part() {
    let null = bytes::<part::Owned>(|mut b| b.reborrow().get_content().set_data("null"));
    assert_eq!(read(&null), Ok(Part::data(serde_json::Value::Null)));
}

#[test]
fn counts_below_zero_are_absent_where_the_schema_says_so_and_refused_elsewhere() {
    let request = bytes::<list_tasks_request::Owned>(|mut b| b.set_history_length(-7));
    assert_eq!(read(&request), Ok(ListTasksRequest::default()));
    let path = refused::<ListTasksResponse, list_tasks_response::Owned>(|mut b| b.set_total_size(-1));
    assert_eq!(path, "totalSize");
}

#[test]
fn a_short_message_cannot_pretend_to_have_millions_of_extensions() {
    let path = refused::<AgentCapabilities, agent_capabilities::Owned>(|b| {
        b.init_extensions(2_000);
    });
    assert_eq!(path, "extensions");
    let one = bytes::<agent_extension::Owned>(|_| ());
    assert_eq!(read(&one), Ok(AgentExtension::default()));
}

#[test]
fn a_batch_is_bounded_and_its_events_are_numbered_from_one() {
    let decode = |count: u32| {
        let mut message = Builder::new_default();
        let mut events = message.init_root::<on_batch_params::Builder<'_>>().init_events(count);
        for index in 0..count {
            let status = TaskStatus::new(TaskState::Working, Timestamp::from_unix_nanos(1));
            let (task_id, context_id) = (Id::from("t"), Id::from("c"));
            let update = TaskStatusUpdateEvent { task_id, context_id, status, metadata: None };
            let event = Event { seq: index.into(), update: Update::Status(update), cause: None };
            encode_batched(&event, false, events.reborrow().get(index));
        }
        decode_batch(events.into_reader()).unwrap_err().violations()[0].field.clone()
    };
    assert_eq!(decode(65), "events");
    assert_eq!(decode(1), "events[0].seq");
}

#[test]
fn the_end_of_a_stream_is_read_as_it_was_written() {
    use EndReason::*;
    for reason in [Completed, Interrupted, Detached, Revoked, Cut, Gap, Failed] {
        for fault in [None, Some(Fault::new(FaultKind::Gap, "kept since 7").with("oldest", 7))] {
            let end = StreamEnd { reason, last_seq: 6, fault };
            assert_eq!(read(&write(&end)), Ok(end));
        }
    }
    assert_eq!(refused::<StreamEnd, on_end_params::Owned>(|_| ()), "reason");
}

#[test]
fn faults_in_results_are_read_as_they_were_written() {
    for kind in FaultKind::ALL {
        let violation = FieldViolation { field: "message".to_owned(), description: "too long".to_owned() };
        let fault = Fault::new(kind, "say what to do").with("oldest", 7).with_violation(violation);
        let message = bytes::<a2a_error::Owned>(|builder| fault.encode(builder));
        let message = serialize::read_message_from_flat_slice(&mut &message[..], ReaderOptions::new());
        assert_eq!(decode_fault(message.unwrap().get_root().unwrap()), fault);
    }
}
