//! `tests/scenarios.tsv` names a test for each scenario that is done, and each such test exists.

use std::collections::BTreeSet;
use std::path::Path;

/// The folders of the test programs.
const PROGRAMS: [&str; 3] = ["all", "durable", "survival"];

/// Every `fn` of the integration tests.
fn functions() -> BTreeSet<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut names = BTreeSet::new();
    let entries = |folder: &str| std::fs::read_dir(tests.join(folder)).unwrap();
    for entry in PROGRAMS.into_iter().flat_map(entries) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(path).unwrap();
            names.extend(source.lines().filter_map(|line| {
                let rest = line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?;
                rest.split(['(', '<']).next().map(str::to_owned)
            }));
        }
    }
    names
}

#[test]
fn every_scenario_names_a_test_that_exists_and_every_named_test_has_its_row() {
    let table = include_str!("../scenarios.tsv");
    let functions = functions();
    let mut listed = BTreeSet::new();
    for line in table.lines().skip(1) {
        let [id, test, bindings] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not three columns: {line:?}");
        };
        let prefix = format!("{}_", id.to_ascii_lowercase().replace('-', "_"));
        assert!(test.starts_with(&prefix), "{id}: {test} does not begin with {prefix}");
        assert!(functions.contains(test), "{id}: there is no test called {test}");
        assert!(bindings.split(',').all(|binding| binding == "capnp"), "{id}: {bindings}");
        assert!(listed.insert(test), "{test} stands twice");
    }
    let is_named = |name: &&String| {
        let (area, number) = (name.get(..3).unwrap_or_default(), name.get(3..5).unwrap_or_default());
        matches!(area, "cw_" | "gc_" | "as_" | "ak_") && number.ends_with(|c: char| c.is_ascii_digit())
    };
    let unlisted: Vec<_> =
        functions.iter().filter(is_named).filter(|name| !listed.contains(&***name)).collect();
    assert!(unlisted.is_empty(), "without a row in tests/scenarios.tsv: {unlisted:?}");
}
