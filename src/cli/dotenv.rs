//! Options of the client from `.env` files: the explicit or the nearest one, then the user's.
//!
//! A line is `A2ACLI_NAME=value`, as in the environment, which wins over every file. Nothing here is ever written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::error::CliError;
use crate::private;

/// What the files say.
#[derive(Debug, Default)]
pub(super) struct DotEnv {
    /// By name: the value, and the file that it is from.
    values: BTreeMap<String, (String, PathBuf)>,
    /// What is odd about the files.
    pub(super) remarks: Vec<String>,
}

/// An option's value of a file, taken as if it had been an argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) argument: String,
    pub(super) file: PathBuf,
}

impl DotEnv {
    /// Reads the explicit file or else the nearest `.env` of the working directory and those above it, and the user's.
    pub(super) fn read(explicit: Option<&Path>) -> Result<Self, CliError> {
        let mut found = Self::default();
        if let Some(path) = explicit {
            let text = read(path);
            let text =
                text.map_err(|error| CliError::usage(format!("--config {}: {error}", path.display())))?;
            found.add(&text, path);
        } else if let Some(path) = std::env::current_dir().ok().and_then(|dir| nearest(&dir)) {
            found.add_trusted(&path);
        }
        if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
            found.add_trusted(&PathBuf::from(home).join(".config/a2a-cli/.env"));
        }
        Ok(found)
    }

    /// What was found by looking around is believed only if nobody else can have written it.
    fn add_trusted(&mut self, path: &Path) {
        if !path.is_file() {
            return;
        }
        if !is_own(path) {
            self.remarks.push(format!("{}: not read, as it is not yours", path.display()));
            return;
        }
        match read(path) {
            Ok(text) => self.add(&text, path),
            Err(error) => self.remarks.push(format!("{}: not read: {error}", path.display())),
        }
    }

    fn add(&mut self, text: &str, path: &Path) {
        for (name, value) in parse(text) {
            if name.ends_with("_API_KEY") || name.ends_with("_BEARER") {
                self.remarks.extend(others_can_read(path));
            }
            self.values.entry(name).or_insert_with(|| (value, path.to_owned()));
        }
    }

    /// The options of the command that neither an argument nor the environment has set.
    pub(super) fn missing(&mut self, command: &Command, matches: &ArgMatches) -> Vec<Taken> {
        let set = |id: &str| {
            matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
        };
        // Two credentials would contradict each other: that which is said nearer counts.
        let credentials = set("api_key") || set("bearer");
        let mut taken = Vec::new();
        let mut known = Vec::new();
        for argument in command.get_arguments() {
            let (id, Some(long)) = (argument.get_id().as_str(), argument.get_long()) else { continue };
            let name = format!("A2ACLI_{}", long.replace('-', "_").to_ascii_uppercase());
            let is_flag = !argument.get_action().takes_values();
            known.push(name.clone());
            let Some((value, file)) = self.values.get(&name) else { continue };
            let shadowed = set(id) || (credentials && matches!(id, "api_key" | "bearer"));
            let argument = match is_flag {
                true => matches!(value.as_str(), "1" | "true" | "yes").then(|| format!("--{long}")),
                false => Some(format!("--{long}={value}")),
            };
            if let Some(argument) = argument.filter(|_| !shadowed && id != "config") {
                taken.push(Taken { id: id.to_owned(), argument, file: file.clone() });
            }
        }
        for (name, (_, file)) in &self.values {
            if !known.contains(name) && !OF_COMMANDS.contains(&name.as_str()) {
                self.remarks.push(format!("{}: there is no option for {name}", file.display()));
            }
        }
        taken
    }
}

/// Options of single commands, which a file cannot set here.
const OF_COMMANDS: &[&str] = &[
    "A2ACLI_TASK_ID",
    "A2ACLI_CONTEXT_ID",
    "A2ACLI_ASYNC",
    "A2ACLI_METADATA",
    "A2ACLI_TOKEN",
    "A2ACLI_AUTH_SCHEME",
    "A2ACLI_AUTH_CREDENTIALS",
];

/// The nearest `.env`, as git finds its own directory.
fn nearest(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().map(|dir| dir.join(".env")).find(|path| path.is_file())
}

/// The lines that are about this tool.
fn parse(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        name.starts_with("A2ACLI_").then(|| (name.to_owned(), value.to_owned()))
    })
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = private::read_at_most(File::open(path)?, LARGEST)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

const LARGEST: u64 = 64 << 10;

#[cfg(unix)]
fn is_own(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid().as_raw();
    std::fs::metadata(path).is_ok_and(|metadata| metadata.uid() == own)
}

#[cfg(not(unix))]
fn is_own(_: &Path) -> bool {
    true
}

fn others_can_read(path: &Path) -> Option<String> {
    private::shared_mode(&std::fs::metadata(path).ok()?)?;
    Some(format!("warning: others can read the secret in {0}: chmod 600 {0}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_this_tool_are_read_and_others_are_not() {
        let text = "# a comment\nOTHER=1\nA2ACLI_OUTPUT=json\nexport A2ACLI_API_KEY='k=1'\nA2ACLI_X\n";
        let read: Vec<_> = parse(text).collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read, [pair("A2ACLI_OUTPUT", "json"), pair("A2ACLI_API_KEY", "k=1")]);
    }
}
