//! The exporter of this crate as a contender: batches of 512 records, as the SDK's batch processor hands them over.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use futures_executor::block_on;
use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord, SdkLoggerProvider};
use otel_session::SnowplowExporter;
use otel_session::export::snowplow::benching::Encoding;
use otel_session::export::snowplow::{EventStyle, SnowplowExporterBuilder};
use otel_session::export::{self, Synchronous};
use otel_session::semconv::{SESSION_ID, SESSION_PREVIOUS_ID};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::contenders::{A_REQUEST, EVENT};
use crate::encoding::events_a_second;

/// What the SDK's batch processor hands over at once, by default.
const BATCH: usize = 512;

/// Sessions that the records belong to in turn.
const SESSIONS: usize = 100;

/// Longer than anything takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// Where accepted events wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outbox {
    Memory,
    SqliteFull,
    SqliteNormal,
}

impl Outbox {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::SqliteFull, Self::SqliteNormal];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "ours, memory",
            Self::SqliteFull => "ours, SQLite FULL",
            Self::SqliteNormal => "ours, SQLite NORMAL",
        }
    }

    pub(crate) fn name_when_filled(self) -> &'static str {
        match self {
            Self::Memory => "ours, memory, requests of 1 MB",
            Self::SqliteFull => "ours, SQLite FULL, requests of 1 MB",
            Self::SqliteNormal => "ours, SQLite NORMAL, requests of 1 MB",
        }
    }

    fn open(self, folder: &Path) -> export::Outbox {
        let outbox = match self {
            Self::Memory => export::Outbox::memory(),
            Self::SqliteFull => export::Outbox::sqlite(folder.join("outbox")).with_synchronous(Synchronous::Full),
            Self::SqliteNormal => export::Outbox::sqlite(folder.join("outbox")).with_synchronous(Synchronous::Normal),
        };
        // A whole round may wait, and nothing shall be dropped.
        outbox.with_max_bytes(1 << 30)
    }
}

/// The child's side: `OUTBOX ENDPOINT EVENT ROUND ROUNDS FILLED`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [outbox, endpoint, _, round, rounds, filled] = arguments else { return Err("not for people".into()) };
    let outbox = Outbox::ALL.into_iter().find(|it| it.name() == outbox).ok_or("no such outbox")?;
    let (round, rounds): (usize, u32) = (round.parse()?, rounds.parse()?);
    let folder = Folder::new()?;
    let mut builder = builder(endpoint, outbox.open(&folder.0))?;
    if filled == "false" {
        builder = builder.with_max_batch_events(A_REQUEST);
    }
    let mut exporter = builder.build()?;
    exporter.set_resource(&Resource::builder_empty().build());

    let provider = SdkLoggerProvider::builder().build();
    let records = Records::new(&provider)?;
    block_on(exporter.export(LogBatch::new(&records.starts())))?;
    let batch = records.batch();
    let (mut wall, mut in_export, mut slowest, mut cpu) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0);
    // The first round warms up.
    for number in 0..=rounds {
        let (before, cpu_before) = (Instant::now(), cpu_nanos());
        let (mut left, mut spent, mut worst) = (round, Duration::ZERO, Duration::ZERO);
        while left > 0 {
            let size = left.min(BATCH);
            let called = Instant::now();
            block_on(exporter.export(LogBatch::new(&batch[..size])))?;
            let took = called.elapsed();
            spent += took;
            worst = worst.max(took);
            left -= size;
        }
        let delivered = exporter.flush(DEADLINE);
        if !delivered || exporter.pending() > 0 {
            return Err(format!("{} events are left; losses: {}", exporter.pending(), exporter.losses()).into());
        }
        if number > 0 {
            wall += before.elapsed();
            cpu += cpu_nanos() - cpu_before;
            in_export += spent;
            slowest = slowest.max(worst);
        }
    }
    let report = exporter.shutdown(DEADLINE);
    let timed = round * rounds as usize;
    let said = json!({
        "events": SESSIONS + round * (rounds as usize + 1),
        "timed": timed,
        "wall": nanos(wall),
        "cpu": cpu,
        "export": nanos(in_export),
        "slowest": nanos(slowest),
        "report": format!("{report:?}"),
    });
    println!("{said}");
    Ok(())
}

