//! What was lost: every loss has a reason, a counter and a name.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue};

use crate::semconv::{self, loss_reason};

/// Why something was lost or is not as exact as promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// A lifecycle record was dropped, together with its pair, because its queue was full.
    LifecycleQueueFull,
    /// A lifecycle record, or a log that waited for one, was dropped because a processor or exporter of the pipeline panicked.
    LifecyclePanic,
    /// A lifecycle record was in a batch whose export failed.
    LifecycleExport,
    /// A lifecycle record was still waiting when its pipeline shut down, or no pipeline was ever attached.
    LifecycleUndelivered,
    /// A log went out before the lifecycle records that should stand before it, or not at all: publishing them took so long
    /// that too many logs had to wait for it, or had not ended when the pipeline went.
    Order,
    /// An ordinary log found the queue of the batch processor full, or the SDK's thread behind it ended by an exporter that
    /// panicked. Counted at flush and shutdown.
    LogQueueFull,
    /// An ordinary log was emitted while its batch processor shut down, too late to be exported, or after that.
    LogAfterShutdown,
    /// A signal was older than the history: it carries the oldest id known, or the oldest user known of its session.
    HistoryForgotten,
    /// The id generator returned an id that is not valid, or repeated the previous one; an id of our own was used.
    InvalidId,
    /// The id generator panicked or took too long; an id of our own was used.
    IdGenerator,
    /// An observer panicked.
    ObserverPanic,
    /// A transition was not told to an observer because too many were waiting.
    ObserverQueueFull,
    /// An activity filter panicked; the signal was taken for activity.
    FilterPanic,
    /// A session id from outside (a span's field) was not valid and was ignored.
    InvalidScope,
    /// A log processor was given a second resource; it keeps the first. One processor serves one provider.
    ResourceIgnored,
    /// A span was in a batch whose export failed. Counted by the exporters of `setup()`.
    SpanExport,
    /// An ordinary log was in a batch whose export failed. Counted by the exporters of `setup()`.
    LogExport,
    /// A user id could not be exported as it is; signals carry none instead.
    InvalidUser,
    /// A span found the queue of the batch processor full, or the SDK's thread behind it ended by an exporter that panicked.
    /// Counted at flush and shutdown.
    SpanQueueFull,
    /// An event was dropped because the outbox of a bridge was full: the oldest or the newest, as configured.
    OutboxFull,
    /// An event was dropped because it waited in the outbox of a bridge for longer than the age limit.
    OutboxAge,
    /// An event was not accepted because the outbox of a bridge could not store it, or its bridge had shut down; `export()`
    /// returned an error.
    OutboxError,
    /// An event was dropped because it alone is larger than a request may be: by our own limit, or by a 413 of the collector.
    EventTooLarge,
    /// An event was dropped because the collector answered its request with a status that is not retried.
    EventRejected,
    /// A `session.start` or `session.end` without a session id, or any record without one where those are skipped, was not accepted by a bridge.
    EventWithoutSession,
    /// An event was not accepted by a bridge because its session id is not what the policy demands.
    EventSessionId,
    /// A value of an event was cut, replaced or left out, because its destination allows no such value. The event itself was accepted.
    EventField,
    /// A filter, mapping or callback of a bridge panicked; what it was called for went on without it.
    EventFilterPanic,
    /// An event was still waiting in an outbox that is not durable when its bridge shut down.
    EventUndelivered,
    /// A record lay further back in time than its destination keeps events; a bridge did not accept it, or, if told to, sent it
    /// all the same.
    EventTooOld,
}

impl Loss {
    /// Every reason, in the order of their display.
    pub const ALL: [Self; 30] = [
        Self::LifecycleQueueFull,
        Self::LifecyclePanic,
        Self::LifecycleExport,
        Self::LifecycleUndelivered,
        Self::Order,
        Self::LogQueueFull,
        Self::LogAfterShutdown,
        Self::HistoryForgotten,
        Self::InvalidId,
        Self::IdGenerator,
        Self::ObserverPanic,
        Self::ObserverQueueFull,
        Self::FilterPanic,
        Self::InvalidScope,
        Self::ResourceIgnored,
        Self::SpanExport,
        Self::LogExport,
        Self::InvalidUser,
        Self::SpanQueueFull,
        Self::OutboxFull,
        Self::OutboxAge,
        Self::OutboxError,
        Self::EventTooLarge,
        Self::EventRejected,
        Self::EventWithoutSession,
        Self::EventSessionId,
        Self::EventField,
        Self::EventFilterPanic,
        Self::EventUndelivered,
        Self::EventTooOld,
    ];

