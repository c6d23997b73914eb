//! Law 7: no user code under our locks; whatever it does, later transitions still happen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use otel_session::testing::ManualClock;
use otel_session::{Activity, EndReason, EndedSession, Loss, Sessions, ShutdownError, SignalKind, Transition};

use crate::support::bounded::{Gate, returns};
use crate::support::exporters::{Hooked, PanicsOnFlush};
use crate::support::pipelines::{KINDS, Kind};
use crate::support::*;

#[test]
fn law_7_an_observer_is_told_of_the_live_session_at_once_and_of_every_transition_in_order() {
    let rig = Rig::new();
    rig.log("first");
    let first = rig.sessions.current().unwrap();
    let (told, seen) = channel();
    let watch = rig.sessions.on_transition(move |transition| {
        let _ = told.send(transition.clone());
    });
    let at_once = seen.try_recv().expect("told before on_transition returned");
    assert_eq!(at_once.started(), Some(&first));
    assert_eq!(at_once.ended(), None);
    let second = rig.sessions.rotate();
    assert!(rig.clock.advance(TIMEOUT));
    rig.log("third");
    rig.sessions.end();
    assert!(rig.clock.advance(Duration::ZERO));
    let transitions: Vec<_> = seen.try_iter().collect();
    let facts: Vec<_> = transitions
        .iter()
        .map(|it| (it.ended().map(|end| (end.session().index(), end.reason())), it.started().map(|it| it.index())))
        .collect();
    assert_eq!(
        facts,
        [
            (Some((1, EndReason::Rotated)), Some(2)),
            (Some((2, EndReason::Inactivity)), None),
            (None, Some(3)),
            (Some((3, EndReason::Ended)), None)
        ]
    );
    assert_eq!(transitions[0].started(), Some(&second));
    drop(watch);
    rig.sessions.rotate();
    assert!(rig.clock.advance(Duration::ZERO));
    assert!(seen.recv().is_err(), "unsubscribed, and its captures dropped");
}

#[test]
fn law_7_an_observer_is_not_told_of_a_session_that_was_over_before_it_came() {
    let rig = Rig::new();
    let (earlier, seen_earlier) = channel();
    rig.sessions.on_transition(move |transition| _ = earlier.send(transition.clone())).detach();
    rig.sessions.record_activity();
    rig.clock.suspend(2 * TIMEOUT);
    assert_eq!(rig.sessions.current(), None);
    let (told, seen) = channel();
    rig.sessions.on_transition(move |transition| _ = told.send(transition.clone())).detach();
    assert!(rig.clock.advance(Duration::ZERO));
    assert!(seen.try_recv().is_err(), "neither of its start nor of its end");
    let ends: Vec<_> = seen_earlier.try_iter().filter_map(|it| it.ended().map(|end| end.reason())).collect();
    assert_eq!(ends, [EndReason::Inactivity], "who was there is told as ever");
    let next = rig.sessions.record_activity();
    assert!(rig.clock.advance(Duration::ZERO));
    let told: Vec<_> = seen.try_iter().map(|it| (it.ended().is_some(), it.started().copied())).collect();
    assert_eq!(told, [(false, Some(next))]);
    assert_lawful(&rig.lines());
}

#[test]
fn law_7_a_panicking_observer_is_counted_and_told_again() {
    let rig = Rig::new();
    let calls = Arc::new(AtomicU64::new(0));
    let called = calls.clone();
    rig.sessions
        .on_transition(move |_| {
            called.fetch_add(1, Ordering::SeqCst);
            panic!("this observer panics");
        })
        .detach();
    for _ in 0..3 {
        rig.sessions.rotate();
    }
    rig.log("log");
    assert!(rig.clock.advance(Duration::ZERO));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert_eq!(rig.sessions.losses().count(Loss::ObserverPanic), 3);
    assert_eq!(rig.sessions.losses().total(), 3);
    assert_lawful(&rig.lines());
}

