//! The cases that run in a child.
#![allow(clippy::disallowed_methods, reason = "how long real exporters take is what is measured")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLogRecord};
use otel_session::testing::CapturedLogs;
use otel_session::{Setup, Telemetry, setup};

/// Names the case; without it the test below is none.
pub(crate) const CASE: &str = "SETUP_TEST_CASE";
/// Stands before what a child tells.
pub(crate) const TOLD: &str = "told: ";

#[test]
fn the_case_of_this_process() {
    let Ok(case) = std::env::var(CASE) else { return };
    match case.as_str() {
        "no runtime" => work(setup(), Ending::Shutdown),
        "no runtime, dropped" => work(setup(), Ending::Drop),
        "current thread" => current_thread().block_on(async { work(setup(), Ending::Shutdown) }),
        "current thread, dropped" => current_thread().block_on(async { work(setup(), Ending::Drop) }),
        "multi thread" => multi_thread().block_on(async { work(setup(), Ending::Shutdown) }),
        "multi thread, dropped" => multi_thread().block_on(async { work(setup(), Ending::Drop) }),
        "named by code" => work(named_by_code(), Ending::Shutdown),
        "endpoint by code" => work(by_code(), Ending::Shutdown),
        "further exporters" => further_exporters(),
        "exporters that do not end" => work(three_that_do_not_end(), Ending::Within(Duration::from_secs(2))),
        "exporters that do not end, dropped" => work(three_that_do_not_end(), Ending::Drop),
        "in a hurry" => work(setup(), Ending::Within(Duration::from_millis(500))),
        "propagated" => propagated(),
        "twice" => twice(),
        "corrected" => corrected(),
        "with a subscriber" => with_a_subscriber(),
        "after a scoped subscriber" => after_a_scoped_subscriber(),
        "used afterwards" => used_afterwards(),
        "what the SDK says" => what_the_sdk_says(),
        "install only" => tell("error", setup().install().err().map(|error| error.to_string()).unwrap_or_default()),
        other => panic!("there is no case {other}"),
    }
}

enum Ending {
    Shutdown,
    Within(Duration),
    Drop,
}

fn work(setup: Setup, ending: Ending) {
    let telemetry = setup.install().unwrap();
    tell("enabled", telemetry.is_enabled());
    signals(&telemetry);
    let sessions = telemetry.sessions().clone();
    tell("current", sessions.current().is_some());
    let started = Instant::now();
    match ending {
        Ending::Shutdown => tell("shutdown", text(telemetry.shutdown(Duration::from_secs(10)))),
        Ending::Within(bound) => tell("shutdown", text(telemetry.shutdown(bound))),
        Ending::Drop => drop(telemetry),
    }
    tell("milliseconds", started.elapsed().as_millis());
    tell("losses", sessions.losses());
    tell("after", sessions.current().is_some());
}

/// A span with an event, a log and an OTel event, from `tracing` and from the OpenTelemetry API.
fn signals(telemetry: &Telemetry) {
    tracing::info_span!("traced").in_scope(|| tracing::info!(answer = 42, "logged"));
    telemetry.tracer_provider().tracer("shop").in_span("started", |_| {});
    opentelemetry::global::tracer("shop").in_span("started globally", |_| {});
    let logger = telemetry.logger_provider().logger("shop");
    let mut event = logger.create_log_record();
    event.set_event_name("shop.paid");
    event.set_body(AnyValue::from("paid"));
    logger.emit(event);
}

fn named_by_code() -> Setup {
    setup().with_service_name("by code").with_resource_attributes([KeyValue::new("shop.floor", "by code")])
}

/// Two more exporters of logs: each gets everything, in order, and is ended with the rest.
fn further_exporters() {
    let (first, second) = (CapturedLogs::default(), CapturedLogs::default());
    work(setup().with_log_exporter(first.clone()).with_log_exporter(second.clone()), Ending::Shutdown);
    let names = |exporter: &CapturedLogs| {
        let name = |it: SdkLogRecord| {
            let has_session = it.attributes_iter().any(|(key, _)| key.as_str() == "session.id");
            format!("{}{}", it.event_name().unwrap_or("log"), if has_session { "" } else { " without a session" })
        };
        exporter.records().into_iter().map(name).collect::<Vec<_>>().join(", ")
    };
    tell("first", names(&first));
    tell("second", names(&second));
}

