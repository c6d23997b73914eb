//! Log records, and how they get into an exporter without a pipeline.

use std::time::SystemTime;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLogRecord, SdkLoggerProvider};

/// A record without anything.
pub fn blank() -> SdkLogRecord {
    SdkLoggerProvider::builder().build().logger("test").create_log_record()
}

/// An OpenTelemetry event.
pub fn event(name: &'static str, at: SystemTime, attributes: &[(&'static str, AnyValue)]) -> SdkLogRecord {
    let mut record = blank();
    record.set_event_name(name);
    record.set_timestamp(at);
    for (key, value) in attributes {
        record.add_attribute(*key, value.clone());
    }
    record
}

/// Exports records in one batch.
pub fn export(exporter: &impl LogExporter, records: &[SdkLogRecord]) -> OTelSdkResult {
    let scope = InstrumentationScope::builder("test").build();
    let batch: Vec<_> = records.iter().map(|record| (record, &scope)).collect();
    futures_executor::block_on(exporter.export(LogBatch::new(&batch)))
}
