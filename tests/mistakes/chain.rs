//! How one session follows another, under threads and clocks.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use opentelemetry::logs::LoggerProvider as _;
use opentelemetry_sdk::logs::SimpleLogProcessor;
use otel_session::SessionsBuilder;
use otel_session::testing::CapturedLogs;

use crate::support::probes::*;
use crate::support::*;
use crate::{DAY, at_once, sessions};

#[test]
fn m01_an_expiry_under_readers_and_writers_is_one_rotation() {
    on_both(|rig| {
        rig.sessions.record_activity();
        for round in 2..150 {
            rig.clock.suspend(TIMEOUT);
            at_once(|n| match n % 4 {
                0 => _ = rig.sessions.current(),
                1 => rig.log("log"),
                2 => rig.span("span"),
                _ => _ = rig.sessions.record_activity(),
            });
            assert_eq!(rig.sessions.current().unwrap().index(), round);
        }
        assert_eq!(starts_and_ends(&rig.lines()), (149, 148));
    });
}

#[test]
fn m02_who_hears_of_a_rotation_on_another_thread_stamps_the_new_id() {
    on_both(|rig| {
        let (rotated, hears) = mpsc::sync_channel::<String>(0);
        let (stamped, next) = mpsc::sync_channel::<()>(0);
        thread::scope(|scope| {
            let rig = &rig;
            scope.spawn(move || {
                for id in hears {
                    assert_eq!(rig.sessions.current().unwrap().id(), id);
                    rig.log("heard");
                    rig.span("heard");
                    assert_eq!(rig.log_id("heard").as_deref(), Some(id.as_str()));
                    assert_eq!(rig.span_id("heard").as_deref(), Some(id.as_str()));
                    stamped.send(()).unwrap();
                }
            });
            for n in 0..50 {
                rig.log("warm"); // the same tick of the coarse clock on both sides of the rotation
                if n % 2 == 0 {
                    rig.clock.suspend(TIMEOUT);
                }
                rotated.send(rig.sessions.rotate().id().to_owned()).unwrap();
                next.recv().unwrap();
            }
            drop(rotated);
        });
        assert_lawful(&rig.lines());
    });
}

#[test]
fn m03_only_one_new_session_means_one_id_and_one_pair_of_records() {
    on_both(|rig| {
        rig.sessions.record_activity();
        rig.clock.suspend(TIMEOUT);
        let ids: BTreeSet<String> = at_once(|_| rig.sessions.record_activity().id().to_owned()).into_iter().collect();
        assert_eq!(ids.len(), 1);
        let lines = rig.lines();
        let events: Vec<_> = lines.iter().filter_map(|line| line.event).collect();
        assert_eq!(events, ["session.start", "session.end", "session.start"]);
        assert_eq!(lines[2].id.as_ref(), ids.first());
    });
}

#[test]
fn m05_a_session_that_began_before_anybody_listened_still_has_its_start() {
    within_bound(|| {
        let (clock, sessions) = sessions();
        let early = sessions.record_activity();
        clock.advance(MINUTE);
        let told = Told::default();
        let _watch = sessions.on_transition(told.observer());
        let (simple, batched) = (CapturedLogs::default(), CapturedLogs::default());
        let simple_provider = provider_of(sessions.log_processor(SimpleLogProcessor::new(simple.clone())));
        let batch_provider = provider_of(sessions.batch_log_processor(batched.clone()));
        for (provider, kept) in [(&simple_provider, &simple), (&batch_provider, &batched)] {
            provider.force_flush().unwrap();
            assert_eq!(started_ids(&lines(kept)), [early.id()]);
            assert_eq!(lines(kept)[0].at, Some(epoch()));
        }
        assert_eq!(told.0.all(), [format!("start {} -", early.id())]);
    });
}

