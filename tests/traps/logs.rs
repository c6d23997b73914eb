//! Corners of logs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::Tracer as _;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    LogBatch, LogExporter, LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider, SimpleLogProcessor,
};
use otel_session::testing::{CapturedLogs, ManualClock};
use otel_session::{Loss, Sessions};

use crate::support::bounded::returns;
use crate::support::exporters::Hooked;
use crate::support::pipelines::{KINDS, Kind, everywhere};
use crate::support::probes::{Hook, LogProbe, as_the_thread_ends, starts_and_ends};
use crate::support::*;

fn bare() -> (ManualClock, Sessions) {
    let clock = ManualClock::new(epoch());
    let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
    (clock, sessions)
}

#[test]
fn l_a_rotation_noticed_in_a_suppressed_scope_is_published_from_elsewhere() {
    everywhere(|kind| {
        let rig = Rig::of(kind);
        rig.log("first");
        rig.clock.suspend(TIMEOUT);
        {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            rig.sessions.record_activity();
            rig.sessions.rotate();
            rig.log("dropped by the SDK");
        }
        assert!(rig.clock.advance(Duration::ZERO));
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 3);
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn l_a_rotation_noticed_inside_an_exporter_is_published_from_elsewhere() {
    everywhere(|kind| {
        returns("an exporter that rotates", move || {
            let (_, sessions) = bare();
            let rotating = sessions.clone();
            let exporter = Hooked::new(move |_, record| {
                if record.event_name().is_none() {
                    rotating.rotate();
                }
                true
            });
            let provider = kind.loggers(&sessions, exporter.clone());
            let logger = provider.logger("test");
            for _ in 0..10 {
                emit(&logger, "log", None);
                provider.force_flush().unwrap();
            }
            sessions.shutdown(seconds(20)).unwrap();
            provider.shutdown().unwrap();
            let lines = lines(&exporter.logs);
            assert_lawful(&lines);
            assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 11);
            assert_eq!(lines.iter().filter(|line| line.is_end()).count(), 11);
            assert_eq!(sessions.losses().total(), 0, "{}", sessions.losses());
        });
    });
}

#[test]
fn l_what_is_emitted_after_the_providers_shutdown_harms_nothing() {
    everywhere(|kind| {
        let rig = Rig::of(kind);
        let logger = rig.logger();
        emit(&logger, "before", None);
        rig.loggers.shutdown().unwrap();
        for _ in 0..3 {
            emit(&logger, "after", None);
            rig.clock.advance(TIMEOUT);
        }
        assert!(rig.loggers.shutdown().is_err(), "a second shutdown is an error, says the SDK");
        assert_eq!(rig.lines().len(), 3);
        // Of a processor of the application's only that itself knows what it does.
        let known = if kind == Kind::Batch { 3 } else { 0 };
        assert_eq!(rig.sessions.losses().count(Loss::LogAfterShutdown), known);
        rig.sessions.shutdown(seconds(20)).unwrap();
        assert_eq!(rig.sessions.losses().total(), known, "nothing started that nobody was told of");
    });
}

#[test]
fn l_lifecycle_records_are_exported_with_the_resource_also_those_from_before_the_build() {
    everywhere(|kind| {
        let (_, sessions) = bare();
        sessions.rotate();
        sessions.rotate();
        let without = Arc::new(AtomicUsize::new(0));
        let counted = without.clone();
        let exporter = Hooked::new(move |exporter, _| {
            let resource = exporter.resource.lock().unwrap();
            if resource.as_ref().is_none_or(|it| it.get(&"service.name".into()) != Some("shop".into())) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            true
        });
        let resource = Resource::builder_empty().with_service_name("shop").build();
        let builder = SdkLoggerProvider::builder().with_resource(resource);
        let provider = match kind {
            Kind::Simple => {
                builder.with_log_processor(sessions.log_processor(SimpleLogProcessor::new(exporter.clone())))
            }
            Kind::WrappedBatch => builder.with_log_processor(
                sessions.log_processor(opentelemetry_sdk::logs::BatchLogProcessor::builder(exporter.clone()).build()),
            ),
            Kind::Batch => builder.with_log_processor(sessions.batch_log_processor(exporter.clone())),
        };
        // The processor exists, and the keeper is awake; still nothing may go out before the resource is set.
        sessions.rotate();
        let provider = provider.build();
        sessions.rotate();
        provider.shutdown().unwrap();
        assert_eq!(lines(&exporter.logs).len(), 8);
        assert_eq!(without.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn p_a_simple_exporter_that_panics_on_the_keeper_thread_is_caught_and_counted() {
    // Only the end is published by nobody but the keeper: a start may be either's.
    let exporter = Hooked::new(|_, record| {
        let keeper = std::thread::current().name() == Some("otel-session.keeper");
        assert!(!keeper || record.event_name() != Some("session.end"), "this exporter needs the caller's runtime");
        true
    });
    let (clock, sessions) = bare();
    let provider = Kind::Simple.loggers(&sessions, exporter.clone());
    let logger = provider.logger("test");
    emit(&logger, "first", None);
    assert!(clock.advance(TIMEOUT));
    assert_eq!(sessions.losses().count(Loss::LifecyclePanic), 1);
    // The SDK's processor is poisoned and silent now; the sessions and their keeper go on.
    emit(&logger, "lost", None);
    assert_eq!(sessions.current().unwrap().index(), 2);
    assert!(clock.advance(TIMEOUT));
    assert_eq!(sessions.current(), None);
    sessions.shutdown(seconds(20)).unwrap();
    assert_eq!(lines(&exporter.logs).len(), 2);
}

/// Emits a log of its own for every record it gets, once deep.
#[derive(Debug)]
struct Echo {
    logger: Arc<OnceLock<SdkLogger>>,
    logs: CapturedLogs,
    inside: std::sync::atomic::AtomicBool,
}

impl LogProcessor for Echo {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        futures_block(self.logs.export(LogBatch::new(&[(&*record, scope)])));
        if let Some(logger) = self.logger.get()
            && !self.inside.swap(true, Ordering::SeqCst)
        {
            emit(logger, "echo", None);
            self.inside.store(false, Ordering::SeqCst);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn futures_block(future: impl Future<Output = OTelSdkResult>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future).unwrap();
}

#[test]
fn p_a_processor_that_emits_inside_emit_neither_hangs_nor_recurses() {
    returns("an echoing processor", || {
        let (_, sessions) = bare();
        let logger = Arc::new(OnceLock::new());
        let logs = CapturedLogs::default();
        let echo = Echo { logger: logger.clone(), logs: logs.clone(), inside: false.into() };
        let provider = provider_of(sessions.log_processor(echo));
        logger.set(provider.logger("echo")).unwrap();
        emit(&provider.logger("test"), "log", None);
        let lines = lines(&logs);
        assert_lawful(&lines);
        // One of the log; one of the start and one of its echo, unless the keeper published the start, where the SDK
        // suppresses the echo.
        let echoes = lines.iter().filter(|line| line.body == "echo").count();
        assert!((1..=3).contains(&echoes), "{echoes}");
        assert_eq!(sessions.losses().total(), 0);
    });
}

/// Keeps the size of each batch.
#[derive(Debug, Clone, Default)]
struct Sizes(Arc<Mutex<Vec<usize>>>);

impl LogExporter for Sizes {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.0.lock().unwrap().push(batch.iter().count());
        Ok(())
    }
}

#[test]
fn f_no_batch_is_empty_or_longer_than_the_sdk_makes_them() {
    let (_, sessions) = bare();
    let sizes = Sizes::default();
    let provider = Kind::Batch.loggers(&sessions, sizes.clone());
    let logger = provider.logger("test");
    for round in 0..5_000 {
        sessions.rotate();
        if round % 10 == 0 {
            emit(&logger, "log", None);
        }
    }
    provider.shutdown().unwrap();
    let sizes = sizes.0.lock().unwrap();
    assert_eq!(sizes.iter().sum::<usize>(), 10_500);
    assert!(sizes.iter().all(|size| (1..=512).contains(size)), "{sizes:?}");
}

#[test]
fn f_a_later_sibling_sees_our_stamp_and_an_earlier_one_does_not() {
    let (_, sessions) = bare();
    let logs = [CapturedLogs::default(), CapturedLogs::default(), CapturedLogs::default()];
    let provider = SdkLoggerProvider::builder()
        .with_log_processor(SimpleLogProcessor::new(logs[0].clone()))
        .with_log_processor(sessions.log_processor(SimpleLogProcessor::new(logs[1].clone())))
        .with_log_processor(SimpleLogProcessor::new(logs[2].clone()))
        .build();
    emit(&provider.logger("test"), "log", None);
    let ids = logs.map(|logs| lines(&logs).into_iter().find(|line| line.body == "log").unwrap().id);
    let ours = sessions.current().map(|session| session.id().to_owned());
    assert_eq!(ids, [None, ours.clone(), ours]);
}

#[test]
fn f_the_applications_own_records_keep_everything_they_had() {
    for rig in KINDS.map(Rig::of) {
        let logger = rig.logger();
        let mut record = logger.create_log_record();
        record.set_event_name("my.event");
        record.set_target("my::target");
        record.set_severity_number(Severity::Warn);
        record.set_severity_text("WARN");
        record.set_body(AnyValue::Int(7));
        record.set_timestamp(epoch() + MINUTE);
        record.set_observed_timestamp(epoch() + 2 * MINUTE);
        for number in 0..8 {
            record.add_attribute(format!("attribute {number}"), number);
        }
        let before = record.clone();
        rig.tracer().in_span("span", |_| logger.emit(record));
        let after = rig.lines().pop().unwrap().record;
        assert_eq!(after.event_name(), before.event_name());
        assert_eq!(after.target(), before.target());
        assert_eq!(after.severity_number(), before.severity_number());
        assert_eq!(after.severity_text(), before.severity_text());
        assert_eq!(after.body(), before.body());
        assert_eq!(after.timestamp(), before.timestamp());
        assert_eq!(after.observed_timestamp(), before.observed_timestamp());
        assert!(after.trace_context().is_some());
        assert_eq!(after.attributes_iter().count(), 9);
        assert!(before.attributes_iter().zip(after.attributes_iter()).all(|(before, after)| before == after));
    }
}

#[test]
fn p_a_flush_and_a_shutdown_as_their_thread_ends_publish_what_is_due() {
    for make in [Rig::new as fn() -> Rig, || Rig::batched(|builder| builder)] {
        let Rig { sessions, logs, loggers, .. } = make();
        let (exported, first) = (logs.clone(), sessions.record_activity());
        let rotating = sessions.clone();
        as_the_thread_ends(move || {
            rotating.rotate();
            loggers.force_flush().unwrap();
            loggers.shutdown().unwrap();
        });
        let lifecycle = lines(&exported);
        assert_lawful(&lifecycle);
        assert_eq!((lifecycle.len(), lifecycle[0].id.as_deref()), (4, Some(first.id())));
        assert_eq!(sessions.losses().to_string(), "none");
    }
}

#[test]
fn p_a_provider_that_goes_within_a_look_at_the_context_delivers_its_end() {
    everywhere(|kind| {
        let Rig { sessions, logs, loggers, .. } = Rig::of(kind);
        emit(&loggers.logger("test"), "log", None);
        Context::map_current(|_| drop(loggers));
        assert_eq!(starts_and_ends(&lines(&logs)), (1, 1));
        assert_eq!(sessions.losses().to_string(), "none");
    });
}

#[test]
fn p_a_flush_and_a_shutdown_inside_an_executor_poison_no_simple_processor() {
    returns("an executor in an executor", || {
        let (_, sessions) = bare();
        let logs = CapturedLogs::default();
        let simple = opentelemetry_sdk::logs::SimpleLogProcessor::new(logs.clone());
        let provider = provider_of(sessions.log_processor(simple));
        emit(&provider.logger("test"), "before", None);
        futures_executor::block_on(async {
            sessions.rotate();
            provider.force_flush().unwrap();
        });
        emit(&provider.logger("test"), "after", None);
        futures_executor::block_on(async { provider.shutdown().unwrap() });
        let lines = lines(&logs);
        assert_lawful(&lines);
        assert!(lines.iter().any(|line| line.body == "after"));
        assert!(lines.last().unwrap().is_end());
        assert_eq!(sessions.losses().total(), 0);
    });
}

#[test]
fn p_a_simple_exporter_that_flushes_its_own_pipeline_does_not_wait_for_itself() {
    returns("an exporter that flushes itself", || {
        let (_, sessions) = bare();
        let rotating = sessions.clone();
        let own: Arc<OnceLock<SdkLoggerProvider>> = Arc::default();
        let (provider, flushed) = (own.clone(), Arc::new(Mutex::new(Vec::new())));
        let results = flushed.clone();
        let exporter = Hooked::new(move |_, record| {
            if record.event_name().is_none() {
                // Something is due, and the exporter's own lock is held.
                rotating.rotate();
                results.lock().unwrap().push(provider.get().unwrap().force_flush().is_ok());
            }
            true
        });
        own.set(Kind::Simple.loggers(&sessions, exporter.clone())).unwrap();
        let provider = own.get().unwrap();
        (0..10).for_each(|_| emit(&provider.logger("test"), "log", None));
        assert_eq!(*flushed.lock().unwrap(), [true; 10]);
        sessions.shutdown(seconds(20)).unwrap();
        provider.shutdown().unwrap();
        let lines = lines(&exporter.logs);
        assert_lawful(&lines);
        assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 11);
        assert_eq!(sessions.losses().total(), 0, "{}", sessions.losses());
    });
}

#[test]
fn p_a_processor_that_flushes_its_own_pipeline_for_each_record_does_not_wait_for_itself() {
    returns("a processor that flushes itself", || {
        let (_, sessions) = bare();
        let own: Arc<OnceLock<SdkLoggerProvider>> = Arc::default();
        let (provider, flushed) = (own.clone(), Arc::new(Mutex::new(Vec::new())));
        let results = flushed.clone();
        let hook = Hook::new(move |_: &SdkLogRecord| {
            // In no suppressed scope: nobody exports yet.
            results.lock().unwrap().push(provider.get().unwrap().force_flush());
        });
        let probe = LogProbe { hook, ..LogProbe::default() };
        own.set(provider_of(sessions.log_processor(probe.clone()))).unwrap();
        emit(&own.get().unwrap().logger("test"), "log", None);
        let events: Vec<_> = probe.lines().iter().map(|line| line.event).collect();
        assert_eq!(events, [Some("session.start"), None]);
        assert!(flushed.lock().unwrap().iter().all(Result::is_ok), "{flushed:?}");
        assert_eq!(flushed.lock().unwrap().len(), 2);
    });
}

/// A log processor that notes for each record whether it comes in a suppressed scope.
#[derive(Debug, Clone, Default)]
struct Suppressed(Arc<Mutex<Vec<Seen>>>);

/// The event name of a record, and whether it came in a suppressed scope.
type Seen = (Option<&'static str>, bool);

impl LogProcessor for Suppressed {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        self.0.lock().unwrap().push((record.event_name(), Context::is_current_telemetry_suppressed()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn f_what_the_keeper_and_a_pipeline_that_goes_publish_is_published_in_a_suppressed_scope() {
    for only_dropped in [false, true] {
        let (clock, sessions) = bare();
        let inner = Suppressed::default();
        let provider = provider_of(sessions.log_processor(inner.clone()));
        sessions.rotate();
        assert!(clock.advance(Duration::ZERO));
        match only_dropped {
            true => drop(provider),
            false => provider.shutdown().unwrap(),
        }
        // What a processor logs about them would be taken for activity, and start the next session.
        assert_eq!(*inner.0.lock().unwrap(), [(Some("session.start"), true), (Some("session.end"), true)]);
    }
}

#[test]
fn f_what_the_keeper_flushes_is_flushed_in_a_suppressed_scope() {
    let (_clock, sessions) = bare();
    let suppressed = Arc::new(Mutex::new(Vec::new()));
    let seen = suppressed.clone();
    let flush_hook = Hook::new(move |(): &()| seen.lock().unwrap().push(Context::is_current_telemetry_suppressed()));
    let _provider = provider_of(sessions.log_processor(LogProbe { flush_hook, ..LogProbe::default() }));
    sessions.shutdown(Duration::from_secs(5)).unwrap();
    assert_eq!(*suppressed.lock().unwrap(), [true]);
}
