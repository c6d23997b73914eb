//! What is done in the depot but not yet in the store.

use std::collections::BTreeMap;

use super::queue::{Bits, Progress};

/// Chunks to remove from the store, and chunks of which more events are done than the store knows.
#[derive(Debug, Default)]
pub(super) struct Removals {
    removed: Vec<u64>,
    /// By the chunk's number: which of its events are done, and how many it has.
    done: BTreeMap<u64, (Bits, u8)>,
    /// How many events were settled since the last commit.
    events: u64,
    /// When the first of them was: boot time.
    since: i64,
}

impl Removals {
    /// The most settled events that a crash may send again, and for how long, in nanoseconds.
    pub(super) const MOST: u64 = 512;
    pub(super) const LONGEST: i64 = 100_000_000;

    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.done.is_empty()
    }

    /// So many events of a chunk were settled.
    pub(super) fn note(&mut self, chunk: u64, progress: Progress, events: u64, now: i64) {
        if self.is_empty() {
            self.since = now;
        }
        self.events += events;
        match progress {
            Progress::Part(bits, of) => _ = self.done.insert(chunk, (bits, of)),
            Progress::Whole => {
                self.done.remove(&chunk);
                self.removed.push(chunk);
            }
        }
    }

    /// When they must be committed: boot time.
    pub(super) fn due(&self) -> Option<i64> {
        if self.is_empty() {
            None
        } else if self.events > Self::MOST {
            Some(self.since)
        } else {
            Some(self.latest())
        }
    }

    /// When they must be committed, however few or many they are: boot time.
    pub(super) fn latest(&self) -> i64 {
        self.since.saturating_add(Self::LONGEST)
    }

    /// Puts back what could not be committed. What happened since then is newer.
    pub(super) fn restore(&mut self, failed: Self) {
        self.since = if self.is_empty() { failed.since } else { self.since.min(failed.since) };
        self.events += failed.events;
        for (chunk, done) in failed.done {
            if !self.removed.contains(&chunk) {
                self.done.entry(chunk).or_insert(done);
            }
        }
        self.removed.extend(failed.removed);
    }

    pub(super) fn removed(&self) -> &[u64] {
        &self.removed
    }

    /// The bitmaps as a store keeps them.
    pub(super) fn done(&self) -> Vec<(u64, Vec<u8>)> {
        self.done.iter().map(|(chunk, (bits, of))| (*chunk, bits.to_bytes(*of))).collect()
    }
}
