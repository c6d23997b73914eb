//! What stands before what within one request: OTLP groups the records of a request by scope, and the groups stand in any
//! order, so the order of lifecycle records and logs must be an order of requests.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod support;

use std::sync::{Arc, Mutex};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLoggerProvider};
use otel_session::Sessions;
use otel_session::testing::ManualClock;
use support::{Line, emit, epoch};

#[test]
fn no_log_travels_in_one_request_with_lifecycle_records_before_it() {
    let (sessions, loggers, requests) = rig();
    let logger = opentelemetry::logs::LoggerProvider::logger(&loggers, "test");
    emit(&logger, "one", None);
    sessions.rotate();
    emit(&logger, "two", None);
    emit(&logger, "three", None);
    loggers.force_flush().unwrap();
    sessions.end();
    emit(&logger, "four", None);
    loggers.shutdown().unwrap();

    let requests = requests.lock().unwrap();
    for request in requests.iter() {
        let last_ordinary = request.iter().rposition(|line| !line.is_lifecycle());
        let first_lifecycle = request.iter().position(Line::is_lifecycle);
        assert!(
            last_ordinary.is_none() || first_lifecycle.is_none() || last_ordinary < first_lifecycle,
            "{request:#?}"
        );
    }
    let lines: Vec<Line> = requests.iter().flatten().cloned().collect();
    support::assert_lawful(&lines);
    assert_eq!(lines.iter().filter(|line| !line.is_lifecycle()).count(), 4);
}

#[test]
fn rotations_without_logs_between_them_travel_in_one_request() {
    let (sessions, loggers, requests) = rig();
    let logger = opentelemetry::logs::LoggerProvider::logger(&loggers, "test");
    emit(&logger, "one", None);
    loggers.force_flush().unwrap();
    requests.lock().unwrap().clear();
    // The keeper may send some of them on its own.
    (0..100).for_each(|_| _ = sessions.rotate());
    loggers.force_flush().unwrap();
    let requests = requests.lock().unwrap();
    assert_eq!(requests.iter().flatten().count(), 200);
    assert!(requests.len() < 100, "{} requests", requests.len());
}

type Requests = Arc<Mutex<Vec<Vec<Line>>>>;

fn rig() -> (Sessions, SdkLoggerProvider, Requests) {
    let sessions = Sessions::builder().with_clock(ManualClock::new(epoch())).build().unwrap();
    let requests = Requests::default();
    let exporter = PerRequest(requests.clone());
    let loggers = SdkLoggerProvider::builder().with_log_processor(sessions.batch_log_processor(exporter)).build();
    (sessions, loggers, requests)
}

/// Keeps what it is given, request by request.
#[derive(Debug)]
struct PerRequest(Requests);

impl LogExporter for PerRequest {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.0.lock().unwrap().push(batch.iter().map(|(record, _)| Line::of(record)).collect());
        Ok(())
    }
}
