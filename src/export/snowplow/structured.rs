//! Structured events: five fields that every pipeline knows, for those without our schemas.

use super::EventStyle;
use super::encode::Event;
use super::fields::write_text;
use super::hook::{MappedEvent, StructuredEvent};
use super::map_settings::MapSettings;
use super::record::{Attribute, Kind, Source};
use crate::{clock, semconv};
use opentelemetry::logs::AnyValue;

/// The structured event that an event becomes, if it is to be one.
///
/// | | `se_ca` | `se_ac` | `se_la` | `se_pr` | `se_va` |
/// |---|---|---|---|---|---|
/// | event of a session | `session` | name | why it ended | the session's id as the record has it | seconds |
/// | event | scope, else `event` | name | body if a text, else severity | the same | |
/// | log | scope, else `log` | severity, else `log` | body if a text | the same | |
/// | span | scope, else `span` | name | status message | the same | milliseconds |
pub(super) fn of(it: &Event<'_, '_>, settings: &MapSettings) -> Option<StructuredEvent> {
    match it.content {
        MappedEvent::Structured(event) if is_complete(event) => Some(event.clone()),
        MappedEvent::Structured(event) => Some(completed(event, &usual(it))),
        MappedEvent::SelfDescribing(_) => None,
        MappedEvent::Usual | MappedEvent::Skip if settings.style != EventStyle::Structured => None,
        MappedEvent::Usual | MappedEvent::Skip => Some(usual(it)),
    }
}

/// Whether a mapping's event has what no pipeline does without.
fn is_complete(event: &StructuredEvent) -> bool {
    !is_blank(&event.category) && !is_blank(&event.action)
}

/// Whether nothing of a text can be seen: control characters are written as blanks.
fn is_blank(text: &str) -> bool {
    text.chars().all(|char| char.is_whitespace() || char.is_ascii_control())
}

/// A mapping's event with what it lacks as it usually is.
fn completed(event: &StructuredEvent, usual: &StructuredEvent) -> StructuredEvent {
    let or = |text: &str, usual: &str| if is_blank(text) { usual.to_owned() } else { text.to_owned() };
    let (category, action) = (or(&event.category, &usual.category), or(&event.action, &usual.action));
    StructuredEvent { category, action, ..event.clone() }
}

fn usual(it: &Event<'_, '_>) -> StructuredEvent {
    let record = it.record;
    let scope = |or: &str| if is_blank(record.scope.name()) { or.to_owned() } else { record.scope.name().to_owned() };
    let (category, fallback) = match record.kind {
        Kind::SessionStart | Kind::SessionEnd => ("session".to_owned(), record.name),
        Kind::Event => (scope("event"), "event"),
        Kind::Log => (scope("log"), "log"),
        Kind::Span => (scope("span"), "span"),
    };
    let mut severity = None;
    let mut body = None;
    let (mut label, mut value) = (None, None);
    match record.source {
        Source::Log(log) => {
            let said = log.severity_text().filter(|text| !is_blank(text));
            severity = said.or_else(|| log.severity_number().map(|severity| severity.name()));
            body = match log.body() {
                Some(AnyValue::String(text)) => Some(text.as_str()).filter(|text| !text.is_empty()),
                _ => None,
            };
        }
        Source::Span(span) => {
            if let opentelemetry::trace::Status::Error { description } = &span.status {
                label = Some(description.clone().into_owned());
            }
            let nanos = clock::to_nanos(span.end_time).saturating_sub(clock::to_nanos(span.start_time));
            #[allow(clippy::cast_precision_loss)] // milliseconds of a span
            let millis = (nanos.max(0) / 1_000_000) as f64;
            value = Some(millis);
        }
        Source::Implied => {}
    }
    if record.is_of_session() {
        label = it.attribute(semconv::OTEL_SESSION_END_REASON).and_then(Attribute::str).map(str::to_owned);
        value = it.attribute(semconv::OTEL_SESSION_DURATION).and_then(Attribute::float);
    }
    let action = match record.kind {
        Kind::Log => severity.unwrap_or(fallback),
        _ if is_blank(record.name) => fallback,
        _ => record.name,
    };
    StructuredEvent {
        category,
        action: action.to_owned(),
        label: label.or_else(|| body.map(str::to_owned)).or_else(|| severity.map(str::to_owned)),
        property: record.known.session_id.filter(|_| it.anonymity.names_sessions()).map(str::to_owned),
        value,
    }
}

/// Appends the fields of the event that `it` becomes; returns how many were cut, replaced or left out.
pub(super) fn write(it: &Event<'_, '_>, event: &StructuredEvent, out: &mut Vec<u8>) -> u64 {
    let texts = [
        ("se_ca", Some(&event.category), 1000),
        ("se_ac", Some(&event.action), 1000),
        ("se_la", event.label.as_ref(), 4096),
        ("se_pr", event.property.as_ref(), 1000),
    ];
    let mut cuts = u64::from(matches!(it.content, MappedEvent::Structured(given) if !is_complete(given)));
    for (key, text, limit) in texts {
        cuts += u64::from(write_text(out, key, text.map_or("", String::as_str), limit));
    }
    match event.value {
        // Written without an exponent, within what a decimal column takes.
        Some(value) if value.is_finite() && value.abs() < 1e15 => {
            write_text(out, "se_va", &value.to_string(), usize::MAX);
        }
        Some(_) => cuts += 1,
        None => {}
    }
    cuts
}
