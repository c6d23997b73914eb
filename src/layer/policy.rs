//! Which of `tracing`'s signals are activity, and which are no signals of the application at all.

use std::fmt;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::logs::Severity;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::filter::Targets;

use super::field::LogTarget;
use crate::activity::{Activity, Signal, SignalKind, ask, is_plumbing};
use crate::event_name;
use crate::scope;
use crate::session::Live;
use crate::sessions::Sessions;

type Filter = Arc<dyn Fn(&Metadata<'_>) -> bool + Send + Sync>;

pub(super) struct Policy {
    pub(super) level: LevelFilter,
    /// None: all but plumbing.
    pub(super) targets: Option<Targets>,
    pub(super) filter: Option<Filter>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { level: LevelFilter::TRACE, targets: None, filter: None }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("level", &self.level)
            .field("targets", &self.targets)
            .field("filter", &self.filter.is_some())
            .finish()
    }
}

impl Policy {
    /// Notes a signal, and returns the session that is live as it happens; none for the traffic of exporters.
    pub(super) fn intake(
        &self,
        sessions: &Sessions,
        activity: &Activity,
        kind: SignalKind,
        metadata: &Metadata<'_>,
        event: Option<&Event<'_>>,
    ) -> Option<&'static Live> {
        if scope::map_current(Context::is_telemetry_suppressed) == Some(true) {
            return None;
        }
        let bridged = event.filter(|_| metadata.target() == "log").and_then(log_target);
        let target = bridged.as_deref().unwrap_or(metadata.target());
        if self.targets.is_none() && is_plumbing(target) {
            return None;
        }
        let active = self.counts(sessions, metadata, target)
            && activity.counts(&sessions.core.losses, || Signal {
                kind,
                name: name(kind, metadata),
                target: Some(target),
                severity: Some(severity(*metadata.level())),
            });
        sessions.core.current.touch(active, || None)
    }

    fn counts(&self, sessions: &Sessions, metadata: &Metadata<'_>, target: &str) -> bool {
        *metadata.level() <= self.level
            && self.targets.as_ref().is_none_or(|targets| targets.would_enable(target, metadata.level()))
            && self.filter.as_ref().is_none_or(|filter| ask(&sessions.core.losses, || filter(metadata)))
    }
}

/// The name of a span, and of an event if somebody gave it one: `tracing` itself names an event after its line.
fn name(kind: SignalKind, metadata: &Metadata<'_>) -> Option<&'static str> {
    match kind {
        SignalKind::TracingEvent => event_name::given(metadata.name()),
        _ => Some(metadata.name()),
    }
}

/// Records of the `log` crate arrive as events of one target, with their own in a field.
#[cold]
fn log_target(event: &Event<'_>) -> Option<String> {
    let mut target = LogTarget::default();
    event.record(&mut target);
    target.0
}

fn severity(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::Trace,
        Level::DEBUG => Severity::Debug,
        Level::INFO => Severity::Info,
        Level::WARN => Severity::Warn,
        Level::ERROR => Severity::Error,
    }
}
