//! `a2a-webcap backup` and `a2a-webcap restore`: a store's copy, made while a server writes, and back.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::error::CliError;
use super::output::Output;
use super::store;
use super::text::field;
use crate::config::StoreChoice;
use crate::store::embedded::{self, BackupReport};

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Where to put the copy: a directory that is empty or not there yet
    target: PathBuf,

    #[command(flatten)]
    of: Which,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The copy that `backup` has made
    backup: PathBuf,

    #[command(flatten)]
    to: Which,
}

/// Which store.
#[derive(Debug, Args)]
struct Which {
    /// The store's directory [default: as for serve]
    #[arg(long, value_name = "DIR", value_parser = store::parser())]
    store: Option<StoreChoice>,
}

/// What was copied.
#[derive(Debug, Serialize)]
struct Copied {
    from: String,
    to: String,
    frames: u64,
    bytes: u64,
}

impl Backup {
    pub(super) fn run(self, config: Option<&Path>, output: &mut Output) -> Result<(), CliError> {
        let dir = self.of.directory(config)?;
        let made = embedded::backup(&dir, &self.target);
        let report = made.map_err(|error| CliError::store(format!("there is no backup: {error}")))?;
        show(&report, &dir, &self.target, output)
    }
}

impl Restore {
    pub(super) fn run(self, config: Option<&Path>, output: &mut Output) -> Result<(), CliError> {
        let dir = self.to.directory(config)?;
        let made = embedded::restore(&self.backup, &dir);
        let report = made.map_err(|error| CliError::store(format!("nothing was restored: {error}")))?;
        show(&report, &self.backup, &dir, output)
    }
}

impl Which {
    fn directory(&self, config: Option<&Path>) -> Result<PathBuf, CliError> {
        store::directory(self.store.as_ref(), &store::settings(config)?)
    }
}

fn show(report: &BackupReport, from: &Path, to: &Path, output: &mut Output) -> Result<(), CliError> {
    let copied = Copied {
        from: from.display().to_string(),
        to: to.display().to_string(),
        frames: report.frames,
        bytes: report.bytes,
    };
    let text = || {
        let mut text = String::new();
        field(&mut text, "From", &copied.from);
        field(&mut text, "To", &copied.to);
        field(&mut text, "Frames", &copied.frames.to_string());
        field(&mut text, "Bytes", &copied.bytes.to_string());
        text
    };
    Ok(output.document(&copied, text)?)
}
