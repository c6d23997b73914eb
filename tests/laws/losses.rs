//! Law 11: every loss is counted and named. What only a particular misuse provokes is counted in the tests of that misuse.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::LogProcessor;
use otel_session::{Loss, Sessions};

use crate::support::bounded::{Gate, returns};
use crate::support::exporters::{Counting, Hooked};
use crate::support::pipelines::Kind;
use crate::support::*;

#[test]
fn law_11_a_healthy_run_loses_nothing() {
    let rig = Rig::new();
    rig.log("log");
    rig.sessions.rotate();
    rig.span("span");
    rig.sessions.shutdown(seconds(5)).unwrap();
    assert_eq!(rig.sessions.losses().to_string(), "none");
}

/// A span exporter that stands still while somebody holds the lock.
#[derive(Debug, Clone, Default)]
struct Held(Arc<std::sync::Mutex<()>>, otel_session::testing::CapturedSpans);

impl opentelemetry_sdk::trace::SpanExporter for Held {
    async fn export(&self, batch: Vec<opentelemetry_sdk::trace::SpanData>) -> opentelemetry_sdk::error::OTelSdkResult {
        drop(self.0.lock().unwrap());
        self.1.export(batch).await
    }
}

#[test]
fn law_11_spans_that_find_the_queue_full_are_counted() {
    let rig = Rig::new();
    let exporter = Held::default();
    let tracers = tracers_of(rig.sessions.batch_span_processor(exporter.clone()));
    let held = exporter.0.lock().unwrap();
    for _ in 0..10_000 {
        use opentelemetry::trace::{Span as _, TracerProvider as _};
        start_span(&tracers.tracer("test"), "span", epoch()).end();
    }
    drop(held);
    tracers.force_flush().unwrap();
    let exported = exporter.1.spans().len() as u64;
    assert!(exported < 10_000);
    assert_eq!(rig.sessions.losses().count(Loss::SpanQueueFull), 10_000 - exported);
    tracers.shutdown().unwrap();
    assert_eq!(rig.sessions.losses().total(), 10_000 - exported, "told once");
}

/// A span exporter that always fails.
#[derive(Debug)]
struct Fails;

impl opentelemetry_sdk::trace::SpanExporter for Fails {
    async fn export(&self, _: Vec<opentelemetry_sdk::trace::SpanData>) -> opentelemetry_sdk::error::OTelSdkResult {
        Err(opentelemetry_sdk::error::OTelSdkError::InternalFailure("refused".into()))
    }
}

#[test]
fn law_11_spans_that_an_exporter_refused_did_not_find_the_queue_full() {
    use opentelemetry::trace::{Span as _, TracerProvider as _};
    let rig = Rig::new();
    let tracers = tracers_of(rig.sessions.batch_span_processor(Fails));
    start_span(&tracers.tracer("test"), "span", epoch()).end();
    let _ = tracers.force_flush();
    let _ = tracers.shutdown();
    assert_eq!(rig.sessions.losses().count(Loss::SpanQueueFull), 0);
}

#[test]
fn law_11_a_flush_or_a_shutdown_within_which_an_export_fails_is_an_error() {
    use opentelemetry::logs::LoggerProvider as _;
    use opentelemetry::trace::{Span as _, TracerProvider as _};
    let rig = Rig::new();
    let tracers = tracers_of(rig.sessions.batch_span_processor(Fails));
    start_span(&tracers.tracer("test"), "span", epoch()).end();
    let ended = tracers.shutdown();
    assert!(format!("{ended:?}").contains("refused"), "{ended:?}");

    let refuses = |text: &'static str| {
        let exporter = Hooked::new(move |_, record| record.body() != Some(&text.into()));
        let loggers = Kind::Batch.loggers(&otel_session::Sessions::builder().build().unwrap(), exporter);
        emit(&loggers.logger("test"), "log", None);
        loggers
    };
    // The end of the session goes out as its exporter shuts down.
    for refused in ["log", "session ended"] {
        let ended = refuses(refused).shutdown();
        assert!(format!("{ended:?}").contains("refused"), "{refused}: {ended:?}");
    }
    let flushed = refuses("log").force_flush();
    assert!(format!("{flushed:?}").contains("refused"), "{flushed:?}");
    let loggers = refuses("nothing");
    assert!(loggers.force_flush().is_ok() && loggers.shutdown().is_ok());
}

/// A span exporter that panics.
#[derive(Debug)]
struct Panics;

impl opentelemetry_sdk::trace::SpanExporter for Panics {
    async fn export(&self, _: Vec<opentelemetry_sdk::trace::SpanData>) -> opentelemetry_sdk::error::OTelSdkResult {
        panic!("this exporter panics");
    }
}

