//! Rotating and ending by hand: 44 to 54 (52 does not apply).

use opentelemetry::trace::Span as _;
use opentelemetry_sdk::logs::SimpleLogProcessor;
use otel_session::testing::{CapturedLogs, ManualClock};
use otel_session::{EndReason, Sessions, SessionsBuilder};

use crate::support::probes::*;
use crate::support::*;

#[test]
fn b044_rotate_makes_exactly_one_linked_replacement_at_once_with_a_window_and_maximum_of_its_own() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 40);
    on_both_pipelines(settings, |rig| {
        let first = rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 29);
        let second = rig.sessions.rotate();
        assert_eq!((second.previous_id(), second.started_at()), (Some(first.id()), epoch() + MINUTE * 29));
        assert_eq!(rig.sessions.current(), Some(second));
        assert!(rig.clock.advance(MINUTE * 29));
        assert_eq!(rig.sessions.record_activity(), second, "the idle window began anew");
        rig.clock.advance(MINUTE * 11 - seconds(1));
        assert_eq!(rig.sessions.current(), Some(second), "and so did the maximum");
        rig.clock.advance(seconds(1));
        assert_eq!(rig.sessions.current(), None);
        let lines = rig.lines();
        assert_eq!(reasons(&lines), ["rotated", "max_duration"]);
        assert_eq!(lines[1].at, Some(epoch() + MINUTE * 29), "it ended when it was asked to");
        assert_lawful(&lines);
    });
}

#[test]
fn b045_rotate_before_the_first_signal_creates_only_one_session() {
    on_both(|rig| {
        let only = rig.sessions.rotate();
        assert_eq!((only.index(), only.previous_id()), (1, None));
        rig.log("log");
        rig.span("span");
        assert_eq!(rig.span_id("span").as_deref(), Some(only.id()));
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 0));
        assert_eq!(started_ids(&lines), [only.id()]);
    });
}

#[test]
fn b046_rotating_what_had_expired_makes_no_intermediate_session_and_keeps_the_true_end() {
    for keeper in [true, false] {
        on_both(move |rig| {
            let first = rig.sessions.record_activity();
            rig.clock.suspend(TIMEOUT * 4);
            if keeper {
                rig.clock.advance(seconds(0));
            }
            let second = rig.sessions.rotate();
            assert_eq!((second.index(), second.previous_id()), (2, Some(first.id())));
            let lines = rig.lines();
            assert_eq!(starts_and_ends(&lines), (2, 1));
            assert_eq!((lines[1].reason.as_deref(), lines[1].at), (Some("inactivity"), Some(epoch())));
            assert_eq!(lines[2].at, Some(epoch() + TIMEOUT * 4));
            assert_lawful(&lines);
        });
    }
}

#[test]
fn b047_ending_twice_is_one_end_and_ending_nothing_is_nothing() {
    on_both(|rig| {
        rig.sessions.end();
        assert!(rig.lines().is_empty());
        rig.log("one");
        rig.sessions.end();
        rig.sessions.end();
        rig.clock.advance(MINUTE);
        rig.sessions.end();
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 1));
        assert_eq!((lines[2].reason.as_deref(), lines[2].at), (Some("ended"), Some(epoch())));
    });
}

#[test]
fn b048_after_an_end_the_next_session_is_unlinked_whatever_starts_it() {
    let case = |start: fn(&Rig)| {
        on_both(move |rig| {
            let first = rig.sessions.record_activity();
            rig.sessions.end();
            assert_eq!(rig.sessions.current(), None);
            start(&rig);
            let second = rig.sessions.current().unwrap();
            assert_ne!(second.id(), first.id());
            assert_eq!((second.previous_id(), second.index()), (None, 2));
            let lines = rig.lines();
            assert_eq!(lines.iter().filter(|line| line.previous_id.is_some()).count(), 0);
            assert_eq!(starts_and_ends(&lines), (2, 1));
            assert_lawful(&lines);
        });
    };
    case(|rig| rig.log("log"));
    case(|rig| rig.span("span"));
    case(|rig| _ = rig.sessions.record_activity());
    case(|rig| _ = rig.sessions.rotate());
}

#[test]
fn b048_the_one_after_the_unlinked_one_is_linked_again() {
    on_both(|rig| {
        rig.log("one");
        rig.sessions.end();
        let second = rig.sessions.record_activity();
        let third = rig.sessions.rotate();
        assert_eq!(third.previous_id(), Some(second.id()));
        rig.clock.advance(TIMEOUT);
        assert_eq!(rig.sessions.record_activity().previous_id(), Some(third.id()), "the keeper's end links");
        rig.clock.advance(TIMEOUT);
        rig.sessions.end();
        assert_eq!(rig.sessions.record_activity().previous_id(), None, "an end after the keeper's still unlinks");
        assert_lawful(&rig.lines());
    });
}

