//! What a delivery thread and the depot hand each other.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::export::Chunk;
use crate::telemetry::Loss;

/// What a delivery thread asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    /// The most events; 0 counts as 1.
    pub(crate) max_events: usize,
    /// The most bytes of a request: `fixed + Σ(len + per_event)`. The first event always goes, alone if need be.
    pub(crate) max_bytes: usize,
    /// What a request has besides its events.
    pub(crate) fixed: usize,
    /// What a request has for each event besides its encoding.
    pub(crate) per_event: usize,
    /// No event whose lane has an event in flight by another request.
    pub(crate) one_per_lane: bool,
}

/// An event that was taken.
#[derive(Clone)]
pub(crate) struct Parcel {
    /// To settle it with.
    pub(crate) ticket: Ticket,
    pub(super) chunk: Arc<Chunk>,
    start: usize,
    accepted_at: i64,
}

/// Names an event in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(super) chunk: u64,
    pub(super) lane: u32,
    pub(super) index: u8,
    pub(super) in_lane: bool,
}

/// What became of events in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// They arrived.
    Delivered,
    /// They never will; counted.
    Dropped(Loss),
    /// They go back to their old places.
    Again,
}

/// What became of a queue's events: all others were lost, and counted as that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) delivered: u64,
    pub(crate) pending: u64,
}

/// What waits in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Events, those in flight included.
    pub(crate) events: u64,
    /// What the limit counts for them.
    pub(crate) bytes: u64,
    /// Events in flight.
    pub(crate) in_flight: u64,
}

impl Pending {
    /// Events that are not in flight.
    pub(crate) fn waiting(self) -> u64 {
        self.events.saturating_sub(self.in_flight)
    }
}

/// Without its content, which is the user's.
impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel").field("id", &self.id()).field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Parcel {
    pub(super) fn new(ticket: Ticket, chunk: Arc<Chunk>, start: usize, accepted_at: i64) -> Self {
        Self { ticket, chunk, start, accepted_at }
    }

    /// The encoded event.
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = self.chunk.events[usize::from(self.ticket.index)].len as usize;
        &self.chunk.bytes[self.start..self.start + len]
    }

    /// Its id, the same in every attempt.
    pub(crate) fn id(&self) -> Uuid {
        self.chunk.events[usize::from(self.ticket.index)].id
    }

    /// The mode that it was accepted in.
    pub(crate) fn mode(&self) -> u8 {
        self.chunk.mode
    }

    /// Its lane.
    pub(crate) fn lane(&self) -> u32 {
        self.ticket.lane
    }

    /// When it was accepted: wall time in nanoseconds.
    pub(crate) fn accepted_at(&self) -> i64 {
        self.accepted_at
    }
}
