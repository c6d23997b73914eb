//! What stands in for user code in tests: exporters, processors and observers that run a hook, gates that hold them up, and
//! a watchdog for whatever might wait for ever.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use otel_session::testing::{CapturedLogs, CapturedSpans};
use otel_session::{EndReason, Sessions, SessionsBuilder, Transition};

use super::{Line, Rig};

/// The bound of every wait: reached only by a deadlock.
pub const BOUND: Duration = Duration::from_secs(20);

/// Runs `body` on a thread of its own, and fails instead of hanging if it does not come back.
pub fn within_bound<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = body();
        let _ = done.send(result);
    });
    match wait.recv_timeout(BOUND) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still waiting after {BOUND:?}: a deadlock"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// Runs `body` on a thread that ends, when OpenTelemetry's contexts of that thread are gone already.
pub fn as_the_thread_ends(body: impl FnOnce() + Send + 'static) {
    struct Last(Option<Box<dyn FnOnce()>>);
    impl Drop for Last {
        fn drop(&mut self) {
            if let Some(body) = self.0.take() {
                body();
            }
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Last> = const { std::cell::RefCell::new(Last(None)) };
    }
    let (done, wait) = mpsc::channel();
    let last = move || {
        body();
        let _ = done.send(());
    };
    std::thread::spawn(move || {
        // Made first, so that it goes last.
        LAST.with_borrow_mut(|it| it.0 = Some(Box::new(last)));
        drop(Context::current());
    });
    wait.recv_timeout(BOUND).expect("the thread's end comes to an end");
}

/// Runs `check` behind the simple and behind the batch processors, under the watchdog.
pub fn on_both_pipelines(
    configure: impl Fn(SessionsBuilder) -> SessionsBuilder + Send + 'static,
    check: impl Fn(Rig) + Send + 'static,
) {
    within_bound(move || {
        check(Rig::with(&configure));
        check(Rig::batched(&configure));
    });
}

/// The same with the default settings.
pub fn on_both(check: impl Fn(Rig) + Send + 'static) {
    on_both_pipelines(|builder| builder, check);
}

/// How many sessions start and how many end in a stream.
pub fn starts_and_ends(lines: &[Line]) -> (usize, usize) {
    (lines.iter().filter(|line| line.is_start()).count(), lines.iter().filter(|line| line.is_end()).count())
}

/// The ids of the sessions that start in a stream, in order.
pub fn started_ids(lines: &[Line]) -> Vec<String> {
    lines.iter().filter(|line| line.is_start()).filter_map(|line| line.id.clone()).collect()
}

/// The different ids that ordinary logs of a stream carry.
pub fn ids_of_logs(lines: &[Line]) -> BTreeSet<String> {
    lines.iter().filter(|line| !line.is_lifecycle()).filter_map(|line| line.id.clone()).collect()
}

/// The reasons of the ends in a stream, in order.
pub fn reasons(lines: &[Line]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.reason.as_deref()).collect()
}

/// A door that is shut until it is opened, and tells when somebody stands before it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<(usize, bool)>, Condvar)>);

impl Gate {
    /// Waits until the gate is open.
    pub fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut guard = state.lock().unwrap();
        guard.0 += 1;
        changed.notify_all();
        let (_guard, result) = changed.wait_timeout_while(guard, BOUND, |(_, open)| !*open).unwrap();
        assert!(!result.timed_out(), "nobody opened the gate");
    }

    /// Waits until somebody has come to the gate.
    pub fn wait_for_visitor(&self) {
        let (state, changed) = &*self.0;
        let (_guard, result) = changed.wait_timeout_while(state.lock().unwrap(), BOUND, |(n, _)| *n == 0).unwrap();
        assert!(!result.timed_out(), "nobody came to the gate");
    }

    pub fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().1 = true;
        changed.notify_all();
    }
}

/// A piece of user code.
#[derive(Clone)]
pub struct Hook<T: ?Sized>(pub Arc<dyn Fn(&T) + Send + Sync>);

impl<T: ?Sized> Hook<T> {
    pub fn new(call: impl Fn(&T) + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }
}

impl<T: ?Sized> std::fmt::Debug for Hook<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// A log exporter that runs a hook with each record, then keeps it.
#[derive(Debug)]
pub struct HookedLogs {
    pub hook: Hook<SdkLogRecord>,
    pub kept: CapturedLogs,
}

impl LogExporter for HookedLogs {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        batch.iter().for_each(|(record, _)| (self.hook.0)(record));
        self.kept.export(batch).await
    }
}

/// A span exporter that runs a hook with each span, then keeps it.
#[derive(Debug)]
pub struct HookedSpans {
    pub hook: Hook<SpanData>,
    pub kept: CapturedSpans,
}

