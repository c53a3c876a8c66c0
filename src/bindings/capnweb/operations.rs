//! A2A's operations, for every object that has them.

use std::rc::Rc;

use super::arguments::Arguments;
use super::connection::Connection;
use super::object::Object;
use super::reply::{Value, fits, record, value};
use super::task::TaskObject;
use crate::capability::{Session, Subscription};
use crate::fault::{Fault, Result};
use crate::model::{
    CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
    ListTasksRequest, ServiceParameters,
};
use crate::operations::Service as _;

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
    session: &Rc<Session>,
    connection: &Rc<Connection>,
    name: &str,
    mut arguments: Arguments,
) -> Result<Value> {
    let caller = session.caller(ServiceParameters::new());
    session.service().negotiate(&caller)?;
    let (service, limits) = (session.service(), connection.limits());
    match name {
        "sendMessage" => send(session, connection, arguments).await,
        "sendMessageStreaming" | "sendStreamingMessage" => {
            send_streaming(session, connection, arguments).await
        }
        "subscribeToTask" => subscribe(session, connection, arguments).await,
        "getTask" => {
            let id = arguments.id("id")?;
            let history_length = arguments.optional("historyLength")?;
            let task = service
                .get_task(&caller, GetTaskRequest { history_length, ..GetTaskRequest::new(id) })
                .await?;
            fits(task.approximate_size(), limits)?;
            value(&task)
        }
        "listTasks" => {
            let request: ListTasksRequest = arguments.optional("params")?.unwrap_or_default();
            let page = service.list_tasks(&caller, request).await?;
            fits(page.approximate_size(), limits)?;
            value(&page)
        }
        "cancelTask" => {
            let id = arguments.id("id")?;
            let metadata = arguments.optional("metadata")?;
            let request = CancelTaskRequest { metadata, ..CancelTaskRequest::new(id) };
            let task = service.cancel_task(&caller, request).await?;
            fits(task.approximate_size(), limits)?;
            value(&task)
        }
        "getExtendedAgentCard" => {
            value(&service.get_extended_agent_card(&caller, GetExtendedAgentCardRequest::default()).await?)
        }
        _ => push_config(session, name, arguments).await,
    }
}

async fn send(session: &Session, connection: &Connection, mut arguments: Arguments) -> Result<Value> {
    let (request, options) = arguments.send()?;
    if options.cancel_on_drop {
        let description = "this send returns no handle that it could be tied to: use sendMessageStreaming";
        return Err(Fault::invalid("config.cancelOnDrop", description));
    }
    let (response, _) = session.send(request, options, ServiceParameters::new()).await?;
    fits(response.approximate_size(), connection.limits())?;
    value(&response)
}

async fn send_streaming(
    session: &Session,
    connection: &Rc<Connection>,
    mut arguments: Arguments,
) -> Result<Value> {
    let (request, options, callback) = arguments.send_streaming(connection)?;
    let started = session.send_streaming(request, options, ServiceParameters::new(), callback).await?;
    let task = TaskObject::started(started.task);
    Ok(begun(connection, task, started.subscription))
}

async fn subscribe(
    session: &Session,
    connection: &Rc<Connection>,
    mut arguments: Arguments,
) -> Result<Value> {
    let id = arguments.id("id")?;
    let callback = arguments.callback(connection)?;
    let start = arguments.start()?;
    let (task, held) = session.subscribe(id, start, ServiceParameters::new(), callback).await?;
    Ok(begun(connection, TaskObject::open(task), held))
}

fn begun(connection: &Connection, task: TaskObject, subscription: Subscription) -> Value {
    record([
        ("task", connection.object(Object::Task(task))),
        ("subscription", connection.object(Object::Subscription(subscription))),
    ])
}

async fn push_config(session: &Session, name: &str, mut arguments: Arguments) -> Result<Value> {
    let caller = session.caller(ServiceParameters::new());
    let service = session.service();
    match name {
        "createTaskPushNotificationConfig" => {
            value(&service.create_push_config(&caller, arguments.required("config")?).await?)
        }
        "getTaskPushNotificationConfig" => {
            let (task_id, id) = (arguments.id("taskId")?, arguments.id("id")?);
            let request = GetTaskPushNotificationConfigRequest { tenant: None, task_id, id };
            value(&service.get_push_config(&caller, request).await?)
        }
        "listTaskPushNotificationConfigs" => {
            let task_id = arguments.id("taskId")?;
            let params: PageParams = arguments.optional("params")?.unwrap_or_default();
            let PageParams { page_size, page_token } = params;
            let request =
                ListTaskPushNotificationConfigsRequest { tenant: None, task_id, page_size, page_token };
            value(&service.list_push_configs(&caller, request).await?)
        }
        _ => {
            let (task_id, id) = (arguments.id("taskId")?, arguments.id("id")?);
            let request = DeleteTaskPushNotificationConfigRequest { tenant: None, task_id, id };
            service.delete_push_config(&caller, request).await?;
            Ok(Value::Undefined)
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
