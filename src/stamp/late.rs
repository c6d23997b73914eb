//! Logs that wait for a lifecycle record that another thread is publishing.
//!
//! A log must not stand before the start of its session. While the thread that publishes the start is held up (by a slow
//! exporter, or because it is this very thread, further up the stack), the log waits here instead of holding up its caller,
//! at most [`BOUND`] of them for each pipeline.

use std::collections::VecDeque;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::logs::SdkLogRecord;

use crate::sync::Mutex;

/// The most logs that wait.
const BOUND: usize = 2_048;
/// From so many on, the callers of further logs wait as well.
const SLOW_DOWN: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct LateLogs(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    logs: VecDeque<Late>,
    /// Nobody comes for them any more.
    given_up: bool,
}

#[derive(Debug)]
struct Late {
    /// The record that must be published first.
    record: u64,
    data: SdkLogRecord,
    instrumentation: InstrumentationScope,
}

impl LateLogs {
    /// Lets a log wait for a record; false if too many are waiting, or it would wait for ever.
    pub(super) fn push(&self, record: u64, data: &SdkLogRecord, instrumentation: &InstrumentationScope) -> bool {
        let mut late = self.0.lock();
        let room = late.logs.len() < BOUND && !late.given_up;
        if room {
            late.logs.push_back(Late { record, data: data.clone(), instrumentation: instrumentation.clone() });
        }
        room
    }

    /// Whether some logs wait, and not too many.
    pub(super) fn is_waiting(&self) -> bool {
        (1..SLOW_DOWN).contains(&self.0.lock().logs.len())
    }

    /// Takes the oldest log, if what it waits for is published.
    pub(super) fn pop(&self, is_published: impl Fn(u64) -> bool) -> Option<(SdkLogRecord, InstrumentationScope)> {
        let mut late = self.0.lock();
        if !is_published(late.logs.front()?.record) {
            return None;
        }
        let oldest = late.logs.pop_front()?;
        Some((oldest.data, oldest.instrumentation))
    }

    /// Drops what still waits, and tells how many that are; from now on none may wait.
    pub(super) fn give_up(&self) -> u64 {
        let mut late = self.0.lock();
        late.given_up = true;
        std::mem::take(&mut late.logs).len() as u64
    }
}
