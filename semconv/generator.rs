//! Reads the registry, checks that it is consistent, and writes `src/semconv.rs` from it.
//!
//! Included by `tests/semconv.rs`, so the parser of YAML stays a dependency of tests. The three steps are functions of
//! values: [`Registry::parse`] (text to definitions), [`Registry::problems`] (definitions to complaints) and
//! [`Registry::to_rust`] (definitions to source text).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::Value;

/// One YAML file of a registry: where it came from, and what it says.
pub(crate) struct Document {
    pub(crate) path: String,
    pub(crate) content: Value,
}

/// The standard's part and ours, each a list of files.
pub(crate) struct Registry {
    pub(crate) standard: Vec<Document>,
    pub(crate) ours: Vec<Document>,
}

impl Document {
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, String> {
        let documents = Yaml::load_from_str(text).map_err(|error| format!("{path}: {error}"))?;
        match documents.as_slice() {
            [one] => Ok(Self { path: path.to_owned(), content: to_value(one) }),
            several => Err(format!("{path}: {} YAML documents where one is expected", several.len())),
        }
    }

    /// The definitions in a section such as `attributes`; empty when the file has no such section.
    fn section(&self, name: &str) -> &[Value] {
        list(&self.content, name)
    }

    fn is_manifest(&self) -> bool {
        self.path.ends_with("manifest.yaml")
    }
}

impl Registry {
    /// The source text of `src/semconv.rs`.
    pub(crate) fn to_rust(&self) -> String {
        let mut out = String::from(PREAMBLE);
        for attribute in self.all("attributes") {
            let key = text(attribute, "key");
            let kind = type_in_words(attribute);
            let doc = join(&format!("The attribute `{key}`, {kind}: {}", lower_first(brief(attribute))), attribute);
            constant(&mut out, "", &doc, &constant_name(key), key);
        }
        for event in self.all("events") {
            let name = text(event, "name");
            let doc = join(&format!("The event `{name}`: {}", lower_first(brief(event))), event);
            let doc = format!("{doc}\n\n{}", self.attributes_of_event(name, event));
            constant(&mut out, "", &doc, &format!("EVENT_{}", constant_name(name)), name);
        }
        for metric in self.all("metrics") {
            let name = text(metric, "name");
            let kind = format!("{} in `{}`", text(metric, "instrument"), text(metric, "unit"));
            let doc = join(&format!("The metric `{name}`, a {kind}: {}", lower_first(brief(metric))), metric);
            constant(&mut out, "", &doc, &format!("METRIC_{}", constant_name(name)), name);
        }
        for attribute in self.all("attributes").filter(|attribute| !members(attribute).is_empty()) {
            self.enumeration(&mut out, attribute);
        }
        out
    }

    fn enumeration(&self, out: &mut String, attribute: &Value) {
        let key = text(attribute, "key");
        let module = key.trim_start_matches(OUR_PREFIX).replace('.', "_");
        let _ = writeln!(out, "\n/// The values of [`{}`].\npub mod {module} {{", constant_name(key));
        for member in members(attribute) {
            let name = text(member, "id").to_uppercase();
            constant(out, "    ", brief(member), &name, text(member, "value"));
        }
        out.push_str("}\n");
    }

    /// What an event carries: the standard's attributes first, then those of our refinement.
    fn attributes_of_event(&self, name: &str, event: &Value) -> String {
        let refinements = self.all("event_refinements").filter(|refinement| text(refinement, "ref") == name);
        let refs = list(event, "attributes").iter().chain(refinements.flat_map(|it| list(it, "attributes")));
        let described = refs.map(|it| format!("`{}` ({})", text(it, "ref"), requirement_in_words(it)));
        format!("Attributes: {}.", described.collect::<Vec<_>>().join(", "))
    }

