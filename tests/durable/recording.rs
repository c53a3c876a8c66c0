//! What a program did to a directory, call by call: a trace turned into steps on files and directories.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::scratch::Tree;
use crate::trace::{Call, calls};

/// A file or a directory, whatever it is called at the time.
pub(crate) type Node = usize;

/// The directory itself.
pub(crate) const ROOT: Node = 0;

/// What was done, and when.
#[derive(Debug)]
pub(crate) struct Step {
    /// It was not done before this line of the trace,
    pub(crate) begin: usize,
    /// and was done before this one.
    pub(crate) end: usize,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A file or directory comes to be.
    Make {
        parent: Node,
        name: String,
        node: Node,
    },
    Write {
        node: Node,
        at: usize,
        bytes: Vec<u8>,
    },
    Resize {
        node: Node,
        bytes: usize,
    },
    Rename {
        from: (Node, String),
        to: (Node, String),
    },
    Remove {
        parent: Node,
        name: String,
    },
    /// A file's content, or a directory's entries, are on the disk.
    Sync {
        node: Node,
    },
}

/// What is known of a file or directory at the end.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Directory(BTreeMap<String, Node>),
    File(Vec<u8>),
}

/// Everything that a run did to one directory.
pub(crate) struct Recording {
    /// What was there before.
    pub(crate) before: Vec<Content>,
    /// In the order in which they were done.
    pub(crate) steps: Vec<Step>,
    /// What is there after, as far as the program can see.
    pub(crate) after: Vec<Content>,
    /// Lines of the ledger: when each began to be written, and its text.
    pub(crate) ledger: Vec<(usize, String)>,
    /// Lines of the trace.
    pub(crate) lines: usize,
}

/// What the calls to be recorded are. Reads are among them since they move a file's place.
pub(crate) const RECORDED: &str = "openat,open,openat2,creat,close,dup,dup2,dup3,fcntl,read,readv,lseek,write,\
    pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,sync,syncfs,rename,renameat,renameat2,\
    ftruncate,truncate,fallocate,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,\
    copy_file_range,sendfile,mmap,msync,io_uring_setup";

/// An open file: duplicates share its place.
#[derive(Clone)]
enum Open {
    Ours { node: Node, place: Rc<Cell<usize>>, appends: bool },
    Ledger,
}

struct Recorder<'a> {
    root: &'a Path,
    ledger_path: &'a Path,
    nodes: Vec<Content>,
    open: HashMap<i64, Open>,
    recording: Recording,
}

impl Recording {
    /// Reads a trace of a program that worked in `root`, which held `before`, and wrote to a ledger elsewhere.
    pub(crate) fn of(trace: &str, root: &Path, before: &Tree, ledger: &Path) -> Self {
        let nodes = planted(before);
        let recording = Self {
            before: nodes.clone(),
            steps: Vec::new(),
            after: Vec::new(),
            ledger: Vec::new(),
            lines: trace.lines().count(),
        };
        let mut recorder = Recorder { root, ledger_path: ledger, nodes, open: HashMap::new(), recording };
        // A descriptor that is given back may be given out again before the call returns.
        let mut calls = calls(trace);
        calls.sort_by_key(|call| if call.name == "close" { call.begin } else { call.end });
        for call in &calls {
            recorder.see(call);
        }
        Self { after: recorder.nodes, ..recorder.recording }
    }

    /// What a path leads to at the end.
    pub(crate) fn node_after(&self, path: &Path) -> Option<Node> {
        find(&self.after, path)
    }

    /// The directory as the program saw it at the end.
    pub(crate) fn tree_after(&self) -> Tree {
        let mut tree = Tree::default();
        harvest(&self.after, ROOT, Path::new(""), &mut tree);
        tree
    }
}

fn planted(tree: &Tree) -> Vec<Content> {
    let mut nodes = vec![Content::Directory(BTreeMap::new())];
    for (path, content) in &tree.0 {
        let parent =
            path.parent().and_then(|parent| find(&nodes, parent)).expect("its directory came before");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned();
        let node = nodes.len();
        nodes.push(content.clone().map_or(Content::Directory(BTreeMap::new()), Content::File));
        entries(&mut nodes, parent).insert(name, node);
    }
    nodes
}

fn harvest(nodes: &[Content], node: Node, path: &Path, tree: &mut Tree) {
    let Content::Directory(entries) = &nodes[node] else { return };
    for (name, node) in entries {
        let path = path.join(name);
        match &nodes[*node] {
            Content::File(bytes) => tree.0.insert(path.clone(), Some(bytes.clone())),
            Content::Directory(_) => tree.0.insert(path.clone(), None),
        };
        harvest(nodes, *node, &path, tree);
    }
}

