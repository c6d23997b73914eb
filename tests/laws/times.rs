//! Law 5: times are true.

use std::time::{Duration, SystemTime};

use crate::support::*;
use otel_session::SessionsBuilder;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const NANO: Duration = Duration::from_nanos(1);

/// The reasons and times of the lifecycle records, starts as "start".
fn chain(rig: &Rig) -> Vec<(String, SystemTime)> {
    let lifecycle = rig.lifecycle();
    assert_lawful(&lifecycle);
    lifecycle.into_iter().map(|line| (line.reason.unwrap_or_else(|| "start".into()), line.at.unwrap())).collect()
}

fn with_max(max: Duration) -> impl FnOnce(SessionsBuilder) -> SessionsBuilder {
    move |builder| builder.with_max_duration(max)
}

#[test]
fn law_5_idle_is_expired_exactly_when_the_timeout_has_passed() {
    let rig = Rig::new();
    rig.log("first");
    assert!(rig.clock.advance(TIMEOUT - NANO));
    assert!(rig.sessions.current().is_some());
    assert!(rig.clock.advance(NANO));
    assert!(rig.sessions.current().is_none());
    assert_eq!(chain(&rig), [("start".into(), epoch()), ("inactivity".into(), epoch())]);
}

#[test]
fn law_5_an_idle_session_ended_with_its_last_activity_however_late_that_is_noticed() {
    let rig = Rig::new();
    rig.log("first");
    rig.clock.advance(MINUTE);
    rig.span("last");
    rig.clock.advance(MINUTE);
    let _ = rig.sessions.current();
    rig.clock.suspend(DAY);
    rig.log("next");
    let next = epoch() + 2 * MINUTE + DAY;
    assert_eq!(
        chain(&rig),
        [("start".into(), epoch()), ("inactivity".into(), epoch() + MINUTE), ("start".into(), next)]
    );
}

#[test]
fn law_5_the_longest_session_ends_its_maximum_duration_after_its_start() {
    let rig = Rig::with(with_max(HOUR));
    for _ in 0..6 {
        rig.log("busy");
        assert!(rig.clock.advance(10 * MINUTE));
    }
    assert_eq!(chain(&rig), [("start".into(), epoch()), ("max_duration".into(), epoch() + HOUR)]);
    // Noticed a day late it is still true.
    rig.log("next");
    rig.clock.advance(20 * MINUTE);
    rig.log("again");
    rig.clock.advance(20 * MINUTE);
    rig.log("again");
    rig.clock.suspend(DAY);
    rig.log("after the night");
    assert_eq!(
        chain(&rig)[2..],
        [
            ("start".into(), epoch() + HOUR),
            ("max_duration".into(), epoch() + 2 * HOUR),
            ("start".into(), epoch() + HOUR + 40 * MINUTE + DAY)
        ]
    );
}

#[test]
fn law_5_a_session_that_began_at_its_triggers_own_time_has_its_maximum_from_there() {
    let rig = Rig::with(with_max(HOUR));
    rig.log_at("early", epoch() - 20 * MINUTE);
    for _ in 0..4 {
        assert!(rig.clock.advance(10 * MINUTE));
        rig.log("busy");
    }
    assert_eq!(
        chain(&rig),
        [
            ("start".into(), epoch() - 20 * MINUTE),
            ("max_duration".into(), epoch() + 40 * MINUTE),
            ("start".into(), epoch() + 40 * MINUTE)
        ]
    );
}

#[test]
fn law_5_what_is_ended_by_hand_ends_now() {
    let rig = Rig::new();
    rig.log("first");
    rig.clock.advance(MINUTE);
    rig.sessions.rotate();
    rig.clock.advance(MINUTE);
    rig.sessions.end();
    rig.clock.advance(MINUTE);
    rig.log("third");
    rig.clock.advance(MINUTE);
    rig.sessions.shutdown(seconds(5)).unwrap();
    let at = |minutes| epoch() + minutes * MINUTE;
    assert_eq!(
        chain(&rig),
        [
            ("start".into(), at(0)),
            ("rotated".into(), at(1)),
            ("start".into(), at(1)),
            ("ended".into(), at(2)),
            ("start".into(), at(3)),
            ("shutdown".into(), at(4))
        ]
    );
}

