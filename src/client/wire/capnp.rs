//! Messages of Cap'n Proto RPC, in the notation of the schema language.

use std::collections::HashMap;
use std::fmt::Write as _;

use capnp::message::ReaderOptions;
use capnp::traits::{FromPointerReader, HasTypeId};
use capnp::{any_pointer, dynamic_struct, dynamic_value};
use capnp_rpc::rpc_capnp::{
    call, cap_descriptor, message, message_target, payload, promised_answer, return_,
};

use super::{Direction, HIDDEN, WireMessage, is_harmless, is_secret};
use crate::wire::capnp::capability_capnp::{
    a2a_service, grant, operations, session, task_handle, task_observer,
};

/// The calls of a connection whose results are still to come.
#[derive(Default)]
pub(super) struct Calls {
    /// By the side that has asked, and its number.
    open: HashMap<(bool, u32), &'static Method>,
}

type Show = for<'a> fn(any_pointer::Reader<'a>) -> capnp::Result<dynamic_value::Reader<'a>>;

/// A method of the schema.
struct Method {
    interface: u64,
    number: u16,
    name: &'static str,
    params: Show,
    results: Show,
}

impl Calls {
    /// What a message says.
    pub(super) fn text(&mut self, direction: Direction, frame: &[u8]) -> String {
        let mut text = String::new();
        if let Err(error) = self.write(direction, frame, &mut text) {
            let _ = write!(text, " (unreadable: {error})");
        }
        text
    }

    fn write(&mut self, direction: Direction, frame: &[u8], out: &mut String) -> capnp::Result<()> {
        let options = ReaderOptions { traversal_limit_in_words: Some(MOST_WORDS), nesting_limit: DEEPEST };
        // A copy: a frame may begin anywhere in memory, and words may not.
        let reader = capnp::serialize::read_message(frame, options)?;
        let sent = direction == Direction::Sent;
        match reader.get_root::<message::Reader<'_>>()?.which()? {
            message::Bootstrap(bootstrap) => {
                let _ = write!(out, "bootstrap (question {})", bootstrap?.get_question_id());
            }
            message::Call(call) => self.call(sent, call?, out)?,
            message::Return(returned) => self.returned(!sent, returned?, out)?,
            message::Finish(finish) => {
                let finish = finish?;
                self.open.remove(&(sent, finish.get_question_id()));
                let _ = write!(out, "finish (question {})", finish.get_question_id());
            }
            message::Release(release) => {
                let release = release?;
                let (id, count) = (release.get_id(), release.get_reference_count());
                let _ = write!(out, "release (object {id}, references {count})");
            }
            message::Resolve(resolve) => {
                let _ = write!(out, "resolve (promise {})", resolve?.get_promise_id());
            }
            message::Disembargo(_) => out.push_str("disembargo"),
            message::Abort(exception) => {
                let _ = write!(out, "abort: {:?}", exception?.get_reason()?);
            }
            _ => out.push_str("another message"),
        }
        Ok(())
    }

    fn call(&mut self, asker: bool, call: call::Reader<'_>, out: &mut String) -> capnp::Result<()> {
        let (question, interface, number) =
            (call.get_question_id(), call.get_interface_id(), call.get_method_id());
        let method = METHODS.iter().find(|method| (method.interface, method.number) == (interface, number));
        let _ = match method {
            Some(method) => write!(out, "call (question {question}) {}", method.name),
            None => write!(out, "call (question {question}) method {number} of @{interface:#x}"),
        };
        out.push_str(" on ");
        target(call.get_target()?, out)?;
        if let Some(method) = method {
            if self.open.len() < MOST_CALLS {
                self.open.insert((asker, question), method);
            }
            content(call.get_params()?, method.params, out)?;
        }
        Ok(())
    }

    fn returned(&mut self, asker: bool, answer: return_::Reader<'_>, out: &mut String) -> capnp::Result<()> {
        let question = answer.get_answer_id();
        let _ = write!(out, "return (question {question})");
        // The number is free again when the question is finished.
        let method = self.open.get(&(asker, question));
        if let Some(method) = method {
            let _ = write!(out, " of {}", method.name);
        }
        match answer.which()? {
            return_::Results(results) => match method {
                Some(method) => content(results?, method.results, out)?,
                None => out.push_str(" results"),
            },
            return_::Exception(exception) => {
                let exception = exception?;
                let _ = write!(out, " exception {:?}: {:?}", exception.get_type()?, exception.get_reason()?);
            }
            return_::Canceled(()) => out.push_str(" canceled"),
            _ => out.push_str(" elsewhere"),
        }
        Ok(())
    }
}

