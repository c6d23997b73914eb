//! Which signals keep a session alive: 19 to 28.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::logs::{LogRecord as _, Logger as _, Severity};
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SimpleSpanProcessor};
use otel_session::{Activity, SessionsBuilder, Signal, SignalKind};

use crate::support::probes::*;
use crate::support::*;

fn explicit(builder: SessionsBuilder) -> SessionsBuilder {
    builder.with_activity(Activity::Explicit)
}

/// Emits an event; its name is what filters look at.
fn event(rig: &Rig, name: &'static str) {
    let logger = rig.logger();
    let mut record = logger.create_log_record();
    record.set_event_name(name);
    record.set_body(name.into());
    logger.emit(record);
}

#[test]
fn b019_by_default_every_stamped_signal_extends() {
    on_both(|rig| {
        let session = rig.sessions.record_activity();
        for _ in 0..3 {
            rig.clock.advance(MINUTE * 29);
            rig.log("log");
            rig.clock.advance(MINUTE * 29);
            rig.span("span");
        }
        assert_eq!(rig.sessions.current(), Some(session));
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 0));
        assert_eq!(ids_of_logs(&lines).into_iter().collect::<Vec<_>>(), [session.id()]);
        assert_eq!(rig.span_id("span").as_deref(), Some(session.id()));
    });
}

#[test]
fn b020_with_explicit_activity_stamping_does_not_extend_and_only_recorded_activity_does() {
    on_both_pipelines(explicit, |rig| {
        let session = rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 29);
        rig.log("log");
        rig.span("span");
        assert_eq!(rig.log_id("log").as_deref(), Some(session.id()), "stamped all the same");
        rig.clock.advance(MINUTE);
        assert_eq!(rig.sessions.current(), None, "but not extended");
        let second = rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 29);
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 29);
        assert_eq!(rig.sessions.current(), Some(second));
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (2, 1));
        assert_eq!(lines.iter().find(|line| line.is_end()).unwrap().at, Some(epoch()));
    });
}

#[test]
fn b021_recorded_activity_extends_a_valid_session_and_rotates_an_expired_one() {
    for configure in [explicit, |builder| builder] {
        on_both_pipelines(configure, |rig| {
            let first = rig.sessions.record_activity();
            rig.clock.suspend(TIMEOUT - seconds(1));
            assert_eq!(rig.sessions.record_activity(), first);
            rig.clock.suspend(TIMEOUT);
            let second = rig.sessions.record_activity();
            assert_eq!(second.previous_id(), Some(first.id()), "expiry is looked at first");
            let lines = rig.lines();
            assert_eq!(starts_and_ends(&lines), (2, 1));
            assert_eq!(
                lines[1].at,
                Some(epoch() + TIMEOUT - seconds(1)),
                "the late activity did not extend the old one"
            );
            assert_lawful(&lines);
        });
    }
}

#[test]
fn b022_activity_cannot_pass_the_maximum() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 40);
    on_both_pipelines(settings, |rig| {
        let first = rig.sessions.record_activity();
        rig.clock.suspend(MINUTE * 40 - Duration::from_nanos(1));
        // 30 minutes idle: over by inactivity; so begin again and stay busy.
        let second = rig.sessions.record_activity();
        assert_ne!(first.id(), second.id());
        for _ in 0..3 {
            rig.clock.suspend(MINUTE * 13);
            assert_eq!(rig.sessions.record_activity(), second);
        }
        rig.clock.suspend(MINUTE);
        assert_eq!(rig.sessions.current(), None);
        rig.log("after");
        assert_ne!(rig.log_id("after").as_deref(), Some(second.id()));
        assert_eq!(reasons(&rig.lines()), ["inactivity", "max_duration"]);
    });
}

#[test]
fn b023_spans_that_sampling_drops_neither_extend_nor_start_a_session() {
    on_both(|rig| {
        let processor = rig.sessions.span_processor(SimpleSpanProcessor::new(rig.spans.clone()));
        let unsampled =
            SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).with_span_processor(processor).build();
        let drop_one = || drop(unsampled.tracer("test").start("dropped"));
        drop_one();
        assert_eq!(rig.sessions.current(), None);
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 29);
        drop_one();
        rig.clock.advance(MINUTE);
        assert_eq!(rig.sessions.current(), None, "not extended");
        drop_one();
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 1), "and nothing was started by it");
        assert_eq!(lines[1].at, Some(epoch()));
    });
}

