//! The corners of `tracing-opentelemetry` and `opentelemetry-appender-tracing`, without any layer of ours: what passes
//! through the wrapped processors is stamped right whatever called them. Times are real here, as the SDK's are.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod support;

use std::sync::{Arc, Mutex};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::{OpenTelemetryTracingBridge, TracingSpanAttributes};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_session::testing::{CapturedLogs, CapturedSpans};
use otel_session::{Activity, Sessions, SignalKind};
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry};

use support::bounded::returns;
use support::pipelines::{KINDS, Kind, in_every_runtime};
use support::{Line, assert_lawful, attribute, lines, session_id};

/// Sessions on the system's clock, behind a subscriber with both layers.
struct Traced {
    sessions: Sessions,
    loggers: SdkLoggerProvider,
    tracers: SdkTracerProvider,
    logs: CapturedLogs,
    spans: CapturedSpans,
    dispatch: Dispatch,
}

impl Traced {
    fn new(kind: Kind, context_activation: bool) -> Self {
        let sessions = Sessions::builder().build().unwrap();
        let (logs, spans) = (CapturedLogs::default(), CapturedSpans::default());
        let loggers = kind.loggers(&sessions, logs.clone());
        let tracers = kind.tracers(&sessions, spans.clone());
        let bridge = OpenTelemetryTracingBridge::builder(&loggers)
            .with_tracing_span_attributes(TracingSpanAttributes::allowlist(["session.id"]))
            .build();
        let spans_layer = tracing_opentelemetry::layer()
            .with_tracer(tracers.tracer("traced"))
            .with_context_activation(context_activation);
        let dispatch = Dispatch::new(Registry::default().with(spans_layer).with(boxed(bridge)));
        Self { sessions, loggers, tracers, logs, spans, dispatch }
    }

    fn lines(&self) -> Vec<Line> {
        self.loggers.force_flush().unwrap();
        lines(&self.logs)
    }

    fn span_id(&self, name: &str) -> Option<String> {
        self.tracers.force_flush().unwrap();
        let spans = self.spans.spans();
        session_id(&spans.iter().find(|span| span.name == name)?.attributes)
    }
}

fn boxed<S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>>(
    bridge: OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>,
) -> impl Layer<S> {
    bridge
}

fn everywhere(test: impl Fn(&Traced) + Clone + Send + 'static) {
    in_every_runtime(move || {
        for kind in KINDS {
            for context_activation in [true, false] {
                let traced = Traced::new(kind, context_activation);
                tracing::dispatcher::with_default(&traced.dispatch, || test(&traced));
                assert_eq!(traced.sessions.losses().total(), 0, "{kind:?}: {}", traced.sessions.losses());
            }
        }
    });
}

#[test]
fn f_a_span_that_is_entered_late_belongs_to_the_session_of_its_creation() {
    everywhere(|traced| {
        let first = traced.sessions.record_activity();
        let early = tracing::info_span!("early");
        let second = traced.sessions.rotate();
        let late = tracing::info_span!("late");
        early.in_scope(|| {});
        late.in_scope(|| {});
        drop((early, late));
        assert_eq!(traced.span_id("early").as_deref(), Some(first.id()));
        assert_eq!(traced.span_id("late").as_deref(), Some(second.id()));
    });
}

#[test]
fn f_a_span_that_is_never_entered_is_stamped_too() {
    everywhere(|traced| {
        let first = traced.sessions.record_activity();
        let never = tracing::info_span!("never");
        traced.sessions.rotate();
        drop(never);
        assert_eq!(traced.span_id("never").as_deref(), Some(first.id()));
    });
}

