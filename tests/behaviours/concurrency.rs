//! Many threads: 55 to 62, 69 and 72. What user code may call from where is in `reentrancy.rs`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use opentelemetry_sdk::logs::SimpleLogProcessor;
use otel_session::testing::{CapturedLogs, ManualClock};
use otel_session::{Loss, Session, Sessions, SessionsBuilder};

use crate::support::probes::*;
use crate::support::*;

const THREADS: usize = 8;

/// Runs `work` on all threads at the same moment, and returns what each came to.
fn at_once<R: Send>(work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let run = |n| {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(n)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A signal of one kind or another; returns the id that its thread saw.
fn signal(rig: &Rig, kind: usize) -> Session {
    match kind % 3 {
        0 => rig.log("signal"),
        1 => rig.span("signal"),
        _ => _ = rig.sessions.record_activity(),
    }
    rig.sessions.current().unwrap()
}

#[test]
fn b055_many_threads_at_creation_make_one_session_with_one_id_and_one_start() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let settings = move |builder: SessionsBuilder| {
        let calls = counted.clone();
        builder.with_id_generator(move || format!("id-{}", calls.fetch_add(1, Ordering::SeqCst)))
    };
    on_both_pipelines(settings.clone(), move |_| {
        for batched in [false, true] {
            for _ in 0..25 {
                let rig = if batched { Rig::batched(&settings) } else { Rig::with(&settings) };
                calls.store(0, Ordering::SeqCst);
                let seen: BTreeSet<String> = at_once(|n| signal(&rig, n).id().to_owned()).into_iter().collect();
                assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["id-0"]);
                assert_eq!(calls.load(Ordering::SeqCst), 1, "the generator was called once");
                let lines = rig.lines();
                assert_eq!(starts_and_ends(&lines), (1, 0));
                assert_lawful(&lines);
                assert!(
                    rig.finished_spans().iter().all(|span| session_id(&span.attributes).as_deref() == Some("id-0"))
                );
                assert_eq!(rig.sessions.losses().total(), 0);
            }
        }
    });
}

