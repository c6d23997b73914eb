//! Sessions beside providers of one's own: wrap the processors, and every span and log carries its session.
//!
//!     cargo run --example own_providers

use std::error::Error;
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLoggerProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use otel_session::Sessions;

fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Sessions::builder().build()?;
    let tracers =
        SdkTracerProvider::builder().with_span_processor(sessions.batch_span_processor(StandardOutput)).build();
    let loggers = SdkLoggerProvider::builder().with_log_processor(sessions.batch_log_processor(StandardOutput)).build();

    tracers.tracer("shop").in_span("checkout", |_| {
        let logger = loggers.logger("shop");
        let mut record = logger.create_log_record();
        record.set_body(AnyValue::from("paid"));
        logger.emit(record);
    });

    // In this order: the providers' shutdown would take the pipelines away before the session has ended.
    sessions.shutdown(Duration::from_secs(5))?;
    tracers.shutdown()?;
    loggers.shutdown()?;
    Ok(())
}

/// Stands for any exporter: it prints a line for each record.
#[derive(Debug)]
struct StandardOutput;

impl SpanExporter for StandardOutput {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &batch {
            let attributes: Vec<_> = span.attributes.iter().map(|it| format!("{}={}", it.key, it.value)).collect();
            println!("span {:?} {}", span.name, attributes.join(" "));
        }
        Ok(())
    }
}

impl LogExporter for StandardOutput {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        for (record, _) in batch.iter() {
            let id = record.attributes_iter().find(|(key, _)| key.as_str() == "session.id").map(|(_, id)| id);
            println!("log {:?} {:?} session.id={id:?}", record.event_name().unwrap_or_default(), record.body());
        }
        Ok(())
    }
}
