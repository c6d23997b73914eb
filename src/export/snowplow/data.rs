//! The data of our self-describing events, as the schemas in `semconv/iglu` describe them.

use std::collections::HashMap;

use opentelemetry::logs::AnyValue;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Key, KeyValue, SpanId, TraceId};
use opentelemetry_sdk::trace::SpanData;

use super::encode::Event;
use super::ids::dashed;
use super::json::{Json, cut_chars};
use super::record::{Attribute, Kind, Left, Record, Source};
use crate::{clock, semconv};

/// Writes the data of an event under the schema of its kind.
pub(super) fn write(json: &mut Json<'_>, it: &Event<'_, '_>) {
    json.add_cuts(it.record.duplicates);
    json.raw(b"{");
    let mut first = true;
    if let Some(id) = it.session_text {
        json.fixed_key(&mut first, "sessionId");
        json.short_text(id, SHORT);
    }
    match it.record.kind {
        Kind::SessionStart | Kind::SessionEnd => session(json, &mut first, it),
        Kind::Event | Kind::Span => {
            json.fixed_key(&mut first, "name");
            json.short_text(it.record.name, LONG);
        }
        Kind::Log => {}
    }
    attributes(json, &mut first, it);
    match it.record.source {
        Source::Log(log) => {
            if let Some(body) = log.body() {
                json.fixed_key(&mut first, "body");
                write_body(json, it, body);
            }
            if let Some(severity) = log.severity_number() {
                json.fixed_key(&mut first, "severityNumber");
                json.int(severity as i64);
            }
            if let Some(text) = log.severity_text().filter(|text| !text.is_empty()) {
                json.fixed_key(&mut first, "severityText");
                json.short_text(text, SHORT);
            }
            if let Some(target) = log.target().filter(|target| !target.is_empty()) {
                json.fixed_key(&mut first, "target");
                json.short_text(target, LONG);
            }
        }
        Source::Span(span) => span_members(json, &mut first, it, span),
        Source::Implied => {}
    }
    origin(json, &mut first, it.record);
    json.raw(b"}");
}

/// Writes attributes as the data themselves, for events under a schema of their name.
pub(super) fn write_attributes_as_data(json: &mut Json<'_>, it: &Event<'_, '_>) {
    json.add_cuts(it.record.duplicates);
    json.raw(b"{");
    let mut first = true;
    let has_body = it.attribute("body").is_some();
    if let Some(id) = it.session_text {
        json.fixed_key(&mut first, semconv::SESSION_ID);
        json.short_text(id, SHORT);
    }
    members(json, &mut first, it, it.session_text.map(|_| semconv::SESSION_ID));
    match it.record.source {
        Source::Log(log) if has_body => json.add_cuts(u64::from(log.body().is_some())),
        Source::Log(log) => {
            if let Some(body) = log.body() {
                json.fixed_key(&mut first, "body");
                write_body(json, it, body);
            }
        }
        Source::Span(_) | Source::Implied => {}
    }
    json.raw(b"}");
}

/// What the two events of a session say besides.
fn session(json: &mut Json<'_>, first: &mut bool, it: &Event<'_, '_>) {
    let previous = it.record.known.previous_id.filter(|_| it.anonymity.names_users() && it.anonymity.names_sessions());
    let is_itself = |previous: &str| it.record.known.session_id.is_some_and(|id| is_same_session(id, previous));
    if let Some(previous) = previous.filter(|previous| !is_itself(previous)) {
        json.fixed_key(first, "previousSessionId");
        json.short_text(previous, SHORT);
    }
    if let Some(index) = it.record.known.index.filter(|_| it.anonymity.names_sessions()) {
        json.fixed_key(first, "sessionIndex");
        json.int(index);
    }
    if matches!(it.record.source, Source::Implied) {
        json.fixed_key(first, "implied");
        json.bool(true);
    }
    for (name, key) in [("storage", semconv::OTEL_SESSION_STORAGE), ("endReason", semconv::OTEL_SESSION_END_REASON)] {
        if let Some(text) = it.attribute(key).and_then(Attribute::str) {
            json.fixed_key(first, name);
            json.short_text(text, SHORT);
        }
    }
    if let Some(sampled) = it.attribute(semconv::OTEL_SESSION_SAMPLED).and_then(Attribute::bool) {
        json.fixed_key(first, "sampled");
        json.bool(sampled);
    }
    if let Some(seconds) = it.attribute(semconv::OTEL_SESSION_DURATION).and_then(duration) {
        json.fixed_key(first, "duration");
        json.float(seconds);
    }
}

/// Whether two ids are of one session, as `sid` has it: case makes no difference in UUIDs, only there.
fn is_same_session(one: &str, other: &str) -> bool {
    one == other || dashed(one).is_some_and(|id| dashed(other) == Some(id))
}

fn duration(value: Attribute<'_>) -> Option<f64> {
    value.float().filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
}

/// Whether the data of a session's events have a name of their own for an attribute; with a value of another type it
/// stays an attribute.
fn is_lifted(key: &str, value: Attribute<'_>) -> bool {
    match key {
        semconv::OTEL_SESSION_STORAGE | semconv::OTEL_SESSION_END_REASON => value.str().is_some(),
        semconv::OTEL_SESSION_SAMPLED => value.bool().is_some(),
        semconv::OTEL_SESSION_DURATION => duration(value).is_some(),
        _ => false,
    }
}

fn attributes(json: &mut Json<'_>, first: &mut bool, it: &Event<'_, '_>) {
    if it.rest.is_empty() {
        return;
    }
    json.fixed_key(first, "attributes");
    json.raw(b"{");
    members(json, &mut true, it, None);
    json.raw(b"}");
}

