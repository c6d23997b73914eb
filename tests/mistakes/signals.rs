//! What is put on signals, and which of them count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{
    Link, Span as _, SpanKind, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::logs::{LogProcessor as _, SdkLoggerProvider, SimpleLogProcessor};
use opentelemetry_sdk::trace::{
    SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, SimpleSpanProcessor,
};
use otel_session::testing::{CapturedLogs, CapturedSpans};
use otel_session::{Sessions, SessionsBuilder};

use crate::sessions;
use crate::support::probes::*;
use crate::support::*;

/// A sampler that asks for the session, as samplers do to decide by it, and drops everything.
#[derive(Debug, Clone)]
struct AskingSampler(Sessions);

impl ShouldSample for AskingSampler {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let _ = self.0.current();
        SamplingResult { decision: SamplingDecision::Drop, attributes: vec![], trace_state: Default::default() }
    }
}

#[test]
fn m07_a_sampler_that_asks_for_the_session_neither_starts_nor_extends_nor_rotates_one() {
    on_both(|rig| {
        let tracers = SdkTracerProvider::builder()
            .with_sampler(AskingSampler(rig.sessions.clone()))
            .with_span_processor(rig.sessions.span_processor(SimpleSpanProcessor::new(rig.spans.clone())))
            .build();
        let tracer = tracers.tracer("test");
        drop(tracer.start("dropped"));
        assert_eq!(rig.sessions.current(), None);
        let first = rig.sessions.record_activity();
        for _ in 0..31 {
            rig.clock.suspend(MINUTE);
            drop(tracer.start("dropped"));
        }
        let second = rig.sessions.record_activity();
        assert_eq!(second.previous_id(), Some(first.id()));
        assert_eq!(rig.lines()[1].at, Some(epoch()));
    });
}

#[test]
fn m13_one_rule_for_the_user_on_logs_spans_and_span_events() {
    on_both(|rig| {
        rig.sessions.set_user_id(Some("ours"));
        for (name, explicit) in [("plain", None), ("explicit", Some("theirs"))] {
            let logger = rig.logger();
            let mut record = logger.create_log_record();
            record.set_body(name.into());
            let mut span = start_span(&rig.tracer(), name, rig.clock.now());
            let mut of_event = vec![];
            if let Some(user) = explicit {
                record.add_attribute("user.id", user);
                span.set_attribute(KeyValue::new("user.id", user));
                of_event.push(KeyValue::new("user.id", user));
            }
            logger.emit(record);
            span.add_event_with_timestamp("event", rig.clock.now(), of_event);
            span.end_with_timestamp(rig.clock.now());
            let expected = Some(explicit.unwrap_or("ours"));
            let line = rig.lines().into_iter().rfind(|line| line.body == name).unwrap();
            let span = rig.finished_spans().pop().unwrap();
            assert_eq!(line.user_id.as_deref(), expected);
            assert_eq!(attribute(&span.attributes, "user.id").as_deref(), expected);
            assert_eq!(attribute(&span.events.events[0].attributes, "user.id").as_deref(), expected);
        }
    });
}

#[test]
fn m22_a_user_id_of_the_applications_own_is_never_overwritten_by_a_later_one() {
    on_both(|rig| {
        let mut span = start_span(&rig.tracer(), "span", rig.clock.now());
        span.set_attribute(KeyValue::new("user.id", "theirs"));
        rig.sessions.set_user_id(Some("ours"));
        span.end_with_timestamp(rig.clock.now());
        assert_eq!(attribute(&rig.finished_spans()[0].attributes, "user.id").as_deref(), Some("theirs"));
        rig.clock.advance(MINUTE);
        rig.log_at("before it was set", epoch() - MINUTE);
        rig.sessions.set_user_id(None);
        rig.log("after");
        let user = |body: &str| rig.lines().into_iter().find(|line| line.body == body).unwrap().user_id;
        assert_eq!((user("before it was set"), user("after")), (None, None));
    });
}

