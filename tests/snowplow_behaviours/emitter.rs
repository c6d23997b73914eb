//! Behaviours 53 to 74, as far as other tests leave them open: the store behind the exporter, and faults of the network.

use std::sync::mpsc;
use std::time::Duration;

use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_session::export::snowplow::{Anonymity, Method};
use otel_session::export::{Outbox, Overflow};
use otel_session::testing::ManualClock;
use otel_session::{Loss, SnowplowExporter, SnowplowExporterBuilder};

use crate::bench::epoch;
use crate::recorder::{BOUND, Recorder};
use crate::records::{event, export};
use crate::rig::{FIRST, Rig};
use crate::store::{SESSIONS, Store};

const HOUR: Duration = Duration::from_secs(3600);

/// Everything waits for a flush.
fn waiting(builder: SnowplowExporterBuilder) -> SnowplowExporterBuilder {
    builder.with_batch_size(1000).with_schedule_delay(HOUR)
}

fn names(collector: &Recorder) -> Vec<String> {
    collector.events().iter().map(|it| it.own().1["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn b53_by_get_the_header_stands_on_anonymous_events_alone() {
    let rig = Rig::with(|builder| waiting(builder).with_method(Method::Get));
    for anonymity in [Anonymity::off(), Anonymity::full().with_server_anonymisation(), Anonymity::full()] {
        rig.exporter.set_anonymous(anonymity);
        rig.start(FIRST);
    }
    rig.flush();
    let requests = rig.collector.requests();
    let sent: Vec<_> = requests.iter().map(|it| (it.method.as_str(), it.header("SP-Anonymous"))).collect();
    assert_eq!(sent, [("GET", None), ("GET", Some("*")), ("GET", None)]);
}

#[test]
fn b63_the_store_counts_what_waits_and_keeps_the_newest_in_order() {
    let rig = Rig::with(|builder| waiting(builder).with_max_queue_events(3));
    assert_eq!(rig.exporter.pending(), 0);
    for (name, pending) in [("a", 1), ("b", 2), ("c", 3), ("d", 3), ("e", 3)] {
        rig.event(name, FIRST, &[]);
        assert_eq!(rig.exporter.pending(), pending);
    }
    rig.flush();
    assert_eq!(rig.exporter.pending(), 0);
    rig.flush();
    assert_eq!(names(&rig.collector), ["c", "d", "e"]);
    assert_eq!(rig.exporter.losses().count(Loss::OutboxFull), 2);
}

#[test]
fn b64_events_beyond_their_age_are_dropped_and_counted_and_younger_ones_sent() {
    let clock = ManualClock::new(epoch());
    let outbox = Outbox::memory().with_max_age(Duration::from_secs(1));
    let rig = Rig::with(|builder| waiting(builder).with_outbox(outbox).with_clock(clock.clone()));
    rig.event("old", FIRST, &[]);
    clock.advance(Duration::from_millis(600));
    rig.event("young", FIRST, &[]);
    clock.advance(Duration::from_millis(400));
    rig.flush();
    assert_eq!(names(&rig.collector), ["young"]);
    assert_eq!(rig.exporter.losses().count(Loss::OutboxAge), 1);
}

#[test]
fn b65_all_handles_of_an_exporter_see_one_outbox() {
    let rig = Rig::with(waiting);
    let other = rig.exporter.clone();
    let tracers = SdkTracerProvider::builder().with_simple_exporter(other.span_exporter()).build();
    rig.event("log", FIRST, &[]);
    let mut span = tracers.tracer("shop").start("span");
    span.set_attribute(opentelemetry::KeyValue::new("session.id", FIRST));
    span.end();
    assert_eq!((rig.exporter.pending(), other.pending()), (2, 2));
    assert!(other.flush(BOUND));
    assert_eq!((rig.exporter.pending(), other.pending()), (0, 0));
    assert_eq!(names(&rig.collector), ["log", "span"]);
}

#[test]
fn b66_a_full_queue_can_be_told_to_refuse_the_newest() {
    let outbox = Outbox::memory().with_overflow(Overflow::DropNewest);
    let rig = Rig::with(|builder| waiting(builder).with_outbox(outbox).with_max_queue_events(2));
    for name in ["a", "b", "c"] {
        rig.event(name, FIRST, &[]);
    }
    rig.flush();
    assert_eq!(names(&rig.collector), ["a", "b"]);
    assert_eq!(rig.exporter.losses().count(Loss::OutboxFull), 1);
}

#[test]
fn b68_a_collector_that_cannot_be_reached_is_a_failure_that_is_told_and_keeps_the_event() {
    // A port that nobody listens on any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    let (arrive, arrived) = mpsc::channel();
    let rig = Rig::with(|builder| {
        builder
            .with_endpoint(format!("http://{closed}"))
            .with_connect_timeout(Duration::from_millis(500))
            .on_request_success(move |_| arrive.send(()).unwrap())
            .on_request_failure(move |it| {
                let _ = tell.send((it.status, it.will_retry, it.events.len(), it.message.is_empty()));
            })
    });
    rig.event("a", FIRST, &[]);
    assert_eq!(told.recv_timeout(BOUND).unwrap(), (None, true, 1, false));
    // The reply must have been read: the shutdown hardly waits.
    arrived.recv_timeout(BOUND).unwrap();
    let report = rig.exporter.shutdown(Duration::from_millis(10));
    assert_eq!((report.delivered, report.pending), (1, 1));
}

#[test]
fn b72_while_paused_events_wait_and_then_leave_in_their_order() {
    let rig = Rig::new();
    rig.exporter.pause();
    for name in ["a", "b", "c"] {
        rig.event(name, FIRST, &[]);
    }
    assert_eq!((rig.exporter.pending(), rig.collector.requests().len()), (3, 0));
    rig.exporter.resume();
    rig.flush();
    assert_eq!(names(&rig.collector), ["a", "b", "c"]);
}

#[test]
fn b73_while_the_store_cannot_delete_nothing_is_sent_twice() {
    let store = Store::default();
    let outbox = Outbox::custom(store.clone());
    let rig = Rig::with(|builder| waiting(builder).with_max_batch_events(1).with_outbox(outbox));
    for name in ["a", "b", "c", "d", "e"] {
        rig.event(name, FIRST, &[]);
    }
    store.look().broken = true;
    let flushed = rig.exporter.flush(Duration::from_millis(300));
    assert!(!flushed, "what cannot be removed is not done");
    assert_eq!(store.look().chunks.len(), 5);
    let sent = names(&rig.collector);
    assert!(
        !sent.is_empty() && ["a", "b", "c", "d", "e"].starts_with(&sent.iter().map(String::as_str).collect::<Vec<_>>())
    );
    store.look().broken = false;
    rig.flush();
    assert_eq!(names(&rig.collector), ["a", "b", "c", "d", "e"]);
    assert!(store.look().chunks.is_empty());
    assert_eq!(rig.exporter.losses().total(), 0);
}

#[test]
fn b74_eight_hundred_events_arrive_once_and_in_order_with_two_failures_on_the_way() {
    let clock = ManualClock::new(epoch());
    let collector = Recorder::answering(|number, _| Some((if number < 2 { 503 } else { 200 }, Vec::new())));
    let rig = Rig::on(collector, |builder| {
        builder.with_batch_size(50).with_max_batch_events(50).with_max_post_bytes(1_000_000).with_clock(clock.clone())
    });
    let mut accepted = Vec::new();
    for number in 0..800 {
        let number = number.to_string();
        rig.event("numbered", FIRST, &[("number", &number)]);
        accepted.push(number);
    }
    // Each failure is followed by a backoff, which a flush cuts short once.
    while !rig.exporter.flush(BOUND) {}
    let requests = rig.collector.requests();
    assert_eq!(requests.len(), 18);
    assert_eq!(
        requests[0].events().iter().map(|it| it.text("eid").unwrap().to_owned()).collect::<Vec<_>>(),
        requests[2].events().iter().map(|it| it.text("eid").unwrap().to_owned()).collect::<Vec<_>>()
    );
    let arrived: Vec<_> = requests[2..]
        .iter()
        .flat_map(|it| it.events())
        .map(|it| it.own().1["attributes"]["number"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(arrived, accepted);
    assert_eq!(rig.exporter.losses().total(), 0);
}

#[test]
fn what_could_not_be_forgotten_when_it_was_asked_is_forgotten_at_the_end() {
    for shuts_down in [true, false] {
        let store = Store::default();
        let collector = Recorder::start();
        let exporter = waiting(SnowplowExporter::builder().with_endpoint(collector.url()))
            .with_clock(ManualClock::new(epoch()))
            .with_outbox(Outbox::custom(store.clone()))
            .build()
            .unwrap();
        let knows = || store.look().rows.iter().any(|row| row.table == SESSIONS);
        export(&exporter, &[event("session.start", epoch(), &[("session.id", FIRST.into())])]).unwrap();
        store.look().broken = true;
        exporter.set_opt_out(true);
        store.look().broken = false;
        assert!(knows());
        if shuts_down {
            let _ = exporter.shutdown(BOUND);
            assert!(!knows());
        }
        drop(exporter);
        assert!(!knows());
    }
}
