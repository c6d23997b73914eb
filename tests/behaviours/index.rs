//! `README.md` lists every behaviour and every mistake; here it is held to the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The tests that a folder's sources have, by the first letter of their names and a number.
fn tests_in(folder: &str, letter: char) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(tests().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let mut test = false;
        for line in source.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
                if test && is_numbered(name, letter) {
                    assert!(names.insert(name.to_owned()), "{name} stands twice");
                }
                test = false;
            }
            test |= line == "#[test]";
        }
    }
    names
}

fn is_numbered(name: &str, letter: char) -> bool {
    name.strip_prefix(letter).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Asked at run time: checkouts that share a target folder also share test binaries.
fn tests() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("tests")
}

/// Every row of a table whose numbers begin with `letter`: its number and its last cell.
fn rows(letter: char) -> Vec<(usize, String)> {
    let text = fs::read_to_string(tests().join("behaviours/README.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let number = cells.next()?.strip_prefix(letter)?.parse().ok()?;
        Some((number, cells.last()?.to_owned()))
    });
    rows.collect()
}

fn assert_index_is_true(letter: char, folder: &str, last: usize) {
    let rows = rows(letter);
    assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    let mut named = BTreeSet::new();
    for (number, cell) in &rows {
        let tests: Vec<&str> = cell.split('`').filter(|word| is_numbered(word, letter)).collect();
        assert!(!tests.is_empty() || cell.contains("no test:"), "{letter}{number} has neither a test nor a reason");
        named.extend(tests.into_iter().map(str::to_owned));
    }
    let existing = tests_in(folder, letter);
    assert_eq!(named.difference(&existing).collect::<Vec<_>>(), [] as [&String; 0], "named, but not there");
    assert_eq!(existing.difference(&named).collect::<Vec<_>>(), [] as [&String; 0], "there, but not named");
}

#[test]
fn every_behaviour_has_a_test_that_exists_or_a_reason() {
    assert_index_is_true('b', "behaviours", 81);
}

#[test]
fn every_mistake_has_a_test_that_exists_or_a_reason() {
    assert_index_is_true('m', "mistakes", 36);
}