#[test]
fn law_7_an_observer_may_call_anything() {
    for kind in KINDS {
        returns("an observer that calls back", move || {
            let rig = Arc::new(Rig::of(kind));
            let inner = rig.clone();
            let watches = Mutex::new(Vec::new());
            rig.sessions
                .on_transition(move |transition| {
                    let Some(started) = transition.started() else { return };
                    if started.index() > 20 {
                        return;
                    }
                    inner.sessions.rotate();
                    inner.sessions.record_activity();
                    let _ = inner.sessions.current();
                    inner.sessions.set_user_id(Some("ada"));
                    inner.sessions.set_background(started.index() % 2 == 0);
                    inner.log("from the observer");
                    inner.span("from the observer");
                    let _ = inner.loggers.force_flush();
                    assert!(inner.clock.advance(MINUTE));
                    watches.lock().unwrap().push(inner.sessions.on_transition(|_| {}));
                })
                .detach();
            rig.log("first");
            assert!(rig.clock.advance(Duration::ZERO));
            let lines = rig.lines();
            assert_lawful(&lines);
            assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 21);
            assert_eq!(rig.sessions.losses().total(), 0);
        });
    }
}

#[test]
fn law_7_an_observer_that_moves_the_clock_does_not_wait_for_itself_wherever_it_is_told() {
    let rig = Rig::new();
    rig.log("first");
    let (clock, moved) = (rig.clock.clone(), Arc::new(Mutex::new(Vec::new())));
    let watch = rig.sessions.on_transition({
        let moved = moved.clone();
        move |_| moved.lock().unwrap().push(clock.advance(MINUTE))
    });
    assert_eq!(*moved.lock().unwrap(), [true], "told of the live session, on this thread");
    rig.sessions.rotate();
    assert!(rig.clock.advance(Duration::ZERO));
    assert_eq!(*moved.lock().unwrap(), [true, true]);
    assert_eq!(rig.clock.now(), epoch() + 2 * MINUTE);
    drop(watch);
}

