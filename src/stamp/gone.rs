//! A log pipeline that has left: its provider is shutting down, or it is being dropped.
//!
//! Its last session has ended then, as far as it is concerned, and whatever starts later is not announced in it. A log that
//! still comes starts and extends nothing, and carries the id of that last session: the stream stays whole to its end.

use std::sync::OnceLock;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::logs::SdkLogRecord;

use crate::lifecycle::scope as lifecycle_scope;
use crate::session::Live;
use crate::sessions::Sessions;

/// Empty as long as the pipeline is there.
#[derive(Debug, Default)]
pub(super) struct Gone {
    last: OnceLock<Option<&'static Live>>,
}

impl Gone {
    #[inline]
    pub(super) fn has_left(&self) -> bool {
        self.last.get().is_some()
    }

    /// The pipeline leaves, and this was the last session that it knew. Called while no decision can be made: who sees a
    /// session that started later also sees that the pipeline has left.
    pub(super) fn leave(&self, last: Option<&'static Live>) {
        let _ = self.last.set(last);
    }

    /// The last session that it knew, once it has left.
    pub(super) fn last(&self) -> Option<&'static Live> {
        self.last.get().copied().flatten()
    }

    /// Stamps a log that came too late.
    pub(super) fn stamp(&self, sessions: &Sessions, record: &mut SdkLogRecord, from: &InstrumentationScope) {
        if record.event_name().is_some() && std::ptr::eq(from, lifecycle_scope()) {
            return;
        }
        if let Some(last) = self.last() {
            sessions.stamp_log(record, last);
        }
    }
}
