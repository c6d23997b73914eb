//! Whole sessions: wrapped log processors, the hub, observers and the keeper's thread.

use std::sync::{Arc, Mutex as Plain};

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread::spawn;
use opentelemetry::InstrumentationScope;
use opentelemetry::logs::AnyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};

use crate::activity::Activity;
use crate::clock::Source;
use crate::lifecycle::{Core, blank};
use crate::rig::{Hand, TIMEOUT, explore, settings};
use crate::semconv::{EVENT_SESSION_END, EVENT_SESSION_START, SESSION_ID};
use crate::session::{Chain, IdSource};
use crate::sessions::Sessions;
use crate::stamp::SessionLogProcessor;
use crate::telemetry::{Loss, LossCounters};

/// What a processor was given: the name of the event, none for a log, and the id of the session.
type Line = (Option<&'static str>, String);

/// An inner processor. Clones are the same.
#[derive(Debug, Clone, Default)]
struct Inner {
    lines: Arc<Plain<Vec<Line>>>,
    /// Tells the model checker that emissions depend on each other, and orders nothing.
    step: Arc<AtomicU64>,
}

impl LogProcessor for Inner {
    fn emit(&self, data: &mut SdkLogRecord, _: &InstrumentationScope) {
        let id = data.attributes_iter().find(|(key, _)| key.as_str() == SESSION_ID);
        let Some((_, AnyValue::String(id))) = id else { panic!("a log without a session") };
        let line = (data.event_name(), id.as_str().to_owned());
        self.step.fetch_add(1, Ordering::Relaxed);
        self.lines.lock().expect("no panic").push(line);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
}

impl Inner {
    /// What was emitted, after a check: sessions follow each other, and each log stands behind the start of its session.
    fn lines(&self) -> Vec<Line> {
        let lines = self.lines.lock().expect("no panic").clone();
        let mut live = None;
        let mut started: Vec<&str> = Vec::new();
        for (event, id) in &lines {
            match *event {
                Some(EVENT_SESSION_START) => {
                    assert_eq!(live.replace(id), None, "{lines:?}");
                    assert!(!started.contains(&id.as_str()), "{lines:?}");
                    started.push(id);
                }
                Some(EVENT_SESSION_END) => assert_eq!(live.take(), Some(id), "{lines:?}"),
                _ => assert!(started.contains(&id.as_str()), "{lines:?}"),
            }
        }
        lines
    }

    fn count(&self, event: &str) -> usize {
        self.lines().iter().filter(|(it, _)| *it == Some(event)).count()
    }

    fn starts_and_ends(&self) -> (usize, usize) {
        (self.count(EVENT_SESSION_START), self.count(EVENT_SESSION_END))
    }
}

/// Sessions without a keeper's thread, and their clock.
fn sessions() -> (Sessions, Arc<Hand>) {
    let (core, clock) = core();
    (Sessions { core: Arc::new(core), activity: Activity::default(), layers: Arc::default() }, clock)
}

fn core() -> (Core, Arc<Hand>) {
    let clock = Hand::at(0);
    let chain = Chain::new(settings(), None, None);
    (Core::new(chain, Source::Given(clock.clone()), IdSource::Uuid, Arc::new(LossCounters::default())), clock)
}

/// A wrapped processor, attached. (A first log would attach it under a lock that the model checker does not see.)
fn pipeline(sessions: &Sessions, inner: &Inner) -> Arc<SessionLogProcessor<Inner>> {
    let mut pipeline = sessions.log_processor(inner.clone());
    pipeline.set_resource(&Resource::builder_empty().build());
    Arc::new(pipeline)
}

fn log(pipeline: &SessionLogProcessor<Inner>) {
    pipeline.emit(&mut blank(), &InstrumentationScope::builder("model").build());
}

pub(crate) fn in_a_wrapped_processor_every_log_follows_the_start_of_its_session() {
    explore(3, || {
        let (sessions, clock) = sessions();
        let inner = Inner::default();
        let pipeline = pipeline(&sessions, &inner);
        log(&pipeline);
        clock.move_to(1);
        let rotator = spawn({
            let sessions = sessions.clone();
            move || _ = sessions.rotate()
        });
        let other = spawn({
            let pipeline = pipeline.clone();
            move || log(&pipeline)
        });
        log(&pipeline);
        rotator.join().expect("no panic");
        other.join().expect("no panic");
        drop(pipeline);
        assert_eq!(inner.starts_and_ends(), (2, 2));
        assert_eq!(inner.lines().len(), 7);
        assert_eq!(sessions.losses().total(), 0);
    });
}

pub(crate) fn a_pipeline_that_attaches_during_a_rotation_has_the_start_of_what_it_stamps() {
    explore(None, || {
        let (sessions, clock) = sessions();
        let (first, second) = (Inner::default(), Inner::default());
        let early = pipeline(&sessions, &first);
        log(&early);
        clock.move_to(1);
        let rotator = spawn({
            let sessions = sessions.clone();
            move || _ = sessions.rotate()
        });
        let late = pipeline(&sessions, &second);
        log(&late);
        rotator.join().expect("no panic");
        drop(early);
        drop(late);
        assert_eq!(first.starts_and_ends(), (2, 1), "the second pipeline keeps the session alive");
        let (started, ended) = second.starts_and_ends();
        assert!(started == ended && (1..=2).contains(&started));
        assert_eq!(sessions.losses().total(), 0);
    });
}

pub(crate) fn the_last_pipeline_to_leave_takes_no_start_without_its_end() {
    explore(None, || {
        let (sessions, clock) = sessions();
        let inner = Inner::default();
        let pipeline = pipeline(&sessions, &inner);
        log(&pipeline);
        clock.move_to(1);
        let toucher = spawn({
            let sessions = sessions.clone();
            move || _ = sessions.record_activity()
        });
        drop(pipeline);
        toucher.join().expect("no panic");
        let (started, ended) = inner.starts_and_ends();
        assert_eq!(started, ended);
        assert_eq!(sessions.losses().total(), 0, "the start that came later waits for another pipeline");
    });
}

pub(crate) fn what_is_decided_reaches_pipelines_and_observers_without_a_log() {
    explore(3, || {
        let (core, clock) = core();
        let sessions =
            Sessions { core: core.start().expect("a thread"), activity: Activity::default(), layers: Arc::default() };
        let inner = Inner::default();
        let pipeline = pipeline(&sessions, &inner);
        let told = Arc::new(Plain::new(Vec::new()));
        sessions
            .on_transition({
                let told = told.clone();
                move |transition| told.lock().expect("no panic").push(transition.clone())
            })
            .detach();
        sessions.record_activity();
        sessions.rotate();
        clock.settle();
        assert_eq!(inner.starts_and_ends(), (2, 1));
        assert_eq!(told.lock().expect("no panic").len(), 2);
        sessions.shutdown(std::time::Duration::ZERO).expect("flushed");
        assert_eq!(inner.starts_and_ends(), (2, 2));
        assert_eq!(told.lock().expect("no panic").len(), 3);
        drop(pipeline);
        assert_eq!(sessions.losses().count(Loss::LifecycleUndelivered), 0);
    });
}

pub(crate) fn the_keeper_and_a_signal_at_the_deadline_end_the_session_once() {
    explore(2, || {
        let (core, clock) = core();
        let sessions =
            Sessions { core: core.start().expect("a thread"), activity: Activity::default(), layers: Arc::default() };
        let inner = Inner::default();
        let pipeline = pipeline(&sessions, &inner);
        log(&pipeline);
        clock.move_to(TIMEOUT);
        let logger = spawn({
            let pipeline = pipeline.clone();
            move || log(&pipeline)
        });
        clock.settle();
        logger.join().expect("no panic");
        assert_eq!(inner.starts_and_ends(), (2, 1));
        sessions.shutdown(std::time::Duration::ZERO).expect("flushed");
        assert_eq!(inner.starts_and_ends(), (2, 2));
        drop(pipeline);
        assert_eq!(sessions.losses().total(), 0);
    });
}
