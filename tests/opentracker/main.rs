//! The bridge to Opentracker, from records to what a collector gets.

#![allow(clippy::unwrap_used)] // a test may fail by panicking
#![allow(dead_code, unreachable_pub)] // what test crates share is public to each, and each uses a part

#[path = "../support/crash.rs"]
mod crash;
#[path = "../support/records.rs"]
mod records;
#[path = "../support/sink.rs"]
mod sink;
#[path = "../support/watched_store.rs"]
mod watched_store;

mod anything;
mod delivery;
mod examples;
mod kill;
mod manual;
mod settings;

use std::time::{Duration, SystemTime};

use otel_session::OpentrackerExporterBuilder;
use otel_session::export::RetryPolicy;

/// Longer than anything that is not stuck.
const LONG: Duration = Duration::from_secs(60);

/// Where the clocks of records stand; not long ago, or they would be too old.
#[allow(clippy::disallowed_methods, reason = "records are judged by their age")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn builder(endpoint: &str) -> OpentrackerExporterBuilder {
    let retry = RetryPolicy::new().with_max_delay(Duration::from_millis(1));
    otel_session::OpentrackerExporter::builder()
        .with_site("test.opentracker.net")
        .with_endpoint(endpoint)
        .with_retry(retry)
}

/// The properties in a query or a form.
fn properties(query: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query).into_owned().collect()
}

/// The value of a property that stands there at most once.
fn value<'a>(properties: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = properties.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str());
    let value = values.next();
    assert_eq!(values.next(), None, "{name} stands twice");
    value
}
