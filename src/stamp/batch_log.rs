//! A batch log processor whose lifecycle records cannot be lost to a full queue.
//!
//! Lifecycle records never go through the SDK's queue. They wait in a queue of ours, and the exporter on the batch thread
//! puts them in: before the first log of the session that they start, and at the end of the batch what no log has asked
//! for. When a session ends and no log follows, a *nudge* goes through the SDK's queue instead; it only makes the batch
//! thread run, marks the place, and is filtered out. If the SDK's queue is full and drops it, there is a batch to come.
//!
//! Ordinary logs that the SDK's queue drops are seen as a gap between what went in and what came out.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Severity};
use opentelemetry::{InstrumentationScope, Key};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchConfig, BatchLogProcessor, LogBatch, LogExporter, LogProcessor, SdkLogRecord};

use super::failures::Failures;
use super::gone::Gone;
use super::nested;
use super::tally::{Tally, nothing_is_on_its_way};
use crate::lifecycle::{FLUSH_BOUND, Publish, QUEUE_BOUND, Queue, Record, blank, scope as lifecycle_scope};
use crate::semconv::SESSION_ID;
use crate::session::Live;
use crate::sessions::Sessions;
use crate::telemetry::Loss;

/// The event name of a nudge; never exported.
const NUDGE: &str = "otel_session.nudge";
/// The attribute of a nudge: the newest lifecycle record as it was sent.
const NUDGE_THROUGH: &str = "otel_session.nudge.through";
/// The most records that one export call is given beyond what the SDK asked for.
const EXPORT_CHUNK: usize = 512;

impl Sessions {
    /// A batch processor with the SDK's defaults. Every log carries a session id; `session.end` and `session.start` stand
    /// before the first log of the new session in what the exporter gets, even when the queue overflows. Logs that the full
    /// queue drops are counted ([`Loss::LogQueueFull`], at flush and shutdown). A flush or shutdown within which an export fails
    /// is an error.
    pub fn batch_log_processor<E: LogExporter + 'static>(&self, exporter: E) -> SessionBatchLogProcessor {
        self.batch_log_processor_with(exporter, BatchConfig::default())
    }

    /// Like [`batch_log_processor`](Self::batch_log_processor), with a configuration of the batches.
    pub fn batch_log_processor_with<E: LogExporter + 'static>(
        &self,
        exporter: E,
        config: BatchConfig,
    ) -> SessionBatchLogProcessor {
        self.core.grouping.processor_made();
        let belt = Arc::new(Belt::default());
        let queue = Arc::new(Queue::new(QUEUE_BOUND));
        let exporter =
            InjectingExporter { sessions: self.clone(), queue: queue.clone(), belt: belt.clone(), inner: exporter };
        let inner = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
        let (attached, gone, closed) = (OnceLock::new(), Gone::default(), AtomicBool::new(false));
        let pipeline = BatchPipeline { sessions: self.clone(), queue, belt, attached, gone, closed, inner };
        SessionBatchLogProcessor { sessions: self.clone(), pipeline: Arc::new(pipeline) }
    }
}

/// A batch log processor that stamps; made by [`Sessions::batch_log_processor`].
#[derive(Debug)]
pub struct SessionBatchLogProcessor {
    /// Those of the pipeline, one step nearer: the SDK copies a record right after the stamp, and waits for the id to come.
    sessions: Sessions,
    pipeline: Arc<BatchPipeline>,
}

/// What both ends of the SDK's queue know.
#[derive(Debug, Default)]
struct Belt {
    tally: Tally,
    failures: Failures,
    /// A nudge is on its way: more would only take room from logs.
    nudged: AtomicBool,
}

#[derive(Debug)]
struct BatchPipeline {
    sessions: Sessions,
    queue: Arc<Queue<Record>>,
    belt: Arc<Belt>,
    attached: OnceLock<()>,
    gone: Gone,
    /// The SDK's processor has shut down: it drops whatever it gets.
    closed: AtomicBool,
    inner: BatchLogProcessor,
}

impl BatchPipeline {
    fn attach(self: &Arc<Self>, resource: Option<&Resource>) {
        self.attached.get_or_init(|| {
            let pipeline: Weak<Self> = Arc::downgrade(self);
            self.sessions.core.attach(&self.queue, pipeline, resource);
        });
    }

    /// Emits the first log of a session. The exporter puts the records before it by itself; here is only to attach.
    #[cold]
    fn emit_first(self: &Arc<Self>, live: &'static Live, data: &mut SdkLogRecord, from: &InstrumentationScope) {
        if self.gone.has_left() {
            return self.emit_late_comer(data, from);
        }
        self.attach(None);
        self.queue.mark_published(live.record);
        self.sessions.stamp_log(data, live);
        self.hand_on(data, from);
    }

