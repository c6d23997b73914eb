//! Expiry: 9 to 18.

use std::time::Duration;

use otel_session::{Activity, BuildError, Sessions, SessionsBuilder};

use crate::support::probes::*;
use crate::support::*;

const NANOSECOND: Duration = Duration::from_nanos(1);

#[test]
fn b009_an_id_holds_until_the_timeout_and_not_a_moment_longer() {
    let four_hours = |builder: SessionsBuilder| builder.with_inactivity_timeout(seconds(4 * 3600));
    on_both_pipelines(four_hours, |rig| {
        let session = rig.sessions.record_activity();
        rig.clock.advance(seconds(4 * 3600 - 1));
        assert_eq!(rig.sessions.current(), Some(session));
        rig.clock.advance(seconds(1));
        assert_eq!(rig.sessions.current(), None);
        assert_ne!(rig.sessions.record_activity().id(), session.id());
        assert_eq!(starts_and_ends(&rig.lines()), (2, 1));
    });
}

#[test]
fn b009_the_same_holds_when_no_keeper_runs_in_between() {
    let four_hours = |builder: SessionsBuilder| builder.with_inactivity_timeout(seconds(4 * 3600));
    on_both_pipelines(four_hours, |rig| {
        rig.log("first");
        rig.clock.suspend(seconds(4 * 3600 - 1));
        rig.log("kept");
        rig.clock.suspend(seconds(4 * 3600));
        rig.log("new");
        assert_eq!(rig.log_id("first"), rig.log_id("kept"));
        assert_ne!(rig.log_id("kept"), rig.log_id("new"));
        assert_lawful(&rig.lines());
    });
}

#[test]
fn b010_activity_restarts_the_window_and_its_boundary_is_inclusive() {
    let fifteen = |builder: SessionsBuilder| builder.with_inactivity_timeout(MINUTE * 15);
    on_both_pipelines(fifteen, |rig| {
        let session = rig.sessions.record_activity();
        rig.clock.advance(seconds(15 * 60 - 1));
        assert_eq!(rig.sessions.record_activity(), session, "14:59 keeps");
        rig.clock.advance(seconds(15 * 60 - 1));
        assert_eq!(rig.sessions.current(), Some(session), "the window began anew");
        rig.clock.advance(seconds(1));
        let next = rig.sessions.record_activity();
        assert_ne!(next.id(), session.id(), "15:00 rotates");
        let lines = rig.lines();
        assert_eq!(lines[1].at, Some(epoch() + seconds(15 * 60 - 1)), "it ended with its last activity");
        assert_lawful(&lines);
    });
}

#[test]
fn b011_the_maximum_rotates_despite_constant_activity() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 60);
    on_both_pipelines(settings, |rig| {
        for minute in 0..150 {
            rig.log_at("busy", epoch() + MINUTE * minute);
            rig.clock.advance(MINUTE);
        }
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (3, 2));
        assert_eq!(reasons(&lines), ["max_duration", "max_duration"]);
        let ends: Vec<_> = lines.iter().filter(|line| line.is_end()).map(|line| line.at.unwrap()).collect();
        assert_eq!(ends, [epoch() + MINUTE * 60, epoch() + MINUTE * 120]);
    });
}

#[test]
fn b011_the_limit_that_was_reached_first_names_the_end_however_late_it_is_noticed() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 60);
    let case = |last_activity: u32, reason: &'static str, end: u32| {
        on_both_pipelines(settings, move |rig| {
            rig.sessions.record_activity();
            for _ in 0..last_activity / 20 {
                rig.clock.advance(MINUTE * 20);
                rig.sessions.record_activity();
            }
            rig.clock.advance(MINUTE * (last_activity % 20));
            rig.sessions.record_activity();
            rig.clock.suspend(MINUTE * 60 * 24);
            rig.log("much later");
            let lines = rig.lines();
            assert_eq!(reasons(&lines), [reason]);
            assert_eq!(lines[1].at, Some(epoch() + MINUTE * end));
            assert_lawful(&lines);
        });
    };
    case(29, "inactivity", 29);
    case(31, "max_duration", 60);
    case(30, "max_duration", 60); // both fall on the same moment
}

