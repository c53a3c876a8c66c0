//! `a2a-webcap doctor`: what a server would stand on, measured and said aloud. It changes nothing, and works
//! while a server runs on the same store.

mod machine;
mod settings;
mod store;

use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::error::{CliError, exit};
use super::output::Output;
use super::text::field;
use crate::config::{Config, StoreChoice};
use machine::{ClockReport, DiskReport, FilesReport, FsyncReport};
use store::StoreReport;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The store to look at: a directory, or memory [default: as for serve]
    #[arg(long, value_name = "DIR", value_parser = super::store::parser())]
    store: Option<StoreChoice>,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: &'static str,
    /// `durable` or `memory`.
    durability: &'static str,
    promise: &'static str,
    store: Option<StoreReport>,
    disk: Option<DiskReport>,
    fsync: Option<FsyncReport>,
    clock: ClockReport,
    open_files: Option<FilesReport>,
    /// As the configuration file writes them, without what is secret.
    settings: Value,
    /// What keeps a server from working, or from keeping its promises.
    problems: Vec<String>,
    /// What may be better otherwise.
    hints: Vec<String>,
}

impl Doctor {
    pub(super) fn run(self, config: Option<&Path>, output: &mut Output) -> Result<(), CliError> {
        let mut config = super::store::settings(config)?;
        let choice = super::store::chosen(self.store.as_ref(), &config)?;
        config.store = Some(choice.clone());
        let report = examine(&config, &choice);
        output.document(&report, || text(&report))?;
        if report.problems.is_empty() { Ok(()) } else { Err(CliError::Said(exit::FAILURE)) }
    }
}

fn examine(config: &Config, choice: &StoreChoice) -> Report {
    let watch = machine::ClockWatch::start();
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        durability: "memory",
        promise: "tasks are lost when the server stops",
        store: None,
        disk: None,
        fsync: None,
        clock: ClockReport::default(),
        open_files: machine::open_files(),
        settings: settings::shown(config),
        problems: Vec::new(),
        hints: Vec::new(),
    };
    if let StoreChoice::Directory(dir) = choice {
        report.durability = "durable";
        report.promise = "every answered send and every seen event is on disk";
        let found = store::look(dir);
        report.problems.extend(found.problem.clone());
        report.store = Some(found);
        examine_disk(dir, config, &mut report);
    }
    report.clock = watch.stop();
    report.problems.extend(report.clock.problem());
    report.hints.extend(report.clock.hint());
    let wanted = config.limits.net.connections;
    report.hints.extend(report.open_files.as_ref().and_then(|files| files.hint(wanted)));
    report
}

/// The disk that the store is on, or will be.
fn examine_disk(dir: &Path, config: &Config, report: &mut Report) {
    let Some(place) = machine::existing(dir) else {
        report.problems.push(format!("{}: no directory on the way to it can be read", dir.display()));
        return;
    };
    match machine::disk(place, config.limits.store.reserve_bytes) {
        Ok(disk) => {
            report.problems.extend(disk.problem());
            report.disk = Some(disk);
        }
        Err(error) => report.problems.push(format!("{}: {error}", place.display())),
    }
    match machine::fsync(place) {
        Ok(fsync) => {
            report.hints.extend(fsync.hint());
            report.fsync = Some(fsync);
        }
        Err(error) => report.hints.push(format!(
            "the cost of an fsync could not be measured in {}: {error}; a server needs to write there",
            place.display()
        )),
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    field(&mut text, "Version", report.version);
    field(&mut text, "Durability", &format!("{}; {}", report.durability, report.promise));
    if let Some(store) = &report.store {
        store.write(&mut text);
    }
    if let Some(disk) = &report.disk {
        disk.write(&mut text);
    }
    if let Some(fsync) = &report.fsync {
        fsync.write(&mut text);
    }
    report.clock.write(&mut text);
    if let Some(files) = &report.open_files {
        files.write(&mut text);
    }
    text.push('\n');
    settings::write(&report.settings, &mut text);
    text.push('\n');
    for hint in &report.hints {
        field(&mut text, "Hint", hint);
    }
    for problem in &report.problems {
        field(&mut text, "Problem", problem);
    }
    if report.problems.is_empty() {
        field(&mut text, "Verdict", "no problem found");
    }
    text
}

#[cfg(test)]
mod tests;