fn find(nodes: &[Content], path: &Path) -> Option<Node> {
    path.components().try_fold(ROOT, |node, part| match &nodes[node] {
        Content::Directory(entries) => entries.get(part.as_os_str().to_str()?).copied(),
        Content::File(_) => None,
    })
}

fn entries(nodes: &mut [Content], node: Node) -> &mut BTreeMap<String, Node> {
    match &mut nodes[node] {
        Content::Directory(entries) => entries,
        Content::File(_) => panic!("a file has no entries"),
    }
}

/// Writes, and fills what lies between with zeros.
pub(crate) fn overwrite(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

impl Recorder<'_> {
    fn see(&mut self, call: &Call) {
        let name = call.name.as_str();
        // Where the program was ended in the midst of a call, nobody knows whether it was done; the last write is
        // taken for done as far as it goes, since power losses are tried before its end anyway.
        let Some(returned) = call.returned else { return };
        match name {
            "openat" | "open" | "creat" => self.opens(call, returned),
            "close" => drop(self.open.remove(&call.number(0).expect("a descriptor"))),
            "dup" | "dup2" | "dup3" => self.duplicates(call, returned),
            "fcntl" if call.says(1, "F_DUPFD_CLOEXEC") || call.says(1, "F_DUPFD") => {
                self.duplicates(call, returned);
            }
            "fcntl" => {}
            "read" | "readv" | "write" | "writev" | "lseek" => self.moves(call, returned),
            "pwrite64" | "pwritev" | "pwritev2" => {
                let bytes = if name == "pwrite64" { call.bytes(1) } else { call.buffers(1) };
                self.writes(call, Some(call.offset(3)), bytes, returned);
            }
            "fsync" | "fdatasync" => {
                if let Some(node) = self.node(call, 0) {
                    self.step(call, What::Sync { node });
                }
            }
            "ftruncate" | "fallocate" => self.resizes(call),
            "mkdir" | "mkdirat" => self.makes_directory(call, usize::from(name == "mkdirat")),
            "rename" | "renameat" | "renameat2" => self.renames(call, name != "rename"),
            "unlink" | "rmdir" | "unlinkat" => self.removes(call, usize::from(name == "unlinkat")),
            "sync_file_range" => {}
            "mmap" => {
                let shared = call.says(3, "MAP_SHARED") && call.says(2, "PROT_WRITE");
                assert!(!shared || self.node(call, 4).is_none(), "writes by mmap are not seen: {call:?}");
            }
            _ => self.must_not_concern_us(call),
        }
    }

    /// A call that these tests do not understand must be about something else.
    fn must_not_concern_us(&self, call: &Call) {
        let concerns = (0..call.arguments.len()).any(|index| {
            let descriptor = call.number(index).is_some_and(|number| self.open.contains_key(&number));
            let path = call.arguments[index].starts_with('"') && self.ours(&call.path(index)).is_some();
            descriptor || path
        });
        let about_all = ["sync", "syncfs", "io_uring_setup"].contains(&call.name.as_str());
        assert!(!concerns && !about_all, "the recorder does not know this call: {call:?}");
    }

    /// The part of a path under our directory.
    fn ours(&self, path: &str) -> Option<PathBuf> {
        let inside = Path::new(path).strip_prefix(self.root).ok()?;
        assert!(inside.components().all(|part| matches!(part, Component::Normal(_))), "a plain path: {path}");
        Some(inside.to_owned())
    }

    /// The directory that a path is in, and its name there; none outside.
    fn place(&self, path: &str) -> Option<(Node, String)> {
        let inside = self.ours(path)?;
        let name = inside.file_name()?.to_str()?.to_owned();
        Some((find(&self.nodes, inside.parent()?)?, name))
    }

    fn node(&self, call: &Call, index: usize) -> Option<Node> {
        match self.open.get(&call.number(index)?)? {
            Open::Ours { node, .. } => Some(*node),
            Open::Ledger => None,
        }
    }

    fn step(&mut self, call: &Call, what: What) {
        match &what {
            What::Make { parent, name, node } => {
                entries(&mut self.nodes, *parent).insert(name.clone(), *node);
            }
            What::Write { node, at, bytes } => overwrite(self.file(*node), *at, bytes),
            What::Resize { node, bytes } => self.file(*node).resize(*bytes, 0),
            What::Rename { from, to } => {
                let moved = entries(&mut self.nodes, from.0).remove(&from.1).expect("it was renamed");
                entries(&mut self.nodes, to.0).insert(to.1.clone(), moved);
            }
            What::Remove { parent, name } => {
                entries(&mut self.nodes, *parent).remove(name).expect("it was removed");
            }
            What::Sync { .. } => {}
        }
        self.recording.steps.push(Step { begin: call.begin, end: call.end, what });
    }

    fn file(&mut self, node: Node) -> &mut Vec<u8> {
        match &mut self.nodes[node] {
            Content::File(bytes) => bytes,
            Content::Directory(_) => panic!("a directory has no bytes"),
        }
    }

    fn make(&mut self, call: &Call, (parent, name): (Node, String), content: Content) -> Node {
        let node = self.nodes.len();
        self.nodes.push(content);
        self.step(call, What::Make { parent, name, node });
        node
    }

    fn opens(&mut self, call: &Call, descriptor: i64) {
        let first = usize::from(call.name == "openat");
        let (path, flags) = (call.path(first), first + 1);
        if Path::new(&path) == self.ledger_path {
            self.open.insert(descriptor, Open::Ledger);
            return;
        }
        let Some(inside) = self.ours(&path) else { return };
        let node = match find(&self.nodes, &inside) {
            Some(node) => {
                if call.says(flags, "O_TRUNC") || call.name == "creat" {
                    self.step(call, What::Resize { node, bytes: 0 });
                }
                node
            }
            None => {
                let place = self.place(&path).expect("its directory is there");
                self.make(call, place, Content::File(Vec::new()))
            }
        };
        let appends = call.says(flags, "O_APPEND");
        self.open.insert(descriptor, Open::Ours { node, place: Rc::default(), appends });
    }

    fn duplicates(&mut self, call: &Call, descriptor: i64) {
        if let Some(open) = call.number(0).and_then(|old| self.open.get(&old)) {
            self.open.insert(descriptor, open.clone());
        }
    }

    /// Calls that act on a file's own place.
    fn moves(&mut self, call: &Call, returned: i64) {
        let open = call.number(0).and_then(|descriptor| self.open.get(&descriptor)).cloned();
        let length = usize::try_from(returned).expect("not negative");
        match (open, call.name.as_str()) {
            (Some(Open::Ledger), "write" | "writev") => {
                let bytes = if call.name == "write" { call.bytes(1) } else { call.buffers(1) };
                let text = String::from_utf8(bytes).expect("the ledger is text");
                self.recording.ledger.extend(text.lines().map(|line| (call.begin, line.to_owned())));
            }
            (Some(Open::Ours { place, .. }), "lseek") => place.set(length),
            (Some(Open::Ours { place, .. }), "read" | "readv") => place.set(place.get() + length),
            (Some(Open::Ours { .. }), _) => {
                let bytes = if call.name == "write" { call.bytes(1) } else { call.buffers(1) };
                self.writes(call, None, bytes, returned);
            }
            _ => {}
        }
    }

    /// At an offset, or else at the file's own place.
    fn writes(&mut self, call: &Call, offset: Option<usize>, mut bytes: Vec<u8>, returned: i64) {
        let open = call.number(0).and_then(|descriptor| self.open.get(&descriptor)).cloned();
        let Some(Open::Ours { node, place, appends }) = open else { return };
        bytes.truncate(usize::try_from(returned).expect("not negative"));
        let at = match offset {
            _ if appends => self.file(node).len(),
            Some(offset) => offset,
            None => place.get(),
        };
        if offset.is_none() {
            place.set(at + bytes.len());
        }
        self.step(call, What::Write { node, at, bytes });
    }

    fn resizes(&mut self, call: &Call) {
        let Some(node) = self.node(call, 0) else { return };
        let bytes = if call.name == "ftruncate" {
            call.offset(1)
        } else {
            match call.number(1) {
                Some(0) => self.file(node).len().max(call.offset(2) + call.offset(3)),
                _ if call.says(1, "FALLOC_FL_KEEP_SIZE") => return,
                _ => panic!("the recorder does not know this call: {call:?}"),
            }
        };
        self.step(call, What::Resize { node, bytes });
    }

    fn makes_directory(&mut self, call: &Call, index: usize) {
        if let Some(place) = self.place(&call.path(index)) {
            self.make(call, place, Content::Directory(BTreeMap::new()));
        }
    }

    fn renames(&mut self, call: &Call, at: bool) {
        let (from, to) = if at { (1, 3) } else { (0, 1) };
        let (from, to) = (self.place(&call.path(from)), self.place(&call.path(to)));
        match (from, to) {
            (Some(from), Some(to)) => self.step(call, What::Rename { from, to }),
            (None, None) => {}
            _ => panic!("into or out of the directory: {call:?}"),
        }
    }

    fn removes(&mut self, call: &Call, index: usize) {
        let in_directory = index == 1 && call.number(0).is_some();
        let place = if in_directory {
            // Relative to an open directory, as when a whole tree is removed.
            self.node(call, 0).map(|parent| (parent, call.path(1)))
        } else {
            self.place(&call.path(index))
        };
        if let Some((parent, name)) = place {
            self.step(call, What::Remove { parent, name });
        }
    }
}
