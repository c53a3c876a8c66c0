//! Where settings are from: one TOML file, then the environment, then what the caller sets.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;

use super::{AgentConfig, Config, redact};

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
        let whole = figment.clone().join(Inherited(inherited(&figment)));
        let config = whole.extract().map_err(|error| ConfigError(Box::new(error)))?;
        let mut layers = Self { figment, config };
        layers.place_cards();
        Ok(layers)
    }

    /// Where the setting of this key is from. What an agent does not say has the origin of the server's own.
    pub fn origin(&self, key: &str) -> Origin {
        let Some(metadata) = self.figment.find_metadata(key) else {
            let servers = key.strip_prefix("agents.").and_then(|key| key.split_once(INHERITS));
            return servers
                .map_or(Origin::Default, |(_, field)| self.origin(&format!("limits.process.{field}")));
        };
        if let Some(figment::Source::File(path)) = &metadata.source {
            return Origin::File(path.clone());
        }
        match &*metadata.name {
            SET => Origin::Flag,
            name if name.contains("environment") => Origin::Environment(variable(key)),
            _ => Origin::Default,
        }
    }

    /// A path in a file counts from where the file is, so that a server can be started from anywhere.
    fn place_cards(&mut self) {
        let mut agents = std::mem::take(&mut self.config.agents);
        for (name, agent) in &mut agents {
            let origin = self.origin(&format!("agents.{name}.card"));
            if let (Some(card), Origin::File(file)) = (&mut agent.card, origin) {
                *card = file.parent().unwrap_or(Path::new("")).join(&*card);
            }
        }
        self.config.agents = agents;
    }
}

/// What each agent has of the server's own where it says nothing.
fn inherited(figment: &Figment) -> Dict {
    let (Ok(process), Ok(Value::Dict(_, agents))) =
        (figment.find_value("limits.process"), figment.find_value("agents"))
    else {
        return Dict::new();
    };
    let under = |name: &str, value: Value| Dict::from([(name.to_owned(), value)]);
    let limits = || under("limits", under("process", process.clone()).into());
    let agents: Dict = agents.into_keys().map(|name| (name, limits().into())).collect();
    under("agents", agents.into())
}

/// What stands between an agent's name and that of a bound that it has of the server where it says nothing.
const INHERITS: &str = ".limits.process.";

struct Inherited(Dict);

impl Provider for Inherited {
    fn metadata(&self) -> Metadata {
        Metadata::named("the server's own")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.0.clone()))
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
pub struct ConfigError(pub(super) Box<figment::Error>);

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
    // Of an agent's tables, before those of the server.
    let agent = under.strip_prefix("agents.").and_then(|under| under.split('.').next());
    let of_agent = agent.into_iter().flat_map(|agent| {
        let keys = keys_of(&AgentConfig::default()).into_iter();
        keys.map(move |(key, _)| format!("agents.{agent}.{key}"))
    });
    let of_server = keys(&Config::default()).into_iter().map(|(key, _)| key);
    of_agent.chain(of_server).find(|key| key.rsplit('.').next() == Some(&*name))
}

/// Every key and its value; a list is one value.
pub fn keys(config: &Config) -> Vec<(String, serde_json::Value)> {
    keys_of(config)
}

fn keys_of(settings: &impl Serialize) -> Vec<(String, serde_json::Value)> {
    let value = serde_json::to_value(settings).expect("settings are texts, numbers and lists of them");
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
