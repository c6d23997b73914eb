//! Sessions for OpenTelemetry.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod activity;
mod clock;
#[cfg(feature = "dev-collector")]
pub mod collector;
mod error;
#[cfg(feature = "tracing")]
mod layer;
mod lifecycle;
mod scope;
pub mod semconv;
mod session;
mod sessions;
mod stamp;
mod sync;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use activity::{Activity, Signal, SignalKind};
pub use clock::{Clock, SystemClock};
pub use error::{BuildError, InvalidSessionId, ShutdownError};
#[cfg(feature = "tracing")]
pub use layer::{SessionFormat, SessionJsonFormat, SessionLayer};
pub use lifecycle::Watch;
pub use session::{EndReason, EndedSession, Session, SessionId, Transition};
pub use sessions::{Sessions, SessionsBuilder};
pub use stamp::{SessionBatchLogProcessor, SessionBatchSpanProcessor, SessionLogProcessor, SessionSpanProcessor};
pub use telemetry::{Loss, Losses};

#[cfg(all(doctest, feature = "tracing"))]
#[doc = include_str!("../docs/manual/tracing.md")]
mod manual_tracing {}