#[test]
fn law_7_a_slow_observer_holds_up_no_signal_and_no_rotation() {
    for kind in KINDS {
        let rig = Rig::of(kind);
        let gate = Gate::default();
        let at = gate.clone();
        rig.sessions.on_transition(move |_| at.pass()).detach();
        rig.log("first");
        gate.arrival();
        for _ in 0..10 {
            rig.clock.suspend(TIMEOUT);
            rig.log("log");
            rig.span("span");
            rig.sessions.rotate();
        }
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 21);
        gate.open();
        assert!(rig.clock.advance(Duration::ZERO));
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

/// Rotates as it is dropped: what an observer captures may do anything then.
struct RotatesOnDrop(Sessions);

impl Drop for RotatesOnDrop {
    fn drop(&mut self) {
        self.0.rotate();
        self.0.on_transition(|_| {}).detach();
    }
}

#[test]
fn law_7_what_an_observer_captured_may_call_anything_as_it_is_dropped() {
    returns("dropping an observer that rotates", || {
        let rig = Rig::new();
        let captured = RotatesOnDrop(rig.sessions.clone());
        let watch = rig.sessions.on_transition(move |_| {
            let _ = &captured;
        });
        drop(watch);
        rig.sessions.rotate();
        assert!(rig.clock.advance(Duration::ZERO));
        assert_lawful(&rig.lines());
        assert_eq!(rig.sessions.current().unwrap().index(), 2);
    });
}

#[test]
fn law_7_a_shutdown_during_a_slow_observer_is_bounded_and_told() {
    let rig = Rig::new();
    let gate = Gate::default();
    let at = gate.clone();
    rig.sessions.on_transition(move |_| at.pass()).detach();
    rig.log("first");
    gate.arrival();
    let result = rig.sessions.shutdown(Duration::from_millis(50));
    assert!(matches!(result, Err(ShutdownError::Timeout(_))), "{result:?}");
    gate.open();
    rig.sessions.shutdown(seconds(20)).unwrap();
    assert_lawful(&rig.lines());
    assert_eq!(rig.lifecycle().len(), 2);
}

#[test]
fn law_7_a_re_entrant_generator_gets_an_answer() {
    for call in [
        (|sessions: &Sessions| _ = sessions.rotate()) as fn(&Sessions),
        |sessions| _ = sessions.record_activity(),
        |sessions| sessions.end(),
        |sessions| _ = sessions.current(),
        |sessions| sessions.set_user_id(Some("ada")),
        |sessions| sessions.set_background(true),
        |sessions| _ = sessions.losses(),
    ] {
        returns("a generator that calls back", move || {
            let number = AtomicU64::new(0);
            let handle: Arc<OnceLock<Sessions>> = Arc::default();
            let inner = handle.clone();
            let rig = Rig::with(|builder| {
                builder.with_id_generator(move || {
                    if let Some(sessions) = inner.get() {
                        call(sessions);
                    }
                    format!("given-{}", number.fetch_add(1, Ordering::SeqCst))
                })
            });
            handle.set(rig.sessions.clone()).unwrap();
            rig.log("log");
            rig.clock.suspend(TIMEOUT);
            rig.span("span");
            rig.sessions.rotate();
            rig.log("log");
            let lines = rig.lines();
            assert_lawful(&lines);
            assert!(rig.sessions.current().unwrap().id().starts_with("given-"));
            // Only what the generator itself started had to do without it.
            let losses = rig.sessions.losses();
            assert_eq!(losses.total(), losses.count(Loss::IdGenerator));
        });
    }
}

#[test]
fn law_7_a_generator_that_emits_a_log_while_a_span_starts_does_not_break_the_span() {
    use opentelemetry::trace::Tracer as _;
    returns("a generator that emits", || {
        let number = AtomicU64::new(0);
        let handle: Arc<OnceLock<opentelemetry_sdk::logs::SdkLogger>> = Arc::default();
        let inner = handle.clone();
        let rig = Rig::with(|builder| {
            builder.with_id_generator(move || {
                if let Some(logger) = inner.get() {
                    emit(logger, "from the generator", None);
                }
                format!("given-{}", number.fetch_add(1, Ordering::SeqCst))
            })
        });
        handle.set(rig.logger()).unwrap();
        // The context stack is borrowed here, and in it a simple processor panics. What the generator emitted is lost with
        // the record that should stand before it; the span is not, and neither is what follows.
        rig.tracer().in_span("span", |_| {});
        assert_eq!(rig.span_id("span").as_deref(), rig.sessions.current().as_ref().map(|session| session.id()));
        assert_eq!(rig.sessions.rotate().id(), "given-0");
        let lifecycle = rig.lifecycle();
        assert_eq!(lifecycle.last().unwrap().id.as_deref(), Some("given-0"));
        // None is lost if the keeper is quick enough to publish the first start.
        let lost = usize::try_from(rig.sessions.losses().count(Loss::LifecyclePanic)).unwrap();
        assert!(lost <= 1);
        assert_eq!(lifecycle.len() + lost, 3);
    });
}

#[test]
fn law_7_a_slow_generator_holds_up_others_for_a_bounded_time() {
    returns("a generator that never returns", || {
        let gate = Gate::default();
        let at = gate.clone();
        let rig = Rig::with(|builder| {
            builder.with_id_generator(move || {
                at.pass();
                "slow"
            })
        });
        std::thread::scope(|scope| {
            scope.spawn(|| rig.sessions.record_activity());
            gate.arrival();
            // Reading and stamping wait for nobody; starting waits a second, then does without.
            assert_eq!(rig.sessions.current(), None);
            rig.log("does without");
            assert_eq!(rig.sessions.losses().count(Loss::IdGenerator), 1);
            gate.open();
        });
        // The id that came too late is the next session's.
        assert_eq!(rig.sessions.rotate().id(), "slow");
        assert_lawful(&rig.lines());
    });
}

#[test]
fn law_7_a_panicking_exporter_loses_its_record_and_nothing_else() {
    // The SDK's simple processor stays poisoned by the panic: what it was given is gone, and so is what follows.
    let panics = Arc::new(AtomicU64::new(0));
    let count = panics.clone();
    let exporter = Hooked::new(move |_, record| {
        if record.event_name() == Some("session.end") && count.fetch_add(1, Ordering::SeqCst) == 0 {
            panic!("this exporter panics");
        }
        true
    });
    let rig = Rig::new();
    let other = Kind::Simple.loggers(&rig.sessions, exporter);
    rig.log("first");
    rig.sessions.rotate();
    assert!(rig.clock.advance(Duration::ZERO));
    rig.log("second");
    rig.sessions.rotate();
    assert!(rig.clock.advance(Duration::ZERO));
    assert_eq!(rig.sessions.losses().count(Loss::LifecyclePanic), 1);
    assert_eq!(rig.lifecycle().len(), 5, "the other pipeline has everything");
    assert_lawful(&rig.lines());
    let _ = other.shutdown();
}

#[test]
fn law_7_an_exporter_that_panics_on_the_batch_thread_is_counted() {
    returns("a dead batch thread", || {
        let rig = Rig::new();
        let exporter = Hooked::new(|_, _| panic!("this exporter panics"));
        let other = Kind::Batch.loggers(&rig.sessions, exporter);
        rig.log("first");
        rig.sessions.rotate();
        assert!(rig.clock.advance(Duration::ZERO));
        assert!(other.force_flush().is_err());
        assert_eq!(rig.sessions.losses().count(Loss::LifecyclePanic), 3, "{}", rig.sessions.losses());
        // The SDK's thread is gone; what follows is told when the pipeline goes.
        rig.sessions.rotate();
        assert!(other.shutdown().is_err());
        assert_eq!(rig.sessions.losses().count(Loss::LifecycleUndelivered), 2);
        assert_lawful(&rig.lines());
        rig.sessions.shutdown(seconds(5)).unwrap();
    });
}

#[test]
fn law_7_an_exporter_may_call_anything() {
    for kind in KINDS {
        returns("an exporter that calls back", move || {
            let handle: Arc<OnceLock<Arc<Rig>>> = Arc::default();
            let inner = handle.clone();
            let exporter = Hooked::new(move |_, record| {
                if let Some(rig) = inner.get() {
                    let _ = rig.sessions.current();
                    rig.sessions.record_activity();
                    rig.sessions.set_user_id(Some("ada"));
                    rig.sessions.set_background(true);
                    rig.span("from the exporter");
                    // Dropped by the SDK in a suppressed scope, which is where exporters run.
                    rig.log("from the exporter");
                    if record.event_name().is_none() && rig.sessions.current().unwrap().index() < 10 {
                        rig.sessions.rotate();
                    }
                }
                true
            });
            let rig = Arc::new(Rig::of(kind));
            let provider = kind.loggers(&rig.sessions, exporter.clone());
            assert!(handle.set(rig.clone()).is_ok());
            let logger = opentelemetry::logs::LoggerProvider::logger(&provider, "test");
            for _ in 0..20 {
                emit(&logger, "log", None);
                let _ = provider.force_flush();
            }
            assert!(rig.clock.advance(Duration::ZERO));
            provider.shutdown().unwrap();
            rig.loggers.shutdown().unwrap();
            assert_lawful(&lines(&exporter.logs));
            assert_lawful(&rig.lines());
            let losses = rig.sessions.losses();
            assert_eq!(losses.total(), 0, "{kind:?}: {losses}");
        });
    }
}

#[test]
fn law_7_a_slow_exporter_holds_up_no_span_and_no_rotation() {
    for kind in KINDS {
        let gate = Gate::default();
        let at = gate.clone();
        let exporter = Hooked::new(move |_, _| {
            at.pass();
            true
        });
        let rig = Rig::new();
        let slow = kind.loggers(&rig.sessions, exporter.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| slow.force_flush());
            rig.sessions.rotate();
            scope.spawn(|| slow.force_flush());
            gate.arrival();
            for _ in 0..100 {
                rig.sessions.rotate();
                rig.span("span");
                let _ = rig.sessions.current();
            }
            gate.open();
        });
        slow.shutdown().unwrap();
        assert_lawful(&lines(&exporter.logs));
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

#[test]
fn law_7_a_processor_that_panics_when_flushed_does_not_take_the_keeper_with_it() {
    let rig = Rig::new();
    let other = provider_of(rig.sessions.log_processor(PanicsOnFlush));
    rig.log("first");
    let error = rig.sessions.shutdown(seconds(20)).unwrap_err();
    assert!(matches!(&error, ShutdownError::Flush(errors) if errors.len() == 1), "{error:?}");
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(rig.lifecycle().len(), 2);
    drop(other);
}

#[test]
fn law_7_a_panicking_filter_takes_the_signal_for_activity_and_is_counted() {
    let rig = Rig::with(|builder| builder.with_activity(Activity::filter(|_| panic!("this filter panics"))));
    rig.log("log");
    rig.span("span");
    assert_eq!(rig.sessions.losses().count(Loss::FilterPanic), 2);
    rig.clock.advance(TIMEOUT - MINUTE);
    rig.log("log");
    rig.clock.advance(TIMEOUT - MINUTE);
    assert!(rig.sessions.current().is_some());
    assert!(rig.span_id("span").is_some());
    assert_lawful(&rig.lines());
}

#[test]
fn law_7_a_filter_decides_what_is_activity_and_may_call_anything() {
    returns("a filter that calls back", || {
        let handle: Arc<OnceLock<Sessions>> = Arc::default();
        let inner = handle.clone();
        let rig = Rig::with(|builder| {
            builder.with_activity(Activity::filter(move |signal| {
                if let Some(sessions) = inner.get() {
                    let _ = sessions.current();
                }
                signal.kind() == SignalKind::Span
            }))
        });
        handle.set(rig.sessions.clone()).unwrap();
        rig.log("starts");
        rig.clock.advance(TIMEOUT - MINUTE);
        rig.span("extends");
        rig.clock.advance(TIMEOUT - MINUTE);
        rig.log("does not extend");
        assert!(rig.clock.advance(MINUTE));
        assert_eq!(rig.sessions.current(), None);
        assert_eq!(rig.lifecycle()[1].at, Some(epoch() + TIMEOUT - MINUTE));
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn law_7_what_an_observer_owns_goes_with_its_watch_and_at_the_latest_with_the_sessions() {
    struct Owned(std::sync::mpsc::Sender<()>);
    impl Drop for Owned {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let clock = ManualClock::new(epoch());
    let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
    // The keeper has nothing to do any more.
    assert!(clock.advance(Duration::ZERO));
    let (dropped, is_dropped) = channel();
    let observe = || {
        let owned = Owned(dropped.clone());
        sessions.on_transition(move |_| _ = &owned)
    };
    let watch = observe();
    assert!(clock.advance(Duration::ZERO));
    drop(watch);
    is_dropped.recv_timeout(seconds(5)).expect("the keeper is told");
    observe().detach();
    sessions.shutdown(seconds(5)).unwrap();
    is_dropped.recv_timeout(seconds(5)).expect("the keeper drops the others as it goes");
}

#[test]
fn law_7_an_observer_that_is_slow_to_hear_of_the_live_session_also_hears_of_its_end() {
    let sessions = Sessions::builder().build().unwrap();
    sessions.record_activity();
    let (told, tell) = channel();
    let (go_on, wait) = channel::<()>();
    let subscriber = std::thread::spawn({
        let sessions = sessions.clone();
        move || {
            let observer = move |transition: &Transition| {
                told.send(transition.clone()).unwrap();
                if transition.started().is_some() {
                    let _ = wait.recv_timeout(seconds(10));
                }
            };
            sessions.on_transition(observer).detach();
        }
    });
    assert!(tell.recv_timeout(seconds(5)).unwrap().started().is_some());
    sessions.shutdown(seconds(5)).unwrap();
    go_on.send(()).unwrap();
    subscriber.join().unwrap();
    let ended = tell.recv_timeout(seconds(5)).expect("the session has ended while it was told of it");
    assert_eq!(ended.ended().map(EndedSession::reason), Some(EndReason::Shutdown));
    assert!(tell.recv_timeout(seconds(5)).is_err(), "and that is all");
}

/// Where nobody wants telemetry, `setup()` hands out sessions that are over from the beginning.
#[test]
fn law_7_what_an_observer_owns_does_not_outlive_its_watch_where_the_sessions_are_over() {
    let sessions = Sessions::builder().build().unwrap();
    sessions.shutdown(seconds(5)).unwrap();
    let (told, tell) = channel();
    let own = sessions.clone();
    let watch = sessions.on_transition(move |_| {
        let _ = &own;
        let _ = told.send(());
    });
    sessions.record_activity();
    drop(watch);
    let disconnected = std::sync::mpsc::RecvTimeoutError::Disconnected;
    assert_eq!(tell.recv_timeout(seconds(5)), Err(disconnected), "it is told nothing, and kept by nobody");
}

#[test]
fn law_7_what_an_observer_owns_may_call_us_and_panic_as_it_goes_with_the_sessions() {
    struct Owned(Sessions);
    impl Drop for Owned {
        fn drop(&mut self) {
            self.0.on_transition(|_| ()).detach();
            panic!("what an observer owns has a fault of its own");
        }
    }
    let sessions = Sessions::builder().with_clock(ManualClock::new(epoch())).build().unwrap();
    let owned = Owned(sessions.clone());
    sessions.on_transition(move |_| _ = &owned).detach();
    let stopped = sessions.clone();
    returns("a shutdown", move || stopped.shutdown(seconds(5)).unwrap());
    assert_eq!(sessions.losses().count(Loss::ObserverPanic), 1);
}

#[test]
fn law_7_who_is_unsubscribed_by_another_observer_is_not_told_what_waited() {
    let rig = Rig::new();
    let later: Arc<Mutex<Option<otel_session::Watch>>> = Arc::default();
    let unsubscribed = later.clone();
    rig.sessions.on_transition(move |_| drop(unsubscribed.lock().unwrap().take())).detach();
    let told = Arc::new(AtomicU64::new(0));
    let count = told.clone();
    let watch = rig.sessions.on_transition(move |_| _ = count.fetch_add(1, Ordering::Relaxed));
    *later.lock().unwrap() = Some(watch);
    rig.log("first");
    assert!(rig.clock.advance(Duration::ZERO));
    assert_eq!(told.load(Ordering::Relaxed), 0);
}

#[test]
fn law_7_what_happens_while_an_observer_is_told_of_the_live_session_reaches_it_without_further_traffic() {
    let rig = Rig::new();
    rig.log("first");
    let (told, seen) = channel();
    let (sessions, passed) = (rig.sessions.clone(), Gate::default());
    let _watch = rig.sessions.on_transition(move |transition| {
        if transition.ended().is_none() {
            // The keeper tells those who came before and after this one, which it has to leave alone.
            let by = passed.clone();
            let tell = move |transition: &otel_session::Transition| {
                if transition.ended().is_some() {
                    by.pass();
                }
            };
            passed.open();
            sessions.on_transition(tell).detach();
            sessions.rotate();
            passed.arrival();
        }
        let _ = told.send(transition.ended().is_some());
    });
    assert_eq!(seen.try_recv(), Ok(false));
    assert_eq!(seen.recv_timeout(seconds(5)), Ok(true));
}
