//! Stamping spans and their events.
//!
//! `on_start` only notes the activity; the ids are put on when the span is finished, by its start time, and on each of its
//! events by the event's own time. That is exact (a rotation in the middle of a span changes nothing for the span), needs no
//! allocation on the thread of the span, and cannot be lost to the limit of 128 attributes.
//!
//! A span that starts in a scope is noted at once, since the scope may be gone when it ends, and gets the id as it ends: an
//! attribute set at its start could be dropped, and could not be told from one that the application set.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::Span as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfig, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

use super::failures::Failures;
use super::first::Stamper;
use super::tally::{Tally, nothing_is_on_its_way};
use crate::activity::{Signal, SignalKind};
use crate::clock::to_nanos;
use crate::lifecycle::Core;
use crate::scope;
use crate::semconv::{SESSION_ID, USER_ID};
use crate::session::Snapshot;
use crate::sessions::Sessions;
use crate::telemetry::Loss;

impl Sessions {
    /// Wraps a span processor: the spans that reach it carry the session they started in, their events the session of the
    /// event's time. Wrap rather than register a second processor, for which the SDK would clone every span.
    pub fn span_processor<P: SpanProcessor>(&self, inner: P) -> SessionSpanProcessor<P> {
        SessionSpanProcessor { sessions: self.clone(), stamper: Stamper::new(&self.core), inner }
    }

    /// A batch processor with the SDK's defaults (queue of 2,048 spans, batches of 512 every 5 s, or what `OTEL_BSP_*` say)
    /// whose spans are stamped on the batch thread: the cheapest way. Spans that the full queue drops are counted
    /// ([`Loss::SpanQueueFull`], at flush and shutdown). A flush or shutdown within which an export fails is an error.
    pub fn batch_span_processor<E: SpanExporter + 'static>(&self, exporter: E) -> SessionBatchSpanProcessor {
        self.batch_span_processor_with(exporter, BatchConfig::default())
    }

    /// Like [`batch_span_processor`](Self::batch_span_processor), with a configuration of the batches.
    pub fn batch_span_processor_with<E: SpanExporter + 'static>(
        &self,
        exporter: E,
        config: BatchConfig,
    ) -> SessionBatchSpanProcessor {
        let (tally, failures) = (Arc::new(Tally::default()), Arc::new(Failures::default()));
        let stamper = Arc::new(Stamper::new(&self.core));
        let exporter = StampingExporter {
            stamper: stamper.clone(),
            tally: tally.clone(),
            failures: failures.clone(),
            inner: exporter,
        };
        let inner = BatchSpanProcessor::new(exporter, config);
        SessionBatchSpanProcessor { sessions: self.clone(), stamper, tally, failures, inner }
    }

    /// Notes that a span starts.
    #[inline]
    fn span_starts(&self, stamper: &Stamper, span: &mut Span, context: &Context) {
        stamper.span_starts(span);
        let active = self.activity.counts(&self.core.losses, || Signal {
            kind: SignalKind::Span,
            name: None,
            target: None,
            severity: None,
        });
        let span_now = &*span;
        self.core.current.touch(active, || span_now.exported_data().map(|data| to_nanos(data.start_time)));
        if scope::in_use() {
            mark_scoped(span, context);
        }
    }
}

/// Notes the scope of a span that starts in one.
#[cold]
fn mark_scoped(span: &mut Span, context: &Context) {
    let Some(opened) = scope::of_span_start(context) else { return };
    let Some(id) = opened.id() else { return };
    if !scope::spans::started(span.span_context(), opened, id.clone(), scope::of_context(context)) {
        span.set_attribute(KeyValue::new(SESSION_ID, id));
    }
}

/// Puts the id of its scope on a span that ends, unless the application gave it an id of its own.
#[cold]
fn stamp_scoped(span: &mut SpanData) {
    let Some(id) = scope::spans::ended(&span.span_context) else { return };
    if !span.attributes.iter().any(is_session_id) {
        span.attributes.push(KeyValue::new(SESSION_ID, id));
    }
}

fn is_session_id(attribute: &KeyValue) -> bool {
    attribute.key.as_str() == SESSION_ID
}

