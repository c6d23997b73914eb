//! The bridge to Snowplow: [`SnowplowExporter`](crate::SnowplowExporter) and what it is configured with.

mod anonymity;
mod cookies;
mod hook;
mod linker;
mod map;
mod map_settings;
mod platform;
mod subject;

pub use anonymity::Anonymity;
pub use cookies::IdCookie;
pub use hook::{Candidate, Mapping, SelfDescribing, StructuredEvent};
pub use linker::{CrossDomainLink, decorate_url};
pub use map::SessionState;
pub use map_settings::{DEFAULT_VENDOR, EventStyle, ID_NAMESPACE, NonFinite, SessionIdPolicy, StorageMechanism};
pub use platform::Platform;
pub use subject::Subject;
