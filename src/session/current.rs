//! The current session, for any number of threads: readers are lock-free, decisions are made one at a time.
//!
//! A signal loads one pointer and compares one tick. Only when the tick has changed does it read the boot-time clock and
//! note the activity, and only when the session is over does it take the lock, under which [`Chain`] decides. What was
//! decided is handed to the [`Sink`] before the new session is published, so whoever sees a session finds its records.
//!
//! Failure: the user's id generator runs outside the lock, one call at a time; if it panics, is slower than
//! [`GENERATOR_BOUND`] for the others who wait, or calls back into us, an id of our own is used and counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Chain, Decided};
use super::id::{IdSource, SessionId};
use super::live::{Live, Touched};
use super::snapshot::{EndReason, EndedSession, Session, Snapshot};
use crate::clock::{Moment, Source};
use crate::sync::{Condvar, Mutex, MutexGuard, Published, this_thread};
use crate::telemetry::{Loss, LossCounters};

/// How long a thread waits for another thread's call of the user's id generator.
const GENERATOR_BOUND: Duration = Duration::from_secs(1);

/// Takes what was decided. Called under the decision lock: it must be quick and must not call back.
pub(crate) trait Sink {
    fn decided(&self, decided: Decided);
}

#[derive(Debug)]
pub(crate) struct Current<S> {
    published: Published<Live>,
    chain: Mutex<Chain>,
    id_made: Condvar,
    clock: Source,
    ids: IdSource,
    losses: Arc<LossCounters>,
    sink: S,
}

impl<S: Sink> Current<S> {
    pub(crate) fn new(chain: Chain, clock: Source, ids: IdSource, losses: Arc<LossCounters>, sink: S) -> Self {
        Self {
            published: Published::empty(),
            chain: Mutex::new(chain),
            id_made: Condvar::new(),
            clock,
            ids,
            losses,
            sink,
        }
    }

    pub(crate) fn sink(&self) -> &S {
        &self.sink
    }

    pub(crate) fn clock(&self) -> &Source {
        &self.clock
    }

