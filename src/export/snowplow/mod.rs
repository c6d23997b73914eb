//! The bridge to Snowplow: [`SnowplowExporter`] and what it is configured with.

mod anonymity;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod benching;
mod builder;
mod callbacks;
mod collector;
mod content;
mod cookies;
mod data;
mod decide;
mod encode;
mod entities;
mod exporter;
mod fields;
mod hook;
mod id_service;
mod ids;
mod json;
mod linker;
mod map;
mod map_settings;
mod mapped;
mod names;
mod options;
mod platform;
mod protocol;
mod record;
mod registry;
mod rows;
mod settings;
mod shapes;
mod spans;
mod start;
mod structured;
mod subject;
mod subject_text;
mod table;
mod url_safe;

pub use anonymity::Anonymity;
pub use builder::SnowplowExporterBuilder;
pub use callbacks::AcceptedEvent;
pub use collector::Collector;
pub use content::{IdentityLifetime, StateStorage};
pub use cookies::IdCookie;
pub use exporter::SnowplowExporter;
pub use hook::{Candidate, Mapping, SelfDescribing, StructuredEvent};
pub use linker::{CrossDomainLink, decorate_url};
pub use map_settings::{DEFAULT_VENDOR, EventStyle, NonFinite, SessionIdPolicy, StorageMechanism};
pub use mapped::SessionState;
pub use options::{OptionNote, TrackerOption, Verdict, javascript_options, python_options};
pub use platform::Platform;
pub use protocol::Method;
pub use registry::{create, get, remove, remove_by_namespace, reset};
pub use spans::SnowplowSpanExporter;
pub use subject::Subject;

pub use super::namespace::ID_NAMESPACE;

#[cfg(test)]
mod tests;
