//! The Opentracker side: events by raw URL, and the session and user records that grow from them.
//!
//! ```text
//! GET /?si=..&name=value ──┐                     ┌─> event
//! POST / (form) ───────────┴─> read ─> give ids ─┴─> session, user: every property, the last write wins
//! ```
//!
//! Bounds: the body limit of the collector; sessions and users as many as records, and of each as many bytes as of
//! records, at most 64 MiB: those that were seen first go first, and are not counted.

mod http;
mod objects;
mod read;
mod records;

pub use records::OpentrackerRecord;

pub(super) use http::{MAX_HEAD_BYTES, answer};
pub(super) use objects::Objects;
pub(super) use read::read;