#[test]
fn law_11_what_a_batch_thread_that_panicked_can_no_longer_export_is_counted() {
    use opentelemetry::logs::LoggerProvider as _;
    use opentelemetry::trace::{Span as _, TracerProvider as _};
    returns("dead batch threads", || {
        let rig = Rig::new();
        let loggers = Kind::Batch.loggers(&rig.sessions, Hooked::new(|_, _| panic!("this exporter panics")));
        let tracers = Kind::Batch.tracers(&rig.sessions, Panics);
        let signals = |count: usize| {
            for _ in 0..count {
                emit(&loggers.logger("test"), "log", None);
                start_span(&tracers.tracer("test"), "span", rig.clock.now()).end();
            }
        };
        let counted = || {
            let losses = rig.sessions.losses();
            (losses.count(Loss::LogQueueFull), losses.count(Loss::SpanQueueFull))
        };
        signals(1);
        // The SDK's threads go in the middle of this, and are gone once a flush finds nobody to ask.
        let gone = |flushed: opentelemetry_sdk::error::OTelSdkResult| {
            format!("{:?}", flushed.expect_err("the exporter panics")).contains("AlreadyShutdown")
        };
        while !gone(loggers.force_flush()) || !gone(tracers.force_flush()) {
            std::thread::yield_now();
        }
        signals(10);
        assert!(loggers.force_flush().is_err() && tracers.force_flush().is_err());
        assert_eq!(counted(), (11, 11), "the signal at which it panicked, and all that followed");
        signals(10);
        assert!(loggers.shutdown().is_err() && tracers.shutdown().is_err());
        assert_eq!(counted(), (21, 21));
        assert!(loggers.force_flush().is_err() && tracers.force_flush().is_err());
        assert_eq!(counted(), (21, 21), "told once");
    });
}

#[test]
fn law_11_a_log_that_waited_and_then_met_a_panic_is_counted() {
    use opentelemetry::logs::LoggerProvider as _;
    returns("a log that waits for a held keeper", || {
        let gate = Gate::default();
        let at = gate.clone();
        let hook = crate::support::probes::Hook::new(move |record: &opentelemetry_sdk::logs::SdkLogRecord| {
            if record.event_name() == Some("session.end") {
                at.pass();
            }
            let waited =
                matches!(record.body(), Some(opentelemetry::logs::AnyValue::String(text)) if text.as_str() == "waits");
            assert!(!waited, "this processor panics at what waited");
        });
        let probe = crate::support::probes::LogProbe { hook, ..Default::default() };
        let clock = otel_session::testing::ManualClock::new(epoch());
        let sessions = otel_session::Sessions::builder().with_clock(clock.clone()).build().unwrap();
        let loggers = provider_of(sessions.log_processor(probe.clone()));
        let logger = loggers.logger("test");
        emit(&logger, "first", None);
        sessions.rotate();
        // The keeper is held up between the two records, so the log waits without its caller.
        gate.arrival();
        emit(&logger, "waits", None);
        gate.open();
        assert!(clock.advance(Duration::ZERO));
        loggers.force_flush().unwrap();
        assert_eq!(sessions.losses().to_string(), "lifecycle_panic: 1");
        emit(&logger, "next", None);
        assert!(probe.lines().iter().any(|line| line.body == "next"));
    });
}

/// An exporter that stands still until the gate is open.
fn held_at(gate: &Gate) -> Hooked {
    let gate = gate.clone();
    Hooked::new(move |_, _| {
        gate.pass();
        true
    })
}

/// A processor that hands on records and nothing else.
#[derive(Debug)]
struct RecordsOnly(otel_session::SessionBatchLogProcessor);

impl LogProcessor for RecordsOnly {
    fn emit(
        &self,
        data: &mut opentelemetry_sdk::logs::SdkLogRecord,
        instrumentation: &opentelemetry::InstrumentationScope,
    ) {
        self.0.emit(data, instrumentation);
    }

    fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }
}

#[test]
fn law_11_logs_that_found_the_queue_full_are_counted_when_the_processor_is_only_dropped() {
    use opentelemetry::logs::LoggerProvider as _;
    let rig = Rig::new();
    let gate = Gate::default();
    let exporter = held_at(&gate);
    let kept = exporter.logs.clone();
    let loggers = provider_of(RecordsOnly(rig.sessions.batch_log_processor(exporter)));
    for _ in 0..10_000 {
        emit(&loggers.logger("test"), "log", None);
    }
    gate.open();
    drop(loggers);
    let exported = lines(&kept).iter().filter(|line| !line.is_lifecycle()).count() as u64;
    assert!(exported < 10_000);
    assert_eq!(rig.sessions.losses().count(Loss::LogQueueFull), 10_000 - exported);
}

