//! What an application does: one function for each kind of signal.

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{Span as _, SpanBuilder, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use otel_session::Sessions;
use tracing::dispatcher::{Dispatch, with_default};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::contenders::Lane;

/// A kind of signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// A log with that many attributes.
    Log(usize),
    /// A span with that many attributes, started and ended.
    Span(usize),
    /// A `tracing` span with one field through `tracing-opentelemetry`.
    TracingSpan,
    /// A `tracing` event with one field through `opentelemetry-appender-tracing`.
    TracingEvent,
}

impl Signal {
    pub(crate) const ALL: [Self; 7] =
        [Self::Log(0), Self::Log(3), Self::Log(5), Self::Span(0), Self::Span(3), Self::TracingSpan, Self::TracingEvent];
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Log(attributes) => format!("log, {attributes} attributes"),
            Self::Span(attributes) => format!("span, {attributes} attributes"),
            Self::TracingSpan => "tracing span".to_owned(),
            Self::TracingEvent => "tracing event".to_owned(),
        };
        f.pad(&text)
    }
}

/// Makes that many signals in a row.
pub(crate) type Worker = Box<dyn FnMut(usize) + Send>;

/// A worker for one thread, with a logger or tracer of its own: a shared one costs the SDK itself.
pub(crate) fn worker(signal: Signal, lane: &Lane) -> Worker {
    match signal {
        Signal::Log(attributes) => log(lane, attributes),
        Signal::Span(attributes) => span(lane, attributes),
        Signal::TracingSpan => tracing_span(lane),
        Signal::TracingEvent => tracing_event(lane),
    }
}

const KEYS: [&str; 5] = ["http.request.method", "url.path", "server.address", "server.port", "user_agent.original"];

fn log(lane: &Lane, attributes: usize) -> Worker {
    let logger = lane.loggers.logger("bench");
    let keys = &KEYS[..attributes];
    Box::new(move |count| {
        for _ in 0..count {
            let mut record = logger.create_log_record();
            record.set_severity_number(Severity::Info);
            record.set_body(AnyValue::from("something happened"));
            for key in keys {
                record.add_attribute(*key, "value");
            }
            logger.emit(record);
        }
    })
}

fn span(lane: &Lane, attributes: usize) -> Worker {
    let tracer = lane.tracers.tracer("bench");
    let context = Context::new();
    let keys = &KEYS[..attributes];
    Box::new(move |count| {
        for _ in 0..count {
            let mut builder = SpanBuilder::from_name("work");
            if !keys.is_empty() {
                builder = builder.with_attributes(keys.iter().map(|key| KeyValue::new(*key, "value")));
            }
            tracer.build_with_context(builder, &context).end();
        }
    })
}

fn tracing_span(lane: &Lane) -> Worker {
    let layer = tracing_opentelemetry::layer().with_tracer(lane.tracers.tracer("bench"));
    let sessions = lane.layer.as_ref().map(Sessions::layer);
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(sessions).with(layer));
    Box::new(move |count| {
        with_default(&dispatch, || {
            for _ in 0..count {
                tracing::info_span!("work", path = "/").in_scope(|| {});
            }
        });
    })
}

fn tracing_event(lane: &Lane) -> Worker {
    let bridge = OpenTelemetryTracingBridge::new(&lane.loggers);
    let sessions = lane.layer.as_ref().map(Sessions::layer);
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(sessions).with(bridge));
    Box::new(move |count| {
        with_default(&dispatch, || {
            for _ in 0..count {
                tracing::info!(path = "/", "something happened");
            }
        });
    })
}
