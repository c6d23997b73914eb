//! Stamping logs, and publishing lifecycle records into the pipeline they go through.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Severity};
use opentelemetry::{Context, InstrumentationScope, Key, StringValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::activity::{Signal, SignalKind};
use crate::clock::to_nanos;
use crate::lifecycle::{Publish, QUEUE_BOUND, Queue, Record, Turn, scope as lifecycle_scope};
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
        self.core.grouping.processor_made();
        let queue = Arc::new(Queue::new(QUEUE_BOUND));
        let pipeline = LogPipeline { sessions: self.clone(), queue, attached: OnceLock::new(), inner };
        SessionLogProcessor { pipeline: Arc::new(pipeline) }
    }

    /// Notes a log, and returns the session that is live as it is emitted. A lifecycle record, which comes by where the
    /// processors of two `Sessions` wrap one another, is no signal: it is complete, extends nothing and starts nothing.
    #[inline]
    pub(super) fn log_emitted(&self, record: &SdkLogRecord, from: &InstrumentationScope) -> Option<&'static Live> {
        if std::ptr::eq(from, lifecycle_scope()) {
            return None;
        }
        let active = self.activity.counts(&self.core.losses, || Signal {
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
        if !has(record, SESSION_ID) {
            if scope::in_use() {
                stamp_scoped(record, snapshot);
            } else {
                record.add_attribute(Key::from_static_str(SESSION_ID), AnyValue::String(snapshot.id.into()));
            }
        }
        if let Some(user_id) = snapshot.user_id {
            stamp_user(record, user_id);
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

/// Whether the application put this attribute on the log.
#[inline]
fn has(record: &SdkLogRecord, name: &str) -> bool {
    record.attributes_iter().any(|(key, _)| key.as_str() == name)
}

/// Puts the id of the scope on, if the log is emitted in one.
#[cold]
fn stamp_scoped(record: &mut SdkLogRecord, snapshot: &Snapshot) {
    let id = scope::current().map_or_else(|| snapshot.id.into(), StringValue::from);
    record.add_attribute(Key::from_static_str(SESSION_ID), AnyValue::String(id));
}

/// Out of line: most programs set no user.
#[inline(never)]
fn stamp_user(record: &mut SdkLogRecord, user_id: &'static str) {
    if !has(record, USER_ID) {
        record.add_attribute(Key::from_static_str(USER_ID), AnyValue::String(user_id.into()));
    }
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
    fn attach(self: &Arc<Self>, resource: Option<&Resource>) {
        self.attached.get_or_init(|| {
            let pipeline: std::sync::Weak<Self> = Arc::downgrade(self);
            self.sessions.core.attach(&self.queue, pipeline, resource);
        });
    }

    /// Publishes what stands before the record with this number.
    #[cold]
    fn catch_up(self: &Arc<Self>, record: u64) {
        self.attach(None);
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
        self.sessions.core.left(&self.queue);
    }
}

impl<P: LogProcessor + 'static> Publish for LogPipeline<P> {
    fn publish(&self) {
        self.publish_through(None);
    }

    fn flush(&self) -> OTelSdkResult {
        // What was decided since the last round of the keeper must not miss the flush.
        self.publish_through(None);
        self.inner.force_flush()
    }
}

impl<P: LogProcessor + 'static> LogProcessor for SessionLogProcessor<P> {
    fn emit(&self, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        let pipeline = &self.pipeline;
        if let Some(live) = pipeline.sessions.log_emitted(data, instrumentation) {
            if !pipeline.queue.is_published(live.record) {
                pipeline.catch_up(live.record);
            }
            pipeline.sessions.stamp_log(data, live);
        }
        pipeline.inner.emit(data, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        // In a suppressed scope this may be the exporter itself that flushes, under a lock that publishing would want.
        if !Context::is_current_telemetry_suppressed() {
            self.pipeline.publish();
        }
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
        self.pipeline.attach(Some(resource));
    }
}

impl<P: LogProcessor + 'static> Drop for SessionLogProcessor<P> {
    /// A pipeline that is only dropped still ends what it started.
    fn drop(&mut self) {
        self.pipeline.leave();
    }
}
