//! Settings: one TOML file, then the environment (`A2A_WEBCAP_…`), then what the caller sets.
//!
//! Every key can be set in each of these ways: `limits.net.connections` is that in the file's `[limits.net]`, and
//! `A2A_WEBCAP_LIMITS__NET__CONNECTIONS` in the environment.

mod redact;

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// `jsonl:` and that of one that is kept running (`docs/process-agents.md`).
    pub agent: String,
    /// Lets callers without credentials do everything that a key may, as one shared principal.
    pub anonymous: bool,
    /// Threads that serve connections; 0 is one for each core.
    pub workers: usize,
    /// Who may authenticate. Where there is none, a development key is made.
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
            agent: "demo".to_owned(),
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

/// Settings, and where each of them is from.
#[derive(Debug)]
pub struct Layers {
    figment: Figment,
    /// What they come to.
    pub config: Config,
}

/// Where a setting is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// A file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// An argument.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

impl Layers {
    /// Reads the file, if one is given, then the environment, then these: pairs of a key such as
    /// `limits.net.connections` and a value as the file would have it. Lists are added to those before.
    ///
    /// # Errors
    /// What cannot be read, is unknown, or has a wrong type, with the place where it was found.
    pub fn read(file: Option<&Path>, set: Vec<(String, Value)>) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        if let Some(file) = file {
            figment = figment.merge(Toml::file_exact(file));
        }
        // The development key is not a setting: it is read where it is used, and shown nowhere. What is logged
        // is decided before there are settings, and so is which file is read.
        let environment = Env::prefixed(ENVIRONMENT)
            .ignore(&["dev_key", "state_dir", "log", "log_format", "config"])
            .map(|key| key.as_str().replace("__", ".").replace('_', "-").into());
        figment = figment.merge(environment);
        for (key, value) in set {
            figment = figment.admerge(Set { key, value });
        }
        let config = figment.extract().map_err(|error| ConfigError(Box::new(error)))?;
        Ok(Self { figment, config })
    }

    /// Where the setting of this key is from.
    pub fn origin(&self, key: &str) -> Origin {
        let Some(metadata) = self.figment.find_metadata(key) else { return Origin::Default };
        if let Some(figment::Source::File(path)) = &metadata.source {
            return Origin::File(path.clone());
        }
        match &*metadata.name {
            SET => Origin::Flag,
            name if name.contains("environment") => Origin::Environment(variable(key)),
            _ => Origin::Default,
        }
    }
}

/// The environment variable of a key.
pub fn variable(key: &str) -> String {
    format!("{ENVIRONMENT}{}", key.replace('.', "__").replace('-', "_").to_ascii_uppercase())
}

/// One key that the caller sets.
struct Set {
    key: String,
    value: Value,
}

impl Provider for Set {
    fn metadata(&self) -> Metadata {
        Metadata::named(SET)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        let dict = nested.into_dict().ok_or_else(|| figment::Error::from("an empty key".to_owned()))?;
        Ok(Profile::Default.collect(dict))
    }
}

/// Why settings cannot be used.
#[derive(Debug)]
pub struct ConfigError(Box<figment::Error>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.0;
        let Kind::UnknownField(name, known) = &error.kind else {
            return f.write_str(&redact::told(error));
        };
        let under: String =
            error.path.iter().filter(|part| *part != name).map(|part| format!("{part}.")).collect();
        write!(f, "there is no setting `{under}{name}`")?;
        if let Some(place) =
            error.metadata.as_ref().and_then(|metadata| place(metadata, &format!("{under}{name}")))
        {
            write!(f, " (in {place})")?;
        }
        match nearest(name, &under, known) {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => write!(f, "; there are: {}", known.join(", ")),
        }
    }
}

impl std::error::Error for ConfigError {}

fn place(metadata: &Metadata, key: &str) -> Option<String> {
    match &metadata.source {
        Some(figment::Source::File(path)) => Some(path.display().to_string()),
        _ if metadata.name.contains("environment") => Some(format!("the environment: {}", variable(key))),
        _ if metadata.name == SET => Some("an argument".to_owned()),
        _ => None,
    }
}

/// The setting that was probably meant: one of the same table that is spelt nearly so, else one of any table with
/// this name.
fn nearest(name: &str, under: &str, known: &[&str]) -> Option<String> {
    let spelt = |other: &str| strsim::damerau_levenshtein(&name.replace('_', "-"), other);
    let near = known.iter().map(|other| (spelt(other), *other)).min();
    if let Some((_, other)) = near.filter(|(distance, _)| *distance <= name.len().div_ceil(3)) {
        return Some(format!("{under}{other}"));
    }
    let name = name.replace('_', "-");
    keys(&Config::default())
        .into_iter()
        .map(|(key, _)| key)
        .find(|key| key.rsplit('.').next() == Some(&*name))
}