/// What is called.
fn target(target: message_target::Reader<'_>, out: &mut String) -> capnp::Result<()> {
    let _ = match target.which()? {
        message_target::ImportedCap(id) => write!(out, "object {id}"),
        message_target::PromisedAnswer(promised) => {
            let promised = promised?;
            let _ = write!(out, "the answer to question {}", promised.get_question_id());
            for op in promised.get_transform()?.iter() {
                if let promised_answer::op::GetPointerField(field) = op.which()? {
                    let _ = write!(out, ", pointer {field}");
                }
            }
            Ok(())
        }
    };
    Ok(())
}

/// The parameters or results of a method, and the objects in them.
fn content(payload: payload::Reader<'_>, show: Show, out: &mut String) -> capnp::Result<()> {
    out.push(' ');
    value(show(payload.get_content())?, false, out)?;
    let objects = payload.get_cap_table()?;
    if !objects.is_empty() {
        out.push_str(" with");
    }
    for object in objects.iter() {
        let _ = match object.which()? {
            cap_descriptor::SenderHosted(id) => write!(out, " sender's object {id}"),
            cap_descriptor::SenderPromise(id) => write!(out, " sender's promise {id}"),
            cap_descriptor::ReceiverHosted(id) => write!(out, " receiver's object {id}"),
            cap_descriptor::ReceiverAnswer(answer) => {
                write!(out, " the answer to question {}", answer?.get_question_id())
            }
            _ => write!(out, " none"),
        };
    }
    Ok(())
}

fn value(value: dynamic_value::Reader<'_>, is_hidden: bool, out: &mut String) -> capnp::Result<()> {
    use dynamic_value::Reader;

    // A text beyond what is shown is not written down.
    if out.len() > WireMessage::MAX_TEXT_BYTES {
        return Ok(());
    }
    match value {
        Reader::Text(text) if is_hidden && !text.is_empty() => out.push_str(HIDDEN),
        Reader::Struct(fields) => structure(fields, out)?,
        Reader::List(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                self::value(element?, is_hidden, out)?;
            }
            out.push(']');
        }
        Reader::Capability(_) => out.push_str("<object>"),
        plain => {
            let _ = write!(out, "{plain:?}");
        }
    }
    Ok(())
}

fn structure(fields: dynamic_struct::Reader<'_>, out: &mut String) -> capnp::Result<()> {
    let schema = fields.get_schema();
    let chosen = fields.which()?;
    let mut parameter = None;
    let mut separator = "(";
    for field in schema.get_non_union_fields()?.iter().chain(chosen) {
        let name = field.get_proto().get_name()?.to_str()?;
        if !fields.has(field)? && Some(field) != chosen {
            continue;
        }
        let held = fields.get(field)?;
        if let ("name", dynamic_value::Reader::Text(text)) = (name, &held) {
            parameter = Some(text.to_str()?);
        }
        // A pair of a name and a value is a service parameter.
        let of_parameter = name == "value" && parameter.is_some_and(|name| !is_harmless(name));
        let _ = write!(out, "{separator}{name} = ");
        value(held, is_secret(name) || of_parameter, out)?;
        separator = ", ";
    }
    out.push_str(if separator == "(" { "()" } else { ")" });
    Ok(())
}