/// What is left, but for a key that has been `said`.
fn members(json: &mut Json<'_>, first: &mut bool, it: &Event<'_, '_>, said: Option<&str>) {
    for Left { key, value, text } in it.rest {
        if said == Some(*key) {
            json.add_cuts(1);
            continue;
        }
        if !it.shows(key) || it.record.is_of_session() && is_lifted(key, *value) {
            continue;
        }
        if json.is_full() {
            break;
        }
        match text.of(it.texts) {
            Some(text) => json.ready_key(first, text),
            None => json.member_key(first, key),
        }
        match value {
            Attribute::Any(value) => json.any(value),
            Attribute::Value(value) => json.value(value),
        }
    }
}

/// A body; of a map only the members that the event may show.
fn write_body(json: &mut Json<'_>, it: &Event<'_, '_>, body: &AnyValue) {
    let masked = !it.anonymity.names_users() || !it.anonymity.names_sessions();
    let AnyValue::Map(all) = body else { return json.any(body) };
    if !masked {
        return json.any(body);
    }
    json.raw(b"{");
    let mut first = true;
    for (key, value) in all.iter().filter(|(key, _)| it.shows(Key::as_str(key))) {
        if json.is_full() {
            break;
        }
        json.member_key(&mut first, key.as_str());
        json.any(value);
    }
    json.raw(b"}");
}

/// Where a record was made: its trace and its scope.
fn origin(json: &mut Json<'_>, first: &mut bool, record: &Record<'_>) {
    if let Some((trace, span)) = record.trace {
        ids(json, first, trace, span);
    }
    let scope = record.scope;
    if !scope.name().is_empty() {
        json.fixed_key(first, "scopeName");
        json.short_text(scope.name(), SHORT);
        if let Some(version) = scope.version().filter(|version| !version.is_empty()) {
            json.fixed_key(first, "scopeVersion");
            json.short_text(version, SHORT);
        }
    }
}

fn ids(json: &mut Json<'_>, first: &mut bool, trace: TraceId, span: Option<SpanId>) {
    json.fixed_key(first, "traceId");
    json.hex(u128::from_be_bytes(trace.to_bytes()), 32);
    if let Some(span) = span {
        json.fixed_key(first, "spanId");
        json.hex(u128::from(u64::from_be_bytes(span.to_bytes())), 16);
    }
}

fn span_members(json: &mut Json<'_>, first: &mut bool, it: &Event<'_, '_>, span: &SpanData) {
    json.fixed_key(first, "kind");
    json.string(match span.span_kind {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal => "internal",
    });
    if span.parent_span_id != SpanId::INVALID {
        json.fixed_key(first, "parentSpanId");
        json.hex(u128::from(u64::from_be_bytes(span.parent_span_id.to_bytes())), 16);
    }
    let (start, end) = (clock::to_nanos(span.start_time), clock::to_nanos(span.end_time));
    json.fixed_key(first, "durationNanos");
    json.int(end.saturating_sub(start).max(0));
    json.fixed_key(first, "status");
    match &span.status {
        Status::Unset => json.string("unset"),
        Status::Ok => json.string("ok"),
        Status::Error { description } => {
            json.string("error");
            if !description.is_empty() {
                json.fixed_key(first, "statusMessage");
                json.text(cut_chars(description, STATUS_MESSAGE));
            }
        }
    }
    span_events(json, first, it, span);
    span_links(json, first, it, span);
}

fn span_events(json: &mut Json<'_>, first: &mut bool, it: &Event<'_, '_>, span: &SpanData) {
    if span.events.events.is_empty() {
        return;
    }
    json.fixed_key(first, "events");
    json.list(span.events.events.iter(), |json, event| {
        json.raw(b"{");
        let mut first = true;
        json.fixed_key(&mut first, "name");
        json.short_text(&event.name, LONG);
        json.fixed_key(&mut first, "timeUnixNano");
        json.int(clock::to_nanos(event.timestamp));
        json.fixed_key(&mut first, "attributes");
        part_attributes(json, it, &event.attributes);
        json.raw(b"}");
    });
}

fn span_links(json: &mut Json<'_>, first: &mut bool, it: &Event<'_, '_>, span: &SpanData) {
    if span.links.links.is_empty() {
        return;
    }
    json.fixed_key(first, "links");
    json.list(span.links.links.iter(), |json, link| {
        json.raw(b"{");
        let mut first = true;
        ids(json, &mut first, link.span_context.trace_id(), Some(link.span_context.span_id()));
        json.fixed_key(&mut first, "attributes");
        part_attributes(json, it, &link.attributes);
        json.raw(b"}");
    });
}

/// The attributes of an event or a link of a span. The last one of a key counts, as in the span's own.
fn part_attributes(json: &mut Json<'_>, it: &Event<'_, '_>, attributes: &[KeyValue]) {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut shown: Vec<&KeyValue> = Vec::with_capacity(attributes.len());
    for attribute in attributes.iter().filter(|attribute| it.shows(attribute.key.as_str())) {
        match places.get(attribute.key.as_str()) {
            Some(place) => {
                shown[*place] = attribute;
                json.add_cuts(1);
            }
            None => {
                places.insert(attribute.key.as_str(), shown.len());
                shown.push(attribute);
            }
        }
    }
    json.raw(b"{");
    let mut first = true;
    for attribute in shown {
        if json.is_full() {
            break;
        }
        json.member_key(&mut first, attribute.key.as_str());
        json.value(&attribute.value);
    }
    json.raw(b"}");
}

/// The greatest lengths that our schemas give, in characters.
const SHORT: usize = 255;
const LONG: usize = 1024;
const STATUS_MESSAGE: usize = 65_535;
