//! A collector that is away for an hour while a million events come in: the outbox keeps to its limit, drops the oldest or
//! the newest as it was told, counts them, and delivers all others in order once the collector is back.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord, SdkLoggerProvider};
use otel_session::export::{Outbox, Overflow};
use otel_session::testing::{CapturedLogs, ManualClock};
use otel_session::{Loss, SnowplowExporter};
use serde_json::Value;

const EVENTS: usize = 1_000_000;
const LIMIT: u64 = 64 << 20;
const BATCH: usize = 512;
const SESSION: &str = "6d15a4fb-9623-4ba1-b876-5240e72e6970";

#[test]
fn after_an_hour_of_outage_the_newest_events_arrive_in_order() {
    let kept = outage(Overflow::DropOldest);
    assert_eq!(kept.last(), Some(&EVENTS), "the newest events were to be kept");
}

#[test]
fn after_an_hour_of_outage_the_oldest_events_arrive_in_order() {
    let kept = outage(Overflow::DropNewest);
    assert_eq!(kept.first(), Some(&1), "the oldest events were to be kept");
}

/// Returns the numbers of the events that arrived, as they arrived.
fn outage(overflow: Overflow) -> Vec<usize> {
    let collector = Collector::start();
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let exporter = SnowplowExporter::builder()
        .with_endpoint(&collector.endpoint)
        .with_clock(clock.clone())
        .with_number_unannounced_sessions(true)
        .with_max_post_bytes(400_000)
        .with_outbox(Outbox::memory().with_max_bytes(LIMIT).with_overflow(overflow))
        .build()
        .unwrap();
    let record = record(clock.now());
    let scope = opentelemetry::InstrumentationScope::builder("outage").build();
    let batches = EVENTS.div_ceil(BATCH);
    let pause = Duration::from_secs(3600) / u32::try_from(batches).unwrap();
    let before = resident();
    for batch in 0..batches {
        let size = BATCH.min(EVENTS - batch * BATCH);
        let lines = vec![(&record, &scope); size];
        futures_executor::block_on(exporter.export(LogBatch::new(&lines))).unwrap();
        // Each step lets what is due be tried: backoff goes by this clock.
        assert!(clock.advance(pause));
    }
    let pending = usize::try_from(exporter.pending()).unwrap();
    let dropped = usize::try_from(exporter.losses().count(Loss::OutboxFull)).unwrap();
    assert_eq!(pending + dropped, EVENTS, "every event waits or was counted: {}", exporter.losses());
    assert!(dropped > 0, "the limit was never reached: {pending} events wait");
    assert_eq!(exporter.losses().total(), dropped as u64, "{}", exporter.losses());
    if let (Some(before), Some(now)) = (before, resident()) {
        // The other test does the same beside this one.
        let slack = LIMIT + (32 << 20);
        assert!(now.saturating_sub(before) < LIMIT + slack, "{} MiB were taken", now.saturating_sub(before) >> 20);
    }
    assert!(collector.arrived().is_empty());
    collector.come_back();
    assert!(exporter.flush(Duration::from_secs(60)), "{} events are left", exporter.pending());
    let arrived = collector.arrived();
    assert_eq!(arrived.len(), pending, "everything that was kept arrives, once");
    assert!(arrived.windows(2).all(|pair| pair[0] < pair[1]), "in order");
    assert_eq!(exporter.losses().total(), dropped as u64, "{}", exporter.losses());
    arrived
}

/// A record as the SDK would hand it over.
fn record(at: SystemTime) -> SdkLogRecord {
    let captured = CapturedLogs::default();
    let loggers = SdkLoggerProvider::builder().with_simple_exporter(captured.clone()).build();
    let logger = loggers.logger("outage");
    let mut record = logger.create_log_record();
    record.set_event_name("checkout.completed");
    record.set_timestamp(at);
    record.add_attribute("session.id", SESSION);
    record.add_attribute("cart.items", 3);
    logger.emit(record);
    captured.records()[0].clone()
}

/// The memory that this process really uses, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

/// Answers 503 until it is back, then keeps the event index of what arrives.
struct Collector {
    endpoint: String,
    back: Arc<AtomicBool>,
    arrived: Arc<Mutex<Vec<usize>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (back, arrived) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_back, list) = (back.clone(), arrived.clone());
        let receive = move |body: Bytes| async move {
            if !is_back.load(Ordering::Acquire) {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            list.lock().unwrap().extend(event_indices(&body));
            StatusCode::OK
        };
        let app = Router::new().route("/com.snowplowanalytics.snowplow/tp2", post(receive));
        let app = app.layer(axum::extract::DefaultBodyLimit::max(1 << 20));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
        Self { endpoint, back, arrived, _runtime: runtime }
    }

    fn come_back(&self) {
        self.back.store(true, Ordering::Release);
    }

    fn arrived(&self) -> Vec<usize> {
        self.arrived.lock().unwrap().clone()
    }
}

fn event_indices(body: &[u8]) -> Vec<usize> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let index = |event: &Value| {
        let contexts: Value = serde_json::from_str(event["co"].as_str().unwrap()).unwrap();
        let entities = contexts["data"].as_array().unwrap();
        let session = entities.iter().find(|it| it["schema"].as_str().unwrap().contains("client_session")).unwrap();
        usize::try_from(session["data"]["eventIndex"].as_u64().unwrap()).unwrap()
    };
    body["data"].as_array().unwrap().iter().map(index).collect()
}
