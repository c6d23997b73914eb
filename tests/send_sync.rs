//! Public types go where an application wants to have them: into other threads, tasks and statics. Checked by the compiler;
//! what compiles holds.

use otel_session::{
    Activity, BuildError, EndReason, EndedSession, InvalidSessionId, Loss, Losses, Session, SessionBatchLogProcessor,
    SessionBatchSpanProcessor, SessionId, SessionLogProcessor, SessionSpanProcessor, Sessions, SessionsBuilder,
    ShutdownError, Signal, SignalKind, SystemClock, Transition, Watch,
};

fn shared<T: Send + Sync + 'static>() {}
fn cloned<T: Clone + Send + Sync + 'static>() {}
fn copied<T: Copy + Send + Sync + 'static>() {}
fn error<T: std::error::Error + Send + Sync + 'static>() {}

#[test]
fn handles_and_values_can_be_shared_by_threads() {
    cloned::<Sessions>();
    copied::<Session>();
    cloned::<SessionId>();
    cloned::<Transition>();
    copied::<EndedSession>();
    copied::<EndReason>();
    cloned::<Activity>();
    copied::<SystemClock>();
    copied::<Loss>();
    cloned::<Losses>();
    copied::<SignalKind>();
    shared::<Signal<'static>>();
    shared::<SessionsBuilder>();
    shared::<Watch>();
}

#[test]
fn processors_can_be_shared_by_threads() {
    use opentelemetry_sdk::logs::BatchLogProcessor;
    use opentelemetry_sdk::trace::BatchSpanProcessor;

    shared::<SessionLogProcessor<BatchLogProcessor>>();
    shared::<SessionSpanProcessor<BatchSpanProcessor>>();
    shared::<SessionBatchLogProcessor>();
    shared::<SessionBatchSpanProcessor>();
}

#[test]
fn errors_can_be_boxed_and_sent() {
    error::<BuildError>();
    error::<ShutdownError>();
    error::<InvalidSessionId>();
}

#[cfg(feature = "testing")]
#[test]
fn what_tests_are_made_of_can_be_shared_by_threads() {
    use otel_session::testing::{CapturedLogs, CapturedSpans, ManualClock};

    cloned::<ManualClock>();
    cloned::<CapturedLogs>();
    cloned::<CapturedSpans>();
}

#[cfg(feature = "tracing")]
#[test]
fn layers_and_formats_can_be_shared_by_threads() {
    use otel_session::{SessionFormat, SessionJsonFormat, SessionLayer};

    shared::<SessionLayer>();
    shared::<SessionFormat<tracing_subscriber::fmt::format::Format>>();
    shared::<SessionJsonFormat<tracing_subscriber::fmt::format::Format>>();
}

#[cfg(feature = "otlp")]
#[test]
fn what_setup_gives_can_be_shared_by_threads() {
    use otel_session::{Protocol, Setup, SetupError, Telemetry};

    copied::<Protocol>();
    shared::<Setup>();
    shared::<Telemetry>();
    error::<SetupError>();
}

#[cfg(feature = "dev-collector")]
#[test]
fn the_development_collector_can_be_shared_by_threads() {
    use otel_session::collector::{DevCollector, Problem, StartError, Stream};

    shared::<DevCollector>();
    cloned::<Stream>();
    cloned::<Problem>();
    error::<StartError>();
}
