//! Foreground and background: 29 to 31. The change is a setter with a timeout of its own; it is no activity, but the idle
//! window starts anew with it.

use std::time::Duration;

use otel_session::SessionsBuilder;

use crate::support::probes::*;
use crate::support::*;

const BACKGROUND: Duration = Duration::from_secs(15 * 60);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// No timeout to speak of in the foreground, fifteen minutes in the background.
fn background_only(builder: SessionsBuilder) -> SessionsBuilder {
    builder.with_inactivity_timeout(seconds(50 * 365 * 24 * 3600)).with_background_timeout(BACKGROUND)
}

/// Thirty minutes in the foreground, fifteen in the background.
fn both_timeouts(builder: SessionsBuilder) -> SessionsBuilder {
    builder.with_background_timeout(BACKGROUND)
}

#[test]
fn b029_in_the_foreground_the_background_timeout_never_counts() {
    on_both_pipelines(background_only, |rig| {
        let session = rig.sessions.record_activity();
        for _ in 0..10 {
            rig.clock.advance(seconds(30 * 24 * 3600));
            assert_eq!(rig.sessions.current(), Some(session));
        }
        assert_eq!(starts_and_ends(&rig.lines()), (1, 0));
    });
}

#[test]
fn b029_the_timeout_applies_to_the_first_signal_after_the_return() {
    on_both_pipelines(background_only, |rig| {
        let first = rig.sessions.record_activity();
        rig.sessions.set_background(true);
        rig.clock.suspend(BACKGROUND - NANOSECOND);
        rig.sessions.set_background(false);
        rig.log("in time");
        assert_eq!(rig.log_id("in time").as_deref(), Some(first.id()));
        rig.sessions.set_background(true);
        rig.clock.suspend(BACKGROUND);
        rig.sessions.set_background(false);
        rig.log("too late");
        let second = rig.sessions.current().unwrap();
        assert_eq!(second.previous_id(), Some(first.id()));
        assert_eq!(rig.log_id("too late").as_deref(), Some(second.id()));
        assert_lawful(&rig.lines());
    });
}

#[test]
fn b029_going_to_the_background_is_no_activity() {
    on_both_pipelines(both_timeouts, |rig| {
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 10);
        rig.sessions.set_background(true);
        rig.clock.advance(BACKGROUND);
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 1));
        assert_eq!(lines[1].at, Some(epoch()), "the end is the last activity, not the change");
        assert_eq!(lines[1].observed_at, Some(epoch() + MINUTE * 25), "the keeper was on time");
    });
}

#[test]
fn b029_a_change_starts_nothing() {
    on_both_pipelines(both_timeouts, |rig| {
        rig.sessions.set_background(true);
        rig.sessions.set_background(false);
        assert_eq!(rig.sessions.current(), None);
        rig.sessions.set_background(true);
        rig.log("born in the background");
        rig.clock.suspend(BACKGROUND);
        assert_eq!(rig.sessions.current(), None, "the background timeout counts from the start");
    });
}

#[test]
fn b029_after_a_short_visit_to_the_background_the_foreground_timeout_counts_again() {
    on_both_pipelines(both_timeouts, |rig| {
        let session = rig.sessions.record_activity();
        rig.sessions.set_background(true);
        rig.clock.advance(MINUTE * 14);
        rig.sessions.set_background(false);
        rig.clock.advance(MINUTE * 30 - NANOSECOND);
        assert_eq!(rig.sessions.current(), Some(session), "not fifteen minutes after it went");
        rig.clock.advance(NANOSECOND);
        assert_eq!(rig.sessions.current(), None);
        assert_eq!(rig.lines()[1].at, Some(epoch()));
    });
}

#[test]
fn b029_after_a_quiet_foreground_the_window_starts_at_the_change() {
    on_both_pipelines(background_only, |rig| {
        let session = rig.sessions.record_activity();
        rig.clock.advance(MINUTE * 600);
        rig.sessions.set_background(true);
        rig.clock.advance(BACKGROUND - NANOSECOND);
        assert_eq!(rig.sessions.current(), Some(session));
        rig.clock.advance(NANOSECOND);
        assert_eq!(rig.sessions.current(), None);
        let lines = rig.lines();
        assert_eq!((lines[1].at, lines[1].reason.as_deref()), (Some(epoch()), Some("inactivity")));
    });
}