impl SpanExporter for HookedSpans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        batch.iter().for_each(|span| (self.hook.0)(span));
        self.kept.export(batch).await
    }
}

/// What a probe was asked to do: emissions by their event name or body, and the names of the other calls.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    pub fn note(&self, call: impl Into<String>) {
        self.0.lock().unwrap().push(call.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self, call: &str) -> usize {
        self.all().iter().filter(|it| *it == call).count()
    }
}

/// A log processor that notes its calls, runs a hook with each record, and keeps it.
#[derive(Debug, Clone)]
pub struct LogProbe {
    pub calls: Calls,
    pub hook: Hook<SdkLogRecord>,
    pub flush_hook: Hook<()>,
    pub kept: Arc<Mutex<Vec<SdkLogRecord>>>,
    pub enabled: bool,
}

impl Default for LogProbe {
    fn default() -> Self {
        Self {
            calls: Calls::default(),
            hook: Hook::new(|_| ()),
            flush_hook: Hook::new(|()| ()),
            kept: Arc::default(),
            enabled: true,
        }
    }
}

impl LogProbe {
    pub fn lines(&self) -> Vec<Line> {
        self.kept.lock().unwrap().iter().map(Line::of).collect()
    }
}

impl LogProcessor for LogProbe {
    fn emit(&self, data: &mut SdkLogRecord, _: &InstrumentationScope) {
        let line = Line::of(data);
        self.calls.note(line.event.map_or(line.body, str::to_owned));
        (self.hook.0)(data);
        self.kept.lock().unwrap().push(data.clone());
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.calls.note("flush");
        (self.flush_hook.0)(&());
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.calls.note("shutdown");
        Ok(())
    }

    fn event_enabled(&self, _: Severity, _: &str, _: Option<&str>) -> bool {
        self.enabled
    }

    fn set_resource(&mut self, _: &Resource) {
        self.calls.note("resource");
    }
}

/// A span processor that notes its calls and runs hooks at both ends of a span.
#[derive(Debug, Clone)]
pub struct SpanProbe {
    pub calls: Calls,
    pub starts: Hook<()>,
    pub ends: Hook<SpanData>,
    pub kept: Arc<Mutex<Vec<SpanData>>>,
}

impl Default for SpanProbe {
    fn default() -> Self {
        Self { calls: Calls::default(), starts: Hook::new(|()| ()), ends: Hook::new(|_| ()), kept: Arc::default() }
    }
}

impl SpanProcessor for SpanProbe {
    fn on_start(&self, _: &mut Span, _: &Context) {
        self.calls.note("start");
        (self.starts.0)(&());
    }

    fn on_end(&self, span: SpanData) {
        self.calls.note("end");
        (self.ends.0)(&span);
        self.kept.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.calls.note("flush");
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.calls.note("shutdown");
        Ok(())
    }

    fn set_resource(&mut self, _: &Resource) {
        self.calls.note("resource");
    }
}

/// What observers were told, as texts `end ID reason` and `start ID previous`.
#[derive(Debug, Clone, Default)]
pub struct Told(pub Calls);

impl Told {
    /// An observer that notes everything.
    pub fn observer(&self) -> impl FnMut(&Transition) + Send + 'static {
        let calls = self.0.clone();
        move |transition| {
            if let Some(ended) = transition.ended() {
                calls.note(format!("end {} {}", ended.session().id(), ended.reason()));
            }
            if let Some(started) = transition.started() {
                calls.note(format!("start {} {}", started.id(), started.previous_id().unwrap_or("-")));
            }
        }
    }

    /// The same texts of what an exporter got.
    pub fn of_records(lines: &[Line]) -> Vec<String> {
        let text = |line: &Line| {
            let id = line.id.as_deref().unwrap_or("-");
            if line.is_end() {
                format!("end {id} {}", line.reason.as_deref().unwrap_or("-"))
            } else {
                format!("start {id} {}", line.previous_id.as_deref().unwrap_or("-"))
            }
        };
        lines.iter().filter(|line| line.is_lifecycle()).map(text).collect()
    }
}

/// Calls every function of the handle that user code may call from anywhere; the session is live afterwards.
pub fn call_everything(sessions: &Sessions) {
    let _ = sessions.current();
    let _ = sessions.record_activity();
    let _ = sessions.losses();
    let _ = format!("{sessions:?}");
    sessions.set_background(true);
    sessions.set_background(false);
    sessions.set_user_id(Some("somebody"));
    sessions.set_user_id(None);
    drop(sessions.on_transition(|_| ()));
    sessions.end();
    sessions.end();
    let _ = sessions.rotate();
    let _ = sessions.rotate();
}

/// The reasons that end a session from within the process.
pub const REASONS: [EndReason; 5] =
    [EndReason::Inactivity, EndReason::MaxDuration, EndReason::Rotated, EndReason::Ended, EndReason::Shutdown];
