//! Two sessions of a small program, bridged to Opentracker, and what its side makes of them: events, sessions and users.
//!
//! `cargo run --features opentracker,dev-collector --example opentracker`: exit code 1 on any trouble.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use otel_session::collector::{DevCollector, OpentrackerRecord};
use otel_session::{OpentrackerExporter, Sessions};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let collector = DevCollector::start()?;
    let opentracker = OpentrackerExporter::builder()
        .with_site("shop.example.com")
        .with_endpoint(collector.opentracker_endpoint())
        .build()?;
    let sessions = Sessions::builder().build()?;
    let processor = sessions.batch_log_processor(opentracker.clone());
    let loggers = SdkLoggerProvider::builder().with_log_processor(processor).build();
    let shop = loggers.logger("shop");

    sessions.set_user_id(Some("ada"));
    happened(&shop, "look", "tea");
    happened(&shop, "buy", "tea");
    sessions.rotate();
    happened(&shop, "look", "coffee");

    sessions.shutdown(Duration::from_secs(5))?;
    loggers.shutdown()?;
    let report = opentracker.shutdown(Duration::from_secs(5));
    let stream = collector.stream();
    show("events", stream.opentracker_events());
    show("sessions, with the last value of each property", &stream.opentracker_sessions());
    show("users", &stream.opentracker_users());
    println!("\n{report}");
    let [sessions, users] = [stream.opentracker_sessions().len(), stream.opentracker_users().len()];
    // Three events of the program, and the start and the end of each session.
    let arrived = (stream.opentracker_events().len(), sessions, users) == (7, 2, 1);
    let fine = arrived && report.pending == 0 && report.dropped.total() == 0;
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn happened(logger: &SdkLogger, name: &'static str, item: &'static str) {
    let mut record = logger.create_log_record();
    record.set_event_name(name);
    record.add_attribute("item", item);
    logger.emit(record);
}

fn show(what: &str, records: &[Arc<OpentrackerRecord>]) {
    println!("\n{what}:");
    for record in records {
        let [title, item] = ["ti", "item"].map(|name| record.get(name).unwrap_or("-"));
        println!("  {title:<14} {item:<7} sid {} uid {}", record.session_id(), record.user_id());
    }
}