#[test]
fn m06_observers_may_come_and_go_while_they_are_being_told() {
    on_both(|rig| {
        let told = Told::default();
        let _stays = rig.sessions.on_transition(told.observer());
        let caller = rig.sessions.clone();
        let _adds = rig.sessions.on_transition(move |_| drop(caller.on_transition(|_| ())));
        at_once(|n| {
            for _ in 0..100 {
                if n % 2 == 0 {
                    drop(rig.sessions.on_transition(|_| ()));
                } else {
                    rig.sessions.rotate();
                }
            }
        });
        assert!(rig.clock.advance(seconds(0)));
        assert_eq!(told.0.all(), Told::of_records(&rig.lines()));
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn m11_rotations_of_many_threads_reach_the_inner_processor_one_whole_transition_after_another() {
    within_bound(|| {
        let (_clock, sessions) = sessions();
        let probe = LogProbe::default();
        let provider = provider_of(sessions.log_processor(probe.clone()));
        let logger = provider.logger("test");
        at_once(|n| {
            for _ in 0..100 {
                sessions.rotate();
                if n % 2 == 0 {
                    emit(&logger, "log", None);
                }
            }
        });
        provider.force_flush().unwrap();
        assert_lawful(&probe.lines());
        let events: Vec<_> = probe.lines().into_iter().filter(Line::is_lifecycle).collect();
        assert_eq!(events.len(), 800 * 2 - 1);
        assert!(events[1..].chunks(2).all(|pair| pair[0].is_end() && pair[1].previous_id == pair[0].id));
    });
}

#[test]
fn m16_checking_for_a_session_and_then_making_one_makes_one() {
    on_both(|rig| {
        for round in 1..50 {
            let ids: BTreeSet<String> = at_once(|_| {
                let session = rig.sessions.current().unwrap_or_else(|| rig.sessions.record_activity());
                session.id().to_owned()
            })
            .into_iter()
            .collect();
            assert_eq!(ids.len(), 1);
            assert_eq!(rig.sessions.current().unwrap().index(), round);
            rig.sessions.end();
        }
        assert_eq!(starts_and_ends(&rig.lines()), (49, 49));
    });
}

#[test]
fn m17_an_id_does_not_change_while_there_is_activity() {
    on_both(|rig| {
        let session = rig.sessions.record_activity();
        at_once(|n| {
            for _ in 0..200 {
                if n == 0 {
                    // Together far more than the timeout; the others never are silent for so long.
                    rig.clock.suspend(MINUTE);
                    rig.log("log");
                } else {
                    rig.span("span");
                }
            }
        });
        assert_eq!(rig.sessions.current(), Some(session));
        assert_eq!(starts_and_ends(&rig.lines()), (1, 0));
        assert!(rig.finished_spans().iter().all(|it| session_id(&it.attributes).as_deref() == Some(session.id())));
    });
}

#[test]
fn m18_a_read_after_the_machine_slept_does_not_revive_the_dead_before_any_timer_fires() {
    on_both(|rig| {
        let dead = rig.sessions.record_activity();
        rig.clock.suspend(TIMEOUT);
        assert_eq!(rig.sessions.current(), None);
        assert_eq!(rig.sessions.current(), None);
        let alive = rig.sessions.record_activity();
        assert_eq!(alive.previous_id(), Some(dead.id()));
        assert_eq!(rig.lines()[1].at, Some(epoch()));
    });
}

#[test]
fn m27_who_keeps_state_for_a_session_hears_of_every_change_before_anything_else_of_it_is_stale() {
    on_both(|rig| {
        let of = Arc::new(std::sync::Mutex::new(None::<String>));
        let state = of.clone();
        let _watch = rig.sessions.on_transition(move |transition| {
            *state.lock().unwrap() = transition.started().map(|session| session.id().to_owned());
        });
        for _ in 0..5 {
            rig.log("log");
            assert!(rig.clock.advance(seconds(0)));
            assert_eq!(*of.lock().unwrap(), rig.log_id("log"));
            rig.sessions.rotate();
            assert!(rig.clock.advance(TIMEOUT));
            assert_eq!(*of.lock().unwrap(), None, "and of an end without a start");
        }
    });
}

#[test]
fn m28_callers_that_end_or_rotate_at_the_same_time_end_each_session_once() {
    on_both(|rig| {
        for _ in 0..40 {
            rig.log("log");
            at_once(|n| match n % 2 {
                0 => rig.sessions.end(),
                _ => _ = rig.sessions.rotate(),
            });
            rig.sessions.end();
        }
        let lines = rig.lines();
        assert_lawful(&lines);
        let (starts, ends) = starts_and_ends(&lines);
        assert_eq!((starts, ends), (40 * 5, 40 * 5));
    });
}

#[test]
fn m29_signals_reach_no_generator_and_no_observer_unless_something_changes() {
    let calls = Calls::default();
    let generated = calls.clone();
    let settings = move |builder: SessionsBuilder| {
        let generated = generated.clone();
        builder.with_id_generator(move || {
            generated.note("generated");
            format!("id-{}", generated.all().len())
        })
    };
    within_bound(move || {
        let rig = Rig::with(settings);
        let told = calls.clone();
        let _watch = rig.sessions.on_transition(move |_| told.note("told"));
        for _ in 0..2_000 {
            rig.log("log");
            rig.span("span");
        }
        assert!(rig.clock.advance(seconds(1)));
        assert_eq!(calls.all(), ["generated", "told"]);
    });
}

#[test]
fn m30_one_expiry_is_one_end_exactly_on_time_and_the_keeper_writes_nothing_before_or_after() {
    on_both(|rig| {
        rig.log("log");
        for second in 1..=1_900 {
            assert!(rig.clock.advance(seconds(1)));
            let over = second >= 1_800;
            assert_eq!(rig.sessions.current().is_none(), over);
        }
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 1));
        assert_eq!(lines.last().unwrap().observed_at, Some(epoch() + TIMEOUT), "noticed when due, not at a poll");
    });
}

/// Counts threads by name, which only Linux tells.
#[cfg(target_os = "linux")]
#[test]
fn m30_a_keeper_goes_with_its_sessions_and_does_not_wait_for_a_poll() {
    let keepers = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with("otel-session")).count()
    };
    within_bound(move || {
        for _ in 0..1_000 {
            let (clock, sessions) = sessions();
            sessions.record_activity();
            assert!(clock.advance(seconds(0)), "the keeper has nothing more to do");
        }
        // Other tests have keepers of their own.
        while keepers() > 500 {
            thread::yield_now();
        }
    });
}

