//! The real Python and Node trackers, installed from their registries, talk to the development collector: it accepts what
//! they send, and reads from it what they were told to say.
//!
//! The trackers are in the folder that `OTEL_SESSION_TRACKERS` names, or where `scripts/trackers/install.sh` puts them.
//! Without them the tests say so and pass, unless `OTEL_SESSION_REQUIRE` is 1.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use otel_session::collector::{DevCollector, SnowplowEvent};
use serde_json::{Value, json};

/// Longer than a tracker takes for anything.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the stories of `scripts/trackers` say of themselves: four ways to send and an anonymous one, three events each.
const CASES: [&str; 5] = ["post base64", "post plain", "get base64", "get plain", "post base64 anonymous"];

#[test]
fn the_collector_reads_from_the_real_python_tracker_what_it_was_told_to_say() {
    let Some(trackers) = trackers() else { return };
    let mut python = Command::new(trackers.join("python/bin/python"));
    python.arg(scripts().join("track.py"));
    understands(python);
}

#[test]
fn the_collector_reads_from_the_real_node_tracker_what_it_was_told_to_say() {
    let Some(trackers) = trackers() else { return };
    let mut node = Command::new("node");
    node.arg(scripts().join("track.mjs")).env("OTEL_SESSION_TRACKERS", trackers);
    understands(node);
}

fn understands(mut tracker: Command) {
    let story = story();
    let schema = story["self_describing"]["schema"].as_str().unwrap();
    let collector = DevCollector::builder().with_schema(schema, paid_schema().to_string()).build().unwrap();
    let output = tracker.arg(collector.snowplow_endpoint()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let told: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told_of: Vec<_> = CASES.iter().flat_map(|case| [("pv", case), ("se", case), ("ue", case)]).collect();
    let told_by: Vec<_> = told.iter().map(|it| (it["e"].as_str().unwrap(), it["case"].as_str().unwrap())).collect();
    assert_eq!(told_by, told_of.iter().map(|(e, case)| (*e, **case)).collect::<Vec<_>>(), "the whole story");

    let all = |good: usize, bad: usize| good + bad >= told.len();
    let arrived = collector.wait_until(DEADLINE, |it| all(it.snowplow_good().len(), it.snowplow_bad().len()));
    assert!(arrived, "{collector:?}");
    let stream = collector.stream();
    assert!(stream.snowplow_bad().is_empty(), "{:?}", stream.snowplow_bad());
    let ids = |events: &mut dyn Iterator<Item = String>| events.collect::<Vec<_>>();
    assert_eq!(
        ids(&mut stream.snowplow_good().iter().map(|event| event.event_id().to_owned())),
        ids(&mut told.iter().map(|it| text(&it["eid"]))),
        "the ids that the tracker returned, in its order, each once"
    );
    for (event, told) in stream.snowplow_good().iter().zip(&told) {
        means(event, told, &story);
    }
}

/// The event has what the tracker was told, and nothing else.
fn means(event: &SnowplowEvent, told: &Value, story: &Value) {
    let case = format!("{} of {}: {event:?}", told["e"], told["case"]);
    let (event_type, schema) = match told["e"].as_str().unwrap() {
        "pv" => ("page_view", None),
        "se" => ("struct", None),
        _ => ("unstruct", told["self_describing"]["schema"].as_str()),
    };
    assert_eq!(event.event_type(), event_type, "{case}");
    assert!(schema.is_none_or(|schema| event.schema() == schema), "{case}");
    assert_eq!(event.self_describing(), told.get("self_describing"), "{case}");
    let contexts: Vec<_> =
        event.contexts().iter().map(|(schema, data)| json!({"schema": schema, "data": data})).collect();
    assert_eq!(Value::from(contexts), told["contexts"], "{case}");

    let mut parameters = event.parameters().clone();
    for (key, value) in told["parameters"].as_object().unwrap() {
        assert_eq!(parameters.remove(key).as_deref(), value.as_str(), "{key}, {case}");
    }
    // Those that hold what was compared above, and what nobody told.
    let base64 = told["case"].as_str().unwrap().contains("base64");
    let (described, entities) = if base64 { ("ue_px", "cx") } else { ("ue_pr", "co") };
    assert_eq!(parameters.remove(described).is_some(), event_type == "unstruct", "{case}");
    assert_eq!(parameters.remove(entities).is_some(), !event.contexts().is_empty(), "{case}");
    assert_eq!(parameters.remove("eid").as_deref(), told["eid"].as_str(), "{case}");
    assert_eq!(parameters.remove("e").as_deref(), told["e"].as_str(), "{case}");
    assert!(parameters.remove("stm").is_some_and(|time| time.parse::<u64>().is_ok()), "{case}");
    assert!(parameters.remove("dtm").is_none_or(|time| time.parse::<u64>().is_ok()), "{case}");
    assert!(parameters.is_empty(), "nobody told {parameters:?}, {case}");

    let anonymous = told["anonymous"].as_bool().unwrap();
    assert_eq!(event.is_anonymous(), anonymous, "{case}");
    let subject = &story["subject"];
    if anonymous {
        assert_eq!(event.session_id(), None, "{case}");
        assert_eq!(event.network_user_id(), "00000000-0000-0000-0000-000000000000", "{case}");
    } else {
        assert_eq!(event.session_id(), subject["domain_session_id"].as_str(), "{case}");
        assert_eq!(event.network_user_id(), subject["network_user_id"].as_str().unwrap(), "{case}");
    }
    let session = event.client_session();
    assert_eq!(session.is_some(), event_type == "unstruct", "{case}");
    if let Some(session) = session {
        let told = &story["client_session"]["data"];
        let read = json!({
            "userId": session.user_id,
            "sessionId": session.session_id,
            "sessionIndex": session.session_index,
            "eventIndex": session.event_index,
            "previousSessionId": session.previous_session_id,
            "storageMechanism": session.storage_mechanism,
            "firstEventId": session.first_event_id,
            "firstEventTimestamp": session.first_event_timestamp,
        });
        assert_eq!(&read, told, "{case}");
        assert!(event.column("true_tstamp").is_some(), "{case}");
    }
}

/// The schema of the story's own event, which the collector cannot know.
fn paid_schema() -> Value {
    json!({
        "$schema": "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#",
        "self": { "vendor": "com.example.shop", "name": "checkout_paid", "format": "jsonschema", "version": "1-0-0" },
        "type": "object",
        "properties": {
            "order": { "type": "string", "maxLength": 20 },
            "amount": { "type": "number" },
            "items": { "type": "integer", "minimum": 1 },
            "gift": { "type": "boolean" },
            "notes": { "type": "array", "items": { "type": "string" } }
        },
        "required": ["order", "amount"],
        "additionalProperties": false
    })
}

fn story() -> Value {
    serde_json::from_str(&std::fs::read_to_string(scripts().join("story.json")).unwrap()).unwrap()
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/trackers")
}

/// The folder of the installed trackers. None, with a message, if there is none.
fn trackers() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let named = std::env::var_os("OTEL_SESSION_TRACKERS").map(PathBuf::from);
    let found = named.or(cache.map(|cache| cache.join("otel-session/trackers")));
    let found = found.filter(|folder| folder.join("installed").exists());
    if found.is_none() {
        let message =
            "there are no trackers: run scripts/trackers/install.sh, or name their folder by OTEL_SESSION_TRACKERS";
        assert!(std::env::var("OTEL_SESSION_REQUIRE").as_deref() != Ok("1"), "{message}");
        eprintln!("skipped: {message}");
    }
    found
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
