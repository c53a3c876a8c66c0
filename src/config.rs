//! Settings: one TOML file, then the environment (`A2A_WEBCAP_…`), then what the caller sets.
//!
//! Every key can be set in each of these ways: `limits.net.connections` is that in the file's `[limits.net]`, and
//! `A2A_WEBCAP_LIMITS__NET__CONNECTIONS` in the environment.

mod agents;
mod layers;
mod redact;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use agents::{AgentConfig, AgentsError, Named};
pub use layers::{ConfigError, Layers, Origin, keys, variable};

use crate::auth::KeyEntry;
use crate::limits::Limits;

/// Everything that can be set without writing a program. Unknown keys are refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Config {
    /// Where to listen. Beyond loopback only with `insecure-plaintext`, as there is no TLS yet.
    pub listen: SocketAddr,
    /// Accepts that keys and messages cross the network unencrypted.
    pub insecure_plaintext: bool,
    /// Where tasks are kept. Not said: by `serve` on disk, in the state directory; by a program's own server
    /// in memory.
    pub store: Option<StoreChoice>,
    /// The agent that answers: `demo`, `echo`, `exec:` and the command line of a program that is run for each turn, or
    /// `jsonl:` and that of one that is kept running (`docs/process-agents.md`). Not said: `demo`, if there are no
    /// `agents`. Beside `agents` it is one more, called `default`, which answers callers who name none.
    pub agent: Option<String>,
    /// Several agents, by the names that A2A's tenant selects them by (`docs/agents.md`).
    pub agents: BTreeMap<String, AgentConfig>,
    /// Which of `agents` answers callers who name none. Not said: the one called `default`, or the only one.
    pub default_agent: Option<String>,
    /// Lets callers without credentials do everything that a key may, as one shared principal.
    pub anonymous: bool,
    /// Threads that serve connections; 0 is one for each core.
    pub workers: usize,
    /// Who may authenticate, to all agents or to those that the key names. Where nobody may, a development key is
    /// made.
    pub keys: Vec<KeyEntry>,
    /// Where the development key and, for `serve`, the store are kept; by default in the user's state directory.
    pub state_dir: Option<PathBuf>,
    /// Under which URL clients reach this server, if not under the address that it listens on.
    pub public_url: Option<String>,
    /// Names under which clients reach this server, beside `localhost`, that of `public-url` and its addresses;
    /// with a port if only that is meant. A request with another `Host` is refused, since a foreign page could
    /// have made its own name lead here. `*` is any name.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may call this server, such as `https://app.example`, beside its own. A request of
    /// another page is refused. `*` is any, `null` that of pages that have none, such as files.
    pub allowed_origins: Vec<String>,
    /// Every bound.
    pub limits: Limits,
}

/// Where tasks are kept. In the configuration a text: `memory`, or a directory's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// In memory: nothing survives a restart.
    Memory,
    /// In this directory, which is made if it is not there: what was answered or seen survives `kill -9` and
    /// power loss. One server uses it at a time.
    Directory(PathBuf),
}

impl StoreChoice {
    /// `memory`, or a path; a directory of that name is `./memory`.
    ///
    /// # Errors
    /// An empty text, with what to write instead.
    pub fn parse(text: impl Into<OsString>) -> Result<Self, &'static str> {
        let text = text.into();
        match text.to_str() {
            Some("") => Err("must be `memory` or a directory's path"),
            Some(MEMORY) => Ok(Self::Memory),
            _ => Ok(Self::Directory(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str(MEMORY),
            Self::Directory(path) => fmt::Display::fmt(&path.display(), f),
        }
    }
}

impl Serialize for StoreChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoreChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

const MEMORY: &str = "memory";

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            insecure_plaintext: false,
            store: None,
            agent: None,
            agents: BTreeMap::new(),
            default_agent: None,
            anonymous: false,
            workers: 0,
            keys: Vec::new(),
            state_dir: None,
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// The port that a server listens on if nothing else is said.
pub const DEFAULT_PORT: u16 = 8420;

impl Config {
    /// Reads the file, if one is given, and the environment.
    ///
    /// # Errors
    /// What cannot be read, is unknown, or has a wrong type, with the place where it was found.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Layers::read(file, Vec::new()).map(|layers| layers.config)
    }

    /// The state directory: as configured, else `$A2A_WEBCAP_STATE_DIR`, else the user's.
    pub fn state_dir(&self, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.state_dir
            .clone()
            .or_else(|| set("A2A_WEBCAP_STATE_DIR"))
            .or_else(|| set("XDG_STATE_HOME").map(|base| base.join("a2a-webcap")))
            .or_else(|| set("HOME").map(|home| home.join(".local/state/a2a-webcap")))
    }
}

#[cfg(test)]
mod tests;
