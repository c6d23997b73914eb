//! Stamping logs, and publishing lifecycle records into the pipeline they go through.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Severity};
use opentelemetry::{Context, InstrumentationScope, Key, StringValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::gone::Gone;
use super::late::LateLogs;
use super::nested;
use crate::activity::{Signal, SignalKind, is_plumbing};
use crate::clock::to_nanos;
use crate::event_name::event_name;
use crate::lifecycle::{FLUSH_BOUND, Publish, QUEUE_BOUND, Queue, Record, Turn, blank, scope as lifecycle_scope};
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
        let late = LateLogs::default();
        let pipeline = LogPipeline {
            sessions: self.clone(),
            queue,
            late,
            attached: OnceLock::new(),
            gone: Gone::default(),
            inner,
        };
        SessionLogProcessor { sessions: self.clone(), pipeline: Arc::new(pipeline) }
    }

    /// Notes a log, and returns the session that is live as it is emitted. A lifecycle record, which comes by where the
    /// processors of two `Sessions` wrap one another, is no signal: it is complete, extends nothing and starts nothing.
    #[inline(always)]
    pub(super) fn log_emitted(&self, record: &SdkLogRecord, from: &InstrumentationScope) -> Option<&'static Live> {
        let plain = record.event_name().is_none() && record.target().is_none() && self.activity.is_every_signal();
        if !plain {
            return self.judged_log_emitted(record, from);
        }
        self.core.current.touch(true, || record.timestamp().map(to_nanos))
    }

    /// The same for a log that may be no activity, or no signal. Out of line: plain logs need no such question.
    #[inline(never)]
    fn judged_log_emitted(&self, record: &SdkLogRecord, from: &InstrumentationScope) -> Option<&'static Live> {
        let active = self.is_activity(record, from)?;
        self.core.current.touch(active, || record.timestamp().map(to_nanos))
    }

    /// Whether a log is activity; none if it is no signal at all.
    fn is_activity(&self, record: &SdkLogRecord, from: &InstrumentationScope) -> Option<bool> {
        if record.event_name().is_some() && std::ptr::eq(from, lifecycle_scope()) {
            return None;
        }
        let plumbing = record.target().is_some_and(|target| is_plumbing(target));
        let active = !plumbing
            && self.activity.counts(&self.core.losses, || Signal {
                kind: SignalKind::Log,
                name: event_name(record),
                target: record.target().map(|target| &**target),
                severity: record.severity_number(),
            });
        Some(active)
    }

    /// Stamps a log. The one place where logs get their ids.
    #[inline(always)]
    pub(super) fn stamp_log(&self, record: &mut SdkLogRecord, live: &'static Live) {
        let snapshot = match record.timestamp() {
            None => &live.snapshot,
            Some(time) => self.snapshot_of(to_nanos(time), live, record),
        };
        if has(record, SESSION_ID) {
            keep_last_id(record);
        } else if scope::in_use() {
            stamp_scoped(record, snapshot);
        } else {
            // A constant is copied as a whole, where one that is made here is written, and then read back, in parts.
            record.add_attribute(const { Key::from_static_str(SESSION_ID) }, AnyValue::String(snapshot.id.into()));
        }
        if let Some(user_id) = snapshot.user_id {
            stamp_user(record, user_id);
        }
    }

    /// The snapshot that a log with a time of its own belongs to.
    #[inline]
    fn snapshot_of(&self, time: i64, live: &'static Live, record: &SdkLogRecord) -> &'static Snapshot {
        // Zero, which an earlier time is exported as too, says that the time is unknown.
        if time >= live.from || time <= 0 {
            return &live.snapshot;
        }
        // The log's own session may be forgotten by now, and the oldest one known newer than the session it was emitted in:
        // that one's start need not be out yet.
        // A pipeline before this one may have put them on, and counted it.
        let takes = |known: &Snapshot| !has(record, SESSION_ID) || known.user_id.is_some() && !has(record, USER_ID);
        let known = self.core.current.snapshot_at(time, takes).filter(|known| known.index <= live.snapshot.index);
        known.unwrap_or(&live.snapshot)
    }
}

