//! Frames of Cap'n Web: JSON already.

use serde_json::Value;

use super::{HIDDEN, is_harmless, is_secret};

/// A frame, without its secrets.
pub(super) fn text(frame: &[u8]) -> String {
    match serde_json::from_slice::<Value>(frame) {
        Ok(mut message) => {
            hide(&mut message);
            message.to_string()
        }
        // It may be cut within a secret.
        Err(_) => format!("{} bytes that are no JSON, or nested too deep to be shown", frame.len()),
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Array(elements) => {
            if let [Value::String(kind), _, Value::Array(path), Value::Array(arguments)] = &mut elements[..]
                && kind == "pipeline"
                && path.last().and_then(Value::as_str).is_some_and(opens)
                && let Some(shown @ Value::String(_)) = arguments.first_mut()
            {
                *shown = HIDDEN.into();
            }
            elements.iter_mut().for_each(hide);
        }
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(_) if is_secret(name) => *member = HIDDEN.into(),
                    Value::Object(pairs) if name == "parameters" => {
                        let pairs = pairs.iter_mut().filter(|(name, _)| !is_harmless(name));
                        pairs.for_each(|(_, value)| *value = HIDDEN.into());
                    }
                    member => hide(member),
                }
            }
        }
        _ => {}
    }
}

/// Whether a method takes what opens something as its first argument.
fn opens(method: &str) -> bool {
    matches!(method, "authenticate" | "renew" | "claim")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_something_is_not_shown_and_the_rest_is() {
        for (frame, shown) in [
            (
                r#"["push",["pipeline",0,["authenticate"],[{"scheme":"ApiKey","credentials":"hush","parameters":{"A2A-Version":"1.0","a2a-key":"hush"}}]]]"#,
                r#"["push",["pipeline",0,["authenticate"],[{"scheme":"ApiKey","credentials":"…","parameters":{"A2A-Version":"1.0","a2a-key":"…"}}]]]"#,
            ),
            (
                r#"["push",["pipeline",0,["authenticate"],["hush"]]]"#,
                r#"["push",["pipeline",0,["authenticate"],["…"]]]"#,
            ),
            (
                r#"["push",["pipeline",0,["claim"],["hush",{}]]]"#,
                r#"["push",["pipeline",0,["claim"],["…",{}]]]"#,
            ),
            (
                r#"["resolve",4,{"secret":"hush","grant":["export",-3]}]"#,
                r#"["resolve",4,{"secret":"…","grant":["export",-3]}]"#,
            ),
            (
                r#"["push",["pipeline",1,["getTask"],["id"]]]"#,
                r#"["push",["pipeline",1,["getTask"],["id"]]]"#,
            ),
            (
                r#"["push",["pipeline",0,["claim"],["hu"#,
                "36 bytes that are no JSON, or nested too deep to be shown",
            ),
        ] {
            let shown_as = text(frame.as_bytes());
            let (left, right): (Value, Value) = match serde_json::from_str(&shown_as) {
                Ok(value) => (value, serde_json::from_str(shown).unwrap()),
                Err(_) => (shown_as.clone().into(), shown.into()),
            };
            assert_eq!(left, right, "{frame}");
            assert!(!shown_as.contains("hush"), "{shown_as}");
        }
    }
}
