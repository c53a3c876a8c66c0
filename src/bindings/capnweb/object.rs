//! The objects that a client can hold, and how a call finds its method.

use std::rc::Rc;

use ::capnweb::{Call, Error, Key, Local};

use super::arguments::Arguments;
use super::connection::Connection;
use super::grant::GrantObject;
use super::operations;
use super::reply::Value;
use super::service::ServiceObject;
use super::session::SessionObject;
use super::task::TaskObject;
use crate::capability::Subscription;
use crate::fault::Result;
use crate::wire::capnweb::to_error;

/// An object that a client can hold. Dropping it gives up what it stood for.
pub(super) enum Object {
    /// What everybody finds first.
    Service(ServiceObject),
    /// Authority over an agent.
    Session(SessionObject),
    /// Authority over a task.
    Task(TaskObject),
    /// The right to be called.
    Subscription(#[expect(dead_code, reason = "its end is the message")] Subscription),
    /// The right to take back.
    Grant(GrantObject),
    /// A method of another object, as a function.
    Method(Local<Object>, Box<str>),
}

/// Answers a call of the client, or reads a property.
pub(super) async fn call(connection: Rc<Connection>, call: Call<Object>) -> Result<Value, Error> {
    let Call { target, path, arguments, .. } = call;
    let (target, name) = match (&*target, &*path) {
        (Object::Method(target, name), []) => (target.clone(), name.clone()),
        (_, [Key::Name(name)]) => {
            let name = name.clone();
            (target, name)
        }
        (_, path) => {
            return if arguments.is_some() { Err(Error::not_a_function(path)) } else { Ok(Value::Undefined) };
        }
    };
    if !target.has(&name) {
        return if arguments.is_some() { Err(Error::not_a_function(&path)) } else { Ok(Value::Undefined) };
    }
    let Some(arguments) = arguments else {
        // A method that is not called is a function of its own.
        return Ok(connection.object(Object::Method(target, name)));
    };
    let answered = target.call(&connection, &name, Arguments::new(arguments)).await;
    answered.map_err(|fault| to_error(&fault))
}

impl Object {
    /// Whether there is a method of this name.
    fn has(&self, name: &str) -> bool {
        let own = match self {
            Self::Service(_) => ServiceObject::METHODS,
            Self::Session(_) => SessionObject::METHODS,
            Self::Task(_) => TaskObject::METHODS,
            Self::Grant(_) => GrantObject::METHODS,
            Self::Subscription(_) | Self::Method(..) => &[],
        };
        let operates = matches!(self, Self::Service(_) | Self::Session(_));
        own.contains(&name) || (operates && operations::METHODS.contains(&name))
    }

    async fn call(&self, connection: &Rc<Connection>, name: &str, arguments: Arguments) -> Result<Value> {
        match self {
            Self::Service(service) => service.call(connection, name, arguments).await,
            Self::Session(session) => session.call(connection, name, arguments).await,
            Self::Task(task) => task.call(connection, name, arguments).await,
            Self::Grant(grant) => grant.call(name).await,
            Self::Subscription(_) | Self::Method(..) => Ok(Value::Undefined),
        }
    }
}
