//! When events are sent, how many together, and what becomes of failures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use otel_session::export::{Outbox, Overflow, RetryPolicy};
use otel_session::{Loss, SnowplowExporter, SnowplowExporterBuilder};

use crate::recorder::Recorder;
use crate::requests::HOUR;
use crate::rig::{FIRST, Rig, SECOND};

/// Events only leave in batches of this size, or by a flush.
fn batches(size: usize) -> impl FnOnce(SnowplowExporterBuilder) -> SnowplowExporterBuilder {
    move |builder| builder.with_batch_size(size).with_schedule_delay(HOUR)
}

fn sizes(rig: &Rig) -> Vec<usize> {
    rig.collector.requests().iter().map(|it| it.events().len()).collect()
}

#[test]
fn a_batch_leaves_when_it_is_full_and_not_before() {
    let rig = Rig::with(batches(10));
    (0..9).for_each(|_| rig.named(FIRST));
    assert_eq!(rig.exporter.pending(), 9);
    assert!(rig.collector.requests().is_empty());
    rig.named(FIRST);
    rig.collector.wait_requests(1);
    assert_eq!(sizes(&rig), [10]);
}

#[test]
fn a_flush_sends_the_rest_and_an_empty_one_succeeds() {
    let rig = Rig::with(batches(10));
    rig.flush();
    assert!(rig.collector.requests().is_empty());
    (0..3).for_each(|_| rig.named(FIRST));
    rig.flush();
    assert_eq!(sizes(&rig), [3]);
    assert_eq!(rig.exporter.pending(), 0);
}

#[test]
fn events_wait_no_longer_than_the_schedule_delay() {
    let clock = otel_session::testing::ManualClock::new(std::time::SystemTime::UNIX_EPOCH + HOUR);
    let rig = Rig::with(|builder| {
        builder.with_batch_size(10).with_schedule_delay(Duration::from_secs(5)).with_clock(clock.clone())
    });
    rig.named(FIRST);
    // From its acceptance on, whether or not the worker has seen it before the clock moved.
    assert!(clock.advance(Duration::from_secs(4)));
    assert!(rig.collector.requests().is_empty());
    assert!(clock.advance(Duration::from_secs(1)));
    rig.collector.wait_events(1);
}

#[test]
fn without_a_schedule_delay_events_wait_for_a_full_batch_or_a_flush() {
    let clock = otel_session::testing::ManualClock::new(std::time::SystemTime::UNIX_EPOCH + HOUR);
    let rig =
        Rig::with(|builder| builder.with_batch_size(2).with_schedule_delay(Duration::ZERO).with_clock(clock.clone()));
    rig.named(FIRST);
    assert!(clock.advance(24 * HOUR));
    assert!(rig.collector.requests().is_empty());
    rig.named(FIRST);
    rig.collector.wait_events(2);
    rig.named(FIRST);
    rig.flush();
    assert_eq!(sizes(&rig), [2, 1]);
}

/// The thread may see a reply when a test has moved the clock already.
#[test]
fn on_a_manual_clock_a_wait_begins_when_its_request_was_sent() {
    let clock = otel_session::testing::ManualClock::new(std::time::SystemTime::UNIX_EPOCH + HOUR);
    let moving = clock.clone();
    let collector = Recorder::answering(move |number, _| {
        if number > 0 {
            return Some((200, Vec::new()));
        }
        moving.suspend(Duration::from_secs(29));
        Some((503, vec![("retry-after", "30".to_owned())]))
    });
    let rig = Rig::on(collector, |builder| builder.with_clock(clock.clone()));
    rig.named(FIRST);
    rig.collector.wait_requests(1);
    assert!(clock.advance(Duration::ZERO));
    assert_eq!(rig.collector.requests().len(), 1);
    assert!(clock.advance(Duration::from_secs(1)));
    rig.collector.wait_requests(2);
}

