//! The bridge to Opentracker: [`OpentrackerExporter`] and what it is configured with.
//!
//! One event is one request. Its query is encoded when the record is accepted, and every attempt to deliver it sends the same
//! bytes:
//!
//! ```text
//! https://log.opentracker.net/?si=<site>&ti=<title>&sid=<session.id>&uid=<user.id>&t_ms=<ms>&event_id=<uuid>&proxy=true&<properties>
//! ```
//!
//! `docs/manual/opentracker.md` lists every rule of Opentracker's reference with what the bridge does about it.

mod anonymity;
mod builder;
mod exporter;
mod ids;
mod map;
mod properties;
mod protocol;
mod query;
mod settings;
mod value;

pub use anonymity::Anonymity;
pub use builder::OpentrackerExporterBuilder;
pub use exporter::OpentrackerExporter;
pub use map::OldRecords;
pub use properties::{Properties, RESERVED_NAMES};
pub use protocol::Method;

pub use super::namespace::ID_NAMESPACE;

#[cfg(test)]
mod tests;
