//! `a2a-webcap config`: every setting, and where it is from. It changes nothing.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::Global;
use super::dotenv::Taken;
use super::error::CliError;
use super::output::Output;
use super::text::{NOT_SHOWN, field};
use crate::config::{Layers, keys};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show every setting and where it is from
    Show,
}

/// One setting.
#[derive(Debug, Serialize)]
struct Setting {
    name: String,
    value: Value,
    origin: String,
}

/// Those of the client's options, and those of `serve`.
#[derive(Debug, Serialize)]
struct Shown {
    client: Vec<Setting>,
    server: Vec<Setting>,
}

/// Shows everything. `taken`: what files have set of the client's options.
pub(super) fn show(
    global: &Global,
    (command, matches): (&Command, &ArgMatches),
    taken: &[Taken],
    output: &mut Output,
) -> Result<(), CliError> {
    let shown = Shown { client: client(command, matches, taken), server: server(global)? };
    let text = || {
        let mut text = String::new();
        for Setting { name, value, origin } in shown.client.iter().chain(&shown.server) {
            let value = match value {
                Value::Null => "not set".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            field(&mut text, name, &format!("{value} ({origin})"));
        }
        text
    };
    Ok(output.document(&shown, text)?)
}

fn client(command: &Command, matches: &ArgMatches, taken: &[Taken]) -> Vec<Setting> {
    let arguments = command.get_arguments().filter(|argument| argument.is_global_set());
    let settings = arguments.filter_map(|argument| {
        let (id, long) = (argument.get_id().as_str(), argument.get_long()?);
        let raw = matches.get_raw(id).map(|values| {
            values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(", ")
        });
        let secret = matches!(id, "api_key" | "bearer" | "svc_param");
        let shown = if secret { raw.map(|_| NOT_SHOWN.to_owned()) } else { raw };
        let from_file = taken.iter().find(|taken| taken.id == id);
        let origin = match (from_file, matches.value_source(id)) {
            (Some(taken), _) => format!("file {}", taken.file.display()),
            (None, Some(ValueSource::CommandLine)) => "flag".to_owned(),
            (None, Some(ValueSource::EnvVariable)) => {
                let name = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                format!("environment {}", name.unwrap_or_default())
            }
            _ => "default".to_owned(),
        };
        let value = shown.map_or(Value::Null, Value::String);
        let value = if value.is_null() { built_in(id) } else { value };
        Some(Setting { name: long.to_owned(), value, origin })
    });
    settings.collect()
}

/// Defaults that are no text of the argument parser's.
fn built_in(id: &str) -> Value {
    match id {
        "agent_card" => "http://127.0.0.1:8420".into(),
        "a2a_version" => "1.0".into(),
        "poll_interval" => "2s".into(),
        "transport" => "the card's order".into(),
        _ => Value::Null,
    }
}

fn server(global: &Global) -> Result<Vec<Setting>, CliError> {
    let layers = Layers::read(super::store::file(global.config.as_deref()).as_deref(), Vec::new());
    let layers = layers.map_err(|error| CliError::usage(format!("the settings: {error}")))?;
    let found = keys(&layers.config).into_iter().map(|(name, mut value)| {
        for key in value.as_array_mut().into_iter().flatten() {
            // A digest would let a reader test guesses.
            key.as_object_mut().map(|key| key.remove("sha256"));
        }
        let mut origin = layers.origin(&name).to_string();
        if name == "state-dir" && value.is_null() {
            let dir = layers.config.state_dir(|name| std::env::var(name).ok());
            value = dir.map_or(Value::Null, |dir| dir.display().to_string().into());
            if std::env::var_os("A2A_WEBCAP_STATE_DIR").is_some_and(|set| !set.is_empty()) {
                origin = "environment A2A_WEBCAP_STATE_DIR".to_owned();
            }
        }
        if name == "agent" {
            value = layers.config.unnamed().into();
        }
        Setting { name, value, origin }
    });
    Ok(found.collect())
}
