//! Holds the code to ARCHITECTURE.md: who may import whom, how long a file may be, what every file begins with.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, top to bottom: a module imports only from modules above it. Those on one line are one layer,
/// and do not import each other.
const LAYERS: &[&[&str]] = &[
    &["fault"],
    &["model"],
    &["clock", "limits", "private", "shutdown", "trace"],
    &["store", "auth"],
    &["authority"],
    &["operations", "agent"],
    &["engine"],
    &["push"],
    &["service"],
    &["wire"],
    &["transport"],
    &["stream"],
    &["capability"],
    &["client"],
    &["bindings"],
    &["agents"],
    &["net"],
    &["config"],
    &["server"],
    &["cli"],
];

/// What a client build consists of. None of it imports anything else.
const CLIENT: &[&str] =
    &["fault", "model", "clock", "limits", "shutdown", "trace", "wire", "transport", "client"];

const LONGEST_FILE: usize = 700;

#[test]
fn modules_import_only_from_layers_above() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let Some(here) = top_module(&path) else { continue };
        let own = layer(&here);
        for import in imports(&text) {
            let theirs = layer(&import);
            let same_module = import == here;
            let allowed = same_module || theirs < own;
            if !allowed {
                wrong.push(format!("{} imports crate::{import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the layers of ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn bindings_do_not_import_each_other() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src/bindings") {
        for line in
            code(&text).filter(|line| line.contains("crate::bindings::") || line.contains("super::super::"))
        {
            wrong.push(format!("{}: {line}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_client_needs_no_server_module() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let Some(here) = top_module(&path) else { continue };
        if !CLIENT.contains(&here.as_str()) {
            continue;
        }
        for import in imports(&text).filter(|import| !CLIENT.contains(&import.as_str())) {
            wrong.push(format!("{} imports crate::{import}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_begins_with_what_it_is_and_stays_short() {
    let mut wrong = Vec::new();
    for (path, text) in ["src", "tests", "examples", "benches"].into_iter().flat_map(sources) {
        if !text.starts_with("//!") {
            wrong.push(format!("{}: no `//!` at its head", path.display()));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{}: {lines} lines; {LONGEST_FILE} are allowed", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_stay_under_eighty_lines() {
    for (path, text) in sources("examples") {
        let lines = text.lines().count();
        assert!(lines <= 80, "{}: {lines} lines", path.display());
    }
}

#[test]
fn only_the_clock_asks_the_system_for_the_time() {
    for (path, text) in sources("src") {
        if path.ends_with("clock.rs") {
            continue;
        }
        for line in code(&text) {
            assert!(!line.contains("SystemTime::now"), "{}: {line}", path.display());
        }
    }
}

/// The modules of this crate that a file names, without its tests.
fn imports(text: &str) -> impl Iterator<Item = String> {
    code(text).flat_map(|line| {
        line.match_indices("crate::")
            .map(|(at, found)| &line[at + found.len()..])
            .map(|rest| {
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
            })
            .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
            .collect::<Vec<_>>()
    })
}

/// The lines of a file that are neither comments nor its unit tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
}

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|names| names.contains(&module));
    found.unwrap_or_else(|| {
        panic!("module `{module}` has no layer: give it one in LAYERS and ARCHITECTURE.md")
    })
}

/// `src/engine/feed.rs` → `engine`. The crate's two roots belong to no layer.
fn top_module(path: &Path) -> Option<String> {
    let inside = path.strip_prefix("src").ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let name = first.trim_end_matches(".rs");
    (name != "lib" && name != "main").then(|| name.to_owned())
}

fn sources(root: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable folder").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("source is UTF-8");
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}