/// Whether the application put this attribute on the log.
///
/// A loop, since `any` becomes a call of its own that is told the name; and many logs have no attributes.
#[inline(always)]
fn has(record: &SdkLogRecord, name: &str) -> bool {
    let attributes = record.attributes_iter();
    if attributes.size_hint().1 == Some(0) {
        return false;
    }
    for (key, _) in attributes {
        if key.as_str() == name {
            return true;
        }
    }
    false
}

/// Puts the id of the scope on, if the log is emitted in one.
#[cold]
fn stamp_scoped(record: &mut SdkLogRecord, snapshot: &Snapshot) {
    let id = scope::current_id().map_or_else(|| snapshot.id.into(), StringValue::from);
    record.add_attribute(Key::from_static_str(SESSION_ID), AnyValue::String(id));
}

/// Out of line: most programs set no user.
#[inline(never)]
fn stamp_user(record: &mut SdkLogRecord, user_id: &'static str) {
    if !has(record, USER_ID) {
        record.add_attribute(Key::from_static_str(USER_ID), AnyValue::String(user_id.into()));
    }
}

/// Leaves the last session id of several: the bridge from `tracing` copies the fields of all spans around an event, the
/// outermost first, and then the event's own. A record only grows, so it is written anew.
#[cold]
fn keep_last_id(record: &mut SdkLogRecord) {
    let ids = record.attributes_iter().filter(|(key, _)| key.as_str() == SESSION_ID).count();
    if ids == 1 {
        return;
    }
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
    /// Those of the pipeline, one step nearer: whoever reads a record right after the stamp waits for the id to come.
    sessions: Sessions,
    pipeline: Arc<LogPipeline<P>>,
}

/// What the keeper shares with the processor.
#[derive(Debug)]
struct LogPipeline<P> {
    sessions: Sessions,
    queue: Arc<Queue<Record>>,
    late: LateLogs,
    attached: OnceLock<()>,
    gone: Gone,
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

    /// Emits a log whose session has just started: behind the records that stand before it. If another thread is at those,
    /// and does not finish, the log waits for them without its caller.
    #[cold]
    fn emit_behind(
        self: &Arc<Self>,
        live: &'static Live,
        data: &mut SdkLogRecord,
        instrumentation: &InstrumentationScope,
    ) {
        if self.gone.has_left() {
            return self.emit_late_comer(data, instrumentation);
        }
        self.attach(None);
        let turn = self.catch_up(live.record);
        self.sessions.stamp_log(data, live);
        self.emit_or_wait(turn, live.record, data, instrumentation);
    }

    /// Emits a log that came after the pipeline has left. What stands before it may be about to go out only now.
    #[cold]
    fn emit_late_comer(&self, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        self.gone.stamp(&self.sessions, data, instrumentation);
        match self.gone.last() {
            Some(last) if !self.queue.is_published(last.record) => {
                let turn = self.catch_up(last.record);
                self.emit_or_wait(turn, last.record, data, instrumentation);
            }
            _ => self.inner.emit(data, instrumentation),
        }
    }

    /// Emits a log behind the lifecycle record with this number, or lets it wait for who publishes that.
    fn emit_or_wait(&self, turn: Turn, record: u64, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        if turn == Turn::Taken {
            self.inner.emit(data, instrumentation);
        } else if self.late.push(record, data, instrumentation) {
            self.sessions.core.nudge_keeper();
            // The keeper does not come by a pipeline that has left, and who made it leave may have been here.
            if self.gone.has_left() {
                self.emit_late();
            }
        } else {
            self.sessions.core.losses.add(Loss::Order, 1);
            self.inner.emit(data, instrumentation);
        }
    }

    /// Publishes what stands before the record with this number.
    fn catch_up(&self, record: u64) -> Turn {
        // Where logs wait already, the publisher is held up, and one more caller need not find that out by waiting; until
        // so many wait that whoever makes them must slow down.
        if self.late.is_waiting() && !self.queue.is_published(record) {
            return Turn::Refused;
        }
        let turn = self.publish_through(Some(record));
        self.emit_late();
        turn
    }

    /// Emits the logs that waited for what is published by now.
    fn emit_late(&self) {
        while let Some((mut data, instrumentation)) = self.late.pop(|record| self.queue.is_published(record)) {
            if catch_unwind(AssertUnwindSafe(|| self.inner.emit(&mut data, &instrumentation))).is_err() {
                self.sessions.core.losses.add(Loss::LifecyclePanic, 1);
            }
        }
    }

