//! Against the real OpenTelemetry Collector: an example program sends to it over gRPC and over HTTP, and what it wrote to a
//! file is judged; then it is stopped and restarted under load.
//!
//! The binary is named by `OTEL_SESSION_OTELCOL`, or stands where `scripts/otelcol/build.sh` puts it. Without one the tests
//! say so and pass, unless `OTEL_SESSION_REQUIRE` is 1.
#![allow(
    clippy::disallowed_methods,
    reason = "another process can only be polled, and how long calls take is measured"
)]
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod peer;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use otel_session::{Loss, Protocol};
use peer::{Collector, Log, command, example};

#[test]
fn the_real_collector_gets_every_signal_with_its_session_over_http() {
    the_example_is_received("http/protobuf", Collector::http_endpoint);
}

#[test]
fn the_real_collector_gets_every_signal_with_its_session_over_grpc() {
    the_example_is_received("grpc", Collector::grpc_endpoint);
}

fn the_example_is_received(protocol: &str, endpoint: fn(&Collector) -> String) {
    let Some(mut collector) = Collector::start() else { return };
    let mut program = command(example("otlp_collector"));
    program.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint(&collector));
    let output = program.env("OTEL_RESOURCE_ATTRIBUTES", "shop.floor=2").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("losses: none"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    collector.stop();
    let received = collector.received();

    // The example says: session SECOND follows FIRST.
    let words: Vec<&str> = said.lines().find_map(|line| line.strip_prefix("session ")).unwrap().split(' ').collect();
    let [second, "follows", first] = words[..] else { panic!("{said}") };
    assert_lifecycle(&received.logs);
    let count = |id: &str| {
        let logs = received.logs.iter().filter(|log| log.session == id && !log.is_lifecycle()).count();
        let spans: Vec<_> = received.spans.iter().filter(|span| span.session == id).collect();
        (spans.len(), spans.iter().flat_map(|span| &span.events).filter(|event| *event == id).count(), logs)
    };
    assert_eq!((count(first), count(second)), ((2, 2, 3), (2, 2, 3)), "{received:?}");
    assert_eq!((received.spans.len(), received.logs.len()), (4, 10), "nothing else: {received:?}");

    let paid: Vec<_> = received.logs.iter().filter(|log| log.event_name == "checkout.paid").collect();
    assert_eq!(paid.len(), 2, "the event name is there");
    for (resource, scope) in received.origins() {
        assert_eq!(resource.get("service.name").map(String::as_str), Some("checkout"));
        assert_eq!(resource.get("shop.floor").map(String::as_str), Some("2"));
        assert_eq!(resource.get("deployment.environment.name").map(String::as_str), Some("example"));
        assert!(["otlp_collector", "checkout.events", "otel_session", "tracing-opentelemetry"].contains(&scope));
    }
    assert!(paid.iter().all(|log| log.scope == "checkout.events"));
    assert!(received.logs.iter().all(|log| log.is_lifecycle() == (log.scope == "otel_session")));
}

#[test]
fn a_collector_that_goes_and_comes_back_changes_no_session_and_blocks_no_call_over_http() {
    run_again("http/protobuf");
}

#[test]
fn a_collector_that_goes_and_comes_back_changes_no_session_and_blocks_no_call_over_grpc() {
    run_again("grpc");
}

/// setup() installs once in a process, so each load has one of its own.
fn run_again(protocol: &str) {
    let mut program = command(std::env::current_exe().unwrap());
    program.args(["--exact", "the_load_of_this_process", "--nocapture"]).env(LOAD, protocol);
    let output = program.output().unwrap();
    assert!(output.status.success(), "{output:#?}");
}

/// Names the protocol; without it the test below is none.
const LOAD: &str = "COLLECTOR_PEER_LOAD";

#[test]
fn the_load_of_this_process() {
    let Ok(protocol) = std::env::var(LOAD) else { return };
    let Some(mut collector) = Collector::start() else { return };
    let (protocol, endpoint) = match protocol.as_str() {
        "grpc" => (Protocol::Grpc, collector.grpc_endpoint()),
        _ => (Protocol::HttpProtobuf, collector.http_endpoint()),
    };
    let telemetry = otel_session::setup()
        .with_service_name("load")
        .with_protocol(protocol)
        .with_endpoint(endpoint)
        .with_export_timeout(Duration::from_secs(2))
        .with_stderr(false)
        .install()
        .unwrap();
    let sessions = telemetry.sessions();
    let session = sessions.record_activity();
    let (tracer, logger) = (telemetry.tracer_provider().tracer("load"), telemetry.logger_provider().logger("load"));
    let mut slowest = Duration::ZERO;
    let mut signal = |body: String| {
        let started = Instant::now();
        tracer.in_span("work", |_| {
            let mut record = logger.create_log_record();
            record.set_body(AnyValue::from(body));
            logger.emit(record);
        });
        slowest = slowest.max(started.elapsed());
    };

    // Up, down, up: each part goes on until the collector's file or the counters show that it was seen.
    load_until(&mut signal, "before", || collector.received().holds("before"));
    collector.stop();
    load_until(&mut signal, "down", || sessions.losses().count(Loss::LogExport) > 0);
    collector.restart();
    load_until(&mut signal, "after", || collector.received().holds("after"));

    assert!(slowest < Duration::from_secs(1), "one signal took {slowest:?}");
    assert_eq!(sessions.current(), Some(session), "the session is untouched");
    telemetry.shutdown(Duration::from_secs(10)).unwrap();
    collector.stop();
    let received = collector.received();
    let losses = telemetry.sessions().losses();
    assert!(received.spans.iter().all(|span| span.session == session.id()));
    assert!(received.logs.iter().all(|log| log.session == session.id()));
    let lifecycle: Vec<_> = received.logs.iter().filter(|log| log.is_lifecycle()).map(|log| &*log.event_name).collect();
    assert_eq!(lifecycle, ["session.start", "session.end"], "no rotation; losses: {losses}");
    assert_eq!(losses.count(Loss::LifecycleExport), 0);
}

/// Emits until the condition holds; asks now and then, since it reads a file.
fn load_until(signal: &mut impl FnMut(String), body: &str, mut condition: impl FnMut() -> bool) {
    peer::poll(&format!("{body}: no sign of the load"), || {
        (0..20).for_each(|_| signal(body.to_owned()));
        condition()
    });
}

/// Ends and starts alternate and are linked, and no log stands before the start of its session.
fn assert_lifecycle(logs: &[Log]) {
    let mut started: BTreeMap<&str, bool> = BTreeMap::new();
    let mut last_end: Option<&str> = None;
    for log in logs {
        match log.event_name.as_str() {
            "session.start" => {
                assert!(started.values().all(|live| !live), "two at a time: {logs:#?}");
                assert_eq!(log.previous.as_deref(), last_end, "not linked: {logs:#?}");
                assert!(started.insert(&log.session, true).is_none(), "started twice: {logs:#?}");
            }
            "session.end" => {
                assert_eq!(started.insert(&log.session, false), Some(true), "ends without a start: {logs:#?}");
                last_end = Some(&log.session);
            }
            _ => assert!(started.contains_key(log.session.as_str()), "a log before its session's start: {logs:#?}"),
        }
    }
    assert_eq!(started.len(), 2);
    assert!(started.values().all(|live| !live), "one is still live: {logs:#?}");
}