#[test]
fn b056_many_threads_at_expiry_make_one_new_session_with_one_end_and_one_start() {
    on_both(|rig| {
        let mut last = rig.sessions.record_activity();
        for round in 1..=60 {
            // No keeper and then with it: it is one more thread at the same expiry.
            if round % 2 == 0 {
                rig.clock.suspend(TIMEOUT);
            } else {
                rig.clock.suspend(TIMEOUT);
                rig.sessions.set_background(round % 4 == 1);
            }
            let seen = at_once(|n| signal(&rig, n));
            assert!(seen.iter().all(|session| *session == seen[0]), "all see the new one");
            assert_eq!(seen[0].previous_id(), Some(last.id()));
            last = seen[0];
            let lines = rig.lines();
            assert_eq!(starts_and_ends(&lines), (round + 1, round));
        }
        let lines = rig.lines();
        assert_lawful(&lines);
        assert!(reasons(&lines).iter().all(|reason| *reason == "inactivity"));
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn b057_rotations_on_every_call_under_contention_are_all_distinct_and_none_is_lost() {
    on_both(|rig| {
        const EACH: usize = 200;
        let ids = at_once(|_| (0..EACH).map(|_| rig.sessions.rotate().id().to_owned()).collect::<Vec<_>>());
        let distinct: BTreeSet<String> = ids.into_iter().flatten().collect();
        assert_eq!(distinct.len(), THREADS * EACH);
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (THREADS * EACH, THREADS * EACH - 1));
        assert_eq!(started_ids(&lines).into_iter().collect::<BTreeSet<_>>(), distinct);
        assert!(lines.windows(2).all(|pair| !pair[1].is_start() || pair[1].previous_id == pair[0].id));
    });
}

#[test]
fn b058_reads_rotations_and_ends_from_many_threads_leave_starts_and_ends_alternating() {
    on_both(|rig| {
        at_once(|n| {
            for step in 0..300 {
                match (n + step) % 7 {
                    0 => _ = rig.sessions.rotate(),
                    1 => rig.sessions.end(),
                    2 => rig.log("log"),
                    3 => rig.span("span"),
                    4 => rig.clock.suspend(TIMEOUT),
                    5 => _ = rig.sessions.current(),
                    _ => _ = rig.sessions.record_activity(),
                }
            }
        });
        rig.sessions.shutdown(BOUND).unwrap();
        let lines = rig.lines();
        let lifecycle: Vec<Line> = lines.iter().filter(|line| line.is_lifecycle()).cloned().collect();
        assert_lawful(&lifecycle);
        let (starts, ends) = starts_and_ends(&lifecycle);
        assert_eq!(starts, ends, "everything that started has ended");
        let started: BTreeSet<String> = started_ids(&lifecycle).into_iter().collect();
        assert!(ids_of_logs(&lines).is_subset(&started), "no log carries an id that never started");
        let spans = rig.finished_spans();
        assert!(spans.iter().all(|span| session_id(&span.attributes).is_some_and(|id| started.contains(&id))));
        // A span that waited in its batch may be older than the history, and is counted then.
        let losses = rig.sessions.losses();
        assert_eq!(losses.total(), losses.count(Loss::HistoryForgotten), "{losses}");
    });
}

#[test]
fn b059_a_reader_that_was_held_up_between_finding_expiry_and_deciding_gets_the_new_id() {
    within_bound(|| {
        let (gate, first_call) = (Gate::default(), AtomicUsize::new(0));
        let held = gate.clone();
        let rig = Rig::with(move |builder| {
            builder.with_id_generator(move || {
                let call = first_call.fetch_add(1, Ordering::SeqCst);
                if call == 1 {
                    held.pass();
                }
                format!("id-{call}")
            })
        });
        let old = rig.sessions.record_activity();
        rig.clock.suspend(TIMEOUT);
        let (held_up, overtaking) = thread::scope(|scope| {
            let held_up = scope.spawn(|| rig.sessions.record_activity());
            gate.wait_for_visitor();
            assert_eq!(rig.sessions.current(), None, "never the expired one");
            // Does not wait for ever either: another id is used instead.
            let overtaking = rig.sessions.rotate();
            gate.open();
            (held_up.join().unwrap(), overtaking)
        });
        assert_ne!(overtaking.id(), old.id());
        assert_eq!(held_up, overtaking, "the one that was held up joins the new session");
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (2, 1));
        assert_eq!(reasons(&lines), ["inactivity"], "rotated once, for the natural reason");
        assert_lawful(&lines);
        assert_eq!(rig.sessions.losses().count(Loss::IdGenerator), 1);
    });
}

#[test]
fn b059_no_reader_returns_a_session_older_than_one_that_it_could_know_of() {
    on_both(|rig| {
        let (newest, done) = (AtomicU64::new(rig.sessions.record_activity().index()), AtomicBool::new(false));
        thread::scope(|scope| {
            for n in 0..3 {
                let (rig, newest, done) = (&rig, &newest, &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Acquire) {
                        let at_least = newest.load(Ordering::Acquire);
                        let seen = if n == 0 { Some(rig.sessions.record_activity()) } else { rig.sessions.current() };
                        if let Some(seen) = seen {
                            assert!(seen.index() >= at_least, "{} after {at_least}", seen.index());
                        }
                    }
                });
            }
            for n in 0..2_000 {
                if n % 2 == 0 {
                    rig.clock.suspend(TIMEOUT);
                    newest.store(rig.sessions.record_activity().index(), Ordering::Release);
                } else {
                    newest.store(rig.sessions.rotate().index(), Ordering::Release);
                }
            }
            done.store(true, Ordering::Release);
        });
        assert_lawful(&rig.lines());
    });
}

#[test]
fn b060_a_pause_in_the_middle_of_a_rotation_neither_shows_the_expired_session_nor_rotates_twice() {
    within_bound(|| {
        let (gate, calls) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let (held, counted) = (gate.clone(), calls.clone());
        let rig = Rig::with(move |builder| {
            builder.with_id_generator(move || {
                let call = counted.fetch_add(1, Ordering::SeqCst);
                if call == 1 {
                    held.pass();
                }
                format!("id-{call}")
            })
        });
        rig.log("first");
        rig.clock.suspend(TIMEOUT);
        thread::scope(|scope| {
            let pausing = scope.spawn(|| rig.log("second"));
            gate.wait_for_visitor();
            let waiting: Vec<_> = (0..4)
                .map(|n| {
                    let rig = &rig;
                    scope.spawn(move || signal(rig, n))
                })
                .collect();
            for _ in 0..100 {
                assert_eq!(rig.sessions.current(), None);
            }
            gate.open();
            pausing.join().unwrap();
            let seen: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert!(seen.iter().all(|session| session.id() == "id-1" && *session == seen[0]));
        });
        assert_eq!(rig.log_id("second").as_deref(), Some("id-1"));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        assert_eq!(starts_and_ends(&rig.lines()), (2, 1));
        assert_lawful(&rig.lines());
    });
}

