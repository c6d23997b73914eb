//! Stamping logs, and publishing lifecycle records into the pipeline they go through.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Severity};
use opentelemetry::{Context, InstrumentationScope, Key};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::activity::{Signal, SignalKind, is_plumbing};
use crate::clock::to_nanos;
use crate::lifecycle::{Publish, QUEUE_BOUND, Queue, Record, Turn, blank, scope as lifecycle_scope};
use crate::scope;
use crate::semconv::{SESSION_ID, USER_ID};
use crate::session::{Live, Snapshot};
use crate::sessions::Sessions;
use crate::telemetry::Loss;

impl Sessions {
    /// Wraps a log processor: what reaches it carries a session id, and `session.end` and `session.start` stand before the
    /// first log of a new session, in the order of calls to `inner.emit`.
    ///
    /// A processor that exports on the calling thread (`SimpleLogProcessor`) is also called from the keeper thread. With an
    /// exporter that needs the caller's tokio runtime it panics there; the panic is caught and counted
    /// ([`Loss::LifecyclePanic`]), but the SDK's processor stays poisoned. Use [`batch_log_processor`](Self::batch_log_processor)
    /// with such exporters.
    pub fn log_processor<P: LogProcessor + 'static>(&self, inner: P) -> SessionLogProcessor<P> {
        let queue = Arc::new(Queue::new(QUEUE_BOUND));
        let pipeline = LogPipeline { sessions: self.clone(), queue, attached: OnceLock::new(), inner };
        SessionLogProcessor { pipeline: Arc::new(pipeline) }
    }

    /// Notes a log, and returns the session that is live as it is emitted.
    #[inline]
    pub(super) fn log_emitted(&self, record: &SdkLogRecord) -> Option<&'static Live> {
        let plumbing = record.target().is_some_and(|target| is_plumbing(target));
        let active = !plumbing
            && self.activity.counts(&self.core.losses, || Signal {
                kind: SignalKind::Log,
                name: record.event_name(),
                target: record.target().map(|target| &**target),
                severity: record.severity_number(),
            });
        self.core.current.touch(active, || record.timestamp().map(to_nanos))
    }

    /// Stamps a log. The one place where logs get their ids.
    #[inline]
    pub(super) fn stamp_log(&self, record: &mut SdkLogRecord, live: &'static Live) {
        let snapshot = match record.timestamp() {
            None => &live.snapshot,
            Some(time) => self.snapshot_of(to_nanos(time), live),
        };
        let (explicit, user) = explicit_ids(record);
        if explicit > 1 {
            keep_last_id(record);
        }
        if explicit == 0 {
            let id = match scope::in_use() {
                false => None,
                true => scope::current_id(),
            };
            let value = id.map_or_else(|| AnyValue::String(snapshot.id.into()), |id| AnyValue::String(id.into()));
            record.add_attribute(Key::from_static_str(SESSION_ID), value);
        }
        if let Some(user_id) = snapshot.user_id
            && !user
        {
            record.add_attribute(Key::from_static_str(USER_ID), AnyValue::String(user_id.into()));
        }
    }

    /// The snapshot that a log with a time of its own belongs to.
    #[inline]
    fn snapshot_of(&self, time: i64, live: &'static Live) -> &'static Snapshot {
        if time >= live.from {
            return &live.snapshot;
        }
        self.core.current.snapshot_at(time).unwrap_or(&live.snapshot)
    }
}

/// How many session ids the application put on the log, and whether a user id.
#[inline]
fn explicit_ids(record: &SdkLogRecord) -> (usize, bool) {
    let (mut session, mut user) = (0, false);
    for (key, _) in record.attributes_iter() {
        let key = key.as_str();
        session += usize::from(key == SESSION_ID);
        user |= key == USER_ID;
    }
    (session, user)
}

