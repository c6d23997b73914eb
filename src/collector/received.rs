//! What the collector received, as plain values.
//!
//! Nothing is corrected on the way in: a signal with two `session.id` attributes keeps both, a time of zero stays zero.
//! Times are nanoseconds since 1970-01-01 UTC as they stood on the wire; the methods that give [`SystemTime`] say what
//! they do with zero.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::value::{Attributes, Value};
use crate::semconv;

/// A span, with its events and links.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Span {
    /// The arrival number, from 1, over all spans and logs of this collector.
    pub sequence: u64,
    /// What sent it.
    pub resource: Arc<Resource>,
    /// The instrumentation scope.
    pub scope: Arc<Scope>,
    /// The trace id in lower-case hex (32 digits), or empty.
    pub trace_id: String,
    /// The span id in lower-case hex (16 digits), or empty.
    pub span_id: String,
    /// The parent's span id in lower-case hex, empty for a root span.
    pub parent_span_id: String,
    /// The W3C trace state.
    pub trace_state: String,
    /// The flags, as sent.
    pub flags: u32,
    /// The name.
    pub name: String,
    /// The kind.
    pub kind: SpanKind,
    /// When it started, in nanoseconds since 1970.
    pub start_unix_nanos: u64,
    /// When it ended, in nanoseconds since 1970.
    pub end_unix_nanos: u64,
    /// The attributes, in the order they were sent.
    pub attributes: Attributes,
    /// How many attributes the sender left out.
    pub dropped_attributes: u32,
    /// The events, in the order they were sent.
    pub events: Vec<SpanEvent>,
    /// How many events the sender left out.
    pub dropped_events: u32,
    /// The links, in the order they were sent.
    pub links: Vec<SpanLink>,
    /// How many links the sender left out.
    pub dropped_links: u32,
    /// The status.
    pub status: SpanStatus,
    pub(super) size: usize,
}

impl Span {
    /// The `session.id` it carries; the first, if it carries several. `None` when absent, empty or no string.
    pub fn session_id(&self) -> Option<&str> {
        session_id(&self.attributes)
    }

    /// When it started; 1970 when no time was sent.
    pub fn start_time(&self) -> SystemTime {
        system_time(self.start_unix_nanos)
    }

    /// When it ended; 1970 when no time was sent.
    pub fn end_time(&self) -> SystemTime {
        system_time(self.end_unix_nanos)
    }
}

/// An event inside a span.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SpanEvent {
    /// The name.
    pub name: String,
    /// When it happened, in nanoseconds since 1970.
    pub time_unix_nanos: u64,
    /// The attributes, in the order they were sent.
    pub attributes: Attributes,
    /// How many attributes the sender left out.
    pub dropped_attributes: u32,
}

impl SpanEvent {
    /// The `session.id` it carries; the first, if it carries several. `None` when absent, empty or no string.
    pub fn session_id(&self) -> Option<&str> {
        session_id(&self.attributes)
    }

    /// When it happened; 1970 when no time was sent.
    pub fn time(&self) -> SystemTime {
        system_time(self.time_unix_nanos)
    }
}

/// A link from a span to another.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SpanLink {
    /// The other span's trace id in lower-case hex.
    pub trace_id: String,
    /// The other span's id in lower-case hex.
    pub span_id: String,
    /// The other span's W3C trace state.
    pub trace_state: String,
    /// The attributes, in the order they were sent.
    pub attributes: Attributes,
    /// How many attributes the sender left out.
    pub dropped_attributes: u32,
    /// The flags, as sent.
    pub flags: u32,
}