/// Stamps a finished span and its events. The one place where spans get their ids.
fn stamp(core: &Core, span: &mut SpanData) {
    let explicit = explicit_id(&mut span.attributes);
    // Asked for with an explicit id as well: the user still is the one of that time, as on logs.
    let takes = |own: &Snapshot| explicit.is_none() || needs_user(&span.attributes, own);
    let own = core.current.snapshot_at(to_nanos(span.start_time), takes);
    if let Some(own) = own {
        if explicit.is_none() {
            span.attributes.push(KeyValue::new(SESSION_ID, own.id));
        }
        stamp_user(&mut span.attributes, own);
    }
    for event in &mut span.events.events {
        // Events happen after their span started, most of them in the same session.
        let has_id = explicit_id(&mut event.attributes).is_some();
        let takes = |at: &Snapshot| !has_id && explicit.is_none() || needs_user(&event.attributes, at);
        let at = core.current.snapshot_at(to_nanos(event.timestamp), takes).or(own);
        if !has_id {
            match (&explicit, at) {
                (Some(id), _) => event.attributes.push(KeyValue::new(SESSION_ID, id.clone())),
                (None, Some(at)) => event.attributes.push(KeyValue::new(SESSION_ID, at.id)),
                (None, None) => {}
            }
        }
        if let Some(at) = at {
            stamp_user(&mut event.attributes, at);
        }
    }
}

/// The id that the application gave, the last one if several: `set_attribute` appends, so the last was meant. Others are
/// removed, so it is exported once.
fn explicit_id(attributes: &mut Vec<KeyValue>) -> Option<opentelemetry::Value> {
    let last = attributes.iter().rposition(is_session_id)?;
    let id = attributes[last].value.clone();
    if attributes.iter().position(is_session_id) != Some(last) {
        let mut index = 0;
        attributes.retain(|attribute| {
            index += 1;
            !is_session_id(attribute) || index == last + 1
        });
    }
    Some(id)
}

fn stamp_user(attributes: &mut Vec<KeyValue>, snapshot: &Snapshot) {
    if let Some(user_id) = snapshot.user_id.filter(|_| needs_user(attributes, snapshot)) {
        attributes.push(KeyValue::new(USER_ID, user_id));
    }
}

/// Whether the session has a user, and the application named none.
fn needs_user(attributes: &[KeyValue], snapshot: &Snapshot) -> bool {
    snapshot.user_id.is_some() && !attributes.iter().any(|attribute| attribute.key.as_str() == USER_ID)
}

/// A span processor that stamps what reaches the processor it wraps; made by [`Sessions::span_processor`].
#[derive(Debug)]
pub struct SessionSpanProcessor<P> {
    sessions: Sessions,
    stamper: Stamper,
    inner: P,
}

impl<P: SpanProcessor> SpanProcessor for SessionSpanProcessor<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.sessions.span_starts(&self.stamper, span, cx);
        match scope::in_use() {
            false => self.inner.on_start(span, cx),
            true => scope::spans::while_starting(|| self.inner.on_start(span, cx)),
        }
    }

    fn on_end(&self, mut span: SpanData) {
        if scope::in_use() {
            stamp_scoped(&mut span);
        }
        stamp(self.stamper.core(), &mut span);
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.stamper.provider_is_built();
        self.inner.set_resource(resource);
    }
}

/// A batch span processor that stamps on its batch thread; made by [`Sessions::batch_span_processor`].
#[derive(Debug)]
pub struct SessionBatchSpanProcessor {
    sessions: Sessions,
    stamper: Arc<Stamper>,
    tally: Arc<Tally>,
    failures: Arc<Failures>,
    inner: BatchSpanProcessor,
}

impl SessionBatchSpanProcessor {
    /// Flushes, or shuts down: counts the spans that will not be exported any more, and tells of an export that failed.
    fn finish(&self, flush: impl FnOnce(&BatchSpanProcessor) -> OTelSdkResult) -> OTelSdkResult {
        let (ended, failed) = (self.tally.emitted(), self.failures.count());
        let flushed = flush(&self.inner);
        if nothing_is_on_its_way(&flushed) {
            self.sessions.core.losses.add(Loss::SpanQueueFull, self.tally.newly_missing(ended));
        }
        flushed.and_then(|()| self.failures.since(failed))
    }
}

impl SpanProcessor for SessionBatchSpanProcessor {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.sessions.span_starts(&self.stamper, span, cx);
    }

    fn on_end(&self, mut span: SpanData) {
        if scope::in_use() {
            // Here and not on the batch thread: spans that are not sampled or find the queue full never get there.
            stamp_scoped(&mut span);
        }
        self.inner.on_end(span);
        // After it: a flush between the two would take a span that is not in the queue yet for a lost one.
        self.tally.add_emitted();
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.finish(BatchSpanProcessor::force_flush)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.finish(|inner| inner.shutdown_with_timeout(timeout))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.stamper.provider_is_built();
        self.inner.set_resource(resource);
    }
}

/// The exporter on the batch thread: it owns the spans, and so may stamp them there.
#[derive(Debug)]
struct StampingExporter<E> {
    stamper: Arc<Stamper>,
    tally: Arc<Tally>,
    failures: Arc<Failures>,
    inner: E,
}

impl<E: SpanExporter> SpanExporter for StampingExporter<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        for span in &mut batch {
            stamp(self.stamper.core(), span);
        }
        let exported = self.inner.export(batch).await;
        self.tally.add_exported(count);
        self.failures.note(&exported);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
