//! User code that calls back: 63 to 68 and 70 (71 does not apply). Every body runs under a watchdog.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::logs::LoggerProvider as _;
use opentelemetry_sdk::logs::SimpleLogProcessor;
use otel_session::testing::{CapturedLogs, ManualClock};
use otel_session::{Activity, Loss, Sessions, SessionsBuilder, Watch};

use crate::support::probes::*;
use crate::support::*;

/// Sessions that do not exist yet when the user code that will call them is made.
#[derive(Clone, Default)]
pub(crate) struct Later<T>(pub(crate) Arc<Mutex<Option<T>>>);

impl<T: Clone> Later<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    pub(crate) fn set(&self, value: &T) {
        *self.0.lock().unwrap() = Some(value.clone());
    }

    pub(crate) fn get(&self) -> Option<T> {
        self.0.lock().unwrap().clone()
    }
}

/// Runs a piece of user code once, however often it is reached: what it calls may reach it again.
#[derive(Clone, Default)]
pub(crate) struct Once(Arc<AtomicBool>);

impl Once {
    pub(crate) fn first(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }
}

#[test]
fn b063_an_observer_reads_the_new_session() {
    on_both(|rig| {
        let seen = Calls::default();
        let (note, reader) = (seen.clone(), rig.sessions.clone());
        let _watch = rig.sessions.on_transition(move |transition| {
            if let Some(started) = transition.started() {
                note.note(format!("{}", reader.current() == Some(*started)));
            }
        });
        for _ in 0..3 {
            rig.sessions.rotate();
            assert!(rig.clock.advance(seconds(0)));
        }
        assert_eq!(seen.all(), ["true"; 3]);
    });
}

#[test]
fn b063_an_exporter_reads_the_new_session_while_it_exports_its_start() {
    within_bound(|| {
        for batched in [false, true] {
            let clock = ManualClock::new(epoch());
            let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
            let (seen, kept, reader) = (Calls::default(), CapturedLogs::default(), sessions.clone());
            let note = seen.clone();
            let hook = Hook::new(move |record: &opentelemetry_sdk::logs::SdkLogRecord| {
                if record.event_name() == Some("session.start") {
                    let line = Line::of(record);
                    note.note(format!("{}", reader.current().map(|session| session.id().to_owned()) == line.id));
                }
            });
            let exporter = HookedLogs { hook, kept };
            let provider = if batched {
                provider_of(sessions.batch_log_processor(exporter))
            } else {
                provider_of(sessions.log_processor(SimpleLogProcessor::new(exporter)))
            };
            for _ in 0..3 {
                sessions.rotate();
                provider.force_flush().unwrap();
            }
            assert_eq!(seen.all(), ["true"; 3]);
        }
    });
}

