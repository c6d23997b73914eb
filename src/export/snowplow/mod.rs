//! The bridge to Snowplow: [`SnowplowExporter`](crate::SnowplowExporter) and what it is configured with.

mod anonymity;
mod cookies;
mod data;
mod encode;
mod entities;
mod fields;
mod hook;
mod ids;
mod json;
mod linker;
mod map;
mod map_settings;
mod mapped;
mod names;
mod platform;
mod record;
mod rows;
mod structured;
mod subject;
mod subject_text;
mod table;
mod url_safe;

pub use anonymity::Anonymity;
pub use cookies::IdCookie;
pub use hook::{Candidate, Mapping, SelfDescribing, StructuredEvent};
pub use linker::{CrossDomainLink, decorate_url};
pub use map_settings::{DEFAULT_VENDOR, EventStyle, ID_NAMESPACE, NonFinite, SessionIdPolicy, StorageMechanism};
pub use mapped::SessionState;
pub use platform::Platform;
pub use subject::Subject;

#[cfg(test)]
mod tests;
