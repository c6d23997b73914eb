//! What an application is told, and asked, while events pass.

use std::fmt;
use std::path::PathBuf;
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

/// Whether the user has opted out, asked before each batch.
#[derive(Clone)]
pub(super) enum OptOut {
    Asked(Arc<dyn Fn() -> bool + Send + Sync>),
    File(PathBuf),
}

impl OptOut {
    /// A hook that panics stands for an opt-out: what the user wants is not known, and an event sent cannot be taken back.
    pub(super) fn is_out(&self) -> bool {
        match self {
            Self::Asked(ask) => std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ask())).unwrap_or(true),
            Self::File(path) => path.exists(),
        }
    }
}

impl fmt::Debug for OptOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(_) => f.write_str("Asked(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Whether the environment asks not to be tracked: `DO_NOT_TRACK` or `OTEL_SDK_DISABLED`, by the rules of each.
pub(super) fn environment_opts_out(read: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |value: &str| !matches!(value, "" | "0") && !value.eq_ignore_ascii_case("false");
    let do_not_track = read("DO_NOT_TRACK").is_some_and(|value| is_set(value.trim()));
    // OpenTelemetry: true is only the word itself, in any case.
    let disabled = read("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    do_not_track || disabled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_opts_out_by_the_rules_of_each_variable() {
        let with = |name: &'static str, value: &'static str| {
            environment_opts_out(|asked| (asked == name).then(|| value.to_owned()))
        };
        for (value, out) in [("1", true), ("true", true), ("yes", true), ("0", false), ("false", false), ("", false)] {
            assert_eq!(with("DO_NOT_TRACK", value), out, "DO_NOT_TRACK={value}");
        }
        for (value, out) in [("true", true), ("TRUE", true), ("1", false), ("yes", false), ("", false)] {
            assert_eq!(with("OTEL_SDK_DISABLED", value), out, "OTEL_SDK_DISABLED={value}");
        }
        assert!(!environment_opts_out(|_| None));
    }
}