fn three_that_do_not_end() -> Setup {
    (0..3).fold(setup(), |setup, _| setup.with_log_exporter(NeverEnds))
}

/// Shuts down like a bridge whose collector is away, only longer.
#[derive(Debug)]
struct NeverEnds;

impl LogExporter for NeverEnds {
    async fn export(&self, _: LogBatch<'_>) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        let (_never, told) = std::sync::mpsc::channel::<()>();
        let _ = told.recv_timeout(Duration::from_secs(60));
        Ok(())
    }
}

/// What a request carried that came in, as it goes out with the next one.
fn propagated() {
    let telemetry = setup().install().unwrap();
    let incoming: HashMap<String, String> =
        [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("baggage", "floor=4")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    let mut outgoing = HashMap::new();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&propagator.extract(&incoming), &mut outgoing);
    });
    tell("enabled", telemetry.is_enabled());
    outgoing.retain(|_, value: &mut String| !value.is_empty());
    tell("the same", outgoing == incoming);
    tell("nothing", outgoing.is_empty());
}

fn by_code() -> Setup {
    let endpoint = std::env::var("SETUP_TEST_ENDPOINT").unwrap();
    setup().with_endpoint(endpoint).with_protocol(otel_session::Protocol::Grpc)
}

fn twice() {
    let first = setup().install().unwrap();
    tell("error", setup().install().unwrap_err());
    signals(&first);
    tell("shutdown", text(first.shutdown(Duration::from_secs(10))));
    tell("again", text(first.shutdown(Duration::from_secs(10))));
    drop(first);
    tell("later", setup().install().unwrap_err());
}

fn corrected() {
    tell("error", setup().with_service_name("  ").install().unwrap_err());
    work(setup().with_service_name("shop"), Ending::Shutdown);
}

fn with_a_subscriber() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
    tell("error", setup().install().unwrap_err());
}

/// As many do for what is logged while the settings are read.
fn after_a_scoped_subscriber() {
    let early = tracing::subscriber::set_default(tracing_subscriber::registry());
    tracing::info!("read the settings");
    drop(early);
    work(setup(), Ending::Shutdown);
}

/// What outlives the guard goes on without harm.
fn used_afterwards() {
    let telemetry = setup().install().unwrap();
    signals(&telemetry);
    let (tracers, loggers, sessions) =
        (telemetry.tracer_provider().clone(), telemetry.logger_provider().clone(), telemetry.sessions().clone());
    drop(telemetry);
    tracing::info_span!("late").in_scope(|| tracing::info!("late"));
    tracers.tracer("shop").in_span("late", |_| {});
    loggers.logger("shop").emit(loggers.logger("shop").create_log_record());
    sessions.record_activity();
    tell("after", sessions.current().is_some());
}

/// The SDK says so itself only where some crate of the program has its logs of itself on, as its default features have.
fn what_the_sdk_says() {
    let _telemetry = setup().install().unwrap();
    tracing::error!(name: "BatchLogProcessor.ExportError", target: "opentelemetry_sdk", "said for a batch by the SDK");
    for _ in 0..3 {
        tracing::warn!(name: "Export.Failed.Exhausted", target: "opentelemetry-otlp", "said for a batch by the exporter");
    }
    tracing::warn!(name: "BatchLogProcessor.LogDroppingStarted", target: "opentelemetry_sdk", "said about the queue");
}

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn text<E: std::fmt::Display>(result: Result<(), E>) -> String {
    result.err().map_or_else(|| "ok".to_owned(), |error| error.to_string())
}

fn tell(key: &str, value: impl std::fmt::Display) {
    println!("{TOLD}{key}={value}");
}
