//! The chain of sessions: how one follows another. Every decision that changes it is made here, under one lock, from values.
//!
//! Invariants:
//! - start ≤ end ≤ next start, on the wall clock, whatever it does;
//! - a session's `previous_id` is the id of the one before it, unless [`unlink`](Chain::unlink) came between;
//! - lifecycle records are numbered in the order in which they were decided: start, end, start, end.

use super::history::{Found, History};
use super::id;
use super::live::Live;
use super::policy::{Expiry, Limits};
use super::snapshot::{EndReason, EndedSession, Session, Snapshot, Transition};
use crate::clock::Moment;
use crate::sync::ThreadId;
use crate::telemetry::{Loss, LossCounters};

/// The limits that sessions are given, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) inactivity_timeout: i64,
    pub(crate) background_timeout: i64,
    pub(crate) max_duration: Option<i64>,
}

/// A decided transition, with what its records need.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) transition: Transition,
    /// The number of the transition's last record.
    pub(crate) last_record: u64,
    /// When it was decided, on the wall clock.
    pub(crate) observed_at: i64,
}

#[derive(Debug)]
pub(crate) struct Chain {
    settings: Settings,
    pub(crate) live: Option<&'static Live>,
    /// The live session as it began, which is what its `session.start` tells.
    pub(crate) began: Option<&'static Snapshot>,
    /// The session that ended last.
    pub(crate) last: Option<&'static Live>,
    /// Whether the next session continues the last.
    linked: bool,
    /// The wall-clock moment from which on everything belongs to the next session.
    boundary: i64,
    /// The next session does not start before this.
    floor: i64,
    index: u64,
    records: u64,
    user_id: Option<&'static str>,
    installation_id: Option<&'static str>,
    background: bool,
    pub(crate) stopped: bool,
    pub(crate) history: History,
    /// An id from the user's generator that no session has used yet.
    pub(crate) spare_id: Option<String>,
    /// The thread that is in the user's generator now.
    pub(crate) generating: Option<ThreadId>,
}

impl Chain {
    pub(crate) fn new(settings: Settings, user_id: Option<&str>, installation_id: Option<&str>) -> Self {
        Self {
            settings,
            live: None,
            began: None,
            last: None,
            linked: false,
            boundary: i64::MIN,
            floor: i64::MIN,
            index: 0,
            records: 0,
            user_id: user_id.map(id::leak),
            installation_id: installation_id.map(id::leak),
            background: false,
            stopped: false,
            history: History::default(),
            spare_id: None,
            generating: None,
        }
    }

    /// Whether the next signal needs a new session.
    pub(crate) fn needs_session(&self, now: Moment) -> bool {
        !self.stopped
            && self.live.is_none_or(|live| {
                live.last_activity().is_none_or(|last| live.limits.reached(last, now.boot).is_some())
            })
    }

    /// Ends the live session if it has reached a limit; its end is what the limit says.
    pub(crate) fn end_if_due(&mut self, now: Moment) -> Option<EndedSession> {
        let live = self.live?;
        let last = live.close(|last| live.limits.reached(last, now.boot).is_some())?;
        let expiry = live.limits.reached(last, now.boot)?;
        let (reason, ended_at) = match expiry {
            Expiry::Inactivity { .. } => (EndReason::Inactivity, last.saturating_add(live.offset())),
            Expiry::MaxDuration { .. } => {
                let max = self.settings.max_duration.unwrap_or(0);
                (EndReason::MaxDuration, live.snapshot.started_at.saturating_add(max))
            }
        };
        let boundary = expiry.deadline().saturating_add(now.offset());
        Some(self.ended(live, now, reason, ended_at, boundary))
    }

    /// Ends the live session now, whatever its limits; if it had reached one before, that is how it ended.
    pub(crate) fn end_now(&mut self, now: Moment, reason: EndReason) -> Option<EndedSession> {
        if let Some(ended) = self.end_if_due(now) {
            return Some(ended);
        }
        let live = self.live?;
        live.close(|_| true)?;
        Some(self.ended(live, now, reason, now.wall, now.wall))
    }

    fn ended(
        &mut self,
        live: &'static Live,
        now: Moment,
        reason: EndReason,
        ended_at: i64,
        boundary: i64,
    ) -> EndedSession {
        let ended_at = ended_at.max(live.snapshot.started_at);
        self.history.close(&live.snapshot, boundary, now);
        self.boundary = boundary;
        self.floor = boundary.max(ended_at);
        (self.live, self.began) = (None, None);
        self.last = Some(live);
        self.linked = true;
        self.records += 1;
        EndedSession { session: Session(&live.snapshot), reason, ended_at }
    }

    /// The next session will not continue the last one.
    pub(crate) fn unlink(&mut self) {
        self.linked = false;
    }

    /// Starts a session, at its trigger's own time if that lies before now, never before the old deadline; now, if it would
    /// be over by then.
    pub(crate) fn start(
        &mut self,
        now: Moment,
        trigger: Option<i64>,
        losses: &LossCounters,
        user_ids: bool,
    ) -> Session {
        self.heed_wall(now);
        let previous_id = if self.linked { self.last.map(|last| last.snapshot.id) } else { None };
        let id = self.take_id(losses, user_ids);
        // A trigger without a real time (0 is what a record without one is exported with) says nothing.
        let own_time = trigger.filter(|time| *time > 0).unwrap_or(now.wall);
        let (started_at, latest_end) = self.start_and_latest_end(now, own_time);
        self.index += 1;
        self.records += 1;
        let snapshot = Snapshot {
            id,
            previous_id,
            started_at,
            index: self.index,
            user_id: self.user_id,
            installation_id: self.installation_id,
        };
        let limits = Limits { timeout: self.timeout(), window_from: now.boot, latest_end };
        let remembered = self.history.offset();
        let live = Live::new(snapshot, self.records, self.boundary, limits, now.boot, now.offset(), remembered);
        let live = publishable(live);
        self.live = Some(live);
        self.began = Some(&live.snapshot);
        self.linked = true;
        Session(&live.snapshot)
    }

