//! Which session a moment of the past belongs to.
//!
//! The boundary between two sessions is the deadline of the older one: times between a deadline and the next start belong
//! to the next session, and times before the first session to the first.
//!
//! A session is one stretch, or several if its user changed.
//!
//! Bounds: at least [`KEPT`] sessions and all that closed within the last [`YOUNG`] nanoseconds are kept, at most [`MOST`] of
//! them, in at most twice as many stretches. Beyond that the oldest changes of users are forgotten, never a session for them.
//! A moment before what is kept gets the oldest entry, one whose user is forgotten the oldest known of its session, and the
//! caller is told so that it can be counted.
//!
//! Stretches are told by the wall clock. Once that is set back, the same time may name two moments, and everything is
//! discarded. It is compared with the clock as it was when the last stretch closed: steps since then that cancel each
//! other out make nothing ambiguous, and small ones that add up do. The ends of stretches never run backwards.

use std::collections::VecDeque;

use super::snapshot::Snapshot;
use crate::clock::Moment;

/// Sessions that are kept whatever their age.
const KEPT: usize = 64;
/// Stretches younger than this (nanoseconds, 60 s) are kept, up to [`MOST`].
const YOUNG: i64 = 60_000_000_000;
/// The most sessions ever kept.
const MOST: usize = 65_536;
/// The most stretches ever kept. With room for one more of each session, those to spare are so many that looking for them
/// is rare.
const MOST_STRETCHES: usize = 2 * MOST;
/// A wall clock that is behind by more than this (nanoseconds, 1 s) was stepped back; less may be slewing.
const STEP: i64 = 1_000_000_000;
/// In place of an offset: nothing is remembered that a step could make ambiguous.
const NOTHING: i64 = i64::MIN;

/// Whether the wall clock is behind what it was when it was ahead of boot time by `offset`.
pub(super) fn is_set_back(offset: i64, now: Moment) -> bool {
    offset.saturating_sub(now.offset()) > STEP
}

/// Closed stretches of time, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    stretches: VecDeque<Stretch>,
    /// How many sessions the stretches belong to.
    sessions: usize,
    /// Where the newest stretch that was forgotten ended, on the wall clock.
    forgotten_until: Option<i64>,
    /// Wall time minus boot time when the newest stretch closed.
    offset: i64,
}

impl Default for History {
    fn default() -> Self {
        Self { stretches: VecDeque::new(), sessions: 0, forgotten_until: None, offset: NOTHING }
    }
}

/// A stretch of wall time that belonged to one snapshot; it begins where the one before it ends.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    until: i64,
    closed_boot: i64,
    snapshot: &'static Snapshot,
    /// Before this, on the wall clock, the session had another user, who is forgotten.
    user_from: i64,
}