    /// Every complaint about the registry; empty when it is consistent.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_manifests(&mut problems);
        for document in self.documents().filter(|document| !document.is_manifest()) {
            check_document(document, &mut problems);
        }
        self.check_names(&mut problems);
        self.check_references(&mut problems);
        problems
    }

    fn check_manifests(&self, problems: &mut Vec<String>) {
        for (half, documents) in [("standard", &self.standard), ("ours", &self.ours)] {
            let Some(manifest) = documents.iter().find(|document| document.is_manifest()) else {
                problems.push(format!("{half}: no manifest.yaml"));
                continue;
            };
            let url = text(&manifest.content, "schema_url");
            let version = url.rsplit('/').next().unwrap_or_default();
            if !url.starts_with("https://") || !version.split('.').all(|part| part.parse::<u32>().is_ok()) {
                problems.push(format!("{}: schema_url `{url}` does not end with a version", manifest.path));
            }
        }
        let manifest =
            |documents: &[Document]| documents.iter().find(|it| it.is_manifest()).map(|it| it.content.clone());
        let (Some(standard), Some(ours)) = (manifest(&self.standard), manifest(&self.ours)) else { return };
        let depends = list(&ours, "dependencies").iter().any(|it| it["schema_url"] == standard["schema_url"]);
        if !depends {
            problems.push("ours: the manifest does not depend on the schema_url of the standard's part".to_owned());
        }
    }

    /// No name stands twice, and ours are told from the standard's by their prefix.
    fn check_names(&self, problems: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for (section, field) in NAMED_SECTIONS {
            for definition in self.all(section) {
                let name = text(definition, field);
                if !is_dotted_name(name) {
                    problems.push(format!("{section}: `{name}` is not a dotted lower-case name"));
                }
                if !seen.insert(format!("{section} {name}")) {
                    problems.push(format!("{section}: `{name}` is defined twice"));
                }
            }
            for (documents, prefixed) in [(&self.ours, true), (&self.standard, false)] {
                for definition in documents.iter().flat_map(|document| document.section(section)) {
                    let name = text(definition, field);
                    if name.starts_with(OUR_PREFIX) != prefixed {
                        problems.push(format!("{section}: `{name}` is on the wrong side of the prefix `{OUR_PREFIX}`"));
                    }
                }
            }
        }
    }

    fn check_references(&self, problems: &mut Vec<String>) {
        let keys: BTreeSet<&str> = self.all("attributes").map(|it| text(it, "key")).collect();
        let events: BTreeSet<&str> = self.all("events").map(|it| text(it, "name")).collect();
        for refinement in self.all("event_refinements") {
            let target = text(refinement, "ref");
            if !events.contains(target) {
                problems.push(format!("event_refinements: `{target}` is no event"));
            }
        }
        for section in ["events", "event_refinements", "metrics"] {
            for signal in self.all(section) {
                let mut seen = BTreeSet::new();
                for reference in list(signal, "attributes") {
                    let key = text(reference, "ref");
                    if !keys.contains(key) {
                        problems.push(format!("{section}: the attribute `{key}` is not defined"));
                    }
                    if !seen.insert(key) {
                        problems.push(format!("{section}: the attribute `{key}` is referenced twice by one signal"));
                    }
                    if requirement_in_words(reference).is_empty() {
                        problems.push(format!("{section}: `{key}` has no valid requirement_level"));
                    }
                }
            }
        }
    }

    fn documents(&self) -> impl Iterator<Item = &Document> {
        self.standard.iter().chain(&self.ours)
    }

    fn all<'a>(&'a self, section: &'a str) -> impl Iterator<Item = &'a Value> {
        self.documents().flat_map(move |document| document.section(section))
    }
}

/// What can be said of one file alone: known sections and fields, and that every definition says what it must.
fn check_document(document: &Document, problems: &mut Vec<String>) {
    let path = &document.path;
    if text(&document.content, "file_format") != "definition/2" {
        problems.push(format!("{path}: file_format is not definition/2"));
    }
    for section in document.content.as_object().into_iter().flat_map(|it| it.keys()).filter(|it| *it != "file_format") {
        let Some((_, required, optional)) = FIELDS.iter().find(|(name, ..)| name == section) else {
            problems.push(format!("{path}: unknown section `{section}`"));
            continue;
        };
        for definition in document.section(section) {
            check_fields(&format!("{path}: {section}"), definition, required, optional, problems);
            if section == "attributes" {
                check_attribute(path, definition, problems);
            }
        }
    }
}

fn check_fields(what: &str, definition: &Value, required: &[&str], optional: &[&str], problems: &mut Vec<String>) {
    let name = ["key", "name", "id"].iter().map(|field| text(definition, field)).find(|it| !it.is_empty());
    let name = name.unwrap_or("(nameless)");
    for field in required.iter().filter(|field| definition[**field].is_null() || definition[**field] == "") {
        problems.push(format!("{what}: `{name}` has no {field}"));
    }
    for field in definition.as_object().into_iter().flat_map(|it| it.keys()) {
        if !required.contains(&field.as_str()) && !optional.contains(&field.as_str()) {
            problems.push(format!("{what}: `{name}` has the unknown field `{field}`"));
        }
    }
    let stability = text(definition, "stability");
    if !stability.is_empty() && !STABILITIES.contains(&stability) {
        problems.push(format!("{what}: `{name}` has the unknown stability `{stability}`"));
    }
}

