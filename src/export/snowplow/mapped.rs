//! What a batch of records became.

use std::ops::Range;

use uuid::Uuid;

use super::StorageMechanism;
/// A change of what an outbox keeps for us.
pub(crate) use crate::export::StateRow as Row;

/// What a batch became. Reused from batch to batch: mapping clears it first.
#[derive(Debug, Default)]
pub(crate) struct Mapped {
    /// The events, in order; their ranges follow one another in [`bytes`](Self::bytes).
    pub(crate) events: Vec<MappedRecord>,
    /// The encoded events, one after another.
    pub(crate) bytes: Vec<u8>,
    /// Changes of the tables, to be stored in the same transaction.
    pub(crate) rows: Vec<Row>,
    /// What sessions did in this batch, in order, for callbacks once the outbox has taken it.
    pub(crate) sessions: Vec<SessionChange>,
}

/// One event of a batch.
#[derive(Debug, Clone)]
pub(crate) struct MappedRecord {
    /// `eid`.
    pub(crate) id: Uuid,
    /// Events of one lane stay in order.
    pub(crate) lane: u32,
    /// See [`Anonymity::mode`].
    pub(crate) mode: u8,
    /// Where its encoding stands in [`Mapped::bytes`].
    pub(crate) range: Range<usize>,
    /// `sid`, if it has a session.
    pub(crate) session: Option<Uuid>,
    /// `eventIndex`, if it is known.
    pub(crate) event_index: Option<u32>,
}

/// A session started or ended, masked like the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionChange {
    /// Whether it is a start.
    pub(crate) started: bool,
    pub(crate) state: SessionState,
}

/// What `client_session` says about a session, for callbacks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionState {
    /// `userId`: the nil UUID when the user is not named.
    pub user_id: Uuid,
    /// `sessionId`.
    pub session_id: Uuid,
    /// `sessionIndex`, from 1.
    pub session_index: u32,
    /// `eventIndex` of the latest accepted event, from 1, if events of this session are numbered.
    pub event_index: Option<u32>,
    /// `previousSessionId`, if there was a session before and the user is named.
    pub previous_session_id: Option<Uuid>,
    /// `storageMechanism`.
    pub storage_mechanism: StorageMechanism,
    /// `firstEventId`.
    pub first_event_id: Option<Uuid>,
    /// `firstEventTimestamp`, in milliseconds since 1970.
    pub first_event_millis: Option<i64>,
}

impl Mapped {
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.bytes.clear();
        if self.bytes.capacity() > MOST_KEPT {
            self.bytes = Vec::new();
        }
        self.rows.clear();
        self.sessions.clear();
    }
}

/// The most memory that is kept for the encoded events of the next batch: some ten times what a usual one takes. A batch of
/// huge events would otherwise be remembered by its buffer for ever.
const MOST_KEPT: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_batchs_memory_is_used_again_and_a_huge_ones_is_given_back() {
        let mut mapped = Mapped { bytes: Vec::with_capacity(1 << 20), ..Mapped::default() };
        mapped.clear();
        assert_eq!(mapped.bytes.capacity(), 1 << 20);
        mapped.bytes.reserve(100 << 20);
        mapped.clear();
        assert_eq!(mapped.bytes.capacity(), 0);
    }
}
