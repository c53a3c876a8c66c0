//! Several agents on one server: what is set of each, and what that comes to.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Config;
use crate::auth::{KeyEntry, KeyRing};
use crate::limits::AgentLimits;
use crate::service::{Agents, DEFAULT_TENANT};

/// One of `[agents]`, under the name that A2A's tenant selects it by.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct AgentConfig {
    /// What answers: as [`Config::agent`].
    pub run: String,
    /// A file with what its card says: members that stand there take the place of what the program says of itself.
    /// A path in a settings' file counts from the directory of that file.
    pub card: Option<PathBuf>,
    /// Who may authenticate to this agent, beside those whose keys open all.
    pub keys: Vec<KeyEntry>,
    /// Its bounds.
    pub limits: AgentLimits,
}

/// An agent that the settings name, with all that was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// The tenant that selects it.
    pub name: String,
    /// What answers: as [`Config::agent`].
    pub run: String,
    /// The file with its card, if there is one.
    pub card: Option<PathBuf>,
    /// Its bounds.
    pub limits: AgentLimits,
}

impl Config {
    /// The agents that the settings name, by name: those of `[agents]`, and the one of `agent` as
    /// [`DEFAULT_TENANT`] where it is set, or nothing else is.
    ///
    /// # Errors
    /// What makes no sense: a name, an agent that is said twice or does not say what answers, keys that open what
    /// is not there.
    pub fn roster(&self) -> Result<Vec<Named>, AgentsError> {
        let mut named = Vec::with_capacity(self.agents.len() + 1);
        if let Some(run) = self.unnamed() {
            let limits = AgentLimits { process: self.limits.process.clone(), ..AgentLimits::default() };
            named.push(Named { name: DEFAULT_TENANT.to_owned(), run: run.to_owned(), card: None, limits });
        }
        for (name, agent) in &self.agents {
            let wrong = |what: String| Err(AgentsError(format!("`agents.{name}` {what}")));
            if let Err(problem) = Agents::check_name(name) {
                return Err(AgentsError(format!("the agent's name {name:?} {problem}")));
            }
            if named.iter().any(|other| other.name == *name) {
                return wrong("and `agent` are the same one: leave one of them out".to_owned());
            }
            if agent.run.is_empty() {
                return wrong(format!(
                    "does not say what answers: set `agents.{name}.run`, such as \"demo\""
                ));
            }
            if agent.keys.iter().any(|key| key.agents.is_some()) {
                return wrong(format!(
                    "has a key that names agents: keys there open {name} only; put it into `keys` at the top"
                ));
            }
            if let Err(error) = KeyRing::new(&agent.keys) {
                return Err(AgentsError(format!("the keys cannot be used: agents.{name}.{error}")));
            }
            let AgentConfig { run, card, limits, .. } = agent.clone();
            named.push(Named { name: name.clone(), run, card, limits });
        }
        named.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(named)
    }

    /// What the agent without a name is: the one of `agent`, or `demo` where nothing is said.
    pub fn unnamed(&self) -> Option<&str> {
        self.agent.as_deref().or(self.agents.is_empty().then_some(DEFAULT_AGENT))
    }

    /// The name of the agent that answers callers who name none, if the settings say so: `default-agent`, or `agent`.
    ///
    /// # Errors
    /// If both say so.
    pub fn default_agent(&self) -> Result<Option<&str>, AgentsError> {
        match (&self.default_agent, &self.agent) {
            (Some(chosen), Some(_)) if chosen != DEFAULT_TENANT => Err(AgentsError(format!(
                "`agent` answers callers who name none, and so does {chosen:?} of `default-agent`: leave one out, or \
                 give the first a name in [agents]"
            ))),
            (Some(chosen), _) => Ok(Some(chosen)),
            (None, _) => Ok(None),
        }
    }

    /// All keys: those that open every agent, and those of each.
    pub fn key_entries(&self) -> Vec<KeyEntry> {
        let of_agents = self.agents.iter().flat_map(|(name, agent)| {
            let bound = |key: &KeyEntry| KeyEntry { agents: Some(vec![name.clone()]), ..key.clone() };
            agent.keys.iter().map(bound)
        });
        self.keys.iter().cloned().chain(of_agents).collect()
    }
}

/// Settings of agents that make no sense together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentsError(String);

impl fmt::Display for AgentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AgentsError {}

/// What answers if nothing is said.
const DEFAULT_AGENT: &str = "demo";