#[test]
fn a_request_holds_no_more_events_than_allowed() {
    let rig = Rig::with(|builder| batches(100)(builder).with_max_batch_events(20));
    (0..40).for_each(|_| rig.named(FIRST));
    rig.flush();
    assert_eq!(sizes(&rig), [20, 20]);
}

#[test]
fn a_post_is_never_longer_than_allowed_to_the_byte() {
    let probe = Rig::with(|builder| batches(100)(builder).with_namespace("bytes-probe"));
    (0..5).for_each(|_| probe.event("checkout", FIRST, &[("note", "✓✓✓")]));
    probe.flush();
    let full = probe.collector.requests()[0].body.len();
    for (limit, expected) in [(full, vec![5]), (full - 1, vec![4, 1]), (1000, vec![1; 5])] {
        let name = format!("bytes-{limit:05}");
        let rig = Rig::with(|builder| batches(100)(builder).with_max_post_bytes(limit).with_namespace(name));
        (0..5).for_each(|_| rig.event("checkout", FIRST, &[("note", "✓✓✓")]));
        rig.flush();
        assert_eq!(sizes(&rig), expected, "{limit}");
        assert!(limit < full - 1 || rig.collector.requests().iter().all(|it| it.body.len() <= limit));
    }
}

#[test]
fn an_event_larger_than_a_post_goes_alone() {
    let rig = Rig::with(|builder| batches(100)(builder).with_max_post_bytes(3000));
    rig.named(FIRST);
    rig.event("checkout", FIRST, &[("note", &"x".repeat(5000))]);
    rig.named(FIRST);
    rig.flush();
    assert_eq!(sizes(&rig), [1, 1, 1]);
    assert_eq!(rig.exporter.losses().total(), 0);
}

#[test]
fn waiting_bytes_start_a_request_too() {
    let rig = Rig::with(|builder| batches(100)(builder).with_flush_bytes(1000));
    rig.event("checkout", FIRST, &[("note", &"x".repeat(2000))]);
    rig.collector.wait_events(1);
}

#[test]
fn a_backlog_fills_requests_whatever_the_batch_size() {
    let rig = Rig::with(|builder| builder.with_batch_size(1));
    rig.exporter.pause();
    (0..20).for_each(|_| rig.named(FIRST));
    assert!(rig.collector.requests().is_empty());
    rig.exporter.resume();
    rig.collector.wait_events(20);
    assert_eq!(sizes(&rig), [20]);
}

#[test]
fn several_requests_can_be_in_flight_at_once() {
    let collector = Recorder::answering(|number, _| (number >= 2).then(|| (200, Vec::new())));
    let rig = Rig::on(collector, |builder| builder.with_max_in_flight(2).with_max_batch_events(1));
    rig.named(FIRST);
    rig.named(SECOND);
    // Neither is answered, and yet both are under way.
    rig.collector.wait_requests(2);
}

#[test]
fn without_settings_a_post_is_filled_up_to_40_000_bytes() {
    let rig = Rig::new();
    rig.exporter.pause();
    (0..100).for_each(|_| rig.event("checkout", FIRST, &[("note", &"x".repeat(500))]));
    rig.exporter.resume();
    rig.flush();
    let requests = rig.collector.requests();
    let sizes: Vec<_> = requests.iter().map(|it| it.body.len()).collect();
    let event = sizes[0] / requests[0].events().len();
    let [full @ .., last] = sizes.as_slice() else { panic!("no request") };
    assert!(!full.is_empty() && full.iter().all(|size| (40_000 - event..=40_000).contains(size)), "{sizes:?}");
    assert!(*last <= 40_000, "{sizes:?}");
}

