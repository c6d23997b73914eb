//! Where schemas come from.

use std::fs;
use std::path::{Path, PathBuf};

use otel_session::collector::DevCollector;
use serde_json::json;

use crate::recordings::shared;
use crate::story::{APPLICATION, contexts, counts, get_json, only_errors, send, unstruct, with};

const CLICK: &str = "iglu:com.acme/click/jsonschema/1-0-0";
const SCHEMA: &str = r#"{ "type": "object", "properties": { "x": { "type": "integer" } }, "required": ["x"] }"#;

#[test]
fn a_schema_that_is_given_stands_before_the_one_that_comes_with_the_collector() {
    let strict = r#"{ "type": "object", "required": ["mine"] }"#;
    let collector = DevCollector::builder().with_schema(APPLICATION, strict).build().expect("a collector");
    let entity = contexts(&[(APPLICATION, json!({ "version": "1" }))]);
    send(&collector, &[with(&[("co", entity.as_str())])]);
    assert!(only_errors(&collector).contains("\"mine\""), "{}", only_errors(&collector));
}

#[test]
fn a_schema_of_ones_own_is_used_and_served() {
    let collector = DevCollector::builder().with_schema(CLICK, SCHEMA).build().expect("a collector");
    send(&collector, &[with(&[("e", "ue"), ("ue_pr", &unstruct(CLICK, &json!({ "x": 1 })))])]);
    assert_eq!(counts(&collector), (1, 0));
    send(&collector, &[with(&[("e", "ue"), ("ue_pr", &unstruct(CLICK, &json!({ "x": "1" })))])]);
    assert!(only_errors(&collector).contains("$/x"), "{}", only_errors(&collector));
    assert_eq!(get_json(&collector, "/micro/iglu/com.acme/click/jsonschema/1-0-0")["required"], json!(["x"]));
}

#[test]
fn a_folder_is_read_as_a_static_registry_with_or_without_its_top_folder() {
    let folder = std::env::temp_dir().join(format!("otel-session-iglu-{}", std::process::id()));
    let place = folder.join("schemas/com.acme/click/jsonschema");
    fs::create_dir_all(&place).expect("a folder");
    fs::write(place.join("1-0-0"), SCHEMA).expect("a schema");
    for root in [folder.clone(), folder.join("schemas")] {
        let collector = DevCollector::builder().with_iglu_dir(root).build().expect("a collector");
        send(&collector, &[with(&[("e", "ue"), ("ue_pr", &unstruct(CLICK, &json!({ "x": 1 })))])]);
        assert_eq!(counts(&collector), (1, 0));
        let newer = "iglu:com.acme/click/jsonschema/1-0-1";
        send(&collector, &[with(&[("e", "ue"), ("ue_pr", &unstruct(newer, &json!({ "x": 1 })))])]);
        assert!(only_errors(&collector).contains("ResolutionError"), "{}", only_errors(&collector));
        // A schema that is added later is found.
        fs::write(place.join("1-0-1"), SCHEMA).expect("a schema");
        send(&collector, &[with(&[("e", "ue"), ("ue_pr", &unstruct(newer, &json!({ "x": 1 })))])]);
        assert_eq!(counts(&collector), (2, 1));
        fs::remove_file(place.join("1-0-1")).expect("the schema was written");
    }
    fs::remove_dir_all(folder).expect("the folder can be removed");
}

#[test]
fn our_own_schemas_need_no_configuration() {
    let collector = DevCollector::start().expect("a collector");
    for schema in otel_session::iglu::schemas() {
        let served = get_json(&collector, &schema.path.replacen("schemas/", "/micro/iglu/", 1));
        assert_eq!(served, serde_json::from_str::<serde_json::Value>(schema.text).expect("JSON"), "{}", schema.path);
    }
    assert!(!otel_session::iglu::schemas().is_empty());
}

#[test]
fn the_official_schemas_are_the_official_ones() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/collector/iglu");
    let mut compared = 0;
    for path in files(&ours).into_iter().filter(|path| !path.ends_with("README.md")) {
        let name = path.strip_prefix(&ours).expect("inside the folder").to_string_lossy().into_owned();
        let Some(official) = shared(&format!("iglu/{name}")) else { return };
        assert_eq!(fs::read_to_string(&path).expect("a schema"), official, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 13);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
