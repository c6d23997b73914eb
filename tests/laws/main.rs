//! The laws of sessions: a test's name begins with the number of the law that it holds. Law 8, of the hot path, is held by
//! `allocations.rs` and, within a tick, by the tests in `src/session/current.rs`, and measured by the benchmark `hot_path`;
//! law 12, of what a bridge accepts, by `snowplow_crash.rs`, `snowplow_outage.rs` and `opentracker/`.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "../support/mod.rs"]
mod support;

mod explicit_ids;
mod keeper;
mod losses;
mod membership;
mod order;
mod pipelines;
mod records;
mod snapshots;
mod times;
mod user_code;
