//! How to test one's own sessions: the clock moves when told, and exported records are kept.
//!
//!     cargo run --example own_tests --features testing

use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use otel_session::Sessions;
use otel_session::testing::{CapturedLogs, ManualClock};

/// What is tested: an application that logs each order, and whose sessions end after ten idle minutes.
struct Shop {
    sessions: Sessions,
    loggers: SdkLoggerProvider,
}

impl Shop {
    fn new(clock: ManualClock, exporter: CapturedLogs) -> Result<Self, otel_session::BuildError> {
        let builder = Sessions::builder().with_inactivity_timeout(TEN_MINUTES).with_clock(clock);
        let sessions = builder.build()?;
        let loggers = SdkLoggerProvider::builder().with_log_processor(sessions.batch_log_processor(exporter)).build();
        Ok(Self { sessions, loggers })
    }

    fn order(&self, article: &'static str) {
        let logger = self.loggers.logger("shop");
        let mut record = logger.create_log_record();
        record.set_body(AnyValue::from(article));
        logger.emit(record);
    }
}

// In a project this is a `#[test]`.
fn a_customer_who_comes_back_late_starts_a_new_session() -> Result<(), Box<dyn std::error::Error>> {
    let (clock, exported) = (ManualClock::new(SystemTime::UNIX_EPOCH), CapturedLogs::default());
    let shop = Shop::new(clock.clone(), exported.clone())?;

    shop.order("tea");
    // Returns once everything that fell due is done, so nothing sleeps and nothing is a matter of luck.
    assert!(clock.advance(TEN_MINUTES));
    assert!(shop.sessions.current().is_none());
    shop.order("biscuits");
    shop.sessions.shutdown(Duration::from_secs(5))?;

    let lines: Vec<_> = exported.records().iter().map(|it| it.event_name().unwrap_or("an order")).collect();
    assert_eq!(lines, ["session.start", "an order", "session.end", "session.start", "an order", "session.end"]);
    assert_eq!(shop.sessions.losses().total(), 0);
    Ok(())
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    a_customer_who_comes_back_late_starts_a_new_session()?;
    println!("a customer who comes back late starts a new session ... ok");
    Ok(())
}
