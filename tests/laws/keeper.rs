//! Laws 9 and 10: the SDK's corners are in `tests/traps`; here expiry does not wait for traffic.

use std::sync::mpsc::channel;
use std::time::Duration;

use opentelemetry_sdk::logs::SdkLogRecord;
use otel_session::testing::ManualClock;

use crate::support::pipelines::KINDS;
use crate::support::probes::{Hook, LogProbe};
use crate::support::*;

#[test]
fn law_10_the_keeper_ends_an_idle_session_on_time_without_traffic() {
    for rig in KINDS.map(Rig::of) {
        rig.log("only");
        assert!(rig.clock.advance(TIMEOUT - MINUTE));
        assert_eq!(rig.lifecycle().len(), 1);
        assert!(rig.clock.advance(MINUTE));
        let lifecycle = rig.lifecycle();
        assert_eq!(lifecycle.len(), 2);
        assert_eq!(lifecycle[1].reason.as_deref(), Some("inactivity"));
        assert_eq!((lifecycle[1].at, lifecycle[1].observed_at), (Some(epoch()), Some(epoch() + TIMEOUT)));
    }
}

#[test]
fn law_10_the_keeper_ends_the_longest_session_on_time() {
    let rig = Rig::with(|builder| builder.with_max_duration(TIMEOUT).with_inactivity_timeout(20 * MINUTE));
    rig.log("first");
    assert!(rig.clock.advance(15 * MINUTE));
    rig.log("busy");
    assert!(rig.clock.advance(15 * MINUTE));
    assert_eq!(rig.logs.records().len(), 4);
    assert_eq!(rig.lifecycle()[1].reason.as_deref(), Some("max_duration"));
}

/// By the real clock: a manual one wakes the keeper whenever it moves.
#[test]
fn law_10_the_keeper_hears_of_a_deadline_that_came_nearer() {
    let builder = otel_session::Sessions::builder().with_background_timeout(Duration::from_millis(20));
    let sessions = builder.build().unwrap();
    let (told, tells) = channel();
    let _watch = sessions.on_transition(move |transition| {
        let _ = told.send(transition.ended().map(|session| session.reason()));
    });
    sessions.record_activity();
    let next = || tells.recv_timeout(crate::support::probes::BOUND).expect("the keeper tells without a signal");
    // Once it has told of the start it sleeps, for half an hour as far as it knows.
    assert_eq!(next(), None);
    sessions.record_activity();
    sessions.set_background(true);
    assert_eq!(next(), Some(otel_session::EndReason::Inactivity));
}

#[test]
fn law_10_the_keeper_does_not_start_the_next_session() {
    for rig in KINDS.map(Rig::of) {
        rig.log("only");
        assert!(rig.clock.advance(10 * TIMEOUT));
        assert_eq!(rig.lifecycle().len(), 2);
        assert_eq!(rig.sessions.current(), None);
        rig.span("next");
        assert!(rig.clock.advance(Duration::ZERO));
        let lifecycle = rig.lifecycle();
        assert_eq!(lifecycle.len(), 3);
        assert_eq!(lifecycle[2].previous_id, lifecycle[1].id);
        assert_eq!(lifecycle[2].at, Some(epoch() + 10 * TIMEOUT));
        assert_eq!(rig.span_id("next"), lifecycle[2].id);
    }
}

#[test]
fn law_10_after_the_machine_slept_the_next_signal_ends_the_session_with_its_true_end() {
    for rig in KINDS.map(Rig::of) {
        rig.log("first");
        assert!(rig.clock.advance(MINUTE));
        rig.log("last");
        assert!(rig.clock.advance(Duration::ZERO));
        rig.clock.suspend(10 * TIMEOUT);
        rig.log("next");
        let lifecycle = rig.lifecycle();
        assert_eq!(lifecycle.len(), 3);
        assert_eq!(lifecycle[1].at, Some(epoch() + MINUTE));
        assert_eq!(lifecycle[2].at, Some(epoch() + MINUTE + 10 * TIMEOUT));
    }
}

#[test]
fn law_10_after_the_machine_slept_the_keeper_ends_the_session_as_it_wakes() {
    let rig = Rig::new();
    rig.log("only");
    rig.clock.suspend(10 * TIMEOUT);
    assert!(rig.clock.advance(Duration::ZERO));
    assert_eq!(rig.logs.records().len(), 3);
}

#[test]
fn law_10_with_the_systems_clock_the_keeper_ends_an_idle_session_by_itself() {
    let sessions =
        otel_session::Sessions::builder().with_inactivity_timeout(Duration::from_millis(20)).build().unwrap();
    let (told, ends) = std::sync::mpsc::channel();
    sessions
        .on_transition(move |transition| {
            if let Some(ended) = transition.ended() {
                let _ = told.send(*ended);
            }
        })
        .detach();
    let session = sessions.record_activity();
    let ended = ends.recv_timeout(seconds(20)).expect("no signal was needed");
    assert_eq!(ended.session(), &session);
    assert_eq!(ended.reason(), otel_session::EndReason::Inactivity);
    // One activity, at its start; the two are read one after the other.
    assert!(ended.duration() < Duration::from_millis(10), "{:?}", ended.duration());
    assert_eq!(sessions.current(), None);
}

#[test]
fn law_9_a_rotation_can_be_noticed_anywhere() {
    use opentelemetry::Context;
    for rig in KINDS.map(Rig::of) {
        rig.log("first");
        rig.clock.suspend(TIMEOUT);
        {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            // The SDK makes no span here and drops logs; only our own call notices.
            rig.span("in a suppressed scope");
            rig.log("in a suppressed scope");
            rig.sessions.record_activity();
        }
        rig.clock.suspend(TIMEOUT);
        Context::map_current(|_| rig.sessions.record_activity());
        rig.clock.suspend(TIMEOUT);
        rig.loggers.force_flush().unwrap();
        rig.sessions.record_activity();
        assert!(rig.clock.advance(Duration::ZERO));
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 4);
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

#[test]
fn law_3_a_pipeline_that_attaches_late_gets_the_live_sessions_start_without_traffic() {
    let clock = ManualClock::new(epoch());
    let sessions = otel_session::Sessions::builder().with_clock(clock.clone()).build().unwrap();
    let _first = provider_of(sessions.log_processor(LogProbe::default()));
    sessions.record_activity();
    // The keeper has nothing to do any more.
    assert!(clock.advance(Duration::ZERO));
    let (told, seen) = channel();
    let hook = Hook::new(move |record: &SdkLogRecord| _ = told.send(record.event_name()));
    let _late = provider_of(sessions.log_processor(LogProbe { hook, ..LogProbe::default() }));
    assert_eq!(seen.recv_timeout(seconds(5)), Ok(Some("session.start")));
}