#[test]
fn law_11_what_is_still_on_its_way_when_a_shutdown_gives_up_is_not_lost() {
    use opentelemetry::logs::LoggerProvider as _;
    use opentelemetry::trace::{Span as _, TracerProvider as _};
    returns("a shutdown that gives up", || {
        let rig = Rig::new();
        let gate = Gate::default();
        let exporter = held_at(&gate);
        let kept = exporter.logs.clone();
        let loggers = Kind::Batch.loggers(&rig.sessions, exporter);
        emit(&loggers.logger("test"), "log", None);
        assert!(loggers.shutdown_with_timeout(Duration::from_millis(1)).is_err());
        let spans = Held::default();
        let tracers = tracers_of(rig.sessions.batch_span_processor(spans.clone()));
        let held = spans.0.lock().unwrap();
        start_span(&tracers.tracer("test"), "span", epoch()).end();
        assert!(tracers.shutdown_with_timeout(Duration::from_millis(1)).is_err());
        let losses = rig.sessions.losses();
        assert_eq!((losses.count(Loss::LogQueueFull), losses.count(Loss::SpanQueueFull)), (0, 0), "{losses}");
        drop(held);
        gate.open();
        while !lines(&kept).iter().any(|line| line.body == "log") || spans.1.spans().is_empty() {
            std::thread::yield_now();
        }
    });
}

#[test]
fn law_11_a_log_that_comes_while_the_batch_processor_shuts_down_is_counted() {
    use opentelemetry::logs::LoggerProvider as _;
    returns("a log during a shutdown", || {
        let rig = Rig::new();
        let gate = Gate::default();
        let exporter = held_at(&gate);
        let kept = exporter.logs.clone();
        let loggers = Kind::Batch.loggers(&rig.sessions, exporter);
        let logger = loggers.logger("test");
        emit(&logger, "in time", None);
        std::thread::scope(|scope| {
            let shutdown = scope.spawn(|| loggers.shutdown());
            // The SDK has taken its last look at the queue.
            gate.arrival();
            emit(&logger, "late", None);
            gate.open();
            shutdown.join().unwrap().unwrap();
        });
        let exported = lines(&kept).iter().filter(|line| !line.is_lifecycle()).count() as u64;
        assert_eq!(exported + rig.sessions.losses().count(Loss::LogAfterShutdown), 2);
        assert_eq!(rig.sessions.losses().total(), 2 - exported, "{}", rig.sessions.losses());
    });
}

#[test]
fn law_11_a_flush_whose_export_fails_says_so_also_where_lifecycle_records_went_along() {
    use opentelemetry::logs::LoggerProvider as _;
    let rig = Rig::new();
    let refusing = Hooked::new(|_, record| record.event_name() != Some("session.start"));
    let loggers = Kind::Batch.loggers(&rig.sessions, refusing);
    emit(&loggers.logger("test"), "log", None);
    assert!(loggers.force_flush().is_err());
    assert!(loggers.force_flush().is_ok(), "once");
}

#[test]
fn law_11_losses_are_told_by_name() {
    let rig = Rig::with(|builder| builder.with_id_generator(|| ""));
    rig.log("log");
    rig.sessions.rotate();
    assert_eq!(rig.sessions.losses().to_string(), "invalid_id: 2");
    assert_eq!(rig.sessions.losses().count(Loss::InvalidId), 2);
}

#[test]
fn law_11_names_are_unique() {
    let names: std::collections::HashSet<_> = Loss::ALL.into_iter().map(Loss::as_str).collect();
    assert_eq!(names.len(), Loss::ALL.len());
}

#[test]
fn law_11_an_export_that_fails_is_counted_for_lifecycle_records() {
    let rig = Rig::new();
    let failing = Kind::Batch.loggers(&rig.sessions, Hooked::new(|_, _| false));
    emit(&opentelemetry::logs::LoggerProvider::logger(&failing, "test"), "log", None);
    rig.sessions.rotate();
    let _ = failing.force_flush();
    assert_eq!(rig.sessions.losses().count(Loss::LifecycleExport), 3);
    // What is exported at shutdown, without any batch, counts as well.
    let _ = failing.shutdown();
    rig.sessions.shutdown(seconds(5)).unwrap();
    assert_eq!(rig.sessions.losses().total(), 3, "the other pipeline stayed, so the session did not end there");
}

