//! The sorted tables on disk: `lsm-tree` without its memtables.
//!
//! Everything comes in by ingestion, which makes tables, the version file and the directories durable before it
//! makes them visible, as one. There is no journal: what was not ingested is read from the log again.
//!
//! `lsm-tree` panics on some damage that its checksums do not cover, and after a panic all its locks are
//! poisoned. So nothing is read before the checksums of the version file and, in [`verify`](Tables::verify), of
//! all tables were compared; and every call is guarded, so that a panic becomes [`CatalogError::Damaged`]. It may
//! panic: when a table's properties are not what its version wants (`ParsedMeta`), a persisted run is empty
//! (`Version::from_recovery`), a directory lies among the tables (`recover_levels`), a run or level is missing
//! (`leveled`, `run_scanner`, `range`), a key is empty or too long, or a lock is poisoned. A filter block on level
//! 0 cannot panic, since filters are partitioned everywhere and their top level is always loaded.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lsm_tree::checksum::ChecksummedWriter;
use lsm_tree::compaction::Leveled;
use lsm_tree::config::{CompressionPolicy, PinningPolicy};
use lsm_tree::{
    AbstractTree as _, AnyIngestion, AnyTree, Cache, Checksum, CompressionType, Config, Guard as _,
    SequenceNumberCounter, Slice,
};

use super::CatalogError;

pub(super) struct Tables {
    tree: AnyTree,
    dir: PathBuf,
    visible: SequenceNumberCounter,
    strategy: Arc<Leveled>,
    /// Ingestions that were not merged yet.
    unmerged: AtomicUsize,
}

/// A key and its value.
pub(super) type Entry = (Slice, Slice);

impl Tables {
    /// Opens the tables in a directory, or makes an empty one.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, CatalogError> {
        check_version(dir)?;
        let seqno = SequenceNumberCounter::default();
        let visible = SequenceNumberCounter::default();
        // Nothing is pinned, so that memory does not grow with the tables: what is loaded lies in the cache.
        let config = Config::new(dir, seqno.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(cache_bytes.max(LEAST_CACHE))))
            .index_block_pinning_policy(PinningPolicy::all(false))
            .filter_block_pinning_policy(PinningPolicy::all(false))
            .index_block_partitioning_policy(PinningPolicy::all(true))
            .filter_block_partitioning_policy(PinningPolicy::all(true))
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4));
        let tree = guarded(|| {
            let tree = config.open()?;
            let next = tree.get_highest_seqno().map_or(1, |highest| highest + 1);
            seqno.fetch_max(next);
            visible.fetch_max(next);
            Ok(tree)
        });
        let strategy = Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES));
        Ok(Self {
            tree: tree.map_err(in_opening)?,
            dir: dir.to_owned(),
            visible,
            strategy,
            unmerged: AtomicUsize::new(1),
        })
    }

    /// Compares every table with the checksum that it was written with.
    pub(super) fn verify(&self) -> Result<(), CatalogError> {
        let version = self.tree.current_version();
        let tables: Vec<_> = version.iter_tables().collect();
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let work = || {
            while let Some(table) = tables.get(next.fetch_add(1, Ordering::Relaxed)) {
                let checked = checksum(&table.path).and_then(|sum| {
                    let same = sum == table.checksum();
                    same.then_some(()).ok_or_else(|| damaged(format!("table {} has changed", table.id())))
                });
                if let Err(error) = checked {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(in_opening(error));
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Slice>, CatalogError> {
        guarded(|| self.tree.get(key, NEWEST))
    }

    /// Whether there is anything at all.
    pub(super) fn is_empty(&self) -> bool {
        self.tree.table_count() == 0
    }

    /// The entries between two keys, as they are now, whatever is ingested meanwhile.
    pub(super) fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Result<Scan, CatalogError> {
        if let (
            Bound::Included(first) | Bound::Excluded(first),
            Bound::Included(last) | Bound::Excluded(last),
        ) = (&from, &to)
            && first > last
        {
            return Ok(Scan(Box::new(std::iter::empty())));
        }
        guarded(|| Ok(Scan(self.tree.range::<Vec<u8>, _>((from, to), NEWEST, None))))
    }

    /// The entries whose key begins so.
    pub(super) fn prefix(&self, prefix: &[u8]) -> Result<Scan, CatalogError> {
        guarded(|| Ok(Scan(self.tree.prefix(prefix, NEWEST, None))))
    }

    /// Writes entries, in ascending order of their keys, as one. Either all are visible and durable afterwards,
    /// or none is. Only one thread at a time may ingest or compact.
    pub(super) fn ingest(
        &self,
        write: impl FnOnce(&mut Ingest<'_>) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        self.sweeping(|| {
            let mut ingest = Ingest(guarded(|| self.tree.ingestion())?);
            write(&mut ingest)?;
            self.unmerged.fetch_add(1, Ordering::Relaxed);
            guarded(|| ingest.0.finish())
        })
    }

    /// How often was ingested since everything was merged; at least 1 after a start.
    pub(super) fn unmerged(&self) -> usize {
        self.unmerged.load(Ordering::Relaxed)
    }

    /// Merges tables, step by step, until there is nothing worth doing or something else is to be done.
    pub(super) fn compact(&self, interrupted: impl Fn() -> bool) -> Result<(), CatalogError> {
        for _ in 0..MOST_COMPACTIONS {
            let before = self.tree.current_version().id();
            self.sweeping(|| {
                guarded(|| self.tree.compact(Arc::<Leveled>::clone(&self.strategy), self.visible.get()))
            })?;
            if self.tree.current_version().id() == before {
                break;
            }
            if interrupted() {
                return Ok(());
            }
        }
        self.unmerged.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the next table fail: there is a file in its place.
    #[cfg(test)]
    pub(super) fn block_next(&self) -> PathBuf {
        let next = self.dir.join(TABLES).join(self.tree.next_table_id().to_string());
        fs::write(&next, "in the way").expect("the directory is there");
        next
    }

    /// Bytes of all tables.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.tree.disk_space()
    }

    /// Does something that makes tables; if it fails, removes those that it has begun. Else a full disk would be
    /// kept full by the attempts to write to it.
    fn sweeping<T>(&self, make: impl FnOnce() -> Result<T, CatalogError>) -> Result<T, CatalogError> {
        let first = self.tree.next_table_id();
        make().inspect_err(|_| {
            let Ok(version) = guarded(|| Ok(self.tree.current_version())) else { return };
            let Ok(files) = fs::read_dir(self.dir.join(TABLES)) else { return };
            for file in files.flatten() {
                let id = file.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
                let begun =
                    id.is_some_and(|id| id >= first && !version.iter_tables().any(|table| table.id() == id));
                if begun && let Err(error) = fs::remove_file(file.path()) {
                    tracing::warn!(%error, "a table that was begun cannot be removed");
                }
            }
        })
    }
}

/// Entries in the order of their keys, from either end.
pub(super) struct Scan(Box<dyn DoubleEndedIterator<Item = lsm_tree::IterGuardImpl> + Send + 'static>);

impl Iterator for Scan {
    type Item = Result<Entry, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        guarded(|| self.0.next().map(|entry| entry.into_inner()).transpose()).transpose()
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        guarded(|| self.0.next_back().map(|entry| entry.into_inner()).transpose()).transpose()
    }
}

/// Takes what is to be written.
pub(super) struct Ingest<'a>(AnyIngestion<'a>);

impl Ingest<'_> {
    /// An entry; without a value, its removal.
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), CatalogError> {
        guarded(|| match value {
            Some(value) => self.0.write(key, value),
            None => self.0.write_tombstone(key),
        })
    }
}

