//! The live session: an immutable snapshot with its limits, and the one thing that changes, its last activity.
//!
//! Everything a reader needs hangs on one reference that is published at once, so no reader sees the id of one session with
//! the deadline of another. The last activity is part of it: it is *closed* when the session ends, and a touch that comes
//! too late finds it closed instead of reviving the dead.
//!
//! The two ticks keep the shared cache line quiet: within one tick of the coarse clock only the first signal writes.

use super::policy::Limits;
use super::snapshot::Snapshot;
use crate::clock::Moment;
use crate::sync::{AtomicI64, Ordering};

/// In place of a last activity: the session has ended.
const CLOSED: i64 = i64::MAX;
/// In place of a tick: none was seen yet.
const NO_TICK: i64 = i64::MIN;
/// A wall clock that is behind by more than this (nanoseconds, 1 s) was stepped back; less may be slewing.
const STEP: i64 = 1_000_000_000;
/// The offset between the clocks is stored again when it differs by more than the two readings can (nanoseconds).
const JITTER: i64 = 100_000;

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
    /// Wall time minus boot time, as of the last activity.
    offset: AtomicI64,
}

/// What became of a touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    Kept,
    /// The session has ended or must be ended: decide under the lock.
    Over,
    /// The session goes on, but the wall clock was set back.
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
        let offset = self.offset.load(Ordering::Relaxed);
        if offset.saturating_sub(now.offset()) > STEP {
            return Touched::WallBack;
        }
        if active {
            if offset.abs_diff(now.offset()) > JITTER.unsigned_abs() {
                self.offset.store(now.offset(), Ordering::Relaxed);
            }
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

    pub(crate) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    pub(crate) fn set_offset(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// Whether the wall clock was set back since the last activity.
    pub(crate) fn wall_set_back(&self, now: Moment) -> bool {
        self.offset().saturating_sub(now.offset()) > STEP
    }
}
