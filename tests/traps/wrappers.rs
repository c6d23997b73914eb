//! What a wrapper must delegate.

use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchLogProcessor, LogBatch, LogExporter, LogProcessor, SdkLogRecord, SdkLoggerProvider, SimpleLogProcessor,
};
use otel_session::testing::CapturedLogs;
use otel_session::{Loss, Sessions};

use crate::support::exporters::Counting;
use crate::support::pipelines::in_every_runtime;
use crate::support::*;

#[test]
fn l_a_log_wrapper_forwards_flush_shutdown_and_resource_once() {
    in_every_runtime(|| {
        let rig = Rig::new();
        let inner = Counting::default();
        let provider = provider_of(rig.sessions.log_processor(inner.clone()));
        assert_eq!(inner.count(|calls| &calls.resources), 1);
        provider.force_flush().unwrap();
        assert_eq!(inner.count(|calls| &calls.flushed), 1);
        emit(&provider.logger("test"), "log", None);
        assert_eq!(inner.count(|calls| &calls.emitted), 2, "the start, and the log");
        provider.shutdown_with_timeout(Duration::from_secs(7)).unwrap();
        assert_eq!(inner.timeout(), Some(Duration::from_secs(7)));
        assert!(provider.shutdown().is_err());
        drop(provider);
        assert_eq!(inner.count(|calls| &calls.shut_down), 1);
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

/// A wrapper of the application's, around ours, that leaves `set_resource` to its default, which does nothing.
#[derive(Debug)]
struct WithoutResource<P>(P);

impl<P: LogProcessor> LogProcessor for WithoutResource<P> {
    fn emit(&self, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        self.0.emit(data, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
}

#[test]
fn l_a_log_after_the_shutdown_of_a_pipeline_that_was_never_attached_starts_nothing_and_is_counted() {
    fn check<P: LogProcessor + 'static>(make: impl FnOnce(&Sessions, CapturedLogs) -> P, counted: u64) {
        let (rig, logs) = (Rig::new(), CapturedLogs::default());
        let provider = provider_of(WithoutResource(make(&rig.sessions, logs.clone())));
        let logger = provider.logger("test");
        provider.shutdown().unwrap();
        emit(&logger, "late", None);
        assert!(rig.sessions.current().is_none(), "nothing starts where nobody would be told");
        drop((provider, logger));
        assert_eq!(logs.records().len(), 0);
        let losses = rig.sessions.losses();
        assert_eq!((losses.count(Loss::LogAfterShutdown), losses.total()), (counted, counted), "{losses}");
    }
    check(|sessions, logs| sessions.batch_log_processor(logs), 1);
    check(|sessions, logs| sessions.log_processor(SimpleLogProcessor::new(logs)), 0);
}

#[test]
fn l_a_span_wrapper_forwards_flush_shutdown_and_resource_once() {
    in_every_runtime(|| {
        let rig = Rig::new();
        let inner = Counting::default();
        let provider = tracers_of(rig.sessions.span_processor(inner.clone()));
        assert_eq!(inner.count(|calls| &calls.resources), 1);
        provider.tracer("test").in_span("span", |_| {});
        assert_eq!((inner.count(|calls| &calls.started), inner.count(|calls| &calls.ended)), (1, 1));
        provider.force_flush().unwrap();
        assert_eq!(inner.count(|calls| &calls.flushed), 1);
        provider.shutdown_with_timeout(Duration::from_secs(7)).unwrap();
        assert_eq!(inner.timeout(), Some(Duration::from_secs(7)));
        drop(provider);
        assert_eq!(inner.count(|calls| &calls.shut_down), 1);
    });
}

#[test]
fn l_dropping_the_last_provider_runs_its_shutdown() {
    // A processor that held its own provider or logger would be a circle, and this would never happen.
    let rig = Rig::new();
    let (logs, spans) = (Counting::default(), Counting::default());
    let loggers = provider_of(rig.sessions.log_processor(logs.clone()));
    let tracers = tracers_of(rig.sessions.span_processor(spans.clone()));
    let logger = loggers.logger("test");
    emit(&logger, "log", None);
    tracers.tracer("test").in_span("span", |_| {});
    rig.sessions.rotate();
    drop((loggers, tracers));
    assert_eq!(logs.count(|calls| &calls.shut_down), 0, "a logger is left");
    drop(logger);
    assert_eq!(logs.count(|calls| &calls.shut_down), 1);
    assert_eq!(spans.count(|calls| &calls.shut_down), 1);
}

/// An exporter that enables errors only.
#[derive(Debug)]
struct Quiet;

impl LogExporter for Quiet {
    async fn export(&self, _: LogBatch<'_>) -> OTelSdkResult {
        Ok(())
    }

    fn event_enabled(&self, level: Severity, _: &str, _: Option<&str>) -> bool {
        level >= Severity::Error
    }
}

#[test]
fn l_event_enabled_is_delegated() {
    let rig = Rig::new();
    let enabled = |provider: &SdkLoggerProvider, level| provider.logger("test").event_enabled(level, "target", None);
    let provider = provider_of(rig.sessions.log_processor(Counting::default()));
    assert!(!enabled(&provider, Severity::Error));
    let provider = provider_of(rig.sessions.log_processor(opentelemetry_sdk::logs::SimpleLogProcessor::new(Quiet)));
    assert!(enabled(&provider, Severity::Error));
    assert!(!enabled(&provider, Severity::Info));
    // The SDK's batch processor enables everything, and ours is no stricter.
    let ours = enabled(&provider_of(rig.sessions.batch_log_processor(Quiet)), Severity::Info);
    assert_eq!(ours, enabled(&provider_of(BatchLogProcessor::builder(Quiet).build()), Severity::Info));
}

/// An exporter that counts its own flushes and shutdowns.
#[derive(Debug, Clone, Default)]
struct Ends(std::sync::Arc<std::sync::atomic::AtomicUsize>, std::sync::Arc<std::sync::Mutex<Option<Resource>>>);

impl LogExporter for Ends {
    async fn export(&self, _: LogBatch<'_>) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        *self.1.lock().unwrap() = Some(resource.clone());
    }
}

#[test]
fn l_the_batch_processor_shuts_its_exporter_down_once_and_gives_it_the_resource() {
    in_every_runtime(|| {
        for only_dropped in [true, false] {
            let rig = Rig::new();
            let exporter = Ends::default();
            let provider = provider_of(rig.sessions.batch_log_processor(exporter.clone()));
            emit(&provider.logger("test"), "log", None);
            if !only_dropped {
                provider.shutdown().unwrap();
            }
            drop(provider);
            assert_eq!(exporter.0.load(std::sync::atomic::Ordering::SeqCst), 1);
            let resource = exporter.1.lock().unwrap();
            assert!(resource.as_ref().is_some_and(|it| it.get(&"telemetry.sdk.name".into()).is_some()));
        }
    });
}

/// A span exporter that counts its own flushes and shutdowns, and keeps its resource.
#[derive(Debug, Clone, Default)]
struct SpanEnds(std::sync::Arc<std::sync::Mutex<(usize, usize, Option<Resource>)>>);

impl opentelemetry_sdk::trace::SpanExporter for SpanEnds {
    async fn export(&self, _: Vec<opentelemetry_sdk::trace::SpanData>) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.lock().unwrap().0 += 1;
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.0.lock().unwrap().1 += 1;
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.lock().unwrap().2 = Some(resource.clone());
    }
}

#[test]
fn l_the_batch_processor_for_spans_does_to_its_exporter_what_the_sdks_own_does() {
    in_every_runtime(|| {
        let seen = |of: &dyn Fn(SpanEnds) -> opentelemetry_sdk::trace::SdkTracerProvider| {
            let exporter = SpanEnds::default();
            let provider = of(exporter.clone());
            provider.tracer("test").in_span("span", |_| {});
            provider.force_flush().unwrap();
            provider.shutdown().unwrap();
            drop(provider);
            exporter.0.lock().unwrap().clone()
        };
        let rig = Rig::new();
        let ours = seen(&|exporter| tracers_of(rig.sessions.batch_span_processor(exporter)));
        let theirs =
            seen(&|exporter| tracers_of(opentelemetry_sdk::trace::BatchSpanProcessor::builder(exporter).build()));
        assert_eq!((ours.0, ours.1), (theirs.0, theirs.1));
        assert!(ours.2.is_some() && ours.2 == theirs.2);
    });
}