#[test]
fn b064_rotate_and_end_from_an_observer_are_queued_without_recursion() {
    on_both(|rig| {
        let (told, depth) = (Told::default(), AtomicUsize::new(0));
        let (caller, mut note, mut steps) = (rig.sessions.clone(), told.observer(), 0);
        let _watch = rig.sessions.on_transition(move |transition| {
            assert_eq!(depth.fetch_add(1, Ordering::SeqCst), 0, "called within itself");
            note(transition);
            steps += 1;
            match steps {
                1 => drop(caller.rotate()),
                2 => {
                    caller.end();
                    caller.record_activity();
                }
                _ => {}
            }
            depth.fetch_sub(1, Ordering::SeqCst);
        });
        rig.log("first");
        assert!(rig.clock.advance(seconds(0)));
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(reasons(&lines), ["rotated", "ended"]);
        assert_eq!(told.0.all(), Told::of_records(&lines), "no partial sequence");
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn b064_rotate_and_end_from_an_exporter_are_queued_without_recursion() {
    within_bound(|| {
        for batched in [false, true] {
            let clock = ManualClock::new(epoch());
            let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
            let (kept, caller, steps) = (CapturedLogs::default(), sessions.clone(), AtomicUsize::new(0));
            let hook = Hook::new(move |_: &_| match steps.fetch_add(1, Ordering::SeqCst) {
                0 => drop(caller.rotate()),
                1 => caller.end(),
                2 => drop(caller.record_activity()),
                _ => {}
            });
            let exporter = HookedLogs { hook, kept: kept.clone() };
            let provider = if batched {
                provider_of(sessions.batch_log_processor(exporter))
            } else {
                provider_of(sessions.log_processor(SimpleLogProcessor::new(exporter)))
            };
            emit(&provider.logger("test"), "first", None);
            for _ in 0..4 {
                provider.force_flush().unwrap();
            }
            provider.shutdown().unwrap();
            let lines = lines(&kept);
            let lifecycle: Vec<Line> = lines.iter().filter(|line| line.is_lifecycle()).cloned().collect();
            assert_lawful(&lifecycle);
            let (starts, ends) = starts_and_ends(&lines);
            assert_eq!(starts, ends);
            assert_eq!(lines.len(), starts + ends + 1);
        }
    });
}

#[test]
fn b065_a_check_from_within_a_rotation_decides_nothing_twice() {
    within_bound(|| {
        let (later, calls): (Later<Sessions>, _) = (Later::new(), Arc::new(AtomicUsize::new(0)));
        let (own, counted) = (later.clone(), calls.clone());
        let rig = Rig::with(move |builder| {
            builder.with_id_generator(move || {
                if let Some(sessions) = own.get() {
                    let _ = sessions.current();
                    let _ = sessions.losses();
                    sessions.set_background(true);
                    sessions.set_background(false);
                }
                format!("id-{}", counted.fetch_add(1, Ordering::SeqCst))
            })
        });
        later.set(&rig.sessions);
        rig.log("first");
        rig.clock.suspend(TIMEOUT);
        rig.log("second");
        rig.sessions.rotate();
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(started_ids(&lines), ["id-0", "id-1", "id-2"]);
        assert_eq!(reasons(&lines), ["inactivity", "rotated"]);
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn b066_an_observer_may_add_another_one_which_is_told_of_what_follows() {
    on_both(|rig| {
        let (first, second) = (Told::default(), Told::default());
        let (caller, inner, mut note, once) = (rig.sessions.clone(), second.clone(), first.observer(), Once::default());
        let watches: Arc<Mutex<Vec<Watch>>> = Arc::default();
        let kept = watches.clone();
        let _watch = rig.sessions.on_transition(move |transition| {
            note(transition);
            if once.first() {
                kept.lock().unwrap().push(caller.on_transition(inner.observer()));
            }
        });
        rig.sessions.record_activity();
        assert!(rig.clock.advance(seconds(0)));
        rig.sessions.rotate();
        rig.sessions.end();
        assert!(rig.clock.advance(seconds(0)));
        assert_eq!(first.0.all(), Told::of_records(&rig.lines()));
        assert_eq!(second.0.all(), first.0.all(), "the live session at once, then each transition, once");
        assert_eq!(watches.lock().unwrap().len(), 1);
    });
}

#[test]
fn b067_an_observer_that_panics_blocks_neither_later_transitions_nor_other_observers() {
    on_both(|rig| {
        let (before, after) = (Told::default(), Told::default());
        let _before = rig.sessions.on_transition(before.observer());
        let _panics = rig.sessions.on_transition(|_| panic!("an observer's own fault"));
        let _after = rig.sessions.on_transition(after.observer());
        for _ in 0..3 {
            rig.sessions.rotate();
        }
        rig.clock.advance(TIMEOUT);
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(starts_and_ends(&lines), (3, 3));
        assert_eq!(before.0.all(), Told::of_records(&lines));
        assert_eq!(after.0.all(), before.0.all());
        assert_eq!(rig.sessions.losses().count(Loss::ObserverPanic), 4);
        assert!(rig.sessions.shutdown(BOUND).is_ok());
    });
}

#[test]
fn b067_a_generator_filter_or_exporter_that_panics_blocks_no_later_transition() {
    within_bound(|| {
        let settings = |builder: SessionsBuilder| {
            builder
                .with_id_generator(|| -> String { panic!("a generator's own fault") })
                .with_activity(Activity::filter(|_| panic!("a filter's own fault")))
        };
        let rig = Rig::with(settings);
        rig.log("one");
        rig.clock.advance(TIMEOUT);
        rig.log("two");
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (2, 1));
        assert_lawful(&lines);
        let losses = rig.sessions.losses();
        assert_eq!((losses.count(Loss::IdGenerator), losses.count(Loss::FilterPanic)), (2, 2));

        let (clock, panics) = (ManualClock::new(epoch()), Once::default());
        let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
        let probe = LogProbe {
            hook: Hook::new(move |_: &_| assert!(!panics.first(), "a processor's own fault")),
            ..LogProbe::default()
        };
        let provider = provider_of(sessions.log_processor(probe.clone()));
        sessions.record_activity();
        provider.force_flush().unwrap();
        clock.advance(TIMEOUT);
        sessions.record_activity();
        provider.force_flush().unwrap();
        assert_eq!(started_ids(&probe.lines()), [sessions.current().unwrap().id()]);
        assert_eq!(sessions.losses().count(Loss::LifecyclePanic), 1);
    });
}

#[test]
fn b067_a_flush_that_panics_fails_the_shutdown_and_keeps_nobody_waiting() {
    within_bound(|| {
        let sessions = Sessions::builder().with_clock(ManualClock::new(epoch())).build().unwrap();
        let probe = LogProbe { flush_hook: Hook::new(|()| panic!("a processor's own fault")), ..LogProbe::default() };
        let _provider = provider_of(sessions.log_processor(probe.clone()));
        let other = LogProbe::default();
        let _other = provider_of(sessions.log_processor(other.clone()));
        sessions.record_activity();
        let error = sessions.shutdown(Duration::from_secs(15)).unwrap_err().to_string();
        assert!(error.contains("panic"), "{error}");
        sessions.shutdown(Duration::from_secs(15)).expect("what has failed is told once");
        for probe in [probe, other] {
            assert_eq!(starts_and_ends(&probe.lines()), (1, 1), "ended in every pipeline");
        }
    });
}

#[test]
fn b068_a_dropped_watch_is_silent_and_a_detached_one_stays() {
    on_both(|rig| {
        let (dropped, kept, detached) = (Told::default(), Told::default(), Told::default());
        let first = rig.sessions.on_transition(dropped.observer());
        let _kept = rig.sessions.on_transition(kept.observer());
        rig.sessions.on_transition(detached.observer()).detach();
        rig.sessions.rotate();
        assert!(rig.clock.advance(seconds(0)));
        drop(first);
        rig.sessions.rotate();
        assert!(rig.clock.advance(seconds(0)));
        assert_eq!(dropped.0.all().len(), 1);
        assert_eq!(kept.0.all(), Told::of_records(&rig.lines()));
        assert_eq!(detached.0.all(), kept.0.all());
        rig.sessions.shutdown(BOUND).unwrap();
        let watch = rig.sessions.on_transition(|_| ());
        drop(watch);
    });
}

#[test]
fn b068_an_observer_may_unsubscribe_itself_and_what_it_owned_may_call_us_as_it_goes() {
    struct CallsOnDrop(Sessions, Calls);
    impl Drop for CallsOnDrop {
        fn drop(&mut self) {
            call_everything(&self.0);
            self.1.note("dropped");
        }
    }
    on_both(|rig| {
        let dropped = Calls::default();
        let owned = CallsOnDrop(rig.sessions.clone(), dropped.clone());
        let watch: Arc<Mutex<Option<Watch>>> = Arc::default();
        let own = watch.clone();
        *watch.lock().unwrap() = Some(rig.sessions.on_transition(move |_| {
            let _ = &owned;
            drop(own.lock().unwrap().take());
        }));
        rig.sessions.rotate();
        for _ in 0..3 {
            assert!(rig.clock.advance(seconds(0)), "the keeper goes on");
            rig.sessions.rotate();
        }
        assert!(rig.clock.advance(seconds(0)));
        assert_eq!(dropped.all(), ["dropped"]);
        assert_lawful(&rig.lines());
    });
}

#[test]
fn b070_the_generator_and_the_filter_run_outside_every_lock() {
    within_bound(|| {
        let (later, generating, filtering) = (Later::<Sessions>::new(), Once::default(), Once::default());
        let (in_generator, in_filter) = (later.clone(), later.clone());
        let rig = Rig::with(|builder| {
            let everything = |later: &Later<Sessions>, once: &Once| {
                if let Some(sessions) = later.get()
                    && once.first()
                {
                    call_everything(&sessions);
                    // On another thread too: a lock that is held up here would hold it up there.
                    std::thread::spawn(move || call_everything(&sessions)).join().unwrap();
                }
            };
            builder
                .with_id_generator(move || {
                    everything(&in_generator, &generating);
                    format!("{:?}", std::time::Duration::from_nanos(rand()))
                })
                .with_activity(Activity::filter(move |_| {
                    everything(&in_filter, &filtering);
                    true
                }))
        });
        later.set(&rig.sessions);
        rig.log("log");
        rig.span("span");
        rig.sessions.shutdown(BOUND).unwrap();
        let lines = rig.lines();
        let lifecycle: Vec<Line> = lines.iter().filter(|line| line.is_lifecycle()).cloned().collect();
        assert_lawful(&lifecycle);
        let (starts, ends) = starts_and_ends(&lines);
        assert_eq!(starts, ends);
    });
}

/// A number that was not there before.
fn rand() -> u64 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::SeqCst) as u64
}