#[test]
fn b061_readers_and_spans_wait_for_no_exporter_and_no_observer() {
    within_bound(|| {
        let clock = ManualClock::new(epoch());
        let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
        let (exporting, observing, kept) = (Gate::default(), Gate::default(), CapturedLogs::default());
        let held = exporting.clone();
        let exporter = HookedLogs { hook: Hook::new(move |_| held.pass()), kept: kept.clone() };
        let provider = provider_of(sessions.log_processor(SimpleLogProcessor::new(exporter)));
        let spans = SpanProbe::default();
        let tracers = tracers_of(sessions.span_processor(spans.clone()));
        sessions.record_activity();
        exporting.wait_for_visitor();
        let held = observing.clone();
        thread::scope(|scope| {
            let subscribing = scope.spawn(|| sessions.on_transition(move |_| held.pass()));
            observing.wait_for_visitor();
            // Both are held up from here on, and nothing of this waits for them.
            for _ in 0..50 {
                let tracer = opentelemetry::trace::TracerProvider::tracer(&tracers, "test");
                opentelemetry::trace::Span::end(&mut start_span(&tracer, "span", clock.now()));
                assert!(sessions.current().is_some());
                let _ = sessions.record_activity();
                sessions.set_user_id(Some("ann"));
                sessions.set_background(true);
                let rotated = sessions.rotate();
                assert_eq!(sessions.current(), Some(rotated));
                sessions.end();
                assert_eq!(sessions.current(), None);
                clock.suspend(TIMEOUT);
            }
            assert!(lines(&kept).is_empty(), "the exporter was held up all the while");
            exporting.open();
            observing.open();
            drop(subscribing.join().unwrap());
        });
        provider.force_flush().unwrap();
        assert_eq!(spans.kept.lock().unwrap().len(), 50);
        let lines = lines(&kept);
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (100, 100));
        assert_eq!(sessions.losses().total(), 0);
    });
}

#[test]
fn b062_a_later_transition_does_not_overtake_what_is_still_being_told() {
    within_bound(|| {
        let clock = ManualClock::new(epoch());
        let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
        let (exporting, kept, told) = (Gate::default(), CapturedLogs::default(), Told::default());
        let held = exporting.clone();
        let exporter = HookedLogs { hook: Hook::new(move |_| held.pass()), kept: kept.clone() };
        let provider = provider_of(sessions.log_processor(SimpleLogProcessor::new(exporter)));
        let _watch = sessions.on_transition(told.observer());
        sessions.record_activity();
        exporting.wait_for_visitor();
        for _ in 0..10 {
            clock.suspend(TIMEOUT);
            sessions.record_activity();
            sessions.rotate();
        }
        thread::scope(|scope| {
            // Publishes too, and must wait for its turn.
            let flushing = scope.spawn(|| provider.force_flush());
            exporting.open();
            flushing.join().unwrap().unwrap();
        });
        assert!(clock.advance(seconds(0)));
        let lines = lines(&kept);
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (21, 20));
        assert_eq!(told.0.all(), Told::of_records(&lines), "observers were told the same, in the same order");
    });
}

#[test]
fn b069_a_slow_exporter_holds_up_neither_end_nor_rotate_and_what_waits_stays_in_order() {
    within_bound(|| {
        let clock = ManualClock::new(epoch());
        let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
        let (exporting, kept) = (Gate::default(), CapturedLogs::default());
        let held = exporting.clone();
        let exporter = HookedLogs { hook: Hook::new(move |_| held.pass()), kept: kept.clone() };
        let provider = provider_of(sessions.batch_log_processor(exporter));
        let logger = opentelemetry::logs::LoggerProvider::logger(&provider, "test");
        emit(&logger, "first", None);
        thread::scope(|scope| {
            let flushing = scope.spawn(|| provider.force_flush());
            exporting.wait_for_visitor();
            let mut reasons = Vec::new();
            for n in 0..500 {
                emit(&logger, "log", None);
                if n % 2 == 0 {
                    sessions.rotate();
                    reasons.push("rotated");
                } else {
                    sessions.end();
                    reasons.push("ended");
                }
            }
            exporting.open();
            flushing.join().unwrap().unwrap();
            provider.force_flush().unwrap();
            let lines = lines(&kept);
            assert_lawful(&lines);
            assert_eq!(crate::support::probes::reasons(&lines), reasons);
            assert_eq!(lines.iter().filter(|line| !line.is_lifecycle()).count(), 501);
        });
        assert_eq!(sessions.losses().total(), 0);
    });
}

#[test]
fn b072_logs_of_many_threads_all_have_an_id_and_none_is_lost_also_when_flushed_in_between() {
    on_both(|rig| {
        const EACH: usize = 150;
        at_once(|n| {
            for step in 0..EACH {
                rig.log("log");
                match (n, step % 10) {
                    (0, 0) => _ = rig.loggers.force_flush(),
                    (1, 5) => _ = rig.sessions.rotate(),
                    (2, 7) => rig.clock.suspend(TIMEOUT),
                    _ => {}
                }
            }
        });
        let lines = rig.lines();
        let logs: Vec<&Line> = lines.iter().filter(|line| !line.is_lifecycle()).collect();
        assert_eq!(logs.len(), THREADS * EACH);
        assert!(logs.iter().all(|line| line.id.is_some()));
        assert_lawful(&lines);
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}
