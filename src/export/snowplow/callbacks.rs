//! What an application is told, and asked, while events pass.

use std::sync::Arc;

use uuid::Uuid;

use super::SessionState;
use crate::telemetry::{Loss, LossCounters};

/// An accepted event, as the callback of the builder's `on_accepted` is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedEvent {
    /// Its id (`eid`), the same in every attempt to deliver it.
    pub event_id: Uuid,
    /// Its session (`sid`), if it has one that is sent.
    pub session_id: Option<Uuid>,
    /// Its index within the session, from 1, if events of the session are numbered.
    pub event_index: Option<u32>,
}

/// Called when a session starts or ends.
#[derive(Clone)]
pub(super) struct SessionCallback(Arc<dyn Fn(&SessionState) + Send + Sync>);

impl SessionCallback {
    pub(super) fn new(callback: impl Fn(&SessionState) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }

    pub(super) fn call(&self, state: &SessionState, losses: &LossCounters) {
        guarded(losses, || (self.0)(state));
    }
}

/// Calls the user's code; a panic is counted and goes no further.
pub(super) fn guarded(losses: &LossCounters, call: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err() {
        losses.add(Loss::EventFilterPanic, 1);
    }
}
