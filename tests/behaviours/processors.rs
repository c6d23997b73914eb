//! What the processors do to a signal: 73 to 81.

use std::time::SystemTime;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{Span as _, SpanId, TraceFlags, TraceId};
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{InMemoryLogExporter, LogProcessor, SdkLoggerProvider, SimpleLogProcessor};
use otel_session::Sessions;
use otel_session::testing::ManualClock;

use crate::support::probes::*;
use crate::support::*;

fn log_with(rig: &Rig, body: &'static str, attributes: Vec<(Key, AnyValue)>) {
    let logger = rig.logger();
    let mut record = logger.create_log_record();
    record.set_body(body.into());
    record.add_attributes(attributes);
    logger.emit(record);
}

fn keys(line: &Line) -> Vec<String> {
    line.record.attributes_iter().map(|(key, _)| key.to_string()).collect()
}

#[test]
fn b073_a_span_gets_the_id_of_its_session_and_no_previous_id() {
    on_both(|rig| {
        rig.span("first");
        let second = rig.sessions.rotate();
        assert!(second.previous_id().is_some());
        rig.span("second");
        assert_eq!(rig.span_id("second").as_deref(), Some(second.id()));
        for span in rig.finished_spans() {
            let keys: Vec<_> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            assert_eq!(keys, ["session.id"], "the previous id stands on lifecycle records only");
        }
    });
}

#[test]
fn b074_without_a_session_there_is_no_attribute_and_no_crash() {
    on_both(|rig| {
        rig.sessions.shutdown(BOUND).unwrap();
        rig.log("log");
        rig.span("span");
        assert_eq!(rig.log_id("log"), None);
        assert_eq!(rig.span_id("span"), None);
        assert_eq!((rig.lines().len(), rig.finished_spans().len()), (1, 1), "both went through");
        assert_eq!(rig.lifecycle(), []);
    });
}

#[test]
fn b075_a_log_gets_an_id_and_nothing_else_of_it_changes() {
    for batched in [false, true] {
        let clock = ManualClock::new(epoch());
        let sessions = Sessions::builder().with_clock(clock).build().unwrap();
        let exporter = InMemoryLogExporter::default();
        let builder =
            SdkLoggerProvider::builder().with_resource(Resource::builder_empty().with_service_name("shop").build());
        let provider = if batched {
            builder.with_log_processor(sessions.batch_log_processor(exporter.clone())).build()
        } else {
            builder.with_log_processor(sessions.log_processor(SimpleLogProcessor::new(exporter.clone()))).build()
        };
        let logger = provider.logger("cart");
        let mut record = logger.create_log_record();
        let at = epoch() + MINUTE;
        record.set_body(AnyValue::from("body"));
        record.set_event_name("bought");
        record.set_target("ui");
        record.set_timestamp(at);
        record.set_observed_timestamp(at + MINUTE);
        record.set_severity_number(Severity::Warn2);
        record.set_severity_text("WARN2");
        record.set_trace_context(TraceId::from(7), SpanId::from(8), Some(TraceFlags::SAMPLED));
        let attributes = [("a", AnyValue::Int(1)), ("b", AnyValue::Boolean(true)), ("a", AnyValue::from("twice"))];
        record.add_attributes(attributes.clone());
        logger.emit(record);
        provider.force_flush().unwrap();
        let logs = exporter.get_emitted_logs().unwrap();
        assert_eq!(logs.len(), 2, "its session's start, and itself");
        let log = &logs[1];
        assert_eq!((log.record.event_name(), log.record.target().map(|it| &**it)), (Some("bought"), Some("ui")));
        assert_eq!(log.record.body(), Some(&AnyValue::from("body")));
        assert_eq!((log.record.timestamp(), log.record.observed_timestamp()), (Some(at), Some(at + MINUTE)));
        assert_eq!((log.record.severity_number(), log.record.severity_text()), (Some(Severity::Warn2), Some("WARN2")));
        let trace = log.record.trace_context().unwrap();
        assert_eq!((trace.trace_id, trace.span_id), (TraceId::from(7), SpanId::from(8)));
        assert_eq!(trace.trace_flags, Some(TraceFlags::SAMPLED));
        assert_eq!(log.instrumentation.name(), "cart");
        assert_eq!(log.resource.get(&Key::from("service.name")), Some("shop".into()));
        let mut expected: Vec<_> = attributes.map(|(key, value)| (Key::from(key), value)).to_vec();
        let id = sessions.current().unwrap().id().to_owned();
        expected.push((Key::from("session.id"), AnyValue::String(id.into())));
        assert_eq!(log.record.attributes_iter().cloned().collect::<Vec<_>>(), expected);
        assert_eq!(logs[0].resource.get(&Key::from("service.name")), Some("shop".into()), "the start has it as well");
    }
}

