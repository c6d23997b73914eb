//! The stream as JSON lines, in the vocabulary of OTLP JSON.

use serde_json::{Map, Value as Json, json};

use super::decode::base64_encode;
use super::received::{Log, Resource, Scope, Span, SpanEvent, SpanKind, SpanLink, SpanStatus};
use super::stream::Stream;
use super::value::{Attributes, Value};

pub(super) fn json_lines(stream: &Stream) -> String {
    let (mut spans, mut logs) = (stream.spans().iter().peekable(), stream.logs().iter().peekable());
    let mut lines = String::new();
    loop {
        let line = match (spans.peek(), logs.peek()) {
            (Some(span), log) if log.is_none_or(|log| span.sequence < log.sequence) => {
                spans.next().map(|s| span_line(s))
            }
            _ => logs.next().map(|log| log_line(log)),
        };
        let Some(line) = line else { return lines };
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
}

fn span_line(span: &Span) -> Json {
    json!({
        "kind": "span",
        "sequence": span.sequence,
        "resource": resource(&span.resource),
        "scope": scope(&span.scope),
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_span_id,
        "traceState": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "spanKind": span_kind(span.kind),
        "startTimeUnixNano": span.start_unix_nanos.to_string(),
        "endTimeUnixNano": span.end_unix_nanos.to_string(),
        "attributes": attributes(&span.attributes),
        "droppedAttributesCount": span.dropped_attributes,
        "events": span.events.iter().map(event).collect::<Vec<_>>(),
        "droppedEventsCount": span.dropped_events,
        "links": span.links.iter().map(link).collect::<Vec<_>>(),
        "droppedLinksCount": span.dropped_links,
        "status": status(&span.status),
    })
}

fn log_line(log: &Log) -> Json {
    let mut line = json!({
        "kind": "log",
        "sequence": log.sequence,
        "resource": resource(&log.resource),
        "scope": scope(&log.scope),
        "eventName": log.event_name,
        "timeUnixNano": log.time_unix_nanos.to_string(),
        "observedTimeUnixNano": log.observed_unix_nanos.to_string(),
        "severityNumber": log.severity_number,
        "severityText": log.severity_text,
        "attributes": attributes(&log.attributes),
        "droppedAttributesCount": log.dropped_attributes,
        "traceId": log.trace_id,
        "spanId": log.span_id,
        "flags": log.flags,
    });
    // Left out when absent: some readers refuse a body that is null.
    if let (Some(body), Some(line)) = (&log.body, line.as_object_mut()) {
        line.insert("body".to_owned(), value(body));
    }
    line
}

fn resource(resource: &Resource) -> Json {
    json!({
        "attributes": attributes(&resource.attributes),
        "droppedAttributesCount": resource.dropped_attributes,
        "schemaUrl": resource.schema_url,
    })
}

fn scope(scope: &Scope) -> Json {
    json!({
        "name": scope.name,
        "version": scope.version,
        "attributes": attributes(&scope.attributes),
        "droppedAttributesCount": scope.dropped_attributes,
        "schemaUrl": scope.schema_url,
    })
}

fn event(event: &SpanEvent) -> Json {
    json!({
        "name": event.name,
        "timeUnixNano": event.time_unix_nanos.to_string(),
        "attributes": attributes(&event.attributes),
        "droppedAttributesCount": event.dropped_attributes,
    })
}

fn link(link: &SpanLink) -> Json {
    json!({
        "traceId": link.trace_id,
        "spanId": link.span_id,
        "traceState": link.trace_state,
        "attributes": attributes(&link.attributes),
        "droppedAttributesCount": link.dropped_attributes,
        "flags": link.flags,
    })
}

/// `kind` names the signal in a line, so the span's own kind has another name here.
fn span_kind(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Unspecified => 0,
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn status(status: &SpanStatus) -> Json {
    match status {
        SpanStatus::Unset => json!({ "code": 0 }),
        SpanStatus::Ok => json!({ "code": 1 }),
        SpanStatus::Error(message) => json!({ "code": 2, "message": message }),
    }
}

fn attributes(attributes: &Attributes) -> Json {
    attributes.iter().map(|(key, inner)| json!({ "key": key, "value": value(inner) })).collect()
}

fn value(inner: &Value) -> Json {
    match inner {
        Value::Empty => Json::Object(Map::new()),
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(truth) => json!({ "boolValue": truth }),
        Value::Int(number) => json!({ "intValue": number.to_string() }),
        Value::Double(number) if number.is_nan() => json!({ "doubleValue": "NaN" }),
        Value::Double(number) if number.is_infinite() => {
            json!({ "doubleValue": if *number > 0.0 { "Infinity" } else { "-Infinity" } })
        }
        Value::Double(number) => json!({ "doubleValue": number }),
        Value::Bytes(bytes) => json!({ "bytesValue": base64_encode(bytes) }),
        Value::Array(values) => json!({ "arrayValue": { "values": values.iter().map(value).collect::<Vec<_>>() } }),
        Value::Map(values) => json!({ "kvlistValue": { "values": attributes(values) } }),
    }
}
