//! `a2a-webcap key`: who may come in, beside those of the configuration.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::agents::Roster;
use super::error::CliError;
use super::keys::KeyFile;
use super::output::Output;
use super::text::field;
use super::{Global, store};
use crate::auth::{ApiKey, KeyEntry, KeyRing, Permission, Permissions};
use crate::clock::Clock;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key, and show it once
    Create(Create),
    /// Show the keys: whose they are and until when, not what they are
    List,
    /// Take a key back; sessions that it has begun go on until they end
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Whose key it is: what is made with it belongs to this name
    #[arg(value_name = "SUBJECT")]
    subject: String,

    /// What the logs call the key
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,

    /// When it ends, from now on, such as 720h [default: never]
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    expires: Option<Duration>,

    /// What may be done with it, such as read,send [default: everything]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = permission)]
    permissions: Vec<Permission>,

    /// Which agent it opens; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    agent: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// What `key list` calls the key, or its label
    id: String,
}

impl KeyCommand {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let config = store::settings(global.config.as_deref())?;
        let file = KeyFile::of(&config)
            .ok_or_else(|| CliError::usage("there is no place for keys: set A2A_WEBCAP_STATE_DIR"))?;
        match self {
            Self::Create(create) => create.run(&config, &file, output),
            Self::List => list(&file, output),
            Self::Revoke(revoke) => revoke.run(&file, output),
        }
    }
}

impl Create {
    fn run(self, config: &Config, file: &KeyFile, output: &mut Output) -> Result<(), CliError> {
        if !self.agent.is_empty() {
            let roster = Roster::of(config)?;
            self.agent.iter().try_for_each(|name| roster.require(name))?;
        }
        let key = ApiKey::generate().map_err(|fault| CliError::internal(fault.message()))?;
        let permissions = self.permissions.iter().copied().collect::<Permissions>();
        let entry = KeyEntry {
            label: self.label,
            expires: self.expires.map(|time| Clock::system().now().saturating_add(time)),
            permissions: (!permissions.is_empty()).then_some(permissions),
            agents: (!self.agent.is_empty()).then_some(self.agent),
            ..key.entry(&self.subject)
        };
        file.change(|keys| {
            let label = entry.label.as_deref();
            if label.is_some() && keys.iter().any(|other| other.label.as_deref() == label) {
                return Err(CliError::usage("there is a key with this label already"));
            }
            keys.push(entry.clone());
            KeyRing::new(keys).map(|_| ()).map_err(|error| CliError::usage(error.to_string()))
        })?;
        let mut shown = describe(&entry);
        shown["key"] = key.expose().into();
        let text = || {
            let mut text = String::new();
            field(&mut text, "Key", key.expose());
            text + &lines(&entry)
        };
        output.document(&shown, text)?;
        let path = file.path().display();
        output.remark(&format!(
            "the key is shown only now; {path} has its digest, and a running server reads it"
        ));
        Ok(())
    }
}

fn list(file: &KeyFile, output: &mut Output) -> Result<(), CliError> {
    let keys = file.read()?;
    let document = json!({ "keys": keys.iter().map(describe).collect::<Vec<_>>() });
    let text = || {
        keys.iter().map(|entry| lines(entry) + "\n").collect::<String>() + &format!("Keys: {}\n", keys.len())
    };
    Ok(output.document(&document, text)?)
}

impl Revoke {
    fn run(self, file: &KeyFile, output: &mut Output) -> Result<(), CliError> {
        let revoked = file.change(|keys| {
            let is_meant =
                |entry: &KeyEntry| id(entry) == self.id || entry.label.as_deref() == Some(&*self.id);
            let at = keys.iter().position(is_meant).ok_or_else(|| {
                CliError::usage(format!("there is no key {:?}", self.id))
                    .hint("`a2a-webcap key list` shows them")
            })?;
            Ok(keys.remove(at))
        })?;
        let text = || format!("Revoked: {}\n", id(&revoked)) + &lines(&revoked);
        output.document(&json!({ "revoked": describe(&revoked) }), text)?;
        output.remark("nobody comes in with it any more; sessions that it has begun go on until they end");
        Ok(())
    }
}

/// What a key is called: enough of its digest to tell it from others, too little to test guesses with.
fn id(entry: &KeyEntry) -> &str {
    entry.sha256.get(..8).unwrap_or(&entry.sha256)
}

fn describe(entry: &KeyEntry) -> Value {
    json!({
        "id": id(entry),
        "subject": entry.subject,
        "label": entry.label,
        "expires": entry.expires,
        "permissions": entry.permissions,
        "agents": entry.agents,
    })
}

fn lines(entry: &KeyEntry) -> String {
    let mut text = String::new();
    field(&mut text, "ID", id(entry));
    field(&mut text, "Subject", &entry.subject);
    if let Some(label) = &entry.label {
        field(&mut text, "Label", label);
    }
    field(&mut text, "Expires", &entry.expires.map_or_else(|| "never".to_owned(), |end| end.to_string()));
    let names = |all: Permissions| all.iter().map(Permission::name).collect::<Vec<_>>().join(", ");
    field(&mut text, "Permissions", &entry.permissions.map_or_else(|| "everything".to_owned(), names));
    field(
        &mut text,
        "Agents",
        &entry.agents.as_ref().map_or_else(|| "all".to_owned(), |names| names.join(", ")),
    );
    text
}

fn permission(name: &str) -> Result<Permission, String> {
    let known = || Permission::ALL.map(Permission::name).join(", ");
    let found = Permission::ALL.into_iter().find(|permission| permission.name() == name);
    found.ok_or_else(|| format!("{name:?} is none of {}", known()))
}
