//! `session.start` and `session.end`: 32 to 43.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, Severity};
use opentelemetry::trace::{TraceContextExt as _, Tracer as _};
use opentelemetry_sdk::logs::{SdkLoggerProvider, SimpleLogProcessor};
use otel_session::testing::{CapturedLogs, ManualClock};
use otel_session::{Loss, Sessions, SessionsBuilder};

use crate::support::probes::*;
use crate::support::*;

fn keys(line: &Line) -> Vec<&str> {
    let mut keys: Vec<_> = line.record.attributes_iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys
}

fn value(line: &Line, key: &str) -> Option<AnyValue> {
    line.record.attributes_iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value.clone())
}

/// Sessions without any pipeline yet.
fn alone() -> (ManualClock, Sessions) {
    let clock = ManualClock::new(epoch());
    let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
    (clock, sessions)
}

fn simple(sessions: &Sessions) -> (SdkLoggerProvider, CapturedLogs) {
    let kept = CapturedLogs::default();
    (provider_of(sessions.log_processor(SimpleLogProcessor::new(kept.clone()))), kept)
}

#[test]
fn b032_a_start_names_itself_its_session_and_its_times() {
    let settings = |builder: SessionsBuilder| builder.with_installation_id("here").with_user_id("ann");
    on_both_pipelines(settings, |rig| {
        let first = rig.sessions.record_activity();
        rig.clock.advance(MINUTE);
        let second = rig.sessions.rotate();
        let lines = rig.lines();
        let (start, linked) = (&lines[0], &lines[2]);
        assert_eq!((start.event, start.id.as_deref()), (Some("session.start"), Some(first.id())));
        assert_eq!((start.at, start.observed_at), (Some(epoch()), Some(epoch())));
        assert_eq!(start.record.severity_number(), Some(Severity::Info));
        assert!(matches!(start.record.body(), Some(AnyValue::String(_))));
        assert!(start.record.trace_context().is_none());
        assert_eq!(keys(start), ["app.installation.id", "otel_session.index", "session.id", "user.id"]);
        assert_eq!(linked.previous_id.as_deref(), Some(first.id()));
        assert_eq!((linked.id.as_deref(), linked.at), (Some(second.id()), Some(epoch() + MINUTE)));
        assert_eq!(
            keys(linked),
            ["app.installation.id", "otel_session.index", "session.id", "session.previous_id", "user.id"]
        );
        assert_eq!(value(linked, "otel_session.index"), Some(AnyValue::Int(2)));
    });
}

#[test]
fn b033_an_end_carries_the_id_of_the_ended_session_and_its_own_previous_id() {
    on_both(|rig| {
        let first = rig.sessions.record_activity();
        rig.clock.advance(MINUTE);
        let second = rig.sessions.rotate();
        rig.clock.advance(MINUTE);
        let third = rig.sessions.rotate();
        let lines = rig.lines();
        let ends: Vec<&Line> = lines.iter().filter(|line| line.is_end()).collect();
        assert_eq!((ends[0].id.as_deref(), ends[0].previous_id.as_deref()), (Some(first.id()), None));
        assert_eq!((ends[1].id.as_deref(), ends[1].previous_id.as_deref()), (Some(second.id()), Some(first.id())));
        assert_eq!((ends[0].at, ends[1].at), (Some(epoch() + MINUTE), Some(epoch() + MINUTE * 2)));
        assert_eq!(value(ends[1], "otel_session.duration"), Some(AnyValue::Double(60.0)));
        assert_eq!(value(ends[1], "otel_session.index"), Some(AnyValue::Int(2)));
        for end in ends {
            assert!(
                end.record.attributes_iter().all(|(_, value)| *value != AnyValue::String(third.id().to_owned().into()))
            );
            assert!(end.record.trace_context().is_none() && end.observed_at.is_some());
        }
    });
}

#[test]
fn b034_an_end_precedes_the_start_of_its_replacement_and_both_precede_its_first_log() {
    on_both(|rig| {
        rig.log("a");
        rig.sessions.rotate();
        rig.log("b");
        rig.clock.suspend(TIMEOUT);
        rig.log("c");
        let bodies: Vec<String> = rig.lines().into_iter().map(|line| line.body).collect();
        let expected = ["session started", "a", "session ended", "session started", "b", "session ended"];
        assert_eq!(bodies, [&expected[..], &["session started", "c"]].concat());
    });
}

#[test]
fn b035_a_session_starts_once_and_whatever_extends_or_changes_it_says_nothing() {
    on_both(|rig| {
        for round in 0..20 {
            rig.log("log");
            rig.span("span");
            rig.sessions.record_activity();
            rig.sessions.set_user_id(if round % 2 == 0 { Some("ann") } else { None });
            rig.sessions.set_background(round % 2 == 0);
            let _ = rig.loggers.force_flush();
            rig.clock.advance(MINUTE);
        }
        assert_eq!(starts_and_ends(&rig.lines()), (1, 0));
        let second = rig.sessions.rotate();
        rig.log("log");
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (2, 1));
        assert_eq!(started_ids(&lines)[1], second.id());
        assert_lawful(&lines);
    });
}

