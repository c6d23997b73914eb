//! What a batch of records became.

use uuid::Uuid;

use super::StorageMechanism;
use crate::export::Chunk;
/// A change of what an outbox keeps for us.
pub(crate) use crate::export::StateRow as Row;

/// What a batch became. Reused from batch to batch: mapping clears it first.
#[derive(Debug, Default)]
pub(crate) struct Mapped {
    /// The events, in order.
    pub(crate) events: Vec<MappedRecord>,
    /// Their encodings, in the same order: written where they will wait for their delivery.
    pub(crate) encoded: Vec<Encoded>,
    /// Memory for further ones.
    pub(crate) spare: Vec<Vec<u8>>,
    /// Changes of the tables, to be stored in the same transaction.
    pub(crate) rows: Vec<Row>,
    /// What sessions did in this batch, in order, for callbacks once the outbox has taken it.
    pub(crate) sessions: Vec<SessionChange>,
}

/// As many encoded events as a chunk holds, all of one mode, one after another.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// See [`Anonymity::mode`].
    pub(crate) mode: u8,
    /// How many they are.
    pub(crate) events: usize,
    pub(crate) bytes: Vec<u8>,
}

/// One event of a batch.
#[derive(Debug, Clone)]
pub(crate) struct MappedRecord {
    /// `eid`.
    pub(crate) id: Uuid,
    /// Events of one lane stay in order.
    pub(crate) lane: u32,
    /// How long its encoding is.
    pub(crate) len: usize,
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
        self.spare.extend(self.encoded.drain(..).map(|encoded| encoded.bytes));
        self.rows.clear();
        self.sessions.clear();
    }

    /// Where the next event goes.
    pub(super) fn next(&mut self, mode: u8) -> &mut Vec<u8> {
        let goes_on = |last: &Encoded| last.mode == mode && last.events < Chunk::MAX_EVENTS;
        if !self.encoded.last().is_some_and(goes_on) {
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            self.encoded.push(Encoded { mode, events: 0, bytes });
        }
        let last = self.encoded.len() - 1;
        self.encoded[last].events += 1;
        &mut self.encoded[last].bytes
    }
}
