//! The hot path allocates nothing on the thread of the application: each way of ours is compared with the same pipeline of
//! the SDK alone, or with one static attribute in it. Only this thread counts; batch threads and the keeper may allocate.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::hint::black_box;
use std::time::Duration;

use allocation_counter::measure;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Span as _, SpanBuilder, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchLogProcessor, LogProcessor, SdkLogRecord, SdkLoggerProvider};
use opentelemetry_sdk::trace::{BatchConfig, BatchSpanProcessor, SdkTracerProvider};
use otel_session::Sessions;
use otel_session::testing::{CapturedLogs, CapturedSpans};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn a_span_through_batch_span_processor_allocates_what_it_does_without_sessions() {
    let sessions = sessions();
    for attributes in [0, 3] {
        let plain = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::new(CapturedSpans::default(), BatchConfig::default()))
            .build();
        let ours = SdkTracerProvider::builder()
            .with_span_processor(sessions.batch_span_processor(CapturedSpans::default()))
            .build();
        assert_eq!(of_spans(&ours, attributes), of_spans(&plain, attributes), "with {attributes} attributes");
    }
}

#[test]
fn a_log_allocates_what_it_does_with_a_static_attribute() {
    let sessions = sessions();
    for attributes in [0, 3, 5] {
        let fixed = SdkLoggerProvider::builder().with_log_processor(StaticId(BlackHole)).build();
        let ours = SdkLoggerProvider::builder().with_log_processor(sessions.log_processor(BlackHole)).build();
        assert_eq!(of_logs(&ours, attributes), of_logs(&fixed, attributes), "with {attributes} attributes");
    }
}

#[test]
fn a_log_through_batch_log_processor_allocates_what_it_does_with_a_static_attribute() {
    let sessions = sessions();
    for attributes in [0, 3, 5] {
        let batch = BatchLogProcessor::builder(CapturedLogs::default()).build();
        let fixed = SdkLoggerProvider::builder().with_log_processor(StaticId(batch)).build();
        let ours = SdkLoggerProvider::builder()
            .with_log_processor(sessions.batch_log_processor(CapturedLogs::default()))
            .build();
        assert_eq!(of_logs(&ours, attributes), of_logs(&fixed, attributes), "with {attributes} attributes");
    }
}

#[test]
fn a_log_with_up_to_four_attributes_allocates_nothing_at_all() {
    let loggers = SdkLoggerProvider::builder().with_log_processor(sessions().log_processor(BlackHole)).build();
    for attributes in 0..5 {
        assert_eq!(of_logs(&loggers, attributes), 0, "with {attributes} attributes");
    }
}

#[test]
fn reading_and_extending_a_session_allocates_nothing() {
    let sessions = sessions();
    assert_eq!(count(|| _ = black_box(sessions.current())), 0);
    assert_eq!(count(|| _ = black_box(sessions.record_activity())), 0);
}

/// 196 on machines of 64 bits; `docs/manual/performance.md` quotes it.
#[test]
fn a_rotation_keeps_no_more_than_200_bytes_for_good() {
    let sessions = sessions();
    let pipeline = SdkLoggerProvider::builder().with_log_processor(sessions.log_processor(BlackHole)).build();
    // Queues and the history grow by doubling; a rotation that finds room in them shows what is kept for good.
    let kept = (0..200).map(|_| measure(|| _ = black_box(sessions.rotate())).bytes_current).min().unwrap();
    println!("a rotation keeps {kept} bytes");
    assert!(kept <= 200, "{kept}");
    pipeline.shutdown().unwrap();
}

#[test]
fn setting_what_is_set_already_keeps_nothing() {
    let sessions = sessions();
    let set = || {
        sessions.set_user_id(Some("ada"));
        sessions.set_background(true);
    };
    set();
    assert_eq!((0..100).map(|_| measure(set).bytes_current).max(), Some(0));
}

/// Sessions with a session already: what happens once is not counted.
fn sessions() -> Sessions {
    let sessions = Sessions::builder().build().unwrap();
    sessions.record_activity();
    sessions
}

fn of_spans(tracers: &SdkTracerProvider, attributes: usize) -> u64 {
    let tracer = tracers.tracer("test");
    let context = Context::new();
    count(|| {
        let attributes = KEYS[..attributes].iter().map(|key| KeyValue::new(*key, "value"));
        let builder = SpanBuilder::from_name("work").with_attributes(attributes);
        tracer.build_with_context(builder, &context).end();
    })
}

fn of_logs(loggers: &SdkLoggerProvider, attributes: usize) -> u64 {
    let logger = loggers.logger("test");
    count(|| {
        let mut record = logger.create_log_record();
        record.set_body(AnyValue::from("something happened"));
        for key in &KEYS[..attributes] {
            record.add_attribute(*key, "value");
        }
        logger.emit(record);
    })
}

/// How often a hundred calls of `act` allocate on this thread, once everything is warm.
fn count(act: impl Fn()) -> u64 {
    const CALLS: usize = 100;
    let repeat = || (0..CALLS).for_each(|_| act());
    repeat();
    measure(repeat).count_total
}

#[derive(Debug)]
struct BlackHole;

impl LogProcessor for BlackHole {
    fn emit(&self, _data: &mut SdkLogRecord, _instrumentation: &InstrumentationScope) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[derive(Debug)]
struct StaticId<P>(P);

impl<P: LogProcessor> LogProcessor for StaticId<P> {
    fn emit(&self, data: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        data.add_attribute(otel_session::semconv::SESSION_ID, "a static id");
        self.0.emit(data, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
}
