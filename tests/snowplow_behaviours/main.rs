//! Behaviours that the test suites of Snowplow's trackers assert, each under its number in `README.md`: shown end to end
//! here, by our sessions, an exporter and a collector that validates, unless a test elsewhere holds them already.
#![allow(unreachable_pub)] // modules of one test
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod anything;
mod bench;
mod bridge;
mod emitter;
mod index;
mod mobile;
#[allow(dead_code)] // shared with another test
#[path = "../snowplow_options/recorder.rs"]
mod recorder;
#[path = "../support/records.rs"]
mod records;
mod restart;
#[allow(dead_code)] // shared with another test
#[path = "../snowplow_options/rig.rs"]
mod rig;
mod sessions;
#[path = "../support/outbox_store.rs"]
mod store;
mod told;
mod validity;
#[path = "../support/watched_store.rs"]
mod watched_store;