    /// Emits a log that came after the pipeline has left.
    #[cold]
    fn emit_late_comer(&self, data: &mut SdkLogRecord, from: &InstrumentationScope) {
        self.gone.stamp(&self.sessions, data, from);
        if self.closed.load(Ordering::Acquire) {
            self.sessions.core.losses.add(Loss::LogAfterShutdown, 1);
        } else {
            self.hand_on(data, from);
        }
    }

    /// Counts after it has emitted: a flush between the two would take a log that is not in the queue yet for a lost one.
    #[inline(always)]
    fn hand_on(&self, data: &mut SdkLogRecord, from: &InstrumentationScope) {
        self.inner.emit(data, from);
        self.belt.tally.add_emitted();
    }

    /// Makes the batch thread run if lifecycle records are waiting.
    fn nudge(&self) {
        let Some(through) = self.queue.pending() else { return };
        if self.belt.nudged.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut nudge = blank();
        nudge.set_event_name(NUDGE);
        nudge.add_attribute(Key::from_static_str(NUDGE_THROUGH), i64::try_from(through).unwrap_or(i64::MAX));
        self.inner.emit(&mut nudge, lifecycle_scope());
        self.queue.mark_published(through);
    }

    fn flush(&self) -> OTelSdkResult {
        // Whatever is on its way may have been exported a moment ago; a flush must find a batch to run for.
        self.belt.nudged.store(false, Ordering::Release);
        let failed = self.belt.failures.count();
        self.nudge();
        let emitted = self.belt.tally.emitted();
        let flushed = self.inner.force_flush();
        self.count_dropped(&flushed, emitted);
        flushed.and_then(|()| self.belt.failures.since(failed))
    }

    /// Of `emitted` logs, counts those that will not be exported any more, if a flush or a shutdown tells.
    fn count_dropped(&self, flushed: &OTelSdkResult, emitted: u64) {
        if nothing_is_on_its_way(flushed) {
            self.sessions.core.losses.add(Loss::LogQueueFull, self.belt.tally.newly_missing(emitted));
        }
    }

    /// Returns whether it was attached; one that never was now never will be.
    fn leave(&self) -> bool {
        let attached = self.attached.set(()).is_err();
        self.sessions.core.leave(&self.queue, |last| self.gone.leave(last));
        attached
    }

    /// Shuts the SDK's processor down, and counts what it had no place or no time for.
    fn close(&self, timeout: Duration) -> OTelSdkResult {
        let emitted = self.belt.tally.emitted();
        let result = self.inner.shutdown_with_timeout(timeout);
        self.closed.store(true, Ordering::Release);
        self.count_dropped(&result, emitted);
        if result.is_ok() {
            let late = self.belt.tally.newly_missing(self.belt.tally.emitted());
            self.sessions.core.losses.add(Loss::LogAfterShutdown, late);
        }
        result
    }
}

impl Publish for BatchPipeline {
    fn publish(&self) {
        self.nudge();
    }

    fn flush(&self) -> OTelSdkResult {
        Self::flush(self)
    }
}

