//! The ways to build a pipeline, and the places to run a program in.

use opentelemetry_sdk::logs::{
    BatchConfig, BatchConfigBuilder, BatchLogProcessor, LogExporter, SdkLoggerProvider, SimpleLogProcessor,
};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, SimpleSpanProcessor, SpanExporter};
use otel_session::{Sessions, SessionsBuilder};

use super::Rig;

/// How a pipeline is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The SDK's simple processors, wrapped.
    Simple,
    /// The SDK's batch processors, wrapped.
    WrappedBatch,
    /// Our batch processors.
    Batch,
}

pub const KINDS: [Kind; 3] = [Kind::Simple, Kind::WrappedBatch, Kind::Batch];

impl Kind {
    pub fn loggers(self, sessions: &Sessions, exporter: impl LogExporter + 'static) -> SdkLoggerProvider {
        let builder = SdkLoggerProvider::builder();
        match self {
            Self::Simple => builder.with_log_processor(sessions.log_processor(SimpleLogProcessor::new(exporter))),
            Self::WrappedBatch => {
                let batch = BatchLogProcessor::builder(exporter).with_batch_config(patient()).build();
                builder.with_log_processor(sessions.log_processor(batch))
            }
            Self::Batch => builder.with_log_processor(sessions.batch_log_processor_with(exporter, patient())),
        }
        .build()
    }

    pub fn tracers(self, sessions: &Sessions, exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
        let builder = SdkTracerProvider::builder();
        match self {
            Self::Simple => builder.with_span_processor(sessions.span_processor(SimpleSpanProcessor::new(exporter))),
            Self::WrappedBatch => {
                builder.with_span_processor(sessions.span_processor(BatchSpanProcessor::builder(exporter).build()))
            }
            Self::Batch => builder.with_span_processor(sessions.batch_span_processor(exporter)),
        }
        .build()
    }
}

/// The default queue, with a batch thread that works only when it is asked: what tests see does not hang on its timer.
pub fn patient() -> BatchConfig {
    BatchConfigBuilder::default().with_scheduled_delay(std::time::Duration::from_secs(3_600)).build()
}

impl Rig {
    pub fn of(kind: Kind) -> Self {
        Self::of_with(kind, |builder| builder)
    }

    pub fn of_with(kind: Kind, configure: impl FnOnce(SessionsBuilder) -> SessionsBuilder) -> Self {
        Self::build(
            configure,
            |sessions, exporter| kind.loggers(sessions, exporter),
            |sessions, exporter| kind.tracers(sessions, exporter),
        )
    }
}

/// Runs a test without tokio, on a current-thread runtime, and as a task of a multi-thread runtime.
pub fn in_every_runtime(test: impl Fn() + Clone + Send + 'static) {
    test();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async { test() });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move { tokio::spawn(async move { test() }).await }).unwrap();
}

/// Runs a test with every kind of pipeline, in every kind of runtime.
pub fn everywhere(test: impl Fn(Kind) + Clone + Send + 'static) {
    in_every_runtime(move || KINDS.into_iter().for_each(&test));
}