/// `lsm-tree` keeps a checksum of its version file, and does not look at it.
fn check_version(dir: &Path) -> Result<(), CatalogError> {
    let current = match fs::read(dir.join(CURRENT)) {
        Ok(current) => current,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let tables = fs::read_dir(dir.join(TABLES)).ok().and_then(|mut files| files.next());
            return match tables {
                // It is made anew if there is nothing, and if it was not made to the end.
                None => Ok(()),
                Some(_) => Err(damaged("its tables have no version")),
            };
        }
        Err(error) => return Err(CatalogError::Io(error)),
    };
    let Some((id, rest)) = current.split_first_chunk::<8>() else {
        return Err(damaged("the name of its version is cut short"));
    };
    let Some((sum, [0])) = rest.split_first_chunk::<16>() else {
        return Err(damaged("the checksum of its version is not one"));
    };
    let file = dir.join(format!("v{}", u64::from_le_bytes(*id)));
    let same = checksum(&file).map_err(in_opening)? == Checksum::from_raw(u128::from_le_bytes(*sum));
    same.then_some(()).ok_or_else(|| damaged("its version has changed"))
}

/// The checksum of a whole file, as `lsm-tree` makes it.
fn checksum(path: &Path) -> Result<Checksum, CatalogError> {
    let mut file = File::open(path).map_err(CatalogError::Io)?;
    let mut hasher = ChecksummedWriter::new(io::sink());
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.checksum()),
            Ok(read) => hasher.write_all(&buffer[..read]).map_err(CatalogError::Io)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CatalogError::Io(error)),
        }
    }
}

/// Calls into `lsm-tree`; a panic there is damage. What it holds is not used after one, but for its locks, which
/// are poisoned and make every later call damage too.
fn guarded<T>(call: impl FnOnce() -> lsm_tree::Result<T>) -> Result<T, CatalogError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(lsm_tree::Error::Io(error))) => Err(match error.kind() {
            // A table that is gone or shorter than it was, or that names a place where nothing can be.
            io::ErrorKind::NotFound
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput => damaged(error.to_string()),
            _ => CatalogError::Io(error),
        }),
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("a table cannot be read")),
    }
}

/// A file that is missing at the start is damage: it can be made anew.
fn in_opening(error: CatalogError) -> CatalogError {
    match error {
        CatalogError::Io(error) if error.kind() == io::ErrorKind::NotFound => damaged(error.to_string()),
        other => other,
    }
}

fn damaged(reason: impl Into<String>) -> CatalogError {
    CatalogError::Damaged(reason.into())
}

/// Sees everything that is ingested.
const NEWEST: u64 = u64::MAX;
/// The names that `lsm-tree` uses.
const CURRENT: &str = "current";
const TABLES: &str = "tables";
/// The cache cannot be empty.
const LEAST_CACHE: u64 = 1 << 20;
/// Bytes of one table that a merge writes.
const TABLE_BYTES: u64 = 32 << 20;
/// Far more than there can be to do; ends a strategy that moves tables in circles.
const MOST_COMPACTIONS: usize = 1_000;
const MOST_THREADS: usize = 4;
