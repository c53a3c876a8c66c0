//! The file of the keys that `key create` has made: their digests, for the eyes of whoever runs the server.
//!
//! It is `keys.json` in the state directory: a list of what `[[keys]]` of the configuration holds. It is replaced
//! whole, by one process at a time, so that who reads it reads either the old or the new one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::CliError;
use crate::auth::KeyEntry;
use crate::config::Config;
use crate::private;

/// The file. It need not be there.
#[derive(Clone, Debug)]
pub(super) struct KeyFile(PathBuf);

/// Changes when the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64)>);

impl KeyFile {
    /// The one of these settings, if they have a place for it.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let dir = config.state_dir(|name| std::env::var(name).ok())?;
        Some(Self(dir.join("keys.json")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn stamp(&self) -> Stamp {
        let metadata = fs::metadata(&self.0).ok();
        Stamp(metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len()))))
    }

    /// The keys; none where there is no file.
    pub(super) fn read(&self) -> Result<Vec<KeyEntry>, CliError> {
        let file = match File::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(|error| self.failed(&error))?,
        };
        self.refuse_if_shared(&file)?;
        let bytes = private::read_at_most(file, LARGEST).map_err(|error| self.failed(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.failed(&unread(&error)))
    }

    /// Changes the keys, while no other process does.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<KeyEntry>) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let failed = |error: io::Error| self.failed(&error);
        let dir = self.0.parent().unwrap_or(Path::new("."));
        private::make_dir(dir).map_err(failed)?;
        // Let go of when it is closed.
        let lock = private::options().write(true).create(true).open(self.0.with_extension("lock"));
        let lock = lock.map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut keys = self.read()?;
        let result = change(&mut keys)?;
        let fresh = self.0.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let mut file = private::options().write(true).create_new(true).open(&fresh).map_err(failed)?;
        let mut json = serde_json::to_vec_pretty(&keys).map_err(|error| failed(error.into()))?;
        json.push(b'\n');
        file.write_all(&json).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&fresh, &self.0).map_err(failed)?;
        // Else a key that was said to be revoked could be back after a power loss.
        private::sync_dir(dir).map_err(failed)?;
        Ok(result)
    }

    fn refuse_if_shared(&self, file: &File) -> Result<(), CliError> {
        let metadata = file.metadata().map_err(|error| self.failed(&error))?;
        let Some(mode) = private::shared_mode(&metadata) else { return Ok(()) };
        let path = self.0.display();
        let error = CliError::usage(format!(
            "{path} is open to others (mode {mode:o}); who can write it can come in"
        ));
        Err(error.hint(format!("chmod 600 {path}")))
    }

    fn failed(&self, error: &io::Error) -> CliError {
        CliError::usage(format!("{}: {error}", self.0.display()))
    }
}

/// What is wrong with the text, and where. Not what stands there: it may be a key that somebody has put in the place of its
/// digest.
fn unread(error: &serde_json::Error) -> io::Error {
    let what = match error.classify() {
        serde_json::error::Category::Data => "not a list of keys as `key create` writes it",
        _ => "not JSON",
    };
    io::Error::other(format!("{what}: line {}, column {}", error.line(), error.column()))
}

/// 4,096 keys with long names.
const LARGEST: u64 = 4 << 20;
