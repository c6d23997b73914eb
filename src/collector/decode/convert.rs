//! From wire messages to received values: lengths of ids, depth of values, sizes.

use std::sync::Arc;

use super::wire::{self, Kind};
use super::{Batch, MAX_VALUE_DEPTH, Malformed};
use crate::collector::received::{Log, Resource, Scope, Span, SpanEvent, SpanKind, SpanLink, SpanStatus};
use crate::collector::value::{Attributes, Value};

pub(super) fn spans(request: wire::TracesRequest) -> Result<Batch, Malformed> {
    let mut spans = Vec::new();
    for group in request.resource_spans {
        let resource = resource(group.resource, group.schema_url)?;
        for group in group.scope_spans {
            let scope = scope(group.scope, group.schema_url)?;
            let shared = share_of_origin(&resource, &scope, group.spans.len());
            for one in group.spans {
                spans.push(span(one, &resource, &scope, shared)?);
            }
        }
    }
    Ok(Batch::Spans(spans))
}

pub(super) fn logs(request: wire::LogsRequest) -> Result<Batch, Malformed> {
    let mut logs = Vec::new();
    for group in request.resource_logs {
        let resource = resource(group.resource, group.schema_url)?;
        for group in group.scope_logs {
            let scope = scope(group.scope, group.schema_url)?;
            let shared = share_of_origin(&resource, &scope, group.log_records.len());
            for one in group.log_records {
                logs.push(log(one, &resource, &scope, shared)?);
            }
        }
    }
    Ok(Batch::Logs(logs))
}

pub(super) fn metrics(request: &wire::MetricsRequest) -> Batch {
    let scopes = request.resource_metrics.iter().flat_map(|group| &group.scope_metrics);
    Batch::Metrics(scopes.map(|group| group.metrics.len() as u64).sum())
}

fn span(span: wire::Span, resource: &Arc<Resource>, scope: &Arc<Scope>, shared: usize) -> Result<Span, Malformed> {
    let events = span.events.into_iter().map(event).collect::<Result<Vec<_>, _>>()?;
    let links = span.links.into_iter().map(link).collect::<Result<Vec<_>, _>>()?;
    let attributes = attributes(span.attributes, 0)?;
    let status = status(span.status);
    let size = size_of::<Span>()
        + shared
        + IDS_SIZE
        + span.name.len()
        + span.trace_state.len()
        + attributes.size()
        + if let SpanStatus::Error(message) = &status { message.len() } else { 0 }
        + events.iter().map(|e| size_of::<SpanEvent>() + e.name.len() + e.attributes.size()).sum::<usize>()
        + links
            .iter()
            .map(|l| size_of::<SpanLink>() + IDS_SIZE + l.trace_state.len() + l.attributes.size())
            .sum::<usize>();
    Ok(Span {
        sequence: 0,
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
        trace_id: id("traceId", &span.trace_id, 16)?,
        span_id: id("spanId", &span.span_id, 8)?,
        parent_span_id: id("parentSpanId", &span.parent_span_id, 8)?,
        trace_state: span.trace_state,
        flags: span.flags,
        name: span.name,
        kind: kind(span.kind),
        start_unix_nanos: span.start_time_unix_nano,
        end_unix_nanos: span.end_time_unix_nano,
        attributes,
        dropped_attributes: span.dropped_attributes_count,
        events,
        dropped_events: span.dropped_events_count,
        links,
        dropped_links: span.dropped_links_count,
        status,
        size,
    })
}

fn event(event: wire::SpanEvent) -> Result<SpanEvent, Malformed> {
    Ok(SpanEvent {
        name: event.name,
        time_unix_nanos: event.time_unix_nano,
        attributes: attributes(event.attributes, 0)?,
        dropped_attributes: event.dropped_attributes_count,
    })
}

fn link(link: wire::SpanLink) -> Result<SpanLink, Malformed> {
    Ok(SpanLink {
        trace_id: id("traceId", &link.trace_id, 16)?,
        span_id: id("spanId", &link.span_id, 8)?,
        trace_state: link.trace_state,
        attributes: attributes(link.attributes, 0)?,
        dropped_attributes: link.dropped_attributes_count,
        flags: link.flags,
    })
}

