//! The development collector: receives OTLP inside your program or test and shows the sessions in it. It is also a
//! Snowplow collector with validation, and takes Opentracker's events.
//!
//! It is for development and tests. It listens on 127.0.0.1 only, keeps what arrives in memory, and judges it: which
//! sessions there were, which signals belong to them, and [what is wrong](Stream::problems).
//!
//! ```
//! use otel_session::collector::DevCollector;
//! use std::time::Duration;
//!
//! let collector = DevCollector::start()?;
//! // .. point an OTLP exporter at collector.otlp_grpc_endpoint() or collector.otlp_http_endpoint() ..
//! # assert!(collector.otlp_grpc_endpoint().starts_with("http://127.0.0.1:"));
//! let arrived = collector.wait_until(Duration::from_millis(10), |stream| stream.logs().len() >= 2);
//! println!("{}", collector.stream().timeline());
//! # assert!(!arrived);
//! # Ok::<(), otel_session::collector::StartError>(())
//! ```
//!
//! ```text
//! exporters ──> server ──> http ──┐                       ┌─> stream: spans, logs
//!             (a thread)   grpc ──┴─> decode ──> contents ┴─> ledger ─> sessions, problems, timeline
//! trackers ─────> └──> snowplow, opentracker ───> ┘
//! ```
//!
//! Bounds: request bodies of 4 MiB (before and after decompression; Snowplow's of 2 MiB), 16 of them at a time, 256
//! connections, 262,144 records, 256 MiB of them; the oldest go first and are [counted](Stream::dropped). Whatever is sent, nothing
//! here panics: a bad request gets the protocol's error and is [counted](Stream::refusals).
//!
//! The wire is decoded by this module alone, from the specification; it shares no code with the crate's encoders, so it
//! would notice their mistakes.

mod body;
mod builder;
mod contents;
mod decode;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod http;
mod intake;
mod json_lines;
mod ledger;
mod opentracker;
mod printable;
mod problems;
mod received;
mod refusals;
mod server;
mod sessions;
mod snowplow;
mod stream;
mod timeline;
mod times;
mod value;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use builder::{DevCollectorBuilder, StartError};
pub use opentracker::OpentrackerRecord;
pub use problems::{Problem, SignalKind, SignalRef};
pub use received::{Log, Resource, Scope, Span, SpanEvent, SpanKind, SpanLink, SpanStatus};
pub use refusals::{Refusal, Refusals};
pub use sessions::SeenSession;
pub use snowplow::{ClientSession, SnowplowBad, SnowplowEvent};
pub use stream::{SessionSignals, Stream};
pub use value::{Attributes, Value};

use tokio::sync::oneshot;

use intake::Intake;
use server::Server;

/// A collector on the loopback interface, running on a thread of its own until it is dropped.
#[derive(Debug)]
#[must_use = "the collector stops when it is dropped"]
pub struct DevCollector {
    // First, so that the thread is gone before anything else is.
    server: Server,
    intake: Arc<Intake>,
    grpc: SocketAddr,
    http: SocketAddr,
    snowplow: SocketAddr,
    opentracker: SocketAddr,
}

impl DevCollector {
    /// Starts a collector on free ports, with the default bounds.
    ///
    /// # Errors
    /// When the system gives no port or no thread.
    pub fn start() -> Result<Self, StartError> {
        Self::builder().build()
    }

    /// A collector with settings of your own.
    pub fn builder() -> DevCollectorBuilder {
        DevCollectorBuilder::default()
    }

    /// Where to send OTLP over gRPC: `http://127.0.0.1:PORT`.
    pub fn otlp_grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Where to send OTLP over HTTP: `http://127.0.0.1:PORT`, the base to which `/v1/traces`, `/v1/logs` and
    /// `/v1/metrics` are added. `OTEL_EXPORTER_OTLP_ENDPOINT` takes the base; an exporter's `with_endpoint` may want the
    /// whole address.
    pub fn otlp_http_endpoint(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Where Snowplow trackers send to: `http://127.0.0.1:PORT`. Under it are also `/micro/all`, `/micro/good`,
    /// `/micro/bad`, `/micro/reset` and `/micro/iglu/..` of Snowplow Micro.
    pub fn snowplow_endpoint(&self) -> String {
        format!("http://{}", self.snowplow)
    }

    /// Where Opentracker's raw URLs begin: `http://127.0.0.1:PORT/`, to which `?si=..` is added.
    pub fn opentracker_endpoint(&self) -> String {
        format!("http://{}/", self.opentracker)
    }

    /// What has arrived so far. It does not change when more arrives; taking it is cheap.
    pub fn stream(&self) -> Stream {
        self.intake.stream()
    }

    /// Blocks until `ready` agrees to what has arrived, for at most `deadline` from now. `ready` is asked at once, after
    /// every arrival or refusal, and once more when the time is over; the result is its last answer. It runs on this
    /// thread, under no lock, and may use the collector.
    pub fn wait_until(&self, deadline: Duration, ready: impl FnMut(&Stream) -> bool) -> bool {
        let expired = Arc::new(AtomicBool::new(deadline.is_zero()));
        let (waiting, over) = oneshot::channel::<Infallible>();
        self.server.handle().spawn({
            let (intake, expired) = (Arc::clone(&self.intake), Arc::clone(&expired));
            async move {
                // Ends early when `waiting` is dropped, also by a panic of `ready`.
                if tokio::time::timeout(deadline, over).await.is_err() {
                    intake.raise(&expired);
                }
            }
        });
        let agreed = self.intake.wait(&expired, ready);
        drop(waiting);
        agreed
    }
}