fn check_attribute(path: &str, attribute: &Value, problems: &mut Vec<String>) {
    let key = text(attribute, "key");
    for member in members(attribute) {
        check_fields(&format!("{path}: {key}"), member, &["id", "value", "brief", "stability"], &["note"], problems);
    }
    let values: Vec<&Value> = members(attribute).iter().map(|member| &member["value"]).collect();
    let fits = |example: &Value| match text(attribute, "type") {
        "string" => example.is_string(),
        "int" => example.is_i64(),
        "double" => example.is_f64(),
        "boolean" => example.is_boolean(),
        _ => values.contains(&example),
    };
    let examples = list(attribute, "examples");
    if examples.is_empty() {
        problems.push(format!("{path}: `{key}` has no list of examples"));
    }
    for example in examples.iter().filter(|example| !fits(example)) {
        problems.push(format!("{path}: the example {example} of `{key}` is not of its type"));
    }
}

/// YAML as JSON values, which are easier to walk; the registry uses nothing that JSON lacks.
fn to_value(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(it)) => Value::from(*it),
        Yaml::Value(Scalar::Integer(it)) => Value::from(*it),
        Yaml::Value(Scalar::FloatingPoint(it)) => Value::from(it.into_inner()),
        Yaml::Value(Scalar::String(it)) => Value::from(it.trim_end()),
        Yaml::Sequence(items) => items.iter().map(to_value).collect(),
        Yaml::Mapping(entries) => {
            entries.iter().map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), to_value(value))).collect()
        }
        _ => Value::Null,
    }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn brief(value: &Value) -> &str {
    text(value, "brief")
}

fn members(attribute: &Value) -> &[Value] {
    list(&attribute["type"], "members")
}

fn type_in_words(attribute: &Value) -> &'static str {
    match text(attribute, "type") {
        "string" => "a string",
        "int" => "an integer",
        "double" => "a floating-point number",
        "boolean" => "a boolean",
        _ => "one of a list of strings",
    }
}

/// Empty when the reference has no requirement level that the format knows.
fn requirement_in_words(reference: &Value) -> String {
    match &reference["requirement_level"] {
        Value::String(level) if ["required", "recommended", "opt_in"].contains(&level.as_str()) => {
            level.replace('_', "-")
        }
        Value::Object(level) => level
            .get("conditionally_required")
            .and_then(Value::as_str)
            .map(|condition| lower_first(condition.trim_end_matches('.')))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

fn is_dotted_name(name: &str) -> bool {
    let part = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase()) && !part.ends_with('_');
    name.split('.').all(part) && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c))
}

fn constant_name(name: &str) -> String {
    name.replace('.', "_").to_uppercase()
}

fn lower_first(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_ascii_lowercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// A doc text and, as a paragraph of its own, the definition's note.
fn join(doc: &str, definition: &Value) -> String {
    match text(definition, "note") {
        "" => doc.to_owned(),
        note => format!("{doc}\n\n{note}"),
    }
}

fn constant(out: &mut String, indent: &str, doc: &str, name: &str, value: &str) {
    for paragraph in doc.split("\n\n").enumerate() {
        if paragraph.0 > 0 {
            let _ = writeln!(out, "{indent}///");
        }
        for line in wrapped(paragraph.1, WIDTH - indent.len() - "/// ".len()) {
            let _ = writeln!(out, "{indent}/// {line}");
        }
    }
    let _ = writeln!(out, "{indent}pub const {name}: &str = \"{value}\";");
}

fn wrapped(paragraph: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in paragraph.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            let line = &mut lines[last];
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

const OUR_PREFIX: &str = "otel_session.";

/// The `max_width` of `rustfmt.toml`.
const WIDTH: usize = 120;

const STABILITIES: [&str; 5] = ["stable", "development", "alpha", "beta", "release_candidate"];

/// Sections whose definitions have a name that must be unique, and the field that holds it.
const NAMED_SECTIONS: [(&str, &str); 3] = [("attributes", "key"), ("events", "name"), ("metrics", "name")];

/// Sections of the format that the registry uses, with their required and optional fields.
const FIELDS: [(&str, &[&str], &[&str]); 4] = [
    ("attributes", &["key", "type", "brief", "stability", "examples"], &["note"]),
    ("events", &["name", "brief", "stability", "attributes"], &["note"]),
    ("event_refinements", &["id", "ref", "attributes"], &["brief", "note"]),
    ("metrics", &["name", "instrument", "unit", "brief", "stability"], &["note", "attributes"]),
];

const PREAMBLE: &str = "\
//! Names of attributes, events and metrics, and the values of our enumerations.
//!
//! Generated from the registry in `semconv/`; do not edit. After a change of the registry:
//! `OTEL_SESSION_BLESS=1 cargo test --test semconv`.

";
