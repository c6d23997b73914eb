//! Each option of Snowplow's trackers that is adopted, seen on the wire: `docs/manual/snowplow.md` names these tests.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)] // tests may fail by panicking

mod bad_input;
mod content;
mod cookies;
mod delivery;
mod links;
mod manual;
mod privacy;
mod reader;
mod recorder;
mod registry;
mod requests;
mod rig;
mod storage;
#[allow(dead_code)] // shared with another test
#[path = "../support/outbox_store.rs"]
mod store;
#[cfg(feature = "dev-collector")]
mod validated;