#[test]
fn b076_an_explicit_id_is_kept_and_exported_once_on_logs_spans_and_span_events() {
    on_both(|rig| {
        rig.sessions.set_user_id(Some("ann"));
        log_with(&rig, "log", vec![(Key::from("session.id"), AnyValue::from("mine"))]);
        let mut span = start_span(&rig.tracer(), "span", rig.clock.now());
        span.set_attribute(KeyValue::new("session.id", "mine"));
        span.add_event_with_timestamp("plain", rig.clock.now(), vec![]);
        span.add_event_with_timestamp("own", rig.clock.now(), vec![KeyValue::new("session.id", "its own")]);
        span.end_with_timestamp(rig.clock.now());
        let line = rig.lines().into_iter().find(|line| line.body == "log").unwrap();
        assert_eq!(line.id.as_deref(), Some("mine"));
        assert_eq!(keys(&line), ["session.id", "user.id"]);
        let span = rig.finished_spans().remove(0);
        assert_eq!(session_id(&span.attributes).as_deref(), Some("mine"));
        assert_eq!(session_id(&span.events.events[0].attributes).as_deref(), Some("mine"));
        assert_eq!(session_id(&span.events.events[1].attributes).as_deref(), Some("its own"));
        assert!(rig.sessions.current().is_some(), "they are signals like any other");
        assert_eq!(starts_and_ends(&rig.lines()), (1, 0));
    });
}

#[test]
fn b076_a_signal_with_an_explicit_id_still_extends_and_still_carries_the_user() {
    on_both(|rig| {
        rig.sessions.set_user_id(Some("ann"));
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 29);
        log_with(&rig, "log", vec![(Key::from("session.id"), AnyValue::from("mine"))]);
        rig.clock.advance(MINUTE * 29);
        let mut span = start_span(&rig.tracer(), "span", rig.clock.now());
        span.set_attribute(KeyValue::new("session.id", "mine"));
        span.end_with_timestamp(rig.clock.now());
        rig.clock.advance(MINUTE * 29);
        assert!(rig.sessions.current().is_some());
        let line = rig.lines().into_iter().find(|line| line.body == "log").unwrap();
        assert_eq!(line.user_id.as_deref(), Some("ann"));
        let spans = rig.finished_spans();
        assert_eq!(attribute(&spans[0].attributes, "user.id").as_deref(), Some("ann"), "as on the log");
    });
}

#[test]
fn b077_ids_are_followed_as_they_change_between_records() {
    on_both(|rig| {
        let mut expected = Vec::new();
        for n in 0..50 {
            rig.log("log");
            rig.span("span");
            expected.push(rig.sessions.current().unwrap().id().to_owned());
            if n % 3 == 0 {
                rig.clock.advance(seconds(1));
                rig.sessions.rotate();
            }
        }
        let logs: Vec<_> = rig.lines().into_iter().filter(|line| !line.is_lifecycle()).filter_map(|it| it.id).collect();
        assert_eq!(logs, expected);
        let spans: Vec<_> = rig.finished_spans().iter().filter_map(|span| session_id(&span.attributes)).collect();
        assert_eq!(spans, expected);
    });
}

#[test]
fn b078_flush_and_shutdown_succeed_with_and_without_sessions() {
    on_both(|rig| {
        rig.loggers.force_flush().unwrap();
        rig.tracers.force_flush().unwrap();
        rig.log("one");
        rig.span("one");
        rig.loggers.force_flush().unwrap();
        rig.loggers.force_flush().unwrap();
        rig.tracers.force_flush().unwrap();
        rig.tracers.shutdown().unwrap();
        rig.loggers.shutdown().unwrap();
        rig.sessions.shutdown(BOUND).unwrap();
        let lines = lines(&rig.logs);
        assert_eq!(starts_and_ends(&lines), (1, 1));
        assert_eq!((lines.len(), rig.spans.spans().len()), (3, 1));
        assert_eq!(rig.sessions.losses().total(), 0);
    });
    on_both(|rig| {
        rig.tracers.shutdown().unwrap();
        rig.loggers.shutdown().unwrap();
        assert!(lines(&rig.logs).is_empty());
    });
}

#[test]
fn b078_flush_shutdown_and_resource_reach_the_wrapped_processor_once_each() {
    let sessions = Sessions::builder().with_clock(ManualClock::new(epoch())).build().unwrap();
    let (logs, spans) = (LogProbe::default(), SpanProbe::default());
    let loggers = provider_of(sessions.log_processor(logs.clone()));
    let tracers = tracers_of(sessions.span_processor(spans.clone()));
    loggers.force_flush().unwrap();
    tracers.force_flush().unwrap();
    loggers.shutdown().unwrap();
    tracers.shutdown().unwrap();
    drop((loggers, tracers));
    assert_eq!(logs.calls.all(), ["resource", "flush", "shutdown"]);
    assert_eq!(spans.calls.all(), ["resource", "flush", "shutdown"]);
    let silent = LogProbe { enabled: false, ..LogProbe::default() };
    assert!(!sessions.log_processor(silent).event_enabled(Severity::Info, "", None), "and so does a filter's question");
}