#[test]
fn b036_the_first_session_has_a_start_and_no_end_stands_before_it() {
    on_both(|rig| {
        rig.sessions.end();
        rig.clock.advance(TIMEOUT);
        rig.log("first");
        let lines = rig.lines();
        assert_eq!(lines.iter().map(|line| line.body.as_str()).collect::<Vec<_>>(), ["session started", "first"]);
        assert_eq!(lines[0].previous_id, None);
    });
}

#[test]
fn b037_what_happened_before_the_first_pipeline_is_published_in_order_and_once() {
    within_bound(|| {
        let (clock, sessions) = alone();
        for _ in 0..10 {
            sessions.rotate();
            clock.advance(MINUTE);
        }
        let (first, records) = simple(&sessions);
        first.force_flush().unwrap();
        let backlog = lines(&records);
        assert_eq!(starts_and_ends(&backlog), (10, 9));
        assert_lawful(&backlog);
        // A second pipeline gets the live session only, the first nothing again.
        let (second, later) = simple(&sessions);
        second.force_flush().unwrap();
        first.force_flush().unwrap();
        assert_eq!(started_ids(&lines(&later)), [sessions.current().unwrap().id()]);
        assert_eq!(lines(&later).len(), 1);
        assert_eq!(lines(&records).len(), 19);
    });
}

#[test]
fn b037_the_backlog_is_bounded_drops_whole_pairs_and_counts_them() {
    within_bound(|| {
        let (_clock, sessions) = alone();
        let ids: Vec<String> = (0..2_001).map(|_| sessions.rotate().id().to_owned()).collect();
        let dropped = sessions.losses().count(Loss::LifecycleQueueFull);
        let (provider, records) = simple(&sessions);
        provider.force_flush().unwrap();
        let lines = lines(&records);
        assert_eq!(lines.len() as u64 + dropped, 2_001 + 2_000, "every record is there or counted");
        assert!(dropped > 0 && dropped.is_multiple_of(2));
        assert!(lines[0].is_start(), "no end without its start");
        let (starts, ends) = starts_and_ends(&lines);
        assert_eq!(starts, ends + 1);
        assert_eq!(started_ids(&lines), ids[ids.len() - starts..], "the newest are kept, and the oldest go");
    });
}

#[test]
fn b038_what_waits_keeps_its_kind_reason_and_times() {
    within_bound(|| {
        let (clock, sessions) = alone();
        sessions.record_activity();
        clock.advance(MINUTE);
        sessions.rotate();
        clock.advance(MINUTE);
        sessions.end();
        sessions.record_activity();
        clock.advance(TIMEOUT);
        sessions.set_user_id(Some("ann"));
        sessions.record_activity();
        clock.advance(MINUTE);
        let (provider, records) = simple(&sessions);
        provider.force_flush().unwrap();
        let lines = lines(&records);
        assert_lawful(&lines);
        assert_eq!(reasons(&lines), ["rotated", "ended", "inactivity"]);
        let minutes = |line: &Line| line.at.unwrap().duration_since(epoch()).unwrap().as_secs() / 60;
        assert_eq!(lines.iter().map(minutes).collect::<Vec<_>>(), [0, 1, 1, 2, 2, 2, 32]);
        assert_eq!(lines[5].observed_at, Some(epoch() + MINUTE * 32), "decided when it fell due, not when published");
        let users: Vec<_> = lines.iter().map(|line| line.user_id.is_some()).collect();
        assert_eq!(users, [false, false, false, false, false, false, true], "the user at that time");
    });
}

#[test]
fn b039_a_pipeline_that_attaches_while_sessions_rotate_misses_none() {
    within_bound(|| {
        for _ in 0..30 {
            let (_clock, sessions) = alone();
            let rotating = sessions.clone();
            let thread = std::thread::spawn(move || (0..300).map(|_| rotating.rotate().id().to_owned()).collect());
            let (provider, records) = simple(&sessions);
            let ids: Vec<String> = thread.join().unwrap();
            provider.force_flush().unwrap();
            let lines = lines(&records);
            assert_eq!(started_ids(&lines), ids);
            assert_eq!(starts_and_ends(&lines), (300, 299));
            assert_lawful(&lines);
            sessions.shutdown(BOUND).unwrap();
            assert_eq!(sessions.losses().total(), 0, "and nothing is left in the queue");
        }
    });
}

#[test]
fn b040_lifecycle_records_neither_start_nor_extend_a_session() {
    on_both(|rig| {
        rig.sessions.record_activity();
        rig.clock.suspend(MINUTE * 20);
        // The start is published only now, and is no activity.
        let _ = rig.loggers.force_flush();
        rig.clock.advance(MINUTE * 10);
        for _ in 0..5 {
            rig.clock.advance(TIMEOUT);
            assert_eq!(starts_and_ends(&rig.lines()), (1, 1), "the end started nothing");
        }
        assert_eq!(rig.lines()[1].at, Some(epoch()));
    });
}