#[test]
fn b049_the_session_is_gone_before_its_end_can_be_seen() {
    let clock = ManualClock::new(epoch());
    let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
    within_bound(move || {
        let (seen, kept) = (Calls::default(), CapturedLogs::default());
        let (note, reader) = (seen.clone(), sessions.clone());
        let hook = Hook::new(move |record: &opentelemetry_sdk::logs::SdkLogRecord| {
            if record.event_name() == Some("session.end") {
                note.note(format!("{:?}", reader.current().map(|session| session.index())));
            }
        });
        let exporter = HookedLogs { hook, kept: kept.clone() };
        let provider = provider_of(sessions.log_processor(SimpleLogProcessor::new(exporter)));
        sessions.record_activity();
        sessions.end();
        provider.force_flush().unwrap();
        assert_eq!(seen.all(), ["None"]);
        // Other sessions of the process have no part in it.
        let later = Sessions::builder().with_clock(clock).build().unwrap().record_activity();
        assert_eq!((later.previous_id(), later.index()), (None, 1));
    });
}

#[test]
fn b050_nothing_that_was_pending_brings_an_ended_session_back() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 45);
    on_both_pipelines(settings, |rig| {
        let session = rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 29);
        rig.sessions.record_activity();
        rig.sessions.end();
        // Past the deadlines that the session had.
        for _ in 0..10 {
            assert!(rig.clock.advance(MINUTE * 10));
            rig.sessions.set_background(true);
            rig.sessions.set_user_id(Some("ann"));
            rig.sessions.set_user_id(None);
            rig.sessions.set_background(false);
            assert_eq!(rig.sessions.current(), None);
        }
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 1));
        assert_eq!(lines[1].id.as_deref(), Some(session.id()));
    });
}

#[test]
fn b051_a_span_keeps_the_session_in_which_it_began_over_an_end() {
    on_both(|rig| {
        let first = rig.sessions.record_activity();
        let mut before = start_span(&rig.tracer(), "before", rig.clock.now());
        rig.clock.advance(MINUTE);
        rig.sessions.end();
        rig.clock.advance(MINUTE);
        rig.span("after");
        let second = rig.sessions.current().unwrap();
        before.end_with_timestamp(rig.clock.now());
        assert_eq!(rig.span_id("before").as_deref(), Some(first.id()));
        assert_eq!(rig.span_id("after").as_deref(), Some(second.id()));
        assert_ne!(first.id(), second.id());
    });
}

#[test]
fn b053_an_end_by_hand_leaves_nothing_to_expire() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 45);
    on_both_pipelines(settings, |rig| {
        rig.log("one");
        rig.clock.advance(MINUTE * 10);
        rig.sessions.end();
        rig.clock.advance(MINUTE * 20);
        rig.clock.advance(MINUTE * 15);
        rig.clock.advance(MINUTE * 600);
        let lines = rig.lines();
        assert_eq!(reasons(&lines), ["ended"]);
        assert_eq!(lines.len(), 3);
        assert_eq!(rig.sessions.current(), None);
    });
}

#[test]
fn b053_after_a_shutdown_nothing_starts_and_nothing_expires() {
    on_both(|rig| {
        rig.log("one");
        let only = rig.sessions.current().unwrap();
        rig.sessions.shutdown(BOUND).unwrap();
        rig.sessions.shutdown(BOUND).unwrap();
        assert_eq!(rig.sessions.current(), None);
        assert_eq!((rig.sessions.rotate(), rig.sessions.record_activity()), (only, only));
        rig.sessions.end();
        rig.clock.advance(TIMEOUT * 3);
        rig.log("late");
        rig.span("late");
        assert_eq!(rig.log_id("late").as_deref(), Some(only.id()));
        assert_eq!(rig.span_id("late").as_deref(), Some(only.id()));
        let lines = rig.lines();
        assert_eq!(reasons(&lines), [EndReason::Shutdown.as_str()]);
        assert_eq!(starts_and_ends(&lines), (1, 1));
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn b054_after_an_end_by_hand_an_action_of_the_user_starts_a_new_session() {
    on_both(|rig| {
        rig.log("one");
        rig.sessions.end();
        rig.clock.advance(TIMEOUT * 2);
        let second = rig.sessions.record_activity();
        assert_eq!((second.previous_id(), second.started_at()), (None, epoch() + TIMEOUT * 2));
        rig.log("two");
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (2, 1));
        assert_eq!(rig.log_id("two").as_deref(), Some(second.id()));
        assert_lawful(&lines);
    });
}