#[test]
fn b079_the_record_that_triggers_a_rotation_carries_the_new_id() {
    on_both(|rig| {
        for round in 0..5_usize {
            rig.clock.suspend(TIMEOUT);
            if round % 2 == 0 {
                rig.log("trigger");
                assert_eq!(rig.log_id("trigger").as_deref(), Some(rig.sessions.current().unwrap().id()));
            } else {
                rig.span("trigger");
                assert_eq!(rig.span_id("trigger").as_deref(), Some(rig.sessions.current().unwrap().id()));
            }
            assert_eq!(rig.sessions.current().unwrap().index(), round as u64 + 1);
        }
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (5, 4));
    });
}

#[test]
fn b079_every_record_of_a_batch_carries_the_id_of_its_own_emission() {
    within_bound(|| {
        let rig = Rig::batched(|builder| builder);
        let mut expected = Vec::new();
        for _ in 0..40 {
            rig.log("log");
            expected.push(rig.sessions.current().unwrap().id().to_owned());
            rig.clock
                .suspend(TIMEOUT / 2 + seconds(rig.clock.now().duration_since(epoch()).unwrap().as_secs() % 1_000));
        }
        let lines = rig.lines();
        assert_lawful(&lines);
        let ids: Vec<_> = lines.iter().filter(|line| !line.is_lifecycle()).filter_map(|line| line.id.clone()).collect();
        assert_eq!(ids, expected);
        assert!(ids_of_logs(&lines).len() > 1, "the batch spans several sessions");
    });
}

#[test]
fn b080_a_signal_about_an_earlier_time_belongs_to_the_session_of_that_time() {
    on_both(|rig| {
        let first = rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 10);
        let second = rig.sessions.rotate();
        rig.clock.advance(MINUTE * 10);
        let third = rig.sessions.rotate();
        let at = |minute: u32| -> SystemTime { epoch() + MINUTE * minute };
        for (minute, session) in [(5, first), (9, first), (10, second), (19, second), (20, third)] {
            rig.log_at("late", at(minute));
            rig.span_at("late", at(minute));
            assert_eq!(rig.log_id("late").as_deref(), Some(session.id()), "a log of minute {minute}");
            assert_eq!(rig.span_id("late").as_deref(), Some(session.id()), "a span of minute {minute}");
        }
        let mut span = start_span(&rig.tracer(), "long", at(5));
        for minute in [6, 11, 21] {
            span.add_event_with_timestamp("event", at(minute), vec![]);
        }
        span.end_with_timestamp(at(22));
        let long = rig.finished_spans().pop().unwrap();
        let of_events = long.events.iter().filter_map(|event| session_id(&event.attributes));
        assert_eq!(of_events.collect::<Vec<_>>(), [first.id(), second.id(), third.id()], "events by their own time");
        rig.log_at("before everything", epoch() - MINUTE);
        assert_eq!(rig.log_id("before everything").as_deref(), Some(first.id()));
        assert_eq!(rig.sessions.current(), Some(third), "and changes nothing");
        assert_eq!(starts_and_ends(&rig.lines()), (3, 2));
    });
}

#[test]
fn b080_after_the_wall_clock_was_set_back_between_two_sessions_no_signal_gets_the_id_of_the_dead_one() {
    on_both(|rig| {
        let dead = rig.sessions.record_activity();
        rig.clock.advance(TIMEOUT);
        rig.clock.step_wall(epoch() - MINUTE * 60 * 24);
        rig.log("new");
        let live = rig.sessions.current().unwrap();
        assert_ne!(live.id(), dead.id());
        for _ in 0..3 {
            rig.clock.advance(MINUTE);
            rig.log_at("log", rig.clock.now());
            rig.span("span");
            assert_eq!(rig.log_id("log").as_deref(), Some(live.id()));
            assert_eq!(rig.span_id("span").as_deref(), Some(live.id()));
        }
        assert_lawful(&rig.lines());
    });
}

#[test]
fn b081_logs_of_different_sessions_carry_different_ids_and_each_end_only_its_own() {
    on_both(|rig| {
        for name in ["one", "two", "three"] {
            rig.log(name);
            rig.sessions.end();
        }
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(ids_of_logs(&lines).len(), 3);
        for triple in lines.chunks(3) {
            assert!(triple[0].is_start() && triple[2].is_end());
            assert_eq!((&triple[0].id, &triple[1].id), (&triple[1].id, &triple[2].id));
        }
    });
}
