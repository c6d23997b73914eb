//! The table of the manual: no cell is empty, and the tests that it names exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_rule_has_a_verdict_and_a_test_that_exists() {
    let manual = std::fs::read_to_string(package().join("docs/manual/opentracker.md")).unwrap();
    let (_, table) = manual.split_once("## Every rule of Opentracker's reference").expect("the table's heading");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let [head, rule, rows @ ..] = &rows[..] else { panic!("no table") };
    assert_eq!(head, &["rule", "verdict", "what the bridge does", "test"]);
    assert!(rule[0].starts_with("---"));
    assert!(rows.len() >= 28, "rows are missing: {}", rows.len());
    let tests = tests();
    for row in rows {
        let [rule, verdict, behaviour, test] = row[..] else { panic!("four cells: {row:?}") };
        assert!(!rule.is_empty() && !behaviour.is_empty(), "an empty cell: {row:?}");
        assert!(["adopted", "adapted", "refused", "skipped"].contains(&verdict), "{row:?}");
        let name = test.strip_prefix('`').and_then(|test| test.strip_suffix('`')).unwrap_or_default();
        assert!(tests.contains(name), "no test of this name: {row:?}");
    }
}

/// The names of all tests of this bridge.
fn tests() -> BTreeSet<String> {
    let folder = package().join("tests/opentracker");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(package().join("src/export/opentracker/tests.rs"));
    let mut names = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let after = text.split("#[test]\n").skip(1);
        names.extend(
            after.filter_map(|after| after.trim_start().strip_prefix("fn ")?.split('(').next()).map(str::to_owned),
        );
    }
    names
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