#[test]
fn law_5_what_was_over_already_did_not_end_by_hand() {
    for by_hand in [
        |rig: &Rig| rig.sessions.end(),
        |rig: &Rig| _ = rig.sessions.rotate(),
        |rig: &Rig| {
            rig.sessions.shutdown(seconds(5)).unwrap();
        },
    ] {
        let rig = Rig::new();
        rig.log("first");
        rig.clock.suspend(2 * TIMEOUT);
        by_hand(&rig);
        assert_eq!(chain(&rig)[1], ("inactivity".into(), epoch()));
    }
}

#[test]
fn law_5_idle_time_counts_while_the_machine_sleeps() {
    let rig = Rig::new();
    let before = rig.sessions.record_activity();
    rig.clock.suspend(TIMEOUT - NANO);
    assert_eq!(rig.sessions.current(), Some(before));
    rig.clock.suspend(NANO);
    assert_eq!(rig.sessions.current(), None);
}

#[test]
fn law_5_idle_time_is_immune_to_steps_of_the_wall_clock() {
    for wall in [epoch() + DAY, epoch() - DAY, epoch() + MINUTE, epoch() - MINUTE] {
        let rig = Rig::new();
        let session = rig.sessions.record_activity();
        rig.clock.step_wall(wall);
        assert!(rig.clock.advance(TIMEOUT - NANO));
        assert_eq!(rig.sessions.current(), Some(session), "stepped to {wall:?}");
        assert!(rig.clock.advance(NANO));
        assert_eq!(rig.sessions.current(), None, "stepped to {wall:?}");
        assert_eq!(chain(&rig)[1], ("inactivity".into(), epoch()));
        rig.log("next");
        assert_eq!(chain(&rig)[2].1, (wall + TIMEOUT).max(epoch()), "stepped to {wall:?}");
    }
}

#[test]
fn law_5_the_last_activity_is_exact_however_little_the_wall_clock_was_stepped_before_it() {
    for micros in [90, 1, 900_000] {
        let rig = Rig::new();
        rig.sessions.record_activity();
        rig.clock.advance(MINUTE);
        rig.clock.step_wall(rig.clock.now() + Duration::from_micros(micros));
        rig.sessions.record_activity();
        let last = rig.clock.now();
        rig.clock.advance(TIMEOUT);
        assert_eq!(chain(&rig)[1], ("inactivity".into(), last));
    }
}

#[test]
fn law_5_a_step_back_after_the_last_activity_moves_no_end() {
    let rig = Rig::with(|builder| builder.with_activity(otel_session::Activity::Explicit));
    rig.sessions.record_activity();
    rig.clock.advance(MINUTE);
    rig.sessions.rotate();
    rig.clock.advance(MINUTE);
    rig.sessions.record_activity();
    rig.clock.step_wall(epoch() + 90 * Duration::from_secs(1));
    rig.log("no activity, but it notices the step");
    rig.clock.advance(TIMEOUT);
    assert_eq!(chain(&rig)[3], ("inactivity".into(), epoch() + 2 * MINUTE));
}