    /// When a session that is triggered now by something of `own_time` starts, on the wall clock, and its latest end, in boot
    /// time. The maximum duration must not end it before anything was done in it: a record's own time, which may be any,
    /// would then decide on expiry, and each record of a replayed log would be a session of its own.
    fn start_and_latest_end(&self, now: Moment, own_time: i64) -> (i64, i64) {
        let started_at = own_time.min(now.wall).max(self.floor);
        let Some(max) = self.settings.max_duration else { return (started_at, i64::MAX) };
        // Where the wall clock was set back, the start lies ahead of it; the maximum counts from now all the same.
        let started_boot = started_at.saturating_sub(now.offset()).min(now.boot);
        match started_boot.saturating_add(max) {
            // Nothing is lost of the order: the floor lies before the start that was too early.
            over if over <= now.boot => (now.wall, now.boot.saturating_add(max)),
            latest_end => (started_at, latest_end),
        }
    }

    /// A valid id that differs from the last session's.
    fn take_id(&mut self, losses: &LossCounters, user_ids: bool) -> &'static str {
        let last = self.last.map(|last| last.snapshot.id);
        match self.spare_id.take() {
            Some(given) if last != Some(given.as_str()) => id::leak(&given),
            Some(_) => {
                losses.add(Loss::InvalidId, 1);
                id::own_id()
            }
            None => {
                // Only when the user's generator was called and had nothing to give in time.
                if user_ids {
                    losses.add(Loss::IdGenerator, 1);
                }
                id::own_id()
            }
        }
    }

    fn timeout(&self) -> i64 {
        if self.background { self.settings.background_timeout } else { self.settings.inactivity_timeout }
    }

    /// The application went to the background or came back: from now on the other timeout counts, from now.
    pub(crate) fn set_background(&mut self, now: Moment, background: bool) {
        if self.background == background {
            return;
        }
        self.background = background;
        let timeout = self.timeout();
        self.replace_live(|live| {
            let limits = Limits { timeout, window_from: now.boot, ..live.limits };
            (live.snapshot, live.from, limits)
        });
    }

    /// Signals from now on belong to another user, or to none.
    pub(crate) fn set_user_id(&mut self, now: Moment, user_id: Option<&str>) {
        if self.user_id == user_id {
            return;
        }
        self.user_id = user_id.map(id::leak);
        let user_id = self.user_id;
        if let Some(live) = self.live {
            self.history.close(&live.snapshot, now.wall, now);
        }
        self.replace_live(|live| (Snapshot { user_id, ..live.snapshot }, now.wall, live.limits));
    }

    /// Puts the same session under other values; readers see all of the old or all of the new.
    fn replace_live(&mut self, change: impl FnOnce(&Live) -> (Snapshot, i64, Limits)) {
        let Some(live) = self.live else { return };
        let Some(last) = live.close(|_| true) else { return };
        let (snapshot, from, limits) = change(live);
        let remembered = self.history.offset();
        let live = Live::new(snapshot, live.record, from, limits, last, live.offset(), remembered);
        self.live = Some(publishable(live));
    }

    /// If the wall clock was set back, what is remembered of before would answer for times that come again.
    pub(crate) fn heed_wall(&mut self, now: Moment) {
        if !self.history.heed(now) {
            return;
        }
        match self.live {
            Some(live) => live.set_remembered(self.history.offset()),
            // The times to come lie before the old boundary, and are not the old session's.
            None => self.boundary = self.boundary.min(now.wall),
        }
    }

    /// The snapshot that a moment of the wall clock belongs to, and whether it lies before what is remembered.
    pub(crate) fn snapshot_at(&self, at: i64) -> Option<(&'static Snapshot, bool)> {
        match self.history.at(at) {
            Found::Known(snapshot) => Some((snapshot, false)),
            Found::Forgotten(snapshot) => Some((snapshot, true)),
            Found::Later => self.live.or(self.last).map(|live| (&live.snapshot, false)),
        }
    }

    pub(crate) fn decided(&self, now: Moment, ended: Option<EndedSession>, started: Option<Session>) -> Decided {
        Decided { transition: Transition { ended, started }, last_record: self.records, observed_at: now.wall }
    }
}

/// Process-wide sessions live as long as the process: readers on the hot path then need no count and no lock.
fn publishable(live: Live) -> &'static Live {
    Box::leak(Box::new(live))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::live::Touched;

    #[test]
    fn once_a_step_back_is_noticed_signals_need_no_lock_any_more() {
        const HOUR: i64 = 3_600_000_000_000;
        let settings = Settings { inactivity_timeout: HOUR, background_timeout: HOUR, max_duration: None };
        let losses = LossCounters::default();
        let mut chain = Chain::new(settings, None, None);
        let before = Moment { boot: 0, wall: 10 * HOUR };
        chain.start(before, None, &losses, false);
        chain.end_now(before, EndReason::Rotated);
        chain.start(before, None, &losses, false);
        let back = Moment { boot: 1, wall: 9 * HOUR };
        let live = chain.live.expect("started");
        assert_eq!(live.touch(back, 1, true), Touched::WallBack);
        chain.heed_wall(back);
        assert_eq!(live.touch(back, 1, true), Touched::Kept);
        assert!(live.seen(1, true));
    }
}
