//! Holds that the registry in `semconv/` is consistent and that `src/semconv.rs` is what it generates.

#[path = "../semconv/generator.rs"]
mod generator;

use std::fs;
use std::path::PathBuf;

use generator::{Document, Registry};

#[test]
fn the_registry_is_consistent() {
    assert_eq!(registry().problems(), Vec::<String>::new());
}

#[test]
fn the_generated_names_are_those_of_the_registry() {
    let path = package().join("src/semconv.rs");
    let generated = registry().to_rust();
    if std::env::var_os("OTEL_SESSION_BLESS").is_some() {
        fs::write(&path, &generated).expect("src/semconv.rs can be written");
    }
    let present = fs::read_to_string(&path).expect("src/semconv.rs can be read");
    assert!(
        present == generated,
        "src/semconv.rs differs from the registry: run `OTEL_SESSION_BLESS=1 cargo test --test semconv`"
    );
}

#[test]
fn a_reference_to_nothing_is_a_problem() {
    let problems = problems_with(
        "metrics:\n- {name: otel_session.x, instrument: counter, unit: '1', brief: B., \
         stability: development, attributes: [{ref: otel_session.none, requirement_level: required}]}",
    );
    assert_eq!(problems, ["metrics: the attribute `otel_session.none` is not defined"]);
}

#[test]
fn a_refinement_of_no_event_is_a_problem() {
    let problems = problems_with("event_refinements:\n- {id: otel_session.x, ref: session.pause, attributes: []}");
    assert_eq!(problems, ["event_refinements: `session.pause` is no event"]);
}

#[test]
fn an_attribute_without_brief_stability_or_examples_is_three_problems() {
    let problems = problems_with("attributes:\n- {key: otel_session.x, type: string, examples: []}");
    let expected = [
        "extra.yaml: attributes: `otel_session.x` has no brief",
        "extra.yaml: attributes: `otel_session.x` has no stability",
        "extra.yaml: `otel_session.x` has no list of examples",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn an_example_of_another_type_is_a_problem() {
    let attribute = |kind, example| {
        let fields = "brief: B., stability: development";
        problems_with(&format!("attributes:\n- {{key: otel_session.x, type: {kind}, {fields}, examples: [{example}]}}"))
    };
    let members = "{members: [{id: a, value: a, brief: A., stability: development}]}";
    for (kind, example) in [("int", "1.5"), ("double", "1"), ("boolean", "maybe"), ("string", "7"), (members, "b")] {
        assert_eq!(attribute(kind, example).len(), 1, "{kind} with the example {example}");
    }
}

#[test]
fn a_misspelt_field_or_section_is_a_problem() {
    assert_eq!(problems_with("atributes: []"), ["extra.yaml: unknown section `atributes`"]);
    let problems =
        problems_with("event_refinements:\n- {id: otel_session.x, ref: session.end, attributes: [], breif: B.}");
    assert_eq!(problems, ["extra.yaml: event_refinements: `otel_session.x` has the unknown field `breif`"]);
}

#[test]
fn a_name_that_stands_twice_or_lacks_our_prefix_is_a_problem() {
    let fields = "type: int, brief: B., stability: development, examples: [1]";
    let twice = problems_with(&format!("attributes:\n- {{key: otel_session.index, {fields}}}"));
    assert_eq!(twice, ["attributes: `otel_session.index` is defined twice"]);
    let foreign = problems_with(&format!("attributes:\n- {{key: session.index, {fields}}}"));
    assert_eq!(foreign, ["attributes: `session.index` is on the wrong side of the prefix `otel_session.`"]);
}

/// The problems of the shipped registry with one more file in it.
fn problems_with(body: &str) -> Vec<String> {
    let mut registry = registry();
    let text = format!("file_format: definition/2\n{body}\n");
    registry.ours.push(Document::parse("extra.yaml", &text).expect("the extra file is YAML"));
    registry.problems()
}

fn registry() -> Registry {
    Registry { standard: documents("semconv/standard"), ours: documents("semconv/registry") }
}

/// The YAML files of a folder, in the order of their names, so that the generated text does not depend on the disk.
fn documents(folder: &str) -> Vec<Document> {
    let folder = package().join(folder);
    let entries = fs::read_dir(&folder).expect("the registry's folder can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder entry can be read").path()).collect();
    paths.sort();
    let parse = |path: &PathBuf| {
        let name = path.strip_prefix(package()).expect("inside the package").display().to_string();
        let text = fs::read_to_string(path).expect("a registry file can be read");
        Document::parse(&name, &text).unwrap_or_else(|problem| panic!("{problem}"))
    };
    paths.iter().map(parse).collect()
}

/// The package's folder, asked at run time: checkouts that share a target folder also share test binaries, and a path
/// compiled into one of them may be another checkout's.
fn package() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"))
}
