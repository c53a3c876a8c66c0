//! `TaskHandle`: authority over one task.

use std::rc::Rc;

use futures::future::{FutureExt as _, LocalBoxFuture, Shared};

use super::arguments::Arguments;
use super::connection::Connection;
use super::grant::GrantObject;
use super::object::Object;
use super::reply::{Value, fits, record, value};
use crate::capability::{StartedTask, Subscription, TaskHandle};
use crate::fault::{Fault, FaultKind, Result};
use crate::model::ServiceParameters;

/// A handle, or one that may yet come: then what is asked of it waits.
pub(super) struct TaskObject(Shared<LocalBoxFuture<'static, Result<Rc<TaskHandle>>>>);

impl TaskObject {
    pub(super) const METHODS: &[&str] =
        &["get", "send", "sendStreaming", "cancel", "subscribe", "attenuate", "share", "delete"];

    pub(super) fn open(task: TaskHandle) -> Self {
        Self(std::future::ready(Ok(Rc::new(task))).boxed_local().shared())
    }

    /// The handle on the task of a send. While the agent may still answer with a message it is not known whether
    /// there is one. It is an object all the same and no promise, for a broken promise would break the whole answer,
    /// the subscription in it included.
    pub(super) fn started(task: StartedTask) -> Self {
        match task {
            StartedTask::Open(handle) => Self::open(handle),
            pending_or_failed => Self(wait(pending_or_failed).boxed_local().shared()),
        }
    }

    pub(super) async fn call(
        &self,
        connection: &Rc<Connection>,
        name: &str,
        mut arguments: Arguments,
    ) -> Result<Value> {
        let task = self.0.clone().await?;
        let parameters = ServiceParameters::new();
        task.negotiate(&parameters)?;
        match name {
            "get" => {
                let task = task.get(arguments.optional("historyLength")?, parameters).await?;
                fits(task.approximate_size(), connection.limits())?;
                value(&task)
            }
            "send" => {
                let (request, options) = arguments.send()?;
                let response = task.send(request, options, parameters).await?;
                fits(response.approximate_size(), connection.limits())?;
                value(&response)
            }
            "sendStreaming" => {
                let (request, options, callback) = arguments.send_streaming(connection)?;
                let held = task.send_streaming(request, options, parameters, callback).await?;
                Ok(subscribed(connection, held))
            }
            "cancel" => {
                let task = task.cancel(arguments.optional("metadata")?, parameters).await?;
                fits(task.approximate_size(), connection.limits())?;
                value(&task)
            }
            "subscribe" => {
                let callback = arguments.callback(connection)?;
                let held = task.subscribe(arguments.start()?, parameters, callback).await?;
                Ok(subscribed(connection, held))
            }
            "attenuate" => {
                let (narrower, grant) = task.attenuate(arguments.role()?, &arguments.policy()?)?;
                Ok(record([
                    ("task", connection.object(Object::Task(Self::open(narrower)))),
                    ("grant", connection.object(Object::Grant(GrantObject::new(grant)))),
                ]))
            }
            "share" => {
                let (secret, grant) = task.share(arguments.role()?, &arguments.policy()?)?;
                Ok(record([
                    ("secret", Value::String(secret.expose().to_owned())),
                    ("grant", connection.object(Object::Grant(GrantObject::new(grant)))),
                ]))
            }
            _ => {
                task.delete().await?;
                Ok(Value::Undefined)
            }
        }
    }
}

fn subscribed(connection: &Connection, held: Subscription) -> Value {
    connection.object(Object::Subscription(held))
}

async fn wait(mut task: StartedTask) -> Result<Rc<TaskHandle>> {
    loop {
        task = match task {
            StartedTask::Open(handle) => return Ok(Rc::new(handle)),
            StartedTask::Failed(fault) => return Err(fault),
            StartedTask::Pending(pending) => match pending.await {
                Ok(task) => task,
                Err(_) => return Err(Fault::new(FaultKind::Disconnected, "the connection is over")),
            },
        }
    }
}
