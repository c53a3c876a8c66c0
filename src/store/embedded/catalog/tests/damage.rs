//! What a changed byte does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Dice, NOW, Place, all, answer, appended, page, point, row};
use crate::limits::StoreLimits;
use crate::model::{Id, TaskState};
use crate::store::SendKey;
use crate::store::embedded::catalog::{Catalog, CatalogError};
use crate::store::embedded::{Change, Chunk};

const TASKS: u64 = 300;

/// Several tables on several levels.
fn made() -> Place {
    let place = Place::new();
    let (catalog, _) = place.open();
    for round in 0..7 {
        let changes = (0..TASKS).filter(|n| n % 7 >= round).map(|n| {
            let state = if n % 3 == 0 { TaskState::Completed } else { TaskState::Working };
            appended(row(&format!("task {n:04}"), state, n as i64, round + 1), round + 1, n as u32)
        });
        let answers = (0..200).map(|n| Change::Remembered(answer(n, 1_000)));
        catalog.apply(changes.chain(answers).collect(), point(round + 1)).unwrap();
        catalog.flush(NOW).unwrap();
        if round == 3 {
            catalog.compact().unwrap();
        }
    }
    // What is not needed any more goes when it is opened again.
    drop(catalog);
    place.open();
    place
}

/// Everything that it says, as text; or why it cannot.
fn read(catalog: &Catalog) -> Result<Vec<String>, CatalogError> {
    let mut said = Vec::new();
    for n in 0..TASKS {
        let id: Id = format!("task {n:04}").into();
        let chunks: Vec<Chunk> = catalog.chunks(&id, 0, 100)?;
        said.push(format!("{:?} {chunks:?}", catalog.located(&id)?));
    }
    for n in 0..200 {
        said.push(format!("{:?}", catalog.remembered(&SendKey([n; 16]), NOW)?.map(|answer| answer.expires)));
    }
    said.push(format!("{:?}", catalog.list(&all(), &page(1_000))?));
    said.push(format!("{:?}", catalog.unfinished(None, 1_000)?));
    Ok(said)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("tables")).unwrap();
    for dir in ["", "tables"] {
        for entry in fs::read_dir(from.join(dir)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                fs::copy(entry.path(), to.join(dir).join(entry.file_name())).unwrap();
            }
        }
    }
}

#[test]
fn a_changed_byte_is_found_at_start_and_never_believed() {
    let place = made();
    let (catalog, _) = place.open();
    let truth = read(&catalog).unwrap();
    drop(catalog);
    let mut dice = Dice::seeded();
    let files: BTreeMap<_, _> =
        place.files().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(files.len() > 4, "{files:?}");
    let paths: Vec<_> = files.keys().collect();
    for round in 0..200 {
        let damaged = Place::new();
        copy(&place.0, &damaged.0);
        let path = paths[round % paths.len()];
        let mut bytes = files[path].clone();
        let at = dice.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << dice.below(8);
        if dice.chance(20) {
            bytes.truncate(at);
        }
        fs::write(damaged.0.join(path.strip_prefix(&place.0).unwrap()), bytes).unwrap();
        let what = format!("byte {at} of {}", path.display());
        let (catalog, from) = match Catalog::open(&damaged.0, &StoreLimits::default()) {
            Ok(opened) => opened,
            Err(CatalogError::Damaged(_)) => continue,
            Err(error) => panic!("{error}: {what}"),
        };
        assert!(matches!(catalog.verify(), Err(CatalogError::Damaged(_))), "{what}");
        assert_eq!(from, point(7), "{what}");
        // Even unverified, it says what is true or that it cannot tell.
        match read(&catalog) {
            Ok(said) => assert_eq!(said, truth, "{what}"),
            Err(CatalogError::Damaged(_)) => {}
            Err(error) => panic!("{error}: {what}"),
        }
    }
}

#[test]
fn a_missing_file_is_found_at_start() {
    let place = made();
    let files = place.files();
    for file in files {
        let damaged = Place::new();
        copy(&place.0, &damaged.0);
        fs::remove_file(damaged.0.join(file.strip_prefix(&place.0).unwrap())).unwrap();
        let opened = Catalog::open(&damaged.0, &StoreLimits::default());
        assert!(matches!(opened, Err(CatalogError::Damaged(_))), "{}", file.display());
    }
}

#[test]
fn what_was_begun_and_never_finished_is_swept_away() {
    let place = made();
    fs::write(place.0.join("tables/999"), "half a table").unwrap();
    fs::write(place.0.join("v999"), "half a version").unwrap();
    let (catalog, from) = place.open();
    catalog.verify().unwrap();
    assert_eq!(from, point(7));
    assert!(!place.0.join("tables/999").exists() && !place.0.join("v999").exists());
}
