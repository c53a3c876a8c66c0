//! The agents that come with the server, by name, and programs as agents: [`Exec`] runs one for each turn,
//! [`JsonLines`] keeps one running.

mod carded;
mod demo;
mod echo;
mod exec;
mod jsonl;
mod process;
mod trace;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use self::carded::{Carded, completed};
use self::process::card;
use crate::agent::Agent;
use crate::limits::ProcessLimits;

pub use demo::Demo;
pub use echo::Echo;
pub use exec::Exec;
pub use jsonl::{JsonLines, JsonLinesAgent};
pub use process::{ProcessError, Program, kill_processes};

/// The agent that a setting names: a built-in one, `exec:` and a command line ([`Exec`]), or `jsonl:` and a command
/// line ([`JsonLines`], which is started).
///
/// # Errors
/// [`OpenError`], if there is no such agent, or its program does not start.
pub async fn open(setting: &str, limits: &ProcessLimits) -> Result<Arc<dyn Agent>, OpenError> {
    let limits = limits.clone();
    Ok(match setting.split_once(':') {
        Some(("exec", line)) => Arc::new(Exec::new(Program::parse(line)?)?.limits(limits)),
        Some(("jsonl", line)) => {
            Arc::new(JsonLines::new(Program::parse(line)?).limits(limits).start().await?)
        }
        _ => by_name(setting).ok_or_else(|| OpenError::Unknown(setting.to_owned()))?,
    })
}

/// The same agent, with a card that a file completes: members that stand there take the place of its own.
///
/// # Errors
/// [`OpenError`], if the file cannot be read, or does not make a card.
pub fn with_card(agent: Arc<dyn Agent>, file: &Path) -> Result<Arc<dyn Agent>, OpenError> {
    Ok(Arc::new(Carded::new(agent, file)?))
}

/// Says whether a setting names an agent, and whether the files with its card are sound, without starting its program.
///
/// # Errors
/// [`OpenError`], if there is no such agent or program, or a file makes no card.
pub fn check(setting: &str, card: Option<&Path>) -> Result<(), OpenError> {
    let known = match setting.split_once(':') {
        Some(("exec" | "jsonl", line)) => {
            let program = Program::parse(line)?;
            let mut known = card::plain(&program.name());
            card::overlay(&mut known, card::beside(&program)?.unwrap_or_default());
            known
        }
        _ if by_name(setting).is_some() => card::plain(setting),
        _ => return Err(OpenError::Unknown(setting.to_owned())),
    };
    card.map_or(Ok(()), |file| Ok(completed(known, file).map(|_| ())?))
}

/// How a setting names an agent, for people: without a command line's arguments, which may hold a secret.
pub fn shown(setting: &str) -> String {
    match setting.split_once(':') {
        Some((kind @ ("exec" | "jsonl"), line)) => match Program::parse(line) {
            Ok(program) => format!("{} ({kind})", program.name()),
            Err(_) => kind.to_owned(),
        },
        _ => setting.to_owned(),
    }
}

/// Why a setting names no agent.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// No agent is called so.
    Unknown(String),
    /// The program cannot be an agent.
    Process(ProcessError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(
                f,
                "there is no agent called {name:?}; there are: {}, exec:COMMAND and jsonl:COMMAND",
                NAMES.join(", ")
            ),
            Self::Process(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<ProcessError> for OpenError {
    fn from(error: ProcessError) -> Self {
        Self::Process(error)
    }
}

/// The names that [`by_name`] knows.
pub const NAMES: [&str; 2] = ["echo", "demo"];

/// A built-in agent.
pub fn by_name(name: &str) -> Option<Arc<dyn Agent>> {
    match name {
        "echo" => Some(Arc::new(Echo)),
        "demo" => Some(Arc::new(Demo)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
