//! Time under your control, to test your own sessions without sleeping.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use otel_session::Sessions;
//! use otel_session::testing::ManualClock;
//!
//! let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
//! let sessions = Sessions::builder().with_clock(clock.clone()).build()?;
//! let first = sessions.record_activity();
//! assert!(clock.advance(Duration::from_secs(30 * 60)));
//! assert!(sessions.current().is_none());
//! assert_eq!(sessions.record_activity().previous_id(), Some(first.id()));
//! # Ok::<(), otel_session::BuildError>(())
//! ```

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLogRecord};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::clock::{Attend, Clock, Moment, Source, TimeSource, duration_nanos, sealed, to_nanos, to_system_time};
use crate::sync::{AtomicI64, Mutex, Ordering};

/// How long a move of the clock waits for what falls due by it.
const SETTLE: Duration = Duration::from_secs(5);

/// Where boot time stops, after some 292 years, in nanoseconds: the last number of all means that a session has ended.
const END_OF_TIME: i64 = i64::MAX - 1;

/// A clock that stands still until it is told to move. Clones are the same clock.
///
/// The SDK stamps spans and logs with the real clock: give them explicit times where the time matters.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Differs after every move.
    moves: AtomicI64,
    moment: Mutex<Moment>,
    keepers: Mutex<Keepers>,
}

#[derive(Default)]
struct Keepers(Vec<Weak<dyn Attend>>);

impl std::fmt::Debug for Keepers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keepers").field(&self.0.len()).finish()
    }
}

impl ManualClock {
    /// A clock whose wall time is `wall`.
    #[must_use]
    pub fn new(wall: SystemTime) -> Self {
        let moment = Moment { boot: 0, wall: to_nanos(wall) };
        Self(Arc::new(Shared {
            moves: AtomicI64::new(0),
            moment: Mutex::new(moment),
            keepers: Mutex::new(Keepers::default()),
        }))
    }

    /// The wall time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        to_system_time(self.0.moment.lock().wall)
    }

    /// Time passes: wall, monotonic and boot time move. Returns true once the records and observers of everything that fell
    /// due are done, false if that takes more than 5 s. In an observer, and elsewhere on the keeper
    /// thread, it returns at once.
    /// `advance(Duration::ZERO)` only waits for what is pending.
    pub fn advance(&self, duration: Duration) -> bool {
        self.suspend(duration);
        self.settle()
    }

    /// The machine sleeps: wall and boot time move, monotonic time does not, and no thread is woken.
    pub fn suspend(&self, duration: Duration) {
        let nanos = duration_nanos(duration);
        self.change(|moment| {
            moment.boot = moment.boot.saturating_add(nanos).min(END_OF_TIME);
            moment.wall = moment.wall.saturating_add(nanos);
        });
    }

    /// The wall clock alone jumps, forward or back.
    pub fn step_wall(&self, to: SystemTime) {
        self.change(|moment| moment.wall = to_nanos(to));
    }

    fn change(&self, change: impl FnOnce(&mut Moment)) {
        let mut moment = self.0.moment.lock();
        change(&mut moment);
        self.0.moves.fetch_add(1, Ordering::AcqRel);
    }

    fn settle(&self) -> bool {
        let keepers: Vec<Arc<dyn Attend>> = {
            let mut keepers = self.0.keepers.lock();
            keepers.0.retain(|keeper| keeper.strong_count() > 0);
            keepers.0.iter().filter_map(Weak::upgrade).collect()
        };
        let woken: Vec<u64> = keepers.iter().map(|keeper| keeper.wake()).collect();
        keepers.iter().zip(woken).all(|(keeper, wake)| keeper.settle(wake, SETTLE))
    }
}

impl sealed::Sealed for ManualClock {}

impl Clock for ManualClock {
    fn into_source(self) -> Source {
        Source::Given(self.0)
    }
}

impl TimeSource for Shared {
    fn tick(&self) -> i64 {
        self.moves.load(Ordering::Acquire)
    }

    fn moment(&self) -> Moment {
        *self.moment.lock()
    }

    fn attend(&self, keeper: Weak<dyn Attend>) {
        self.keepers.lock().0.push(keeper);
    }
}

/// A log exporter that keeps what it is given, also after the provider's shutdown. Clones share what they keep.
#[derive(Debug, Clone, Default)]
pub struct CapturedLogs(Arc<Mutex<Vec<(SdkLogRecord, InstrumentationScope)>>>);

impl CapturedLogs {
    /// Everything exported so far, in order, lifecycle records included.
    #[must_use]
    pub fn records(&self) -> Vec<SdkLogRecord> {
        self.0.lock().iter().map(|(record, _)| record.clone()).collect()
    }

    /// The same with the instrumentation scope of each record.
    #[must_use]
    pub fn scoped_records(&self) -> Vec<(SdkLogRecord, InstrumentationScope)> {
        self.0.lock().clone()
    }
}

impl LogExporter for CapturedLogs {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.0.lock().extend(batch.iter().map(|(record, scope)| (record.clone(), scope.clone())));
        Ok(())
    }
}

/// A span exporter that keeps what it is given, also after the provider's shutdown. Clones share what they keep.
#[derive(Debug, Clone, Default)]
pub struct CapturedSpans(Arc<Mutex<Vec<SpanData>>>);

impl CapturedSpans {
    /// Everything exported so far, in order.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanData> {
        self.0.lock().clone()
    }
}

impl SpanExporter for CapturedSpans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().extend(batch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keeper that is never done.
    #[derive(Default)]
    struct Busy(Mutex<Vec<(u64, Duration)>>);

    impl Attend for Busy {
        fn wake(&self) -> u64 {
            7
        }

        fn settle(&self, wake: u64, bound: Duration) -> bool {
            self.0.lock().push((wake, bound));
            false
        }
    }

    #[test]
    fn the_clock_moves_and_is_false_where_a_keeper_is_not_done_within_five_seconds() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        assert!(clock.advance(Duration::ZERO), "there is nobody to wait for");
        let busy = Arc::new(Busy::default());
        let keeper: Arc<dyn Attend> = busy.clone();
        clock.0.attend(Arc::downgrade(&keeper));
        assert!(!clock.advance(Duration::from_secs(1)));
        assert_eq!(*busy.0.lock(), [(7, Duration::from_secs(5))]);
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    }
}
