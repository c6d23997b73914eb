//! Bridges the logs of another producer, read from OTLP JSON lines as the OpenTelemetry Collector's file exporter writes
//! them, to a Snowplow collector in this process.
//!
//! `cargo run --features snowplow,dev-collector --example bridge_otlp_stream [file.jsonl]`; exit code 1 if any event is bad
//! or lost.

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
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file} cannot be read: {error}"))?;
    for (index, line) in text.lines().enumerate() {
        let document = serde_json::from_str(line)
            .map_err(|error| format!("{file}, line {}, is no JSON document: {error}", index + 1))?;
        for resource_logs in list(&document, "resourceLogs") {
            bridge(resource_logs, &snowplow)?;
        }
    }
    let report = snowplow.shutdown(Duration::from_secs(5));
    let stream = collector.stream();
    println!("{:<15} {:<37} session index  event  previous session", "event", "session");
    for event in stream.snowplow_good() {
        let session = event.client_session().unwrap_or_default();
        println!(
            "{:<15} {:<37} {:>13}  {:>5}  {}",
            event.schema().split('/').nth(1).unwrap_or_default(),
            session.session_id,
            session.session_index,
            session.event_index.map_or("-".to_owned(), |it| it.to_string()),
            session.previous_session_id.as_deref().unwrap_or("-"),
        );
    }
    stream.snowplow_bad().iter().for_each(|bad| println!("bad: {}", bad.errors().join("; ")));
    println!(
        "\n{} accepted, {} bad; the exporter says: {report}",
        stream.snowplow_good().len(),
        stream.snowplow_bad().len()
    );
    let arrived = stream.snowplow_bad().is_empty() && !stream.snowplow_good().is_empty();
    let complete = arrived && report.pending == 0 && report.dropped.total() == 0;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A provider for each resource; all of them feed the same exporter.
fn bridge(logs: &Value, snowplow: &SnowplowExporter) -> Result<(), Box<dyn Error>> {
    let text = |any: AnyValue| if let AnyValue::String(it) = any { it.to_string() } else { format!("{any:?}") };
    let described = attributes(&logs["resource"]).map(|(key, value)| KeyValue::new(key, text(value)));
    let resource = Resource::builder_empty().with_attributes(described).build();
    // Each record is in the outbox when it was emitted: a file is read faster than a batch processor's queue allows.
    let loggers = SdkLoggerProvider::builder().with_resource(resource).with_simple_exporter(snowplow.clone()).build();
    for scope in list(logs, "scopeLogs") {
        let logger = loggers.logger(scope["scope"]["name"].as_str().unwrap_or_default().to_owned());
        for read in list(scope, "logRecords") {
            let mut record = logger.create_log_record();
            // The API takes only names that live as long as the program; as an attribute it means the same.
            if let Some(name) = read["eventName"].as_str() {
                record.add_attribute("event.name", name.to_owned());
            }
            if let Some(time) = time(&read["timeUnixNano"]) {
                record.set_timestamp(time);
            }
            if let Some(time) = time(&read["observedTimeUnixNano"]) {
                record.set_observed_timestamp(time);
            }
            record.set_body(read.get("body").map_or(AnyValue::from(""), value));
            record.add_attributes(attributes(read));
            logger.emit(record);
        }
    }
    Ok(loggers.shutdown()?)
}

fn time(nanos: &Value) -> Option<SystemTime> {
    let nanos = nanos.as_str()?.parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
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
        Some(("doubleValue", Value::Number(it))) => {
            it.as_f64().map_or(AnyValue::from(it.to_string()), AnyValue::Double)
        }
        Some(("intValue", Value::String(it))) => it.parse().map_or(AnyValue::from(it.clone()), AnyValue::Int),
        _ => AnyValue::from(any.to_string()),
    }
}
