//! Where accepted events wait until they are delivered.
//!
//! ```text
//! export() ─ accept ─> ┌ Depot ───────────────────────────────┐ ─ take ──> delivery threads
//!                      │ queue per collector: chunks in order  │ <─ settle ─ delivered, dropped, again
//!                      │ limits, what is in flight, removals   │
//!                      └── one commit ─> OutboxStore ─ SQLite ─┘
//! ```
//!
//! - Accepted means committed: nothing of a batch is sent before its commit, and a failed commit changes nothing.
//! - A queue is sent in the order of acceptance. What is put back after a failed attempt takes its old place.
//! - An event leaves by being settled, or by one of the counted drops: `outbox_full`, `outbox_age`, `outbox_error`.
//!   Events in flight are never dropped.
//! - The byte limit counts whole chunks with all that is kept about them, since memory and disk get nothing back before
//!   the last event of a chunk is gone.
//! - A crash between delivery and removal sends an event a second time, with the same id. Removals wait for the next
//!   commit, for 512 events or for 100 ms, whichever comes first; a failed one stops sending until a commit succeeds. While a
//!   batch is in the making they are committed without waiting for the disk: its commit does, or one of nothing 100 ms later.
//!
//! The memory outbox has no store; what waits there at the end of the process is lost and counted.

mod blocked;
#[allow(dead_code, reason = "each bridge calls a part of it")]
mod depot;
mod error;
#[allow(dead_code, reason = "each bridge calls a part of it")]
mod parcel;
mod queue;
mod removals;
mod room;
mod spare;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
#[allow(dead_code, reason = "each bridge calls a part of it")]
mod under_way;

use std::time::Duration;

pub(crate) use depot::Depot;
pub use error::OutboxError;
pub(crate) use parcel::{Balance, Outcome, Parcel, Ticket, Want};
#[cfg(feature = "sqlite")]
pub use sqlite::Synchronous;
pub use store::{Commit, Opened, OutboxStore, StateRow, Stored};

use crate::BuildError;
use crate::clock::duration_nanos;

/// Where a bridge keeps the events that it has accepted until they are delivered.
///
/// | | memory | SQLite, or a store of your own |
/// |---|---|---|
/// | survives a crash | no | yes |
/// | [size limit](Self::with_max_bytes) | 64 MiB | 1 GiB |
/// | [age limit](Self::with_max_age) | 30 days | 30 days |
/// | [when full](Self::with_overflow) | the oldest go | the oldest go |
///
/// ```
/// use std::time::Duration;
/// use otel_session::export::{Outbox, Overflow};
///
/// let outbox = Outbox::memory()
///     .with_max_bytes(16 * 1024 * 1024)
///     .with_max_age(Duration::from_secs(24 * 60 * 60))
///     .with_overflow(Overflow::DropNewest);
/// ```
#[derive(Debug)]
#[must_use = "give it to `with_outbox`"]
pub struct Outbox {
    store: Option<Box<dyn OutboxStore>>,
    /// It is a SQLite file, which events may have to say.
    sqlite: bool,
    max_events: Option<u64>,
    max_bytes: Option<u64>,
    max_age: Duration,
    overflow: Overflow,
    misplaced: Option<(&'static str, String)>,
}

/// What an outbox that is full does with new events. Both are counted as [`Loss::OutboxFull`](crate::Loss::OutboxFull), and so
/// is an event larger than all the room there is, for which none is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest events make room, except those being sent at the moment; the default.
    #[default]
    DropOldest,
    /// The new events are dropped.
    DropNewest,
}

impl Outbox {
    /// An outbox in memory: fast, and gone with the process. The default of the bridges.
    pub fn memory() -> Self {
        Self::of(None)
    }

    /// An outbox in a durable store of your own.
    pub fn custom(store: impl OutboxStore) -> Self {
        Self::of(Some(Box::new(store)))
    }

    fn of(store: Option<Box<dyn OutboxStore>>) -> Self {
        Self {
            store,
            sqlite: false,
            max_events: None,
            max_bytes: None,
            max_age: Duration::from_secs(30 * 24 * 60 * 60),
            overflow: Overflow::default(),
            misplaced: None,
        }
    }

    /// How many events may wait for each collector; at least 1. Default: no limit but that of the bytes.
    pub fn with_max_events(mut self, events: u64) -> Self {
        self.max_events = Some(events);
        self
    }

    /// How many bytes the waiting events may take, with everything that is kept about them; at least 1. Several collectors
    /// have equal shares, so that one that is down costs the others nothing. Default: 64 MiB in memory, 1 GiB otherwise.
    ///
    /// In memory this is the memory that the events really take. A durable store counts
    /// them as they are sent, not as they are packed; see `Outbox::sqlite` for the size that its file can reach.
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// How long an event may wait for its delivery; more than zero. Default: 30 days. What is older is dropped and counted
    /// as [`Loss::OutboxAge`](crate::Loss::OutboxAge).
    pub fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// What to do when a limit is reached. Default: [`Overflow::DropOldest`].
    pub fn with_overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Whether what it holds outlives the process.
    #[cfg_attr(not(feature = "snowplow"), expect(dead_code, reason = "asked by exporters"))]
    pub(crate) fn is_durable(&self) -> bool {
        self.store.is_some()
    }

    /// Whether it is a SQLite file.
    #[cfg_attr(not(feature = "snowplow"), expect(dead_code, reason = "asked by exporters"))]
    pub(crate) fn is_sqlite(&self) -> bool {
        self.sqlite
    }

    /// The store, if there is one, and the limits of each of `queues` collectors.
    fn into_parts(self, queues: u16) -> Result<(Option<Box<dyn OutboxStore>>, Limits), BuildError> {
        const MEMORY_BYTES: u64 = 64 << 20;
        const DURABLE_BYTES: u64 = 1 << 30;
        let refuse = |setting, value: &dyn std::fmt::Debug, fix: &str| {
            Err(BuildError::Setting { setting, value: format!("{value:?}"), fix: fix.to_owned() })
        };
        if self.max_events == Some(0) {
            return refuse("with_max_events", &0, "an outbox holds at least 1 event; leave it out for no limit");
        }
        if self.max_bytes == Some(0) {
            return refuse("with_max_bytes", &0, "an outbox has at least 1 byte; use some MiB");
        }
        if self.max_age.is_zero() {
            return refuse("with_max_age", &self.max_age, "use more than zero, such as 30 days");
        }
        if let Some((setting, value)) = self.misplaced {
            let fix = "only an outbox made by Outbox::sqlite has this setting; leave it out".to_owned();
            return Err(BuildError::Setting { setting, value, fix });
        }
        let default = if self.store.is_some() { DURABLE_BYTES } else { MEMORY_BYTES };
        let bytes = self.max_bytes.unwrap_or(default);
        // In memory a part is kept free for the batch that is being accepted, which is in memory too.
        let bytes = if self.store.is_some() { bytes } else { bytes - bytes / 32 };
        let limits = Limits {
            events: self.max_events.unwrap_or(u64::MAX),
            bytes: bytes / u64::from(queues.max(1)),
            age: duration_nanos(self.max_age),
            overflow: self.overflow,
        };
        Ok((self.store, limits))
    }
}

/// The limits of one queue.
#[derive(Debug, Clone, Copy)]
struct Limits {
    events: u64,
    bytes: u64,
    /// Nanoseconds.
    age: i64,
    overflow: Overflow,
}
