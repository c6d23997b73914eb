//! Law 6: an explicit `session.id` wins, and is exported once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanId, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _,
};
use opentelemetry_sdk::logs::{SdkLoggerProvider, SimpleLogProcessor};
use opentelemetry_sdk::trace::{IdGenerator, SdkTracerProvider, SimpleSpanProcessor, SpanData};
use otel_session::Sessions;
use otel_session::testing::{CapturedLogs, CapturedSpans, ManualClock};

use crate::support::pipelines::{KINDS, Kind};
use crate::support::*;

fn explicit_log(rig: &Rig, body: &'static str) {
    let logger = rig.logger();
    let mut record = logger.create_log_record();
    record.set_body(AnyValue::String(body.into()));
    record.add_attribute("session.id", "explicit");
    logger.emit(record);
}

#[test]
fn law_6_an_explicit_id_on_a_log_wins_and_is_exported_once() {
    for rig in KINDS.map(Rig::of) {
        rig.log("ours");
        explicit_log(&rig, "theirs");
        assert_eq!(rig.log_id("theirs").as_deref(), Some("explicit"));
        assert_eq!(rig.log_id("ours").as_deref(), rig.sessions.current().as_ref().map(|session| session.id()));
    }
}

#[test]
fn law_6_an_explicit_id_behind_many_attributes_wins_and_is_exported_once() {
    for rig in KINDS.map(Rig::of) {
        let logger = rig.logger();
        let mut record = logger.create_log_record();
        record.set_body(AnyValue::String("many".into()));
        // A record keeps the first five apart from the others.
        for key in ["a", "b", "c", "d", "e", "f", "g"] {
            record.add_attribute(key, 1);
        }
        record.add_attribute("session.id", "explicit");
        logger.emit(record);
        assert_eq!(rig.log_id("many").as_deref(), Some("explicit"));
    }
}

#[test]
fn law_6_of_several_explicit_ids_on_a_log_the_last_is_exported_and_everything_else_stays() {
    for rig in KINDS.map(Rig::of) {
        let logger = rig.logger();
        let mut record = logger.create_log_record();
        record.set_event_name("an.event");
        record.set_target("target");
        record.set_timestamp(epoch());
        record.set_observed_timestamp(epoch() + MINUTE);
        record.set_severity_number(opentelemetry::logs::Severity::Warn);
        record.set_severity_text("WARN");
        record.set_body(AnyValue::String("several".into()));
        for (key, value) in [("session.id", "outer"), ("a", "1"), ("session.id", "inner"), ("b", "2")] {
            record.add_attribute(key, value);
        }
        record.add_attribute("session.id", "own");
        let before = record.clone();
        let span = rig.tracer().in_span("span", |context| {
            logger.emit(record);
            context.span().span_context().clone()
        });
        // Looking at a line fails where an attribute stands twice.
        let line = rig.lines().into_iter().rfind(|line| line.body == "several").unwrap();
        assert_eq!(line.id.as_deref(), Some("own"));
        let after = line.record;
        assert_eq!(after.attributes_iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "b", "session.id"]);
        assert_eq!((after.event_name(), after.target()), (before.event_name(), before.target()));
        assert_eq!((after.timestamp(), after.observed_timestamp()), (before.timestamp(), before.observed_timestamp()));
        assert_eq!(
            (after.severity_number(), after.severity_text()),
            (before.severity_number(), before.severity_text())
        );
        let trace = after.trace_context().unwrap();
        assert_eq!((trace.trace_id, trace.span_id), (span.trace_id(), span.span_id()));
        assert_eq!((trace.trace_flags, after.body()), (Some(span.trace_flags()), before.body()));
    }
}