#[test]
fn law_5_start_end_and_next_start_stand_in_order_whatever_the_wall_clock_does() {
    let rig = Rig::with(with_max(HOUR));
    let steps = [DAY, HOUR, MINUTE, 3 * DAY, 10 * MINUTE, 2 * DAY, 500 * Duration::from_millis(1)];
    for (number, step) in steps.into_iter().cycle().take(70).enumerate() {
        rig.log("a");
        let wall = rig.clock.now();
        rig.clock.step_wall(if number % 2 == 0 { wall - step } else { wall + step });
        match number % 5 {
            0 => _ = rig.sessions.rotate(),
            1 => _ = rig.clock.advance(TIMEOUT),
            2 => rig.clock.suspend(2 * HOUR),
            3 => rig.sessions.end(),
            _ => rig.log_at("late", rig.clock.now() - HOUR),
        }
        rig.log("b");
    }
    let chain = chain(&rig);
    assert!(chain.len() > 100);
    assert!(chain.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{chain:?}");
}

#[test]
fn law_5_a_wall_clock_that_was_set_back_does_not_stretch_the_maximum_duration() {
    let rig = Rig::with(with_max(HOUR));
    rig.log("first");
    rig.clock.step_wall(epoch() - DAY);
    let second = rig.sessions.rotate();
    // It cannot start before the first ended, which lies a day ahead of the wall clock now.
    assert_eq!(second.started_at(), epoch());
    for _ in 0..5 {
        assert!(rig.clock.advance(10 * MINUTE));
        rig.log("busy");
        assert_eq!(rig.sessions.current().as_ref(), Some(&second));
    }
    assert!(rig.clock.advance(10 * MINUTE));
    assert_eq!(rig.sessions.current(), None);
    assert_eq!(chain(&rig)[3], ("max_duration".into(), epoch() + HOUR));
}

#[test]
fn law_5_a_wall_clock_that_was_set_forward_does_not_shorten_the_maximum_duration() {
    let rig = Rig::with(with_max(HOUR));
    let first = rig.sessions.record_activity();
    rig.clock.step_wall(epoch() + DAY);
    for _ in 0..5 {
        assert!(rig.clock.advance(10 * MINUTE));
        assert_eq!(rig.sessions.record_activity(), first);
    }
    assert!(rig.clock.advance(10 * MINUTE));
    assert_eq!(rig.sessions.current(), None);
}

#[test]
fn law_5_the_background_timeout_counts_from_the_change_and_the_end_is_still_the_last_activity() {
    let rig = Rig::with(|builder| builder.with_background_timeout(5 * MINUTE));
    rig.log("first");
    rig.clock.advance(20 * MINUTE);
    rig.sessions.set_background(true);
    assert!(rig.clock.advance(5 * MINUTE - NANO));
    rig.sessions.set_background(true);
    assert!(rig.sessions.current().is_some());
    assert!(rig.clock.advance(NANO));
    assert!(rig.sessions.current().is_none());
    assert_eq!(chain(&rig)[1], ("inactivity".into(), epoch()));
    rig.log("in the background");
    rig.sessions.set_background(false);
    assert!(rig.clock.advance(TIMEOUT - NANO));
    assert!(rig.sessions.current().is_some());
}

#[test]
fn law_5_a_session_that_was_over_does_not_come_back_from_the_background() {
    let rig = Rig::with(|builder| builder.with_background_timeout(MINUTE));
    rig.log("first");
    rig.sessions.set_background(true);
    rig.clock.suspend(2 * MINUTE);
    rig.sessions.set_background(false);
    assert_eq!(rig.sessions.current(), None);
    assert_eq!(chain(&rig).len(), 2);
}

#[test]
fn law_5_durations_are_end_minus_start() {
    let rig = Rig::new();
    let (told, seen) = std::sync::mpsc::channel();
    rig.sessions
        .on_transition(move |transition| {
            if let Some(ended) = transition.ended() {
                let _ = told.send((ended.duration(), ended.ended_at(), ended.session().started_at()));
            }
        })
        .detach();
    rig.log("first");
    rig.clock.advance(MINUTE);
    rig.sessions.rotate();
    rig.clock.step_wall(epoch() - DAY);
    rig.sessions.rotate();
    assert!(rig.clock.advance(Duration::ZERO));
    let ends: Vec<_> = seen.try_iter().collect();
    assert_eq!(ends[0], (MINUTE, epoch() + MINUTE, epoch()));
    assert_eq!(ends[1], (Duration::ZERO, epoch() + MINUTE, epoch() + MINUTE), "never negative");
}
