//! `setup()` against a real OpenTelemetry Collector: spans, span events, logs and OTel events, each with its session.
//!
//!     otelcol --config examples/otlp_collector.yaml          # any collector; this one prints what it gets
//!     cargo run --example otlp_collector --features otlp      # over HTTP, to localhost:4318
//!     OTEL_EXPORTER_OTLP_PROTOCOL=grpc cargo run --example otlp_collector --features otlp
//!
//! All `OTEL_*` variables count. Without a collector it says so once, goes on, and tells what was lost.

use std::error::Error;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_sdk::logs::SdkLogger;

fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = otel_session::setup()
        .with_service_name("checkout")
        .with_resource_attributes([KeyValue::new("deployment.environment.name", "example")])
        .install()?;
    let events = telemetry.logger_provider().logger("checkout.events");

    visit(&events, "first");
    let session = telemetry.sessions().rotate(); // the user signed out
    println!("session {} follows {}", session.id(), session.previous_id().unwrap_or("none"));
    visit(&events, "second");

    // Ends the session and sends what is pending. A collector that is not there is no reason to fail.
    if let Err(error) = telemetry.shutdown(Duration::from_secs(5)) {
        println!("not everything was delivered: {error}");
    }
    println!("losses: {}", telemetry.sessions().losses());
    Ok(())
}

/// Some work, seen in every way that OpenTelemetry has.
#[tracing::instrument(skip(events))]
fn visit(events: &SdkLogger, visitor: &str) {
    tracing::info!(basket = 3, "basket opened"); // a log, and an event of the span
    let _payment = tracing::info_span!("pay").entered();
    let mut event = events.create_log_record();
    event.set_event_name("checkout.paid");
    event.set_severity_number(Severity::Info);
    event.set_body(AnyValue::from(visitor.to_owned()));
    events.emit(event);
    tracing::warn!("the receipt printer is out of paper");
}
