//! Answers: values in A2A's JSON.

use ::capnweb::Encoded;
use serde::Serialize;

use super::object::Object;
use crate::fault::{Fault, Result};

/// What travels.
pub(super) type Value = ::capnweb::Value<Object>;

/// An object with named members.
pub(super) fn record<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut object = ::capnweb::Object::new();
    for (name, value) in members {
        object.insert(name, value);
    }
    Value::Object(object)
}

/// A value of the model in its canonical JSON.
pub(super) fn value(shown: &impl Serialize) -> Result<Value> {
    Encoded::serialize(shown).map(Value::Encoded).map_err(Fault::internal)
}