#[test]
fn without_settings_one_request_is_under_way_at_a_time() {
    let under_way = Arc::new((Mutex::new((0, 0)), Condvar::new()));
    let at_once = Arc::clone(&under_way);
    let collector = Recorder::answering(move |_, _| {
        let (count, changed) = &*at_once;
        let mut guard = count.lock().unwrap();
        guard.0 += 1;
        guard.1 = guard.1.max(guard.0);
        changed.notify_all();
        // What would be sent beside it has the time to come.
        let bound = Duration::from_millis(20);
        let (mut guard, _) = changed.wait_timeout_while(guard, bound, |(_, most)| *most < 2).unwrap();
        guard.0 -= 1;
        Some((200, Vec::new()))
    });
    let rig = Rig::on(collector, |builder| builder.with_max_batch_events(1));
    rig.exporter.pause();
    for session in [FIRST, SECOND, FIRST, SECOND] {
        rig.named(session);
    }
    rig.exporter.resume();
    rig.flush();
    assert_eq!(under_way.0.lock().unwrap().1, 1);
}

#[test]
fn an_event_that_is_dropped_leaves_a_gap_and_stays_the_first_of_its_session() {
    let collector = Recorder::answering(|number, _| Some((if number == 0 { 422 } else { 200 }, Vec::new())));
    let rig = Rig::on(collector, |builder| builder);
    rig.start(FIRST);
    rig.flush();
    assert_eq!(rig.exporter.losses().count(Loss::EventRejected), 1);
    rig.named(FIRST);
    rig.flush();
    let events = rig.collector.events();
    let [dropped, next] = events.as_slice() else { panic!("{events:?}") };
    let session = next.entity("client_session").unwrap();
    assert_eq!((session["eventIndex"].as_u64(), session["firstEventId"].as_str()), (Some(2), dropped.text("eid")));
}

#[test]
fn a_full_queue_drops_the_oldest_or_the_newest() {
    for (overflow, kept) in [(Overflow::DropOldest, ["3", "4"]), (Overflow::DropNewest, ["1", "2"])] {
        let outbox = Outbox::memory().with_overflow(overflow);
        let rig = Rig::with(|builder| batches(100)(builder).with_outbox(outbox).with_max_queue_events(2));
        for number in ["1", "2", "3", "4"] {
            rig.event("checkout", FIRST, &[("number", number)]);
        }
        rig.flush();
        let sent: Vec<_> = rig.collector.events().iter().map(|it| it.own().1["attributes"]["number"].clone()).collect();
        assert_eq!(sent, kept, "{overflow:?}");
        assert_eq!(rig.exporter.losses().count(Loss::OutboxFull), 2);
    }
}

#[test]
fn a_request_that_takes_too_long_is_made_again_with_the_same_ids() {
    let collector = Recorder::answering(|number, _| (number > 0).then(|| (200, Vec::new())));
    let rig = Rig::on(collector, |builder| builder.with_request_timeout(Duration::from_millis(50)));
    rig.start(FIRST);
    let requests = rig.collector.wait_requests(2);
    assert_eq!(requests[0].events()[0].text("eid"), requests[1].events()[0].text("eid"));
    rig.flush();
    assert_eq!(rig.exporter.losses().total(), 0);
}

#[test]
fn statuses_are_retried_or_dropped_as_the_maps_say() {
    for (policy, status, retried) in [
        (RetryPolicy::new(), 500, true),
        (RetryPolicy::new(), 301, true),
        (RetryPolicy::new(), 422, false),
        (RetryPolicy::new().with_retry_status_codes([403]), 403, true),
        (RetryPolicy::new().with_dont_retry_status_codes([418]), 418, false),
        (RetryPolicy::new().with_dont_retry_status_codes([403]).with_retry_status_codes([403]), 403, true),
        (RetryPolicy::new().with_retry_codes([(500, false), (401, true)]), 500, false),
        (RetryPolicy::new().with_retry_codes([(500, false), (401, true)]), 401, true),
        (RetryPolicy::new().with_retry_failed_requests(false), 500, false),
    ] {
        let policy = policy.with_max_delay(Duration::from_millis(1));
        let collector =
            Recorder::answering(move |number, _| Some((if number == 0 { status } else { 200 }, Vec::new())));
        let rig = Rig::on(collector, |builder| builder.with_retry(policy));
        rig.start(FIRST);
        if retried {
            rig.collector.wait_requests(2);
        }
        rig.flush();
        assert_eq!(rig.collector.requests().len(), if retried { 2 } else { 1 }, "{status}");
        assert_eq!(rig.exporter.losses().count(Loss::EventRejected), u64::from(!retried), "{status}");
    }
}

