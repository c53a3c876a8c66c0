//! `TaskHandle`: authority over one task.

use std::rc::Rc;

use futures::future::{FutureExt as _, LocalBoxFuture, Shared};

use super::arguments::Arguments;
use super::callback::Receiver;
use super::connection::Connection;
use super::grant::GrantObject;
use super::object::Object;
use super::reply::{Value, record};
use super::voice::Voice;
use crate::capability::{StartedTask, Subscription, TaskHandle};
use crate::fault::{Fault, FaultKind, Result};

/// A handle, or one that may yet come: then what is asked of it waits.
pub(super) struct TaskObject(Shared<LocalBoxFuture<'static, Result<Rc<TaskHandle>>>>, Voice);

impl TaskObject {
    pub(super) const METHODS: &[&str] = &[
        "get",
        "send",
        "sendStreaming",
        "cancel",
        "subscribe",
        "attenuate",
        "withParameters",
        "share",
        "delete",
    ];

    pub(super) fn open(task: TaskHandle, voice: &Voice) -> Self {
        Self(std::future::ready(Ok(Rc::new(task))).boxed_local().shared(), voice.clone())
    }

    /// The handle on the task of a send. While the agent may still answer with a message it is not known whether
    /// there is one. It is an object all the same and no promise, for a broken promise would break the whole answer,
    /// the subscription in it included.
    pub(super) fn started(task: StartedTask, voice: &Voice) -> Self {
        match task {
            StartedTask::Open(handle) => Self::open(handle, voice),
            pending_or_failed => Self(wait(pending_or_failed).boxed_local().shared(), voice.clone()),
        }
    }

    pub(super) async fn call(
        &self,
        connection: &Rc<Connection>,
        name: &str,
        mut arguments: Arguments,
    ) -> Result<Value> {
        let voice = &self.1;
        if name == "withParameters" {
            // Waits for nothing: the handle may yet come.
            let other = Self(self.0.clone(), arguments.voice(voice)?);
            return Ok(connection.object(Object::Task(other)));
        }
        let task = self.0.clone().await?;
        let parameters = voice.parameters();
        task.negotiate(&parameters)?;
        match name {
            "get" => {
                let task = task.get(arguments.optional("historyLength")?, parameters).await?;
                connection.limits().fits(task.approximate_size())?;
                voice.value(&*task)
            }
            "send" => {
                let (request, options) = arguments.send(voice)?;
                let response = task.send(request, options, parameters).await?;
                connection.limits().fits(response.approximate_size())?;
                voice.value(&response)
            }
            "sendStreaming" => {
                let (request, options, receiver) = arguments.send_streaming(connection, voice)?;
                let Receiver { callback, events } = receiver;
                let held = task.send_streaming(request, options, parameters, callback).await?;
                Ok(subscribed(connection, held, events))
            }
            "cancel" => {
                let task = task.cancel(arguments.optional("metadata")?, parameters).await?;
                connection.limits().fits(task.approximate_size())?;
                voice.value(&*task)
            }
            "subscribe" => {
                let Receiver { callback, events } = arguments.receiver(connection, voice)?;
                let held = task.subscribe(arguments.start()?, parameters, callback).await?;
                Ok(subscribed(connection, held, events))
            }
            "attenuate" => {
                let (narrower, grant) = task.attenuate(arguments.role()?, &arguments.policy()?)?;
                Ok(record([
                    ("task", connection.object(Object::Task(Self::open(narrower, voice)))),
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

/// What a stream is answered with: its subscription, and the events beside it where no callback was given.
fn subscribed(connection: &Connection, held: Subscription, events: Option<Value>) -> Value {
    let subscription = connection.object(Object::Subscription(held));
    match events {
        Some(events) => record([("subscription", subscription), ("events", events)]),
        None => subscription,
    }
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