fn show<'a, R>(content: any_pointer::Reader<'a>) -> capnp::Result<dynamic_value::Reader<'a>>
where
    R: FromPointerReader<'a> + Into<dynamic_value::Reader<'a>>,
{
    Ok(content.get_as::<R>()?.into())
}

fn nothing(_: any_pointer::Reader<'_>) -> capnp::Result<dynamic_value::Reader<'_>> {
    Ok(dynamic_value::Reader::Void)
}

macro_rules! methods {
    ($($interface:ident $shown:literal { $($number:literal $name:literal $params:ident $($results:ident)?;)+ })+) => {
        const METHODS: &[Method] = &[$($(
            Method {
                interface: <$interface::Client as HasTypeId>::TYPE_ID,
                number: $number,
                name: concat!($shown, ".", $name),
                params: |content| show::<$interface::$params::Reader<'_>>(content),
                results: methods!(@results $interface $($results)?),
            },
        )+)+];
    };
    (@results $interface:ident) => { nothing };
    (@results $interface:ident $results:ident) => { |content| show::<$interface::$results::Reader<'_>>(content) };
}

methods! {
    a2a_service "A2aService" {
        0 "info" info_params info_results;
        1 "getAgentCard" get_agent_card_params get_agent_card_results;
        2 "authenticate" authenticate_params authenticate_results;
        3 "claim" claim_params claim_results;
    }
    operations "Operations" {
        0 "sendMessage" send_message_params send_message_results;
        1 "sendStreamingMessage" send_streaming_message_params send_streaming_message_results;
        2 "getTask" get_task_params get_task_results;
        3 "listTasks" list_tasks_params list_tasks_results;
        4 "cancelTask" cancel_task_params cancel_task_results;
        5 "subscribeToTask" subscribe_to_task_params subscribe_to_task_results;
        6 "createTaskPushNotificationConfig" create_task_push_notification_config_params create_task_push_notification_config_results;
        7 "getTaskPushNotificationConfig" get_task_push_notification_config_params get_task_push_notification_config_results;
        8 "listTaskPushNotificationConfigs" list_task_push_notification_configs_params list_task_push_notification_configs_results;
        9 "deleteTaskPushNotificationConfig" delete_task_push_notification_config_params delete_task_push_notification_config_results;
        10 "getExtendedAgentCard" get_extended_agent_card_params get_extended_agent_card_results;
    }
    session "Session" {
        0 "task" task_params task_results;
        1 "whoAmI" who_am_i_params who_am_i_results;
        2 "renew" renew_params renew_results;
        3 "attenuate" attenuate_params attenuate_results;
        4 "close" close_params close_results;
    }
    task_handle "TaskHandle" {
        0 "get" get_params get_results;
        1 "send" send_params send_results;
        2 "sendStreaming" send_streaming_params send_streaming_results;
        3 "cancel" cancel_params cancel_results;
        4 "subscribe" subscribe_params subscribe_results;
        5 "attenuate" attenuate_params attenuate_results;
        6 "share" share_params share_results;
        7 "delete" delete_params delete_results;
    }
    grant "Grant" {
        0 "info" info_params info_results;
        1 "revoke" revoke_params revoke_results;
    }
    task_observer "TaskObserver" {
        0 "onStatusUpdate" on_status_update_params;
        1 "onArtifactUpdate" on_artifact_update_params;
        2 "onEnd" on_end_params on_end_results;
        3 "onTask" on_task_params;
        4 "onMessage" on_message_params;
        5 "onBatch" on_batch_params;
    }
}

/// Words of a message that are looked at.
const MOST_WORDS: usize = 8 << 20;
/// How deep a message is looked at.
const DEEPEST: i32 = 96;
/// Calls that are remembered at once.
const MOST_CALLS: usize = 4_096;