#[test]
fn retries_wait_no_longer_than_the_longest_delay() {
    const FAILURES: usize = 12;
    let clock = otel_session::testing::ManualClock::new(std::time::SystemTime::UNIX_EPOCH + HOUR);
    let collector = Recorder::answering(|number, _| Some((if number < FAILURES { 503 } else { 200 }, Vec::new())));
    let arguments = format!(
        r#"{{"namespace": "longest-delay", "endpoint": "{}", "emitter_config": {{"max_retry_delay_seconds": 1}}}}"#,
        collector.url()
    );
    let (failed, failures) = std::sync::mpsc::channel();
    let (builder, _) = SnowplowExporterBuilder::from_python_options(&arguments).unwrap();
    let builder = builder.with_batch_size(1).with_clock(clock.clone());
    let exporter = builder.on_request_failure(move |_| failed.send(()).unwrap()).build().unwrap();
    let rig = Rig::around(collector, exporter);
    rig.start(FIRST);
    // Without the limit, a second would not be enough for twelve delays that are drawn from up to a minute.
    for _ in 0..FAILURES {
        failures.recv_timeout(crate::recorder::BOUND).unwrap();
        assert!(clock.advance(Duration::ZERO));
        assert!(clock.advance(Duration::from_secs(1)));
    }
    assert_eq!(rig.collector.wait_requests(FAILURES + 1).len(), FAILURES + 1);
}

#[test]
fn a_post_that_fails_stays_a_post() {
    let statuses = [404, 405, 500, 200];
    let collector = Recorder::answering(move |number, _| Some((statuses[number.min(3)], Vec::new())));
    let retry = RetryPolicy::new().with_max_delay(Duration::from_millis(1));
    let rig = Rig::on(collector, |builder| builder.with_retry(retry));
    rig.start(FIRST);
    let requests = rig.collector.wait_requests(4);
    assert!(requests.iter().all(|it| it.method == "POST" && it.path == requests[0].path), "{requests:?}");
}

#[test]
fn callbacks_tell_what_arrived_and_what_failed() {
    let told = Arc::new(Mutex::new(Vec::<String>::new()));
    let (success, failure) = (told.clone(), told.clone());
    let statuses = [500, 200, 422];
    let collector = Recorder::answering(move |number, _| Some((statuses[number.min(2)], Vec::new())));
    let rig = Rig::on(collector, |builder| {
        builder
            .with_retry(RetryPolicy::new().with_max_delay(Duration::from_millis(1)))
            .on_request_success(move |it| success.lock().unwrap().push(format!("{} {:?}", it.status, it.events)))
            .on_request_failure(move |it| {
                failure.lock().unwrap().push(format!("{:?} {} {:?}", it.status, it.will_retry, it.events));
                panic!("told to");
            })
    });
    let id = |index: usize| rig.collector.wait_events(index + 1)[index].text("eid").unwrap().to_owned();
    rig.start(FIRST);
    let first = id(0);
    id(1);
    rig.flush();
    rig.named(FIRST);
    let second = id(2);
    let _ = rig.exporter.shutdown(crate::recorder::BOUND);
    let told = told.lock().unwrap();
    assert_eq!(
        *told,
        [format!("Some(500) true [{first}]"), format!("200 [{first}]"), format!("Some(422) false [{second}]")]
    );
    assert_eq!(rig.exporter.losses().count(Loss::EventFilterPanic), 2);
}

