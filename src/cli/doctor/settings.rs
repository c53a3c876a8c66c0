//! Every setting with its value, without what is secret.

use serde_json::Value;

use crate::cli::text::field;
use crate::config::Config;

/// The settings as the configuration file writes them. Of a key only what it is for: its digest would let a
/// reader test guesses.
pub(super) fn shown(config: &Config) -> Value {
    let mut settings = serde_json::to_value(config).expect("settings are texts, numbers and lists of them");
    settings["agent"] = config.unnamed().into();
    hide(&mut settings["keys"]);
    for agent in settings["agents"].as_object_mut().into_iter().flat_map(|agents| agents.values_mut()) {
        hide(&mut agent["keys"]);
    }
    settings
}

fn hide(keys: &mut Value) {
    for key in keys.as_array_mut().into_iter().flatten() {
        if let Some(key) = key.as_object_mut() {
            key.remove("sha256");
        }
    }
}

/// One setting a line: `limits.net.connections: 10000`.
pub(super) fn write(settings: &Value, text: &mut String) {
    write_under("", settings, text);
}

fn write_under(name: &str, value: &Value, text: &mut String) {
    let dot = if name.is_empty() { "" } else { "." };
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                write_under(&format!("{name}{dot}{field}"), value, text);
            }
        }
        Value::Null => field(text, name, "not set"),
        Value::String(value) => field(text, name, value),
        other => field(text, name, &other.to_string()),
    }
}
