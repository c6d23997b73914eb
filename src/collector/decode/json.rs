//! OTLP JSON, walked by hand: lowerCamelCase names, 64-bit numbers as strings or numbers, ids in hex, bytes in base64,
//! enums as numbers. Whole numbers may be written `1.0` or `1e3`, quoted or not. Unknown names are ignored and `null` is
//! absence, as the protobuf JSON mapping has it.

use serde_json::{Map, Value as Json};

use super::wire::{self, Kind};
use super::{Malformed, base64};

/// Reads the document, refusing one whose values would take more than `budget` bytes.
pub(super) fn parse(body: &[u8], budget: usize) -> Result<Json, Malformed> {
    if values_in(body) > budget / VALUE_SIZE {
        return Err(Malformed::too_many());
    }
    // The parser itself refuses more than 128 levels.
    serde_json::from_slice(body).map_err(|error| Malformed::new(error.to_string()))
}

pub(super) fn traces(document: &Json) -> Result<wire::TracesRequest, Malformed> {
    let root = Object::of(document, "the document")?;
    Ok(wire::TracesRequest { resource_spans: root.list("resourceSpans", resource_spans)? })
}

pub(super) fn logs(document: &Json) -> Result<wire::LogsRequest, Malformed> {
    let root = Object::of(document, "the document")?;
    Ok(wire::LogsRequest { resource_logs: root.list("resourceLogs", resource_logs)? })
}

pub(super) fn metrics(document: &Json) -> Result<wire::MetricsRequest, Malformed> {
    let root = Object::of(document, "the document")?;
    Ok(wire::MetricsRequest { resource_metrics: root.list("resourceMetrics", resource_metrics)? })
}

fn resource_spans(group: Object<'_>) -> Result<wire::ResourceSpans, Malformed> {
    Ok(wire::ResourceSpans {
        resource: group.object("resource", resource)?,
        scope_spans: group.list("scopeSpans", |group| {
            Ok(wire::ScopeSpans {
                scope: group.object("scope", scope)?,
                spans: group.list("spans", span)?,
                schema_url: group.text("schemaUrl")?,
            })
        })?,
        schema_url: group.text("schemaUrl")?,
    })
}

fn resource_logs(group: Object<'_>) -> Result<wire::ResourceLogs, Malformed> {
    Ok(wire::ResourceLogs {
        resource: group.object("resource", resource)?,
        scope_logs: group.list("scopeLogs", |group| {
            Ok(wire::ScopeLogs {
                scope: group.object("scope", scope)?,
                log_records: group.list("logRecords", log)?,
                schema_url: group.text("schemaUrl")?,
            })
        })?,
        schema_url: group.text("schemaUrl")?,
    })
}

fn resource_metrics(group: Object<'_>) -> Result<wire::ResourceMetrics, Malformed> {
    Ok(wire::ResourceMetrics {
        scope_metrics: group.list("scopeMetrics", |group| {
            let metrics = group.list("metrics", |metric| Ok(wire::Metric { name: metric.text("name")? }))?;
            Ok(wire::ScopeMetrics { metrics })
        })?,
    })
}

fn resource(resource: Object<'_>) -> Result<wire::Resource, Malformed> {
    Ok(wire::Resource {
        attributes: resource.list("attributes", key_value)?,
        dropped_attributes_count: resource.number("droppedAttributesCount")?,
    })
}

fn scope(scope: Object<'_>) -> Result<wire::Scope, Malformed> {
    Ok(wire::Scope {
        name: scope.text("name")?,
        version: scope.text("version")?,
        attributes: scope.list("attributes", key_value)?,
        dropped_attributes_count: scope.number("droppedAttributesCount")?,
    })
}

fn span(span: Object<'_>) -> Result<wire::Span, Malformed> {
    Ok(wire::Span {
        trace_id: span.hex("traceId")?,
        span_id: span.hex("spanId")?,
        trace_state: span.text("traceState")?,
        parent_span_id: span.hex("parentSpanId")?,
        flags: span.number("flags")?,
        name: span.text("name")?,
        kind: span.number("kind")?,
        start_time_unix_nano: span.number("startTimeUnixNano")?,
        end_time_unix_nano: span.number("endTimeUnixNano")?,
        attributes: span.list("attributes", key_value)?,
        dropped_attributes_count: span.number("droppedAttributesCount")?,
        events: span.list("events", event)?,
        dropped_events_count: span.number("droppedEventsCount")?,
        links: span.list("links", link)?,
        dropped_links_count: span.number("droppedLinksCount")?,
        status: span.object("status", |status| {
            Ok(wire::SpanStatus { message: status.text("message")?, code: status.number("code")? })
        })?,
    })
}

fn event(event: Object<'_>) -> Result<wire::SpanEvent, Malformed> {
    Ok(wire::SpanEvent {
        time_unix_nano: event.number("timeUnixNano")?,
        name: event.text("name")?,
        attributes: event.list("attributes", key_value)?,
        dropped_attributes_count: event.number("droppedAttributesCount")?,
    })
}

