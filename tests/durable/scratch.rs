//! Directories that are gone when a test is over, and what is in a directory, as bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory of its own, in memory where there is such a place: what a power loss leaves is made up, so that
/// no real disk is needed.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("a2a-webcap-durable-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A directory and everything under it, by relative path: bytes of a file, or none for a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree(pub(crate) BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Tree {
    pub(crate) fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        tree.add(root, Path::new(""));
        tree
    }

    fn add(&mut self, root: &Path, under: &Path) {
        for entry in fs::read_dir(root.join(under)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = under.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                self.0.insert(path.clone(), None);
                self.add(root, &path);
            } else {
                self.0.insert(path, Some(fs::read(entry.path()).expect("a file")));
            }
        }
    }

    /// Makes the directory anew.
    pub(crate) fn write(&self, root: &Path) {
        let _ = fs::remove_dir_all(root);
        fs::create_dir_all(root).expect("a new directory");
        for (path, content) in &self.0 {
            match content {
                Some(bytes) => fs::write(root.join(path), bytes).expect("a new file"),
                None => fs::create_dir(root.join(path)).expect("a new directory"),
            }
        }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.0.iter().filter_map(|(path, content)| Some((path.as_path(), content.as_deref()?)))
    }

    /// Where two trees first differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let paths = self.0.keys().chain(other.0.keys());
        let path = paths.into_iter().find(|path| self.0.get(*path) != other.0.get(*path))?;
        let of = |tree: &Self| match tree.0.get(path) {
            None => "absent".to_owned(),
            Some(None) => "a directory".to_owned(),
            Some(Some(bytes)) => format!("{} bytes", bytes.len()),
        };
        let (Some(Some(one)), Some(Some(two))) = (self.0.get(path), other.0.get(path)) else {
            return Some(format!("{}: {} against {}", path.display(), of(self), of(other)));
        };
        let at = one.iter().zip(two).position(|(one, two)| one != two);
        Some(format!("{}: {} against {}, from {at:?}", path.display(), of(self), of(other)))
    }
}
