//! The store's directory: who may use it, and what format it has.
//!
//! ```text
//! FORMAT    two lines: what this is and in which version; the store's id
//! LOCK      locked by the process that uses the store
//! log/      the segments of the log, 0000000001.log and on
//! catalog/  derived from the log
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::frame::FORMAT;
use crate::private::{make_dir, sync_dir};

/// Why a store could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process uses the directory.
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A newer version of this program has written the directory.
    NewerFormat {
        /// The version found.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// What was durable once cannot be read any more. Nothing was changed.
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// There is something else in the directory, or the target of a backup or restore is not empty.
    NotAStore {
        /// The directory.
        dir: PathBuf,
    },
    /// The system refused.
    Io {
        /// What was to be read or written.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { dir } => {
                write!(f, "{} is used by another process; stop that, or use another directory", dir.display())
            }
            Self::NewerFormat { found, known } => write!(
                f,
                "the store has format {found}, and this version reads formats up to {known}: use the version \
                 that wrote it, or a newer one"
            ),
            Self::Damaged { file, offset, why } => write!(
                f,
                "{} is damaged at byte {offset}: {why}. Nothing was changed. Restore a backup, or move the \
                 directory away to begin with an empty one",
                file.display()
            ),
            Self::NotAStore { dir } => {
                write!(f, "{} is not empty, and not a store of this program; use another", dir.display())
            }
            Self::Io { file, error } => write!(f, "{}: {error}", file.display()),
        }
    }
}

impl std::error::Error for OpenError {}

/// Names the file in an error.
pub(super) fn at(file: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_owned();
    |error| OpenError::Io { file, error }
}

/// A store's directory, locked.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
    pub(super) store: [u8; 16],
    /// Whether it was made just now; then there is no FORMAT yet.
    pub(super) is_new: bool,
    _lock: File,
}

impl Home {
    /// Locks a directory, and makes it first if it is missing.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        make_dir(dir).map_err(at(dir))?;
        let lock = lock(dir)?;
        let (store, is_new) = match read_format(dir)? {
            Some(store) => (store, false),
            None => {
                make_dir(&dir.join(LOG)).map_err(at(dir))?;
                (fresh_store_id(dir)?, true)
            }
        };
        Ok(Self { dir: dir.to_owned(), store, is_new, _lock: lock })
    }

    /// Says that the directory is a store from now on. Its first segment must be durable.
    pub(super) fn declare(&self) -> Result<(), OpenError> {
        let file = self.dir.join(FORMAT_FILE);
        write_format(&self.dir, &self.store).map_err(at(&file))
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    pub(super) fn catalog(&self) -> PathBuf {
        self.dir.join(CATALOG)
    }
}

/// Locks the directory for this process.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let file = dir.join(LOCK);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&file).map_err(at(&file))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(at(&file)(error)),
    }
}

/// Whether a process uses the directory now.
pub(super) fn is_locked(dir: &Path) -> bool {
    let lock = File::open(dir.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The id of the store in a directory; none if the directory is empty, but for what a making that was cut short
/// leaves.
pub(super) fn read_format(dir: &Path) -> Result<Option<[u8; 16]>, OpenError> {
    let file = dir.join(FORMAT_FILE);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if is_unused(dir).map_err(at(dir))? {
                Ok(None)
            } else {
                Err(OpenError::NotAStore { dir: dir.to_owned() })
            };
        }
        Err(error) => return Err(at(&file)(error)),
    };
    let (format, store) = parse_format(&text).ok_or_else(|| OpenError::Damaged {
        file: file.clone(),
        offset: 0,
        why: "it does not say which format the store has".to_owned(),
    })?;
    if format > FORMAT {
        return Err(OpenError::NewerFormat { found: format, known: FORMAT });
    }
    Ok(Some(store))
}

/// `a2a-webcap store, format 1`, `id` and 32 digits, and a checksum, each on a line of its own.
fn parse_format(text: &[u8]) -> Option<(u32, [u8; 16])> {
    let text = std::str::from_utf8(text).ok()?;
    let (rest, sum) = text.strip_suffix('\n')?.rsplit_once("\nsum ")?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    if crc32fast::hash(rest.as_bytes()) != sum {
        return None;
    }
    let (format, id) = rest.strip_prefix(TITLE)?.split_once("\nid ")?;
    let id = u128::from_str_radix(id, 16).ok()?;
    Some((format.parse().ok()?, id.to_be_bytes()))
}

/// Written aside and renamed, so that the file is whole or absent.
pub(super) fn write_format(dir: &Path, store: &[u8; 16]) -> io::Result<()> {
    let text = format!("{TITLE}{FORMAT}\nid {:032x}", u128::from_be_bytes(*store));
    let text = format!("{text}\nsum {:08x}\n", crc32fast::hash(text.as_bytes()));
    let aside = dir.join(FORMAT_ASIDE);
    let mut file = File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(FORMAT_FILE))?;
    sync_dir(dir)
}

/// Whether there is nothing in a directory that anybody could miss.
pub(super) fn is_unused(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours =
            [LOCK, FORMAT_ASIDE, LOG, super::inspect::PROBE].iter().any(|ours| name.to_str() == Some(ours));
        // A log without FORMAT can hold no more than the head of its first segment.
        let is_empty = name.to_str() != Some(LOG) || holds_nothing(&entry.path())?;
        if !is_ours || !is_empty {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds_nothing(log: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(log)? {
        if entry?.metadata()?.len() > super::frame::SEGMENT_HEAD as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn fresh_store_id(dir: &Path) -> Result<[u8; 16], OpenError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| at(dir)(io::Error::other(error)))?;
    Ok(id)
}

const TITLE: &str = "a2a-webcap store, format ";
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_ASIDE: &str = "FORMAT.new";
const LOCK: &str = "LOCK";
const LOG: &str = "log";
const CATALOG: &str = "catalog";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_the_format_is_noticed() {
        let text = format!("{TITLE}{FORMAT}\nid {:032x}", 7);
        let text = format!("{text}\nsum {:08x}\n", crc32fast::hash(text.as_bytes())).into_bytes();
        assert_eq!(parse_format(&text), Some((FORMAT, 7_u128.to_be_bytes())));
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let parsed = parse_format(&flipped);
            // The digits of the checksum may change their case.
            assert!(parsed.is_none() || parsed == Some((FORMAT, 7_u128.to_be_bytes())), "{bit}");
        }
    }
}
