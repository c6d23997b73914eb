//! What the integration tests share: sessions on a manual clock, with providers whose exporters keep what they got.
#![allow(dead_code, unreachable_pub)] // every test crate uses a part of it
#![allow(clippy::unwrap_used)] // a test may fail by panicking

pub mod bounded;
pub mod exporters;
pub mod pipelines;
pub mod probes;

use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Span as _, SpanBuilder, Tracer as _, TracerProvider as _};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider, SimpleLogProcessor};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SimpleSpanProcessor, SpanData, SpanProcessor};
use otel_session::testing::{CapturedLogs, CapturedSpans, ManualClock};
use otel_session::{Sessions, SessionsBuilder};

/// Where the wall clock of the tests begins.
pub fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

pub const MINUTE: Duration = Duration::from_secs(60);
/// The default inactivity timeout.
pub const TIMEOUT: Duration = Duration::from_secs(30 * 60);

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Sessions on a manual clock, one log pipeline and one span pipeline.
pub struct Rig {
    pub clock: ManualClock,
    pub sessions: Sessions,
    pub logs: CapturedLogs,
    pub spans: CapturedSpans,
    pub loggers: SdkLoggerProvider,
    pub tracers: SdkTracerProvider,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// Behind simple processors: every record is exported where it is emitted.
    pub fn with(configure: impl FnOnce(SessionsBuilder) -> SessionsBuilder) -> Self {
        Self::build(
            configure,
            |sessions, exporter| {
                SdkLoggerProvider::builder()
                    .with_log_processor(sessions.log_processor(SimpleLogProcessor::new(exporter)))
                    .build()
            },
            |sessions, exporter| {
                SdkTracerProvider::builder()
                    .with_span_processor(sessions.span_processor(SimpleSpanProcessor::new(exporter)))
                    .build()
            },
        )
    }

    /// Behind the batch processors.
    pub fn batched(configure: impl FnOnce(SessionsBuilder) -> SessionsBuilder) -> Self {
        Self::build(
            configure,
            |sessions, exporter| {
                SdkLoggerProvider::builder().with_log_processor(sessions.batch_log_processor(exporter)).build()
            },
            |sessions, exporter| {
                SdkTracerProvider::builder().with_span_processor(sessions.batch_span_processor(exporter)).build()
            },
        )
    }

    fn build(
        configure: impl FnOnce(SessionsBuilder) -> SessionsBuilder,
        loggers: impl FnOnce(&Sessions, CapturedLogs) -> SdkLoggerProvider,
        tracers: impl FnOnce(&Sessions, CapturedSpans) -> SdkTracerProvider,
    ) -> Self {
        let clock = ManualClock::new(epoch());
        let sessions = configure(Sessions::builder().with_clock(clock.clone())).build().unwrap();
        let logs = CapturedLogs::default();
        let spans = CapturedSpans::default();
        let loggers = loggers(&sessions, logs.clone());
        let tracers = tracers(&sessions, spans.clone());
        Self { clock, sessions, logs, spans, loggers, tracers }
    }

    pub fn logger(&self) -> SdkLogger {
        self.loggers.logger("test")
    }

    pub fn tracer(&self) -> SdkTracer {
        self.tracers.tracer("test")
    }

    /// Emits a log without a time of its own.
    pub fn log(&self, body: &'static str) {
        emit(&self.logger(), body, None);
    }

    /// Emits a log with its own time.
    pub fn log_at(&self, body: &'static str, at: SystemTime) {
        emit(&self.logger(), body, Some(at));
    }

    /// A span that starts and ends now, on the manual clock.
    pub fn span(&self, name: &'static str) {
        self.span_at(name, self.clock.now());
    }

    pub fn span_at(&self, name: &'static str, at: SystemTime) {
        start_span(&self.tracer(), name, at).end_with_timestamp(at);
    }

    /// Everything that the log exporter got, after a flush.
    pub fn lines(&self) -> Vec<Line> {
        let _ = self.loggers.force_flush();
        lines(&self.logs)
    }

    /// The lifecycle records that the log exporter got.
    pub fn lifecycle(&self) -> Vec<Line> {
        self.lines().into_iter().filter(Line::is_lifecycle).collect()
    }

    /// Every span that the span exporter got, after a flush.
    pub fn finished_spans(&self) -> Vec<SpanData> {
        let _ = self.tracers.force_flush();
        self.spans.spans()
    }

    /// The id on the last finished span of this name.
    pub fn span_id(&self, name: &str) -> Option<String> {
        let spans = self.finished_spans();
        let span = spans.iter().rfind(|span| span.name == name)?;
        session_id(&span.attributes)
    }