#[test]
fn b024_signals_that_a_filter_refuses_never_extend_but_still_rotate_and_do_not_stop_others() {
    let clicks = |builder: SessionsBuilder| {
        builder.with_activity(Activity::filter(|signal: &Signal<'_>| signal.name() == Some("click")))
    };
    on_both_pipelines(clicks, |rig| {
        event(&rig, "click");
        let first = rig.sessions.current().unwrap();
        rig.clock.suspend(MINUTE * 20);
        event(&rig, "poll");
        event(&rig, "click");
        event(&rig, "poll");
        rig.clock.suspend(MINUTE * 20);
        event(&rig, "poll");
        assert_eq!(rig.sessions.current(), Some(first), "the click counted, in between refused ones");
        rig.clock.suspend(MINUTE * 10);
        event(&rig, "poll");
        let second = rig.sessions.current().unwrap();
        assert_eq!(second.previous_id(), Some(first.id()), "a refused signal still finds the expired session over");
        assert_eq!(rig.log_id("poll").as_deref(), Some(second.id()), "and carries the new id");
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (2, 1));
        assert_eq!(lines.iter().find(|line| line.is_end()).unwrap().at, Some(epoch() + MINUTE * 20));
    });
}

#[test]
fn b024_a_filter_sees_the_kind_name_target_and_severity_of_a_signal() {
    let seen = Calls::default();
    let note = seen.clone();
    let rig = Rig::with(|builder| {
        builder.with_activity(Activity::filter(move |signal: &Signal<'_>| {
            note.note(format!("{:?} {:?} {:?} {:?}", signal.kind(), signal.name(), signal.target(), signal.severity()));
            signal.kind() == SignalKind::Span
        }))
    });
    rig.span("span");
    let logger = rig.logger();
    let mut record = logger.create_log_record();
    record.set_event_name("click");
    record.set_target("ui");
    record.set_severity_number(Severity::Warn);
    record.set_body("click".into());
    logger.emit(record);
    assert_eq!(seen.all(), ["Span None None None", "Log Some(\"click\") Some(\"ui\") Some(Warn)"]);
}

#[test]
fn b025_signals_may_count_in_the_foreground_only() {
    let foreground = Arc::new(AtomicBool::new(true));
    let flag = foreground.clone();
    let settings = move |builder: SessionsBuilder| {
        let flag = flag.clone();
        builder.with_activity(Activity::filter(move |_: &Signal<'_>| flag.load(Ordering::Relaxed)))
    };
    on_both_pipelines(settings, move |rig| {
        foreground.store(true, Ordering::Relaxed);
        rig.log("start");
        let first = rig.sessions.current().unwrap();
        rig.clock.suspend(MINUTE * 20);
        rig.log("foreground");
        rig.clock.suspend(MINUTE * 20);
        foreground.store(false, Ordering::Relaxed);
        rig.log("background");
        assert_eq!(rig.sessions.current(), Some(first), "extended in the foreground");
        rig.clock.suspend(MINUTE * 10);
        rig.log("background");
        let second = rig.sessions.current().unwrap();
        assert_ne!(second.id(), first.id(), "not in the background, where it still rotates");
        assert_eq!(rig.log_id("background").as_deref(), Some(second.id()));
        assert_eq!(rig.lines().iter().find(|line| line.is_end()).unwrap().at, Some(epoch() + MINUTE * 20));
    });
}

#[test]
fn b026_coming_to_the_front_never_renews_what_is_over_and_only_the_accepted_input_does() {
    let input = |builder: SessionsBuilder| {
        builder.with_activity(Activity::filter(|signal: &Signal<'_>| signal.name() == Some("input")))
    };
    on_both_pipelines(input, |rig| {
        event(&rig, "input");
        let first = rig.sessions.current().unwrap();
        rig.sessions.set_background(true);
        rig.clock.suspend(TIMEOUT);
        rig.sessions.set_background(false);
        assert_eq!(rig.sessions.current(), None, "visibility does not bring it back");
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 1), "and starts nothing");
        assert_eq!(lines.iter().find(|line| line.is_end()).unwrap().at, Some(epoch()), "nor is it activity");
        event(&rig, "input");
        assert_eq!(rig.sessions.current().unwrap().previous_id(), Some(first.id()));
    });
}

#[test]
fn b027_a_signal_that_is_no_activity_after_expiry_starts_the_next_session_which_only_activity_extends() {
    on_both_pipelines(explicit, |rig| {
        let first = rig.sessions.record_activity();
        rig.clock.advance(TIMEOUT);
        rig.log("beacon");
        let second = rig.sessions.current().unwrap();
        assert_eq!(second.previous_id(), Some(first.id()));
        assert_eq!(rig.log_id("beacon").as_deref(), Some(second.id()), "it never carries a dead id");
        rig.clock.advance(MINUTE * 29);
        rig.log("beacon");
        assert_eq!(rig.sessions.record_activity(), second, "a user's action renews it");
        rig.clock.advance(MINUTE * 29);
        assert_eq!(rig.sessions.current(), Some(second));
        assert_eq!(starts_and_ends(&rig.lines()), (2, 1));
    });
}

#[test]
fn b028_noting_activity_seldom_changes_no_result() {
    on_both(|rig| {
        let mut last = epoch();
        for step in 0..2_000_u32 {
            if step % 100 == 0 {
                rig.clock.suspend(Duration::from_nanos(u64::from(step) + 1));
                last = rig.clock.now();
            }
            rig.span("busy");
        }
        rig.clock.suspend(TIMEOUT - Duration::from_nanos(1));
        assert!(rig.sessions.current().is_some(), "not early");
        rig.clock.suspend(Duration::from_nanos(1));
        assert_eq!(rig.sessions.current(), None, "not late");
        rig.clock.advance(Duration::ZERO);
        assert_eq!(rig.lines()[1].at, Some(last), "exact to the nanosecond");
    });
}

#[test]
fn b028_a_signal_that_is_no_activity_does_not_hide_one_in_the_same_tick() {
    on_both_pipelines(explicit, |rig| {
        rig.sessions.record_activity();
        rig.clock.suspend(MINUTE * 10);
        rig.log("first in this tick");
        rig.sessions.record_activity();
        rig.log("last in this tick");
        rig.clock.advance(TIMEOUT);
        assert_eq!(rig.lifecycle()[1].at, Some(epoch() + MINUTE * 10));
    });
}
