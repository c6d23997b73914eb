//! An exporter, a log pipeline that feeds it, and the collector that it feeds.

use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};
use otel_session::{SnowplowExporter, SnowplowExporterBuilder};

use crate::recorder::{BOUND, Recorder};

pub const FIRST: &str = "11111111-1111-4111-8111-111111111111";
pub const SECOND: &str = "22222222-2222-4222-8222-222222222222";

pub struct Rig {
    pub collector: Recorder,
    pub exporter: SnowplowExporter,
    pub loggers: SdkLoggerProvider,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(configure: impl FnOnce(SnowplowExporterBuilder) -> SnowplowExporterBuilder) -> Self {
        Self::on(Recorder::start(), configure)
    }

    pub fn on(collector: Recorder, configure: impl FnOnce(SnowplowExporterBuilder) -> SnowplowExporterBuilder) -> Self {
        let builder = SnowplowExporter::builder().with_endpoint(collector.url());
        let exporter = configure(builder).build().unwrap_or_else(|error| panic!("{error}"));
        Self::around(collector, exporter)
    }

    pub fn around(collector: Recorder, exporter: SnowplowExporter) -> Self {
        let resource = Resource::builder_empty()
            .with_attributes([KeyValue::new("service.name", "shop"), KeyValue::new("service.version", "1.2.3")])
            .build();
        // Simple: each record is exported where it is emitted.
        let loggers =
            SdkLoggerProvider::builder().with_resource(resource).with_simple_exporter(exporter.clone()).build();
        Self { collector, exporter, loggers }
    }

    pub fn logger(&self) -> SdkLogger {
        self.loggers.logger("shop")
    }

    pub fn start(&self, session: &str) {
        self.event("session.start", session, &[]);
    }

    pub fn end(&self, session: &str) {
        self.event("session.end", session, &[]);
    }

    pub fn named(&self, session: &str) {
        self.event("checkout", session, &[]);
    }

    /// An event of a session, with further attributes of text.
    pub fn event(&self, name: &'static str, session: &str, attributes: &[(&'static str, &str)]) {
        let attributes = attributes.iter().map(|(key, value)| (*key, AnyValue::from((*value).to_owned())));
        self.emit(name, Some(session), attributes.collect::<Vec<_>>(), None);
    }

    pub fn emit(
        &self,
        name: &'static str,
        session: Option<&str>,
        attributes: impl IntoIterator<Item = (&'static str, AnyValue)>,
        time: Option<SystemTime>,
    ) {
        let logger = self.logger();
        let mut record: SdkLogRecord = logger.create_log_record();
        if !name.is_empty() {
            record.set_event_name(name);
        }
        record.set_timestamp(time.unwrap_or(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)));
        if let Some(session) = session {
            record.add_attribute("session.id", session.to_owned());
        }
        for (key, value) in attributes {
            record.add_attribute(Key::from_static_str(key), value);
        }
        logger.emit(record);
    }

    #[track_caller]
    pub fn flush(&self) {
        assert!(self.exporter.flush(BOUND), "{:?}", self.exporter);
    }
}
