//! The stream as JSON lines, spans and logs in the vocabulary of OTLP JSON.

use serde_json::{Map, Value as Json, json};

use super::decode::base64_encode;
use super::opentracker::OpentrackerRecord;
use super::received::{Log, Resource, Scope, Span, SpanEvent, SpanKind, SpanLink, SpanStatus};
use super::snowplow::{SnowplowBad, SnowplowEvent};
use super::stream::Stream;
use super::value::{Attributes, Value};

pub(super) fn json_lines(stream: &Stream) -> String {
    let spans = stream.spans().iter().map(|span| (span.sequence, Record::Span(span)));
    let logs = stream.logs().iter().map(|log| (log.sequence, Record::Log(log)));
    let good = stream.snowplow_good().iter().map(|event| (event.sequence, Record::Good(event)));
    let bad = stream.snowplow_bad().iter().map(|row| (row.sequence, Record::Bad(row)));
    let events = stream.opentracker_events().iter().map(|event| (event.sequence, Record::Opentracker(event)));
    let mut records: Vec<_> = spans.chain(logs).chain(good).chain(bad).chain(events).collect();
    records.sort_by_key(|(sequence, _)| *sequence);
    let mut lines = String::new();
    for (_, record) in records {
        let line = match record {
            Record::Span(span) => span_line(span),
            Record::Log(log) => log_line(log),
            Record::Good(event) => good_line(event),
            Record::Bad(row) => bad_line(row),
            Record::Opentracker(event) => opentracker_line(event),
        };
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    lines
}

enum Record<'a> {
    Span(&'a Span),
    Log(&'a Log),
    Good(&'a SnowplowEvent),
    Bad(&'a SnowplowBad),
    Opentracker(&'a OpentrackerRecord),
}

fn good_line(event: &SnowplowEvent) -> Json {
    let contexts = event.contexts().iter().map(|(schema, data)| json!({ "schema": schema, "data": data }));
    let known = event.columns().map(|(name, value)| (name.to_owned(), value.clone()));
    json!({
        "kind": "snowplow_good",
        "sequence": event.sequence,
        "eventType": event.event_type(),
        "schema": event.schema(),
        "selfDescribing": event.self_describing(),
        "contexts": contexts.collect::<Vec<_>>(),
        "event": known.collect::<Map<_, _>>(),
    })
}

fn bad_line(row: &SnowplowBad) -> Json {
    json!({
        "kind": "snowplow_bad",
        "sequence": row.sequence,
        "errors": row.errors(),
        "parameters": row.parameters(),
    })
}

fn opentracker_line(event: &OpentrackerRecord) -> Json {
    let properties = event.properties().map(|(name, value)| (name.to_owned(), value.into()));
    json!({
        "kind": "opentracker",
        "sequence": event.sequence,
        "site": event.site,
        "properties": properties.collect::<Map<_, _>>(),
    })
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
