//! The bridge to Snowplow: [`SnowplowExporter`](crate::SnowplowExporter) and what it is configured with.

mod anonymity;
mod cookies;
mod linker;
mod platform;
mod subject;

pub use anonymity::Anonymity;
pub use cookies::IdCookie;
pub use linker::{CrossDomainLink, decorate_url};
pub use platform::Platform;
pub use subject::Subject;