    /// The id on the last log with this body.
    pub fn log_id(&self, body: &str) -> Option<String> {
        self.lines().into_iter().rfind(|line| line.body == body)?.id
    }
}

pub fn start_span(tracer: &SdkTracer, name: &'static str, at: SystemTime) -> opentelemetry_sdk::trace::Span {
    tracer.build_with_context(SpanBuilder::from_name(name).with_start_time(at), &opentelemetry::Context::current())
}

pub fn emit(logger: &SdkLogger, body: &'static str, at: Option<SystemTime>) {
    let mut record = logger.create_log_record();
    record.set_body(AnyValue::String(body.into()));
    if let Some(at) = at {
        record.set_timestamp(at);
    }
    logger.emit(record);
}

/// The `session.id` attributes of a span or span event; panics if there are several.
pub fn session_id(attributes: &[KeyValue]) -> Option<String> {
    attribute(attributes, "session.id")
}

pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let mut values = attributes.iter().filter(|attribute| attribute.key.as_str() == key);
    let value = values.next().map(|attribute| match &attribute.value {
        Value::String(text) => text.as_str().to_owned(),
        other => other.to_string(),
    });
    assert!(values.next().is_none(), "{key} stands twice");
    value
}

/// One exported log, as far as tests look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub event: Option<&'static str>,
    pub body: String,
    pub id: Option<String>,
    pub previous_id: Option<String>,
    pub user_id: Option<String>,
    pub reason: Option<String>,
    pub at: Option<SystemTime>,
    pub observed_at: Option<SystemTime>,
    pub record: SdkLogRecord,
}

impl Line {
    pub fn of(record: &SdkLogRecord) -> Self {
        let text = |key: &str| {
            let mut values = record.attributes_iter().filter(|(name, _)| name.as_str() == key);
            let value = values.next().map(|(_, value)| match value {
                AnyValue::String(text) => text.as_str().to_owned(),
                other => format!("{other:?}"),
            });
            assert!(values.next().is_none(), "{key} stands twice on {record:?}");
            value
        };
        let body = match record.body() {
            Some(AnyValue::String(text)) => text.as_str().to_owned(),
            other => format!("{other:?}"),
        };
        Self {
            event: record.event_name(),
            body,
            id: text("session.id"),
            previous_id: text("session.previous_id"),
            user_id: text("user.id"),
            reason: text("otel_session.end.reason"),
            at: record.timestamp(),
            observed_at: record.observed_timestamp(),
            record: record.clone(),
        }
    }

    pub fn is_lifecycle(&self) -> bool {
        self.is_start() || self.is_end()
    }

    pub fn is_start(&self) -> bool {
        self.event == Some("session.start")
    }

    pub fn is_end(&self) -> bool {
        self.event == Some("session.end")
    }
}

pub fn lines(exporter: &CapturedLogs) -> Vec<Line> {
    exporter.records().iter().map(Line::of).collect()
}

/// Checks what must hold of every stream of one log pipeline that saw its sessions from the first: starts and ends
/// alternate, ids match, each start is linked to the session before it or to none, times do not run backwards, and no log
/// carries an id whose start has not come yet.
pub fn assert_lawful(lines: &[Line]) {
    let mut live: Option<&Line> = None;
    let mut last_end: Option<&Line> = None;
    let mut started = std::collections::HashSet::new();
    for line in lines {
        let id = line.id.as_deref().unwrap_or_else(|| panic!("no session.id on {line:?}"));
        if line.is_start() {
            assert!(live.is_none(), "{id} starts while another is live");
            assert!(started.insert(id), "{id} starts twice");
            assert_ne!(line.id, line.previous_id);
            if let Some(end) = last_end {
                assert!(line.previous_id.is_none() || line.previous_id == end.id, "linked to a stranger");
                assert!(line.at >= end.at, "{id} starts before the end before it");
            }
            live = Some(line);
        } else if line.is_end() {
            let start = live.take().unwrap_or_else(|| panic!("{id} ends without a start"));
            assert_eq!(line.id, start.id, "the end of another session");
            assert_eq!(line.previous_id, start.previous_id);
            assert!(line.at >= start.at, "{id} ends before its start");
            assert!(line.reason.is_some());
            last_end = Some(line);
        } else {
            assert!(started.contains(id), "{:?} carries {id}, which has not started", line.body);
        }
    }
}

/// A pipeline that is nothing but a wrapped processor: for tests of what a wrapper delegates.
pub fn provider_of(processor: impl LogProcessor + 'static) -> SdkLoggerProvider {
    SdkLoggerProvider::builder().with_log_processor(processor).build()
}

pub fn tracers_of(processor: impl SpanProcessor + 'static) -> SdkTracerProvider {
    SdkTracerProvider::builder().with_span_processor(processor).build()
}
