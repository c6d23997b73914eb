//! The bridges: exporters that take logs with a `session.id` from any log pipeline to Snowplow and Opentracker.
//!
//! ```text
//! LogExporter::export ─ map ─> chunks of encoded events ─ accept ─> outbox ─ take ─> delivery thread ─ http ─> collector
//!                        └─ session table ── state rows ──┘           └──── settle: 2xx, or a named, counted drop ──┘
//! ```
//!
//! An event is *accepted* when the outbox has committed it, inside `export()`. Its id, its times and its numbers are fixed
//! there; every attempt to deliver it sends the same bytes, but for the time of sending. It leaves the outbox only by a 2xx
//! of its collector or by a drop that is counted under its own name ([`Loss`](crate::Loss)).
//!
//! This room knows nothing of [`Sessions`](crate::Sessions): the id on a record decides, whoever put it there.

mod chunk;
mod cookie_jar;
mod cookies;
mod delivery;
mod endpoint;
#[cfg(feature = "testing")]
mod failpoint;
#[cfg(not(feature = "testing"))]
#[path = "no_failpoint.rs"]
mod failpoint;
mod headers;
mod http;
mod keyed;
#[cfg(any(feature = "opentracker", feature = "snowplow"))]
mod namespace;
#[cfg(feature = "opentracker")]
pub mod opentracker;
#[cfg(any(feature = "opentracker", feature = "snowplow"))]
mod opt_out;
mod outbox;
#[cfg(any(feature = "opentracker", feature = "snowplow"))]
mod personal;
mod report;
mod retry;
#[cfg(feature = "snowplow")]
pub mod snowplow;

pub use chunk::{Chunk, ChunkEvent};
pub use delivery::{Delivered, Failed};
pub use http::{Bytes, HttpClient, HttpError, Request, Response};
#[cfg(feature = "sqlite")]
pub use outbox::Synchronous;
pub use outbox::{Commit, Opened, Outbox, OutboxError, OutboxStore, Overflow, StateRow, Stored};
pub use report::{CollectorReport, ExportReport};
pub use retry::RetryPolicy;
