//! What an exporter takes a pipeline takes, too: it is cut, refused or left out by the measure that the pipeline has.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord as _};
use opentelemetry::trace::{Span as _, Status, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogExporter as _, SdkLogRecord};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_session::collector::{DevCollector, SnowplowEvent};
use otel_session::export::snowplow::{Anonymity, EventStyle, Subject};
use otel_session::{SnowplowExporter, SnowplowExporterBuilder};

use crate::records::{event, export};

const SESSION: &str = "11111111-1111-4111-8111-111111111111";
const BEFORE: &str = "22222222-2222-4222-8222-222222222222";
const LONG: Duration = Duration::from_secs(20);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn text(text: impl Into<String>) -> AnyValue {
    AnyValue::from(text.into())
}

/// Sends records and returns the events; fails if one is bad.
fn good(
    configure: impl FnOnce(SnowplowExporterBuilder) -> SnowplowExporterBuilder,
    records: &[SdkLogRecord],
) -> Vec<Arc<SnowplowEvent>> {
    let collector = DevCollector::start().unwrap();
    let builder = SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint());
    let exporter = configure(builder).build().unwrap();
    export(&exporter, records).unwrap();
    assert!(exporter.flush(LONG));
    let stream = collector.stream();
    let errors: Vec<_> = stream.snowplow_bad().iter().map(|bad| bad.errors().to_vec()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(stream.snowplow_good().len(), records.len());
    stream.snowplow_good().to_vec()
}

#[test]
fn texts_are_cut_as_the_pipeline_counts_them_in_utf_16() {
    let long = |limit: usize| text(format!("😀{}", "x".repeat(limit)));
    let mut labelled = event("labelled", now(), &[]);
    labelled.set_body(long(5000));
    let records = [
        labelled,
        event("user", now(), &[("user.id", long(254))]),
        event("agent", now(), &[("user_agent.original", long(2000))]),
        event("page", now(), &[("snowplow.page", long(2000)), ("url.full", long(12_000))]),
    ];
    good(|builder| builder.with_event_style(EventStyle::Structured), &records);
}

#[test]
fn settings_are_measured_in_utf_16_too() {
    let refused = |builder: SnowplowExporterBuilder| builder.with_endpoint("http://127.0.0.1:1").build().is_err();
    let fits = "😀".repeat(127);
    let too_long = "😀".repeat(128);
    assert!(refused(SnowplowExporter::builder().with_app_id(&too_long)));
    assert!(refused(SnowplowExporter::builder().with_namespace("x".to_owned() + &fits[..4 * 64])));
    assert!(refused(SnowplowExporter::builder().with_subject(Subject::new().with_user_id(&too_long))));
    let records = [event("e", now(), &[])];
    let subject = Subject::new().with_user_id(&fits);
    good(|builder| builder.with_app_id(&fits).with_subject(subject), &records);
}

#[test]
fn a_subject_that_the_pipeline_would_refuse_is_refused() {
    let id = "00112233445566778899aabbccddeeff";
    let of_session = |id: String| Subject::new().with_domain_session_id(id);
    for subject in [
        of_session(id.to_owned()),
        of_session("urn:uuid:00112233-4455-6677-8899-aabbccddeeff".to_owned()),
        of_session("{00112233-4455-6677-8899-aabbccddeeff}".to_owned()),
        Subject::new().with_domain_session_index(u32::MAX),
        Subject::new().with_color_depth(u32::MAX),
        Subject::new().with_screen_resolution(u32::MAX, 1),
        Subject::new().with_viewport(1, u32::MAX),
    ] {
        let shown = format!("{subject:?}");
        let built = SnowplowExporter::builder().with_endpoint("http://127.0.0.1:1").with_subject(subject).build();
        assert!(built.is_err(), "{shown}");
    }
}

#[test]
fn without_sessions_the_resource_names_none_either() {
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("session.id", SESSION),
            KeyValue::new("otel_session.index", 7),
            KeyValue::new("host.name", "h"),
        ])
        .build();
    let names_session = |anonymity| {
        let collector = DevCollector::start().unwrap();
        let builder = SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint());
        let mut exporter = builder.with_resource_context(true).with_anonymity(anonymity).build().unwrap();
        exporter.set_resource(&resource);
        export(&exporter, &[event("e", now(), &[])]).unwrap();
        assert!(exporter.flush(LONG));
        let sent = format!("{:?}", collector.stream().snowplow_good()[0].contexts());
        assert!(sent.contains("host.name"), "{sent}");
        (sent.contains(SESSION), sent.contains("otel_session.index"))
    };
    assert_eq!(names_session(Anonymity::full()), (false, false));
    assert_eq!(names_session(Anonymity::with_session_tracking()), (true, true));
    assert_eq!(names_session(Anonymity::off()), (true, true));
}

#[test]
fn what_no_attribute_says_the_body_may_say_even_if_an_attribute_names_the_session() {
    let map = [("session.id", SESSION), ("session.previous_id", BEFORE), ("user.id", "bob")];
    let mut start = event("session.start", now(), &[("session.id", text(SESSION))]);
    start.set_body(AnyValue::Map(Box::new(map.into_iter().map(|(key, value)| (key.into(), text(value))).collect())));
    let events = good(|builder| builder, &[start]);
    assert_eq!(events[0].parameters()["uid"], "bob");
    let previous = events[0].client_session().unwrap().previous_session_id;
    assert_eq!(previous.map(|id| id.to_string()).as_deref(), Some(BEFORE));
}

#[test]
fn a_status_message_fits_its_schema_whatever_the_limit_of_texts() {
    let collector = DevCollector::start().unwrap();
    let builder = SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint());
    let exporter = builder.with_max_text_bytes(150_000).build().unwrap();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.span_exporter()).build();
    let mut span = provider.tracer("test").start("span");
    span.set_status(Status::error("x".repeat(100_000)));
    span.end();
    assert!(exporter.flush(LONG));
    assert_eq!((collector.stream().snowplow_bad().len(), collector.stream().snowplow_good().len()), (0, 1));
}