    /// Publishes everything that is due where an exporter may run its own executor: inside one, as within
    /// `futures::executor::block_on`, the SDK's simple processor panics and keeps its lock for ever. And where the thread has a
    /// context, which that processor attaches to; a thread that ends may have none any more.
    fn publish_all(&self) -> Turn {
        let here = scope::map_current(|_| ()).is_some() && futures_executor::enter().is_ok();
        if here { self.publish_here() } else { self.publish_elsewhere() }
    }

    fn publish_here(&self) -> Turn {
        let turn = self.publish_through(None);
        self.emit_late();
        turn
    }

    fn publish_elsewhere(&self) -> Turn {
        std::thread::scope(|scope| {
            let elsewhere = std::thread::Builder::new().name("otel-session.publish".into());
            // Without a thread, what is due stays due: for the keeper, or to be counted when the pipeline goes.
            let published = elsewhere.spawn_scoped(scope, || {
                let _suppressed = Context::enter_telemetry_suppressed_scope();
                self.publish_here()
            });
            published.ok().and_then(|thread| thread.join().ok()).unwrap_or(Turn::Refused)
        })
    }

    /// Publishes what is due, and flushes. An error also if another thread is publishing and does not get done.
    fn publish_and_flush(&self) -> OTelSdkResult {
        let turn = self.publish_all();
        let flushed = self.inner.force_flush();
        // Further up this thread's own stack somebody is at it, and goes on after this.
        if turn == Turn::Refused && !self.queue.is_turn_of_this_thread() {
            return flushed.and(Err(OTelSdkError::Timeout(FLUSH_BOUND)));
        }
        flushed
    }

    fn publish_through(&self, record: Option<u64>) -> Turn {
        self.queue.publish(record, |record| {
            let emitted = catch_unwind(AssertUnwindSafe(|| {
                let _publishing = nested::publishing(&self.sessions);
                self.inner.emit(&mut record.to_log(), lifecycle_scope());
            }));
            if emitted.is_err() {
                self.sessions.core.losses.add(Loss::LifecyclePanic, 1);
            }
        })
    }

    /// The pipeline goes: the live session ends if no other pipeline stays, and what is pending goes out.
    fn leave(&self) {
        // One that was never attached now never will be.
        let attached = self.attached.set(()).is_err();
        self.sessions.core.leave(&self.queue, |last| self.gone.leave(last));
        if !attached {
            return;
        }
        // A provider that goes with its thread may go after the thread's context, and one that goes within a look at the
        // context finds it borrowed. There neither we nor the SDK's simple processor can attach one.
        let attached =
            scope::map_current(|_| ()).and_then(|()| catch_unwind(Context::enter_telemetry_suppressed_scope).ok());
        match &attached {
            Some(_suppressed) => self.publish_all(),
            None => self.publish_elsewhere(),
        };
        self.sessions.core.losses.add(Loss::Order, self.late.give_up());
        self.sessions.core.left(&self.queue);
    }
}

impl<P: LogProcessor + 'static> Publish for LogPipeline<P> {
    fn publish(&self) {
        self.publish_all();
    }

    fn flush(&self) -> OTelSdkResult {
        // What was decided since the last round of the keeper must not miss the flush.
        self.publish_and_flush()
    }
}

impl<P: LogProcessor + 'static> LogProcessor for SessionLogProcessor<P> {
    fn emit(&self, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        let pipeline = &self.pipeline;
        if nested::is_from_around(&self.sessions, data, instrumentation) {
            return;
        }
        if pipeline.gone.has_left() {
            return pipeline.emit_late_comer(data, instrumentation);
        }
        if let Some(live) = self.sessions.log_emitted(data, instrumentation) {
            if !pipeline.queue.is_published(live.record) {
                return pipeline.emit_behind(live, data, instrumentation);
            }
            self.sessions.stamp_log(data, live);
        }
        pipeline.inner.emit(data, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        // In a suppressed scope this may be the exporter itself that flushes, under a lock that publishing would want.
        if scope::map_current(Context::is_telemetry_suppressed) == Some(true) {
            return self.pipeline.inner.force_flush();
        }
        self.pipeline.publish_and_flush()
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