fn link(link: Object<'_>) -> Result<wire::SpanLink, Malformed> {
    Ok(wire::SpanLink {
        trace_id: link.hex("traceId")?,
        span_id: link.hex("spanId")?,
        trace_state: link.text("traceState")?,
        attributes: link.list("attributes", key_value)?,
        dropped_attributes_count: link.number("droppedAttributesCount")?,
        flags: link.number("flags")?,
    })
}

fn log(log: Object<'_>) -> Result<wire::LogRecord, Malformed> {
    Ok(wire::LogRecord {
        time_unix_nano: log.number("timeUnixNano")?,
        observed_time_unix_nano: log.number("observedTimeUnixNano")?,
        severity_number: log.number("severityNumber")?,
        severity_text: log.text("severityText")?,
        body: log.object("body", any_value)?,
        attributes: log.list("attributes", key_value)?,
        dropped_attributes_count: log.number("droppedAttributesCount")?,
        flags: log.number("flags")?,
        trace_id: log.hex("traceId")?,
        span_id: log.hex("spanId")?,
        event_name: log.text("eventName")?,
    })
}

fn key_value(pair: Object<'_>) -> Result<wire::KeyValue, Malformed> {
    Ok(wire::KeyValue { key: pair.text("key")?, value: pair.object("value", any_value)? })
}

/// Recursion here is bounded by the parser's 128 levels; the bound on values is checked in the conversion.
fn any_value(value: Object<'_>) -> Result<wire::AnyValue, Malformed> {
    let kind = if let Some(text) = value.get("stringValue") {
        Some(Kind::String(text.as_str().ok_or_else(|| wrong("stringValue", "a string"))?.to_owned()))
    } else if let Some(truth) = value.get("boolValue") {
        Some(Kind::Bool(truth.as_bool().ok_or_else(|| wrong("boolValue", "true or false"))?))
    } else if value.get("intValue").is_some() {
        Some(Kind::Int(value.number("intValue")?))
    } else if let Some(number) = value.get("doubleValue") {
        Some(Kind::Double(double(number).ok_or_else(|| wrong("doubleValue", "a number"))?))
    } else if let Some(text) = value.get("bytesValue") {
        let bytes = text.as_str().and_then(base64::decode);
        Some(Kind::Bytes(bytes.ok_or_else(|| wrong("bytesValue", "base64"))?))
    } else if let Some(array) = value.object("arrayValue", |array| array.list("values", any_value))? {
        Some(Kind::Array(wire::ArrayValue { values: array }))
    } else {
        let map = value.object("kvlistValue", |map| map.list("values", key_value))?;
        map.map(|values| Kind::Map(wire::MapValue { values }))
    };
    Ok(wire::AnyValue { kind })
}

fn double(number: &Json) -> Option<f64> {
    match number {
        Json::Number(number) => number.as_f64(),
        // "NaN", "Infinity" and "-Infinity" are how the mapping spells them; Rust reads all three.
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A whole number with a fraction of zero or an exponent: as near as a double comes, which is what other readers of the
/// mapping make of it too. One so far below zero that it may have been rounded into the range is none.
fn whole(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number > i64::MIN as f64).then_some(number as i128)
}

#[derive(Clone, Copy)]
struct Object<'a>(&'a Map<String, Json>);

impl<'a> Object<'a> {
    fn of(json: &'a Json, name: &str) -> Result<Self, Malformed> {
        json.as_object().map(Self).ok_or_else(|| wrong(name, "an object"))
    }

    fn get(&self, name: &str) -> Option<&'a Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<String, Malformed> {
        let Some(value) = self.get(name) else { return Ok(String::new()) };
        value.as_str().map(str::to_owned).ok_or_else(|| wrong(name, "a string"))
    }

    /// Absent is zero, as everywhere in protobuf.
    fn number<N: TryFrom<i128> + Default>(&self, name: &str) -> Result<N, Malformed> {
        let Some(value) = self.get(name) else { return Ok(N::default()) };
        let number = match value {
            Json::Number(number) => number.as_i128().or_else(|| whole(number.as_f64()?)),
            Json::String(text) => text.parse().ok().or_else(|| whole(text.parse().ok()?)),
            _ => None,
        };
        number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| wrong(name, "a whole number in range"))
    }

    fn hex(&self, name: &str) -> Result<Vec<u8>, Malformed> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let digits: Option<Vec<u32>> = value.as_str().and_then(|text| text.chars().map(|c| c.to_digit(16)).collect());
        match digits {
            Some(digits) if digits.len() % 2 == 0 => {
                Ok(digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
            }
            _ => Err(wrong(name, "hex digits")),
        }
    }

    fn object<T>(
        &self,
        name: &str,
        read: impl FnOnce(Object<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        self.get(name).map(|value| read(Object::of(value, name)?)).transpose()
    }

    fn list<T>(&self, name: &str, read: impl Fn(Object<'a>) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| wrong(name, "an array"))?;
        items.iter().map(|item| read(Object::of(item, name)?)).collect()
    }
}

fn wrong(name: &str, expected: &str) -> Malformed {
    Malformed::new(format!("{name} is not {expected}"))
}

/// An upper bound on the values of a document: every value but the first follows a comma or an opening bracket.
fn values_in(body: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// About what a value takes, in bytes, with its name and its place in a list.
const VALUE_SIZE: usize = 96;