impl LogProcessor for SessionBatchLogProcessor {
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
                return pipeline.emit_first(live, data, instrumentation);
            }
            self.sessions.stamp_log(data, live);
        }
        pipeline.hand_on(data, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.pipeline.flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        // Before it leaves, which sends the session's end on its way.
        let failed = self.pipeline.belt.failures.count();
        let attached = self.pipeline.leave();
        let result = self.pipeline.close(timeout);
        if attached {
            self.pipeline.sessions.core.left(&self.pipeline.queue);
        }
        result.and_then(|()| self.pipeline.belt.failures.since(failed))
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

impl Drop for SessionBatchLogProcessor {
    /// A processor that is dropped without a shutdown still ends and delivers what it started.
    fn drop(&mut self) {
        if self.pipeline.leave() {
            let _ = self.pipeline.close(FLUSH_BOUND);
            self.pipeline.sessions.core.left(&self.pipeline.queue);
        }
    }
}

/// The exporter on the batch thread.
#[derive(Debug)]
struct InjectingExporter<E> {
    sessions: Sessions,
    queue: Arc<Queue<Record>>,
    belt: Arc<Belt>,
    inner: E,
}

impl<E: LogExporter> LogExporter for InjectingExporter<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        // Lowered before taking: what is pushed after this line finds the flag down and nudges again.
        self.belt.nudged.store(false, Ordering::Release);
        let pending = self.queue.take_all();
        let nudged = batch.iter().any(|(record, _)| is_nudge(record));
        if pending.is_empty() && !nudged {
            let count = batch.iter().count() as u64;
            let exported = self.inner.export(batch).await;
            self.belt.tally.add_exported(count);
            self.belt.failures.note(&exported);
            return exported;
        }
        let injected = inject(pending, &batch);
        let lines = merge(&injected, &batch);
        let chunk = batch.iter().count().max(EXPORT_CHUNK);
        let mut result = Ok(());
        let mut at_risk = AtRisk { sessions: &self.sessions, records: injected.len() as u64 };
        for lines in lines.chunk_by(in_one_request).flat_map(|lines| lines.chunks(chunk)) {
            let exported = self.inner.export(LogBatch::new(lines)).await;
            let done = lines.iter().filter(|line| is_lifecycle(line)).count() as u64;
            at_risk.records -= done;
            if exported.is_err() {
                self.sessions.core.losses.add(Loss::LifecycleExport, done);
                result = exported;
            }
            self.belt.tally.add_exported(lines.len() as u64 - done);
        }
        self.belt.failures.note(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.export_rest();
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.export_rest();
        self.inner.shutdown()
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> InjectingExporter<E> {
    /// Exports the lifecycle records that no batch has taken along. On the batch thread, outside its executor.
    fn export_rest(&self) {
        let rest: Vec<SdkLogRecord> = self.queue.take_all().into_iter().map(|(_, record)| record.to_log()).collect();
        let mut at_risk = AtRisk { sessions: &self.sessions, records: rest.len() as u64 };
        for records in rest.chunks(EXPORT_CHUNK) {
            let lines: Vec<_> = records.iter().map(|record| (record, lifecycle_scope())).collect();
            let exported = futures_executor::block_on(self.inner.export(LogBatch::new(&lines)));
            at_risk.records -= records.len() as u64;
            self.belt.failures.note(&exported);
            if exported.is_err() {
                self.sessions.core.losses.add(Loss::LifecycleExport, records.len() as u64);
            }
        }
    }
}

/// A record as exporters get it.
type Line<'a> = (&'a SdkLogRecord, &'a InstrumentationScope);

/// Lifecycle records that have left the queue and are not exported yet: counted if the exporter panics, which ends the SDK's
/// batch thread.
struct AtRisk<'a> {
    sessions: &'a Sessions,
    records: u64,
}

impl Drop for AtRisk<'_> {
    fn drop(&mut self) {
        self.sessions.core.losses.add(Loss::LifecyclePanic, self.records);
    }
}

/// A lifecycle record, and how many records of the batch stand before it.
type Injected = (usize, SdkLogRecord);

/// OTLP groups the records of a request by scope, and the groups stand in any order: what must stand before an ordinary log
/// goes in a request before it.
fn in_one_request(line: &Line<'_>, next: &Line<'_>) -> bool {
    !is_lifecycle(line) || is_lifecycle(next)
}

fn is_lifecycle((_, scope): &Line<'_>) -> bool {
    std::ptr::eq(*scope, lifecycle_scope())
}

/// Finds the place of each pending record: before the first log of the session it starts, at the nudge that was sent for it,
/// or at the end.
fn inject(mut pending: VecDeque<(u64, Record)>, batch: &LogBatch<'_>) -> Vec<Injected> {
    let starts: HashMap<&'static str, u64> =
        pending.iter().filter_map(|(number, record)| Some((record.started()?.id, *number))).collect();
    let mut injected = Vec::with_capacity(pending.len());
    let mut place = |pending: &mut VecDeque<(u64, Record)>, through: u64, at: usize| {
        while pending.front().is_some_and(|(number, _)| *number <= through) {
            if let Some((_, record)) = pending.pop_front() {
                injected.push((at, record.to_log()));
            }
        }
    };
    for (at, (record, _)) in batch.iter().enumerate() {
        if pending.is_empty() {
            break;
        }
        if let Some(through) = wanted(record, &starts) {
            place(&mut pending, through, at);
        }
    }
    place(&mut pending, u64::MAX, usize::MAX);
    injected
}

/// The lifecycle record that must stand before this record of a batch.
fn wanted(record: &SdkLogRecord, starts: &HashMap<&'static str, u64>) -> Option<u64> {
    let key = if is_nudge(record) { NUDGE_THROUGH } else { SESSION_ID };
    let (_, value) = record.attributes_iter().find(|(name, _)| name.as_str() == key)?;
    match value {
        AnyValue::Int(through) => u64::try_from(*through).ok(),
        AnyValue::String(id) => starts.get(id.as_str()).copied(),
        _ => None,
    }
}

/// The batch without nudges, with the lifecycle records in their places.
fn merge<'a>(injected: &'a [Injected], batch: &'a LogBatch<'_>) -> Vec<Line<'a>> {
    let mut lines = Vec::with_capacity(injected.len() + batch.iter().count());
    let mut next = injected.iter().peekable();
    for (at, (record, scope)) in batch.iter().enumerate() {
        while let Some((_, record)) = next.next_if(|(place, _)| *place <= at) {
            lines.push((record, lifecycle_scope()));
        }
        if !is_nudge(record) {
            lines.push((record, scope));
        }
    }
    lines.extend(next.map(|(_, record)| (record, lifecycle_scope())));
    lines
}

fn is_nudge(record: &SdkLogRecord) -> bool {
    record.event_name() == Some(NUDGE)
}
