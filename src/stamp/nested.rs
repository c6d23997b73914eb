//! A pipeline within another one of the same sessions: a wrapped processor that was wrapped again.
//!
//! Both publish, so what the outer one publishes would reach the exporter twice. The inner one is nearer to it, and lets none
//! but its own records pass.

use std::cell::Cell;
use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::logs::SdkLogRecord;

use crate::lifecycle::scope as lifecycle_scope;
use crate::sessions::Sessions;

thread_local! {
    /// Whose record this thread is publishing through a wrapped processor.
    static PUBLISHING: Cell<usize> = const { Cell::new(NOBODY) };
}

const NOBODY: usize = 0;

/// While it lives, this thread publishes a record.
pub(super) struct Publishing {
    outer: usize,
}

pub(super) fn publishing(sessions: &Sessions) -> Publishing {
    Publishing { outer: PUBLISHING.replace(who(sessions)) }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        PUBLISHING.set(self.outer);
    }
}

/// Whether a log is a lifecycle record that a pipeline of the same sessions around this one publishes.
#[inline]
pub(super) fn is_from_around(sessions: &Sessions, record: &SdkLogRecord, from: &InstrumentationScope) -> bool {
    record.event_name().is_some() && std::ptr::eq(from, lifecycle_scope()) && PUBLISHING.get() == who(sessions)
}

fn who(sessions: &Sessions) -> usize {
    Arc::as_ptr(&sessions.core).addr()
}
