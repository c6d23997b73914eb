//! Corners of spans.

use std::sync::{Arc, Mutex, OnceLock};

use opentelemetry::Context;
use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLogger;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SimpleSpanProcessor, SpanData, SpanExporter};
use otel_session::testing::CapturedSpans;

use crate::support::bounded::returns;
use crate::support::pipelines::{Kind, everywhere, in_every_runtime};
use crate::support::*;

/// Every way to start a span, most of which call `on_start` with the thread's context stack borrowed.
fn start_in_every_way(rig: &Rig, between: impl Fn()) -> usize {
    let tracer = rig.tracer();
    between();
    tracer.start("start").end();
    between();
    tracer.in_span("in_span", |_| {});
    between();
    tracer.span_builder("builder").start(&tracer).end();
    between();
    tracer.start_with_context("with context", &Context::new()).end();
    between();
    tracer.in_span("outer", |_| {
        between();
        tracer.in_span("inner", |_| between());
    });
    between();
    let mut span = tracer.start("ended in map_current");
    Context::map_current(|_| {
        between();
        span.end();
    });
    7
}

#[test]
fn p_a_rotation_noticed_inside_on_start_does_not_panic() {
    everywhere(|kind| {
        let rig = Rig::of(kind);
        let spans = start_in_every_way(&rig, || rig.clock.suspend(TIMEOUT));
        assert!(rig.clock.advance(std::time::Duration::ZERO));
        let lifecycle = rig.lifecycle();
        assert_lawful(&lifecycle);
        assert_eq!(lifecycle.iter().filter(|line| line.is_start()).count(), spans);
        let finished = rig.finished_spans();
        assert_eq!(finished.len(), spans);
        assert!(finished.iter().all(|span| session_id(&span.attributes).is_some()));
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn p_a_rotation_inside_on_start_does_not_panic_when_the_log_pipeline_was_shut_down() {
    everywhere(|kind| {
        let rig = Rig::of(kind);
        rig.log("log");
        rig.loggers.shutdown().unwrap();
        let spans = start_in_every_way(&rig, || rig.clock.suspend(TIMEOUT));
        assert_eq!(rig.finished_spans().len(), spans);
        let made = rig.sessions.record_activity().index() - 1;
        assert_eq!(made, spans as u64 + 1);
        assert_lawful(&rig.lines());
        assert_eq!(rig.lifecycle().len(), 2);
        // What nobody gets is told at the end.
        rig.sessions.shutdown(seconds(20)).unwrap();
        assert_eq!(rig.sessions.losses().total(), 2 * made);
    });
}

#[test]
fn p_a_rotation_inside_on_start_does_not_panic_after_our_shutdown() {
    everywhere(|kind| {
        let rig = Rig::of(kind);
        rig.log("log");
        rig.sessions.shutdown(seconds(20)).unwrap();
        let spans = start_in_every_way(&rig, || rig.clock.suspend(TIMEOUT));
        assert_eq!(rig.finished_spans().len(), spans);
        assert_eq!(rig.lifecycle().len(), 2);
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn p_a_rotation_inside_on_start_does_not_panic_in_an_async_task() {
    use opentelemetry::trace::FutureExt as _;
    for runtime in [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()] {
        let runtime = { runtime }.enable_all().build().unwrap();
        let rig = Arc::new(Rig::new());
        let inner = rig.clone();
        runtime.block_on(async move {
            let tasks = (0..8).map(|_| {
                let rig = inner.clone();
                let context = Context::current_with_span(rig.tracer().start("parent"));
                tokio::spawn(
                    async move {
                        for _ in 0..20 {
                            rig.clock.suspend(TIMEOUT);
                            rig.tracer().in_span("span", |_| rig.log("log"));
                            tokio::task::yield_now().await;
                        }
                    }
                    .with_context(context),
                )
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
        assert_eq!(rig.finished_spans().iter().filter(|span| span.name == "span").count(), 160);
        assert_lawful(&rig.lines());
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

#[test]
fn f_spans_that_are_sampled_out_are_no_activity() {
    let rig = Rig::new();
    let spans = CapturedSpans::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOff)
        .with_span_processor(rig.sessions.span_processor(SimpleSpanProcessor::new(spans.clone())))
        .build();
    provider.tracer("test").in_span("not sampled", |_| {});
    assert_eq!(rig.sessions.current(), None);
    assert!(spans.spans().is_empty());
}

#[test]
fn f_a_span_open_across_the_providers_shutdown_is_lost_by_the_sdk_and_harms_nothing() {
    everywhere(|kind| {
        let rig = Rig::of(kind);
        let mut open = rig.tracer().start("open");
        rig.span("closed");
        rig.tracers.shutdown().unwrap();
        open.end();
        rig.tracer().start("afterwards").end();
        assert_eq!(rig.spans.spans().len(), 1);
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn f_a_sibling_processor_sees_none_of_our_stamps() {
    let rig = Rig::new();
    let (ours, sibling) = (CapturedSpans::default(), CapturedSpans::default());
    let provider = SdkTracerProvider::builder()
        .with_span_processor(rig.sessions.span_processor(SimpleSpanProcessor::new(ours.clone())))
        .with_span_processor(SimpleSpanProcessor::new(sibling.clone()))
        .build();
    provider.tracer("test").in_span("span", |_| {});
    assert!(session_id(&ours.spans()[0].attributes).is_some());
    assert_eq!(session_id(&sibling.spans()[0].attributes), None);
}

/// A span exporter that emits a log for each span: simple span processors do not suppress telemetry.
#[derive(Debug)]
struct Chatty {
    logger: Arc<OnceLock<SdkLogger>>,
    rig: Arc<OnceLock<Arc<Rig>>>,
    ids: Arc<Mutex<Vec<Option<String>>>>,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rig")
    }
}

impl SpanExporter for Chatty {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in batch {
            self.ids.lock().unwrap().push(session_id(&span.attributes));
            if let (Some(logger), Some(rig)) = (self.logger.get(), self.rig.get()) {
                rig.clock.suspend(TIMEOUT);
                emit(logger, "from the span exporter", None);
            }
        }
        Ok(())
    }
}

#[test]
fn l_a_span_exporter_that_logs_and_rotates_neither_recurses_nor_loses() {
    in_every_runtime(|| {
        // Not with simple log processors: an exporter that runs in one executor cannot enter another, says the SDK's.
        for kind in [Kind::WrappedBatch, Kind::Batch] {
            returns("a chatty span exporter", move || {
                let rig = Arc::new(Rig::of(kind));
                let exporter = Chatty { logger: Arc::default(), rig: Arc::default(), ids: Arc::default() };
                let (logger, handle, ids) = (exporter.logger.clone(), exporter.rig.clone(), exporter.ids.clone());
                let tracers = Kind::Simple.tracers(&rig.sessions, exporter);
                logger.set(rig.loggers.logger("chatty")).unwrap();
                handle.set(rig.clone()).unwrap();
                for _ in 0..5 {
                    tracers.tracer("test").in_span("span", |_| rig.log("log"));
                }
                let lines = rig.lines();
                assert_lawful(&lines);
                assert_eq!(lines.iter().filter(|line| line.body == "from the span exporter").count(), 5);
                assert!(ids.lock().unwrap().iter().all(Option::is_some));
                assert_eq!(rig.sessions.losses().total(), 0);
            });
        }
    });
}
