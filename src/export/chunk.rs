//! What waits in an outbox.

use uuid::Uuid;

/// Events for one collector that were accepted together: the unit in which an outbox keeps them.
///
/// The events of a chunk share their mode, since events of different modes never share a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chunk {
    /// Which of the exporter's collectors they go to, from 0.
    pub queue: u16,
    /// The mode they were accepted in, as the exporter defines it. A mode stands for the headers of a request.
    pub mode: u8,
    /// When they were accepted: nanoseconds since 1970, by the wall clock.
    pub accepted_at: i64,
    /// The events, in order.
    pub events: Vec<ChunkEvent>,
    /// The encoded events, one after another without separators.
    pub bytes: Vec<u8>,
}

/// One event of a [`Chunk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkEvent {
    /// The event's id, the same in every attempt to deliver it.
    pub id: Uuid,
    /// The length of its encoding in [`Chunk::bytes`].
    pub len: u32,
    /// Events of one lane are delivered in order, even where several requests are in flight.
    pub lane: u32,
}

impl Chunk {
    /// The most events in a chunk: what a row of a durable outbox holds.
    pub const MAX_EVENTS: usize = 50;

    /// An empty chunk.
    #[must_use]
    pub fn new(queue: u16, mode: u8, accepted_at: i64) -> Self {
        Self { queue, mode, accepted_at, events: Vec::new(), bytes: Vec::new() }
    }

    /// A chunk as it was stored.
    #[must_use]
    pub fn from_parts(queue: u16, mode: u8, accepted_at: i64, events: Vec<ChunkEvent>, bytes: Vec<u8>) -> Self {
        Self { queue, mode, accepted_at, events, bytes }
    }

    /// Adds an event at the end.
    pub fn push(&mut self, id: Uuid, lane: u32, encoded: &[u8]) {
        let len = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
        self.events.push(ChunkEvent::new(id, len, lane));
        self.bytes.extend_from_slice(encoded);
    }
}

impl ChunkEvent {
    /// An event whose encoding has this length.
    #[must_use]
    pub fn new(id: Uuid, len: u32, lane: u32) -> Self {
        Self { id, len, lane }
    }
}
