//! The agents that the settings name, as they are shown.

use std::fmt::Write as _;

use serde::Serialize;

use super::error::CliError;
use crate::agents;
use crate::auth::KeyEntry;
use crate::config::Config;
use crate::service::{Agents, DEFAULT_TENANT};

/// One agent. Of a program without its arguments, which may hold a secret.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) name: String,
    runs: String,
    default: bool,
}

/// All of them, by name.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Roster(Vec<Shown>);

impl Roster {
    /// Those of these settings.
    pub(super) fn of(config: &Config) -> Result<Self, CliError> {
        let named = config.roster().map_err(|error| CliError::usage(error.to_string()))?;
        let names: Vec<_> = named.iter().map(|agent| &*agent.name).collect();
        let chosen = config.default_agent().map_err(|error| CliError::usage(error.to_string()))?;
        let default = Agents::check_names(&names, chosen).map_err(CliError::usage)?;
        let shown = named.iter().map(|agent| Shown {
            name: agent.name.clone(),
            runs: agents::shown(&agent.run),
            default: agent.name == default,
        });
        Ok(Self(shown.collect()))
    }

    /// The one that answers callers who name none.
    pub(super) fn default(&self) -> Option<&Shown> {
        self.0.iter().find(|agent| agent.default)
    }

    /// The only one.
    pub(super) fn only(&self) -> Option<&Shown> {
        self.0.first().filter(|_| self.0.len() == 1)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|agent| agent.name == name)
    }

    /// Refuses the name of an agent that there is not.
    pub(super) fn require(&self, name: &str) -> Result<(), CliError> {
        if self.has(name) {
            return Ok(());
        }
        let names: Vec<_> = self.0.iter().map(|agent| &*agent.name).collect();
        let names = names.join(", ");
        let error =
            CliError::usage(format!("there is no agent {name:?} in the settings; there are: {names}"));
        Err(error.hint("if they are in another file, name it: --config FILE"))
    }

    /// What a key opens of these. None if it is only for agents that are not among them: it was made for other
    /// settings, and comes back with them.
    pub(super) fn narrow(&self, mut key: KeyEntry) -> Option<KeyEntry> {
        if let Some(names) = &mut key.agents {
            names.retain(|name| {
                let has = self.has(name);
                if !has {
                    let subject = &*key.subject;
                    tracing::warn!(
                        subject,
                        agent = &**name,
                        "a key is for an agent that this server does not have"
                    );
                }
                has
            });
        }
        let opens = key.agents.as_ref().is_none_or(|names| !names.is_empty());
        opens.then_some(key)
    }

    /// One line for each, aligned.
    pub(super) fn table(&self) -> String {
        let width = self.0.iter().map(|agent| agent.name.len()).max().unwrap_or_default();
        let mut text = String::new();
        for Shown { name, runs, default } in &self.0 {
            let mark = if *default { ", the default" } else { "" };
            let _ = writeln!(text, "  {name:width$}  {runs}{mark}");
        }
        text
    }
}

impl Shown {
    /// What answers.
    pub(super) fn runs(&self) -> &str {
        &self.runs
    }

    /// What answers, with the agent's name if it was given one.
    pub(super) fn line(&self) -> String {
        if self.name == DEFAULT_TENANT { self.runs.clone() } else { format!("{} ({})", self.name, self.runs) }
    }
}