    /// A signal happened: returns the session that it happens in, starting one if there is none. Only an `active` signal
    /// extends the session. `trigger` tells the signal's own time, and is asked only when a session must start.
    /// None only after [`stop`](Self::stop), if there never was a session.
    #[inline]
    pub(crate) fn touch(&self, active: bool, trigger: impl FnOnce() -> Option<i64>) -> Option<&'static Live> {
        let tick = self.clock.tick();
        if let Some(live) = self.published.load()
            && live.seen(tick, active)
        {
            return Some(live);
        }
        self.touch_at_new_tick(tick, active, trigger)
    }

    #[cold]
    fn touch_at_new_tick(
        &self,
        tick: i64,
        active: bool,
        trigger: impl FnOnce() -> Option<i64>,
    ) -> Option<&'static Live> {
        if let Some(live) = self.published.load() {
            let now = self.clock.moment();
            match live.touch(now, tick, active) {
                Touched::Kept => return Some(live),
                // Decided under the lock.
                Touched::WallBack | Touched::Over => {}
            }
        }
        let trigger = trigger();
        let (mut chain, now) = self.lock_with_id(Chain::needs_session);
        if chain.stopped {
            return chain.last;
        }
        chain.heed_wall(now);
        // Only the one that closes the session may start the next: until it is closed, a signal that read the clock before
        // the deadline may still extend it.
        let ended = chain.end_if_due(now);
        if chain.live.is_none() {
            self.start(&mut chain, now, trigger, ended);
        }
        let live = chain.live?;
        live.touch(now, tick, active);
        Some(live)
    }

    /// Ends the live session now and starts the next; after a stop, returns the last session.
    pub(crate) fn rotate(&self) -> Option<Session> {
        let (mut chain, now) = self.lock_with_id(|chain, _| !chain.stopped);
        if chain.stopped {
            return chain.last.map(|last| Session(&last.snapshot));
        }
        let ended = chain.end_now(now, EndReason::Rotated);
        Some(self.start(&mut chain, now, None, ended))
    }

    /// Starts a session when none is live, as one transition with the end of the one before it.
    fn start(&self, chain: &mut Chain, now: Moment, trigger: Option<i64>, ended: Option<EndedSession>) -> Session {
        let user_ids = matches!(self.ids, IdSource::User(_));
        let session = chain.start(now, trigger, &self.losses, user_ids);
        self.sink.decided(chain.decided(now, ended, Some(session)));
        self.published.store(chain.live);
        session
    }

    /// Ends the live session now; the next one will be unlinked.
    pub(crate) fn end(&self) {
        let mut chain = self.chain.lock();
        let now = self.clock.moment();
        self.end_alone(&mut chain, now, |chain| chain.end_now(now, EndReason::Ended));
        chain.unlink();
    }

    /// Ends the live session if it is due. For the keeper; the next session is linked.
    pub(crate) fn end_if_due(&self) {
        let mut chain = self.chain.lock();
        let now = self.clock.moment();
        self.end_alone(&mut chain, now, |chain| chain.end_if_due(now));
    }

    /// A taker of what is decided goes away: if it `is_last`, the live session ends first; then it is forgotten, and told of
    /// the last session that it knows. Nothing is decided in between, so what it got is balanced. The next signal starts
    /// another session.
    pub(crate) fn leave(&self, is_last: impl FnOnce(&S) -> bool, forget: impl FnOnce(&S, Option<&'static Live>)) {
        let mut chain = self.chain.lock();
        if is_last(&self.sink) {
            let now = self.clock.moment();
            self.end_alone(&mut chain, now, |chain| chain.end_now(now, EndReason::Shutdown));
        }
        forget(&self.sink, chain.live.or(chain.last));
    }

    /// Ends the live session for good: nothing starts any more.
    pub(crate) fn stop(&self) {
        let mut chain = self.chain.lock();
        let now = self.clock.moment();
        self.end_alone(&mut chain, now, |chain| chain.end_now(now, EndReason::Shutdown));
        chain.stopped = true;
    }

    fn end_alone(&self, chain: &mut Chain, now: Moment, end: impl FnOnce(&mut Chain) -> Option<EndedSession>) {
        if let Some(ended) = end(chain) {
            self.sink.decided(chain.decided(now, Some(ended), None));
            self.published.store(None);
        }
    }

    /// The live session; none once it is over. Changes nothing.
    pub(crate) fn peek(&self) -> Option<Session> {
        loop {
            let live = self.published.load()?;
            let now = self.clock.moment();
            if let Some(last) = live.last_activity() {
                return live.limits.reached(last, now.boot).is_none().then_some(Session(&live.snapshot));
            }
            // Closed while being read: whoever closed it holds the lock until the next is published.
            drop(self.chain.lock());
        }
    }

    /// The boot time at which the live session will be due if nothing more happens.
    pub(crate) fn deadline(&self) -> Option<i64> {
        let chain = self.chain.lock();
        let live = chain.live?;
        Some(live.limits.next(live.last_activity()?).deadline())
    }

    pub(crate) fn set_background(&self, background: bool) {
        let mut chain = self.chain.lock();
        let now = self.clock.moment();
        // A session that was over before the change does not come back by it.
        self.end_alone(&mut chain, now, |chain| chain.end_if_due(now));
        chain.set_background(now, background);
        self.published.store(chain.live);
    }

    pub(crate) fn set_user_id(&self, user_id: Option<&str>) {
        let mut chain = self.chain.lock();
        let now = self.clock.moment();
        self.end_alone(&mut chain, now, |chain| chain.end_if_due(now));
        chain.set_user_id(now, user_id);
        self.published.store(chain.live);
    }

    /// The session that a moment of the wall clock belongs to. If that is forgotten, it is the oldest one known, and counted
    /// where the signal `takes` something from it.
    #[inline]
    pub(crate) fn snapshot_at(&self, at: i64, takes: impl FnOnce(&Snapshot) -> bool) -> Option<&'static Snapshot> {
        match self.published.load() {
            Some(live) if at >= live.from => Some(&live.snapshot),
            _ => self.remembered_at(at, takes),
        }
    }

    /// The same for a moment that may lie before the live session.
    #[cold]
    fn remembered_at(&self, at: i64, takes: impl FnOnce(&Snapshot) -> bool) -> Option<&'static Snapshot> {
        let mut chain = self.chain.lock();
        let now = self.clock.moment();
        chain.heed_wall(now);
        let (snapshot, forgotten) = chain.snapshot_at(at)?;
        if forgotten && takes(snapshot) {
            self.losses.add(Loss::HistoryForgotten, 1);
        }
        Some(snapshot)
    }

    /// Runs `f` while no decision can be made, with the live session, as it is and as it began, and the time. One that is over
    /// ends first: whoever comes now must not be told that it began.
    pub(crate) fn frozen<R>(&self, f: impl FnOnce(Option<(&'static Live, &'static Snapshot)>, i64) -> R) -> R {
        let mut chain = self.chain.lock();
        let now = self.clock.moment();
        self.end_alone(&mut chain, now, |chain| chain.end_if_due(now));
        f(chain.live.zip(chain.began), now.wall)
    }

    /// Takes the lock, with an id of the user's generator at hand if `needed` says that one will be used.
    fn lock_with_id(&self, needed: impl Fn(&Chain, Moment) -> bool) -> (MutexGuard<'_, Chain>, Moment) {
        let mut chain = self.chain.lock();
        let IdSource::User(generate) = &self.ids else {
            let now = self.clock.moment();
            return (chain, now);
        };
        loop {
            let now = self.clock.moment();
            if chain.spare_id.is_some() || !needed(&chain, now) {
                return (chain, now);
            }
            match chain.generating {
                None => {
                    chain.generating = Some(this_thread());
                    drop(chain);
                    let id = self.generate(&**generate);
                    chain = self.chain.lock();
                    chain.generating = None;
                    self.id_made.notify_all();
                    if id.is_none() {
                        let now = self.clock.moment();
                        return (chain, now);
                    }
                    chain.spare_id = id;
                }
                // The generator called us: it cannot be waited for.
                Some(thread) if thread == this_thread() => return (chain, now),
                Some(_) => {
                    let (guard, too_long) = self.id_made.wait_at_most(chain, GENERATOR_BOUND);
                    chain = guard;
                    if too_long {
                        let now = self.clock.moment();
                        return (chain, now);
                    }
                }
            }
        }
    }

    /// Calls the user's generator; none if it panicked or returned what is not an id.
    fn generate(&self, generate: &dyn Fn() -> String) -> Option<String> {
        let Ok(id) = catch_unwind(AssertUnwindSafe(generate)) else {
            return None;
        };
        if SessionId::parse(&id).is_err() {
            self.losses.add(Loss::InvalidId, 1);
            return Some(super::id::own_id().to_owned());
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::clock::{Attend, TimeSource};
    use crate::session::chain::Settings;

    /// Time passes with every reading, and the tick only when it is told to.
    #[derive(Debug, Default)]
    struct Coarse {
        tick: AtomicI64,
        readings: AtomicI64,
    }

    impl TimeSource for Coarse {
        fn tick(&self) -> i64 {
            self.tick.load(Ordering::Relaxed)
        }

        fn moment(&self) -> Moment {
            let now = self.readings.fetch_add(1, Ordering::Relaxed);
            Moment { boot: now, wall: now }
        }

        fn attend(&self, _: Weak<dyn Attend>) {}
    }

    #[derive(Debug)]
    struct Nobody;

    impl Sink for Nobody {
        fn decided(&self, _: Decided) {}
    }

    #[test]
    fn within_a_tick_signals_read_no_clock_and_write_nothing() {
        let clock = Arc::new(Coarse::default());
        let settings = Settings { inactivity_timeout: 1_000, background_timeout: 1_000, max_duration: None };
        let source = Source::Given(clock.clone());
        let losses = Arc::new(LossCounters::default());
        let current = Current::new(Chain::new(settings, None, None), source, IdSource::default(), losses, Nobody);
        let seen = |active| {
            let live = current.touch(active, || panic!("nothing starts")).expect("started");
            (clock.readings.load(Ordering::Relaxed), live.last_activity())
        };
        current.touch(true, || None);
        for _ in 0..3 {
            clock.tick.fetch_add(1, Ordering::Relaxed);
            let first = seen(true);
            assert_eq!(first.1, Some(first.0 - 1), "the first of a tick is noted");
            for signal in 0..100 {
                assert_eq!(seen(signal % 2 == 0), first);
            }
        }
    }
}
