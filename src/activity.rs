//! Which signals count as activity, and so keep a session alive.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use opentelemetry::logs::Severity;

use crate::telemetry::{Loss, LossCounters};

/// Which signals keep a session alive.
///
/// Whatever the policy: every signal is stamped, a signal after the end of a session starts the next one, and reading never
/// extends anything.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Activity {
    /// Every span that starts and every log that is emitted, except what the crates below the exporters log (`h2`, `hyper`,
    /// `tonic` and their like): an export must not keep the session alive. The default.
    #[default]
    EverySignal,
    /// Only [`Sessions::record_activity`](crate::Sessions::record_activity).
    Explicit,
    /// The signals that a filter accepts: see [`Activity::filter`].
    #[doc(hidden)]
    Filter(Filter),
}

/// A filter of signals.
#[derive(Clone)]
#[doc(hidden)]
pub struct Filter(Arc<dyn Fn(&Signal<'_>) -> bool + Send + Sync>);

impl Activity {
    /// The signals that `accepts` returns true for. It runs for every signal, on the thread of the signal, so it should be
    /// quick; if it panics the signal counts as activity, and the panic is counted. What it logs or traces itself is no activity,
    /// and it is not asked about that.
    pub fn filter(accepts: impl Fn(&Signal<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::Filter(Filter(Arc::new(accepts)))
    }

    #[inline]
    pub(crate) fn is_every_signal(&self) -> bool {
        matches!(self, Self::EverySignal)
    }

    #[inline]
    pub(crate) fn counts<'a>(&self, losses: &LossCounters, signal: impl FnOnce() -> Signal<'a>) -> bool {
        match self {
            Self::EverySignal => true,
            Self::Explicit => false,
            Self::Filter(filter) => {
                let signal = signal();
                ask(losses, || (filter.0)(&signal))
            }
        }
    }
}

thread_local! {
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Asks a filter of the application's. What it logs or traces meanwhile is no activity and asks nobody: it would be asked
/// about that as well, and so without end.
pub(crate) fn ask(losses: &LossCounters, filter: impl FnOnce() -> bool) -> bool {
    if ASKING.replace(true) {
        return false;
    }
    let accepted = catch_unwind(AssertUnwindSafe(filter));
    ASKING.set(false);
    accepted.unwrap_or_else(|_| {
        losses.add(Loss::FilterPanic, 1);
        true
    })
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EverySignal => "EverySignal",
            Self::Explicit => "Explicit",
            Self::Filter(_) => "Filter",
        })
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

/// What kind of signal asks whether it is activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalKind {
    /// An OpenTelemetry span that starts.
    Span,
    /// An OpenTelemetry log record or event that is emitted.
    Log,
    /// A `tracing` span that is created.
    TracingSpan,
    /// A `tracing` event.
    TracingEvent,
}

/// A signal, as far as it is known before it is stamped. Spans reach a processor without their name.
#[derive(Debug, Clone, Copy)]
pub struct Signal<'a> {
    pub(crate) kind: SignalKind,
    pub(crate) name: Option<&'a str>,
    pub(crate) target: Option<&'a str>,
    pub(crate) severity: Option<Severity>,
}

impl Signal<'_> {
    /// What kind of signal it is.
    #[must_use]
    pub fn kind(&self) -> SignalKind {
        self.kind
    }

    /// The event name of a log, or the name of a `tracing` span or event. None for what `tracing` itself names after its
    /// line (`info!(..)` without `name:`): that is no event of that name, whichever way it comes.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name
    }

    /// The target of a log or of a `tracing` span or event.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.target
    }

    /// The severity of a log, or the level of a `tracing` span or event.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.severity
    }
}

/// Whether a target is one of those that exporters are made of: what they say of an export is no use of the application.
#[inline]
pub(crate) fn is_plumbing(target: &str) -> bool {
    // Every log with a target comes by here: most are told apart by their first letter.
    let crates: &[&str] = match target.as_bytes().first() {
        Some(b'h') => &["h2", "hyper", "hyper_util"],
        Some(b't') => &["tonic", "tower"],
        Some(b'r') => &["reqwest", "rustls"],
        Some(b'o') => return target.starts_with("opentelemetry"),
        _ => return false,
    };
    let below =
        |krate: &&str| target.strip_prefix(*krate).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    crates.iter().any(below)
}

#[cfg(test)]
mod tests {
    use super::is_plumbing;

    #[test]
    fn what_exporters_are_made_of_is_plumbing_and_what_is_named_like_it_is_not() {
        for krate in
            ["h2", "hyper", "hyper_util", "tonic", "tower", "reqwest", "rustls", "opentelemetry", "opentelemetry_sdk"]
        {
            assert!(is_plumbing(krate) && is_plumbing(&format!("{krate}::client")), "{krate}");
        }
        for target in ["", "shop", "h", "h2o", "hypercube", "tonics", "tower_defence", "requests", "rust"] {
            assert!(!is_plumbing(target) && !is_plumbing(&format!("{target}::client")), "{target}");
        }
    }
}
