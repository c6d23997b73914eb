//! What the models stand on: a clock and a sink whose every step the model checker sees, and the invariants.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Plain, Weak};
use std::time::Duration;

use loom::sync::atomic::AtomicI64;

use crate::clock::{Attend, Moment, Source, TimeSource};
use crate::session::{Chain, Current, Decided, EndReason, EndedSession, IdSource, Session, Settings, Sink};
use crate::telemetry::LossCounters;

/// The inactivity timeout of all models, in the unit of their clock.
pub(crate) const TIMEOUT: i64 = 100;
/// The background timeout.
pub(crate) const BACKGROUND: i64 = 20;
/// How far the wall clock is ahead.
const WALL: i64 = 1_000_000;

/// Checks a model under every schedule that preempts threads at most this often; without a number, under every schedule.
pub(crate) fn explore(preemptions: impl Into<Option<usize>>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions.into();
    let schedules = Arc::new(AtomicU64::new(0));
    let counted = schedules.clone();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let schedules = schedules.load(Ordering::Relaxed);
    println!("{schedules} schedules");
    assert!(schedules > 1, "threads that never meet check nothing");
}

/// Time that a model moves. Its accesses are relaxed, since a clock orders nothing: were they stronger, they would hide an
/// ordering that the sessions lack.
pub(crate) struct Hand {
    boot: AtomicI64,
    keeper: Plain<Option<Weak<dyn Attend>>>,
}

impl Hand {
    pub(crate) fn at(boot: i64) -> Arc<Self> {
        Arc::new(Self { boot: AtomicI64::new(boot), keeper: Plain::new(None) })
    }

    pub(crate) fn move_to(&self, boot: i64) {
        self.boot.store(boot, Ordering::Relaxed);
    }
}

impl Hand {
    /// Wakes the keeper and waits until it has done what is due; without a bound, so a forgotten wake-up is a deadlock.
    pub(crate) fn settle(&self) {
        let keeper = self.keeper.lock().expect("no panic").as_ref().and_then(Weak::upgrade).expect("a keeper");
        let wake = keeper.wake();
        assert!(keeper.settle(wake, Duration::ZERO));
    }
}

impl TimeSource for Hand {
    fn tick(&self) -> i64 {
        self.boot.load(Ordering::Relaxed)
    }

    fn moment(&self) -> Moment {
        let boot = self.boot.load(Ordering::Relaxed);
        Moment { boot, wall: WALL + boot }
    }

    fn attend(&self, keeper: Weak<dyn Attend>) {
        *self.keeper.lock().expect("no panic") = Some(keeper);
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand").field("boot", &self.boot).finish_non_exhaustive()
    }
}

/// Remembers what was decided, in order. The decision lock orders the calls, so a plain mutex adds no step to the model.
#[derive(Debug, Default)]
pub(crate) struct Told(Plain<Vec<Decided>>);

impl Sink for Told {
    fn decided(&self, decided: Decided) {
        self.0.lock().expect("a sink does not panic").push(decided);
    }
}

impl Told {
    pub(crate) fn transitions(&self) -> Vec<Decided> {
        self.0.lock().expect("a sink does not panic").clone()
    }
}

/// Sessions, with their clock.
#[derive(Debug)]
pub(crate) struct Rig<S: Sink = Told> {
    pub(crate) current: Current<S>,
    pub(crate) clock: Arc<Hand>,
}

pub(crate) fn settings() -> Settings {
    Settings { inactivity_timeout: TIMEOUT, background_timeout: BACKGROUND, max_duration: None }
}

impl Rig {
    /// Sessions of which none has started, at time 0.
    pub(crate) fn new() -> Arc<Self> {
        Self::with(IdSource::Uuid, Told::default())
    }

    /// Sessions of which the first is live, last active at time 0.
    pub(crate) fn started() -> (Arc<Self>, &'static str) {
        let rig = Self::new();
        let first = rig.touch();
        (rig, first)
    }

    /// Every transition so far, after a check of the invariants.
    pub(crate) fn transitions(&self) -> Vec<Decided> {
        let transitions = self.current.sink().transitions();
        check_chain(&transitions);
        transitions
    }

    /// The invariants, and how many sessions started and how many ended.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let transitions = self.transitions();
        let started = transitions.iter().filter(|it| it.transition.started().is_some()).count();
        let ended = transitions.iter().filter(|it| it.transition.ended().is_some()).count();
        (started, ended)
    }
}

impl<S: Sink> Rig<S> {
    pub(crate) fn with(ids: IdSource, sink: S) -> Arc<Self> {
        let clock = Hand::at(0);
        let chain = Chain::new(settings(), None, None);
        let current = Current::new(chain, Source::Given(clock.clone()), ids, Arc::new(LossCounters::default()), sink);
        Arc::new(Self { current, clock })
    }

    /// Notes a signal, and returns the id that it is stamped with.
    pub(crate) fn touch(&self) -> &'static str {
        self.current.touch(true, || None).expect("a session").snapshot.id
    }
}

/// One after the other: start, end, start, end; consecutive numbers; ids that differ; links that hold; times in order.
fn check_chain(transitions: &[Decided]) {
    let mut live: Option<Session> = None;
    let mut last: Option<EndedSession> = None;
    let mut unlinked = true;
    let (mut record, mut index) = (0, 0);
    for decided in transitions {
        if let Some(ended) = decided.transition.ended() {
            let live = live.take().expect("only a live session ends");
            assert_eq!(live.id(), ended.session().id(), "what ends is what started last");
            assert!(live.started_at() <= ended.ended_at());
            unlinked = ended.reason() == EndReason::Ended;
            last = Some(*ended);
            record += 1;
        }
        if let Some(started) = decided.transition.started() {
            assert_eq!(live, None, "a session starts after the end of the one before it");
            let previous = last.filter(|_| !unlinked);
            assert_eq!(started.previous_id(), previous.as_ref().map(|it| it.session().id()));
            assert!(last.is_none_or(|last| last.session().id() != started.id()));
            assert!(last.is_none_or(|last| last.ended_at() <= started.started_at()));
            live = Some(*started);
            record += 1;
            index += 1;
            assert_eq!(started.index(), index);
        }
        assert_eq!(decided.last_record, record, "records are numbered in the order of decisions");
    }
}
