//! The exporters: OTLP with a bound on every export, a count of what a failed one lost, and one warning an outage.
//!
//! The batch threads of the SDK drive the exporters, outside any runtime of the application's. gRPC needs a runtime for its
//! connection and its timers, so it gets one of its own: one thread, shared by both signals, that lives as long as the
//! exporters. A runtime of the application's would not do: one that is blocked in a shutdown could not drive the export that
//! the shutdown waits for.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::LogBatch;
use opentelemetry_sdk::trace::SpanData;

use super::destination::{Destination, Endpoint, Headers, LOGS, Otlp, Protocol, SPANS, Signal};
use super::error::SetupError;
use crate::clock;
use crate::host::is_loopback_name;
use crate::lifecycle;
use crate::telemetry::{Loss, LossCounters};

/// An exporter of one signal; without one, what it is given goes nowhere.
#[derive(Debug)]
pub(super) struct Exporter<E>(Option<Guarded<E>>);

/// Field order matters: the connection goes before the runtime that drives it.
#[derive(Debug)]
struct Guarded<E> {
    inner: E,
    signal: &'static Signal,
    endpoint: Endpoint,
    /// No attempt takes longer than this, and none begins after it.
    bound: Duration,
    outage: Outage,
    losses: Arc<LossCounters>,
    runtime: Option<Arc<Runtime>>,
}

pub(super) struct Exporters {
    pub(super) spans: Exporter<SpanExporter>,
    pub(super) logs: Exporter<LogExporter>,
}

impl Exporters {
    pub(super) fn build(spans: Destination, logs: Destination, losses: &Arc<LossCounters>) -> Result<Self, SetupError> {
        let grpc = |it: &Destination| matches!(it, Destination::Otlp(Otlp { protocol: Protocol::Grpc, .. }));
        let runtime = if grpc(&spans) || grpc(&logs) { Some(Arc::new(Runtime::start()?)) } else { None };
        Ok(Self {
            spans: Exporter::build(spans, &SPANS, losses, runtime.as_ref(), spans_over)?,
            logs: Exporter::build(logs, &LOGS, losses, runtime.as_ref(), logs_over)?,
        })
    }
}

impl<E> Exporter<E> {
    fn build(
        destination: Destination,
        signal: &'static Signal,
        losses: &Arc<LossCounters>,
        runtime: Option<&Arc<Runtime>>,
        build: fn(&Otlp) -> Result<E, ExporterBuildError>,
    ) -> Result<Self, SetupError> {
        let Destination::Otlp(otlp) = destination else { return Ok(Self(None)) };
        let runtime = runtime.filter(|_| otlp.protocol == Protocol::Grpc).cloned();
        let built = {
            // The connection starts its tasks on the runtime that is entered while it is built.
            let _entered = runtime.as_ref().and_then(|runtime| runtime.enter());
            build(&otlp)
        };
        let inner = built.map_err(|cause| SetupError::Exporter { signal: signal.what, cause: shown(cause, &otlp) })?;
        Ok(Self(Some(Guarded {
            inner,
            signal,
            endpoint: otlp.endpoint,
            bound: otlp.timeout.saturating_add(GRACE),
            outage: Outage::default(),
            losses: losses.clone(),
            runtime,
        })))
    }
}

/// The exporter's message names the endpoint, in which there may be a password.
fn shown(cause: ExporterBuildError, otlp: &Otlp) -> ExporterBuildError {
    let show = |text: String| text.replace(otlp.endpoint.as_str(), &otlp.endpoint.to_string());
    match cause {
        ExporterBuildError::InvalidConfiguration(text) => ExporterBuildError::InvalidConfiguration(show(text)),
        ExporterBuildError::InternalFailure(text) => ExporterBuildError::InternalFailure(show(text)),
    }
}

fn spans_over(otlp: &Otlp) -> Result<SpanExporter, ExporterBuildError> {
    match otlp.protocol {
        Protocol::Grpc => over_grpc(SpanExporter::builder().with_tonic(), otlp).build(),
        Protocol::HttpProtobuf => over_http(SpanExporter::builder().with_http(), otlp)?.build(),
    }
}

