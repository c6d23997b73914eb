//! The development collector behind the exporters people use.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::trace::{Event, Span, SpanBuilder, SpanKind, Status, Tracer, TracerProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    Compression, LogExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_session::collector::{DevCollector, Problem, SpanStatus, Value};

#[test]
fn grpc_exporters_are_understood() {
    over_grpc(None);
}

#[test]
fn grpc_exporters_with_gzip_are_understood() {
    over_grpc(Some(Compression::Gzip));
}

#[test]
fn http_protobuf_exporters_are_understood() {
    over_http(None);
}

#[test]
fn http_protobuf_exporters_with_gzip_are_understood() {
    over_http(Some(Compression::Gzip));
}

#[test]
fn a_batch_too_large_for_the_collector_is_an_error_of_the_exporter() {
    let collector = DevCollector::builder().with_max_body_bytes(1_000).build().expect("a collector");
    let endpoint = format!("{}/v1/logs", collector.otlp_http_endpoint());
    let exporter = LogExporter::builder().with_http().with_endpoint(endpoint).build().expect("an exporter");
    let loggers = SdkLoggerProvider::builder().with_batch_exporter(exporter).build();
    let logger = loggers.logger("t");
    let mut record = logger.create_log_record();
    record.set_body("x".repeat(2_000).into());
    logger.emit(record);
    assert!(loggers.force_flush().is_err());
    assert_eq!(collector.stream().refusals().to_string(), "1 too large");
}

fn over_grpc(compression: Option<Compression>) {
    // The gRPC client runs on the caller's runtime.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let collector = DevCollector::start().expect("a collector");
    let (mut spans, mut logs) = (SpanExporter::builder().with_tonic(), LogExporter::builder().with_tonic());
    if let Some(compression) = compression {
        (spans, logs) = (spans.with_compression(compression), logs.with_compression(compression));
    }
    let spans = spans.with_endpoint(collector.otlp_grpc_endpoint()).build().expect("an exporter");
    let logs = logs.with_endpoint(collector.otlp_grpc_endpoint()).build().expect("an exporter");
    check(&collector, spans, logs);
}

fn over_http(compression: Option<Compression>) {
    let collector = DevCollector::start().expect("a collector");
    let (mut spans, mut logs) = (SpanExporter::builder().with_http(), LogExporter::builder().with_http());
    if let Some(compression) = compression {
        (spans, logs) = (spans.with_compression(compression), logs.with_compression(compression));
    }
    let base = collector.otlp_http_endpoint();
    let spans = spans.with_protocol(Protocol::HttpBinary).with_endpoint(format!("{base}/v1/traces")).build();
    let logs = logs.with_protocol(Protocol::HttpBinary).with_endpoint(format!("{base}/v1/logs")).build();
    check(&collector, spans.expect("an exporter"), logs.expect("an exporter"));
}

/// Sends a session with a span and a log in it, and one log that belongs nowhere.
fn check(collector: &DevCollector, spans: SpanExporter, logs: LogExporter) {
    let resource = Resource::builder_empty().with_service_name("shop").build();
    let tracers = SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build();
    let loggers = SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(logs).build();
    let scope = InstrumentationScope::builder("checkout").with_version("1.2").build();
    let logger = loggers.logger_with_scope(scope);
    emit(&logger, Some("session.start"), Some("s1"), 1);
    emit(&logger, None, Some("s1"), 2);
    emit(&logger, Some("session.end"), Some("s1"), 9);
    emit(&logger, None, None, 10);
    let mut event_attributes = vec![KeyValue::new("session.id", "s1")];
    event_attributes.push(KeyValue::new("count", 3));
    let span = SpanBuilder::from_name("GET /")
        .with_kind(SpanKind::Server)
        .with_start_time(time(2))
        .with_attributes([KeyValue::new("session.id", "s1")])
        .with_events(vec![Event::new("click", time(3), event_attributes, 0)]);
    let mut span = tracers.tracer("checkout").build(span);
    span.set_status(Status::error("broke"));
    span.end_with_timestamp(time(4));
    let trace_id = span.span_context().trace_id().to_string();
    tracers.force_flush().expect("the collector takes spans");
    loggers.force_flush().expect("the collector takes logs");

    assert!(collector.wait_until(Duration::from_secs(30), |stream| stream.logs().len() == 4));
    let stream = collector.stream();
    assert_eq!(stream.refusals().total(), 0, "{}", stream.refusals());
    let span = &stream.spans()[0];
    assert_eq!((&span.trace_id, span.name.as_str(), span.session_id()), (&trace_id, "GET /", Some("s1")));
    assert_eq!((span.start_time(), span.end_time()), (time(2), time(4)));
    assert_eq!(span.status, SpanStatus::Error("broke".to_owned()));
    assert_eq!(span.events[0].attributes.get("count"), Some(&Value::Int(3)));
    let log = &stream.logs()[1];
    assert_eq!((log.scope.name.as_str(), log.scope.version.as_str()), ("checkout", "1.2"));
    assert_eq!((log.resource.service_name(), log.severity_number), (Some("shop"), 9));
    assert_eq!(log.body.as_ref().and_then(Value::as_str), Some("text"));

    let sessions = stream.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].spans, sessions[0].span_events, sessions[0].logs), (1, 1, 1));
    assert_eq!(sessions[0].duration(), Some(Duration::from_secs(8)));
    let problems: Vec<_> = stream.problems().iter().map(Problem::to_string).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].ends_with("has no session.id"), "{problems:?}");
}

fn emit(logger: &impl Logger, event: Option<&'static str>, session: Option<&'static str>, seconds: u64) {
    let mut record = logger.create_log_record();
    if let Some(event) = event {
        record.set_event_name(event);
    }
    if let Some(session) = session {
        record.add_attribute("session.id", session);
    }
    record.set_timestamp(time(seconds));
    record.set_severity_number(Severity::Info);
    record.set_body(AnyValue::from("text"));
    logger.emit(record);
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}
