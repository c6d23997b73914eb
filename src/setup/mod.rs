//! Everything wired in one call: exporters from the `OTEL_*` variables, the `tracing` subscriber, and the sessions.
//!
//! ```text
//! code + variables ──> settings, all checked ──> sessions ──> exporters ──> providers ──> subscriber ──> Telemetry
//! ```
//! Code beats the environment. Everything is checked before anything is touched, and what cannot work is an error that names
//! the setting, its value and the fix. Once installed nothing fails: an endpoint that cannot be reached is told once, and
//! what it costs is counted.

mod destination;
mod environment;
mod error;
mod export;
mod guard;
mod resource;
mod subscriber;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogExporter, LoggerProviderBuilder, SdkLoggerProvider};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::sessions::{Sessions, SessionsBuilder};
use destination::{Destination, LOGS, SPANS, Wishes};
use environment::Environment;
use export::Exporters;

pub use destination::Protocol;
pub use error::SetupError;
pub use guard::Telemetry;

/// Begins to wire telemetry with sessions for an application; what code does not set comes from the environment.
///
/// ```no_run
/// use std::time::Duration;
///
/// let telemetry = otel_session::setup().with_service_name("checkout").install()?;
/// tracing::info!("this log carries a session.id");
/// telemetry.shutdown(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn setup() -> Setup {
    Setup::default()
}

/// The settings of [`setup`]. Those it has no method for are variables; the manual has a table of both.
#[must_use = "nothing happens before install()"]
pub struct Setup {
    service_name: Option<String>,
    attributes: Vec<KeyValue>,
    wishes: Wishes,
    default_log_filter: Option<String>,
    stderr: bool,
    sessions: SessionsBuilder,
    bridges: Vec<Bridge>,
}

/// Adds a pipeline for a further exporter of logs: the exporters' type is not one that can be kept in a list.
type Bridge = Box<dyn FnOnce(&Sessions, LoggerProviderBuilder) -> LoggerProviderBuilder + Send + Sync>;

impl Default for Setup {
    fn default() -> Self {
        Self {
            service_name: None,
            attributes: Vec::new(),
            wishes: Wishes::default(),
            default_log_filter: None,
            stderr: true,
            sessions: Sessions::builder(),
            bridges: Vec::new(),
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("service_name", &self.service_name)
            .field("attributes", &self.attributes)
            .field("wishes", &self.wishes)
            .field("default_log_filter", &self.default_log_filter)
            .field("stderr", &self.stderr)
            .field("sessions", &self.sessions)
            .field("log_exporters", &self.bridges.len())
            .finish()
    }
}

impl Setup {
    /// The resource's `service.name`. Default: `OTEL_SERVICE_NAME`, else the `service.name` of `OTEL_RESOURCE_ATTRIBUTES`,
    /// else `unknown_service:` and the program's name. Not empty.
    pub fn with_service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// More attributes of the resource; they win over those of `OTEL_RESOURCE_ATTRIBUTES`. Keys are not empty.
    pub fn with_resource_attributes(mut self, attributes: impl IntoIterator<Item = KeyValue>) -> Self {
        self.attributes.extend(attributes);
        self
    }

    /// Where spans and logs go, as `http://host:port`; over HTTP the path of each signal (`v1/traces`, `v1/logs`) is added.
    /// Default: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT` (used as they are), else
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, else the local host at the protocol's port.
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.wishes.endpoint = Some(endpoint.into());
        self
    }

