//! What stands in the lifecycle records, and that they arrive.

use std::sync::Arc;
use std::thread;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use otel_session::testing::CapturedLogs;
use otel_session::{EndReason, Loss, SessionsBuilder};

use crate::support::probes::*;
use crate::support::*;
use crate::{DAY, sessions};

#[test]
fn m04_no_end_is_overwritten_with_the_new_id_and_a_replayed_record_keeps_its_own() {
    on_both(|rig| {
        let old = rig.sessions.record_activity();
        rig.clock.suspend(TIMEOUT);
        let logger = rig.logger();
        let mut replayed = logger.create_log_record();
        replayed.set_body("replayed crash".into());
        replayed.add_attribute("session.id", "of another process");
        logger.emit(replayed);
        let lines = rig.lines();
        assert_eq!(lines.iter().find(|line| line.is_end()).unwrap().id.as_deref(), Some(old.id()));
        assert_eq!(rig.log_id("replayed crash").as_deref(), Some("of another process"));
    });
}

#[test]
fn m08_the_end_of_the_first_session_has_no_previous_id_and_no_id_is_its_own_previous_one() {
    on_both(|rig| {
        rig.log("one");
        rig.sessions.rotate();
        rig.clock.advance(TIMEOUT);
        rig.log("two");
        rig.sessions.end();
        rig.log("three");
        rig.sessions.shutdown(BOUND).unwrap();
        let lines = rig.lines();
        assert_eq!(lines.iter().find(|line| line.is_end()).unwrap().previous_id, None);
        assert!(lines.iter().all(|line| line.id != line.previous_id));
        assert!(lines.iter().all(|line| line.is_lifecycle() || line.previous_id.is_none()));
    });
}

#[test]
fn m08_a_generator_that_repeats_itself_makes_no_session_its_own_previous_one() {
    let rig = Rig::with(|builder| builder.with_id_generator(|| "always the same"));
    rig.log("one");
    rig.sessions.rotate();
    let lines = rig.lines();
    assert_lawful(&lines);
    assert_eq!(lines.last().unwrap().previous_id.as_deref(), Some("always the same"));
    assert_eq!(rig.sessions.losses().count(Loss::InvalidId), 1);
}

#[test]
fn m09_flush_and_shutdown_deliver_the_tail_of_a_batch() {
    within_bound(|| {
        let rig = Rig::batched(|builder| builder);
        for _ in 0..10 {
            rig.log("log");
            rig.span("span");
        }
        rig.loggers.force_flush().unwrap();
        rig.tracers.force_flush().unwrap();
        assert_eq!((lines(&rig.logs).len(), rig.spans.spans().len()), (11, 10));
        rig.log("tail");
        rig.span("tail");
        rig.loggers.shutdown().unwrap();
        rig.tracers.shutdown().unwrap();
        let lines = lines(&rig.logs);
        assert_eq!((lines.len(), rig.spans.spans().len()), (13, 11));
        assert!(lines.last().unwrap().is_end());
    });
}

#[test]
fn m09_the_end_that_a_shutdown_makes_is_flushed_by_it_also_when_the_keeper_was_busy() {
    within_bound(|| {
        for _ in 0..20 {
            let (_clock, sessions) = sessions();
            let (probe, busy) = (LogProbe::default(), Gate::default());
            let _provider = provider_of(sessions.log_processor(probe.clone()));
            let held = busy.clone();
            let _watch = sessions.on_transition(move |_| held.pass());
            sessions.record_activity();
            busy.wait_for_visitor();
            thread::scope(|scope| {
                let shutdown = scope.spawn(|| sessions.shutdown(BOUND));
                while sessions.current().is_some() {
                    thread::yield_now();
                }
                busy.open();
                shutdown.join().unwrap().unwrap();
            });
            assert_eq!(probe.calls.all(), ["resource", "session.start", "session.end", "flush"]);
        }
    });
}

#[test]
fn m12_an_end_is_always_written_and_never_before_its_start_or_after_the_next_whatever_the_wall_clock_does() {
    let settings = |builder: SessionsBuilder| builder.with_max_duration(MINUTE * 50);
    on_both_pipelines(settings, |rig| {
        let steps = [epoch() - DAY, epoch() + DAY, epoch(), epoch() + DAY * 400, epoch() - DAY * 400];
        let mut ended = 0;
        for to in steps {
            rig.log("before");
            rig.clock.step_wall(to);
            rig.sessions.rotate();
            rig.clock.step_wall(to - MINUTE * 90);
            rig.clock.advance(TIMEOUT);
            rig.log("after");
            rig.clock.step_wall(to + MINUTE * 7);
            rig.sessions.end();
            ended += 3;
        }
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (ended, ended));
        for line in lines.iter().filter(|line| line.is_end()) {
            assert!(line.record.attributes_iter().any(|(key, value)| {
                key.as_str() == "otel_session.duration" && matches!(value, AnyValue::Double(d) if *d >= 0.0)
            }));
        }
    });
}

