//! Verdicts over figures that are given; nothing here measures.

use super::machine::{DiskReport, FilesReport, FsyncReport, existing, size};
use super::*;
use crate::auth::{ApiKey, KeyEntry};

fn config_with_key() -> (Config, KeyEntry) {
    let entry = ApiKey::generate().unwrap().entry("dana");
    let mut config = Config::default();
    config.keys.push(entry.clone());
    (config, entry)
}

#[test]
fn every_setting_is_shown_and_no_secret() {
    let (config, entry) = config_with_key();
    let mut text = String::new();
    settings::write(&settings::shown(&config), &mut text);
    for line in ["limits.net.connections: 10000", "limits.store.reserve-bytes: 268435456", "store: not set"] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("dana") && !text.contains(&entry.sha256), "{text}");
}

#[test]
fn an_fsync_that_is_too_fast_is_pointed_out() {
    let of = |median_micros| FsyncReport { rounds: 1, median_micros, worst_micros: 900 };
    assert!(of(19).hint().unwrap().contains("tmpfs"));
    assert_eq!(of(20).hint(), None);
}

#[test]
fn a_disk_below_its_watermark_is_a_problem() {
    let of = |free_bytes| DiskReport { free_bytes, total_bytes: 1 << 40, reserve_bytes: 256 << 20 };
    assert!(of((256 << 20) - 1).problem().unwrap().contains("256.0 MiB"));
    assert_eq!(of(256 << 20).problem(), None);
}

#[test]
fn too_few_files_for_the_connections_are_pointed_out() {
    let of = |soft| FilesReport { soft, hard: None };
    assert!(of(Some(1_024)).hint(10_000).unwrap().contains("ulimit -n 10256"));
    assert_eq!(of(Some(10_256)).hint(10_000), None);
    assert_eq!(of(None).hint(10_000), None);
}

#[test]
fn memory_is_said_aloud_and_needs_no_disk() {
    let report = examine(&Config::default(), &StoreChoice::Memory);
    assert_eq!((report.durability, report.disk.is_none(), report.fsync.is_none()), ("memory", true, true));
    assert!(text(&report).contains("Durability: memory; tasks are lost when the server stops\n"));
}

#[test]
fn sizes_are_for_people() {
    for (bytes, shown) in [(0, "0 bytes"), (1_023, "1023 bytes"), (1_024, "1.0 KiB"), (3 << 29, "1.5 GiB")] {
        assert_eq!(size(bytes), shown);
    }
}

#[test]
fn a_store_that_is_not_there_yet_stands_on_the_nearest_directory_that_is() {
    let dir = std::env::temp_dir();
    assert_eq!(existing(&dir.join("no-such-folder/store")), Some(&*dir));
    assert_eq!(existing(Path::new("no-such-folder/store")), Some(Path::new(".")));
}
