//! The tables of the manual: complete, true to the code, and each row held by a test that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use otel_session::export::snowplow::{TrackerOption, javascript_options, python_options};

const HEAD: &str = "| option | ours | verdict | effect | tests |";

struct Row {
    section: String,
    option: String,
    ours: String,
    verdict: String,
    effect: String,
    tests: Vec<String>,
}

#[test]
fn no_cell_of_the_options_tables_is_empty() {
    for row in rows() {
        for cell in [&row.option, &row.ours, &row.verdict, &row.effect] {
            assert!(!cell.trim().is_empty(), "{}: {}", row.section, row.option);
        }
        assert!(["adopted", "adapted", "no effect", "refused"].contains(&row.verdict.as_str()), "{}", row.option);
        assert!(!row.tests.is_empty(), "{} names no test", row.option);
        assert!(row.ours != "-" || !row.verdict.starts_with("ada") || row.option.ends_with("config"), "{}", row.option);
    }
}

#[test]
fn every_test_that_a_row_names_exists() {
    let tests = tests_of_this_program();
    assert!(tests.len() > 80, "{}", tests.len());
    let missing: BTreeSet<_> =
        rows().into_iter().flat_map(|row| row.tests).filter(|test| !tests.contains(test.as_str())).collect();
    assert!(missing.is_empty(), "the manual names tests that do not exist: {missing:?}");
}

#[test]
fn the_tables_say_what_the_code_does() {
    for (section, options) in [("JavaScript", javascript_options()), ("Python: `create", python_options())] {
        let rows: BTreeMap<String, Row> =
            rows().into_iter().filter(|it| it.section.contains(section)).map(|it| (it.option.clone(), it)).collect();
        for option in options {
            let row = rows.get(option.name).unwrap_or_else(|| panic!("{section}: no row for {}", option.name));
            assert_eq!(row.verdict, option.verdict.as_str(), "{}", option.name);
            assert_eq!(row.ours, ours(option), "{}", option.name);
            assert!(option.note.is_empty() || row.effect == option.note, "{}: {}", option.name, row.effect);
        }
        let known: BTreeSet<_> = options.iter().map(|it| it.name).collect();
        let strange: Vec<_> = rows.keys().filter(|it| !known.contains(it.as_str())).collect();
        assert!(strange.is_empty(), "{section}: rows of options that the code does not know: {strange:?}");
    }
}

#[test]
fn every_option_of_the_trackers_documents_has_a_row() {
    let folder = package().join("../shared/seeds");
    let Ok(files) = fs::read_dir(&folder) else {
        let message = format!("the trackers' documents are not there: {}", folder.display());
        assert!(std::env::var("OTEL_SESSION_REQUIRE").as_deref() != Ok("1"), "{message}");
        println!("skipped: {message}");
        return;
    };
    let texts: Vec<String> = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let document = |mark: &str| texts.iter().find(|it| it.contains(mark)).unwrap_or_else(|| panic!("{mark}"));
    let rows: BTreeSet<String> = rows().into_iter().map(|row| row.option).collect();
    let last_names: BTreeSet<&str> = rows.iter().filter_map(|it| it.split('.').next_back()).collect();

    let javascript = keys_of_javascript(document("cookieSameSite"));
    let python = arguments_of_python(document("custom_retry_codes"));
    for known in [
        "appId",
        "maxGetBytes",
        "webPage",
        "onSessionUpdateCallback",
        "customHeaders",
        "withCredentials",
        "userId",
        "tabId",
    ] {
        assert!(javascript.contains(known), "{known} was not found in the document: {javascript:?}");
    }
    for known in ["namespace", "emitters", "byte_limit", "custom_retry_codes", "session", "json_encoder"] {
        assert!(python.contains(known), "{known} was not found in the document: {python:?}");
    }
    let missing: Vec<_> = javascript.iter().chain(&python).filter(|key| !last_names.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// Keys of the samples (`appId: ..`), attributes of the contexts (`userId | ..`), and calls.
fn keys_of_javascript(text: &str) -> BTreeSet<String> {
    let is_name = |it: &str| {
        it.starts_with(|c: char| c.is_ascii_lowercase())
            && it.len() > 2
            && it.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        let line = line.trim().trim_start_matches("// ").trim_matches('_');
        for separator in [":", " | "] {
            if let Some((key, _)) = line.split_once(separator) {
                keys.extend(is_name(key.trim_end_matches('_')).then(|| key.trim_end_matches('_').to_owned()));
            }
        }
        // What a sample nests in one line.
        for (at, _) in line.match_indices("{ ") {
            let key = line[at + 2..].split(':').next().unwrap_or("");
            keys.extend((is_name(key) && line.contains(':')).then(|| key.to_owned()));
        }
        for call in ["setOptOutCookie", "flushBuffer", "getCookieName", "setVisitorCookieTimeout", "crossDomainLinker"]
        {
            keys.extend(line.contains(&format!("{call}(")).then(|| call.to_owned()));
        }
    }
    keys.retain(|key| key != "https" && key != "http");
    keys
}

/// The rows of its tables, whose cells stand next to each other: `batch_sizeThe maximum number ..`.
fn arguments_of_python(text: &str) -> BTreeSet<String> {
    let mut arguments = BTreeSet::new();
    let mut in_table = false;
    for line in text.lines() {
        in_table = line.starts_with("Argument Name") || (in_table && !line.trim().is_empty());
        let end = line.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(0);
        if in_table && end > 2 && line[end..].starts_with(|c: char| c.is_ascii_uppercase()) {
            arguments.insert(line[..end].to_owned());
        }
    }
    arguments
}

fn rows() -> Vec<Row> {
    let manual = fs::read_to_string(package().join("docs/manual/snowplow.md")).unwrap();
    let (mut section, mut in_table, mut rows) = (String::new(), false, Vec::new());
    for line in manual.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        if !line.starts_with('|') || line == HEAD {
            in_table = line == HEAD;
            continue;
        }
        if !in_table || line.starts_with("|---") {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{line}");
        let bare = |cell: &str| cell.trim_matches('`').to_owned();
        rows.push(Row {
            section: section.clone(),
            option: bare(cells[0]),
            ours: cells[1].replace('`', ""),
            verdict: cells[2].to_owned(),
            effect: cells[3].to_owned(),
            tests: cells[4].split(", ").map(bare).filter(|it| !it.is_empty()).collect(),
        });
    }
    assert!(rows.len() > 100, "{} rows", rows.len());
    rows
}

fn ours(option: &TrackerOption) -> String {
    if option.setting.is_empty() { "-".to_owned() } else { option.setting.to_owned() }
}

/// The names of the functions that stand under `#[test]` here.
fn tests_of_this_program() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for file in fs::read_dir(package().join("tests/snowplow_options")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for part in text.split("#[test]\n").skip(1) {
            let name = part.trim_start().strip_prefix("fn ").and_then(|it| it.split('(').next());
            tests.extend(name.map(str::to_owned));
        }
    }
    tests
}

fn package() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"))
}