#[test]
fn b011_a_wall_clock_set_back_does_not_lengthen_the_maximum() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 60);
    on_both_pipelines(settings, |rig| {
        rig.sessions.record_activity();
        rig.clock.step_wall(epoch() - MINUTE * 60 * 24);
        let second = rig.sessions.rotate();
        for _ in 0..59 {
            rig.clock.advance(MINUTE);
            assert_eq!(rig.sessions.record_activity(), second);
        }
        rig.clock.advance(MINUTE);
        assert_ne!(rig.sessions.record_activity().id(), second.id(), "an hour has passed, whatever the wall says");
        let lines = rig.lines();
        assert_eq!(reasons(&lines), ["rotated", "max_duration"]);
        assert_lawful(&lines);
    });
}

#[test]
fn b012_extending_keeps_the_start_and_moves_the_expiry() {
    on_both(|rig| {
        let session = rig.sessions.record_activity();
        for _ in 0..5 {
            rig.clock.advance(MINUTE * 29);
            let extended = rig.sessions.record_activity();
            assert_eq!((extended.started_at(), extended), (epoch(), session));
        }
        let lines = rig.lines();
        assert_eq!((lines.len(), lines[0].at), (1, Some(epoch())));
        rig.clock.advance(MINUTE * 30);
        assert_eq!(rig.sessions.current(), None);
        assert_eq!(rig.lines()[1].at, Some(epoch() + MINUTE * 29 * 5));
    });
}

#[test]
fn b013_an_expiry_that_falls_exactly_on_now_has_passed() {
    let rig = Rig::new();
    let session = rig.sessions.record_activity();
    rig.clock.suspend(TIMEOUT - NANOSECOND);
    assert_eq!(rig.sessions.current(), Some(session));
    rig.clock.suspend(NANOSECOND);
    assert_eq!(rig.sessions.current(), None);

    let rig = Rig::with(|builder| builder.with_max_duration(MINUTE).with_inactivity_timeout(MINUTE));
    let session = rig.sessions.record_activity();
    rig.clock.suspend(MINUTE - NANOSECOND);
    assert_eq!(rig.sessions.record_activity(), session);
    rig.clock.suspend(NANOSECOND);
    assert_ne!(rig.sessions.record_activity().id(), session.id());
    assert_eq!(reasons(&rig.lines()), ["max_duration"]);
}

#[test]
fn b014_a_timeout_and_a_maximum_of_ones_own_are_respected() {
    let settings = |builder: SessionsBuilder| {
        builder.with_inactivity_timeout(Duration::from_millis(10)).with_max_duration(Duration::from_millis(25))
    };
    on_both_pipelines(settings, |rig| {
        let millis = Duration::from_millis;
        rig.log("0");
        for name in ["9", "18", "27"] {
            rig.clock.advance(millis(9));
            rig.log(name);
        }
        rig.clock.advance(millis(10));
        let lines = rig.lines();
        assert_eq!(reasons(&lines), ["max_duration", "inactivity"]);
        let ends: Vec<_> = lines.iter().filter(|line| line.is_end()).map(|line| line.at.unwrap()).collect();
        assert_eq!(ends, [epoch() + millis(25), epoch() + millis(27)]);
        assert_lawful(&lines);
    });
}

#[test]
fn b014_zero_is_refused_and_the_message_says_what_to_do_instead() {
    for build in [
        Sessions::builder().with_inactivity_timeout(Duration::ZERO),
        Sessions::builder().with_background_timeout(Duration::ZERO),
        Sessions::builder().with_max_duration(Duration::ZERO),
    ] {
        let message = build.build().unwrap_err().to_string();
        assert!(message.contains("leave it out"), "{message}");
    }
}

