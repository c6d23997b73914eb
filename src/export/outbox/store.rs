//! What a durable outbox must be able to do.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::OutboxError;
use crate::export::Chunk;

/// A durable store for events that wait to be delivered: what [`Outbox::custom`](super::Outbox::custom) takes.
///
/// Limits, order, deletions and what is in flight are not its business; it stores what it is told and gives it back after
/// a restart. It is called by one thread at a time. A panic counts as an error. It must not call the exporter that it serves,
/// which is waiting for it.
///
/// The shape of one, which lacks only the disk:
///
/// ```
/// use std::collections::BTreeMap;
/// use otel_session::export::{Chunk, Commit, Opened, Outbox, OutboxError, OutboxStore, StateRow, Stored};
///
/// #[derive(Debug, Default)]
/// struct Shelf {
///     chunks: BTreeMap<u64, (Chunk, Vec<u8>)>,
///     state: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
/// }
///
/// impl OutboxStore for Shelf {
///     fn open(&mut self) -> Result<Opened, OutboxError> {
///         let stored = |(number, (chunk, done)): (&u64, &(Chunk, Vec<u8>))| Stored::new(*number, chunk, done.clone());
///         let row = |((table, key), value): (&(u8, Vec<u8>), &Vec<u8>)| {
///             StateRow::new(*table, key.clone(), Some(value.clone()))
///         };
///         let next = self.chunks.keys().last().map_or(0, |last| last + 1);
///         Ok(Opened::new(self.chunks.iter().map(stored).collect(), self.state.iter().map(row).collect(), next))
///     }
///
///     fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError> {
///         for number in commit.removed {
///             self.chunks.remove(number);
///         }
///         for (number, chunk) in commit.added {
///             self.chunks.insert(*number, (Chunk::clone(chunk), Vec::new()));
///         }
///         for (number, done) in commit.done {
///             self.chunks.entry(*number).and_modify(|(_, old)| *old = done.clone());
///         }
///         for row in commit.state {
///             match &row.value {
///                 Some(value) => self.state.insert((row.table, row.key.clone()), value.clone()),
///                 None => self.state.remove(&(row.table, row.key.clone())),
///             };
///         }
///         Ok(())
///     }
///
///     fn read(&mut self, chunk: u64) -> Result<Chunk, OutboxError> {
///         let found = self.chunks.get(&chunk).map(|(chunk, _)| chunk.clone());
///         found.ok_or_else(|| OutboxError::Store(format!("no chunk {chunk}").into()))
///     }
/// }
///
/// let outbox = Outbox::custom(Shelf::default());
/// ```
pub trait OutboxStore: Any + Debug + Send {
    /// Opens the store; called once, before anything else.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, which makes the exporter's `build()` fail with this error.
    fn open(&mut self) -> Result<Opened, OutboxError>;

    /// Stores all of a commit or nothing of it. When this returns, it must survive a crash, and unless it is
    /// [lazy](Commit::lazy) a loss of power.
    ///
    /// # Errors
    ///
    /// If nothing of it was stored. Added events are then lost and counted. Removals are repeated with the next commit, within
    /// 100 ms; after a failure of one that only removes, nothing is sent until a commit has succeeded.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError>;

    /// Reads a chunk back, as it was added.
    ///
    /// # Errors
    ///
    /// [`OutboxError::Corrupt`] gives the chunk up: its events are counted as lost. After any other error it is read again
    /// later.
    fn read(&mut self, chunk: u64) -> Result<Chunk, OutboxError>;
}

/// What is stored in one transaction.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Commit<'a> {
    /// New chunks with their numbers, which grow and are never used twice.
    pub added: &'a [(u64, Arc<Chunk>)],
    /// Rows of state to write or delete.
    pub state: &'a [StateRow],
    /// Chunks of which some events are done, and which: event `i` is bit `i % 8` of byte `i / 8`. It replaces what was
    /// stored for the chunk before.
    pub done: &'a [(u64, Vec<u8>)],
    /// Chunks to delete, with what is stored about them.
    pub removed: &'a [u64],
    /// Only chunks that are done, while a batch is in the making: it must survive the end of the process like any other
    /// commit, but may be lost with the power. The next commit that is not lazy, within 100 ms, brings it to the disk, even if
    /// it has nothing else to store.
    pub lazy: bool,
}

/// A row of what an exporter remembers besides its events: that the outbox is its own, its sessions, its users. Opaque to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateRow {
    /// The table it belongs to. A row is known by its table and its key.
    pub table: u8,
    /// Its key in the table.
    pub key: Vec<u8>,
    /// What to store in place of what is there; `None` deletes the row.
    pub value: Option<Vec<u8>>,
}

impl StateRow {
    /// A row, or its deletion.
    #[must_use]
    pub fn new(table: u8, key: Vec<u8>, value: Option<Vec<u8>>) -> Self {
        Self { table, key, value }
    }
}

/// What a store holds when it is opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Opened {
    /// The chunks that were not removed, by growing number.
    pub chunks: Vec<Stored>,
    /// All rows of state.
    pub state: Vec<StateRow>,
    /// A number greater than any chunk's, and below 2⁶³.
    pub next: u64,
}

impl Opened {
    /// What a store holds.
    #[must_use]
    pub fn new(chunks: Vec<Stored>, state: Vec<StateRow>, next: u64) -> Self {
        Self { chunks, state, next }
    }
}

/// A stored chunk without its events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Its number.
    pub number: u64,
    /// [`Chunk::queue`].
    pub queue: u16,
    /// [`Chunk::mode`].
    pub mode: u8,
    /// [`Chunk::accepted_at`].
    pub accepted_at: i64,
    /// How many events it was added with.
    pub events: u32,
    /// The length of [`Chunk::bytes`].
    pub bytes: u64,
    /// Which events are done, as in [`Commit::done`]; empty if none.
    pub done: Vec<u8>,
}

impl Stored {
    /// The summary of a chunk.
    #[must_use]
    pub fn new(number: u64, chunk: &Chunk, done: Vec<u8>) -> Self {
        Self {
            number,
            queue: chunk.queue,
            mode: chunk.mode,
            accepted_at: chunk.accepted_at,
            events: u32::try_from(chunk.events.len()).unwrap_or(u32::MAX),
            bytes: chunk.bytes.len() as u64,
            done,
        }
    }
}

/// Stands where a store was that has been closed.
#[derive(Debug)]
pub(super) struct Closed;

impl OutboxStore for Closed {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        Err(has_shut_down())
    }

    fn commit(&mut self, _: &Commit<'_>) -> Result<(), OutboxError> {
        Err(has_shut_down())
    }

    fn read(&mut self, _: u64) -> Result<Chunk, OutboxError> {
        Err(has_shut_down())
    }
}

pub(super) fn has_shut_down() -> OutboxError {
    OutboxError::Store("the exporter has shut down".into())
}

/// Calls a store, which may be the user's: its panic is an error.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, OutboxError>) -> Result<T, OutboxError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(OutboxError::Store("it panicked".into())))
}

/// What a store gave back is nothing that it was told to keep.
pub(super) fn corrupt(problem: String) -> OutboxError {
    OutboxError::Corrupt { place: "outbox".to_owned(), problem }
}
