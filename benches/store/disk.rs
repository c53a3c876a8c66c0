//! Where the data goes, and how much of it there is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::process::Process;

/// A directory for one process's data. It is removed with this value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty one; `name` tells those of one benchmark apart.
    pub(crate) fn new(name: &str) -> Outcome<Self> {
        let root = std::env::var_os("A2A_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
        let dir = PathBuf::from(root).join(format!("bench-store-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// For a command line.
    pub(crate) fn text(&self) -> Outcome<&str> {
        Ok(self.0.to_str().ok_or("the path of the target directory is not UTF-8")?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is found by whoever looks at the disk.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what a run has left, and waits until the disk is done with it, so that the next run does not pay for it.
pub(crate) fn clear(dir: &Path) -> Outcome<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(fs::File::open(dir)?.sync_all()?)
}

/// Bytes of all files below a directory. What is removed meanwhile does not count.
pub(crate) fn size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

impl Process {
    /// How many files, sockets and so on it has open.
    pub(crate) fn open_files(&self) -> Outcome<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}
