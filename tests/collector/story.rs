//! Signals as a well-behaved sender would write them, for tests to put together and to spoil.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use otel_session::collector::{DevCollector, Stream};
use serde_json::{Value as Json, json};

use crate::client::post_json;
use crate::wire::{EPOCH, SECOND, json_logs, json_pair, json_traces};

/// Seconds after the epoch of the tests, as nanoseconds on the wire.
pub(crate) fn at(seconds: u64) -> String {
    (EPOCH + seconds * SECOND).to_string()
}

pub(crate) fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(EPOCH + seconds * SECOND)
}

pub(crate) fn start(id: &str, previous: Option<&str>, seconds: u64) -> Json {
    let mut log = log(id, seconds);
    log["eventName"] = json!("session.start");
    if let Some(previous) = previous {
        push(&mut log, json_pair("session.previous_id", previous));
    }
    log
}

pub(crate) fn end(id: &str, reason: &str, seconds: u64) -> Json {
    let mut log = log(id, seconds);
    log["eventName"] = json!("session.end");
    push(&mut log, json_pair("otel_session.end.reason", reason));
    log
}

pub(crate) fn log(id: &str, seconds: u64) -> Json {
    json!({
        "timeUnixNano": at(seconds),
        "observedTimeUnixNano": at(seconds),
        "severityNumber": 9,
        "body": { "stringValue": "text" },
        "attributes": [json_pair("session.id", id)],
    })
}

pub(crate) fn span(id: &str, from: u64, to: u64) -> Json {
    json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": "work",
        "kind": 1,
        "startTimeUnixNano": at(from),
        "endTimeUnixNano": at(to),
        "attributes": [json_pair("session.id", id)],
    })
}

pub(crate) fn event(id: &str, seconds: u64) -> Json {
    json!({ "name": "click", "timeUnixNano": at(seconds), "attributes": [json_pair("session.id", id)] })
}

/// Adds an attribute.
pub(crate) fn push(signal: &mut Json, pair: Json) {
    signal["attributes"].as_array_mut().expect("signals have attributes").push(pair);
}

/// Two sessions, the second after the first, with signals of every kind, as a clean sender writes them.
pub(crate) fn clean_logs() -> Vec<Json> {
    vec![
        start("s1", None, 0),
        log("s1", 5),
        end("s1", "inactivity", 10),
        start("s2", Some("s1"), 40),
        log("s2", 40),
        log("s2", 41),
    ]
}

pub(crate) fn send_logs(collector: &DevCollector, logs: &[Json]) {
    send_logs_of(collector, "shop", logs);
}

pub(crate) fn send_logs_of(collector: &DevCollector, service: &str, logs: &[Json]) {
    let reply = post_json(&collector.otlp_http_endpoint(), "/v1/logs", &json_logs(service, logs));
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
}

pub(crate) fn send_spans(collector: &DevCollector, spans: &[Json]) {
    let reply = post_json(&collector.otlp_http_endpoint(), "/v1/traces", &json_traces("shop", spans));
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
}

/// What a collector says after these logs and then these spans.
pub(crate) fn stream_of(logs: &[Json], spans: &[Json]) -> Stream {
    let collector = DevCollector::start().expect("a collector");
    if !spans.is_empty() {
        send_spans(&collector, spans);
    }
    if !logs.is_empty() {
        send_logs(&collector, logs);
    }
    collector.stream()
}
