//! What is in a store's directory.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use super::machine::size;
use crate::cli::text::field;
use crate::store::embedded::{self, Inspection};

/// A store's directory, as it was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoreReport {
    directory: String,
    /// `sound`, `absent` or `unusable`.
    state: &'static str,
    #[serde(flatten)]
    contents: Option<Contents>,
    #[serde(skip)]
    pub(super) problem: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Contents {
    format: u32,
    in_use: bool,
    segments: u32,
    frames: u64,
    bytes: u64,
    torn_bytes: u64,
    catalog_bytes: u64,
}

/// Reads everything and checks every checksum; changes nothing.
pub(super) fn look(dir: &Path) -> StoreReport {
    let mut report =
        StoreReport { directory: dir.display().to_string(), state: "absent", contents: None, problem: None };
    let is_unused = match dir.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if is_unused {
        return report;
    }
    match embedded::inspect(dir) {
        Ok(found) => (report.state, report.contents) = ("sound", Some(Contents::from(&found))),
        Err(error) => (report.state, report.problem) = ("unusable", Some(error.to_string())),
    }
    report
}

impl From<&Inspection> for Contents {
    fn from(found: &Inspection) -> Self {
        Self {
            format: found.format,
            in_use: found.in_use,
            segments: found.segments,
            frames: found.frames,
            bytes: found.bytes,
            torn_bytes: found.torn_bytes,
            catalog_bytes: found.catalog_bytes,
        }
    }
}

impl StoreReport {
    pub(super) fn write(&self, text: &mut String) {
        field(text, "Store", &self.directory);
        let state = match self.state {
            "absent" => "not there yet: the first start of a server makes it",
            "sound" => "sound: every checksum is right",
            other => other,
        };
        field(text, "Store state", state);
        let Some(found) = &self.contents else { return };
        field(text, "Store format", &found.format.to_string());
        field(text, "In use", if found.in_use { "yes, by a running server" } else { "no" });
        let log = format!("{} in {} segments, {} frames", size(found.bytes), found.segments, found.frames);
        field(text, "Log", &log);
        field(text, "Catalog", &format!("{}, made from the log", size(found.catalog_bytes)));
        let torn = match (found.torn_bytes, found.in_use) {
            (0, _) => "none".to_owned(),
            (bytes, true) => format!("{}; perhaps only what is being written", size(bytes)),
            (bytes, false) => {
                format!("{} that nobody was told of; the next start cuts them off", size(bytes))
            }
        };
        field(text, "Torn tail", &torn);
    }
}
