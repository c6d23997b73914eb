//! `session.start` and `session.end` as log records that describe themselves.

use std::sync::OnceLock;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{InstrumentationScope, Key};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};

use super::queue::Paired;
use crate::clock::to_system_time;
use crate::semconv;
use crate::session::{EndedSession, Session, Snapshot};

/// A lifecycle record to be published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) what: What,
    /// When the transition was decided, on the wall clock.
    pub(crate) observed_at: i64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Start(Session),
    End(EndedSession),
}

impl Paired for Record {
    fn is_start(&self) -> bool {
        matches!(self.what, What::Start(_))
    }
}

impl Record {
    /// The session that starts, if this is a start.
    pub(crate) fn started(&self) -> Option<&'static Snapshot> {
        match &self.what {
            What::Start(session) => Some(session.0),
            What::End(_) => None,
        }
    }

    /// The record for a log pipeline: own ids, own times, a string body, severity INFO and no trace ids. It is made
    /// without a logger of the pipeline, so it goes through no sampling, no suppression and no context.
    pub(crate) fn to_log(self) -> SdkLogRecord {
        let mut record = blank();
        let (name, body, at, snapshot) = match &self.what {
            What::Start(session) => (semconv::EVENT_SESSION_START, "session started", session.0.started_at, session.0),
            What::End(ended) => (semconv::EVENT_SESSION_END, "session ended", ended.ended_at, ended.session.0),
        };
        record.set_event_name(name);
        record.set_timestamp(to_system_time(at));
        record.set_observed_timestamp(to_system_time(self.observed_at));
        record.set_severity_number(Severity::Info);
        record.set_severity_text("INFO");
        record.set_body(AnyValue::String(body.into()));
        let mut add = |key: &'static str, value: AnyValue| record.add_attribute(Key::from_static_str(key), value);
        add(semconv::SESSION_ID, snapshot.id.into());
        if let Some(previous_id) = snapshot.previous_id {
            add(semconv::SESSION_PREVIOUS_ID, previous_id.into());
        }
        if let Some(user_id) = snapshot.user_id {
            add(semconv::USER_ID, user_id.into());
        }
        if let Some(installation_id) = snapshot.installation_id {
            add(semconv::APP_INSTALLATION_ID, installation_id.into());
        }
        add(semconv::OTEL_SESSION_INDEX, AnyValue::Int(i64::try_from(snapshot.index).unwrap_or(i64::MAX)));
        if let What::End(ended) = &self.what {
            add(semconv::OTEL_SESSION_END_REASON, ended.reason.as_str().into());
            add(semconv::OTEL_SESSION_DURATION, AnyValue::Double(ended.duration().as_secs_f64()));
        }
        record
    }
}

/// An empty record. The SDK makes records only through a logger; this one belongs to a provider without processors.
pub(crate) fn blank() -> SdkLogRecord {
    static FACTORY: OnceLock<SdkLogger> = OnceLock::new();
    FACTORY.get_or_init(|| SdkLoggerProvider::builder().build().logger("otel_session")).create_log_record()
}

/// The scope of lifecycle records.
pub(crate) fn scope() -> &'static InstrumentationScope {
    static SCOPE: OnceLock<InstrumentationScope> = OnceLock::new();
    SCOPE.get_or_init(|| InstrumentationScope::builder("otel_session").with_version(env!("CARGO_PKG_VERSION")).build())
}