    /// How OTLP is spoken. Default: `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` and `OTEL_EXPORTER_OTLP_LOGS_PROTOCOL`, else
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`, else [`Protocol::HttpProtobuf`].
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.wishes.protocol = Some(protocol);
        self
    }

    /// How long one attempt of an export may take; none begins after it, so an export may take up to twice as long over HTTP
    /// and a second more over gRPC. Default: `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT` and
    /// `OTEL_EXPORTER_OTLP_LOGS_TIMEOUT`, else `OTEL_EXPORTER_OTLP_TIMEOUT`, all in milliseconds, else 10 s. From 1 ms to 1 h.
    pub fn with_export_timeout(mut self, timeout: Duration) -> Self {
        self.wishes.timeout = Some(timeout);
        self
    }

    /// What is logged and traced when `RUST_LOG` does not say it, in the same form, such as `info,my_crate=debug`. Default:
    /// `info`. This one yields to the environment: whoever looks for a fault sets `RUST_LOG`.
    pub fn with_default_log_filter(mut self, filter: impl Into<String>) -> Self {
        self.default_log_filter = Some(filter.into());
        self
    }

    /// Whether logs are also written to standard error as text. Default: true. A program that draws on the terminal says no;
    /// then it does not see the warning about an endpoint that cannot be reached either.
    pub fn with_stderr(mut self, stderr: bool) -> Self {
        self.stderr = stderr;
        self
    }

    /// How long a session may be idle; see [`SessionsBuilder::with_inactivity_timeout`]. Default: 30 minutes.
    pub fn with_inactivity_timeout(self, timeout: Duration) -> Self {
        self.with_sessions(|sessions| sessions.with_inactivity_timeout(timeout))
    }

    /// How long a session may last; see [`SessionsBuilder::with_max_duration`]. Default: no limit.
    pub fn with_max_duration(self, max: Duration) -> Self {
        self.with_sessions(|sessions| sessions.with_max_duration(max))
    }

    /// Any other setting of the sessions.
    ///
    /// ```
    /// use otel_session::Activity;
    ///
    /// let setup = otel_session::setup().with_sessions(|sessions| sessions.with_activity(Activity::Explicit));
    /// # let _ = setup;
    /// ```
    pub fn with_sessions(mut self, configure: impl FnOnce(SessionsBuilder) -> SessionsBuilder) -> Self {
        self.sessions = configure(self.sessions);
        self
    }

    /// One more exporter for the logs and events, such as a bridge to Snowplow, beside OTLP: in a batch pipeline of its own,
    /// where the records of a session stand in order as in every other. Several may be given.
    pub fn with_log_exporter(mut self, exporter: impl LogExporter + 'static) -> Self {
        let add = |sessions: &Sessions, loggers: LoggerProviderBuilder| {
            loggers.with_log_processor(sessions.batch_log_processor(exporter))
        };
        self.bridges.push(Box::new(add));
        self
    }

    /// Wires everything: exporters, providers, the sessions between them, the process's `tracing` subscriber, its global
    /// tracer provider and its propagator. Works in and outside of async runtimes. Once in a process.
    ///
    /// If `OTEL_SDK_DISABLED` or `DO_NOT_TRACK` say so, nothing is exported and no session starts; logs still go to standard
    /// error. The propagator is installed all the same, but not with `DO_NOT_TRACK`.
    ///
    /// # Errors
    /// When telemetry or a global `tracing` subscriber is installed already, a setting or variable cannot work, or a thread
    /// cannot be started. Nothing is installed then. An endpoint that cannot be reached is no error: it may come later.
    pub fn install(self) -> Result<Telemetry, SetupError> {
        let installing = Installing::begin()?;
        let read = |name: &str| std::env::var_os(name);
        let environment = Environment(&read);
        let filter = subscriber::filter(&environment, self.default_log_filter.as_deref())?;
        let stderr = self.stderr;
        let plan = self.plan(&environment)?;
        let telemetry = plan.start()?;
        subscriber::install(&environment, filter, stderr, &telemetry)?;
        installing.done();
        Ok(telemetry)
    }

