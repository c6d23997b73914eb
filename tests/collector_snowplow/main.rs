//! The development collector as a Snowplow collector, seen from the wire.
//!
//! The names `b75_` to `b92_` are the numbers of the behaviours that trackers' own suites expect of a collector.

mod answers;
#[allow(dead_code)] // shared with the tests of the OTLP side
#[path = "../collector/client.rs"]
mod client;
mod limits;
mod micro;
mod recordings;
mod schemas;
mod story;
mod validation;
