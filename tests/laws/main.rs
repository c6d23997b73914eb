//! The laws of sessions: a test's name begins with the number of the law that it holds.
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