/// An exporter that sends what the others send, in requests of up to 1 MB.
pub(crate) fn builder(endpoint: &str, outbox: export::Outbox) -> Result<SnowplowExporterBuilder, Box<dyn Error>> {
    Ok(SnowplowExporter::builder()
        .with_endpoint(endpoint)
        .with_app_id("shop")
        .with_namespace("bench")
        .with_base64(true)
        .with_event_style(style()?)
        .with_batch_size(A_REQUEST)
        .with_max_post_bytes(1_000_000)
        .with_outbox(outbox))
}

/// Records that are the event of the others, and the starts of the sessions that they belong to.
pub(crate) struct Records {
    scope: InstrumentationScope,
    starts: Vec<SdkLogRecord>,
    paid: Vec<SdkLogRecord>,
}

impl Records {
    pub(crate) fn new(provider: &SdkLoggerProvider) -> Result<Self, Box<dyn Error>> {
        let logger = provider.logger("shop");
        let event: Value = serde_json::from_str(EVENT)?;
        let data = event["data"].as_object().ok_or("an event without data")?;
        let sessions: Vec<_> = (0..SESSIONS).map(|_| Uuid::new_v4().to_string()).collect();
        let record = |name, session: &String| {
            let mut record = logger.create_log_record();
            record.set_event_name(name);
            record.set_timestamp(SystemTime::now());
            record.add_attribute(SESSION_ID, session.clone());
            record
        };
        let start = |session| {
            let mut start = record("session.start", session);
            start.add_attribute(SESSION_PREVIOUS_ID, Uuid::new_v4().to_string());
            start
        };
        let paid = |session| {
            let mut paid = record("checkout.paid", session);
            for (name, value) in data {
                paid.add_attribute(name.clone(), any_value(value));
            }
            paid
        };
        Ok(Self {
            scope: InstrumentationScope::builder("shop").build(),
            starts: sessions.iter().map(start).collect(),
            paid: sessions.iter().cycle().take(BATCH).map(paid).collect(),
        })
    }

    pub(crate) fn starts(&self) -> Vec<(&SdkLogRecord, &InstrumentationScope)> {
        self.starts.iter().map(|record| (record, &self.scope)).collect()
    }

    pub(crate) fn batch(&self) -> Vec<(&SdkLogRecord, &InstrumentationScope)> {
        self.paid.iter().map(|record| (record, &self.scope)).collect()
    }
}

/// The others are told the schema; ours makes it of the name, under the same vendor.
fn style() -> Result<EventStyle, Box<dyn Error>> {
    let event: Value = serde_json::from_str(EVENT)?;
    let schema = event["schema"].as_str().and_then(|schema| schema.strip_prefix("iglu:")).ok_or("no schema")?;
    let parts: Vec<_> = schema.split('/').collect();
    let [vendor, _, _, version] = parts[..] else { return Err("an odd schema".into()) };
    Ok(EventStyle::SchemaPerName { vendor: vendor.to_owned(), version: version.to_owned() })
}

fn any_value(value: &Value) -> AnyValue {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Number(value) => match value.as_i64() {
            Some(whole) => whole.into(),
            None => value.as_f64().unwrap_or_default().into(),
        },
        other => other.as_str().unwrap_or_default().to_owned().into(),
    }
}

/// A folder for an outbox, gone with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bridge-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What all threads of this process have spent; zero where it cannot be asked.
pub(crate) fn cpu_nanos() -> u64 {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
    }
    #[cfg(not(target_os = "linux"))]
    0
}

/// Events a second that are encoded on one core: everything that `export()` does before the outbox.
pub(crate) fn encode(lasting: Duration) -> Option<f64> {
    let provider = SdkLoggerProvider::builder().build();
    let records = Records::new(&provider).ok()?;
    let mut encoding = Encoding::new(style().ok()?);
    encoding.encode(&LogBatch::new(&records.starts()));
    let batch = records.batch();
    let batches = events_a_second(lasting, || {
        let (events, bytes) = encoding.encode(&LogBatch::new(&batch));
        assert!(events == BATCH && bytes > 1_000 * BATCH, "{events} events of {bytes} bytes");
    });
    Some(batches * BATCH as f64)
}