/// A log record, which is also how OpenTelemetry events travel.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Log {
    /// The arrival number, from 1, over all spans and logs of this collector.
    pub sequence: u64,
    /// What sent it.
    pub resource: Arc<Resource>,
    /// The instrumentation scope.
    pub scope: Arc<Scope>,
    /// The record's own time in nanoseconds since 1970; zero when it has none.
    pub time_unix_nanos: u64,
    /// When it was observed, in nanoseconds since 1970; zero when it has none.
    pub observed_unix_nanos: u64,
    /// The severity, from 1 (trace) to 24 (fatal); zero when unspecified.
    pub severity_number: i32,
    /// The severity as the source names it.
    pub severity_text: String,
    /// The name that makes the record an event, or empty.
    pub event_name: String,
    /// The body; `None` when the field was not sent.
    pub body: Option<Value>,
    /// The attributes, in the order they were sent.
    pub attributes: Attributes,
    /// How many attributes the sender left out.
    pub dropped_attributes: u32,
    /// The trace id in lower-case hex (32 digits), or empty.
    pub trace_id: String,
    /// The span id in lower-case hex (16 digits), or empty.
    pub span_id: String,
    /// The flags, as sent.
    pub flags: u32,
    pub(super) size: usize,
}

impl Log {
    /// The `session.id` it carries; the first, if it carries several. `None` when absent, empty or no string.
    pub fn session_id(&self) -> Option<&str> {
        session_id(&self.attributes)
    }

    /// The `session.previous_id` it carries. `None` when absent, empty or no string.
    pub fn previous_session_id(&self) -> Option<&str> {
        text(&self.attributes, semconv::SESSION_PREVIOUS_ID)
    }

    /// Its own time, or the time it was observed when it has none; 1970 when it has neither.
    pub fn time(&self) -> SystemTime {
        system_time(self.nanos())
    }

    /// Whether it is a `session.start` event.
    pub fn is_session_start(&self) -> bool {
        self.event_name == semconv::EVENT_SESSION_START
    }

    /// Whether it is a `session.end` event.
    pub fn is_session_end(&self) -> bool {
        self.event_name == semconv::EVENT_SESSION_END
    }

    /// Whether it is a `session.start` or a `session.end` event.
    pub fn is_lifecycle(&self) -> bool {
        self.is_session_start() || self.is_session_end()
    }

    /// The rule of the log data model: the own time if there is one, else the observed time.
    pub(super) fn nanos(&self) -> u64 {
        if self.time_unix_nanos == 0 { self.observed_unix_nanos } else { self.time_unix_nanos }
    }
}

/// What a signal came from.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Resource {
    /// The attributes, in the order they were sent.
    pub attributes: Attributes,
    /// How many attributes the sender left out.
    pub dropped_attributes: u32,
    /// The schema of the attributes, or empty.
    pub schema_url: String,
}

impl Resource {
    /// The attribute `service.name`, when it is a string.
    pub fn service_name(&self) -> Option<&str> {
        text(&self.attributes, semconv::SERVICE_NAME)
    }
}

/// The instrumentation scope of a signal.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Scope {
    /// The name.
    pub name: String,
    /// The version, or empty.
    pub version: String,
    /// The attributes, in the order they were sent.
    pub attributes: Attributes,
    /// How many attributes the sender left out.
    pub dropped_attributes: u32,
    /// The schema of the signals, or empty.
    pub schema_url: String,
}

/// The kind of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpanKind {
    /// Not said, or a number this version does not know.
    #[default]
    Unspecified,
    /// Work inside a program.
    Internal,
    /// The answering side of a call.
    Server,
    /// The asking side of a call.
    Client,
    /// The sending side of a message.
    Producer,
    /// The receiving side of a message.
    Consumer,
}

/// The status of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanStatus {
    /// Not said, or a number this version does not know.
    #[default]
    Unset,
    /// It went well.
    Ok,
    /// It failed, with this message.
    Error(String),
}

pub(super) fn session_id(attributes: &Attributes) -> Option<&str> {
    text(attributes, semconv::SESSION_ID)
}

pub(super) fn text<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    attributes.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Every 64-bit count of nanoseconds is a time of the years 1970 to 2554, which `SystemTime` holds everywhere.
pub(super) fn system_time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}
