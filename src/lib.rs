//! Sessions for OpenTelemetry.
//!
//! [`Sessions`] holds the live session of the process. Its processors stamp `session.id` on spans, span events and logs,
//! and put `session.start` and `session.end` into the log pipelines they wrap; see the README for a first run and the
//! guarantees.
//!
//! ```
//! use opentelemetry_sdk::{logs::SdkLoggerProvider, trace::SdkTracerProvider};
//! use otel_session::Sessions;
//! # use opentelemetry_sdk::{logs::InMemoryLogExporter, trace::InMemorySpanExporter};
//! # let (span_exporter, log_exporter) = (InMemorySpanExporter::default(), InMemoryLogExporter::default());
//!
//! let sessions = Sessions::builder().build()?;
//! let tracers = SdkTracerProvider::builder().with_span_processor(sessions.batch_span_processor(span_exporter)).build();
//! let loggers = SdkLoggerProvider::builder().with_log_processor(sessions.batch_log_processor(log_exporter)).build();
//! # Ok::<(), otel_session::BuildError>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod activity;
#[cfg(any(feature = "snowplow", feature = "dev-collector"))]
mod calendar;
mod clock;
#[cfg(feature = "dev-collector")]
pub mod collector;
mod error;
mod event_name;
#[cfg(feature = "bridge")]
pub mod export;
#[cfg(any(feature = "bridge", feature = "otlp"))]
mod host;
#[cfg(any(feature = "snowplow", feature = "dev-collector"))]
pub mod iglu;
#[cfg(feature = "tracing")]
mod layer;
mod lifecycle;
mod scope;
pub mod semconv;
mod session;
mod sessions;
#[cfg(feature = "otlp")]
mod setup;
mod stamp;
mod sync;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use activity::{Activity, Signal, SignalKind};
pub use clock::{Clock, SystemClock};
pub use error::{BuildError, InvalidSessionId, ShutdownError};
#[cfg(feature = "opentracker")]
pub use export::opentracker::{OpentrackerExporter, OpentrackerExporterBuilder};
#[cfg(feature = "snowplow")]
pub use export::snowplow::{SnowplowExporter, SnowplowExporterBuilder};
#[cfg(feature = "tracing")]
pub use layer::{SessionFormat, SessionJsonFormat, SessionLayer};
pub use lifecycle::Watch;
pub use session::{EndReason, EndedSession, Session, SessionId, Transition};
pub use sessions::{Sessions, SessionsBuilder};
#[cfg(feature = "otlp")]
pub use setup::{Protocol, Setup, SetupError, Telemetry, setup};
pub use stamp::{SessionBatchLogProcessor, SessionBatchSpanProcessor, SessionLogProcessor, SessionSpanProcessor};
pub use telemetry::{Loss, Losses};

/// The README and the manual, compiled as tests.
#[cfg(all(doctest, feature = "otlp", feature = "dev-collector", feature = "testing"))]
mod manual {
    #[cfg(feature = "snowplow")]
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/manual/sessions.md")]
    mod sessions {}
    #[doc = include_str!("../docs/manual/setup.md")]
    mod setup {}
    #[cfg(feature = "snowplow")]
    #[doc = include_str!("../docs/manual/snowplow.md")]
    mod snowplow {}
    #[doc = include_str!("../docs/manual/performance.md")]
    mod performance {}
    #[doc = include_str!("../docs/manual/collector.md")]
    mod collector {}
    #[doc = include_str!("../docs/manual/tracing.md")]
    mod tracing {}
    #[cfg(feature = "opentracker")]
    #[doc = include_str!("../docs/manual/opentracker.md")]
    mod opentracker {}
}