#[test]
fn exporters_with_a_meter_each_export_their_own_losses() {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

    let exporter = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let _rigs = [("some", 3), ("other", 1)].map(|(name, losses)| {
        let rig = Rig::new();
        rig.exporter.observe(&meters.meter(name));
        (0..losses).for_each(|_| rig.emit("session.start", None, [], None));
        assert_eq!(rig.exporter.losses().total(), losses);
        rig
    });
    meters.force_flush().unwrap();
    let finished = exporter.get_finished_metrics().unwrap();
    let told = finished.iter().flat_map(|metrics| metrics.scope_metrics()).flat_map(|scope| {
        scope.metrics().map(|metric| {
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { panic!("{metric:?}") };
            (scope.scope().name().to_owned(), sum.data_points().map(|point| point.value()).collect::<Vec<_>>())
        })
    });
    let mut told: Vec<_> = told.collect();
    told.sort_unstable();
    assert_eq!(told, [("other".to_owned(), vec![1]), ("some".to_owned(), vec![3])]);
}

#[test]
fn a_shutdown_drains_and_says_what_is_left() {
    let rig = Rig::with(batches(100));
    (0..3).for_each(|_| rig.named(FIRST));
    let report = rig.exporter.shutdown(crate::recorder::BOUND);
    assert_eq!((report.delivered, report.pending, report.dropped.total()), (3, 0, 0));
    assert_eq!(report.collectors[0].endpoint, rig.collector.url());
    rig.named(FIRST);
    rig.emit("", Some(FIRST), [], None);
    assert_eq!(rig.exporter.pending(), 0);
    assert_eq!(rig.exporter.losses().to_string(), "outbox_error: 1", "a plain log was not wanted");
    rig.exporter.set_opt_out(true);
    rig.named(FIRST);
    assert_eq!(rig.exporter.losses().total(), 1, "nor is anything by now");
    let unreachable = Rig::on(Recorder::status(500), |builder| builder);
    unreachable.start(FIRST);
    let report = unreachable.exporter.shutdown(Duration::from_millis(50));
    assert_eq!((report.delivered, report.pending), (0, 1));
    assert_eq!(report.dropped.count(Loss::EventUndelivered), 1);
}

#[test]
fn what_a_filter_holds_up_until_the_exporter_has_shut_down_is_refused_and_counted() {
    let itself: Arc<OnceLock<SnowplowExporter>> = Arc::default();
    let of_filter = Arc::clone(&itself);
    let accepted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&accepted);
    let rig = Rig::with(|builder| {
        builder
            .with_filter(move |_| {
                let _ = of_filter.get().unwrap().shutdown(crate::recorder::BOUND);
                true
            })
            .on_accepted(move |_| told.store(true, Ordering::Release))
    });
    itself.set(rig.exporter.clone()).unwrap();
    rig.named(FIRST);
    assert!(!accepted.load(Ordering::Acquire), "nobody is there any more to send it");
    assert_eq!(rig.exporter.pending(), 0);
    assert_eq!(rig.exporter.losses().count(Loss::OutboxError), 1);
}

#[test]
fn the_providers_shutdown_flushes() {
    let rig = Rig::with(batches(100));
    rig.start(FIRST);
    rig.loggers.shutdown().unwrap();
    assert_eq!(sizes(&rig), [1]);
}

#[test]
fn it_works_inside_a_runtime_and_without_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rig = runtime.block_on(async {
        let rig = Rig::new();
        rig.start(FIRST);
        rig.flush();
        rig
    });
    rig.named(FIRST);
    rig.flush();
    assert_eq!(rig.collector.events().len(), 2);
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    multi.block_on(async {
        let rig = Rig::new();
        rig.start(FIRST);
        let report = rig.exporter.shutdown(crate::recorder::BOUND);
        assert_eq!(report.delivered, 1);
    });
}