fn logs_over(otlp: &Otlp) -> Result<LogExporter, ExporterBuildError> {
    match otlp.protocol {
        Protocol::Grpc => over_grpc(LogExporter::builder().with_tonic(), otlp).build(),
        Protocol::HttpProtobuf => over_http(LogExporter::builder().with_http(), otlp)?.build(),
    }
}

fn over_grpc<B: WithExportConfig + WithTonicConfig>(builder: B, otlp: &Otlp) -> B {
    let builder = builder.with_endpoint(otlp.endpoint.as_str()).with_timeout(otlp.timeout);
    let builder = builder.with_metadata(metadata(&otlp.headers));
    match otlp.compression {
        Some(compression) => builder.with_compression(compression),
        None => builder,
    }
}

fn over_http<B: WithExportConfig + WithHttpConfig>(builder: B, otlp: &Otlp) -> Result<B, ExporterBuildError> {
    let builder = builder.with_protocol(opentelemetry_otlp::Protocol::HttpBinary);
    let builder = builder.with_endpoint(otlp.endpoint.as_str()).with_timeout(otlp.timeout);
    // The exporter decodes what it is given once more.
    let encoded = |(name, value): &(String, String)| (name.clone(), value.replace('%', "%25"));
    let builder = builder.with_headers(otlp.headers.0.iter().map(encoded).collect());
    let builder = builder.with_http_client(http_client(otlp)?);
    Ok(match otlp.compression {
        Some(compression) => builder.with_compression(compression),
        None => builder,
    })
}

/// Headers as gRPC has them. They were checked, so none is left out.
pub(super) fn metadata(Headers(headers): &Headers) -> MetadataMap {
    let header = |(name, value): &(String, String)| Some((name.parse().ok()?, value.parse().ok()?));
    MetadataMap::from_headers(headers.iter().filter_map(header).collect())
}

/// Whether an endpoint is on this machine, by its name.
pub(super) fn is_near(endpoint: &str) -> bool {
    url::Url::parse(endpoint).is_ok_and(|url| url.host_str().is_some_and(is_loopback_name))
}

/// The client that works on the SDK's batch threads. Left to itself the exporter takes an asynchronous one as soon as any
/// crate of the program asks for that feature, and its first export panics there.
///
/// It uses the proxies that the environment names, but never towards this machine: what listens at localhost is not behind one.
fn http_client(otlp: &Otlp) -> Result<reqwest::blocking::Client, ExporterBuildError> {
    let (timeout, is_near) = (otlp.timeout, is_near(otlp.endpoint.as_str()));
    let build = move || {
        let builder = reqwest::blocking::Client::builder().timeout(timeout);
        if is_near { builder.no_proxy().build() } else { builder.build() }
    };
    let failed = |problem: String| ExporterBuildError::InternalFailure(format!("no HTTP client: {problem}"));
    // On a thread of its own: within an asynchronous runtime it refuses to be built.
    let thread = std::thread::Builder::new().name("otel-session.http".into()).spawn(build);
    let thread = thread.map_err(|error| failed(error.to_string()))?;
    let built = thread.join().map_err(|_| failed("building it panicked".into()))?;
    built.map_err(|error| failed(error.to_string()))
}

impl opentelemetry_sdk::trace::SpanExporter for Exporter<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let Some(guarded) = &self.0 else { return Ok(()) };
        let spans = batch.len();
        let result = guarded.bounded(guarded.inner.export(batch)).await;
        guarded.settle(result, Loss::SpanExport, spans)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.as_ref().map_or(Ok(()), |guarded| guarded.inner.shutdown_with_timeout(timeout))
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.as_ref().map_or(Ok(()), |guarded| guarded.inner.force_flush())
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(guarded) = &mut self.0 {
            guarded.inner.set_resource(resource);
        }
    }
}

