//! The live session: an immutable snapshot with its limits, and the one thing that changes, its last activity.
//!
//! Everything a reader needs hangs on one reference that is published at once, so no reader sees the id of one session with
//! the deadline of another. The last activity is part of it: it is *closed* when the session ends, and a touch that comes
//! too late finds it closed instead of reviving the dead.
//!
//! The two ticks keep the shared cache line quiet: within one tick of the coarse clock only the first signal writes.

use super::history::is_set_back;
use super::policy::Limits;
use super::snapshot::Snapshot;
use crate::clock::Moment;
use crate::sync::{AtomicI64, Ordering};

/// In place of a last activity: the session has ended.
const CLOSED: i64 = i64::MAX;
/// In place of a tick: none was seen yet.
const NO_TICK: i64 = i64::MIN;

#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) snapshot: Snapshot,
    /// The number of this session's `session.start` among all lifecycle records.
    pub(crate) record: u64,
    /// Moments of the wall clock from here on belong to this session.
    pub(crate) from: i64,
    pub(crate) limits: Limits,
    last_activity: AtomicI64,
    active_tick: AtomicI64,
    seen_tick: AtomicI64,
    /// Wall time minus boot time, as of the last activity: what the end of an idle session is told by.
    offset: AtomicI64,
    /// The same as of what is remembered of the past ([`History::offset`](super::history::History::offset)): what a step
    /// of the wall clock is told by. Not the activity's: a step may come between the two, on either side.
    remembered: AtomicI64,
}

/// What became of a touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    Kept,
    /// The session has ended or must be ended: decide under the lock.
    Over,
    /// The session goes on, but the wall clock was set back to before what is remembered.
    WallBack,
}

impl Live {
    pub(crate) fn new(
        snapshot: Snapshot,
        record: u64,
        from: i64,
        limits: Limits,
        last_activity: i64,
        offset: i64,
        remembered: i64,
    ) -> Self {
        Self {
            snapshot,
            record,
            from,
            limits,
            last_activity: AtomicI64::new(last_activity),
            active_tick: AtomicI64::new(NO_TICK),
            seen_tick: AtomicI64::new(NO_TICK),
            offset: AtomicI64::new(offset),
            remembered: AtomicI64::new(remembered),
        }
    }

    /// Whether this tick was seen before: then the session is live, and its activity is noted as exactly as ever.
    #[inline]
    pub(crate) fn seen(&self, tick: i64, active: bool) -> bool {
        let seen = if active { &self.active_tick } else { &self.seen_tick };
        seen.load(Ordering::Relaxed) == tick
    }

    /// Checks the session against its limits and, if `active`, extends it.
    pub(crate) fn touch(&self, now: Moment, tick: i64, active: bool) -> Touched {
        let mut last = self.last_activity.load(Ordering::Acquire);
        loop {
            if last == CLOSED || self.limits.reached(last, now.boot).is_some() {
                return Touched::Over;
            }
            if !active || now.boot <= last {
                break;
            }
            match self.last_activity.compare_exchange(last, now.boot, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(other) => last = other,
            }
        }
        // Whoever read the clock before the last activity knows nothing newer of the wall clock.
        if active && now.boot >= last {
            self.offset.store(now.offset(), Ordering::Relaxed);
        }
        if is_set_back(self.remembered.load(Ordering::Relaxed), now) {
            return Touched::WallBack;
        }
        if active {
            self.active_tick.store(tick, Ordering::Relaxed);
        }
        self.seen_tick.store(tick, Ordering::Relaxed);
        Touched::Kept
    }

    /// The last activity in boot time; none once closed.
    pub(crate) fn last_activity(&self) -> Option<i64> {
        let last = self.last_activity.load(Ordering::Acquire);
        (last != CLOSED).then_some(last)
    }

    /// Closes the session, if `only_if` holds of its last activity, and returns that. From then on no touch succeeds.
    /// Called under the decision lock, so nobody else closes meanwhile.
    pub(crate) fn close(&self, only_if: impl Fn(i64) -> bool) -> Option<i64> {
        let mut last = self.last_activity.load(Ordering::Acquire);
        loop {
            if last == CLOSED || !only_if(last) {
                return None;
            }
            match self.last_activity.compare_exchange(last, CLOSED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(last),
                Err(other) => last = other,
            }
        }
    }

    /// Wall time minus boot time, as of the last activity.
    pub(crate) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// What was remembered is another past from now on. Called under the decision lock.
    pub(crate) fn set_remembered(&self, offset: i64) {
        self.remembered.store(offset, Ordering::Relaxed);
    }
}
