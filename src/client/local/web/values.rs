//! Arguments and results in A2A's JSON.

use capnweb::Encoded;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, json};

use super::super::super::credentials::{Credentials, Exposed};
use super::super::super::event::Cursor;
use super::super::super::send_call::SendCall;
use super::super::call::{of_the_server, unreadable};
use super::ear::Ear;
use crate::fault::Result;
use crate::model::{ServiceParameters, json::from_value};

/// What travels.
pub(in super::super) type Value = capnweb::Value<Ear>;

/// Anything of the model.
pub(in super::super) fn value(shown: &impl Serialize) -> Value {
    Value::Encoded(
        Encoded::serialize(shown).expect("the model has neither raw JSON nor names that are no texts"),
    )
}

/// Anything of the model that may be absent.
pub(in super::super) fn optional(shown: Option<&impl Serialize>) -> Value {
    shown.map_or(Value::Undefined, value)
}

/// A text that is absent if it is empty.
pub(in super::super) fn text_of(text: &str) -> Value {
    if text.is_empty() { Value::Undefined } else { value(&text) }
}

/// An object with named members.
pub(super) fn record(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut object = capnweb::Object::new();
    for (name, member) in members {
        object.insert(name, member);
    }
    Value::Object(object)
}

/// The message and the configuration of a send.
pub(in super::super) fn send(call: &SendCall) -> [Value; 2] {
    let request = &call.request;
    let configuration = request.configuration.as_ref().map(|configuration| json!(configuration));
    let mut config = match configuration {
        Some(serde_json::Value::Object(config)) => config,
        _ => Map::new(),
    };
    let mut say = |name: &str, said: serde_json::Value| config.insert(name.to_owned(), said);
    if let Some(metadata) = &request.metadata {
        say("metadata", json!(metadata));
    }
    if call.cancel_on_drop {
        say("cancelOnDrop", json!(true));
    }
    if call.turn_timeout.is_some() {
        say("turnTimeoutMs", json!(call.turn_timeout_ms()));
    }
    [value(&request.message), value(&config)]
}

/// What a client shows, and how it wants to be spoken to.
pub(in super::super) fn credentials(credentials: &Credentials, parameters: &ServiceParameters) -> Value {
    let (scheme, secret) = match credentials.expose() {
        Exposed::ApiKey(key) => ("ApiKey", key),
        Exposed::Bearer(token) => ("Bearer", token),
    };
    let parameters: Map<String, serde_json::Value> =
        parameters.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    value(&json!({ "scheme": scheme, "credentials": secret, "parameters": parameters }))
}

pub(in super::super) fn cursor(cursor: Cursor) -> Value {
    match cursor {
        Cursor::Snapshot => Value::Undefined,
        Cursor::After(seq) => value(&seq),
    }
}

/// An answer as something of the model.
pub(in super::super) fn read<T: DeserializeOwned>(answer: Value) -> Result<T> {
    let json = answer.into_json().map_err(|error| unreadable(&error))?;
    from_value(json).map_err(of_the_server)
}

/// An answer in which there is nothing.
pub(in super::super) fn empty(answer: Value) -> Result<()> {
    if answer.is_nothing() { Ok(()) } else { Err(unreadable(&"there was to be nothing in it")) }
}