#[test]
fn f_tracing_events_in_a_span_are_span_events_of_the_session_of_their_time() {
    everywhere(|traced| {
        let first = traced.sessions.record_activity();
        let second = tracing::info_span!("span").in_scope(|| {
            tracing::info!("in the first");
            let second = traced.sessions.rotate();
            tracing::info!("in the second");
            second
        });
        assert_eq!(traced.span_id("span").as_deref(), Some(first.id()));
        let span = &traced.spans.spans()[0];
        let ids: Vec<_> = span.events.iter().map(|event| session_id(&event.attributes)).collect();
        assert_eq!(ids, [Some(first.id().to_owned()), Some(second.id().to_owned())]);
    });
}

#[test]
fn p_a_rotation_noticed_in_a_tracing_callback_neither_panics_nor_hangs() {
    returns("rotations under tracing", || {
        everywhere(|traced| {
            for _ in 0..5 {
                traced.sessions.end();
                let outer = tracing::info_span!("outer");
                let _outer = outer.enter();
                traced.sessions.end();
                tracing::info!("an event finds the session over");
                traced.sessions.end();
                tracing::info_span!("inner").in_scope(|| tracing::info!("and so does a span"));
            }
            let lines = traced.lines();
            assert_lawful(&lines);
            assert_eq!(lines.iter().filter(|line| !line.is_lifecycle()).count(), 10);
        });
    });
}

#[test]
fn f_the_appenders_records_have_no_time_of_their_own_and_belong_by_their_emission() {
    everywhere(|traced| {
        tracing::info!("first");
        traced.sessions.rotate();
        tracing::info!("second");
        let lines = traced.lines();
        assert_lawful(&lines);
        let starts: Vec<_> = lines.iter().filter(|line| line.is_start()).map(|line| line.id.clone()).collect();
        let logs: Vec<_> = lines.iter().filter(|line| !line.is_lifecycle()).collect();
        assert_eq!(logs.iter().map(|line| line.id.clone()).collect::<Vec<_>>(), starts);
        assert!(logs.iter().all(|line| line.at.is_none() && line.observed_at.is_some()));
    });
}

/// That name is the place of the call: who asks for events would else be told of each log.
#[test]
fn f_the_place_that_the_appender_names_its_records_after_is_no_name_of_an_event_to_a_filter() {
    in_every_runtime(|| {
        for with_layer in [false, true] {
            let asked = Arc::new(Mutex::new(Vec::new()));
            let note = asked.clone();
            let filter = Activity::filter(move |signal| {
                note.lock().unwrap().push((signal.kind(), signal.name().map(str::to_owned)));
                true
            });
            let sessions = Sessions::builder().with_activity(filter).build().unwrap();
            let loggers = Kind::Simple.loggers(&sessions, CapturedLogs::default());
            let layer = with_layer.then(|| sessions.layer());
            let dispatch =
                Dispatch::new(Registry::default().with(layer).with(OpenTelemetryTracingBridge::new(&loggers)));
            tracing::dispatcher::with_default(&dispatch, || {
                tracing::info!("a log");
                tracing::info!(name: "checkout", "an event");
            });
            let kind = if with_layer { SignalKind::TracingEvent } else { SignalKind::Log };
            let asked = asked.lock().unwrap();
            let names: Vec<_> = asked.iter().filter(|(of, _)| *of == kind).map(|(_, name)| name.as_deref()).collect();
            assert_eq!(names, [None, Some("checkout")], "{asked:?}");
        }
    });
}

#[test]
fn d_an_id_that_the_appender_copied_from_a_span_is_exported_once() {
    everywhere(|traced| {
        tracing::info_span!("scoped", session.id = "explicit").in_scope(|| tracing::info!("inside"));
        let line = traced.lines().into_iter().find(|line| !line.is_lifecycle()).unwrap();
        // `Line` fails on an attribute that stands twice.
        assert_eq!(line.id.as_deref(), Some("explicit"));
        assert_eq!(traced.span_id("scoped").as_deref(), Some("explicit"));
        let event = &traced.spans.spans()[0].events.events[0];
        assert_eq!(attribute(&event.attributes, "session.id").as_deref(), Some("explicit"));
    });
}
