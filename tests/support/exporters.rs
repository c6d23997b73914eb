//! Exporters and processors that misbehave, or that look at what they are given.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::Severity;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use otel_session::testing::CapturedLogs;

/// Sees each record before it is kept; false refuses its batch.
type Hook = dyn Fn(&Hooked, &SdkLogRecord) -> bool + Send + Sync;

/// Keeps what it is given, after a hook has seen it; the hook may panic or refuse.
#[derive(Clone)]
pub struct Hooked {
    pub logs: CapturedLogs,
    pub resource: Arc<Mutex<Option<Resource>>>,
    hook: Arc<Hook>,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl Hooked {
    /// The hook returns whether the record is exported; if not, its whole batch fails.
    pub fn new(hook: impl Fn(&Self, &SdkLogRecord) -> bool + Send + Sync + 'static) -> Self {
        Self { logs: CapturedLogs::default(), resource: Arc::default(), hook: Arc::new(hook) }
    }
}

impl LogExporter for Hooked {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        for (record, _) in batch.iter() {
            if !(self.hook)(self, record) {
                return Err(OTelSdkError::InternalFailure("refused".into()));
            }
        }
        self.logs.export(batch).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        *self.resource.lock().unwrap() = Some(resource.clone());
    }
}

/// Counts what a wrapper forwards. As a log processor it says that no event is enabled.
#[derive(Debug, Clone, Default)]
pub struct Counting(Arc<Calls>);

#[derive(Debug, Default)]
pub struct Calls {
    pub emitted: AtomicUsize,
    pub flushed: AtomicUsize,
    pub shut_down: AtomicUsize,
    pub resources: AtomicUsize,
    pub started: AtomicUsize,
    pub ended: AtomicUsize,
    pub timeout: Mutex<Option<Duration>>,
}

impl Counting {
    pub fn count(&self, of: impl Fn(&Calls) -> &AtomicUsize) -> usize {
        of(&self.0).load(Ordering::SeqCst)
    }

    pub fn timeout(&self) -> Option<Duration> {
        *self.0.timeout.lock().unwrap()
    }
}

fn up(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

impl LogProcessor for Counting {
    fn emit(&self, _: &mut SdkLogRecord, _: &InstrumentationScope) {
        up(&self.0.emitted);
    }

    fn force_flush(&self) -> OTelSdkResult {
        up(&self.0.flushed);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        up(&self.0.shut_down);
        *self.0.timeout.lock().unwrap() = Some(timeout);
        Ok(())
    }

    fn event_enabled(&self, _: Severity, _: &str, _: Option<&str>) -> bool {
        false
    }

    fn set_resource(&mut self, _: &Resource) {
        up(&self.0.resources);
    }
}

impl SpanProcessor for Counting {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {
        up(&self.0.started);
    }

    fn on_end(&self, _: SpanData) {
        up(&self.0.ended);
    }

    fn force_flush(&self) -> OTelSdkResult {
        up(&self.0.flushed);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        up(&self.0.shut_down);
        *self.0.timeout.lock().unwrap() = Some(timeout);
        Ok(())
    }

    fn set_resource(&mut self, _: &Resource) {
        up(&self.0.resources);
    }
}

/// A log processor that panics when it is flushed.
#[derive(Debug)]
pub struct PanicsOnFlush;

impl LogProcessor for PanicsOnFlush {
    fn emit(&self, _: &mut SdkLogRecord, _: &InstrumentationScope) {}

    fn force_flush(&self) -> OTelSdkResult {
        panic!("this processor panics when it is flushed");
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
