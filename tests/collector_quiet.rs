//! The collector's own thread sends nothing to the telemetry of the program it runs in: each export would otherwise
//! cause the next. In a process of its own, for it needs the global subscriber.

use std::io::{Read, Write};
use std::net::TcpStream;

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::{InMemoryLogExporter, SdkLoggerProvider};
use otel_session::collector::DevCollector;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[test]
fn serving_http_2_emits_no_telemetry() {
    let exporter = InMemoryLogExporter::default();
    let loggers = SdkLoggerProvider::builder().with_simple_exporter(exporter.clone()).build();
    tracing_subscriber::registry().with(OpenTelemetryTracingBridge::new(&loggers)).init();
    tracing::trace!("the bridge works");
    let collector = DevCollector::start().expect("a collector");

    // A client without a library that traces: the connection preface, empty settings, and a goodbye.
    let grpc = collector.otlp_grpc_endpoint();
    let mut socket = TcpStream::connect(grpc.trim_start_matches("http://")).expect("the collector listens");
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let goodbye = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &goodbye[..]].concat();
    socket.write_all(&preface).expect("the collector reads");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("the collector answers and closes");
    assert_eq!(answer.get(3), Some(&4), "it answers with settings: {answer:?}");
    drop(collector);

    let logs = exporter.get_emitted_logs().expect("the exporter is still there");
    assert_eq!(logs.len(), 1, "only what the test said, not {:?}", logs.last().map(|log| log.record.body()));
}
