//! Sessions of a program at a Snowplow collector: the collector runs in this process and shows what it accepted, each event
//! with its `client_session`.
//!
//! `cargo run --release --features snowplow,dev-collector --example snowplow`
//!
//! Exit code 1 if the collector found any event bad, or if one is missing.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use otel_session::collector::DevCollector;
use otel_session::{Sessions, SnowplowExporter};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let collector = DevCollector::start()?;
    let snowplow = SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint()).build()?;
    let sessions = Sessions::builder().build()?;
    let loggers = SdkLoggerProvider::builder()
        .with_resource(Resource::builder().with_service_name("shop").build())
        .with_log_processor(sessions.batch_log_processor(snowplow.clone()))
        .build();

    let logger = loggers.logger("shop");
    let happens = |name: &'static str, item: &'static str| {
        let mut record = logger.create_log_record();
        record.set_event_name(name);
        record.add_attribute("item", AnyValue::from(item));
        logger.emit(record);
    };
    happens("view", "tea");
    happens("buy", "tea");
    sessions.set_user_id(Some("ada")); // on every record from now on
    sessions.rotate();
    happens("view", "cocoa");
    sessions.end();

    loggers.shutdown()?;
    let report = snowplow.shutdown(Duration::from_secs(5));
    let stream = collector.stream();
    println!("{:<15} {:<9} session index  event  previous  user", "event", "session");
    for event in stream.snowplow_good() {
        let Some(session) = event.client_session() else { continue };
        let short = |id: &str| id.chars().take(8).collect::<String>();
        println!(
            "{:<15} {:<9} {:>13}  {:>5}  {:<8}  {}",
            event.schema().split('/').nth(1).unwrap_or_default(),
            short(&session.session_id),
            session.session_index,
            session.event_index.map_or("-".to_owned(), |it| it.to_string()),
            session.previous_session_id.as_deref().map_or("-".to_owned(), short),
            short(&session.user_id),
        );
    }
    for bad in stream.snowplow_bad() {
        println!("bad: {}", bad.errors().join("; "));
    }
    let (good, bad) = (stream.snowplow_good().len(), stream.snowplow_bad().len());
    println!("\n{good} accepted, {bad} bad; the exporter says: {report}");
    let sessions = stream.snowplow_good().iter().filter(|event| event.client_session().is_some()).count();
    let complete = bad == 0 && sessions == 7 && report.pending == 0 && report.dropped.total() == 0;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