#[test]
fn b015_durations_that_cannot_work_are_refused_with_the_name_of_the_setting() {
    let refused = |builder: SessionsBuilder, name: &str| match builder.build().unwrap_err() {
        error @ BuildError::Duration { setting, .. } => {
            assert_eq!(setting, name);
            assert!(error.to_string().contains(name));
        }
        other => panic!("{other}"),
    };
    let new = Sessions::builder;
    refused(new().with_inactivity_timeout(Duration::ZERO), "with_inactivity_timeout");
    refused(new().with_inactivity_timeout(Duration::MAX), "with_inactivity_timeout");
    refused(new().with_background_timeout(Duration::MAX), "with_background_timeout");
    refused(new().with_max_duration(Duration::MAX), "with_max_duration");
    // In either order: what is refused is the combination.
    refused(new().with_inactivity_timeout(MINUTE * 2).with_max_duration(MINUTE), "with_inactivity_timeout");
    refused(new().with_max_duration(MINUTE).with_inactivity_timeout(MINUTE + NANOSECOND), "with_inactivity_timeout");
    refused(new().with_max_duration(MINUTE).with_background_timeout(MINUTE * 2), "with_background_timeout");
    assert!(new().with_inactivity_timeout(MINUTE).with_max_duration(MINUTE).build().is_ok(), "equal is fine");
    assert!(new().with_max_duration(MINUTE).build().is_ok(), "the default timeout yields to a shorter maximum");
}

#[test]
fn b016_a_live_session_has_no_end_and_an_ended_one_has_the_end_that_its_reason_implies() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 45);
    on_both_pipelines(settings, |rig| {
        let told = Calls::default();
        let note = told.clone();
        let watch = rig.sessions.on_transition(move |transition| {
            if let Some(ended) = transition.ended() {
                let (start, end) = (ended.session().started_at(), ended.ended_at());
                assert_eq!(ended.duration(), end.duration_since(start).unwrap());
                note.note(format!("{} {}", ended.reason(), ended.duration().as_secs()));
            }
        });
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 29);
        assert_eq!(starts_and_ends(&rig.lines()), (1, 0), "active: no end");
        assert!(told.all().is_empty());
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 30);
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 7);
        rig.clock.advance(MINUTE * 23);
        assert_eq!(told.all(), ["max_duration 2700", "inactivity 0"]);
        for end in rig.lines().iter().filter(|line| line.is_end()) {
            let attributes: Vec<_> = end.record.attributes_iter().map(|(key, _)| key.as_str()).collect();
            assert!(attributes.contains(&"otel_session.duration"), "{attributes:?}");
        }
        drop(watch);
    });
}

#[test]
fn b017_a_session_with_nothing_but_telemetry_that_is_no_activity_rotates_again_and_again() {
    on_both_pipelines(
        |builder| builder.with_activity(Activity::Explicit),
        |rig| {
            for minute in 0..=180 {
                let at = epoch() + MINUTE * minute;
                rig.log_at("tick", at);
                rig.span_at("tick", at);
                rig.clock.advance(MINUTE);
            }
            let lines = rig.lines();
            assert_lawful(&lines);
            assert_eq!(starts_and_ends(&lines), (7, 6));
            assert_eq!(ids_of_logs(&lines).len(), 7, "every session has logs");
            assert!(reasons(&lines).iter().all(|reason| *reason == "inactivity"));
        },
    );
}

#[test]
fn b018_the_expiry_is_capped_by_the_maximum_whatever_expands_it() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 45);
    on_both_pipelines(settings, |rig| {
        let session = rig.sessions.record_activity();
        for minute in 0..44 {
            rig.clock.advance(MINUTE);
            rig.sessions.set_background(minute % 2 == 0);
            rig.sessions.set_user_id(Some(if minute % 2 == 0 { "ann" } else { "bob" }));
            assert_eq!(rig.sessions.record_activity().id(), session.id());
        }
        // Nothing happens any more, and the keeper is on time.
        rig.clock.advance(MINUTE);
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 1));
        assert_eq!((lines[1].reason.as_deref(), lines[1].at), (Some("max_duration"), Some(epoch() + MINUTE * 45)));
    });
}
