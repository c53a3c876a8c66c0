//! The normal form in which answers are compared: numbers by value, no stacks, no promise that has come true.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A number as a double, so that `1`, `1.0` and `1e0` are one; negative zero is zero. Anything else as it is.
pub(crate) fn number(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if value.is_number() => json!(if number == 0.0 { 0.0 } else { number }),
        _ => value.clone(),
    }
}

/// An expression that holds no other one.
pub(crate) fn literal(expr: &Value) -> Value {
    let Value::Array(parts) = expr else { return number(expr) };
    match parts.as_slice() {
        // Bytes without a type are bytes of this one.
        [tag, text, Value::String(kind)] if tag == "bytes" && kind == "Uint8Array" => json!([tag, text]),
        _ => parts.iter().map(number).collect::<Vec<_>>().into(),
    }
}

/// An error without its stack, and without properties if it has none.
pub(crate) fn error(name: &Value, message: &Value, properties: Option<Value>) -> Value {
    match properties {
        Some(Value::Object(members)) if !members.is_empty() => {
            json!(["error", name, message, null, Value::Object(members)])
        }
        _ => json!(["error", name, message]),
    }
}

/// A frame as it stands, with its expressions in normal form.
pub(crate) fn frame(frame: &Value) -> Value {
    let Value::Array(parts) = frame else { return frame.clone() };
    parts.iter().map(expression).collect::<Vec<_>>().into()
}

fn expression(expr: &Value) -> Value {
    match expr {
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| (key.clone(), expression(member)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(parts) => match parts.as_slice() {
            [tag, name, message, rest @ ..] if tag == "error" && name.is_string() => {
                error(name, message, rest.get(1).map(expression))
            }
            [tag, _, kind] if tag == "bytes" && kind == "Uint8Array" => literal(expr),
            _ => parts.iter().map(expression).collect::<Vec<_>>().into(),
        },
        other => number(other),
    }
}

/// What promises came to: by number or name, as JSON; whether they were resolved, and with what.
pub(crate) type CameTo = BTreeMap<String, (bool, Value)>;

/// Remembers what a promise has come to.
pub(crate) fn note(came_to: &mut CameTo, frame: &Value) {
    came_to.insert(frame[1].to_string(), (frame[0] == "resolve", frame[2].clone()));
}

/// Puts what promises came to in their places, where both are said in the same breath.
pub(crate) fn without_promises(frames: Vec<Value>) -> Vec<Value> {
    let settles = |frame: &Value| frame[0] == "resolve" || frame[0] == "reject";
    let mut came_to = CameTo::new();
    frames.iter().filter(|frame| settles(frame)).for_each(|frame| note(&mut came_to, frame));
    let used: Vec<String> = frames.iter().flat_map(|frame| promises(&frame[2])).collect();
    frames
        .into_iter()
        .filter(|frame| !(settles(frame) && used.contains(&frame[1].to_string())))
        .map(|frame| complete(&frame, &came_to).unwrap_or(frame))
        .collect()
}

/// A `resolve` with every promise in it replaced by what it came to; nothing, if one has not come true yet. A value
/// that holds a promise which came to an error is that error: so does it reach the one who waits for it.
pub(crate) fn complete(frame: &Value, came_to: &CameTo) -> Option<Value> {
    if frame[0] != "resolve" {
        return Some(frame.clone());
    }
    match filled(&frame[2], came_to) {
        Ok(value) => Some(json!(["resolve", frame[1], value])),
        Err(Some(error)) => Some(json!(["reject", frame[1], error])),
        Err(None) => None,
    }
}

/// An error is what one of the promises failed with; none means that one is pending.
fn filled(expr: &Value, came_to: &CameTo) -> Result<Value, Option<Value>> {
    match expr {
        Value::Array(parts) => {
            if let Some(id) = promise(parts) {
                return match came_to.get(&id) {
                    Some((true, value)) => filled(value, came_to),
                    Some((false, error)) => Err(Some(error.clone())),
                    None => Err(None),
                };
            }
            all(parts.iter().map(|part| filled(part, came_to))).map(Value::Array)
        }
        Value::Object(members) => {
            let values = all(members.values().map(|member| filled(member, came_to)))?;
            Ok(members.keys().cloned().zip(values).collect::<serde_json::Map<_, _>>().into())
        }
        other => Ok(other.clone()),
    }
}

/// All of them, or the first failure, or that one is pending.
fn all(parts: impl Iterator<Item = Result<Value, Option<Value>>>) -> Result<Vec<Value>, Option<Value>> {
    let mut whole = Ok(Vec::new());
    for part in parts {
        match (part, &mut whole) {
            (Ok(part), Ok(list)) => list.push(part),
            (Err(Some(error)), _) => return Err(Some(error)),
            (Err(None), _) => whole = Err(None),
            (Ok(_), Err(_)) => {}
        }
    }
    whole
}

/// The promises in an expression.
fn promises(expr: &Value) -> Vec<String> {
    match expr {
        Value::Array(parts) => match promise(parts) {
            Some(id) => vec![id],
            None => parts.iter().flat_map(promises).collect(),
        },
        Value::Object(members) => members.values().flat_map(promises).collect(),
        _ => Vec::new(),
    }
}

fn promise(parts: &[Value]) -> Option<String> {
    match parts {
        [tag, id] if tag == "promise" => Some(id.to_string()),
        _ => None,
    }
}