    /// Decides everything, and touches nothing.
    fn plan(self, environment: &Environment<'_>) -> Result<Plan, SetupError> {
        let (name, sessions) = (self.service_name, self.sessions);
        resource::check(name.as_deref(), &self.attributes)?;
        // A program without telemetry still passes the contexts of others on, as the specification has it for
        // `OTEL_SDK_DISABLED`; not where nobody is to be tracked.
        let propagators = if environment.do_not_track() {
            Vec::new()
        } else {
            environment.parsed("OTEL_PROPAGATORS", propagators)?.unwrap_or_else(default_propagators)
        };
        if environment.disabled()? {
            return Ok(Plan { sessions, propagators, pipelines: None });
        }
        environment.check_sdk()?;
        let pipelines = Pipelines {
            resource: resource::resource(name, self.attributes, environment)?,
            spans: Destination::resolve(&SPANS, &self.wishes, environment)?,
            logs: Destination::resolve(&LOGS, &self.wishes, environment)?,
            bridges: self.bridges,
        };
        Ok(Plan { sessions, propagators, pipelines: Some(pipelines) })
    }
}

/// What is going to be installed.
#[derive(Debug)]
struct Plan {
    sessions: SessionsBuilder,
    propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>>,
    /// None if the user wants no telemetry.
    pipelines: Option<Pipelines>,
}

struct Pipelines {
    resource: Resource,
    spans: Destination,
    logs: Destination,
    bridges: Vec<Bridge>,
}

impl fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipelines")
            .field("resource", &self.resource)
            .field("spans", &self.spans)
            .field("logs", &self.logs)
            .field("bridges", &self.bridges.len())
            .finish()
    }
}

impl Plan {
    fn start(self) -> Result<Telemetry, SetupError> {
        let sessions = self.sessions.build().map_err(SetupError::Sessions)?;
        let propagator = TextMapCompositePropagator::new(self.propagators);
        let Some(pipelines) = self.pipelines else {
            global::set_text_map_propagator(propagator);
            return Ok(Telemetry::disabled(sessions));
        };
        let exporters = Exporters::build(pipelines.spans, pipelines.logs, &sessions.core.losses)?;
        let tracers = SdkTracerProvider::builder()
            .with_resource(pipelines.resource.clone())
            .with_span_processor(sessions.batch_span_processor(exporters.spans))
            .build();
        let loggers = SdkLoggerProvider::builder()
            .with_resource(pipelines.resource)
            .with_log_processor(sessions.batch_log_processor(exporters.logs));
        let loggers = pipelines.bridges.into_iter().fold(loggers, |loggers, add| add(&sessions, loggers)).build();
        global::set_text_map_propagator(propagator);
        global::set_tracer_provider(tracers.clone());
        Ok(Telemetry::new(sessions, tracers, loggers))
    }
}

fn propagators(text: &str) -> Result<Vec<Box<dyn TextMapPropagator + Send + Sync>>, String> {
    let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
    let text = text.to_ascii_lowercase();
    for name in text.split(',').map(str::trim) {
        match name {
            "tracecontext" => propagators.push(Box::new(TraceContextPropagator::new())),
            "baggage" => propagators.push(Box::new(BaggagePropagator::new())),
            "none" if text.trim() == "none" => {}
            _ => {
                return Err("holds an unknown propagator; use tracecontext, baggage, both with a comma, or none".into());
            }
        }
    }
    Ok(propagators)
}

fn default_propagators() -> Vec<Box<dyn TextMapPropagator + Send + Sync>> {
    vec![Box::new(TraceContextPropagator::new()), Box::new(BaggagePropagator::new())]
}

/// Whether telemetry is installed in this process, or is being.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// The one attempt to install; if it fails another may be made.
struct Installing;

impl Installing {
    fn begin() -> Result<Self, SetupError> {
        if INSTALLED.swap(true, Ordering::AcqRel) {
            return Err(SetupError::AlreadyInstalled);
        }
        let installing = Self;
        // The SDK's global subscriber cannot be replaced: better to know before anything is started.
        if subscriber::is_set() { Err(SetupError::SubscriberInUse) } else { Ok(installing) }
    }

    fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Installing {
    fn drop(&mut self) {
        INSTALLED.store(false, Ordering::Release);
    }
}
