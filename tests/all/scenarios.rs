//! `tests/scenarios.tsv` names a test for each scenario that is done, and over what it runs; and it is so.
//!
//! Each test program asks itself which tests it has. A test in `over_` one wire runs over that (see
//! `party::on_wires`), one in `every_wire` over all of them at once; another runs over the wire of its file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::party::Wire;

/// The folders of the test programs.
const PROGRAMS: [&str; 3] = ["all", "durable", "survival"];

/// Every `fn` of a test program.
fn functions(program: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(program);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
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

/// The names of the tests that this program runs, each with the wires that it runs over.
fn run_here() -> BTreeMap<String, BTreeSet<String>> {
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let ignored = listed(&["--ignored"]);
    for path in listed(&[]).difference(&ignored) {
        let mut modules: Vec<&str> = path.split("::").collect();
        let name = modules.pop().expect("a test has a name");
        let wires: Vec<String> = match modules.last() {
            Some(&"every_wire") => Wire::ALL.iter().map(Wire::to_string).collect(),
            Some(&"over_capnweb") => vec![Wire::Capnweb.to_string()],
            Some(&"operations") => vec!["http".to_owned()],
            // The files that speak Cap'n Web and nothing else.
            Some(file) if file.starts_with("capnweb") || *file == "web_scenarios" => {
                vec![Wire::Capnweb.to_string()]
            }
            _ => vec![Wire::Capnp.to_string()],
        };
        tests.entry(name.to_owned()).or_default().extend(wires);
    }
    tests
}

pub(crate) fn listed(more: &[&str]) -> BTreeSet<String> {
    let this = std::env::current_exe().unwrap();
    let ran = Command::new(this).args(["--list", "--format", "terse"]).args(more).output().unwrap();
    let lines = String::from_utf8(ran.stdout).unwrap();
    lines.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

fn is_scenario(name: &str) -> bool {
    let (area, number) = (name.get(..3).unwrap_or_default(), name.get(3..5).unwrap_or_default());
    matches!(area, "ad_" | "cw_" | "gc_" | "as_" | "ak_") && number.ends_with(|c: char| c.is_ascii_digit())
}

#[test]
fn every_scenario_names_a_test_that_runs_over_its_bindings_and_every_named_test_has_its_row() {
    let (here, others): (Vec<_>, Vec<_>) =
        PROGRAMS.into_iter().partition(|program| *program == env!("CARGO_CRATE_NAME"));
    let here = functions(here.first().expect("one of the programs"));
    let others: BTreeSet<String> = others.into_iter().flat_map(functions).collect();
    let mut run = run_here();
    run.retain(|name, _| is_scenario(name));
    for line in include_str!("../scenarios.tsv").lines().skip(1) {
        let [id, test, bindings] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not three columns: {line:?}");
        };
        let prefix = format!("{}_", id.to_ascii_lowercase().replace('-', "_"));
        assert!(test.starts_with(&prefix), "{id}: {test} does not begin with {prefix}");
        let named: BTreeSet<String> = bindings.split(',').map(str::to_owned).collect();
        if here.contains(test) {
            let wires = run.remove(test).unwrap_or_default();
            assert_eq!(wires, named, "{id}: over these wires {test} runs, and for these it is listed");
        } else {
            assert!(others.contains(test), "{id}: there is no test called {test}");
        }
    }
    assert!(run.is_empty(), "without a row in tests/scenarios.tsv, or with two: {run:?}");
}
