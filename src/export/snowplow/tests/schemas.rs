//! What makes an event good: the schemas it names, and what Enrich demands of the atomic fields.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use super::super::names;
use super::*;

/// Fails unless a pipeline would take this for a good event. Without the official schemas only ours are asked.
pub(super) fn assert_good(payload: &Payload) {
    let schemas = schemas();
    let mut fields = payload.fields.clone();
    fields.insert("stm".to_owned(), "1700000000000".to_owned());
    schemas.assert("iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", &json!([fields]));
    for (key, value) in &payload.fields {
        assert!(!value.is_empty(), "{key} is empty");
        let is_json = ["ue_pr", "co"].contains(&key.as_str());
        let breaks = |char: char| char < ' ' || char == '\u{7f}' && !is_json;
        assert!(!value.contains(breaks), "{key} has control characters: {value:?}");
        let limit = limit(key);
        assert!(value.chars().count() <= limit, "{key} is longer than {limit}");
    }
    for key in ["eid", "sid"] {
        let is_uuid = |id: &str| id.len() == 36 && Uuid::try_parse(id).is_ok() && id == id.to_lowercase();
        assert!(payload.field(key).is_none_or(is_uuid), "{key}: {:?}", payload.field(key));
    }
    for key in ["dtm", "ttm", "vid"] {
        assert!(payload.field(key).is_none_or(|it| it.parse::<i64>().is_ok()), "{key}: {:?}", payload.field(key));
    }
    assert!(payload.field("dtm").is_some() && payload.field("eid").is_some());
    assert!(payload.field("vid").is_none_or(|it| it.parse::<i32>().is_ok_and(|it| it > 0)));
    assert!(super::super::Platform::ALL.iter().any(|it| Some(it.as_str()) == payload.field("p")));
    for key in ["res", "vp", "ds"] {
        let is_size =
            |it: &str| it.split_once('x').is_some_and(|(w, h)| w.parse::<i32>().is_ok() && h.parse::<i32>().is_ok());
        assert!(payload.field(key).is_none_or(is_size), "{key}: {:?}", payload.field(key));
    }
    assert!(payload.field("cd").is_none_or(|it| it.parse::<i32>().is_ok()));
    match payload.field("e") {
        Some("ue") => {
            let (schema, data) = payload.event.as_ref().expect("a self-describing event");
            schemas.assert(names::UNSTRUCT_EVENT, &json!({ "schema": schema, "data": data }));
            schemas.assert(schema, data);
            assert!(depth(data) + 2 <= 40, "too deep");
        }
        Some("se") => {
            assert!(payload.field("se_ca").is_some() && payload.field("se_ac").is_some());
            assert!(payload.field("se_va").is_none_or(|it| it.parse::<f64>().is_ok() && !it.contains('e')));
        }
        other => panic!("e is {other:?}"),
    }
    let contexts: Vec<_> =
        payload.entities.iter().map(|(schema, data)| json!({"schema": schema, "data": data})).collect();
    schemas.assert(names::CONTEXTS, &Value::Array(contexts));
    for (schema, data) in &payload.entities {
        schemas.assert(schema, data);
    }
    if let Some(session) = payload.entity("client_session") {
        assert_eq!(session["sessionId"].as_str(), payload.field("sid"));
        assert_eq!(session["sessionIndex"].to_string(), payload.field("vid").unwrap());
        let masked = session["userId"] == json!(Uuid::nil().to_string());
        assert_eq!(payload.field("duid"), if masked { None } else { session["userId"].as_str() });
    }
}

fn limit(key: &str) -> usize {
    match key {
        "tv" => 100,
        "tna" | "duid" | "nuid" | "tnuid" | "ip" | "fp" | "cs" => 128,
        "aid" | "uid" | "tz" | "lang" => 255,
        "ua" | "se_ca" | "se_ac" | "se_pr" => 1000,
        "page" => 2000,
        "se_la" => 4096,
        "url" | "refr" => 10_000,
        _ => 1_000_000,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Validators by the schema's name in Iglu.
struct Schemas {
    known: HashMap<String, Validator>,
    has_official: bool,
}

impl Schemas {
    fn assert(&self, schema: &str, data: &Value) {
        let Some(validator) = self.known.get(schema) else {
            let official = schema.starts_with("iglu:com.snowplowanalytics.") && schema != names::BROWSER_CONTEXT;
            assert!(!official || !self.has_official, "no schema {schema}");
            assert!(!schema.starts_with("iglu:io.github.otel_session/"), "no schema {schema}");
            return;
        };
        let errors: Vec<_> = validator.iter_errors(data).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(errors.is_empty(), "{schema}: {errors:?} in {data:#}");
    }
}

fn schemas() -> &'static Schemas {
    static SCHEMAS: OnceLock<Schemas> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let mut known: HashMap<_, _> = crate::iglu::schemas().iter().map(|it| compile(it.text)).collect();
        let official = official();
        let has_official = !official.is_empty();
        known.extend(official.iter().map(|text| compile(text)));
        Schemas { known, has_official }
    })
}

fn compile(text: &str) -> (String, Validator) {
    let mut schema: Value = serde_json::from_str(text).unwrap();
    let own = schema["self"].clone();
    let part = |key: &str| own[key].as_str().unwrap().to_owned();
    let name = format!("iglu:{}/{}/{}/{}", part("vendor"), part("name"), part("format"), part("version"));
    schema.as_object_mut().unwrap().remove("$schema");
    let validator = jsonschema::options()
        .with_draft(Draft::Draft4)
        .should_validate_formats(true)
        .with_format("uuid", |text| text.len() == 36 && Uuid::try_parse(text).is_ok())
        .build(&schema)
        .unwrap();
    (name, validator)
}

/// The schemas of Iglu Central that come with the project's reference material.
fn official() -> Vec<String> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../shared/data/iglu");
    let mut texts = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.components().any(|it| it.as_os_str() == "com.snowplowanalytics.self-desc") {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    if texts.is_empty() {
        let message = format!("no official schemas in {}: only our own are asked", root.display());
        assert!(std::env::var("OTEL_SESSION_REQUIRE").as_deref() != Ok("1"), "{message}");
        eprintln!("{message}");
    }
    texts
}

#[test]
fn our_schemas_are_valid_schemas_under_their_own_path() {
    for schema in crate::iglu::schemas() {
        let text: Value = serde_json::from_str(schema.text).unwrap();
        jsonschema::draft4::meta::validate(&{
            let mut text = text.clone();
            text.as_object_mut().unwrap().remove("$schema");
            text
        })
        .unwrap_or_else(|error| panic!("{}: {error}", schema.path));
        let (name, _) = compile(schema.text);
        assert_eq!(format!("iglu:{}", schema.path.strip_prefix("schemas/").unwrap()), name);
        assert_eq!(text["self"]["name"], schema.name);
        assert_eq!(text["self"]["vendor"], super::super::DEFAULT_VENDOR);
        assert_eq!(text["self"]["version"], names::OUR_VERSION);
        assert_eq!(text["additionalProperties"], false);
    }
}