/// Leaves the last session id of several: the bridge from `tracing` copies the fields of all spans around an event, the
/// outermost first, and then the event's own. A record only grows, so it is written anew.
#[cold]
fn keep_last_id(record: &mut SdkLogRecord) {
    let ids = record.attributes_iter().filter(|(key, _)| key.as_str() == SESSION_ID).count();
    let mut kept = blank();
    let mut seen = 0;
    for (key, value) in record.attributes_iter() {
        seen += usize::from(key.as_str() == SESSION_ID);
        if key.as_str() != SESSION_ID || seen == ids {
            kept.add_attribute(key.clone(), value.clone());
        }
    }
    if let Some(name) = record.event_name() {
        kept.set_event_name(name);
    }
    if let Some(target) = record.target() {
        kept.set_target(target.clone());
    }
    if let Some(time) = record.timestamp() {
        kept.set_timestamp(time);
    }
    if let Some(time) = record.observed_timestamp() {
        kept.set_observed_timestamp(time);
    }
    if let Some(text) = record.severity_text() {
        kept.set_severity_text(text);
    }
    if let Some(severity) = record.severity_number() {
        kept.set_severity_number(severity);
    }
    if let Some(body) = record.body() {
        kept.set_body(body.clone());
    }
    if let Some(trace) = record.trace_context() {
        kept.set_trace_context(trace.trace_id, trace.span_id, trace.trace_flags);
    }
    *record = kept;
}

/// A log processor that stamps what reaches the processor it wraps; made by [`Sessions::log_processor`].
#[derive(Debug)]
pub struct SessionLogProcessor<P: LogProcessor + 'static> {
    pipeline: Arc<LogPipeline<P>>,
}

/// What the keeper shares with the processor.
#[derive(Debug)]
struct LogPipeline<P> {
    sessions: Sessions,
    queue: Arc<Queue<Record>>,
    attached: OnceLock<()>,
    inner: P,
}

impl<P: LogProcessor + 'static> LogPipeline<P> {
    /// Attaches to the sessions: at `set_resource`, since a record published earlier would go out without a resource, or
    /// with the first log if nobody sets one.
    fn attach(self: &Arc<Self>) {
        self.attached.get_or_init(|| {
            let pipeline: std::sync::Weak<Self> = Arc::downgrade(self);
            self.sessions.core.attach(&self.queue, pipeline);
        });
    }

    /// Publishes what stands before the record with this number.
    #[cold]
    fn catch_up(self: &Arc<Self>, record: u64) {
        self.attach();
        if self.publish_through(Some(record)) == Turn::Refused {
            self.sessions.core.losses.add(Loss::Order, 1);
        }
    }

    fn publish_through(&self, record: Option<u64>) -> Turn {
        self.queue.publish(record, |record| {
            let emitted = catch_unwind(AssertUnwindSafe(|| {
                self.inner.emit(&mut record.to_log(), lifecycle_scope());
            }));
            if emitted.is_err() {
                self.sessions.core.losses.add(Loss::LifecyclePanic, 1);
            }
        })
    }

    /// The pipeline goes: the live session ends if no other pipeline stays, and what is pending goes out.
    fn leave(&self) {
        if self.attached.set(()).is_ok() {
            // Never attached, and now it never will be.
            return;
        }
        self.sessions.core.leave(&self.queue);
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        self.publish_through(None);
        self.sessions.core.detach(&self.queue);
    }
}

impl<P: LogProcessor + 'static> Publish for LogPipeline<P> {
    fn publish(&self) {
        self.publish_through(None);
    }

    fn flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }
}

impl<P: LogProcessor + 'static> LogProcessor for SessionLogProcessor<P> {
    fn emit(&self, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        let pipeline = &self.pipeline;
        if let Some(live) = pipeline.sessions.log_emitted(data) {
            if !pipeline.queue.is_published(live.record) {
                pipeline.catch_up(live.record);
            }
            pipeline.sessions.stamp_log(data, live);
        }
        pipeline.inner.emit(data, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.pipeline.publish();
        self.pipeline.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.pipeline.leave();
        self.pipeline.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.pipeline.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        match Arc::get_mut(&mut self.pipeline) {
            Some(pipeline) => pipeline.inner.set_resource(resource),
            // Attached already: the keeper may be publishing through it right now.
            None => self.pipeline.sessions.core.losses.add(Loss::ResourceIgnored, 1),
        }
        self.pipeline.attach();
    }
}

impl<P: LogProcessor + 'static> Drop for SessionLogProcessor<P> {
    /// A pipeline that is only dropped still ends what it started.
    fn drop(&mut self) {
        self.pipeline.leave();
    }
}
