//! The object that the server calls: decodes what comes and hands it to a sink.

use std::pin::pin;
use std::rc::Rc;

use capnweb::{Call, CallId, Error};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::super::super::event::{At, TaskEvent};
use super::super::super::observer::Sink;
use super::super::call::unreadable;
use super::stub::Stub;
use super::talk::Talk;
use super::values::{Value, read, record};
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{EndReason, StreamEnd};
use crate::transport::Held;
use crate::wire::capnweb::{from_error, to_error};

/// The methods of an observer.
const METHODS: [&str; 5] = ["onTask", "onStatusUpdate", "onArtifactUpdate", "onMessage", "onEnd"];

/// An object of ours: an observer with all of its methods, or one method as a function.
pub(in super::super) struct Ear {
    /// Nobody, behind the object that every client shows first.
    told: Option<mpsc::UnboundedSender<Told>>,
    function: Option<&'static str>,
}

/// One call.
struct Told {
    id: CallId,
    method: &'static str,
    arguments: std::vec::IntoIter<Value>,
    /// Its bytes, as long as it is in use.
    held: Held,
}

impl Ear {
    pub(super) fn nobody() -> Self {
        Self { told: None, function: None }
    }

    /// Takes a call of an object of ours. What is called and does not exist is no function.
    pub(super) fn hear(call: Call<Self>, held: Held) -> std::result::Result<(), Error> {
        let Call { id, target, path, arguments } = call;
        let named = |name: &str| METHODS.into_iter().find(|method| *method == name);
        let method = match (target.function, &*path) {
            (Some(method), []) => Some(method),
            (None, [name]) => name.as_name().and_then(named),
            _ => None,
        };
        match (&target.told, method, arguments) {
            (Some(sender), Some(method), Some(arguments)) => {
                let told = Told { id, method, arguments: arguments.into_iter(), held };
                sender.send(told).map_err(|_| to_error(&late()))
            }
            _ => Err(Error::not_a_function(&path)),
        }
    }
}

/// A sink as an object for the server. One with every method is an object of ours; one without some is a plain object of
/// the functions that it has.
pub(in super::super) fn listen(stub: &Stub, sink: impl Sink) -> Value {
    let features = sink.features();
    let (sender, calls) = mpsc::unbounded_channel();
    let talk = stub.talk();
    talk.errands().run(attend(Rc::clone(talk), sink, calls));
    let object = |function| {
        let ear = Ear { told: Some(sender.clone()), function };
        Value::Local(talk.step(|session| session.local(ear)))
    };
    if features.snapshots && features.messages {
        return object(None);
    }
    let has = |method: &&str| match *method {
        "onTask" => features.snapshots,
        "onMessage" => features.messages,
        _ => true,
    };
    record(METHODS.into_iter().filter(has).map(|method| (method, object(Some(method)))))
}

/// Hands calls on to a sink, one after the other, until the server has let go of every object or the connection is over.
async fn attend(talk: Rc<Talk>, sink: impl Sink, mut calls: mpsc::UnboundedReceiver<Told>) {
    let mut over = pin!(talk.line().closed());
    let mut ended = false;
    loop {
        let told = tokio::select! {
            biased;
            told = calls.recv() => told,
            _ = &mut over => None,
        };
        let Some(Told { id, method, mut arguments, held }) = told else { break };
        let mut next = || arguments.next().unwrap_or(Value::Undefined);
        let taken = match method {
            _ if ended => Err(late()),
            "onEnd" => {
                ended = true;
                match last(next(), next(), next()) {
                    Ok(end) => {
                        sink.end(end).await;
                        Ok(())
                    }
                    Err(fault) => Err(fault),
                }
            }
            method => match event(method, next()) {
                Ok(event) => sink.take(event, held.bytes()).await,
                Err(fault) => Err(fault),
            },
        };
        drop(held);
        let answer = taken.map(|()| Value::Undefined).map_err(|fault| to_error(&fault));
        talk.step(|session| session.answer(id, answer));
    }
}

fn event(method: &str, argument: Value) -> Result<TaskEvent> {
    Ok(match method {
        "onTask" => {
            let (task, at) = numbered(argument)?;
            TaskEvent::task(task, at)
        }
        "onStatusUpdate" => {
            let (update, at) = numbered(argument)?;
            TaskEvent::status(update, at)
        }
        "onArtifactUpdate" => {
            let (update, at) = numbered(argument)?;
            TaskEvent::artifact(update, at)
        }
        _ => TaskEvent::message(read(argument)?),
    })
}

/// The last word on a stream.
fn last(reason: Value, last_seq: Value, error: Value) -> Result<StreamEnd> {
    let reason: String = read(reason)?;
    let reason =
        EndReason::from_name(&reason).ok_or_else(|| unreadable(&"a stream ended in an unknown way"))?;
    let fault = match error {
        Value::Error(error) => Some(from_error(*error)),
        _ => None,
    };
    Ok(StreamEnd { reason, last_seq: read(last_seq)?, fault })
}

/// Something of the model, and what stands beside its own members.
fn numbered<T: DeserializeOwned>(argument: Value) -> Result<(T, At)> {
    let Value::Object(mut event) = argument else { return Err(unreadable(&"an event is no object")) };
    let mut take = |name: &str| event.remove(name).unwrap_or(Value::Undefined);
    let at = At { seq: read(take("seq"))?, is_final: read(take("final"))? };
    Ok((read(Value::Object(event))?, at))
}

fn late() -> Fault {
    Fault::new(FaultKind::InvalidRequest, "onEnd was the last call of this observer")
}