#[test]
fn b040_lifecycle_records_of_one_kind_of_sessions_are_no_signals_of_another() {
    within_bound(|| {
        let (clock, outer) = alone();
        let other = Sessions::builder().with_clock(clock.clone()).build().unwrap();
        let kept = CapturedLogs::default();
        // The records of the outer sessions pass through the processor of the inner ones.
        let inner = other.log_processor(SimpleLogProcessor::new(kept.clone()));
        let provider = provider_of(outer.log_processor(inner));
        let session = outer.record_activity();
        outer.rotate();
        provider.force_flush().unwrap();
        assert_eq!(other.current(), None, "they start nothing");
        let started = other.record_activity();
        clock.advance(MINUTE * 29);
        outer.rotate();
        provider.force_flush().unwrap();
        clock.advance(MINUTE);
        assert_eq!(other.current(), None, "and extend nothing");
        for line in lines(&kept).iter().filter(|line| line.id.as_deref() == Some(session.id())) {
            assert!(line.is_lifecycle());
            assert_ne!(line.previous_id.as_deref(), Some(started.id()));
        }
    });
}

#[test]
fn b040_a_lifecycle_record_is_not_stamped_with_the_span_or_user_of_the_moment() {
    on_both(|rig| {
        rig.log("first");
        rig.sessions.set_user_id(Some("ann"));
        rig.clock.suspend(TIMEOUT);
        rig.sessions.set_user_id(Some("bob"));
        rig.tracer().in_span("request", |context| {
            assert!(context.span().span_context().is_valid());
            let logger = rig.logger();
            let mut record = logger.create_log_record();
            record.set_body("inside".into());
            logger.emit(record);
        });
        let lines = rig.lines();
        assert!(lines.iter().filter(|line| line.is_lifecycle()).all(|line| line.record.trace_context().is_none()));
        let end = lines.iter().find(|line| line.is_end()).unwrap();
        assert_eq!(end.user_id.as_deref(), Some("ann"), "the user when the session ended");
        assert_eq!(started_ids(&lines).len(), 2);
        assert_eq!(lines.iter().rfind(|line| line.is_start()).unwrap().user_id.as_deref(), Some("bob"));
    });
}

#[test]
fn b041_what_expired_unseen_is_ended_at_its_last_activity_before_the_next_starts() {
    on_both(|rig| {
        let first = rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 5);
        rig.span("last activity");
        rig.clock.suspend(TIMEOUT * 100);
        rig.log("again");
        let lines = rig.lines();
        assert_eq!((lines[1].id.as_deref(), lines[1].at), (Some(first.id()), Some(epoch() + MINUTE * 5)));
        assert_eq!(lines[2].previous_id.as_deref(), Some(first.id()));
        assert_eq!(lines[2].at, Some(epoch() + MINUTE * 5 + TIMEOUT * 100));
        assert_lawful(&lines);
    });
}

#[test]
fn b042_an_observer_that_comes_later_is_told_of_the_live_session_before_the_call_returns() {
    let (clock, sessions) = alone();
    let none = Told::default();
    let _none = sessions.on_transition(none.observer());
    assert!(none.0.all().is_empty(), "nothing is live");
    let session = sessions.record_activity();
    let late = Told::default();
    let _late = sessions.on_transition(late.observer());
    assert_eq!(late.0.all(), [format!("start {} -", session.id())]);
    clock.advance(seconds(0));
    assert_eq!(none.0.all(), late.0.all(), "told once each");
}

#[test]
fn b042_the_observer_has_been_told_when_the_call_returns_even_while_the_keeper_is_busy() {
    within_bound(|| {
        let (_clock, sessions) = alone();
        sessions.record_activity();
        let done = Arc::new(AtomicBool::new(false));
        let (busy, stop) = (sessions.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                busy.set_background(true);
            }
        });
        for _ in 0..20_000 {
            let told = Arc::new(AtomicBool::new(false));
            let tell = told.clone();
            let _watch = sessions.on_transition(move |_| {
                std::thread::yield_now();
                tell.store(true, Ordering::Release);
            });
            assert!(told.load(Ordering::Acquire));
        }
        done.store(true, Ordering::Release);
        thread.join().unwrap();
    });
}

#[test]
fn b043_each_end_says_why_and_observers_and_records_agree() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 40);
    on_both_pipelines(settings, |rig| {
        let told = Told::default();
        let _watch = rig.sessions.on_transition(told.observer());
        rig.sessions.record_activity();
        rig.clock.advance(TIMEOUT);
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 20);
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 20);
        rig.sessions.record_activity();
        rig.sessions.rotate();
        rig.sessions.end();
        rig.sessions.record_activity();
        rig.sessions.shutdown(BOUND).unwrap();
        let lines = rig.lines();
        assert_eq!(reasons(&lines), ["inactivity", "max_duration", "rotated", "ended", "shutdown"]);
        assert_eq!(reasons(&lines), REASONS.map(otel_session::EndReason::as_str));
        assert_eq!(told.0.all(), Told::of_records(&lines));
        assert_lawful(&lines);
    });
}
