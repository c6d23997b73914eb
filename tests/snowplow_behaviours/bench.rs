//! Sessions on a clock that tests move, a log pipeline, the exporter, and a collector that validates what it gets.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::Key;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider, SimpleLogProcessor};
use otel_session::collector::{ClientSession, DevCollector, SnowplowEvent};
use otel_session::testing::ManualClock;
use otel_session::{Sessions, SessionsBuilder, SnowplowExporter, SnowplowExporterBuilder};

pub const BOUND: Duration = Duration::from_secs(20);
pub const MINUTE: Duration = Duration::from_secs(60);
/// The inactivity timeout, by default.
pub const TIMEOUT: Duration = Duration::from_secs(30 * 60);
pub const NIL: &str = "00000000-0000-0000-0000-000000000000";

pub const FIRST: &str = "11111111-1111-4111-8111-111111111111";
pub const SECOND: &str = "22222222-2222-4222-8222-222222222222";
pub const THIRD: &str = "33333333-3333-4333-8333-333333333333";

pub fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

pub struct Bench {
    pub clock: ManualClock,
    pub collector: DevCollector,
    pub sessions: Sessions,
    pub exporter: SnowplowExporter,
    pub loggers: SdkLoggerProvider,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(exporter: impl FnOnce(SnowplowExporterBuilder) -> SnowplowExporterBuilder) -> Self {
        Self::of(epoch(), |builder| builder, exporter)
    }

    pub fn of(
        begin: SystemTime,
        sessions: impl FnOnce(SessionsBuilder) -> SessionsBuilder,
        exporter: impl FnOnce(SnowplowExporterBuilder) -> SnowplowExporterBuilder,
    ) -> Self {
        let clock = ManualClock::new(begin);
        let collector = DevCollector::start().unwrap();
        let sessions = sessions(Sessions::builder().with_clock(clock.clone())).build().unwrap();
        let builder =
            SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint()).with_clock(clock.clone());
        let exporter = exporter(builder).build().unwrap_or_else(|error| panic!("{error}"));
        // Simple: each record is exported where it is emitted.
        let processor = sessions.log_processor(SimpleLogProcessor::new(exporter.clone()));
        let loggers = SdkLoggerProvider::builder().with_log_processor(processor).build();
        Self { clock, collector, sessions, exporter, loggers }
    }

    /// An event of the application; its session is that of now.
    pub fn track(&self, name: &'static str) {
        track(&self.loggers.logger("shop"), name, self.clock.now());
    }

    /// A record that says itself to which session it belongs, as other sources of sessions write them, past the sessions here.
    pub fn emit(&self, name: &'static str, attributes: &[(&'static str, &str)]) {
        let loggers = SdkLoggerProvider::builder().with_simple_exporter(self.exporter.clone()).build();
        let logger = loggers.logger("shop");
        let mut record = logger.create_log_record();
        record.set_event_name(name);
        record.set_timestamp(self.clock.now());
        for (key, value) in attributes {
            record.add_attribute(Key::from_static_str(key), AnyValue::from((*value).to_owned()));
        }
        logger.emit(record);
    }

    pub fn later(&self, time: Duration) {
        assert!(self.clock.advance(time));
    }

    /// Every event that arrived, in order: all good, the lifecycle's included.
    #[track_caller]
    pub fn all(&self) -> Vec<Event> {
        // What sessions have decided is published by a flush at the latest.
        self.loggers.force_flush().unwrap();
        assert!(self.exporter.flush(BOUND), "{:?}", self.exporter);
        let stream = self.collector.stream();
        assert!(stream.snowplow_bad().is_empty(), "{:?}", stream.snowplow_bad());
        stream.snowplow_good().iter().cloned().map(Event).collect()
    }

    /// The same without those of the lifecycle.
    #[track_caller]
    pub fn tracked(&self) -> Vec<Event> {
        self.all().into_iter().filter(|event| !event.is_lifecycle()).collect()
    }

    /// One line for each event: its name, session index and event index.
    #[track_caller]
    pub fn story(&self) -> Vec<String> {
        let line = |event: Event| {
            let number = |it: Option<u32>| it.map_or("-".to_owned(), |it| it.to_string());
            let session = event.entity();
            let (index, of) = session.map_or((None, None), |it| (it.event_index, Some(it.session_index)));
            format!("{} {}.{}", event.name(), number(of), number(index))
        };
        self.all().into_iter().map(line).collect()
    }
}

pub fn track(logger: &SdkLogger, name: &'static str, at: SystemTime) {
    let mut record = logger.create_log_record();
    record.set_event_name(name);
    record.set_timestamp(at);
    logger.emit(record);
}

/// An event as the collector accepted it.
#[derive(Clone, Debug)]
pub struct Event(pub Arc<SnowplowEvent>);

impl Event {
    pub fn id(&self) -> &str {
        self.0.event_id()
    }

    pub fn field(&self, key: &str) -> Option<&str> {
        self.0.parameters().get(key).map(String::as_str)
    }

    pub fn entity(&self) -> Option<ClientSession> {
        self.0.client_session()
    }

    #[track_caller]
    pub fn session(&self) -> ClientSession {
        self.entity().expect("an event of a session")
    }

    pub fn is_lifecycle(&self) -> bool {
        self.schema_name().starts_with("session_")
    }

    /// The record's name.
    pub fn name(&self) -> String {
        let own = self.0.self_describing().expect("a self-describing event");
        let name = own["data"]["name"].as_str().unwrap_or_else(|| match self.schema_name() {
            "session_start" => "start",
            "session_end" => "end",
            _ => panic!("an event without a name: {own}"),
        });
        name.to_owned()
    }

    fn schema_name(&self) -> &str {
        self.0.schema().split('/').nth(1).unwrap_or_default()
    }
}