#[test]
fn m23_what_waits_in_a_batch_carries_the_ids_of_its_emission_not_of_its_sending() {
    within_bound(|| {
        let rig = Rig::batched(|builder| builder);
        rig.log("buffered");
        rig.span("buffered");
        let first = rig.sessions.current().unwrap();
        rig.clock.suspend(TIMEOUT * 3);
        rig.log("fresh");
        let second = rig.sessions.current().unwrap();
        assert_eq!(rig.log_id("buffered").as_deref(), Some(first.id()));
        assert_eq!(rig.span_id("buffered").as_deref(), Some(first.id()));
        assert_eq!(rig.log_id("fresh").as_deref(), Some(second.id()));
    });
}

#[test]
fn m24_setting_a_user_neither_makes_an_id_nor_moves_the_start_or_the_expiry() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    within_bound(move || {
        let rig = Rig::with(|builder| {
            builder.with_id_generator(move || format!("id-{}", counted.fetch_add(1, Ordering::SeqCst)))
        });
        rig.sessions.set_user_id(Some("early"));
        assert_eq!((rig.sessions.current(), calls.load(Ordering::SeqCst)), (None, 0));
        let session = rig.sessions.record_activity();
        for minute in 1..30 {
            rig.clock.advance(MINUTE);
            rig.sessions.set_user_id(Some(&format!("user-{minute}")));
            let now = rig.sessions.current().unwrap();
            assert_eq!((now.id(), now.started_at(), now.index()), (session.id(), session.started_at(), 1));
        }
        rig.clock.advance(MINUTE);
        assert_eq!(rig.sessions.current(), None, "not extended");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(starts_and_ends(&rig.lines()), (1, 1));
    });
}

#[test]
fn m25_looking_at_a_session_does_not_keep_it_and_no_activity_keeps_it_past_its_maximum() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 240);
    on_both_pipelines(settings, |rig| {
        rig.log("seen");
        for _ in 0..30 {
            rig.clock.advance(MINUTE);
            let _ = rig.sessions.current();
            let _ = format!("{:?}", rig.sessions);
        }
        assert_eq!(rig.sessions.current(), None);
        for _ in 0..250 {
            rig.log("busy");
            rig.clock.advance(MINUTE);
        }
        assert_eq!(reasons(&rig.lines()), ["inactivity", "max_duration"]);
    });
}

#[test]
fn m26_the_last_update_of_a_view_carries_the_old_id_and_nothing_renews_what_was_ended() {
    on_both(|rig| {
        let mut view = start_span(&rig.tracer(), "view", rig.clock.now());
        let first = rig.sessions.current().unwrap();
        rig.clock.advance(MINUTE);
        rig.sessions.rotate();
        rig.sessions.end();
        view.end_with_timestamp(rig.clock.now());
        assert_eq!(rig.span_id("view").as_deref(), Some(first.id()));
        assert_eq!(rig.sessions.current(), None, "the end of a span starts nothing");
        rig.clock.advance(TIMEOUT * 2);
        assert_eq!(starts_and_ends(&rig.lines()), (2, 2));
    });
}

#[test]
fn m32_a_log_of_before_the_boundary_that_is_emitted_after_it_belongs_to_the_old_session() {
    on_both(|rig| {
        let old = rig.sessions.record_activity();
        rig.clock.suspend(TIMEOUT + MINUTE);
        rig.log_at("queued", epoch() + MINUTE);
        rig.log_at("between the deadline and the start", epoch() + TIMEOUT);
        let new = rig.sessions.current().unwrap();
        assert_eq!(rig.log_id("queued").as_deref(), Some(old.id()));
        assert_eq!(rig.log_id("between the deadline and the start").as_deref(), Some(new.id()));
        assert_eq!(new.started_at(), epoch() + TIMEOUT, "not before the old deadline, whatever its trigger's own time");
        assert_lawful(&rig.lines());
    });
}

#[test]
fn m36_the_filter_of_the_wrapped_processor_still_filters() {
    let (_clock, sessions) = sessions();
    let silent = LogProbe { enabled: false, ..LogProbe::default() };
    let provider = provider_of(sessions.log_processor(silent));
    assert!(!provider.logger("test").event_enabled(Severity::Error, "target", Some("name")));
    let open = provider_of(sessions.log_processor(LogProbe::default()));
    assert!(open.logger("test").event_enabled(Severity::Error, "target", Some("name")));
    assert!(sessions.batch_log_processor(CapturedLogs::default()).event_enabled(Severity::Info, "", None));
}