#[test]
fn law_11_a_failed_export_at_shutdown_is_counted() {
    let clock = otel_session::testing::ManualClock::new(epoch());
    let sessions = otel_session::Sessions::builder().with_clock(clock).build().unwrap();
    let failing = Kind::Batch.loggers(&sessions, Hooked::new(|_, _| false));
    sessions.record_activity();
    let _ = failing.shutdown();
    assert_eq!(sessions.losses().count(Loss::LifecycleExport), 2);
}

#[test]
fn law_11_a_log_that_cannot_wait_for_its_lifecycle_records_is_counted() {
    returns("a log that waits for a stuck exporter", || {
        // The exporter holds the turn for longer than a log waits. It emits a log of its own through a processor that it is
        // not called by, so only our turn can hold that log up.
        let gate = Gate::default();
        let at = gate.clone();
        let rig = Rig::new();
        let mut stuck = rig.sessions.log_processor(Stuck(at));
        stuck.set_resource(&Resource::builder_empty().build());
        let stuck = Arc::new(stuck);
        rig.sessions.rotate();
        std::thread::scope(|scope| {
            let processor = stuck.clone();
            scope.spawn(move || processor.force_flush());
            gate.arrival();
            rig.sessions.rotate();
            let logger = rig.logger();
            let log = || {
                let mut record = opentelemetry::logs::Logger::create_log_record(&logger);
                stuck.emit(&mut record, &opentelemetry::InstrumentationScope::default());
            };
            (0..1_024).for_each(|_| log());
            assert_eq!(rig.sessions.losses().total(), 0, "they wait, without their callers");
            // From then on callers are slowed down, so many of them are needed to fill the rest.
            std::thread::scope(|scope| {
                (0..128).for_each(|_| _ = scope.spawn(|| (0..8).for_each(|_| log())));
            });
            assert_eq!(rig.sessions.losses().total(), 0);
            log();
            assert_eq!(rig.sessions.losses().count(Loss::Order), 1, "no room to wait");
            gate.open();
        });
    });
}

/// Stands at a gate with every lifecycle record; ordinary logs pass.
#[derive(Debug)]
struct Stuck(Gate);

impl LogProcessor for Stuck {
    fn emit(&self, record: &mut opentelemetry_sdk::logs::SdkLogRecord, _: &opentelemetry::InstrumentationScope) {
        if record.event_name().is_some() {
            self.0.pass();
        }
    }

    fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }
}

#[test]
fn law_11_a_second_resource_is_counted() {
    let rig = Rig::new();
    let mut processor = rig.sessions.log_processor(Counting::default());
    processor.set_resource(&Resource::builder_empty().build());
    assert_eq!(rig.sessions.losses().total(), 0);
    processor.set_resource(&Resource::builder_empty().build());
    assert_eq!(rig.sessions.losses().count(Loss::ResourceIgnored), 1);

    // The same of a batch processor, if the keeper is at work in it.
    let gate = Gate::default();
    let exporter = held_at(&gate);
    let rig = Arc::new(Rig::new());
    let mut processor = rig.sessions.batch_log_processor(exporter);
    processor.set_resource(&Resource::builder_empty().build());
    let flushing = rig.clone();
    std::thread::scope(|scope| {
        let flush = scope.spawn(move || {
            flushing.sessions.rotate();
            flushing.sessions.shutdown(seconds(20))
        });
        gate.arrival();
        processor.set_resource(&Resource::builder_empty().build());
        gate.open();
        flush.join().unwrap().unwrap();
    });
    assert_eq!(rig.sessions.losses().count(Loss::ResourceIgnored), 1);
}

#[test]
fn law_11_an_observer_that_lags_too_far_loses_the_oldest_and_they_are_counted() {
    let rig = Rig::new();
    let gate = Gate::default();
    let at = gate.clone();
    let (told, seen) = std::sync::mpsc::channel();
    rig.sessions
        .on_transition(move |transition| {
            at.pass();
            let _ = told.send(transition.started().map(|session| session.index()));
        })
        .detach();
    rig.sessions.rotate();
    gate.arrival();
    for _ in 0..65_536 + 10 {
        rig.sessions.rotate();
    }
    assert_eq!(rig.sessions.losses().count(Loss::ObserverQueueFull), 10);
    gate.open();
    assert!(rig.clock.advance(Duration::ZERO));
    let seen: Vec<_> = seen.try_iter().collect();
    assert_eq!(seen.len(), 65_537);
    assert_eq!(seen[..2], [Some(1), Some(12)]);
    assert_eq!(rig.sessions.losses().total(), 10);
}