#[test]
fn m14_a_full_queue_keeps_the_newest_and_drops_whole_sessions_counted() {
    within_bound(|| {
        let (_clock, sessions) = sessions();
        let mut ids = Vec::new();
        for _ in 0..1_500 {
            ids.push(sessions.record_activity().id().to_owned());
            sessions.end();
        }
        ids.push(sessions.record_activity().id().to_owned());
        let kept = CapturedLogs::default();
        let provider = provider_of(sessions.batch_log_processor(kept.clone()));
        provider.force_flush().unwrap();
        let lines = lines(&kept);
        assert_lawful(&lines);
        let (starts, ends) = starts_and_ends(&lines);
        assert_eq!(starts, ends + 1);
        assert_eq!(started_ids(&lines), ids[ids.len() - starts..]);
        assert_eq!(sessions.losses().count(Loss::LifecycleQueueFull) as usize, 3_001 - lines.len());
    });
}

#[test]
fn m15_two_sessions_in_one_process_share_nothing() {
    on_both(|one| {
        let two = Rig::new();
        one.log("one");
        two.log("two");
        assert_ne!(one.log_id("one"), two.log_id("two"));
        one.sessions.rotate();
        one.sessions.set_user_id(Some("ann"));
        two.clock.advance(TIMEOUT);
        assert_eq!((starts_and_ends(&one.lines()), starts_and_ends(&two.lines())), ((2, 1), (1, 1)));
        assert_eq!(two.sessions.record_activity().user_id(), None);
        one.sessions.shutdown(BOUND).unwrap();
        assert!(two.sessions.current().is_some());
        assert_lawful(&one.lines());
        assert_lawful(&two.lines());
    });
}

#[test]
fn m15_of_two_sessions_on_one_provider_the_first_stamps_and_both_keep_their_chains() {
    within_bound(|| {
        let ((_, first), (_, second)) = (sessions(), sessions());
        let (of_first, of_second) = (LogProbe::default(), LogProbe::default());
        let provider = SdkLoggerProvider::builder()
            .with_log_processor(first.log_processor(of_first.clone()))
            .with_log_processor(second.log_processor(of_second.clone()))
            .build();
        emit(&provider.logger("test"), "log", None);
        second.rotate();
        provider.shutdown().unwrap();
        let id = |probe: &LogProbe| probe.lines().into_iter().find(|line| line.body == "log").unwrap().id;
        assert_eq!(id(&of_first), Some(started_ids(&of_first.lines())[0].clone()));
        assert_eq!(id(&of_second), id(&of_first), "stamped once, by the first");
        assert_eq!(starts_and_ends(&of_first.lines()), (1, 1));
        assert_eq!(starts_and_ends(&of_second.lines()), (2, 2), "the other's stamp is no reason to skip publication");
    });
}

#[test]
fn m33_over_the_life_of_a_process_starts_and_ends_balance_and_no_id_is_made_of_the_process_id() {
    on_both(|rig| {
        rig.log("boot");
        rig.sessions.rotate();
        rig.log("the user's");
        rig.clock.advance(TIMEOUT);
        rig.span("idle is over");
        rig.sessions.end();
        rig.log("last");
        rig.sessions.shutdown(BOUND).unwrap();
        rig.log("too late");
        let Rig { loggers, tracers, logs, sessions, .. } = rig;
        let _ = tracers.shutdown();
        loggers.shutdown().unwrap();
        drop(loggers);
        let lines = lines(&logs);
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (4, 4));
        assert_eq!(reasons(&lines), ["rotated", "inactivity", "ended", "shutdown"]);
        let own = std::process::id().to_string();
        assert!(started_ids(&lines).iter().all(|id| id.len() == 36 && !id.split('-').any(|part| part == own)));
        assert_eq!(sessions.losses().total(), 0);
    });
}

#[test]
fn m34_the_ended_session_of_a_transition_is_the_old_one_in_every_field() {
    let rig = Rig::with(|builder| builder.with_user_id("ann"));
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = seen.clone();
    let _watch = rig.sessions.on_transition(move |transition| keep.lock().unwrap().push(transition.clone()));
    let old = rig.sessions.record_activity();
    rig.clock.advance(MINUTE);
    let new = rig.sessions.rotate();
    assert!(rig.clock.advance(seconds(0)));
    let transitions = seen.lock().unwrap().clone();
    assert_eq!(transitions.len(), 2);
    let ended = transitions[1].ended().unwrap();
    assert_eq!((*ended.session(), ended.reason(), ended.ended_at()), (old, EndReason::Rotated, epoch() + MINUTE));
    assert_eq!(transitions[1].started(), Some(&new));
    assert_ne!(ended.session(), &new);
}
