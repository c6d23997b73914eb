//! The `tracing` subscriber: what the application logs and traces goes to standard error and into the pipelines.
//!
//! What the exporters' own plumbing logs never goes into the pipelines, whatever `RUST_LOG` says: each export would make
//! records for the next one.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Metadata;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::environment::Environment;
use super::error::SetupError;

/// The filter of `RUST_LOG`, else the application's default.
pub(super) fn filter(environment: &Environment<'_>, default: Option<&str>) -> Result<EnvFilter, SetupError> {
    let parse = |text: &str| {
        EnvFilter::try_new(text)
            .map_err(|error| format!("{error}; write levels by target, such as info,my_crate=debug"))
    };
    if let Some(filter) = environment.parsed("RUST_LOG", parse)? {
        return Ok(filter);
    }
    let default = default.unwrap_or("info");
    parse(default).map_err(|problem| SetupError::Setting {
        setting: "with_default_log_filter",
        value: default.to_owned(),
        problem,
    })
}

/// Makes the process's subscriber; without providers only standard error gets anything.
pub(super) fn install(
    filter: EnvFilter,
    stderr: bool,
    providers: Option<(&SdkTracerProvider, &SdkLoggerProvider)>,
) -> Result<(), SetupError> {
    // Colours are for terminals: in a file they are noise.
    let colours = std::io::stderr().is_terminal();
    let text = stderr.then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours));
    let (spans, logs) = providers.unzip();
    let spans = spans.map(|tracers| tracing_opentelemetry::layer().with_tracer(tracers.tracer(SCOPE)));
    let logs = logs.map(OpenTelemetryTracingBridge::new);
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(spans.with_filter(filter_fn(not_plumbing)))
        .with(logs.with_filter(filter_fn(not_plumbing)))
        .with(text);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| SetupError::SubscriberInUse)
}

fn not_plumbing(metadata: &Metadata<'_>) -> bool {
    !PLUMBING.contains(&metadata.target().split("::").next().unwrap_or_default())
}

/// The instrumentation scope of spans from `tracing`; that of its logs is the event's target.
const SCOPE: &str = "tracing-opentelemetry";

/// The crates that an export passes through. `tower_http`, whose spans applications want, is not among them.
const PLUMBING: [&str; 12] = [
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_http",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "otel_session",
    "reqwest",
    "rustls",
    "tonic",
    "tower",
];
