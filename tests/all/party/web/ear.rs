//! What the server calls: an observer of a test, as an object of Cap'n Web.

use a2a_webcap::client::{At, Observer};
use a2a_webcap::fault::{Fault, FaultKind, Result};
use a2a_webcap::model::{EndReason, StreamEnd};
use capnweb::{Call, CallId, Error};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::line::{Calls, Line};
use super::values::{Value, fault_of, json, record};

/// The observer's methods, in the binding's words.
const METHODS: [&str; 5] = ["onTask", "onStatusUpdate", "onArtifactUpdate", "onMessage", "onEnd"];

/// An object that the server can call: an observer with all of its methods, or one method as a function.
pub(super) struct Ear {
    /// Nobody behind the object that every client shows first.
    told: Option<mpsc::UnboundedSender<Told>>,
    function: Option<&'static str>,
}

/// One call.
pub(super) struct Told {
    pub(super) id: CallId,
    /// Of its frame.
    pub(super) bytes: usize,
    pub(super) call: Call<Ear>,
}

impl Ear {
    pub(super) fn nobody() -> Self {
        Self { told: None, function: None }
    }

    /// Takes a call; what is called here and does not exist is no function.
    pub(super) fn hear(&self, told: Told) -> std::result::Result<(), Error> {
        let is_there = match (self.function, &*told.call.path) {
            (Some(_), []) => true,
            (None, [name]) => name.as_name().is_some_and(|name| METHODS.contains(&name)),
            _ => false,
        };
        match &self.told {
            Some(sender) if is_there && told.call.arguments.is_some() => {
                sender.send(told).map_err(|_| Error::plain("this observer is gone"))
            }
            _ => Err(Error::not_a_function(&told.call.path)),
        }
    }
}

/// Lets an observer hear what comes on a line. One with every method is passed as an object; one without some, as a plain
/// object of the functions that it has.
pub(super) fn listen(line: &Line, observer: impl Observer) -> Value {
    let features = observer.features();
    let (told, calls) = line.calls();
    line.run(attend(observer, calls));
    if features.snapshots && features.messages {
        return line.object(Ear { told: Some(told), function: None });
    }
    let has = |method: &&str| match *method {
        "onTask" => features.snapshots,
        "onMessage" => features.messages,
        _ => true,
    };
    // All functions share one queue, for the order of calls is one.
    let function = |method| line.object(Ear { told: Some(told.clone()), function: Some(method) });
    record(METHODS.into_iter().filter(has).map(|method| (method, function(method))))
}

/// Hands calls on to an observer, one after the other.
async fn attend(mut observer: impl Observer, mut calls: Calls) {
    while let Some(Told { id, bytes, call }) = calls.next().await {
        let method = match call.target.function {
            Some(method) => method.to_owned(),
            None => call.path[0].as_name().expect("looked at when it was heard").to_owned(),
        };
        let arguments = call.arguments.expect("looked at when it was heard");
        let taken = tell(&mut observer, &method, arguments).await;
        let answer = taken.map(|()| Value::Undefined).map_err(|fault| Error::plain(fault.message()));
        calls.answer(id, bytes, answer);
    }
}

async fn tell(observer: &mut impl Observer, method: &str, arguments: Vec<Value>) -> Result<()> {
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().unwrap_or(Value::Undefined);
    match method {
        "onTask" => {
            let (task, at) = numbered(next())?;
            observer.on_task(task, at).await
        }
        "onStatusUpdate" => {
            let (update, at) = numbered(next())?;
            observer.on_status_update(update, at).await
        }
        "onArtifactUpdate" => {
            let (update, at) = numbered(next())?;
            observer.on_artifact_update(update, at).await
        }
        "onMessage" => observer.on_message(json(next())?).await,
        _ => {
            let (reason, last_seq, fault) = (json::<String>(next())?, json(next())?, next());
            let fault = match fault {
                Value::Error(error) => Some(fault_of(*error)),
                _ => None,
            };
            observer.on_end(StreamEnd { reason: reason_of(&reason)?, last_seq, fault }).await;
            Ok(())
        }
    }
}

/// An event, with what stands beside its own members.
fn numbered<T: DeserializeOwned>(value: Value) -> Result<(T, At)> {
    let mut event: serde_json::Map<String, serde_json::Value> = json(value)?;
    let mut take = |name: &str| event.remove(name).ok_or_else(|| unreadable(&format!("no {name}")));
    let (seq, is_final) = (take("seq")?, take("final")?);
    let at = At {
        seq: seq.as_u64().ok_or_else(|| unreadable(&"a seq that is no number"))?,
        is_final: is_final.as_bool().ok_or_else(|| unreadable(&"a final that is neither true nor false"))?,
    };
    let content = serde_json::from_value(serde_json::Value::Object(event));
    Ok((content.map_err(|error| unreadable(&error))?, at))
}

fn reason_of(word: &str) -> Result<EndReason> {
    Ok(match word {
        "completed" => EndReason::Completed,
        "interrupted" => EndReason::Interrupted,
        "detached" => EndReason::Detached,
        "revoked" => EndReason::Revoked,
        "cut" => EndReason::Cut,
        "gap" => EndReason::Gap,
        "failed" => EndReason::Failed,
        _ => return Err(unreadable(&word)),
    })
}

fn unreadable(why: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultKind::InvalidAgentResponse, format!("the server's call cannot be read: {why}"))
}
