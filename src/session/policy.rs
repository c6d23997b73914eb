//! When a session is over: a function of values, no clock, no lock.

/// The limits of a session. Times are nanoseconds of boot time, so a sleeping machine counts as idle and no step of the
/// wall clock moves a deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long a session may be idle.
    pub(crate) timeout: i64,
    /// The idle window starts here at the earliest: when the session began, or when the application last changed between
    /// foreground and background (a change is not activity, but the time before it is not held against the new timeout).
    pub(crate) window_from: i64,
    /// When the session ends whatever happens; `i64::MAX` for never.
    pub(crate) latest_end: i64,
}

/// Which limit a session reached first, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    Inactivity { deadline: i64 },
    MaxDuration { deadline: i64 },
}

impl Expiry {
    pub(crate) fn deadline(self) -> i64 {
        match self {
            Self::Inactivity { deadline } | Self::MaxDuration { deadline } => deadline,
        }
    }
}

impl Limits {
    /// The limit that a session with this last activity will reach first, if nothing more happens. Where both fall on the
    /// same moment the maximum duration is named, as the idle window is capped by it.
    pub(crate) fn next(&self, last_activity: i64) -> Expiry {
        let idle = last_activity.max(self.window_from).saturating_add(self.timeout);
        if self.latest_end <= idle {
            Expiry::MaxDuration { deadline: self.latest_end }
        } else {
            Expiry::Inactivity { deadline: idle }
        }
    }

    /// The limit that has been reached at `now`, if any. A deadline that falls on `now` has been reached.
    pub(crate) fn reached(&self, last_activity: i64, now: i64) -> Option<Expiry> {
        let next = self.next(last_activity);
        (now >= next.deadline()).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { timeout: 30, window_from: 0, latest_end: 100 };

    #[test]
    fn idle_is_over_exactly_at_the_timeout() {
        assert_eq!(LIMITS.reached(10, 39), None);
        assert_eq!(LIMITS.reached(10, 40), Some(Expiry::Inactivity { deadline: 40 }));
    }

    #[test]
    fn the_limit_reached_first_wins_however_late_it_is_noticed() {
        assert_eq!(LIMITS.reached(60, 1_000), Some(Expiry::Inactivity { deadline: 90 }));
        assert_eq!(LIMITS.reached(80, 1_000), Some(Expiry::MaxDuration { deadline: 100 }));
        assert_eq!(LIMITS.reached(70, 100), Some(Expiry::MaxDuration { deadline: 100 }));
    }

    #[test]
    fn a_change_of_window_gives_a_full_window_but_not_beyond_the_maximum() {
        let later = Limits { window_from: 50, ..LIMITS };
        assert_eq!(later.next(10), Expiry::Inactivity { deadline: 80 });
        let late = Limits { window_from: 90, ..LIMITS };
        assert_eq!(late.next(10), Expiry::MaxDuration { deadline: 100 });
    }

    #[test]
    fn no_sum_overflows() {
        let endless = Limits { timeout: i64::MAX, window_from: 5, latest_end: i64::MAX };
        assert_eq!(endless.reached(i64::MAX - 1, i64::MAX - 1), None);
    }
}
