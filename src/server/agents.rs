//! The agents of a server: opened as the settings say, and what is wrong with them.

use std::fmt;
use std::sync::Arc;

use futures::future::join_all;

use crate::agent::Agent;
use crate::agents::{self, OpenError};
use crate::auth::KeyEntry;
use crate::config::{AgentsError, Config, Named};
use crate::service::{Agents, DEFAULT_TENANT};

/// What a program gives a server itself.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) agents: Agents,
    /// The most turns at once, by tenant.
    pub(super) turns: Vec<(String, usize)>,
}

impl Given {
    /// Adds the agents of the settings. Their programs are started, all at once.
    pub(super) async fn complete(mut self, config: &Config) -> Result<Self, AgentProblem> {
        // `agent` is for who gives none.
        let (named, chosen) = if self.agents.is_empty() || !config.agents.is_empty() {
            (config.roster()?, config.default_agent()?)
        } else {
            (Vec::new(), config.default_agent.as_deref())
        };
        for Named { name, .. } in &named {
            if self.agents.find(Some(name)).is_ok() {
                let what = format!("the agent {name:?} is in the settings, and given by the program too");
                return Err(AgentProblem::Settings(what));
            }
        }
        if let Some(chosen) = chosen {
            self.agents.choose(chosen);
        }
        let opened = join_all(named.iter().map(open)).await;
        let mut wrong = Vec::new();
        for (Named { name, limits, .. }, opened) in named.iter().zip(opened) {
            match opened {
                Ok(agent) => self.agents.insert(name, agent),
                Err(error) => wrong.push((name.clone(), error)),
            }
            self.turns.extend(limits.turns.map(|most| (name.clone(), most)));
        }
        sound(wrong)?;
        self.agents.check().map_err(AgentProblem::Settings)?;
        Ok(self)
    }

    /// Says whether keys open only what there is.
    pub(super) fn check_keys(&self, keys: &[KeyEntry]) -> Result<(), AgentProblem> {
        check_keys(keys, |name| self.agents.find(Some(name)).is_ok())
    }
}

async fn open(named: &Named) -> Result<Arc<dyn Agent>, OpenError> {
    let agent = agents::open(&named.run, &named.limits.process).await?;
    match &named.card {
        Some(file) => agents::with_card(agent, file),
        None => Ok(agent),
    }
}

/// Says what is wrong with the agents of these settings, without starting a program.
pub(super) fn check(config: &Config) -> Result<(), AgentProblem> {
    let named = config.roster()?;
    let names: Vec<_> = named.iter().map(|agent| &*agent.name).collect();
    Agents::check_names(&names, config.default_agent()?).map_err(AgentProblem::Settings)?;
    check_keys(&config.key_entries(), |name| names.contains(&name))?;
    let checked = named.iter().map(|agent| (agent, agents::check(&agent.run, agent.card.as_deref())));
    sound(checked.filter_map(|(agent, checked)| Some((agent.name.clone(), checked.err()?))).collect())
}

/// Says whether keys open only what there is.
fn check_keys(keys: &[KeyEntry], is_there: impl Fn(&str) -> bool) -> Result<(), AgentProblem> {
    for key in keys {
        let absent = key.agents.iter().flatten().find(|name| !is_there(name));
        if let Some(name) = absent {
            let what = format!("a key of {:?} is for the agent {name:?}, and there is none", key.subject);
            return Err(AgentProblem::Settings(what));
        }
    }
    Ok(())
}

fn sound(wrong: Vec<(String, OpenError)>) -> Result<(), AgentProblem> {
    if wrong.is_empty() { Ok(()) } else { Err(AgentProblem::Unusable(wrong)) }
}

/// What is wrong with a server's agents.
#[derive(Debug)]
#[non_exhaustive]
pub enum AgentProblem {
    /// They make no sense together.
    Settings(String),
    /// These cannot be opened: their names, and why.
    Unusable(Vec<(String, OpenError)>),
}

impl fmt::Display for AgentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(what) => f.write_str(what),
            // Where there is only one, everybody knows which.
            Self::Unusable(wrong) if matches!(&**wrong, [(name, _)] if name == DEFAULT_TENANT) => {
                fmt::Display::fmt(&wrong[0].1, f)
            }
            Self::Unusable(wrong) => {
                for (index, (name, error)) in wrong.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "; " };
                    write!(f, "{comma}agent {name}: {error}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for AgentProblem {}

impl From<AgentsError> for AgentProblem {
    fn from(error: AgentsError) -> Self {
        Self::Settings(error.to_string())
    }
}
