//! Events and requests to tell stories with.

use otel_session::collector::DevCollector;
use serde_json::{Value as Json, json};

use crate::client::{Reply, exchange, post};

pub(crate) const TP2: &str = "/com.snowplowanalytics.snowplow/tp2";
pub(crate) const EID: &str = "56d7ee1f-5ca0-452b-9cc9-5159053c858a";
pub(crate) const SID: &str = "6d15a4fb-9623-4ba1-b876-5240e72e6970";
pub(crate) const NIL: &str = "00000000-0000-0000-0000-000000000000";
pub(crate) const CLIENT_SESSION: &str = "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2";
pub(crate) const APPLICATION: &str = "iglu:com.snowplowanalytics.snowplow/application/jsonschema/1-0-0";
const PAYLOAD_DATA: &str = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";

pub(crate) fn collector() -> DevCollector {
    DevCollector::start().expect("a collector")
}

/// A page view, the smallest event there is.
pub(crate) fn page_view() -> Json {
    json!({ "e": "pv", "p": "web", "tv": "test" })
}

/// A page view with these parameters besides its own.
pub(crate) fn with(parameters: &[(&str, &str)]) -> Json {
    let mut event = page_view();
    for (key, value) in parameters {
        event[*key] = (*value).into();
    }
    event
}

pub(crate) fn envelope(events: &[Json]) -> Json {
    json!({ "schema": PAYLOAD_DATA, "data": events })
}

pub(crate) fn send(collector: &DevCollector, events: &[Json]) -> Reply {
    post_to(collector, TP2, "", &envelope(events).to_string())
}

pub(crate) fn post_to(collector: &DevCollector, path: &str, headers: &str, body: &str) -> Reply {
    let headers = format!("Content-Type: application/json; charset=UTF-8\r\n{headers}");
    post(&collector.snowplow_endpoint(), path, &headers, body.as_bytes())
}

pub(crate) fn get(collector: &DevCollector, target: &str, headers: &str) -> Reply {
    request(collector, "GET", target, headers)
}

pub(crate) fn request(collector: &DevCollector, method: &str, target: &str, headers: &str) -> Reply {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: collector.test:80\r\nConnection: close\r\n{headers}\r\n");
    exchange(&collector.snowplow_endpoint(), head.as_bytes())
}

pub(crate) fn get_json(collector: &DevCollector, path: &str) -> Json {
    let reply = get(collector, path, "");
    assert_eq!(reply.status, 200, "{path}: {}", text(&reply));
    serde_json::from_slice(&reply.body).expect("Micro answers in JSON")
}

pub(crate) fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

/// How many events were good and how many rows are bad.
pub(crate) fn counts(collector: &DevCollector) -> (usize, usize) {
    let stream = collector.stream();
    (stream.snowplow_good().len(), stream.snowplow_bad().len())
}

/// The errors of the only bad row.
pub(crate) fn only_errors(collector: &DevCollector) -> String {
    let stream = collector.stream();
    assert_eq!(stream.snowplow_bad().len(), 1, "{:?}", stream.snowplow_bad());
    stream.snowplow_bad()[0].errors().join("\n")
}

pub(crate) fn contexts(entities: &[(&str, Json)]) -> String {
    let data: Vec<_> = entities.iter().map(|(schema, data)| json!({ "schema": schema, "data": data })).collect();
    json!({ "schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0", "data": data }).to_string()
}

pub(crate) fn unstruct(schema: &str, data: &Json) -> String {
    let inner = json!({ "schema": schema, "data": data });
    json!({ "schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0", "data": inner })
        .to_string()
}

pub(crate) fn client_session() -> Json {
    json!({
        "userId": "6de9024e-17b9-4026-bd4d-efec50ae84cb", "sessionId": SID, "sessionIndex": 2, "eventIndex": 1,
        "previousSessionId": null, "storageMechanism": "SQLITE", "firstEventId": EID,
        "firstEventTimestamp": "2026-11-20T08:00:00.000Z",
    })
}
