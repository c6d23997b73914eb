//! Remembers that exports failed, for whoever waits for a flush or a shutdown.
//!
//! The SDK's batch processors tell how the last export of a flush ended, nothing of those before it, nothing to who gave up
//! waiting and asks again, and nothing at shutdown.

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

use crate::sync::Mutex;

/// How many exports of a pipeline failed, and why the last one did.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<(u64, String)>);

impl Failures {
    pub(super) fn note(&self, exported: &OTelSdkResult) {
        let Err(error) = exported else { return };
        let reason = match error {
            // What it is made into again below.
            OTelSdkError::InternalFailure(reason) => reason.clone(),
            other => other.to_string(),
        };
        let mut failures = self.0.lock();
        *failures = (failures.0 + 1, reason);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.lock().0
    }

    /// An error if an export has failed since there were so many. Never a timeout: the waiting is over.
    pub(super) fn since(&self, count: u64) -> OTelSdkResult {
        let failures = self.0.lock();
        if failures.0 == count { Ok(()) } else { Err(OTelSdkError::InternalFailure(failures.1.clone())) }
    }
}
