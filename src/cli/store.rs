//! Which store a command means, and what it says of it.

use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use figment::value::Value;

use super::error::CliError;
use crate::config::{Config, Layers, StoreChoice};
use crate::store::embedded::OpenError;

/// Reads `--store`: `memory` or a path, which need not be text.
pub(super) fn parser() -> impl TypedValueParser<Value = StoreChoice> {
    OsStringValueParser::new().try_map(StoreChoice::parse)
}

/// The settings: the file, if one is named, and the environment.
pub(super) fn settings(file: Option<&Path>) -> Result<Config, CliError> {
    layers(file, Vec::new()).map(|layers| layers.config)
}

/// The same, and then what the arguments say.
pub(super) fn layers(file: Option<&Path>, set: Vec<(String, Value)>) -> Result<Layers, CliError> {
    let named = file.map(Path::to_owned).or_else(variable);
    let read = Layers::read(named.as_deref(), set);
    read.map_err(|error| {
        CliError::usage(format!("the settings: {error}"))
            .hint("`a2a-webcap config show` shows all, and where they are from")
    })
}

/// The settings' file, where the same option may also name one of the client's options.
pub(super) fn file(named: Option<&Path>) -> Option<PathBuf> {
    named.filter(|path| is_settings(path)).map(Path::to_owned).or_else(variable)
}

/// Whether a file is one of settings, by its name.
pub(super) fn is_settings(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "toml")
}

/// The file that the environment names.
fn variable() -> Option<PathBuf> {
    std::env::var_os("A2A_WEBCAP_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The store that was named, else the configured one, else the one in the state directory.
pub(super) fn chosen(named: Option<&StoreChoice>, config: &Config) -> Result<StoreChoice, CliError> {
    if let Some(choice) = named.or(config.store.as_ref()) {
        return Ok(choice.clone());
    }
    let dir = config.state_dir(|name| std::env::var(name).ok()).ok_or_else(|| {
        let error = CliError::usage("there is no place for a store: neither HOME nor XDG_STATE_HOME is set");
        error.hint(
            "say where: --store DIR, or --store memory to lose tasks at the end; or set A2A_WEBCAP_STATE_DIR",
        )
    })?;
    Ok(StoreChoice::Directory(dir.join(STORE)))
}

/// The directory of the store that was named, for commands that are about one on disk.
pub(super) fn directory(named: Option<&StoreChoice>, config: &Config) -> Result<PathBuf, CliError> {
    match chosen(named, config)? {
        StoreChoice::Directory(dir) => Ok(dir),
        StoreChoice::Memory => {
            let error = CliError::usage("a store in memory has nothing on disk");
            Err(error.hint("name a directory with --store DIR; one that is called memory is ./memory"))
        }
    }
}

/// Why a store cannot be used, and what to do.
pub(super) fn refusal(error: &OpenError) -> CliError {
    let failed = CliError::store(format!("the store cannot be opened: {error}"));
    match error {
        OpenError::InUse { .. } => failed.hint(
            "stop the server that uses it, or give this one a store of its own: --store DIR (or --store memory), \
             and a port: --listen ADDR",
        ),
        _ => failed,
    }
}

/// The default store's name in the state directory.
const STORE: &str = "store";
