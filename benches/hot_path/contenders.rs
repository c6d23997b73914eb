//! The ways of putting a session id on signals that are compared, as processors in real providers of the SDK.
//!
//! All of them do the same thing at the end: a record or span goes into the same black hole, or into the SDK's own batch
//! processor with an exporter that drops it.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Severity};
use opentelemetry::trace::Span as _;
use opentelemetry::{Context, InstrumentationScope, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder as LogBatchConfig, BatchLogProcessor, LogBatch, LogExporter, LogProcessor, SdkLogRecord,
    SdkLoggerProvider,
};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder as SpanBatchConfig, BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanExporter,
    SpanProcessor,
};
use otel_session::Sessions;
use otel_session::semconv::SESSION_ID;

/// What fits into the queue of a batch processor: what a thread does in a whole sample, so that nothing is dropped and the
/// batch thread sleeps while a sample is timed.
pub(crate) const QUEUE: usize = 4_000;

const ID: &str = "0193b1a2-7c3d-4e5f-8a9b-0c1d2e3f4a5b";

/// The providers that go one way, and share its session.
pub(crate) struct Contender {
    lanes: Vec<Lane>,
}

/// The providers that a thread uses.
pub(crate) struct Lane {
    pub(crate) loggers: SdkLoggerProvider,
    pub(crate) tracers: SdkTracerProvider,
    /// Whose layer the subscriber has, if any.
    pub(crate) layer: Option<Sessions>,
}

/// How the session id gets on a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Not at all: what is subtracted from all others.
    None,
    /// The same id for ever, without a look at anything: less than any session can cost.
    Static,
    /// A static id, unless the signal has one, and one read of the coarse clock: the least that the rules demand.
    LawfulFloor,
    /// A mutex around a `String` and a `SystemTime`: what people write.
    Mutex,
    /// A static id from a second processor, registered beside the one that exports.
    Sibling,
    /// The processors of this crate.
    Ours,
    /// The same, and `sessions.layer()` in the subscriber; differs for `tracing` signals only.
    OursAndLayer,
}

impl Way {
    pub(crate) const ALL: [Self; 7] =
        [Self::None, Self::Static, Self::LawfulFloor, Self::Mutex, Self::Sibling, Self::Ours, Self::OursAndLayer];
}

/// Where signals go in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pipeline {
    /// A processor that does nothing.
    Wrapped,
    /// The SDK's batch processor.
    Batch,
}

impl std::fmt::Display for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Wrapped => "wrapped",
            Self::Batch => "batch",
        })
    }
}

impl Contender {
    /// With batch processors each thread gets a pair of its own: in a queue that two threads fill the SDK itself spends some
    /// 300 ns more on a signal, and that varies by more than what is compared here. The session is still one for all.
    pub(crate) fn new(way: Way, pipeline: Pipeline, threads: usize) -> Self {
        let session = SessionOf { way, sessions: sessions(), state: Arc::new(MutexState::new()) };
        let lanes = match pipeline {
            Pipeline::Wrapped => vec![session.wrapped()],
            Pipeline::Batch => (0..threads).map(|_| session.batch()).collect(),
        };
        Self { lanes }
    }

    pub(crate) fn lane(&self, thread: usize) -> &Lane {
        &self.lanes[thread % self.lanes.len()]
    }

    /// Empties the queues of batch processors.
    pub(crate) fn flush(&self) {
        for lane in &self.lanes {
            lane.loggers.force_flush().expect("logs are flushed");
            lane.tracers.force_flush().expect("spans are flushed");
        }
    }
}

/// What the lanes of a contender share.
struct SessionOf {
    way: Way,
    sessions: Sessions,
    state: Arc<MutexState>,
}

impl SessionOf {
    fn wrapped(&self) -> Lane {
        match self.way {
            Way::Ours | Way::OursAndLayer => {
                self.ours(self.sessions.log_processor(BlackHole), self.sessions.span_processor(BlackHole))
            }
            _ => self.plain(BlackHole, BlackHole),
        }
    }

    fn batch(&self) -> Lane {
        let rarely = Duration::from_secs(3600);
        let logs = LogBatchConfig::default().with_max_queue_size(QUEUE).with_max_export_batch_size(QUEUE);
        let logs = logs.with_scheduled_delay(rarely).build();
        let spans = SpanBatchConfig::default().with_max_queue_size(QUEUE).with_max_export_batch_size(QUEUE);
        let spans = spans.with_scheduled_delay(rarely).build();
        match self.way {
            Way::Ours | Way::OursAndLayer => self.ours(
                self.sessions.batch_log_processor_with(BlackHole, logs),
                self.sessions.batch_span_processor_with(BlackHole, spans),
            ),
            _ => self.plain(
                BatchLogProcessor::builder(BlackHole).with_batch_config(logs).build(),
                BatchSpanProcessor::new(BlackHole, spans),
            ),
        }
    }

