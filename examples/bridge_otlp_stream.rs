//! Bridges the logs of another producer, read from OTLP JSON lines as the OpenTelemetry Collector's file exporter writes
//! them, to a Snowplow collector in this process.
//!
//! `cargo run --features snowplow,dev-collector --example bridge_otlp_stream [file.jsonl]`; exit code 1 if any event is bad.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use otel_session::SnowplowExporter;
use otel_session::collector::DevCollector;
use serde_json::Value;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/otlp_logs.jsonl");
    let file = std::env::args().nth(1).unwrap_or_else(|| ours.to_owned());
    let collector = DevCollector::start()?;
    let snowplow = SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint()).build()?;
    for line in std::fs::read_to_string(file)?.lines() {
        for resource_logs in list(&serde_json::from_str(line)?, "resourceLogs") {
            bridge(resource_logs, &snowplow)?;
        }
    }
    let report = snowplow.shutdown(Duration::from_secs(5));
    let stream = collector.stream();
    stream.snowplow_good().iter().for_each(|event| println!("{} {:?}", event.schema(), event.client_session()));
    stream.snowplow_bad().iter().for_each(|bad| println!("bad: {}", bad.errors().join("; ")));
    println!("{} accepted, {} bad; {report}", stream.snowplow_good().len(), stream.snowplow_bad().len());
    let complete = stream.snowplow_bad().is_empty() && !stream.snowplow_good().is_empty() && report.pending == 0;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A provider for each resource; all of them feed the same exporter.
fn bridge(logs: &Value, snowplow: &SnowplowExporter) -> Result<(), Box<dyn Error>> {
    let text = |any: AnyValue| if let AnyValue::String(it) = any { it.to_string() } else { format!("{any:?}") };
    let described = attributes(&logs["resource"]).map(|(key, value)| KeyValue::new(key, text(value)));
    let resource = Resource::builder_empty().with_attributes(described).build();
    let loggers = SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(snowplow.clone()).build();
    for scope in list(logs, "scopeLogs") {
        let logger = loggers.logger(scope["scope"]["name"].as_str().unwrap_or_default().to_owned());
        for read in list(scope, "logRecords") {
            let mut record = logger.create_log_record();
            // The API takes only names that live as long as the program; as an attribute it means the same.
            if let Some(name) = read["eventName"].as_str() {
                record.add_attribute("event.name", name.to_owned());
            }
            if let Some(nanos) = read["timeUnixNano"].as_str().and_then(|it| it.parse().ok()) {
                record.set_timestamp(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
            }
            record.set_body(read.get("body").map_or(AnyValue::from(""), value));
            record.add_attributes(attributes(read));
            logger.emit(record);
        }
    }
    Ok(loggers.shutdown()?)
}

fn list<'a>(within: &'a Value, key: &str) -> &'a [Value] {
    within[key].as_array().map_or(&[], Vec::as_slice)
}

fn attributes(within: &Value) -> impl Iterator<Item = (String, AnyValue)> + '_ {
    list(within, "attributes").iter().map(|it| (it["key"].as_str().unwrap_or_default().to_owned(), value(&it["value"])))
}

/// The kinds that the file has; all others become their JSON.
fn value(any: &Value) -> AnyValue {
    match any.as_object().and_then(|it| it.iter().next()).map(|(kind, it)| (kind.as_str(), it)) {
        Some(("stringValue", Value::String(it))) => AnyValue::from(it.clone()),
        Some(("boolValue", Value::Bool(it))) => AnyValue::Boolean(*it),
        Some(("intValue", Value::String(it))) => it.parse().map_or(AnyValue::from(it.clone()), AnyValue::Int),
        _ => AnyValue::from(any.to_string()),
    }
}