#[test]
fn m36_two_wrapped_pipelines_on_one_provider_stamp_once_and_both_get_the_lifecycle() {
    within_bound(|| {
        let (clock, sessions) = sessions();
        let (simple, batched) = (CapturedLogs::default(), CapturedLogs::default());
        let provider = SdkLoggerProvider::builder()
            .with_log_processor(sessions.log_processor(SimpleLogProcessor::new(simple.clone())))
            .with_log_processor(sessions.batch_log_processor(batched.clone()))
            .build();
        let spans = CapturedSpans::default();
        let tracers = SdkTracerProvider::builder()
            .with_span_processor(sessions.span_processor(SimpleSpanProcessor::new(spans.clone())))
            .with_span_processor(sessions.batch_span_processor(spans.clone()))
            .build();
        for _ in 0..3 {
            emit(&provider.logger("test"), "log", None);
            start_span(&tracers.tracer("test"), "span", clock.now()).end_with_timestamp(clock.now());
            clock.suspend(TIMEOUT);
        }
        provider.shutdown().unwrap();
        tracers.shutdown().unwrap();
        for kept in [&simple, &batched] {
            let lines = lines(kept); // panics if an id stands twice
            assert_lawful(&lines);
            assert_eq!(starts_and_ends(&lines), (3, 3));
        }
        assert_eq!(spans.spans().len(), 6);
        assert!(spans.spans().iter().all(|span| session_id(&span.attributes).is_some()));
    });
}

#[test]
fn m36_a_rotation_within_on_start_under_a_borrowed_context_or_a_suppressed_scope_loses_and_panics_nothing() {
    on_both(|rig| {
        rig.log("first");
        rig.clock.suspend(TIMEOUT);
        // The SDK calls on_start with the thread's context stack borrowed.
        rig.tracer().in_span("rotates", |context| assert!(context.span().is_recording()));
        rig.clock.suspend(TIMEOUT);
        {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            rig.sessions.record_activity();
            rig.log("dropped by the SDK");
        }
        assert!(rig.clock.advance(seconds(0)));
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (3, 2));
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn m36_a_span_with_as_many_attributes_as_the_sdk_allows_still_has_its_id() {
    on_both(|rig| {
        let mut span = start_span(&rig.tracer(), "full", rig.clock.now());
        for n in 0..200 {
            span.set_attribute(KeyValue::new(format!("key-{n}"), n));
        }
        span.end_with_timestamp(rig.clock.now());
        assert_eq!(rig.span_id("full").as_deref(), Some(rig.sessions.current().unwrap().id()));
        let span = rig.finished_spans().remove(0);
        assert_eq!((span.attributes.len(), span.dropped_attributes_count), (129, 72));
    });
}

#[test]
fn m36_a_provider_that_is_only_dropped_ends_and_delivers() {
    on_both(|rig| {
        rig.log("log");
        rig.span("span");
        let Rig { loggers, tracers, logs, spans, .. } = rig;
        drop((loggers, tracers));
        assert_eq!(starts_and_ends(&lines(&logs)), (1, 1));
        assert_eq!(spans.spans().len(), 1);
    });
}

#[test]
fn m36_providers_that_go_with_their_thread_deliver_the_end_and_take_nothing_down() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<Rig>> = const { std::cell::RefCell::new(None) };
    }
    for make in [Rig::new as fn() -> Rig, || Rig::batched(|builder| builder)] {
        within_bound(move || {
            let thread = std::thread::spawn(move || {
                // Made first, so that it goes last: when the SDK's context of this thread is gone already.
                KEPT.with_borrow_mut(|kept| *kept = None);
                let rig = make();
                rig.log("log");
                rig.span("span");
                let shared = (rig.sessions.clone(), rig.logs.clone());
                KEPT.with_borrow_mut(|kept| *kept = Some(rig));
                shared
            });
            let (sessions, logs) = thread.join().unwrap();
            assert!(sessions.current().is_none(), "the last pipeline has gone");
            assert_eq!(starts_and_ends(&lines(&logs)), (1, 1));
            assert_eq!(sessions.losses().to_string(), "none");
        });
    }
}