/// Every key and its value; a list is one value.
pub fn keys(config: &Config) -> Vec<(String, serde_json::Value)> {
    let value = serde_json::to_value(config).expect("settings are texts, numbers and lists of them");
    let mut found = Vec::new();
    leaves("", value, &mut found);
    found
}

fn leaves(name: &str, value: serde_json::Value, found: &mut Vec<(String, serde_json::Value)>) {
    match value {
        serde_json::Value::Object(fields) => {
            let dot = if name.is_empty() { "" } else { "." };
            for (field, value) in fields {
                leaves(&format!("{name}{dot}{field}"), value, found);
            }
        }
        value => found.push((name.to_owned(), value)),
    }
}

const ENVIRONMENT: &str = "A2A_WEBCAP_";

const SET: &str = "what the caller sets";

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str) -> Result<Config, Box<figment::Error>> {
        let figment = Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(toml));
        figment.extract().map_err(Box::new)
    }

    #[test]
    fn a_file_sets_what_it_names_and_leaves_the_rest() {
        let config = load("agent = \"echo\"\n[limits.net]\nidle-connections = 1").unwrap_err();
        assert!(config.to_string().contains("idle-connections"), "{config}");
        let config = load("agent = \"echo\"\n[limits.net]\nconnections = 7\nheader-timeout = 0.5").unwrap();
        assert_eq!((config.agent.as_str(), config.limits.net.connections), ("echo", 7));
        assert_eq!(config.limits.net.header_timeout, std::time::Duration::from_millis(500));
        assert_eq!(config.listen.port(), DEFAULT_PORT);
    }

    #[test]
    fn a_store_is_memory_or_a_path_and_a_directory_may_be_called_memory_too() {
        let store = |toml: &str| load(toml).unwrap().store;
        assert_eq!(store(""), None);
        assert_eq!(store("store = \"memory\""), Some(StoreChoice::Memory));
        for path in ["./memory", "/var/lib/a2a", "tasks"] {
            let choice = StoreChoice::Directory(PathBuf::from(path));
            assert_eq!(store(&format!("store = {path:?}")), Some(choice.clone()));
            assert_eq!(StoreChoice::parse(choice.to_string()), Ok(choice), "what is shown can be given");
        }
        let error = load("store = \"\"").unwrap_err().to_string();
        assert!(error.contains("must be `memory` or a directory's path"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
        let told = |toml: &str| ConfigError(load(toml).unwrap_err()).to_string();
        assert_eq!(told("lisen = \"127.0.0.1:1\""), "there is no setting `lisen`; did you mean `listen`?");
        let nested = told("[limits.net]\nconections = 1");
        assert!(nested.ends_with("did you mean `limits.net.connections`?"), "{nested}");
        let elsewhere = told("connections = 1");
        assert!(elsewhere.ends_with("did you mean `limits.net.connections`?"), "{elsewhere}");
        assert!(told("zzz = 1").contains("there are: listen, "), "{}", told("zzz = 1"));
    }

    #[test]
    fn what_the_caller_sets_wins_and_every_origin_is_known() {
        let name = format!("a2a-webcap-config-{}.toml", crate::model::fresh_id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "agent = \"echo\"\nworkers = 3\nallowed-hosts = [\"a\"]\n").unwrap();
        let set = |key: &str, value: &str| (key.to_owned(), value.parse().unwrap());
        let set =
            vec![set("workers", "2"), set("limits.net.connections", "7"), set("allowed-hosts", "[\"b\"]")];
        let layers = Layers::read(Some(&path), set);
        std::fs::remove_file(&path).unwrap();
        let layers = layers.unwrap();
        let config = &layers.config;
        assert_eq!((config.workers, config.limits.net.connections, config.agent.as_str()), (2, 7, "echo"));
        assert_eq!(config.allowed_hosts, ["a", "b"]);
        assert_eq!(layers.origin("agent"), Origin::File(path));
        assert_eq!(layers.origin("workers"), Origin::Flag);
        assert_eq!(layers.origin("limits.net.connections"), Origin::Flag);
        assert_eq!(layers.origin("listen"), Origin::Default);
        assert_eq!(variable("limits.net.header-timeout"), "A2A_WEBCAP_LIMITS__NET__HEADER_TIMEOUT");
    }

    #[test]
    fn the_state_directory_follows_the_environment() {
        let home = |name: &str| (name == "HOME").then(|| "/home/dana".to_owned());
        let config = Config::default();
        assert_eq!(config.state_dir(home), Some(PathBuf::from("/home/dana/.local/state/a2a-webcap")));
        assert_eq!(config.state_dir(|_| None), None);
    }
}
