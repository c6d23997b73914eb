//! Every place where user code runs, and what it may call from there: 64. Every body runs under a watchdog.

use std::time::Duration;

use opentelemetry::logs::LoggerProvider as _;
use opentelemetry_sdk::logs::{SdkLogger, SimpleLogProcessor};
use opentelemetry_sdk::trace::SimpleSpanProcessor;
use otel_session::testing::{CapturedLogs, CapturedSpans, ManualClock};
use otel_session::{Session, Sessions};

use crate::reentrancy::{Later, Once};
use crate::support::probes::*;
use crate::support::*;

/// A place where user code runs: makes providers whose user code there calls `call`.
type Place = fn(&Sessions, Hook<()>) -> Providers;

struct Providers {
    loggers: opentelemetry_sdk::logs::SdkLoggerProvider,
    tracers: opentelemetry_sdk::trace::SdkTracerProvider,
    lines: Box<dyn Fn() -> Vec<Line>>,
}

fn providers(
    logs: impl opentelemetry_sdk::logs::LogProcessor + 'static,
    spans: impl opentelemetry_sdk::trace::SpanProcessor + 'static,
    lines: impl Fn() -> Vec<Line> + 'static,
) -> Providers {
    Providers { loggers: provider_of(logs), tracers: tracers_of(spans), lines: Box::new(lines) }
}

fn plain(sessions: &Sessions) -> (otel_session::SessionLogProcessor<LogProbe>, impl Fn() -> Vec<Line> + use<>) {
    let probe = LogProbe::default();
    (sessions.log_processor(probe.clone()), move || probe.lines())
}

const PLACES: [(&str, Place); 7] = [
    ("a simple log exporter", |sessions, call| {
        let kept = CapturedLogs::default();
        let exporter = HookedLogs { hook: Hook::new(move |_| (call.0)(&())), kept: kept.clone() };
        let spans = sessions.span_processor(SpanProbe::default());
        providers(sessions.log_processor(SimpleLogProcessor::new(exporter)), spans, move || lines(&kept))
    }),
    ("a batch log exporter", |sessions, call| {
        let kept = CapturedLogs::default();
        let exporter = HookedLogs { hook: Hook::new(move |_| (call.0)(&())), kept: kept.clone() };
        let spans = sessions.span_processor(SpanProbe::default());
        providers(sessions.batch_log_processor(exporter), spans, move || lines(&kept))
    }),
    ("an inner log processor", |sessions, call| {
        let probe = LogProbe { hook: Hook::new(move |_| (call.0)(&())), ..LogProbe::default() };
        let spans = sessions.span_processor(SpanProbe::default());
        providers(sessions.log_processor(probe.clone()), spans, move || probe.lines())
    }),
    ("an inner span processor as a span starts", |sessions, call| {
        let (logs, lines) = plain(sessions);
        providers(logs, sessions.span_processor(SpanProbe { starts: call, ..SpanProbe::default() }), lines)
    }),
    ("an inner span processor as a span ends", |sessions, call| {
        let (logs, lines) = plain(sessions);
        let ends = Hook::new(move |_: &_| (call.0)(&()));
        providers(logs, sessions.span_processor(SpanProbe { ends, ..SpanProbe::default() }), lines)
    }),
    ("a simple span exporter", |sessions, call| {
        let (logs, lines) = plain(sessions);
        let exporter = HookedSpans { hook: Hook::new(move |_| (call.0)(&())), kept: CapturedSpans::default() };
        providers(logs, sessions.span_processor(SimpleSpanProcessor::new(exporter)), lines)
    }),
    ("a batch span exporter", |sessions, call| {
        let (logs, lines) = plain(sessions);
        let exporter = HookedSpans { hook: Hook::new(move |_| (call.0)(&())), kept: CapturedSpans::default() };
        providers(logs, sessions.batch_span_processor(exporter), lines)
    }),
];

/// The user code of a test; the logger is one of the same provider.
type Act = fn(&Sessions, &SdkLogger);

/// Runs `act` once at `place`, and checks that everything went on as if nothing had happened.
fn from(place: (&str, Place), act: Act) {
    let (name, make) = place;
    eprintln!("from {name}");
    let clock = ManualClock::new(epoch());
    let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
    let (once, logger, caller) = (Once::default(), Later::<SdkLogger>::new(), sessions.clone());
    let (ran, own) = (Calls::default(), logger.clone());
    let note = ran.clone();
    let call = Hook::new(move |()| {
        if let Some(logger) = own.get()
            && once.first()
        {
            act(&caller, &logger);
            note.note("ran");
        }
    });
    let made = make(&sessions, call);
    logger.set(&made.loggers.logger("inner"));
    emit(&made.loggers.logger("test"), "log", None);
    let tracer = opentelemetry::trace::TracerProvider::tracer(&made.tracers, "test");
    opentelemetry::trace::Span::end(&mut start_span(&tracer, "span", clock.now()));
    clock.advance(TIMEOUT);
    made.tracers.force_flush().unwrap();
    made.loggers.force_flush().unwrap();
    *logger.0.lock().unwrap() = None;
    sessions.shutdown(BOUND).unwrap();
    let _ = made.tracers.shutdown();
    let _ = made.loggers.shutdown();
    assert_eq!(ran.all(), ["ran"], "{name}");
    let lifecycle: Vec<Line> = (made.lines)().into_iter().filter(Line::is_lifecycle).collect();
    assert_lawful(&lifecycle);
    let (starts, ends) = starts_and_ends(&lifecycle);
    assert_eq!(starts, ends, "{name}");
    assert!(starts > 0, "{name}");
}

fn from_everywhere(act: Act) {
    for place in PLACES {
        within_bound(move || from(place, act));
    }
}

#[test]
fn b064_every_function_may_be_called_from_every_place_of_user_code() {
    from_everywhere(|sessions, _| call_everything(sessions));
}

#[test]
fn b064_a_log_may_be_emitted_from_every_place_of_user_code() {
    from_everywhere(|_, logger| emit(logger, "inner", None));
}

#[test]
fn b064_a_log_may_be_emitted_after_a_rotation_from_every_place_of_user_code() {
    from_everywhere(|sessions, logger| {
        let _: Session = sessions.rotate();
        emit(logger, "inner", None);
        sessions.end();
    });
}

#[test]
fn b064_shutdown_may_be_called_from_every_place_of_user_code() {
    from_everywhere(|sessions, _| _ = sessions.shutdown(Duration::from_millis(300)));
}

#[test]
fn b064_every_function_may_be_called_from_an_observer_and_logs_emitted() {
    on_both(|rig| {
        let (once, caller, logger) = (Once::default(), rig.sessions.clone(), rig.logger());
        let _watch = rig.sessions.on_transition(move |_| {
            if once.first() {
                call_everything(&caller);
                emit(&logger, "from an observer", None);
            }
        });
        rig.log("first");
        assert!(rig.clock.advance(seconds(0)));
        let lines = rig.lines();
        assert_lawful(&lines);
        assert!(rig.log_id("from an observer").is_some());
        assert_eq!(rig.sessions.losses().total(), 0);
    });
    on_both(|rig| {
        let caller = rig.sessions.clone();
        let _watch = rig.sessions.on_transition(move |_| _ = caller.shutdown(BOUND));
        rig.log("first");
        assert!(rig.clock.advance(seconds(0)));
        rig.sessions.shutdown(BOUND).unwrap();
        assert_eq!(reasons(&rig.lines()), ["shutdown"]);
    });
}