#[test]
fn law_6_an_explicit_id_skips_neither_activity_nor_publication() {
    for kind in KINDS {
        let rig = Rig::of(kind);
        explicit_log(&rig, "first");
        rig.clock.advance(TIMEOUT - MINUTE);
        explicit_log(&rig, "keeps it alive");
        rig.clock.advance(TIMEOUT - MINUTE);
        assert!(rig.sessions.current().is_some());
        rig.clock.suspend(TIMEOUT);
        explicit_log(&rig, "rotates");
        let mut order: Vec<_> = rig.lines().into_iter().map(|line| line.body).collect();
        let mut expected =
            ["session started", "first", "keeps it alive", "session ended", "session started", "rotates"];
        if kind == Kind::Batch {
            // A log with an id of its own asks for no lifecycle record, so these may follow in the same batch.
            order.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(order, expected);
    }
}

#[test]
fn law_6_an_explicit_id_on_a_span_wins_for_the_span_and_its_events() {
    for rig in KINDS.map(Rig::of) {
        let builder = SpanBuilder::from_name("at the start").with_attributes([KeyValue::new("session.id", "explicit")]);
        let mut span = rig.tracer().build_with_context(builder, &opentelemetry::Context::current());
        span.add_event("event", vec![]);
        span.add_event("with an id of its own", vec![KeyValue::new("session.id", "event's")]);
        span.end();
        let mut span = start_span(&rig.tracer(), "later", rig.clock.now());
        span.set_attribute(KeyValue::new("session.id", "first"));
        span.set_attribute(KeyValue::new("other", 1));
        span.set_attribute(KeyValue::new("session.id", "last"));
        span.end();
        let spans = rig.finished_spans();
        assert_eq!(session_id(&spans[0].attributes).as_deref(), Some("explicit"));
        let events = &spans[0].events.events;
        assert_eq!(session_id(&events[0].attributes).as_deref(), Some("explicit"));
        assert_eq!(session_id(&events[1].attributes).as_deref(), Some("event's"));
        // Setting an attribute replaces it, says the specification; the SDK appends.
        assert_eq!(session_id(&spans[1].attributes).as_deref(), Some("last"));
        assert_eq!(attribute(&spans[1].attributes, "other").as_deref(), Some("1"));
    }
}

#[test]
fn law_6_an_explicit_user_id_wins_too() {
    for rig in KINDS.map(Rig::of) {
        rig.sessions.set_user_id(Some("ada"));
        let mut span = start_span(&rig.tracer(), "span", rig.clock.now());
        span.set_attribute(KeyValue::new("user.id", "bob"));
        span.add_event("event", vec![KeyValue::new("user.id", "carl")]);
        span.add_event("event", vec![]);
        span.end();
        let logger = rig.logger();
        let mut record = logger.create_log_record();
        record.add_attribute("user.id", "bob");
        logger.emit(record);
        rig.log("ada's");
        let span = &rig.finished_spans()[0];
        assert_eq!(attribute(&span.attributes, "user.id").as_deref(), Some("bob"));
        assert_eq!(attribute(&span.events.events[0].attributes, "user.id").as_deref(), Some("carl"));
        assert_eq!(attribute(&span.events.events[1].attributes, "user.id").as_deref(), Some("ada"));
        let lines = rig.lines();
        assert_eq!(lines[1].user_id.as_deref(), Some("bob"));
        assert_eq!(lines[2].user_id.as_deref(), Some("ada"));
    }
}

#[test]
fn law_6_signals_carry_no_previous_id() {
    for rig in KINDS.map(Rig::of) {
        rig.sessions.rotate();
        rig.sessions.rotate();
        rig.log("log");
        rig.span("span");
        assert_eq!(rig.lines().iter().rfind(|line| !line.is_lifecycle()).unwrap().previous_id, None);
        assert_eq!(attribute(&rig.finished_spans()[0].attributes, "session.previous_id"), None);
    }
}

#[test]
fn law_6_a_hundred_and_twenty_eight_attributes_do_not_lose_the_id() {
    for rig in KINDS.map(Rig::of) {
        rig.sessions.set_user_id(Some("ada"));
        let mut span = start_span(&rig.tracer(), "full", rig.clock.now());
        for number in 0..128 {
            span.set_attribute(KeyValue::new(format!("attribute {number}"), number));
        }
        span.end();
        let session = rig.sessions.current().unwrap();
        let span = &rig.finished_spans()[0];
        assert_eq!(session_id(&span.attributes).as_deref(), Some(session.id()));
        assert_eq!(attribute(&span.attributes, "user.id").as_deref(), Some("ada"));
        assert_eq!(span.attributes.len(), 130);
        assert_eq!(span.dropped_attributes_count, 0);
    }
}

#[test]
fn law_6_two_wrapped_pipelines_on_one_provider_both_get_everything_once() {
    let clock = ManualClock::new(epoch());
    let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
    let (first, second, third) = (CapturedLogs::default(), CapturedLogs::default(), CapturedLogs::default());
    let provider = SdkLoggerProvider::builder()
        .with_log_processor(sessions.log_processor(SimpleLogProcessor::new(first.clone())))
        .with_log_processor(sessions.batch_log_processor(second.clone()))
        .with_log_processor(sessions.log_processor(SimpleLogProcessor::new(third.clone())))
        .build();
    let logger = provider.logger("test");
    for round in 0..10 {
        emit(&logger, "log", None);
        clock.suspend(if round % 2 == 0 { TIMEOUT } else { MINUTE });
    }
    sessions.shutdown(seconds(5)).unwrap();
    provider.shutdown().unwrap();
    let expected = lines(&first);
    assert_eq!(expected.len(), 10 + 2 * 6);
    for logs in [first, second, third] {
        let lines = lines(&logs);
        assert_lawful(&lines);
        assert_eq!(
            lines.iter().map(|line| (&line.body, &line.id)).collect::<Vec<_>>(),
            expected.iter().map(|line| (&line.body, &line.id)).collect::<Vec<_>>()
        );
    }
    assert_eq!(sessions.losses().total(), 0);
}

#[test]
fn law_6_two_wrapped_span_pipelines_on_one_provider_both_stamp_once() {
    let rig = Rig::new();
    let spans = [CapturedSpans::default(), CapturedSpans::default()];
    let provider = SdkTracerProvider::builder()
        .with_span_processor(rig.sessions.span_processor(SimpleSpanProcessor::new(spans[0].clone())))
        .with_span_processor(rig.sessions.batch_span_processor(spans[1].clone()))
        .build();
    start_span(&provider.tracer("test"), "span", rig.clock.now()).end();
    provider.shutdown().unwrap();
    for spans in spans {
        let id = session_id(&spans.spans()[0].attributes);
        assert_eq!(id.as_deref(), Some(rig.sessions.current().unwrap().id()));
    }
}

#[test]
fn law_6_of_two_sessions_on_one_provider_the_first_registered_stamps_and_both_live() {
    let clock = ManualClock::new(epoch());
    let build =
        |timeout| Sessions::builder().with_clock(clock.clone()).with_inactivity_timeout(timeout).build().unwrap();
    let (first, second) = (build(10 * MINUTE), build(20 * MINUTE));
    let (first_logs, second_logs) = (CapturedLogs::default(), CapturedLogs::default());
    let provider = SdkLoggerProvider::builder()
        .with_log_processor(first.log_processor(SimpleLogProcessor::new(first_logs.clone())))
        .with_log_processor(second.log_processor(SimpleLogProcessor::new(second_logs.clone())))
        .build();
    let logger = provider.logger("test");
    emit(&logger, "log", None);
    assert!(clock.advance(15 * MINUTE));
    emit(&logger, "log", None);
    assert!(clock.advance(15 * MINUTE));
    emit(&logger, "log", None);
    assert_eq!((first.current().unwrap().index(), second.current().unwrap().index()), (3, 1));
    let (first_lines, second_lines) = (lines(&first_logs), lines(&second_logs));
    assert_lawful(&first_lines);
    assert_eq!((first_lines.len(), second_lines.len()), (3 + 5, 3 + 1));
    let stamped = |lines: &[Line]| -> Vec<_> {
        lines.iter().filter(|line| !line.is_lifecycle()).map(|line| line.id.clone()).collect()
    };
    assert_eq!(stamped(&first_lines), stamped(&second_lines));
    assert_eq!(second_lines[0].id.as_deref(), second.current().as_ref().map(|session| session.id()));
}

#[test]
fn law_6_of_two_sessions_on_one_tracer_provider_the_first_registered_stamps_and_both_live() {
    let clock = ManualClock::new(epoch());
    let build =
        |timeout| Sessions::builder().with_clock(clock.clone()).with_inactivity_timeout(timeout).build().unwrap();
    let (first, second, third) = (build(10 * MINUTE), build(20 * MINUTE), build(20 * MINUTE));
    first.set_user_id(Some("ada"));
    second.set_user_id(Some("bob"));
    let spans = [CapturedSpans::default(), CapturedSpans::default(), CapturedSpans::default()];
    let of_third = SimpleSpanProcessor::new(spans[2].clone());
    let shared = SdkTracerProvider::builder()
        .with_span_processor(first.batch_span_processor(spans[0].clone()))
        .with_span_processor(second.batch_span_processor(spans[1].clone()))
        .with_span_processor(third.span_processor(of_third))
        .build();
    let alone_spans = CapturedSpans::default();
    let alone = SdkTracerProvider::builder()
        .with_span_processor(second.span_processor(SimpleSpanProcessor::new(alone_spans.clone())))
        .build();

    for _ in 0..3 {
        let mut span = start_span(&shared.tracer("test"), "span", clock.now());
        start_span(&alone.tracer("test"), "alone", clock.now()).end();
        span.add_event_with_timestamp("event", clock.now(), vec![]);
        span.end();
        assert!(clock.advance(15 * MINUTE));
    }
    shared.shutdown().unwrap();

    let indices = [&first, &second, &third].map(|sessions| sessions.record_activity().index());
    assert_eq!(indices, [4, 1, 1], "each goes on by its own timeout");
    let seen = spans.each_ref().map(|spans| {
        let ids = |span: &SpanData| {
            assert_eq!(attribute(&span.attributes, "user.id").as_deref(), Some("ada"));
            let event = &span.events.events[0];
            (session_id(&span.attributes).unwrap(), session_id(&event.attributes).unwrap())
        };
        spans.spans().iter().map(ids).collect::<Vec<_>>()
    });
    assert_eq!(seen[0].iter().collect::<HashSet<_>>().len(), 3, "one session each");
    assert_eq!(seen[1], seen[0]);
    assert_eq!(seen[2], seen[0]);
    for span in alone_spans.spans() {
        assert_eq!(session_id(&span.attributes).as_deref(), Some(second.current().unwrap().id()));
    }
}

/// Each span has the id of the other provider's span of the same number.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl IdGenerator for Counted {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from(1)
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from(1 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[test]
fn law_6_sessions_on_two_tracer_providers_that_number_their_spans_alike_stamp_their_own() {
    let (one, other) = (Rig::new(), Rig::new());
    let build = |rig: &Rig| {
        let processor = rig.sessions.batch_span_processor(rig.spans.clone());
        SdkTracerProvider::builder().with_id_generator(Counted::default()).with_span_processor(processor).build()
    };
    let providers = [build(&one), build(&other)];
    for _ in 0..3 {
        let spans = providers.each_ref().map(|provider| start_span(&provider.tracer("test"), "span", epoch()));
        assert_eq!(spans[0].span_context(), spans[1].span_context());
    }
    for (provider, rig) in providers.iter().zip([one, other]) {
        provider.force_flush().unwrap();
        let ids = rig.spans.spans().iter().map(|span| session_id(&span.attributes)).collect::<HashSet<_>>();
        assert_eq!(ids, HashSet::from([Some(rig.sessions.current().unwrap().id().to_owned())]));
    }
}

#[test]
fn law_6_a_processor_that_was_given_a_resource_before_its_provider_was_built_is_still_the_first_of_it() {
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::SpanProcessor as _;
    let (one, other) = (Rig::new(), Rig::new());
    let mut first = one.sessions.batch_span_processor(one.spans.clone());
    first.set_resource(&Resource::builder_empty().build());
    let second = other.sessions.batch_span_processor(other.spans.clone());
    let provider = SdkTracerProvider::builder().with_span_processor(first).with_span_processor(second).build();
    start_span(&provider.tracer("test"), "span", epoch()).end();
    provider.force_flush().unwrap();
    let own = Some(one.sessions.current().unwrap().id().to_owned());
    for rig in [one, other] {
        let ids: Vec<_> = rig.spans.spans().iter().map(|span| session_id(&span.attributes)).collect();
        assert!(ids.len() == 1 && ids[0] == own, "{ids:?} {own:?}");
    }
}

#[test]
fn law_6_two_independent_sessions_in_one_process_do_not_touch_each_other() {
    for kind in KINDS {
        let (one, other) = (Rig::of(kind), Rig::of(kind));
        one.log("one");
        one.sessions.rotate();
        one.sessions.rotate();
        other.log("other");
        other.sessions.set_user_id(Some("ada"));
        one.log("one");
        other.log("other");
        one.sessions.shutdown(seconds(5)).unwrap();
        assert!(other.sessions.current().is_some());
        assert_eq!(one.lifecycle().len(), 6);
        assert_eq!(other.lifecycle().len(), 1);
        assert!(one.lines().iter().all(|line| line.user_id.is_none()));
        assert_lawful(&one.lines());
        assert_lawful(&other.lines());
    }
}
