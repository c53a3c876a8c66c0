//! The normal form in which answers are compared: numbers by value, no stacks, no promise that has come true.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A number as a double, so that `1`, `1.0` and `1e0` are one; negative zero is zero. Anything else as it is.
pub fn number(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if value.is_number() => json!(if number == 0.0 { 0.0 } else { number }),
        _ => value.clone(),
    }
}

/// An expression that holds no other one.
pub fn literal(expr: &Value) -> Value {
    let Value::Array(parts) = expr else { return number(expr) };
    match parts.as_slice() {
        // Bytes without a type are bytes of this one.
        [tag, text, Value::String(kind)] if tag == "bytes" && kind == "Uint8Array" => json!([tag, text]),
        _ => parts.iter().map(number).collect::<Vec<_>>().into(),
    }
}

/// An error without its stack, and without properties if it has none.
pub fn error(name: &Value, message: &Value, properties: Option<Value>) -> Value {
    match properties {
        Some(Value::Object(members)) if !members.is_empty() => {
            json!(["error", name, message, null, Value::Object(members)])
        }
        _ => json!(["error", name, message]),
    }
}

/// A frame as it stands, with its expressions in normal form.
pub fn frame(frame: &Value) -> Value {
    let Value::Array(parts) = frame else { return frame.clone() };
    parts.iter().map(expression).collect::<Vec<_>>().into()
}

fn expression(expr: &Value) -> Value {
    match expr {
        Value::Object(members) => {
            members.iter().map(|(key, member)| (key.clone(), expression(member))).collect::<serde_json::Map<_, _>>().into()
        }
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

/// What promises came to in one breath: by number or name, as JSON; whether they were resolved, and with what.
type CameTo = BTreeMap<String, (bool, Value)>;

/// Puts what a promise came to in its place, where both are said in the same breath. A value that holds a promise
/// which came to an error is that error: so does it reach the one who waits for it.
pub fn without_promises(frames: Vec<Value>) -> Vec<Value> {
    let settles = |frame: &Value| frame[0] == "resolve" || frame[0] == "reject";
    let came_to: CameTo = frames
        .iter()
        .filter(|frame| settles(frame))
        .map(|frame| (frame[1].to_string(), (frame[0] == "resolve", frame[2].clone())))
        .collect();
    let mut used: Vec<String> = Vec::new();
    let mut whole: Vec<Value> = frames.into_iter().map(|frame| substituted(frame, &came_to, &mut used)).collect();
    whole.retain(|frame| !(settles(frame) && used.contains(&frame[1].to_string())));
    whole
}

fn substituted(frame: Value, came_to: &CameTo, used: &mut Vec<String>) -> Value {
    if frame[0] != "resolve" {
        return frame;
    }
    let mut failed = None;
    let value = filled(&frame[2], came_to, used, &mut failed);
    match failed {
        Some(error) => json!(["reject", frame[1], error]),
        None => json!(["resolve", frame[1], value]),
    }
}

fn filled(expr: &Value, came_to: &CameTo, used: &mut Vec<String>, failed: &mut Option<Value>) -> Value {
    match expr {
        Value::Array(parts) => {
            if let [tag, id] = parts.as_slice()
                && tag == "promise"
                && let Some((resolved, value)) = came_to.get(&id.to_string())
            {
                used.push(id.to_string());
                if !resolved {
                    failed.get_or_insert_with(|| value.clone());
                }
                return filled(value, came_to, used, failed);
            }
            parts.iter().map(|part| filled(part, came_to, used, failed)).collect::<Vec<_>>().into()
        }
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| (key.clone(), filled(member, came_to, used, failed)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}