fn kind(number: i32) -> SpanKind {
    match number {
        1 => SpanKind::Internal,
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

fn status(status: Option<wire::SpanStatus>) -> SpanStatus {
    match status {
        Some(wire::SpanStatus { code: 1, .. }) => SpanStatus::Ok,
        Some(wire::SpanStatus { code: 2, message }) => SpanStatus::Error(message),
        _ => SpanStatus::Unset,
    }
}

fn log(log: wire::LogRecord, resource: &Arc<Resource>, scope: &Arc<Scope>, shared: usize) -> Result<Log, Malformed> {
    let body = log.body.map(|body| value(body, 0)).transpose()?;
    let attributes = attributes(log.attributes, 0)?;
    let size = size_of::<Log>()
        + shared
        + IDS_SIZE
        + log.severity_text.len()
        + log.event_name.len()
        + body.as_ref().map_or(0, Value::size)
        + attributes.size();
    Ok(Log {
        sequence: 0,
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
        time_unix_nanos: log.time_unix_nano,
        observed_unix_nanos: log.observed_time_unix_nano,
        severity_number: log.severity_number,
        severity_text: log.severity_text,
        event_name: log.event_name,
        body,
        attributes,
        dropped_attributes: log.dropped_attributes_count,
        trace_id: id("traceId", &log.trace_id, 16)?,
        span_id: id("spanId", &log.span_id, 8)?,
        flags: log.flags,
        size,
    })
}

fn resource(resource: Option<wire::Resource>, schema_url: String) -> Result<Arc<Resource>, Malformed> {
    let resource = resource.unwrap_or_default();
    Ok(Arc::new(Resource {
        attributes: attributes(resource.attributes, 0)?,
        dropped_attributes: resource.dropped_attributes_count,
        schema_url,
    }))
}

fn scope(scope: Option<wire::Scope>, schema_url: String) -> Result<Arc<Scope>, Malformed> {
    let scope = scope.unwrap_or_default();
    Ok(Arc::new(Scope {
        name: scope.name,
        version: scope.version,
        attributes: attributes(scope.attributes, 0)?,
        dropped_attributes: scope.dropped_attributes_count,
        schema_url,
    }))
}

/// Resource and scope are shared by a group's records: each answers for its part of their size.
fn share_of_origin(resource: &Resource, scope: &Scope, records: usize) -> usize {
    let strings = resource.schema_url.len() + scope.name.len() + scope.version.len() + scope.schema_url.len();
    (strings + resource.attributes.size() + scope.attributes.size()) / records.max(1) + 1
}

fn attributes(pairs: Vec<wire::KeyValue>, depth: usize) -> Result<Attributes, Malformed> {
    let pair = |pair: wire::KeyValue| Ok((pair.key, value(pair.value.unwrap_or_default(), depth)?));
    pairs.into_iter().map(pair).collect()
}

fn value(any: wire::AnyValue, depth: usize) -> Result<Value, Malformed> {
    if depth > MAX_VALUE_DEPTH {
        return Err(Malformed::new(format!("attribute values are nested more than {MAX_VALUE_DEPTH} deep")));
    }
    Ok(match any.kind {
        None => Value::Empty,
        Some(Kind::String(text)) => Value::String(text),
        Some(Kind::Bool(truth)) => Value::Bool(truth),
        Some(Kind::Int(number)) => Value::Int(number),
        Some(Kind::Double(number)) => Value::Double(number),
        Some(Kind::Bytes(bytes)) => Value::Bytes(bytes),
        Some(Kind::Array(array)) => {
            let values = array.values.into_iter().map(|inner| value(inner, depth + 1));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Some(Kind::Map(map)) => Value::Map(attributes(map.values, depth + 1)?),
    })
}

/// An id is absent (no bytes) or whole.
fn id(field: &str, bytes: &[u8], length: usize) -> Result<String, Malformed> {
    if !bytes.is_empty() && bytes.len() != length {
        return Err(Malformed::new(format!("{field} has {} bytes instead of {length}", bytes.len())));
    }
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    Ok(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

/// A trace id and two span ids in hex.
const IDS_SIZE: usize = 64;
