//! The guard that an application holds while it runs, and the order in which everything ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::clock::{Source, duration_nanos};
use crate::error::ShutdownError;
use crate::sessions::Sessions;

/// What [`Setup::install`](crate::Setup::install) wired; it works until it is shut down or dropped.
///
/// Call [`shutdown`](Self::shutdown) before the program ends. Dropping the guard is only the net: it does the same within
/// three seconds, and errors go unseen.
#[derive(Debug)]
#[must_use = "dropping it ends the session and the export"]
pub struct Telemetry {
    sessions: Sessions,
    tracers: SdkTracerProvider,
    loggers: SdkLoggerProvider,
    enabled: bool,
    over: AtomicBool,
}

impl Telemetry {
    pub(super) fn new(sessions: Sessions, tracers: SdkTracerProvider, loggers: SdkLoggerProvider) -> Self {
        Self { sessions, tracers, loggers, enabled: true, over: AtomicBool::new(false) }
    }

    /// The user wants no telemetry: nothing is exported, and no session ever starts.
    pub(super) fn disabled(sessions: Sessions) -> Self {
        // Sessions that are shut down start nothing and have no thread.
        let _ = sessions.shutdown(Duration::from_secs(1));
        let (tracers, loggers) = (SdkTracerProvider::builder().build(), SdkLoggerProvider::builder().build());
        Self { sessions, tracers, loggers, enabled: false, over: AtomicBool::new(false) }
    }

    /// The process's sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The provider behind the `tracing` layer, for spans of the OpenTelemetry API; it is also the process's global one.
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.tracers
    }

    /// The provider behind the `tracing` bridge, for logs and events of the OpenTelemetry API.
    pub fn logger_provider(&self) -> &SdkLoggerProvider {
        &self.loggers
    }

    /// Whether anything is recorded: false if `OTEL_SDK_DISABLED` or `DO_NOT_TRACK` says so.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Ends the session, exports everything that is pending, and ends the export: at most `timeout` for all of it. Calling
    /// it again is fine and does nothing.
    ///
    /// It blocks its thread, also one of an async runtime; the exports do not need that runtime to go on.
    ///
    /// # Errors
    /// When that took longer than `timeout` ([`ShutdownError::Timeout`]; what was pending is lost if the process ends now),
    /// or an export failed.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), ShutdownError> {
        if self.over.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let bound = Bound::new(timeout);
        let mut errors = Vec::new();
        // Beside the rest: spans that cannot be exported must not use up the time of the session's end.
        let tracers = self.tracers.clone();
        let spans = beside(move || tracers.shutdown_with_timeout(timeout));
        match self.sessions.shutdown(bound.remaining()) {
            Err(ShutdownError::Flush(problems)) => errors.extend(problems.iter().map(|it| format!("logs: {it}"))),
            // The time is told below.
            Err(ShutdownError::Timeout(_)) | Ok(()) => {}
        }
        // Beside as well: the provider grants the whole time to each of its pipelines, one after the other.
        let (loggers, remaining) = (self.loggers.clone(), bound.remaining());
        let logs = beside(move || loggers.shutdown_with_timeout(remaining));
        for (signal, ended) in [("logs", logs), ("spans", spans)] {
            errors.extend(match ended.recv_timeout(bound.remaining()) {
                Ok(result) => text_of(signal, &result),
                Err(RecvTimeoutError::Timeout) => Some(format!("{signal}: it takes longer")),
                Err(RecvTimeoutError::Disconnected) => Some(format!("{signal}: the exporter panicked")),
            });
        }
        match errors.is_empty() {
            true => Ok(()),
            false if bound.remaining().is_zero() => Err(ShutdownError::Timeout(timeout)),
            false => Err(ShutdownError::Flush(errors)),
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        // A panic while another one unwinds would abort the process.
        let _ = catch_unwind(AssertUnwindSafe(|| self.shutdown(NET)));
    }
}

/// Shuts a provider down on a thread of its own, or here if there is none to be had.
fn beside(shut_down: impl FnOnce() -> OTelSdkResult + Clone + Send + 'static) -> Receiver<OTelSdkResult> {
    let (told, ended) = sync_channel(1);
    let run = move || drop(told.send(shut_down()));
    let thread = std::thread::Builder::new().name("otel-session.shutdown".into());
    if thread.spawn(run.clone()).is_err() {
        run();
    }
    ended
}

/// What went wrong. A provider that the application shut down by itself is no error.
fn text_of(signal: &str, result: &OTelSdkResult) -> Option<String> {
    match result {
        Ok(()) | Err(OTelSdkError::AlreadyShutdown) => None,
        Err(error) => Some(format!("{signal}: {error}")),
    }
}

/// What remains of a timeout.
struct Bound {
    started: i64,
    timeout: Duration,
}

impl Bound {
    fn new(timeout: Duration) -> Self {
        Self { started: Source::System.moment().boot, timeout }
    }

    fn remaining(&self) -> Duration {
        let passed = Source::System.moment().boot.saturating_sub(self.started);
        Duration::from_nanos(u64::try_from(duration_nanos(self.timeout).saturating_sub(passed)).unwrap_or(0))
    }
}

/// How long a drop may take.
const NET: Duration = Duration::from_secs(3);
