//! Requests that real trackers sent, as recorded, are accepted and mean what their senders said.

use std::collections::BTreeMap;
use std::path::Path;

use otel_session::collector::{DevCollector, SnowplowEvent};
use serde_json::{Value as Json, json};

use crate::client::{exchange, post};
use crate::story::{NIL, TP2, counts};

const SID: &str = "6d15a4fb-9623-4ba1-b876-5240e72e6970";
const PREVIOUS: &str = "36746fd2-8441-4ea2-8ad0-237d6f4c77cf";
const USER: &str = "6de9024e-17b9-4026-bd4d-efec50ae84cb";
const NETWORK_USER: &str = "3734601f-5c3d-47c5-b367-0883e1ed74e6";
const SESSION_START: &str = "iglu:com.example.otel/session_start/jsonschema/1-0-0";

/// A file of the folder of shared data beside this package. Without it the test that asked says so and passes, unless
/// `OTEL_SESSION_REQUIRE` is 1.
pub(crate) fn shared(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        let message = format!("skipped: {} is not there", path.display());
        assert!(std::env::var("OTEL_SESSION_REQUIRE").as_deref() != Ok("1"), "{message}");
        println!("{message}");
    }
    text
}

/// A collector that knows the schemas of the recordings: their own, and those of Iglu Central that this crate does not
/// bring. They accept everything; the recordings' data is compared by hand.
fn collector() -> DevCollector {
    let mut builder = DevCollector::builder().with_snowplow_path("/custom/path");
    for uri in [
        SESSION_START,
        "iglu:com.example/x/jsonschema/1-0-0",
        "iglu:com.snowplowanalytics.mobile/screen_view/jsonschema/1-0-0",
        "iglu:com.snowplowanalytics.snowplow/timing/jsonschema/1-0-0",
    ] {
        builder = builder.with_schema(uri, r#"{ "type": "object" }"#);
    }
    builder.build().expect("a collector")
}

/// Sends a recording's requests again, byte for byte but for the host, and gives those that were trackers'.
fn replay(collector: &DevCollector, recording: &str) -> Vec<Json> {
    let recording: Json = serde_json::from_str(recording).expect("a recording");
    let requests = recording["requests"].as_array().expect("requests").clone();
    let tracked: Vec<Json> = requests.into_iter().filter(|request| request["path"] != "/idsvc").collect();
    for request in &tracked {
        let path = request["path"].as_str().expect("a path");
        let kept = |name: &str| !["host", "connection", "content-length"].contains(&name.to_ascii_lowercase().as_str());
        let headers: String = request["headers"]
            .as_array()
            .expect("headers")
            .iter()
            .map(|pair| (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a value")))
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let reply = match request["raw_body"].as_str() {
            Some(body) => post(&collector.snowplow_endpoint(), path, &headers, body.as_bytes()),
            None => {
                let query = request["raw_query"].as_str().expect("a query");
                let head = format!("GET {path}?{query} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
                exchange(&collector.snowplow_endpoint(), head.as_bytes())
            }
        };
        assert_eq!(reply.status, 200);
    }
    tracked
}

/// The parameters that were recorded, one map an event, read by a JSON parser alone.
fn recorded_events(requests: &[Json]) -> Vec<BTreeMap<String, String>> {
    let owned = |key: &str, value: &Json| (key.to_owned(), value.as_str().expect("a string").to_owned());
    let mut events = Vec::new();
    for request in requests {
        if let Some(query) = request["query"].as_array() {
            events.push(query.iter().map(|pair| owned(pair[0].as_str().expect("a key"), &pair[1])).collect());
        } else {
            let body: Json = serde_json::from_str(request["raw_body"].as_str().expect("a body")).expect("JSON");
            let data = body["data"].as_array().expect("events").clone();
            let map = |event: &Json| {
                event.as_object().expect("an event").iter().map(|(key, value)| owned(key, value)).collect()
            };
            events.extend(data.iter().map(map));
        }
    }
    events
}

/// Replays a recording, and checks that nothing is bad and that every event stands there as it was sent.
fn accepted(name: &str) -> Option<Vec<std::sync::Arc<SnowplowEvent>>> {
    let recording = shared(&format!("wire/{name}.json"))?;
    let collector = collector();
    let requests = replay(&collector, &recording);
    let stream = collector.stream();
    assert!(stream.snowplow_bad().is_empty(), "{:?}", stream.snowplow_bad());
    let sent = recorded_events(&requests);
    assert_eq!((counts(&collector).0, stream.snowplow_requests()), (sent.len(), requests.len() as u64));
    for (event, sent) in stream.snowplow_good().iter().zip(&sent) {
        assert_eq!(event.parameters(), sent);
        assert_eq!(event.event_id(), sent["eid"]);
        let types = [("ue", "unstruct"), ("se", "struct"), ("pv", "page_view"), ("pp", "page_ping")];
        assert!(types.contains(&(sent["e"].as_str(), event.event_type())), "{event:?}");
        assert_eq!(event.contexts().len(), usize::from(sent.contains_key("co") || sent.contains_key("cx")));
        for (key, column) in [
            ("aid", "app_id"),
            ("uid", "user_id"),
            ("tna", "name_tracker"),
            ("tv", "v_tracker"),
            ("p", "platform"),
            ("ip", "user_ipaddress"),
            ("ua", "useragent"),
            ("tz", "os_timezone"),
            ("duid", "domain_userid"),
        ] {
            if let Some(value) = sent.get(key) {
                assert_eq!(event.column(column), Some(&json!(value)), "{key}");
            }
        }
        assert_eq!(event.session_id(), sent.get("sid").map(String::as_str));
        assert_eq!(event.column("domain_sessionidx").cloned(), sent.get("vid").map(|_| json!(2)));
    }
    Some(stream.snowplow_good().to_vec())
}

fn types(events: &[std::sync::Arc<SnowplowEvent>]) -> Vec<&str> {
    events.iter().map(|event| event.event_type()).collect()
}

/// The entity that all three trackers were given.
fn check_session(event: &SnowplowEvent, event_index: u32) {
    let session = event.client_session().unwrap_or_else(|| panic!("no session on {event:?}"));
    assert_eq!((session.user_id.as_str(), session.session_id.as_str(), session.session_index), (USER, SID, 2));
    assert_eq!((session.event_index, session.previous_session_id.as_deref()), (Some(event_index), Some(PREVIOUS)));
    assert_eq!(session.first_event_timestamp.as_deref(), Some("2026-11-20T08:00:00.000Z"));
    assert_eq!(session.storage_mechanism, "LOCAL_STORAGE");
}

fn check_session_start(event: &SnowplowEvent) {
    assert_eq!(event.schema(), SESSION_START);
    let inner = &event.self_describing().expect("an inner event")["data"];
    assert_eq!((&inner["session.id"], &inner["text"]), (&json!(SID), &json!("✓ à la mode")));
}

#[test]
fn a_python_trackers_batches_of_three_in_base64_are_accepted() {
    let Some(events) = accepted("python_post_batch3_base64") else { return };
    assert_eq!(types(&events), ["unstruct", "unstruct", "unstruct", "struct", "page_view", "page_ping", "unstruct"]);
    for event in &events {
        assert_eq!((event.session_id(), event.network_user_id()), (Some(SID), NETWORK_USER), "tnuid");
    }
    events.iter().filter(|event| event.event_type() == "unstruct").for_each(|event| check_session_start(event));
    check_session(&events[0], 1);
    assert_eq!(events[3].column("se_value"), Some(&json!(1.5)));
    assert_eq!(events[4].column("page_urlquery"), Some(&json!("b=c")));
    assert_eq!(events[5].column("pp_yoffset_max"), Some(&json!(200)));
    // Sent times are cut to seconds, before the created ones: the arrival counts.
    assert_eq!(events[0].column("derived_tstamp"), events[0].column("collector_tstamp"));
    assert_eq!(events[6].column("derived_tstamp"), Some(&json!("2025-11-20T08:00:00.123Z")), "the true time");
}

#[test]
fn a_python_trackers_get_requests_are_accepted() {
    let Some(events) = accepted("python_get") else { return };
    assert_eq!(events.len(), 2);
    check_session_start(&events[0]);
    check_session(&events[0], 1);
}

#[test]
fn a_python_trackers_retries_come_under_the_same_ids() {
    let Some(events) = accepted("python_retry_500_503_200") else { return };
    let ids: Vec<_> = events.iter().map(|event| event.event_id()).collect();
    assert_eq!((ids.len(), &ids[0..2], &ids[2..5]), (8, &ids[5..7], &ids[5..8]), "2, 3 and 3 events");
}

#[test]
fn a_node_trackers_batches_are_accepted() {
    let Some(events) = accepted("node_post_batch3") else { return };
    assert_eq!(types(&events), ["unstruct", "unstruct", "unstruct", "struct", "page_view", "page_ping", "unstruct"]);
    for event in &events {
        assert_eq!((event.session_id(), event.network_user_id()), (Some(SID), NETWORK_USER), "nuid");
    }
    check_session_start(&events[0]);
    check_session(&events[0], 1);
    assert_eq!(
        (events[0].column("dvce_screenwidth"), events[0].column("br_viewheight")),
        (Some(&json!(1920)), Some(&json!(600)))
    );
}

#[test]
fn a_node_trackers_plain_events_are_accepted() {
    let Some(events) = accepted("node_post_plain") else { return };
    assert_eq!(types(&events), ["unstruct", "struct"]);
    check_session_start(&events[0]);
    check_session(&events[0], 1);
    assert_eq!(events[1].client_session(), None);
}

#[test]
fn a_node_trackers_anonymous_events_on_a_path_of_its_own_are_accepted() {
    let Some(events) = accepted("node_anon") else { return };
    assert_eq!(types(&events), ["unstruct", "unstruct"]);
    for event in &events {
        assert!(event.is_anonymous());
        assert_eq!((event.network_user_id(), event.column("user_ipaddress")), (NIL, Some(&json!("unknown"))));
    }
}

#[test]
fn a_node_trackers_retry_comes_under_the_same_ids() {
    let Some(events) = accepted("node_retry") else { return };
    let ids: Vec<_> = events.iter().map(|event| event.event_id()).collect();
    assert_eq!((ids.len(), &ids[0..2]), (5, &ids[2..4]));
}

#[test]
fn the_rust_trackers_batches_are_accepted() {
    let Some(events) = accepted("rust_batch3") else { return };
    assert_eq!(types(&events), ["unstruct", "unstruct", "unstruct", "struct", "unstruct", "unstruct", "unstruct"]);
    for (index, event) in events[0..3].iter().enumerate() {
        check_session_start(event);
        check_session(event, index as u32 + 1);
    }
    assert_eq!(events[4].column("user_id"), Some(&json!("event-user")), "of seven, the one with a subject of its own");
    assert_eq!(events.iter().filter(|event| event.session_id().is_some()).count(), 1);
}

#[test]
fn what_the_recordings_need_besides_the_schemas_that_are_built_in_is_unresolved() {
    let Some(recording) = shared("wire/rust_batch3.json") else { return };
    let collector = DevCollector::start().expect("a collector");
    replay(&collector, &recording);
    assert_eq!(counts(&collector), (1, 6), "only the structured event needs no schema");
    for row in collector.stream().snowplow_bad() {
        assert!(
            row.errors()[0].contains("ResolutionError") && row.api().1 == TP2.rsplit('/').next().expect("a version")
        );
    }
}