    fn ours(&self, logs: impl LogProcessor + 'static, spans: impl SpanProcessor + 'static) -> Lane {
        let layer = (self.way == Way::OursAndLayer).then(|| self.sessions.clone());
        Lane { layer, ..lane(logs, spans) }
    }

    /// Any way but ours.
    fn plain(&self, logs: impl LogProcessor + 'static, spans: impl SpanProcessor + 'static) -> Lane {
        match self.way {
            Way::None => lane(logs, spans),
            Way::Static => lane(StaticId { inner: logs }, StaticId { inner: spans }),
            Way::LawfulFloor => lane(Lawful { inner: logs }, Lawful { inner: spans }),
            Way::Mutex => lane(
                MutexId { state: self.state.clone(), inner: logs },
                MutexId { state: self.state.clone(), inner: spans },
            ),
            Way::Sibling => {
                let stamper = StaticId { inner: BlackHole };
                let loggers = SdkLoggerProvider::builder().with_log_processor(stamper).with_log_processor(logs);
                let stamper = StaticId { inner: BlackHole };
                let tracers = SdkTracerProvider::builder().with_span_processor(stamper).with_span_processor(spans);
                Lane { loggers: loggers.build(), tracers: tracers.build(), layer: None }
            }
            Way::Ours | Way::OursAndLayer => unreachable!("ours is made by Sessions"),
        }
    }
}

fn lane(logs: impl LogProcessor + 'static, spans: impl SpanProcessor + 'static) -> Lane {
    Lane {
        loggers: SdkLoggerProvider::builder().with_log_processor(logs).build(),
        tracers: SdkTracerProvider::builder().with_span_processor(spans).build(),
        layer: None,
    }
}

pub(crate) fn sessions() -> Sessions {
    Sessions::builder().build().expect("the defaults are valid")
}

/// A processor, and an exporter, for which nothing is left to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlackHole;

impl LogProcessor for BlackHole {
    fn emit(&self, data: &mut SdkLogRecord, _instrumentation: &InstrumentationScope) {
        black_box(data);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl SpanProcessor for BlackHole {
    fn on_start(&self, span: &mut Span, _cx: &Context) {
        black_box(span);
    }

    fn on_end(&self, span: SpanData) {
        drop(black_box(span));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl LogExporter for BlackHole {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        black_box(&batch);
        Ok(())
    }
}

impl SpanExporter for BlackHole {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        drop(black_box(batch));
        Ok(())
    }
}

/// Puts the same id on everything.
#[derive(Debug)]
struct StaticId<P> {
    inner: P,
}

impl<P: LogProcessor> LogProcessor for StaticId<P> {
    fn emit(&self, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        data.add_attribute(Key::from_static_str(SESSION_ID), AnyValue::from(ID));
        self.inner.emit(data, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: SpanProcessor> SpanProcessor for StaticId<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        span.set_attribute(KeyValue::new(SESSION_ID, ID));
        self.inner.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Looks for an explicit id, reads the coarse clock once, and puts a static id on.
#[derive(Debug)]
struct Lawful<P> {
    inner: P,
}

impl<P: LogProcessor> LogProcessor for Lawful<P> {
    fn emit(&self, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        black_box(coarse_clock());
        if !data.attributes_iter().any(|(key, _)| key.as_str() == SESSION_ID) {
            data.add_attribute(Key::from_static_str(SESSION_ID), AnyValue::from(ID));
        }
        self.inner.emit(data, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: SpanProcessor> SpanProcessor for Lawful<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        black_box(coarse_clock());
        self.inner.on_start(span, cx);
    }

    /// A span's attributes cannot be read as it starts, except by copying the whole span.
    fn on_end(&self, mut span: SpanData) {
        if !span.attributes.iter().any(|attribute| attribute.key.as_str() == SESSION_ID) {
            span.attributes.push(KeyValue::new(SESSION_ID, ID));
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline]
fn coarse_clock() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    (time.tv_sec as i64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as i64)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[inline]
fn coarse_clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// A session of the kind that blog posts show.
#[derive(Debug)]
struct MutexId<P> {
    state: Arc<MutexState>,
    inner: P,
}

#[derive(Debug)]
struct MutexState(Mutex<(String, SystemTime)>);

impl MutexState {
    const TIMEOUT: Duration = Duration::from_secs(30 * 60);

    fn new() -> Self {
        Self(Mutex::new((ID.to_owned(), SystemTime::now())))
    }

    fn touch(&self) -> String {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        if now.duration_since(state.1).is_ok_and(|idle| idle >= Self::TIMEOUT) {
            state.0 = uuid::Uuid::new_v4().to_string();
        }
        state.1 = now;
        state.0.clone()
    }
}

impl<P: LogProcessor> LogProcessor for MutexId<P> {
    fn emit(&self, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        data.add_attribute(SESSION_ID, self.state.touch());
        self.inner.emit(data, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: SpanProcessor> SpanProcessor for MutexId<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        span.set_attribute(KeyValue::new(SESSION_ID, self.state.touch()));
        self.inner.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