#[test]
fn law_11_a_pipeline_that_never_exports_drops_whole_pairs_and_counts_them() {
    let gate = Gate::default();
    let at = gate.clone();
    let exporter = Hooked::new(move |_, _| {
        at.pass();
        true
    });
    let clock = otel_session::testing::ManualClock::new(epoch());
    let sessions = otel_session::Sessions::builder().with_clock(clock).build().unwrap();
    let stuck = Kind::Batch.loggers(&sessions, exporter.clone());
    sessions.rotate();
    let flushing = std::thread::spawn({
        let stuck = stuck.clone();
        move || stuck.force_flush()
    });
    gate.arrival();
    // More than the 131,072 pairs that may wait.
    for _ in 0..132_000 {
        sessions.rotate();
    }
    let dropped = sessions.losses().count(Loss::LifecycleQueueFull);
    assert!(dropped > 1_000, "{dropped}");
    assert_eq!(dropped % 2, 0, "whole pairs");
    gate.open();
    // The SDK gives a flush five seconds, which a busy machine may need for the rotations alone.
    let _ = flushing.join().unwrap();
    stuck.shutdown_with_timeout(seconds(120)).unwrap();
    // The links show the gap; what is left is balanced.
    let lines = lines(&exporter.logs);
    for pair in lines.chunks(2) {
        assert!(pair[0].is_start() && pair[1].is_end());
        assert_eq!(pair[0].id, pair[1].id);
    }
    assert_eq!(lines.len() as u64, 264_002 - sessions.losses().count(Loss::LifecycleQueueFull));
}

#[test]
fn law_11_losses_are_exported_as_a_metric_without_any_session_id() {
    use opentelemetry::KeyValue;
    use opentelemetry::metrics::{AsyncInstrumentBuilder, InstrumentProvider, Meter, MeterProvider, ObservableCounter};

    type Callback = Box<dyn Fn() -> Vec<(u64, Vec<KeyValue>)> + Send + Sync>;

    #[derive(Default)]
    struct Metrics(std::sync::Mutex<Vec<(String, Callback)>>);

    #[derive(Default)]
    struct Seen(std::sync::Mutex<Vec<(u64, Vec<KeyValue>)>>);

    impl opentelemetry::metrics::AsyncInstrument<u64> for Seen {
        fn observe(&self, measurement: u64, attributes: &[KeyValue]) {
            self.0.lock().unwrap().push((measurement, attributes.to_vec()));
        }
    }

    impl InstrumentProvider for Metrics {
        fn u64_observable_counter(
            &self,
            builder: AsyncInstrumentBuilder<'_, ObservableCounter<u64>, u64>,
        ) -> ObservableCounter<u64> {
            for callback in builder.callbacks {
                let observe: Callback = Box::new(move || {
                    let seen = Seen::default();
                    callback(&seen);
                    seen.0.into_inner().unwrap()
                });
                self.0.lock().unwrap().push((builder.name.to_string(), observe));
            }
            ObservableCounter::new()
        }
    }

    struct Provider(Arc<Metrics>);

    impl MeterProvider for Provider {
        fn meter_with_scope(&self, _: opentelemetry::InstrumentationScope) -> Meter {
            Meter::new(self.0.clone())
        }
    }

    let metrics = Arc::new(Metrics::default());
    let rig = Rig::with(|builder| builder.with_id_generator(|| "").with_meter_provider(&Provider(metrics.clone())));
    let read = || {
        let registered = metrics.0.lock().unwrap();
        assert_eq!(registered.len(), 1);
        assert_eq!(registered[0].0, "otel_session.losses");
        registered[0].1()
    };
    assert!(read().is_empty(), "a healthy process has no series");
    rig.log("log");
    rig.sessions.rotate();
    assert_eq!(read(), [(2, vec![KeyValue::new("otel_session.loss.reason", "invalid_id")])]);
}

#[test]
fn law_11_the_metrics_of_several_sessions_with_one_meter_provider_are_series_of_their_own() {
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

    let exporter = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let [many, few] = [3, 1].map(|losses| {
        let sessions = Sessions::builder().with_meter_provider(&meters).build().unwrap();
        (0..losses).for_each(|_| sessions.set_user_id(Some("no\nuser")));
        sessions
    });
    meters.force_flush().unwrap();
    let mut values = Vec::new();
    let finished = exporter.get_finished_metrics().unwrap();
    for scope in finished.iter().flat_map(|metrics| metrics.scope_metrics()) {
        assert_eq!(scope.scope().name(), "otel_session");
        for metric in scope.metrics() {
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { panic!("{metric:?}") };
            values.extend(sum.data_points().map(|point| point.value()));
        }
    }
    values.sort_unstable();
    assert_eq!(values, [few.losses().total(), many.losses().total()]);
}
