//! From records to Snowplow events.

use std::ops::Range;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::LogBatch;
use opentelemetry_sdk::trace::SpanData;
use uuid::Uuid;

use super::map_settings::MapSettings;
use super::{Anonymity, Subject};
use crate::clock::Moment;

/// Turns records into encoded events and numbers them within their sessions. One per exporter, behind its lock.
#[derive(Debug)]
pub(crate) struct Mapper {
    settings: MapSettings,
}

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

/// A change of what an outbox keeps for us: `None` deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) table: u8,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
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
    pub storage_mechanism: super::StorageMechanism,
    /// `firstEventId`.
    pub first_event_id: Option<Uuid>,
    /// `firstEventTimestamp`, in milliseconds since 1970.
    pub first_event_millis: Option<i64>,
}

impl Mapper {
    /// A mapper that goes on where the rows of an outbox left off. Rows of other namespaces and rows it does not
    /// understand are ignored.
    pub(crate) fn new(settings: MapSettings, _rows: Vec<Row>) -> Self {
        Self { settings }
    }

    /// Maps a batch of logs. Follow it by [`commit`](Self::commit) or [`roll_back`](Self::roll_back).
    pub(crate) fn map_logs(&mut self, _batch: &LogBatch<'_>, _resource: &Resource, _now: Moment, _out: &mut Mapped) {}

    /// Maps ended spans. Follow it by [`commit`](Self::commit) or [`roll_back`](Self::roll_back).
    pub(crate) fn map_spans(&mut self, _batch: &[SpanData], _resource: &Resource, _now: Moment, _out: &mut Mapped) {}

    /// The outbox has taken the batch.
    pub(crate) fn commit(&mut self) {}

    /// The outbox has not taken the batch: every number is as it was before.
    pub(crate) fn roll_back(&mut self) {}

    /// For the batches to come.
    pub(crate) fn set_anonymity(&mut self, anonymity: Anonymity) {
        self.settings.anonymity = anonymity;
    }

    /// For the batches to come; the subject has been checked.
    pub(crate) fn set_subject(&mut self, subject: Subject) {
        self.settings.subject = subject;
    }

    /// Forgets the installation id and every session and user (opt-out). The rows that say so are for the outbox.
    pub(crate) fn forget(&mut self) -> Vec<Row> {
        Vec::new()
    }

    /// The installation's own UUID, which stands for the user where no record says who it is.
    pub(crate) fn installation_id(&self) -> Uuid {
        Uuid::nil()
    }
}
