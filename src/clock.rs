//! Time, in the three kinds that sessions need. The only file that reads a clock.
//!
//! | kind | used for | unit |
//! |---|---|---|
//! | wall | times on records, "which session at time t" | ns since 1970, signed |
//! | boot | timeouts: it goes on while the machine sleeps and no step of the wall clock moves it | ns, signed |
//! | tick | the hot path: a cheap number that differs whenever time has moved by more than its resolution | opaque |
//!
//! On Linux and Android the tick is `CLOCK_MONOTONIC_COARSE` (resolution 1 to 10 ms, some 4 ns a read) and boot time is
//! `CLOCK_BOOTTIME`. Elsewhere both come from [`std::time::Instant`], which may stand still while the machine sleeps:
//! there a session that slept through its timeout ends one timeout after waking.
#![allow(clippy::disallowed_methods)] // the ban on clocks elsewhere is what makes this the only file

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A source of time for [`Sessions`](crate::Sessions): [`SystemClock`], or `ManualClock` of the feature `testing`.
///
/// The trait is sealed: expiry depends on three clocks that move together in ways that are easy to get wrong.
pub trait Clock: sealed::Sealed + Debug + Send + Sync + 'static {
    #[doc(hidden)]
    fn into_source(self) -> Source
    where
        Self: Sized;
}

/// The clocks of the operating system; the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl sealed::Sealed for SystemClock {}

impl Clock for SystemClock {
    fn into_source(self) -> Source {
        Source::System
    }
}

/// Where time comes from. The system's clocks are a variant of their own so that the hot path calls no virtual function.
#[derive(Debug, Clone)]
#[doc(hidden)]
#[non_exhaustive]
pub enum Source {
    System,
    Given(Arc<dyn TimeSource>),
}

/// What a clock that is not the system's must tell.
#[doc(hidden)]
pub trait TimeSource: Debug + Send + Sync {
    fn tick(&self) -> i64;
    fn moment(&self) -> Moment;
    /// Told of every keeper that lives by this clock, so that moving the clock wakes it.
    fn attend(&self, keeper: std::sync::Weak<dyn Attend>);
}

/// A keeper, as a clock sees it.
#[doc(hidden)]
pub trait Attend: Send + Sync {
    /// Wakes the keeper; what it returned is awaited by [`settle`](Attend::settle).
    fn wake(&self) -> u64;
    /// Waits until everything due at the wake is done, at most `bound`; at once where the keeper waits for this
    /// very thread.
    fn settle(&self, wake: u64, bound: Duration) -> bool;
}

/// One reading of the wall clock and the boot-time clock, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub struct Moment {
    pub boot: i64,
    pub wall: i64,
}

impl Moment {
    /// How far the wall clock is ahead of boot time; it changes only when the wall clock is stepped or slewed.
    pub(crate) fn offset(self) -> i64 {
        self.wall.saturating_sub(self.boot)
    }
}

impl Source {
    #[inline]
    pub(crate) fn tick(&self) -> i64 {
        match self {
            Source::System => system::tick(),
            Source::Given(source) => source.tick(),
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        match self {
            Source::System => system_moment(),
            Source::Given(source) => source.moment(),
        }
    }

    /// How long a keeper may really park when `remaining` nanoseconds of boot time are left: never more than a minute,
    /// since parked threads do not count the time that the machine sleeps; without limit when the clock wakes it.
    pub(crate) fn park(&self, remaining: Option<i64>) -> Duration {
        const LONGEST: Duration = Duration::from_secs(60);
        match (self, remaining) {
            (Source::System, Some(remaining)) => {
                Duration::from_nanos(u64::try_from(remaining).unwrap_or(0)).min(LONGEST)
            }
            (Source::System, None) | (Source::Given(_), _) => LONGEST,
        }
    }
}

/// Reads boot, wall, boot until the two boot readings are close: a thread that is descheduled between the readings must
/// not be mistaken for a step of the wall clock.
fn system_moment() -> Moment {
    const CLOSE: i64 = 50_000;
    const TRIES: u32 = 4;
    let mut before = system::boot();
    for _ in 0..TRIES {
        let wall = to_nanos(SystemTime::now());
        let after = system::boot();
        if after - before <= CLOSE {
            return Moment { boot: after, wall };
        }
        before = after;
    }
    Moment { boot: system::boot(), wall: to_nanos(SystemTime::now()) }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::time::{ClockId, clock_gettime};

    #[inline]
    pub(super) fn tick() -> i64 {
        nanos(ClockId::MonotonicCoarse)
    }

    pub(super) fn boot() -> i64 {
        nanos(ClockId::Boottime)
    }

    #[inline]
    fn nanos(clock: ClockId) -> i64 {
        let time = clock_gettime(clock);
        (time.tv_sec as i64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as i64)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::sync::OnceLock;
    use std::time::Instant;

    pub(super) fn tick() -> i64 {
        // A millisecond is coarse enough to keep the shared cache line quiet.
        boot() / 1_000_000
    }

    pub(super) fn boot() -> i64 {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let origin = *ORIGIN.get_or_init(Instant::now);
        i64::try_from(origin.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

/// Nanoseconds since 1970; times outside 1677 to 2262 are held at the ends of that range.
#[inline]
pub(crate) fn to_nanos(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => duration_nanos(after),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

/// The inverse of [`to_nanos`].
pub(crate) fn to_system_time(nanos: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    let time = if nanos >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A duration as signed nanoseconds, held at the end of the range. Without 128-bit numbers: it stands on the hot path.
#[inline]
pub(crate) fn duration_nanos(duration: Duration) -> i64 {
    let seconds = i64::try_from(duration.as_secs()).ok().and_then(|seconds| seconds.checked_mul(1_000_000_000));
    seconds.and_then(|nanos| nanos.checked_add(i64::from(duration.subsec_nanos()))).unwrap_or(i64::MAX)
}

pub(crate) mod sealed {
    /// Keeps [`Clock`](super::Clock) ours to extend.
    pub trait Sealed {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_parks_until_its_deadline_and_no_longer_than_a_minute() {
        let park = |remaining| Source::System.park(remaining);
        assert_eq!((park(Some(5)), park(Some(-5))), (Duration::from_nanos(5), Duration::ZERO));
        for long in [Some(60_000_000_001), Some(i64::MAX), None] {
            assert_eq!(park(long), Duration::from_secs(60), "a thread that is parked does not see the machine sleep");
        }
    }
}
