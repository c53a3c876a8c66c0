//! A script is what a client does in one session, without numbers: a label stands for each result, for each
//! function of the client's and for each promise of its own, so that a step can be left out without
//! changing what the others mean. [`crate::client`] gives the numbers when it plays the script.

use serde_json::Value;

/// Names something that has a number on the wire. In an expression it stands as text where the number will be.
///
/// | text | what |
/// | --- | --- |
/// | `p7` | the result of the push, stream call or pipe that is labelled 7 |
/// | `e7` | the client's own function or target, exported when it is first named |
/// | `q7` | the client's own promise |
/// | `p7.0` | the first capability, promise or pipe that the server put into the result `p7` |
/// | `e7#0` | the first call that the server made on `e7` |
pub(crate) type Symbol = String;

/// One thing that the client does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// Evaluates an expression, and asks for the result if `pull` is set; it gets the label.
    Push { label: u32, expr: Value, pull: bool },
    /// Calls without wanting anything but the answer.
    Stream { label: u32, expr: Value },
    /// Opens a pipe to the server.
    Pipe { label: u32 },
    /// Asks for a result later.
    Pull { label: u32 },
    /// Gives a result up.
    Release { label: u32 },
    /// Gives up a capability of the server's.
    Drop { symbol: Symbol },
    /// Answers the oldest call on `target` that has no answer yet; nothing, if there is none.
    Answer { target: Symbol, with: Answer },
    /// Resolves the client's own promise.
    Settle { label: u32, with: Answer },
    /// Lets the server do all it can, and compares what it said since the last time.
    Wait,
}

/// How a promise ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Resolve(Value),
    Reject(Value),
}

impl Answer {
    pub(crate) fn parts(&self) -> (&'static str, &Value) {
        match self {
            Answer::Resolve(value) => ("resolve", value),
            Answer::Reject(error) => ("reject", error),
        }
    }
}

/// Puts what `name` says in the place of every symbol in an expression. An expression with a symbol that has
/// no number is none at all.
pub(crate) fn numbered(expr: &Value, name: &mut impl FnMut(&str) -> Option<i64>) -> Option<Value> {
    match expr {
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| Some((key.clone(), numbered(member, name)?)))
            .collect::<Option<_>>()
            .map(Value::Object),
        Value::Array(parts) => match parts.as_slice() {
            [Value::Array(items)] => Some(Value::from(vec![all(items, name)?])),
            [Value::String(tag), rest @ ..] => tagged(tag, rest, name),
            _ => Some(expr.clone()),
        },
        _ => Some(expr.clone()),
    }
}

fn all(exprs: &[Value], name: &mut impl FnMut(&str) -> Option<i64>) -> Option<Vec<Value>> {
    exprs.iter().map(|expr| numbered(expr, name)).collect()
}

fn tagged(tag: &str, rest: &[Value], name: &mut impl FnMut(&str) -> Option<i64>) -> Option<Value> {
    let mut parts = vec![Value::from(tag)];
    match tag {
        "import" | "pipeline" | "export" | "promise" | "writable" | "readable" | "remap" => {
            parts.push(match &rest[0] {
                Value::String(symbol) => Value::from(name(symbol)?),
                number => number.clone(),
            });
            parts.extend(rest.get(1).cloned());
            match (tag, &rest[1..]) {
                // What instructions name is local to the map.
                ("remap", [_, Value::Array(captures), instructions]) => {
                    parts.extend([Value::from(all(captures, name)?), instructions.clone()]);
                }
                (_, [_, Value::Array(arguments)]) => parts.push(Value::from(all(arguments, name)?)),
                _ => {}
            }
        }
        "error" => {
            parts.extend(rest.iter().take(3).cloned());
            if let Some(properties) = rest.get(3) {
                parts.push(numbered(properties, name)?);
            }
        }
        _ => parts.extend(rest.iter().cloned()),
    }
    Some(Value::from(parts))
}
