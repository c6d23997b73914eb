//! Spans as events.

use std::time::Duration;

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanKind, Status, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::trace::{TraceContextExt as _, TraceFlags};
use opentelemetry::{Context, KeyValue, SpanId, TraceId};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::json;

use super::super::EventStyle;
use super::schemas::assert_good;
use super::*;

/// A span as an SDK ends it.
fn span(session: Option<&str>) -> SpanData {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let parent = SpanContext::new(
        TraceId::from_bytes([0xab; 16]),
        SpanId::from_bytes([0xcd; 8]),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let tracer = provider.tracer("shop.db");
    let mut span = tracer
        .span_builder("SELECT socks")
        .with_kind(SpanKind::Client)
        .with_start_time(at(0))
        .start_with_context(&tracer, &Context::new().with_remote_span_context(parent));
    if let Some(session) = session {
        span.set_attribute(KeyValue::new("session.id", session.to_owned()));
    }
    span.set_attribute(KeyValue::new("db.rows", 3));
    span.set_attribute(KeyValue::new("db.tables", opentelemetry::Value::Array(vec![1.5, f64::NAN].into())));
    let attributes = vec![KeyValue::new("session.id", A), KeyValue::new("user.email", "ada")];
    span.add_event_with_timestamp("retried", at(1), attributes);
    span.set_status(Status::error("no more socks"));
    span.end_with_timestamp(at(0) + Duration::from_micros(2500));
    exporter.get_finished_spans().unwrap().pop().unwrap()
}

fn send(bridge: &mut Bridge, spans: &[SpanData]) -> Vec<Payload> {
    let decisions = bridge.mapper.decider().spans(spans, &bridge.resource);
    bridge.mapper.map_spans(spans, decisions, &bridge.resource, now(), &mut bridge.mapped);
    let payloads = bridge.payloads();
    bridge.commit();
    payloads
}

#[test]
fn spans_become_events_of_their_session_under_one_table_with_logs() {
    let mut bridge = Bridge::new(MapSettings::default());
    bridge.send(&[start(A, None)]);
    let sent = send(&mut bridge, &[span(Some(A)), span(None)]);
    sent.iter().for_each(assert_good);
    assert_eq!((sent[0].field("sid"), sent[0].event_index()), (Some(A), Some(2)));
    assert_eq!(sent[1].field("sid"), None);
    let mut data = sent[0].data().clone();
    assert_eq!(data.as_object_mut().unwrap().remove("spanId").unwrap().as_str().unwrap().len(), 16);
    assert_eq!(
        data,
        json!({
            "name": "SELECT socks", "kind": "client", "parentSpanId": "cd".repeat(8), "traceId": "ab".repeat(16),
            "durationNanos": 2_500_000, "status": "error", "statusMessage": "no more socks", "scopeName": "shop.db",
            "attributes": {"db.rows": 3, "db.tables": [1.5, "NaN"]},
            "events": [{
                "name": "retried", "timeUnixNano": 1_700_000_000_001_000_000_i64,
                "attributes": {"session.id": A, "user.email": "ada"},
            }],
        })
    );
}

#[test]
fn spans_say_no_more_about_the_user_than_logs() {
    let anonymity = super::super::Anonymity::full();
    let mut bridge = Bridge::new(MapSettings { anonymity, ..MapSettings::default() });
    let sent = send(&mut bridge, &[span(Some(A))]);
    assert_good(&sent[0]);
    assert_eq!(sent[0].data()["events"][0]["attributes"], json!({}));
    assert!(!format!("{sent:?}").contains(A));
}

#[test]
fn spans_can_be_structured_events() {
    let mut bridge = Bridge::new(MapSettings { style: EventStyle::Structured, ..MapSettings::default() });
    let sent = send(&mut bridge, &[span(Some(A))]);
    assert_good(&sent[0]);
    let fields = ["se_ca", "se_ac", "se_la", "se_pr", "se_va"].map(|key| sent[0].field(key));
    assert_eq!(fields, [Some("shop.db"), Some("SELECT socks"), Some("no more socks"), Some(A), Some("2")]);
}

#[test]
fn what_a_span_says_twice_is_said_once_and_counted() {
    let mut span = span(Some(A));
    let mut retried = span.events.events.remove(0);
    retried.attributes = vec![KeyValue::new("try", 1), KeyValue::new("why", "late"), KeyValue::new("try", 2)];
    span.events.events.push(retried);
    let mut bridge = Bridge::new(MapSettings::default());
    send(&mut bridge, &[span]);
    let text = String::from_utf8_lossy(&bridge.mapped.encoded[0].bytes).replace('\\', "");
    assert!(text.contains(r#""attributes":{"try":2,"why":"late"}"#), "{text}");
    assert_eq!(bridge.lost(Loss::EventField), 2, "and the NaN of the span itself");
}

#[test]
fn a_span_that_has_an_events_name_keeps_it_as_an_attribute() {
    let mut bridge = Bridge::new(MapSettings::default());
    let mut span = span(Some(A));
    span.attributes.push(KeyValue::new("event.name", "checkout"));
    let sent = send(&mut bridge, &[span]);
    assert_good(&sent[0]);
    assert_eq!(sent[0].data()["name"], "SELECT socks");
    assert_eq!(sent[0].data()["attributes"]["event.name"], "checkout");
}

#[test]
fn a_span_takes_its_links_along() {
    let mut bridge = Bridge::new(MapSettings::default());
    let mut span = span(Some(A));
    let other = SpanContext::new(
        TraceId::from_bytes([0x12; 16]),
        SpanId::from_bytes([0x34; 8]),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    );
    span.links.links =
        vec![Link::new(other.clone(), vec![KeyValue::new("user.email", "ada")], 0), Link::with_context(other)];
    let sent = send(&mut bridge, std::slice::from_ref(&span));
    assert_good(&sent[0]);
    let ids = json!({"traceId": "12".repeat(16), "spanId": "34".repeat(8), "attributes": {}});
    let mut first = ids.clone();
    first["attributes"] = json!({"user.email": "ada"});
    assert_eq!(sent[0].data()["links"], json!([first, ids]));

    let anonymity = super::super::Anonymity::full();
    let mut bridge = Bridge::new(MapSettings { anonymity, ..MapSettings::default() });
    assert_eq!(send(&mut bridge, &[span])[0].data()["links"], json!([ids, ids]));
}

#[test]
fn a_span_has_no_more_fields_than_it_has_something_to_say_and_no_duration_below_zero() {
    let mut span = span(Some(A));
    span.end_time = at(0) - Duration::from_secs(1);
    span.parent_span_id = SpanId::INVALID;
    span.span_context = SpanContext::empty_context();
    span.status = Status::error("");
    span.events.events.clear();
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = send(&mut bridge, std::slice::from_ref(&span));
    assert_good(&sent[0]);
    assert_eq!(sent[0].field("dtm"), Some("1700000000000"), "when it began");
    assert_eq!((&sent[0].data()["durationNanos"], &sent[0].data()["status"]), (&json!(0), &json!("error")));
    for absent in ["parentSpanId", "traceId", "spanId", "statusMessage", "events", "links"] {
        assert_eq!(sent[0].data().get(absent), None);
    }
    let mut bridge = Bridge::new(MapSettings { style: EventStyle::Structured, ..MapSettings::default() });
    let sent = send(&mut bridge, &[span]);
    assert_eq!((sent[0].field("se_va"), sent[0].field("se_la")), (Some("0"), None));
}

#[test]
fn however_much_a_span_holds_its_event_is_smaller_than_a_pipeline_takes() {
    let many = |count: usize| (0..count).map(|number| KeyValue::new(format!("key{number}"), "some words")).collect();
    let plain = span(Some(A));
    let retried = plain.events.events[0].clone();
    let (mut events, mut of_event, mut links) = (plain.clone(), plain.clone(), plain.clone());
    events.events.events = vec![retried; 30_000];
    of_event.events.events[0].attributes = many(80_000);
    let of_link = |attributes| Link::new(plain.span_context.clone(), attributes, 0);
    links.links.links = (0..30_000).map(|_| of_link(Vec::new())).chain([of_link(many(80_000))]).collect();
    for span in [events, of_event, links] {
        let mut bridge = Bridge::new(MapSettings::default());
        let sent = send(&mut bridge, &[span]);
        assert_good(&sent[0]);
        let len = bridge.mapped.encoded[0].bytes.len();
        assert!(len < 900_000, "{len} bytes");
        assert!(bridge.lost(Loss::EventField) > 0);
    }
}