#[test]
fn m31_a_session_that_seems_to_lie_in_the_future_is_no_more_valid_for_it() {
    on_both(|rig| {
        rig.log("log");
        rig.clock.step_wall(epoch() - DAY * 30);
        rig.clock.advance(TIMEOUT);
        assert_eq!(rig.sessions.current(), None);
        assert_lawful(&rig.lines());
    });
}

type Limit = fn(SessionsBuilder) -> SessionsBuilder;

#[test]
fn m35_every_limit_counts_sleep_and_none_is_moved_by_a_step_of_the_wall_clock() {
    let limits: [(&str, Limit, bool); 3] = [
        ("inactivity", |builder| builder.with_inactivity_timeout(MINUTE * 10), false),
        ("max_duration", |builder| builder.with_max_duration(MINUTE * 10), false),
        ("inactivity", |builder| builder.with_background_timeout(MINUTE * 10), true),
    ];
    for (reason, limit, background) in limits {
        on_both_pipelines(limit, move |rig| {
            for step in [DAY, Duration::ZERO] {
                rig.sessions.set_background(background);
                let session = rig.sessions.record_activity();
                // A day forward, or back again.
                rig.clock.step_wall(epoch() + step);
                assert_eq!(rig.sessions.current(), Some(session), "a step is no time that passes");
                rig.clock.suspend(MINUTE * 9);
                assert_eq!(rig.sessions.current(), Some(session));
                rig.clock.suspend(MINUTE);
                assert_eq!(rig.sessions.current(), None, "sleep is");
                rig.clock.advance(seconds(0));
            }
            assert_eq!(reasons(&rig.lines()), [reason, reason]);
            assert_lawful(&rig.lines());
        });
    }
}