/// What the history says of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The snapshot that the moment belonged to.
    Known(&'static Snapshot),
    /// The moment, or the user it had, lies before what is remembered; this is the oldest snapshot known.
    Forgotten(&'static Snapshot),
    /// The moment lies after every closed stretch.
    Later,
}

impl History {
    /// Notes that `snapshot`'s stretch ended at `until` on the wall clock.
    pub(crate) fn close(&mut self, snapshot: &'static Snapshot, until: i64, now: Moment) {
        self.heed(now);
        self.offset = now.offset();
        // A step back that is too small to discard anything must not break the order that the search relies on.
        let until = self.newest().map_or(until, |newest| newest.max(until));
        let now = now.boot;
        let same_session = |stretch: Option<&Stretch>| stretch.is_some_and(|it| it.snapshot.index == snapshot.index);
        self.sessions += usize::from(!same_session(self.stretches.back()));
        self.stretches.push_back(Stretch { until, closed_boot: now, snapshot, user_from: i64::MIN });
        if self.stretches.len() > MOST_STRETCHES {
            self.forget_users();
        }
        while let Some(oldest) = self.stretches.front().copied() {
            let old = now.saturating_sub(oldest.closed_boot) >= YOUNG;
            if self.sessions <= MOST && !(old && self.sessions > KEPT) {
                break;
            }
            self.forgotten_until = Some(oldest.until);
            self.stretches.pop_front();
            let next = self.stretches.front();
            self.sessions -= usize::from(next.is_none_or(|next| next.snapshot.index != oldest.snapshot.index));
        }
    }

    /// Which snapshot the wall-clock moment `at` belongs to.
    pub(crate) fn at(&self, at: i64) -> Found {
        let Some(oldest) = self.stretches.front() else { return Found::Later };
        if self.forgotten_until.is_some_and(|until| at < until) {
            return Found::Forgotten(oldest.snapshot);
        }
        let index = self.stretches.partition_point(|stretch| stretch.until <= at);
        match self.stretches.get(index) {
            None => Found::Later,
            Some(stretch) if at < stretch.user_from => Found::Forgotten(stretch.snapshot),
            Some(stretch) => Found::Known(stretch.snapshot),
        }
    }

    /// Gives the older half of the stretches that a session does not need to the next one of the same session.
    fn forget_users(&mut self) {
        let mut to_forget = self.stretches.len().saturating_sub(self.sessions).div_ceil(2);
        let mut kept = VecDeque::with_capacity(self.stretches.len());
        let mut pending: Option<Stretch> = None;
        for mut stretch in std::mem::take(&mut self.stretches) {
            match pending.replace(stretch) {
                Some(before) if to_forget > 0 && before.snapshot.index == stretch.snapshot.index => {
                    to_forget -= 1;
                    stretch.user_from = before.until;
                    pending = Some(stretch);
                }
                before => kept.extend(before),
            }
        }
        kept.extend(pending);
        self.stretches = kept;
    }

    /// Forgets everything if the wall clock was set back; returns whether it was.
    pub(crate) fn heed(&mut self, now: Moment) -> bool {
        // Steps that are each too small may also come with a stretch each.
        let behind = self.newest().is_some_and(|newest| newest.saturating_sub(now.wall) > STEP);
        let set_back = behind || is_set_back(self.offset, now);
        if set_back {
            *self = Self::default();
        }
        set_back
    }

    /// Where the newest stretch ended, on the wall clock.
    fn newest(&self) -> Option<i64> {
        self.stretches.back().map(|stretch| stretch.until)
    }

    /// Wall time minus boot time as of what is remembered, to tell steps of the wall clock by.
    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(index: u64) -> &'static Snapshot {
        Box::leak(Box::new(Snapshot {
            id: "id",
            previous_id: None,
            started_at: 0,
            index,
            user_id: None,
            installation_id: None,
        }))
    }

    /// The clocks agree.
    fn boot(boot: i64) -> Moment {
        Moment { boot, wall: boot }
    }

    fn index(found: Found) -> Option<u64> {
        match found {
            Found::Known(snapshot) => Some(snapshot.index),
            Found::Forgotten(_) | Found::Later => None,
        }
    }

    #[test]
    fn a_moment_belongs_to_the_first_stretch_that_ends_after_it() {
        let mut history = History::default();
        assert_eq!(history.at(5), Found::Later);
        history.close(snapshot(1), 10, boot(0));
        history.close(snapshot(2), 20, boot(0));
        assert_eq!(index(history.at(i64::MIN)), Some(1));
        assert_eq!(index(history.at(9)), Some(1));
        assert_eq!(index(history.at(10)), Some(2));
        assert_eq!(history.at(20), Found::Later);
    }

    #[test]
    fn sixty_four_old_stretches_and_every_young_one_are_kept() {
        let mut history = History::default();
        for n in 0..100 {
            history.close(snapshot(n), n as i64 + 1, boot(0));
        }
        assert_eq!(index(history.at(0)), Some(0), "all are young");
        history.close(snapshot(100), 101, boot(YOUNG));
        assert_eq!(history.stretches.len(), KEPT);
        assert!(matches!(history.at(0), Found::Forgotten(oldest) if oldest.index == 37));
        assert_eq!(index(history.at(37)), Some(37));
    }

    #[test]
    fn changes_of_the_user_use_up_no_session() {
        let mut history = History::default();
        history.close(snapshot(1), 10, boot(0));
        for n in 0..200 {
            history.close(snapshot(2), 11 + n, boot(YOUNG * n));
        }
        assert_eq!(index(history.at(9)), Some(1));
        for n in 3..=65 {
            history.close(snapshot(n), 300 + n as i64, boot(YOUNG * 300));
        }
        assert_eq!(history.sessions, 64, "the first has gone");
        assert_eq!(history.stretches.len(), 200 + 63);
        assert!(matches!(history.at(9), Found::Forgotten(oldest) if oldest.index == 2));
    }

    #[test]
    fn beyond_the_bound_the_oldest_users_are_forgotten_and_no_session() {
        let mut history = History::default();
        let one_before = snapshot(1);
        history.close(one_before, 10, boot(0));
        let users: Vec<_> = (0..MOST_STRETCHES as i64).map(|_| snapshot(2)).collect();
        for (n, user) in (11..).zip(&users) {
            history.close(user, n, boot(0));
        }
        assert_eq!((history.sessions, history.stretches.len()), (2, MOST + 1));
        let last = MOST_STRETCHES as i64 - 1;
        assert_eq!(index(history.at(9)), Some(1));
        assert!(matches!(history.at(10), Found::Forgotten(snapshot) if snapshot.index == 2));
        assert!(matches!(history.at(10 + MOST as i64 - 1), Found::Forgotten(snapshot) if snapshot.index == 2));
        for exact in [MOST as i64, last] {
            let known = history.at(10 + exact);
            assert!(matches!(known, Found::Known(snapshot) if std::ptr::eq(snapshot, users[exact as usize])));
        }
        assert_eq!(history.at(11 + last), Found::Later);
        for n in 12 + last..1_000_000 {
            history.close(one_before, n, boot(0));
        }
        assert!(history.stretches.len() <= MOST_STRETCHES);
        assert_eq!((index(history.at(9)), history.sessions), (Some(1), 3));
    }

    #[test]
    fn never_more_than_the_bound_is_kept() {
        let mut history = History::default();
        for n in 0..70_000 {
            history.close(snapshot(n), n as i64, boot(0));
        }
        assert_eq!((history.sessions, history.stretches.len()), (MOST, MOST));
    }
}