    /// The value of the attribute `otel_session.loss.reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LifecycleQueueFull => loss_reason::LIFECYCLE_QUEUE_FULL,
            Self::LifecyclePanic => loss_reason::LIFECYCLE_PANIC,
            Self::LifecycleExport => loss_reason::LIFECYCLE_EXPORT,
            Self::LifecycleUndelivered => loss_reason::LIFECYCLE_UNDELIVERED,
            Self::Order => loss_reason::ORDER,
            Self::LogQueueFull => loss_reason::LOG_QUEUE_FULL,
            Self::LogAfterShutdown => loss_reason::LOG_AFTER_SHUTDOWN,
            Self::HistoryForgotten => loss_reason::HISTORY_FORGOTTEN,
            Self::InvalidId => loss_reason::INVALID_ID,
            Self::IdGenerator => loss_reason::ID_GENERATOR,
            Self::ObserverPanic => loss_reason::OBSERVER_PANIC,
            Self::ObserverQueueFull => loss_reason::OBSERVER_QUEUE_FULL,
            Self::FilterPanic => loss_reason::FILTER_PANIC,
            Self::InvalidScope => loss_reason::INVALID_SCOPE,
            Self::ResourceIgnored => loss_reason::RESOURCE_IGNORED,
            Self::SpanExport => loss_reason::SPAN_EXPORT,
            Self::LogExport => loss_reason::LOG_EXPORT,
            Self::InvalidUser => loss_reason::INVALID_USER,
            Self::SpanQueueFull => loss_reason::SPAN_QUEUE_FULL,
            Self::OutboxFull => loss_reason::OUTBOX_FULL,
            Self::OutboxAge => loss_reason::OUTBOX_AGE,
            Self::OutboxError => loss_reason::OUTBOX_ERROR,
            Self::EventTooLarge => loss_reason::EVENT_TOO_LARGE,
            Self::EventRejected => loss_reason::EVENT_REJECTED,
            Self::EventWithoutSession => loss_reason::EVENT_WITHOUT_SESSION,
            Self::EventSessionId => loss_reason::EVENT_SESSION_ID,
            Self::EventField => loss_reason::EVENT_FIELD,
            Self::EventFilterPanic => loss_reason::EVENT_FILTER_PANIC,
            Self::EventUndelivered => loss_reason::EVENT_UNDELIVERED,
            Self::EventTooOld => loss_reason::EVENT_TOO_OLD,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much was lost so far, by reason: a snapshot of counters that only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses([u64; Loss::ALL.len()]);

impl Losses {
    /// How often this happened.
    #[must_use]
    pub fn count(&self, loss: Loss) -> u64 {
        self.0[loss as usize]
    }

    /// How often anything was lost.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl fmt::Display for Losses {
    /// `none`, or the reasons that occurred with their counts: `invalid_id: 2, order: 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total() == 0 {
            return f.write_str("none");
        }
        let mut separator = "";
        for loss in Loss::ALL {
            let count = self.count(loss);
            if count > 0 {
                write!(f, "{separator}{loss}: {count}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// The live counters behind [`Losses`].
#[derive(Debug, Default)]
pub(crate) struct LossCounters([AtomicU64; Loss::ALL.len()]);

impl LossCounters {
    pub(crate) fn add(&self, loss: Loss, count: u64) {
        self.0[loss as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Losses {
        Losses(std::array::from_fn(|index| self.0[index].load(Ordering::Relaxed)))
    }
}

/// The meter of the next sessions. Of several instruments of one name and one scope the SDK keeps the last value, so each has a
/// scope of its own.
pub(crate) fn meter(provider: &impl MeterProvider) -> Meter {
    static METERS: AtomicU64 = AtomicU64::new(0);
    let scope = InstrumentationScope::builder(SCOPE);
    provider.meter_with_scope(match METERS.fetch_add(1, Ordering::Relaxed) {
        0 => scope.build(),
        number => {
            let name = KeyValue::new(semconv::OTEL_COMPONENT_NAME, format!("{SCOPE}/{number}"));
            scope.with_attributes([name]).build()
        }
    })
}

/// The name of the meters' scope.
const SCOPE: &str = "otel_session";

/// Exports the counters as the observable counter `otel_session.losses`, one series a reason that has occurred. The meter
/// keeps only a weak reference, so it does not outlive the sessions' need of it.
pub(crate) fn observe(meter: &Meter, counters: &Arc<LossCounters>) {
    let counters = Arc::downgrade(counters);
    let _ = meter
        .u64_observable_counter(semconv::METRIC_OTEL_SESSION_LOSSES)
        .with_description("Losses of otel-session, by reason.")
        .with_unit("{loss}")
        .with_callback(move |observer| {
            let Some(counters) = counters.upgrade() else { return };
            let losses = counters.read();
            for loss in Loss::ALL {
                let count = losses.count(loss);
                if count > 0 {
                    observer.observe(count, &[KeyValue::new(semconv::OTEL_SESSION_LOSS_REASON, loss.as_str())]);
                }
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        let counters = LossCounters::default();
        for (place, loss) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(loss as usize, place);
            counters.add(loss, place as u64);
        }
        let losses = counters.read();
        assert_eq!(losses.count(Loss::InvalidScope), 13);
        assert_eq!(losses.total(), (0..Loss::ALL.len() as u64).sum::<u64>());
        assert_eq!(Losses::default().to_string(), "none");
    }
}