impl opentelemetry_sdk::logs::LogExporter for Exporter<LogExporter> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let Some(guarded) = &self.0 else { return Ok(()) };
        // The lost lifecycle records of a batch are counted where they are put in.
        let ordinary = batch.iter().filter(|(_, scope)| !std::ptr::eq(*scope, lifecycle::scope())).count();
        let result = guarded.bounded(guarded.inner.export(batch)).await;
        guarded.settle(result, Loss::LogExport, ordinary)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.as_ref().map_or(Ok(()), |guarded| guarded.inner.shutdown_with_timeout(timeout))
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(guarded) = &mut self.0 {
            guarded.inner.set_resource(resource);
        }
    }
}

impl<E> Guarded<E> {
    /// Over HTTP the client bounds each attempt; over gRPC nothing bounds the connecting.
    async fn bounded(&self, export: impl Future<Output = OTelSdkResult> + Send) -> OTelSdkResult {
        let Some(runtime) = &self.runtime else { return export.await };
        match runtime.timeout(self.bound, export).await {
            Some(result) => result,
            None => Err(OTelSdkError::Timeout(self.bound)),
        }
    }

    /// Counts what a failed export lost, and tells it once an outage.
    fn settle(&self, result: OTelSdkResult, loss: Loss, count: usize) -> OTelSdkResult {
        let Self { signal, endpoint, .. } = self;
        match &result {
            Err(error) => {
                self.losses.add(loss, count as u64);
                if self.outage.begins() {
                    tracing::warn!(
                        target: TARGET,
                        "{} cannot be exported to {endpoint}: {error}. What is lost until then is counted in Sessions::losses()",
                        signal.what
                    );
                }
            }
            Ok(()) => {
                if self.outage.ends() {
                    tracing::info!(target: TARGET, "{} are exported to {endpoint} again", signal.what);
                }
            }
        }
        result
    }
}

/// Whether exports fail, so that an outage is told once and one that comes and goes at most once a minute.
#[derive(Debug, Default)]
struct Outage {
    /// It was told, and its end was not.
    told: AtomicBool,
    /// When the last one was told, in nanoseconds of boot time; 0 if none was.
    told_at: AtomicI64,
}

impl Outage {
    /// One export runs at a time, so loads and stores do.
    fn begins(&self) -> bool {
        if self.told.load(Ordering::Relaxed) {
            return false;
        }
        let now = clock::Source::System.moment().boot;
        let told_at = self.told_at.load(Ordering::Relaxed);
        if told_at != 0 && now.saturating_sub(told_at) < MINUTE {
            return false;
        }
        self.told_at.store(now, Ordering::Relaxed);
        self.told.store(true, Ordering::Relaxed);
        true
    }

    fn ends(&self) -> bool {
        self.told.load(Ordering::Relaxed) && self.told.swap(false, Ordering::Relaxed)
    }
}

/// The thread that drives gRPC.
#[derive(Debug)]
struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    fn start() -> Result<Self, SetupError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otel-session.grpc")
            // Nothing that happens on these threads is the application's telemetry. They are ours alone, so the guard is
            // never given back.
            .on_thread_start(|| std::mem::forget(Context::enter_telemetry_suppressed_scope()))
            .enable_all()
            .build()
            .map_err(SetupError::Thread)?;
        Ok(Self(Some(runtime)))
    }

    fn enter(&self) -> Option<tokio::runtime::EnterGuard<'_>> {
        self.0.as_ref().map(tokio::runtime::Runtime::enter)
    }

    /// The result, or none if it takes longer than `bound`.
    async fn timeout<T>(&self, bound: Duration, future: impl Future<Output = T> + Send) -> Option<T> {
        let bounded = {
            // The timer belongs to the runtime that is entered while it is made.
            let _entered = self.enter();
            tokio::time::timeout(bound, future)
        };
        bounded.await.ok()
    }
}

impl Drop for Runtime {
    /// Without waiting: the last exporter may go within another runtime, where waiting would panic.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How much longer than its timeout one export may take before it is given up.
const GRACE: Duration = Duration::from_secs(1);
const MINUTE: i64 = 60_000_000_000;
/// The target of what is told about exports; it is never exported itself.
pub(super) const TARGET: &str = "otel_session::setup";
