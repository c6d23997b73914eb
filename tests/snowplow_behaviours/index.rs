//! `README.md` has a row for each behaviour; here it is held to the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Asked at run time: checkouts that share a target folder also share test binaries.
fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
}

struct Row {
    number: usize,
    behaviour: String,
    /// The named tests, `path::name`, or why there is none.
    cell: String,
}

impl Row {
    fn tests(&self) -> Vec<(&str, &str)> {
        self.cell.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.rsplit_once("::")).collect()
    }
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("tests/snowplow_behaviours/README.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix('|')?.strip_suffix('|')?.split(" | ").map(str::trim).collect();
        let number = cells.first()?.parse().ok()?;
        let [_, behaviour, cell] = cells[..] else { panic!("a row of three cells: {line}") };
        Some(Row { number, behaviour: behaviour.to_owned(), cell: cell.to_owned() })
    });
    rows.collect()
}

/// The names of a file's tests.
fn tests_of(path: &str) -> BTreeSet<String> {
    let source = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut names = BTreeSet::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
            if marked {
                names.insert(name.to_owned());
            }
            marked = false;
        }
        marked |= line == "#[test]";
    }
    names
}

#[test]
fn every_behaviour_has_one_row_with_a_test_or_a_reason() {
    let rows = rows();
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    for row in rows {
        assert!(row.behaviour.len() > 10, "{} does not say what is asserted", row.number);
        let reason = row.cell.split_once("no test: ").map(|(_, reason)| reason);
        assert!(!row.tests().is_empty() || reason.is_some_and(|it| it.len() > 20), "{} is empty", row.number);
    }
}

#[test]
fn every_test_that_a_row_names_exists() {
    for row in rows() {
        for (path, name) in row.tests() {
            assert!(tests_of(path).contains(name), "{}: there is no test {name} in {path}", row.number);
        }
    }
}

#[test]
fn every_numbered_test_stands_in_the_row_of_its_number() {
    let rows = rows();
    for folder in ["snowplow_behaviours", "collector_snowplow"] {
        for entry in fs::read_dir(root().join("tests").join(folder)).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            if !file.ends_with(".rs") {
                continue;
            }
            let path = format!("tests/{folder}/{file}");
            for test in tests_of(&path) {
                let number = test.strip_prefix('b').and_then(|rest| rest.split('_').next()?.parse::<usize>().ok());
                let Some(number) = number else { continue };
                let row = rows.iter().find(|row| row.number == number);
                let named = row.is_some_and(|row| row.tests().contains(&(path.as_str(), test.as_str())));
                assert!(named, "row {number} does not name {path}::{test}");
            }
        }
    }
}
