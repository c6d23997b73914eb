//! The `tracing` subscriber: what the application logs and traces goes to standard error and into the pipelines.
//!
//! What the exporters' own plumbing logs never goes into the pipelines, whatever `RUST_LOG` says: each export would make
//! records for the next one.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing::subscriber::NoSubscriber;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::environment::Environment;
use super::error::SetupError;
use super::guard::Telemetry;
use crate::activity::is_plumbing;

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

/// Whether lines are coloured: for terminals, since in a file colours are noise, and not for whoever wants none.
pub(super) fn colours(environment: &Environment<'_>, terminal: bool) -> bool {
    terminal && (environment.0)("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether the process has a global subscriber. `tracing` by itself tells only whether there ever was one of any kind, such as
/// one that a thread had for a while; a thread that is new has none but the global one.
pub(super) fn is_set() -> bool {
    let look = || tracing::dispatcher::get_default(|dispatch| !dispatch.is::<NoSubscriber>());
    // Without a thread it is found out when ours is set.
    let looked = || std::thread::Builder::new().name("otel-session.setup".into()).spawn(look).ok()?.join().ok();
    tracing::dispatcher::has_been_set() && looked().unwrap_or(false)
}

/// Makes the process's subscriber; without telemetry only standard error gets anything.
pub(super) fn install(
    environment: &Environment<'_>,
    filter: EnvFilter,
    stderr: bool,
    telemetry: &Telemetry,
) -> Result<(), SetupError> {
    let recorded = telemetry.is_enabled().then_some(telemetry);
    let colours = colours(environment, std::io::stderr().is_terminal());
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(recorded.map(|it| it.sessions().layer()))
        .with(recorded.map(|it| spans(it).with_filter(filter_fn(not_plumbing))))
        .with(recorded.map(|it| logs(it).with_filter(filter_fn(not_plumbing))))
        .with(stderr.then(|| {
            let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
            lines.with_filter(filter_fn(not_said_already))
        }));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| SetupError::SubscriberInUse)
}

fn spans<S>(telemetry: &Telemetry) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer().with_tracer(telemetry.tracer_provider().tracer(SCOPE))
}

fn logs<S>(telemetry: &Telemetry) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    OpenTelemetryTracingBridge::new(telemetry.logger_provider())
}

/// Neither what an export passes through nor our own warnings. `tower_http`, whose spans applications want, is none of it.
fn not_plumbing(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    !is_plumbing(target) && target.split("::").next() != Some("otel_session")
}

/// Where a crate of the program has its logs of itself on, the SDK prints an error for every batch that it could not export,
/// and the exporter a warning; our one warning an outage says the same.
fn not_said_already(metadata: &Metadata<'_>) -> bool {
    let name = metadata.name();
    let said = name.ends_with(".ExportError") || name.starts_with("Export.Failed.");
    !(said && metadata.target().starts_with("opentelemetry"))
}

/// The instrumentation scope of spans from `tracing`; that of its logs is the event's target.
const SCOPE: &str = "tracing-opentelemetry";
