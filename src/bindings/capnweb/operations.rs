//! A2A's operations, for every object that has them.

use std::rc::Rc;

use super::arguments::Arguments;
use super::callback::Receiver;
use super::connection::Connection;
use super::object::Object;
use super::reply::{Value, record};
use super::task::TaskObject;
use super::voice::Voice;
use crate::capability::{Session, Subscription};
use crate::fault::{Fault, Result};
use crate::model::{
    CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
};
use crate::operations::{Caller, Service as _};
use crate::service::AgentService;

/// The names of the operations. The streaming send goes by A2A's name too.
pub(super) const METHODS: &[&str] = &[
    "sendMessage",
    "sendMessageStreaming",
    "sendStreamingMessage",
    "getTask",
    "listTasks",
    "cancelTask",
    "subscribeToTask",
    "createTaskPushNotificationConfig",
    "getTaskPushNotificationConfig",
    "listTaskPushNotificationConfigs",
    "deleteTaskPushNotificationConfig",
    "getExtendedAgentCard",
];

/// Answers one of them, under the authority of a session.
pub(super) async fn call(
    (session, voice): (&Rc<Session>, &Voice),
    connection: &Rc<Connection>,
    name: &str,
    mut arguments: Arguments,
) -> Result<Value> {
    let caller = session.caller(voice.parameters());
    session.service().negotiate(&caller)?;
    // A send that nobody takes is not under way: each call says so for itself.
    let (service, limits) = (|| session.service(), connection.limits());
    match name {
        "sendMessage" => send((session, voice), connection, arguments).await,
        "sendMessageStreaming" | "sendStreamingMessage" => {
            send_streaming((session, voice), connection, arguments).await
        }
        "subscribeToTask" => subscribe((session, voice), connection, arguments).await,
        "getTask" => {
            let id = arguments.id("id")?;
            let history_length = arguments.optional("historyLength")?;
            let task = service()
                .get_task(&caller, GetTaskRequest { history_length, ..GetTaskRequest::new(id) })
                .await?;
            limits.fits(task.approximate_size())?;
            voice.value(&*task)
        }
        "listTasks" => {
            let request = arguments.list_tasks(voice)?;
            let page = service().list_tasks(&caller, request).await?;
            limits.fits(page.approximate_size())?;
            voice.value(&page)
        }
        "cancelTask" => {
            let id = arguments.id("id")?;
            let metadata = arguments.optional("metadata")?;
            let request = CancelTaskRequest { metadata, ..CancelTaskRequest::new(id) };
            let task = service().cancel_task(&caller, request).await?;
            limits.fits(task.approximate_size())?;
            voice.value(&*task)
        }
        "getExtendedAgentCard" => voice.value(
            &service().get_extended_agent_card(&caller, GetExtendedAgentCardRequest::default()).await?,
        ),
        _ => push_config((&service(), &caller), voice, name, arguments).await,
    }
}

async fn send(
    (session, voice): (&Session, &Voice),
    connection: &Connection,
    mut arguments: Arguments,
) -> Result<Value> {
    let (request, options) = arguments.send(voice)?;
    if options.cancel_on_drop {
        let description = "this send returns no handle that it could be tied to: use sendMessageStreaming";
        return Err(Fault::invalid("config.cancelOnDrop", description));
    }
    let (response, _) = session.send(request, options, voice.parameters()).await?;
    connection.limits().fits(response.approximate_size())?;
    voice.value(&response)
}

async fn send_streaming(
    (session, voice): (&Session, &Voice),
    connection: &Rc<Connection>,
    mut arguments: Arguments,
) -> Result<Value> {
    let (request, options, receiver) = arguments.send_streaming(connection, voice)?;
    let Receiver { callback, events } = receiver;
    let started = session.send_streaming(request, options, voice.parameters(), callback).await?;
    let task = TaskObject::started(started.task, voice);
    Ok(begun(connection, task, started.subscription, events))
}

async fn subscribe(
    (session, voice): (&Session, &Voice),
    connection: &Rc<Connection>,
    mut arguments: Arguments,
) -> Result<Value> {
    let id = arguments.id("id")?;
    let Receiver { callback, events } = arguments.receiver(connection, voice)?;
    let start = arguments.start()?;
    let (task, held) = session.subscribe(id, start, voice.parameters(), callback).await?;
    Ok(begun(connection, TaskObject::open(task, voice), held, events))
}

/// What a stream is answered with; `events` is there where no callback was given.
fn begun(
    connection: &Connection,
    task: TaskObject,
    subscription: Subscription,
    events: Option<Value>,
) -> Value {
    let task = ("task", connection.object(Object::Task(task)));
    let subscription = ("subscription", connection.object(Object::Subscription(subscription)));
    match events {
        Some(events) => record([task, subscription, ("events", events)]),
        None => record([task, subscription]),
    }
}

async fn push_config(
    (service, caller): (&AgentService, &Caller),
    voice: &Voice,
    name: &str,
    mut arguments: Arguments,
) -> Result<Value> {
    match name {
        "createTaskPushNotificationConfig" => {
            voice.value(&service.create_push_config(caller, arguments.push_config(voice)?).await?)
        }
        "getTaskPushNotificationConfig" => {
            let (task_id, id) = (arguments.id("taskId")?, arguments.id("id")?);
            let request = GetTaskPushNotificationConfigRequest { tenant: None, task_id, id };
            voice.value(&service.get_push_config(caller, request).await?)
        }
        "listTaskPushNotificationConfigs" => {
            let task_id = arguments.id("taskId")?;
            let params: PageParams = arguments.optional("params")?.unwrap_or_default();
            let PageParams { page_size, page_token } = params;
            let request =
                ListTaskPushNotificationConfigsRequest { tenant: None, task_id, page_size, page_token };
            voice.value(&service.list_push_configs(caller, request).await?)
        }
        _ => {
            let (task_id, id) = (arguments.id("taskId")?, arguments.id("id")?);
            let request = DeleteTaskPushNotificationConfigRequest { tenant: None, task_id, id };
            service.delete_push_config(caller, request).await?;
            // The old protocol says `null`.
            Ok(if voice.is_old() { Value::Null } else { Value::Undefined })
        }
    }
}

/// Which page of a list to have.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageParams {
    page_size: Option<u32>,
    page_token: Option<String>,
}