#[test]
fn b029_an_expiry_survives_further_changes_until_it_is_looked_up() {
    on_both_pipelines(both_timeouts, |rig| {
        let first = rig.sessions.record_activity();
        rig.sessions.set_background(true);
        rig.clock.suspend(BACKGROUND);
        for background in [false, true, false, true, false] {
            rig.sessions.set_background(background);
            rig.clock.suspend(MINUTE);
        }
        assert_eq!(rig.sessions.current(), None);
        let second = rig.sessions.record_activity();
        assert_eq!(second.previous_id(), Some(first.id()));
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (2, 1), "ended once");
        assert_lawful(&lines);
    });
}

#[test]
fn b029_the_same_value_again_does_nothing() {
    on_both_pipelines(both_timeouts, |rig| {
        let session = rig.sessions.record_activity();
        rig.sessions.set_background(true);
        for _ in 0..14 {
            rig.clock.advance(MINUTE);
            rig.sessions.set_background(true);
        }
        assert_eq!(rig.sessions.current(), Some(session));
        rig.clock.advance(MINUTE);
        rig.sessions.set_background(true);
        assert_eq!(rig.sessions.current(), None, "repeated calls do not start the window anew");
        assert_eq!(starts_and_ends(&rig.lines()), (1, 1));
    });
}

#[test]
fn b030_the_foreground_before_at_and_after_the_boundary_continues_or_starts_anew() {
    let case = |away: Duration, continues: bool| {
        for keeper in [true, false] {
            on_both_pipelines(both_timeouts, move |rig| {
                let first = rig.sessions.record_activity();
                rig.sessions.set_background(true);
                if keeper {
                    rig.clock.advance(away);
                } else {
                    rig.clock.suspend(away);
                }
                rig.sessions.set_background(false);
                let now = rig.sessions.record_activity();
                assert_eq!(now == first, continues, "{away:?}");
                assert_eq!(starts_and_ends(&rig.lines()), if continues { (1, 0) } else { (2, 1) });
            });
        }
    };
    case(BACKGROUND - NANOSECOND, true);
    case(BACKGROUND, false);
    case(BACKGROUND + NANOSECOND, false);
    case(BACKGROUND * 3, false);
}

#[test]
fn b031_a_session_that_lived_and_ran_out_in_the_background_is_not_continued_by_the_foreground() {
    on_both_pipelines(both_timeouts, |rig| {
        rig.sessions.set_background(true);
        rig.log("background work");
        let background = rig.sessions.current().unwrap();
        rig.clock.suspend(BACKGROUND);
        rig.sessions.set_background(false);
        rig.log("the user is back");
        let foreground = rig.sessions.current().unwrap();
        assert_eq!(foreground.previous_id(), Some(background.id()));
        assert_eq!(rig.log_id("the user is back").as_deref(), Some(foreground.id()));
        assert_lawful(&rig.lines());
    });
}

#[test]
fn b031_an_application_that_wants_it_cut_at_the_change_rotates_there() {
    on_both_pipelines(both_timeouts, |rig| {
        rig.sessions.set_background(true);
        rig.log("background work");
        rig.clock.advance(MINUTE);
        rig.sessions.rotate();
        rig.sessions.set_background(false);
        rig.log("the user is back");
        let lines = rig.lines();
        assert_eq!(reasons(&lines), ["rotated"]);
        assert_ne!(rig.log_id("background work"), rig.log_id("the user is back"));
        assert_lawful(&lines);
    });
}

#[test]
fn b029_without_a_timeout_of_its_own_the_background_has_that_of_the_foreground() {
    let rig = Rig::with(|builder| builder.with_inactivity_timeout(10 * MINUTE));
    rig.log("log");
    rig.sessions.set_background(true);
    assert!(rig.clock.advance(10 * MINUTE - Duration::from_nanos(1)));
    assert!(rig.sessions.current().is_some());
    assert!(rig.clock.advance(Duration::from_nanos(1)));
    assert!(rig.sessions.current().is_none());
}
