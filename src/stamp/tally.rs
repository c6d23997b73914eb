//! Counts what went into a batch processor and what came out, without a shared cache line on the way in.
//!
//! Each thread counts in a cell of its own; only reading adds them up. What went in and never came out was dropped by the
//! SDK's full queue, or went with its thread, which an exporter that panics ends; the SDK says nothing of either.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

/// Cells of one tally. Threads beyond that many share the last one, and there the count is atomic.
const CELLS: usize = 64;

#[derive(Debug)]
pub(super) struct Tally {
    emitted: [CachePadded<AtomicU64>; CELLS],
    exported: AtomicU64,
    missing: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            emitted: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(0))),
            exported: AtomicU64::new(0),
            missing: AtomicU64::new(0),
        }
    }
}

impl Tally {
    #[inline]
    pub(super) fn add_emitted(&self) {
        let index = CELL.get();
        if index < CELLS - 1 {
            // Only this thread writes here.
            let cell = &self.emitted[index];
            cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Release);
        } else {
            self.add_shared();
        }
    }

    /// The first count of a thread, and threads without a cell of their own.
    #[cold]
    fn add_shared(&self) {
        if CELL.get() == UNKNOWN {
            let index = OWNED.try_with(|owned| owned.0).unwrap_or(CELLS - 1);
            CELL.set(index);
            if index < CELLS - 1 {
                return self.add_emitted();
            }
        }
        self.emitted[CELLS - 1].fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn emitted(&self) -> u64 {
        self.emitted.iter().map(|cell| cell.load(Ordering::Acquire)).sum()
    }

    pub(super) fn add_exported(&self, count: u64) {
        self.exported.fetch_add(count, Ordering::AcqRel);
    }

    /// Of `emitted` logs, how many are missing in what was exported and were not reported before.
    pub(super) fn newly_missing(&self, emitted: u64) -> u64 {
        let missing = emitted.saturating_sub(self.exported.load(Ordering::Acquire));
        let before = self.missing.fetch_max(missing, Ordering::AcqRel);
        missing.saturating_sub(before)
    }
}

/// Whether whatever was emitted before this flush or shutdown has been exported or dropped by its end. So it is when the
/// SDK's thread has done it, and when that thread has gone.
pub(super) fn nothing_is_on_its_way(flushed: &OTelSdkResult) -> bool {
    matches!(flushed, Ok(()) | Err(OTelSdkError::AlreadyShutdown))
}

/// The cell of a thread that has not asked for one.
const UNKNOWN: usize = usize::MAX;

/// Cells that no living thread owns, as bits.
static FREE: AtomicU64 = AtomicU64::new(u64::MAX);

thread_local! {
    static CELL: Cell<usize> = const { Cell::new(UNKNOWN) };
    static OWNED: Owned = Owned::take();
}

/// A thread's ownership of a cell; given back when the thread ends.
struct Owned(usize);

impl Owned {
    fn take() -> Self {
        let mut free = FREE.load(Ordering::Acquire);
        loop {
            let index = free.trailing_zeros() as usize;
            if index >= CELLS - 1 {
                return Self(CELLS - 1);
            }
            match FREE.compare_exchange_weak(free, free & !(1 << index), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Self(index),
                Err(other) => free = other,
            }
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Logs that later thread-local destructors emit are counted in the shared cell.
        CELL.set(CELLS - 1);
        if self.0 < CELLS - 1 {
            FREE.fetch_or(1 << self.0, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_is_lost_among_more_threads_than_cells() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| (0..1_000).for_each(|_| tally.add_emitted()));
            }
        });
        assert_eq!(tally.emitted(), 100_000);
    }

    #[test]
    fn what_is_missing_is_told_once() {
        let tally = Tally::default();
        (0..10).for_each(|_| tally.add_emitted());
        tally.add_exported(7);
        assert_eq!(tally.newly_missing(tally.emitted()), 3);
        assert_eq!(tally.newly_missing(tally.emitted()), 0);
        tally.add_emitted();
        assert_eq!(tally.newly_missing(tally.emitted()), 1);
    }
}
